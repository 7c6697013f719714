"""Signs of what may be wrong with a model: where, how much, and in words."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping

from hpoviz.health.metric import Metric, wilson
from hpoviz.health.observation import Observation
from hpoviz.health.rates import said_of_rate, usual_rates
from hpoviz.health.training_metrics import JUMPY, trivial_loss

__all__ = [
    "CERTAIN",
    "Case",
    "Sign",
    "bloat",
    "chance",
    "collapse",
    "exploding",
    "inactive",
    "instability",
    "label_noise",
    "large_steps",
    "not_finite",
    "overfitting",
    "penalties",
    "saturation",
    "scaling",
    "slowness",
    "stale_normalization",
    "underfitting",
    "untrained",
    "vanishing",
    "wrong_output",
]

RECTIFIERS = ("relu", "relu6", "elu", "selu", "gelu", "silu", "leaky_relu")
CERTAIN = 1.0  # a sign that needs no threshold
NEXT_TO_NOTHING = 0.01 * JUMPY  # upward moves that cost training_stability less than a hundredth


@dataclasses.dataclass(frozen=True)
class Case:
    """A model to be judged: its metrics by name, and what they were computed from."""

    metrics: Mapping[str, Metric]
    seen: Observation


@dataclasses.dataclass(frozen=True)
class Sign:
    """Where and how much a fault shows: the larger the value, the worse.

    Attributes
    ----------
    value : float
    evidence : str
        In words, without the threshold.
    layer : str or None
        None where it is the model as a whole.
    """

    value: float
    evidence: str
    layer: str | None = None


def not_finite(case: Case) -> Iterator[Sign]:
    """Yield which layer is the first that gives out values that are not finite."""
    if case.seen.not_finite:
        layer = case.seen.not_finite[0]
        yield Sign(CERTAIN, f"{layer} is the first layer that gives out values that are not finite", layer)


def large_steps(case: Case) -> Iterator[Sign]:
    """Yield whether the learning rate was larger than any that is usual with the optimizer."""
    rate, optimizer = case.seen.learning_rate, case.seen.optimizer
    if rate is not None and optimizer is not None and rate > usual_rates(optimizer)[1]:
        yield Sign(CERTAIN, said_of_rate(rate, optimizer))


def wrong_output(case: Case) -> Iterator[Sign]:
    """Yield whether the loss takes what the outputs are."""
    if case.seen.takes_logits is not None and case.seen.takes_logits == case.seen.sums_to_one:
        has = "shares that sum to one" if case.seen.sums_to_one else "numbers that are no shares"
        wants = "logits (from_logits=True)" if case.seen.takes_logits else "shares"
        yield Sign(CERTAIN, f"The outputs are {has}, and the loss was told that it gets {wants}")


def scaling(case: Case) -> Iterator[Sign]:
    """Yield how large the values are that reach the first layer with weights."""
    largest = case.seen.largest_input
    if largest:
        yield Sign(largest, f"Values of up to {largest:,.0f} reach the first layer with weights", case.seen.first_layer)


def vanishing(case: Case) -> Iterator[Sign]:
    """Yield how little of a signal comes back to the first hidden layer."""
    metric = case.metrics["gradient_health"]
    ratio = metric.evidence.get("log10_ratio")
    if not metric.layers or (ratio is None and metric.value != 0):
        return
    layer = min(metric.layers, key=lambda score: score.evidence["gradient_norm"]).layer
    if ratio is None:
        yield Sign(math.inf, "Of the signal at the last hidden layer, nothing at all reaches the first", layer)
    elif ratio < 0:
        yield Sign(-ratio, f"Of the signal at the last hidden layer, 10^{ratio:.1f} reaches the first", layer)


def exploding(case: Case) -> Iterator[Sign]:
    """Yield how much a signal grows on its way back."""
    metric = case.metrics["gradient_health"]
    ratio = metric.evidence.get("log10_ratio", 0.0)
    if ratio > 0:
        layer = max(metric.layers, key=lambda score: score.evidence.get("log10_ratio", 0.0)).layer
        yield Sign(ratio, f"The signal grows by 10^{ratio:.1f} from the last hidden layer to the first", layer)


def saturation(case: Case) -> Iterator[Sign]:
    """Yield how often values are at the flat ends of their activation."""
    for layer, share in case.metrics["gradient_health"].saturated.items():
        yield Sign(
            share, f"{share:.0%} of what its units give out is at an end of their activation, where it is flat", layer
        )


def untrained(case: Case) -> Iterator[Sign]:
    """Yield which layers are as they were made."""
    for layer in case.seen.untrained:
        yield Sign(CERTAIN, f"The biases of {layer} are exactly zero and its weights as they are drawn", layer)


def inactive(rectifiers: bool) -> Callable[[Case], Iterator[Sign]]:
    """Return the signs of units that are not active, of layers with rectifiers or of the others."""

    def signs(case: Case) -> Iterator[Sign]:
        activations = {look.layer: look.activation for look in case.seen.now.layers}
        for score in case.metrics["neuron_utilization"].layers:
            if (activations.get(score.layer) in RECTIFIERS) != rectifiers or score.interval is None:
                continue
            low, high = score.interval
            evidence = (
                f"{score.evidence['active']:g} of {score.evidence['units']:g} units are active ({score.value:.0%}, 95% "
                f"from {low:.0%} to {high:.0%})"
            )
            yield Sign(1 - score.value, evidence, score.layer)

    return signs


def stale_normalization(case: Case) -> Iterator[Sign]:
    """Yield how much worse a model is in use than it was on the same samples in training."""
    seen, curve = case.seen, case.seen.history.get("accuracy", ())
    if seen.normalizing and seen.train_accuracy is not None and 0 < seen.epoch <= len(curve):
        then = curve[seen.epoch - 1]
        yield Sign(
            then - seen.train_accuracy,
            f"Accuracy on training samples was {then:.3f} in training, by the averages of each batch, and is "
            f"{seen.train_accuracy:.3f} by the averages that {seen.normalizing[0]} and the like have kept",
            seen.normalizing[0],
        )


def label_noise(case: Case) -> Iterator[Sign]:
    """Compare accuracies: a model cannot know training labels worse than others, unless the labels are worse.

    In standard errors of the difference, so it is seen where validation labels are the better ones.
    """
    seen, evidence = case.seen, case.metrics["accuracy_consistency"].evidence
    if seen.train_accuracy is None or "gap" not in evidence:
        return
    both = (seen.train_accuracy + evidence["accuracy"]) / 2
    error = math.sqrt(both * (1 - both) * (1 / seen.rows + 1 / seen.train_rows))
    if error > 0 and evidence["gap"] < 0:
        sure = "" if seen.suspicious is None else f"; it is sure of another class for {seen.suspicious:.0%} of them"
        yield Sign(
            -evidence["gap"] / error,
            f"Accuracy is {evidence['accuracy']:.3f} on validation samples and {seen.train_accuracy:.3f} on those that "
            f"it learned from, {-evidence['gap'] / error:.1f} standard errors less{sure}",
        )


def chance(case: Case) -> Iterator[Sign]:
    """Yield whether a model is no better than always naming the largest class."""
    metric = case.metrics["accuracy_consistency"]
    if metric.value == 0 and "largest_class" in metric.evidence and "worst_class" not in metric.evidence:
        yield Sign(CERTAIN, (metric.reason or "").removesuffix("."))


def instability(case: Case) -> Iterator[Sign]:
    """Yield how much the loss jumped."""
    metric = case.metrics["training_stability"]
    if metric.value is not None and metric.evidence:
        upward, start = metric.evidence["upward_rms"], metric.evidence["start"]
        said = []
        if upward > NEXT_TO_NOTHING * metric.evidence["trivial_loss"] or start <= 1:
            said.append(f"Upward moves of the loss have a root mean square of {upward:.3g}")
        if start > 1:
            times = f"{start:,.1f}" if start < 1e6 else f"{start:.0e}"
            said.append(f"{'it' if said else 'The loss'} began at {times} times that of guessing")
        yield Sign(1 - metric.value, f"{', and '.join(said)}: stability {metric.value:.2f}")


def collapse(case: Case) -> Iterator[Sign]:
    """Yield how far the worst class is below the others."""
    evidence = case.metrics["accuracy_consistency"].evidence
    if "evenness" in evidence:
        yield Sign(
            1 - evidence["evenness"],
            f"Class {evidence['worst_class']:g} is recalled in {evidence['worst_recall']:.0%} of cases, "
            f"{1 - evidence['evenness']:.0%} below the mean after shrinking",
        )


def overfitting(case: Case) -> Iterator[Sign]:
    """Yield how much better a model is on training samples."""
    evidence = case.metrics["accuracy_consistency"].evidence
    if "gap" not in evidence or case.seen.train_accuracy is None:
        return
    high = wilson(evidence["accuracy"] * case.seen.rows, case.seen.rows)[1]
    low = wilson(case.seen.train_accuracy * case.seen.train_rows, case.seen.train_rows)[0]
    if low > high:
        yield Sign(
            evidence["gap"],
            f"Accuracy is {case.seen.train_accuracy:.3f} on training data (95% from {low:.3f} on) and "
            f"{evidence['accuracy']:.3f} on validation data (95% up to {high:.3f})",
        )


def penalties(case: Case) -> Iterator[Sign]:
    """Yield how much weight penalties add to the loss."""
    trivial, penalty = trivial_loss(case.seen.class_counts), case.seen.penalty
    if penalty and trivial:
        share = penalty / trivial
        yield Sign(
            share, f"Weight penalties add {penalty:.3g} to the loss, {share:.0%} of that of always guessing the same"
        )


def slowness(case: Case) -> Iterator[Sign]:
    """Yield how much the loss still fell at the end."""
    evidence = case.metrics["convergence_quality"].evidence
    slope = evidence.get("end_slope", 0.0)
    if slope < 0:
        rest = evidence["rest"]
        yield Sign(1 - rest, f"The loss was still falling at the end, by {-slope:.3g} an epoch (rest {rest:.2f})")


def underfitting(case: Case) -> Iterator[Sign]:
    """Yield how much of the loss of guessing is left."""
    depth = case.metrics["convergence_quality"].evidence.get("depth")
    if depth is not None:
        yield Sign(1 - depth, f"{1 - depth:.0%} of the loss of always guessing the same is left")


def bloat(case: Case) -> Iterator[Sign]:
    """Yield how many units a layer has for each independent one."""
    metric = case.metrics["parameter_efficiency"]
    for score in metric.layers if metric.value else ():
        units, effective = score.evidence["units"], score.evidence["effective_units"]
        evidence = f"Its {units:,.0f} units say no more than {max(effective, 1):.0f} independent ones would"
        yield Sign(score.evidence["ratio"], f"{evidence}: {score.evidence['ratio']:.0f} for each", score.layer)
