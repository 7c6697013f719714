"""From metrics to findings: what is wrong, in which layer, what it leads to, and what to do."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping

from hpoviz.health.calibration import THRESHOLDS
from hpoviz.health.metric import Metric, wilson
from hpoviz.health.observation import Observation
from hpoviz.health.report import Finding
from hpoviz.health.training_metrics import trivial_loss

__all__ = ["RULES", "Case", "Rule", "Sign", "find_faults"]

RECTIFIERS = ("relu", "relu6", "elu", "selu", "gelu", "silu", "leaky_relu")
CERTAIN = 1.0  # a sign that needs no threshold


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


@dataclasses.dataclass(frozen=True)
class Rule:
    """A fault: how it shows, what it leads to, and what to do.

    Attributes
    ----------
    fault, metric : str
    signs : callable
        Takes a Case.
    threshold : str
        How a threshold is written, as "{:.0%}"; empty for a fault that is certain where it shows.
    consequence, prescription : str
    """

    fault: str
    metric: str
    signs: Callable[[Case], Iterator[Sign]]
    threshold: str
    consequence: str
    prescription: str

    def findings(self, case: Case, threshold: float) -> Iterator[Finding]:
        """Yield a finding for each sign of at least the threshold, the worst first."""
        signs = [sign for sign in self.signs(case) if sign.value >= threshold]
        for sign in sorted(signs, key=lambda sign: -sign.value):
            limit = f" (threshold {self.threshold.format(threshold)})" if self.threshold else ""
            yield Finding(
                fault=self.fault,
                layer=sign.layer,
                metric=self.metric,
                evidence=f"{sign.evidence}{limit}.",
                consequence=self.consequence,
                prescription=self.prescription,
            )


def find_faults(case: Case, thresholds: Mapping[str, float] = THRESHOLDS) -> tuple[Finding, ...]:
    """Return what is wrong with a model, causes before what they lead to.

    Values that are not finite hide everything else, so nothing else is then said.
    """
    found: list[Finding] = []
    for rule in RULES:
        found += rule.findings(case, thresholds.get(rule.fault, CERTAIN))
        if found and rule.fault == "not_finite":
            break
    return tuple(found)


def _not_finite(case: Case) -> Iterator[Sign]:
    if case.seen.not_finite:
        layer = case.seen.not_finite[0]
        yield Sign(CERTAIN, f"{layer} is the first layer that gives out values that are not finite", layer)


def _wrong_output(case: Case) -> Iterator[Sign]:
    if case.seen.takes_logits is not None and case.seen.takes_logits == case.seen.sums_to_one:
        has = "shares that sum to one" if case.seen.sums_to_one else "numbers that are no shares"
        wants = "logits (from_logits=True)" if case.seen.takes_logits else "shares"
        yield Sign(CERTAIN, f"The outputs are {has}, and the loss was told that it gets {wants}")


def _scaling(case: Case) -> Iterator[Sign]:
    largest = case.seen.largest_input
    if largest:
        yield Sign(largest, f"Values of up to {largest:,.0f} reach the first layer with weights", case.seen.first_layer)


def _vanishing(case: Case) -> Iterator[Sign]:
    metric = case.metrics["gradient_health"]
    ratio = metric.evidence.get("log10_ratio")
    if not metric.layers or (ratio is None and metric.value != 0):
        return
    layer = min(metric.layers, key=lambda score: score.evidence["gradient_norm"]).layer
    if ratio is None:
        yield Sign(math.inf, "Of the signal at the last hidden layer, nothing at all reaches the first", layer)
    elif ratio < 0:
        yield Sign(-ratio, f"Of the signal at the last hidden layer, 10^{ratio:.1f} reaches the first", layer)


def _exploding(case: Case) -> Iterator[Sign]:
    metric = case.metrics["gradient_health"]
    ratio = metric.evidence.get("log10_ratio", 0.0)
    if ratio > 0:
        layer = max(metric.layers, key=lambda score: score.evidence.get("log10_ratio", 0.0)).layer
        yield Sign(ratio, f"The signal grows by 10^{ratio:.1f} from the last hidden layer to the first", layer)


def _saturation(case: Case) -> Iterator[Sign]:
    for layer, share in case.metrics["gradient_health"].saturated.items():
        yield Sign(
            share, f"{share:.0%} of what its units give out is at an end of their activation, where it is flat", layer
        )


def _untrained(case: Case) -> Iterator[Sign]:
    for layer in case.seen.untrained:
        yield Sign(CERTAIN, f"The biases of {layer} are exactly zero and its weights as they are drawn", layer)


def _inactive(rectifiers: bool) -> Callable[[Case], Iterator[Sign]]:
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


def _stale_normalization(case: Case) -> Iterator[Sign]:
    seen, curve = case.seen, case.seen.history.get("accuracy", ())
    if seen.normalizing and seen.train_accuracy is not None and 0 < seen.epoch <= len(curve):
        then = curve[seen.epoch - 1]
        yield Sign(
            then - seen.train_accuracy,
            f"Accuracy on training samples was {then:.3f} in training, by the averages of each batch, and is "
            f"{seen.train_accuracy:.3f} by the averages that {seen.normalizing[0]} and the like have kept",
            seen.normalizing[0],
        )


def _label_noise(case: Case) -> Iterator[Sign]:
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


def _chance(case: Case) -> Iterator[Sign]:
    metric = case.metrics["accuracy_consistency"]
    if metric.value == 0 and "largest_class" in metric.evidence and "worst_class" not in metric.evidence:
        yield Sign(CERTAIN, (metric.reason or "").removesuffix("."))


def _instability(case: Case) -> Iterator[Sign]:
    metric = case.metrics["training_stability"]
    if metric.value is not None and metric.evidence:
        evidence = f"Upward moves of the loss have a root mean square of {metric.evidence['upward_rms']:.3g}"
        if metric.evidence["start"] > 1:
            evidence += f", and it began at {metric.evidence['start']:.1f} times that of guessing"
        yield Sign(1 - metric.value, f"{evidence}: stability {metric.value:.2f}")


def _collapse(case: Case) -> Iterator[Sign]:
    evidence = case.metrics["accuracy_consistency"].evidence
    if "evenness" in evidence:
        yield Sign(
            1 - evidence["evenness"],
            f"Class {evidence['worst_class']:g} is recalled in {evidence['worst_recall']:.0%} of cases, "
            f"{1 - evidence['evenness']:.0%} below the mean after shrinking",
        )


def _overfitting(case: Case) -> Iterator[Sign]:
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


def _penalties(case: Case) -> Iterator[Sign]:
    trivial, penalty = trivial_loss(case.seen.class_counts), case.seen.penalty
    if penalty and trivial:
        share = penalty / trivial
        yield Sign(
            share, f"Weight penalties add {penalty:.3g} to the loss, {share:.0%} of that of always guessing the same"
        )


def _slowness(case: Case) -> Iterator[Sign]:
    evidence = case.metrics["convergence_quality"].evidence
    slope = evidence.get("end_slope", 0.0)
    if slope < 0:
        rest = evidence["rest"]
        yield Sign(1 - rest, f"The loss was still falling at the end, by {-slope:.3g} an epoch (rest {rest:.2f})")


def _underfitting(case: Case) -> Iterator[Sign]:
    depth = case.metrics["convergence_quality"].evidence.get("depth")
    if depth is not None:
        yield Sign(1 - depth, f"{1 - depth:.0%} of the loss of always guessing the same is left")


def _bloat(case: Case) -> Iterator[Sign]:
    metric = case.metrics["parameter_efficiency"]
    for score in metric.layers if metric.value else ():
        units, effective = score.evidence["units"], score.evidence["effective_units"]
        evidence = f"Its {units:,.0f} units say no more than {max(effective, 1):.0f} independent ones would"
        yield Sign(score.evidence["ratio"], f"{evidence}: {score.evidence['ratio']:.0f} for each", score.layer)


# Causes before what they lead to.
RULES: tuple[Rule, ...] = (
    Rule(
        "not_finite",
        "neuron_utilization",
        _not_finite,
        "",
        "Everything after it is NaN: the model predicts nothing, and training on cannot mend it.",
        "Train anew with a learning rate ten times smaller, or with clipnorm=1.0 in the optimizer, and look for NaN "
        "and very large values in the data.",
    ),
    Rule(
        "wrong_output_activation",
        "convergence_quality",
        _wrong_output,
        "",
        "The loss is not that of the predictions: training is slow or goes the wrong way.",
        "End with activation='softmax' and from_logits=False, or without activation and from_logits=True.",
    ),
    Rule(
        "missing_input_scaling",
        "training_stability",
        _scaling,
        "{:,.0f}",
        "Its gradients are as large: units die or saturate in the first steps.",
        "Begin the model with layers.Rescaling(1 / 255) for pictures, or with an adapted layers.Normalization().",
    ),
    Rule(
        "dying_relu",
        "neuron_utilization",
        _inactive(rectifiers=True),
        "{:.0%} inactive",
        "The others say the same for every sample: their weights cost time and memory for nothing.",
        "Use a smaller learning rate and kernel_initializer='he_normal', leaky_relu instead of relu, or "
        "BatchNormalization; if accuracy is good, a narrower layer will do.",
    ),
    Rule(
        "saturation",
        "gradient_health",
        _saturation,
        "{:.0%}",
        "They pass next to no gradient, so they cannot move away from there.",
        "Scale the inputs to about −1 to 1, use a smaller learning rate, glorot_uniform weights and BatchNormalization "
        "before the activation; or relu.",
    ),
    Rule(
        "vanishing_gradient",
        "gradient_health",
        _vanishing,
        "10^−{:.1f}",
        "Layers before it hardly learn: they stay as they were made.",
        "Use relu instead of sigmoid or tanh, put BatchNormalization after each layer, or add skip connections; fewer "
        "layers help too.",
    ),
    Rule(
        "exploding_gradient",
        "gradient_health",
        _exploding,
        "10^{:.1f}",
        "Steps of the first layers are far too large: the loss jumps or becomes NaN.",
        "Use kernel_initializer='he_normal', BatchNormalization, clipnorm=1.0 in the optimizer, and a smaller learning "
        "rate.",
    ),
    Rule(
        "dead_units",
        "neuron_utilization",
        _inactive(rectifiers=False),
        "{:.0%} inactive",
        "The others say the same for every sample: their weights cost time and memory for nothing.",
        "Use a smaller learning rate, glorot_uniform weights or BatchNormalization; if accuracy is good, a narrower "
        "layer will do.",
    ),
    Rule(
        "untrained_layer",
        "convergence_quality",
        _untrained,
        "",
        "It does what chance made it do: training has passed it by.",
        "Set trainable=True before compiling, and see that a gradient reaches it.",
    ),
    Rule(
        "stale_normalization",
        "accuracy_consistency",
        _stale_normalization,
        "{:.2f} apart",
        "In use the model is far worse than its training said: the averages lag behind the weights.",
        "Use BatchNormalization(momentum=0.9), a smaller batch or more epochs, so that the averages catch up.",
    ),
    Rule(
        "at_chance",
        "accuracy_consistency",
        _chance,
        "",
        "The model has learned nothing that holds on new data.",
        "Look whether labels belong to their samples; then try a learning rate ten times larger and ten times smaller, "
        "and a smaller model.",
    ),
    Rule(
        "label_noise",
        "accuracy_consistency",
        _label_noise,
        "{:.1f}",
        "Many training labels seem to be wrong: the model knows better, or learns the mistakes by heart.",
        "Look at the training samples that it is surest to be of another class, and mend their labels; fewer epochs "
        "and more data help.",
    ),
    Rule(
        "over_regularized",
        "convergence_quality",
        _penalties,
        "{:.0%}",
        "Training shrinks the weights rather than fit the data.",
        "Use a tenth of the l2.",
    ),
    Rule(
        "oscillation",
        "training_stability",
        _instability,
        "{:.2f} below 1",
        "Where training stops is a matter of luck.",
        "Use a learning rate three to ten times smaller, a larger batch, or a schedule that lowers the learning rate.",
    ),
    Rule(
        "slow_convergence",
        "convergence_quality",
        _slowness,
        "{:.2f} below 1",
        "Training ended before it was done.",
        "Train for more epochs, or with a larger learning rate.",
    ),
    Rule(
        "underfitting",
        "convergence_quality",
        _underfitting,
        "{:.0%}",
        "The model cannot say what the data hold.",
        "Use a larger model, less dropout and l2, or another learning rate.",
    ),
    Rule(
        "class_collapse",
        "accuracy_consistency",
        _collapse,
        "{:.0%}",
        "The accuracy hides that this class is hardly ever found.",
        "Give it class weights, or more samples, and look at what it is taken for.",
    ),
    Rule(
        "overfitting",
        "accuracy_consistency",
        _overfitting,
        "{:.2f} apart",
        "The model knows its training samples by heart.",
        "Use dropout, l2, augmentation, a smaller model or fewer epochs; more data help most.",
    ),
    Rule(
        "bloat",
        "parameter_efficiency",
        _bloat,
        "{:.0f}",
        "The layer is larger and slower than it has to be.",
        "Try half of its units or filters; in a search, objective='pareto' weighs size.",
    ),
)
