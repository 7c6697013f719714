"""From metrics to findings: what is wrong, in which layer, what it leads to, and what to do."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

from hpoviz.health.metrics import LayerScore, Metric, wilson
from hpoviz.health.report import Finding

__all__ = ["Facts", "diagnose"]

# Hand-set, from the definitions of the metrics; a value at the threshold is half way to the worst.
DEAD, SATURATED = 0.5, 0.5  # shares of a layer's units
VANISHING, EXPLODING = -2.25, 2.4  # log10 of the gradient at the first hidden layer beside that at the last
JUMPING = 0.5  # training stability
SHALLOW, FALLING = 0.5, 0.8  # depth of convergence; how much it had come to rest
APART, COLLAPSED = 0.05, 0.5  # gap between training and validation accuracy; worst recall beside the mean
BLOATED = 0.95  # share of the weights that can be set to zero
LARGE_INPUT = 20.0  # an input of this size under a layer that does not scale it
RECTIFIERS = ("relu", "relu6", "elu", "selu", "gelu", "silu", "leaky_relu")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known beside the metrics.

    Attributes
    ----------
    activations : mapping of str to str
        By hidden layer.
    not_finite : tuple of str
        Layers that give out values that are not finite, in the order of the pass.
    largest_input : float or None
        The largest absolute value of the samples that reaches the first layer with weights; None for words and the
        like.
    first_layer : str or None
        That layer.
    rows, train_rows : int
    train_accuracy : float or None
    sums_to_one : bool
        Whether the outputs are shares.
    takes_logits : bool or None
        Whether the compiled loss says so; None where the model is not compiled.
    """

    activations: Mapping[str, str]
    not_finite: tuple[str, ...]
    largest_input: float | None
    first_layer: str | None
    rows: int
    train_rows: int
    train_accuracy: float | None
    sums_to_one: bool
    takes_logits: bool | None


def diagnose(metrics: Mapping[str, Metric], facts: Facts) -> tuple[Finding, ...]:
    """Return what is wrong with a model, the most serious first.

    Values that are not finite hide everything else, so nothing else is then said.
    """
    if facts.not_finite:
        return (_not_finite(facts),)
    found = [
        *_output(facts),
        *_flow(metrics["gradient_health"]),
        *_saturation(metrics["gradient_health"]),
        *_dead_units(metrics["neuron_utilization"], facts),
        *_scaling(facts),
        *_chance(metrics["accuracy_consistency"]),
        *_instability(metrics["training_stability"]),
        *_collapse(metrics["accuracy_consistency"]),
        *_overfitting(metrics["accuracy_consistency"], facts),
        *_convergence(metrics["convergence_quality"]),
        *_bloat(metrics["parameter_efficiency"]),
    ]
    return tuple(found)


def _not_finite(facts: Facts) -> Finding:
    layer = facts.not_finite[0]
    return Finding(
        fault="not_finite",
        layer=layer,
        metric="neuron_utilization",
        evidence=f"{layer} is the first layer that gives out values that are not finite.",
        consequence="Everything after it is NaN: the model predicts nothing, and training on cannot mend it.",
        prescription="Train anew with a learning rate ten times smaller, or with clipnorm=1.0 in the optimizer, and "
        "look for NaN and very large values in the data.",
    )


def _output(facts: Facts) -> Iterator[Finding]:
    if facts.takes_logits is None or facts.takes_logits != facts.sums_to_one:
        return
    has = "shares that sum to one" if facts.sums_to_one else "numbers that are no shares"
    wants = "logits (from_logits=True)" if facts.takes_logits else "shares"
    yield Finding(
        fault="wrong_output_activation",
        layer=None,
        metric="convergence_quality",
        evidence=f"The outputs are {has}, and the loss was told that it gets {wants}.",
        consequence="The loss is not that of the predictions: training is slow or goes the wrong way.",
        prescription="End with activation='softmax' and from_logits=False, or without activation and from_logits=True.",
    )


def _flow(metric: Metric) -> Iterator[Finding]:
    ratio = metric.evidence.get("log10_ratio")
    blocked = metric.value == 0 and ratio is None and metric.layers
    if blocked or (ratio is not None and ratio <= VANISHING):
        layer = _first_blocked(metric.layers)
        size = "nothing at all" if blocked else f"10^{ratio:.1f} of it"
        yield Finding(
            fault="vanishing_gradient",
            layer=layer,
            metric=metric.name,
            evidence=f"Of the signal at the last hidden layer, {size} reaches the first (threshold 10^{VANISHING}).",
            consequence="Layers before it hardly learn: they stay as they were made.",
            prescription="Use relu instead of sigmoid or tanh, put BatchNormalization after each layer, or add skip "
            "connections; fewer layers help too.",
        )
    elif ratio is not None and ratio >= EXPLODING:
        yield Finding(
            fault="exploding_gradient",
            layer=max(metric.layers, key=lambda score: score.evidence.get("log10_ratio", 0.0)).layer,
            metric=metric.name,
            evidence=f"The signal grows by 10^{ratio:.1f} from the last hidden layer to the first (threshold "
            f"10^{EXPLODING}).",
            consequence="Steps of the first layers are far too large: the loss jumps or becomes NaN.",
            prescription="Use clipnorm=1.0 in the optimizer, kernel_initializer='he_normal', BatchNormalization, and a "
            "smaller learning rate.",
        )


def _first_blocked(layers: tuple[LayerScore, ...]) -> str:
    """Return the layer with the least gradient."""
    return min(layers, key=lambda score: score.evidence.get("gradient_norm", 0.0)).layer


def _saturation(metric: Metric) -> Iterator[Finding]:
    for layer, share in sorted(metric.saturated.items(), key=lambda item: -item[1]):
        if share >= SATURATED:
            yield Finding(
                fault="saturation",
                layer=layer,
                metric=metric.name,
                evidence=f"{share:.0%} of its units sit at an end of their activation, where it is flat (threshold "
                f"{SATURATED:.0%}).",
                consequence="They pass next to no gradient, so they cannot move away from there.",
                prescription="Scale the inputs to about −1 to 1, use a smaller learning rate, glorot_uniform weights "
                "and BatchNormalization before the activation; or relu.",
            )


def _dead_units(metric: Metric, facts: Facts) -> Iterator[Finding]:
    for score in metric.layers:
        if score.value >= DEAD or score.interval is None:
            continue
        rectifier = facts.activations.get(score.layer, "") in RECTIFIERS
        active, units = int(score.evidence["active"]), int(score.evidence["units"])
        yield Finding(
            fault="dying_relu" if rectifier else "dead_units",
            layer=score.layer,
            metric=metric.name,
            evidence=f"{active} of {units} units are active ({score.value:.0%}, 95% from {score.interval[0]:.0%} to "
            f"{score.interval[1]:.0%}; threshold {DEAD:.0%}).",
            consequence="The others say the same for every sample: their weights cost time and memory for nothing.",
            prescription="Use a smaller learning rate and kernel_initializer='he_normal', leaky_relu instead of relu, "
            "or BatchNormalization; if accuracy is good, a narrower layer will do.",
        )


def _scaling(facts: Facts) -> Iterator[Finding]:
    if facts.largest_input is not None and facts.largest_input > LARGE_INPUT:
        yield Finding(
            fault="missing_input_scaling",
            layer=facts.first_layer,
            metric="training_stability",
            evidence=f"Values of up to {facts.largest_input:,.0f} reach the first layer with weights (threshold "
            f"{LARGE_INPUT:g}).",
            consequence="Its gradients are as large: units die or saturate in the first steps.",
            prescription="Begin the model with layers.Rescaling(1 / 255) for pictures, or with an adapted "
            "layers.Normalization().",
        )


def _chance(metric: Metric) -> Iterator[Finding]:
    if metric.value == 0 and "largest_class" in metric.evidence and "worst_class" not in metric.evidence:
        yield Finding(
            fault="at_chance",
            layer=None,
            metric=metric.name,
            evidence=metric.reason or "",
            consequence="The model has learned nothing that holds on new data.",
            prescription="Look whether labels belong to their samples; then try a learning rate ten times larger and "
            "ten times smaller, and a smaller model.",
        )


def _instability(metric: Metric) -> Iterator[Finding]:
    if metric.value is not None and metric.value < JUMPING and metric.evidence:
        yield Finding(
            fault="oscillation",
            layer=None,
            metric=metric.name,
            evidence=f"Upward moves of the loss have a root mean square of {metric.evidence['upward_rms']:.3g} "
            f"(stability {metric.value:.2f}, threshold {JUMPING}).",
            consequence="Where training stops is a matter of luck.",
            prescription="Use a learning rate three to ten times smaller, a larger batch, or a schedule that lowers "
            "the learning rate.",
        )


def _collapse(metric: Metric) -> Iterator[Finding]:
    evenness = metric.evidence.get("evenness")
    if evenness is not None and evenness < COLLAPSED:
        yield Finding(
            fault="class_collapse",
            layer=None,
            metric=metric.name,
            evidence=f"Class {metric.evidence['worst_class']:g} is recalled in {metric.evidence['worst_recall']:.0%} "
            f"of cases, {evenness:.0%} of the mean after shrinking (threshold {COLLAPSED:.0%}).",
            consequence="The accuracy hides that this class is hardly ever found.",
            prescription="Give it class weights, or more samples, and look at what it is taken for.",
        )


def _overfitting(metric: Metric, facts: Facts) -> Iterator[Finding]:
    accuracy, gap = metric.evidence.get("accuracy"), metric.evidence.get("gap", 0.0)
    if accuracy is None or facts.train_accuracy is None or gap < APART or not facts.train_rows:
        return
    high = wilson(accuracy * facts.rows, facts.rows)[1]
    low = wilson(facts.train_accuracy * facts.train_rows, facts.train_rows)[0]
    if low > high:
        yield Finding(
            fault="overfitting",
            layer=None,
            metric=metric.name,
            evidence=f"Accuracy is {facts.train_accuracy:.3f} on training data (95% from {low:.3f} on) and "
            f"{accuracy:.3f} on validation data (95% up to {high:.3f}).",
            consequence="The model knows its training samples by heart.",
            prescription="Use dropout, l2, augmentation, a smaller model or fewer epochs; more data help most.",
        )


def _convergence(metric: Metric) -> Iterator[Finding]:
    depth, rest = metric.evidence.get("depth"), metric.evidence.get("rest")
    if depth is None or rest is None:
        return
    if rest < FALLING and metric.evidence.get("end_slope", 0.0) < 0:
        yield Finding(
            fault="slow_convergence",
            layer=None,
            metric=metric.name,
            evidence=f"The loss was still falling at the end, by {-metric.evidence['end_slope']:.3g} an epoch (rest "
            f"{rest:.2f}, threshold {FALLING}).",
            consequence="Training ended before it was done.",
            prescription="Train for more epochs, or with a larger learning rate.",
        )
    elif depth < SHALLOW:
        yield Finding(
            fault="underfitting",
            layer=None,
            metric=metric.name,
            evidence=f"The loss came down by {depth:.0%} of that of always guessing the same (threshold "
            f"{SHALLOW:.0%}), and falls no more.",
            consequence="The model cannot say what the data hold.",
            prescription="Use a larger model, less dropout and l2, or another learning rate.",
        )


def _bloat(metric: Metric) -> Iterator[Finding]:
    if metric.evidence.get("prunable", 0.0) >= BLOATED:
        yield Finding(
            fault="bloat",
            layer=None,
            metric=metric.name,
            evidence=f"{metric.evidence['prunable']:.0%} of the weights can be zero without a loss of accuracy "
            f"(threshold {BLOATED:.0%}).",
            consequence="The model is larger and slower than it has to be.",
            prescription="Try half of the units or filters; in a search, objective='pareto' weighs size.",
        )
