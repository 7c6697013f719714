"""From signs to findings: what is wrong, in which layer, what it leads to, and what to do."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping

from hpoviz.health import advice, signs
from hpoviz.health.calibration import THRESHOLDS
from hpoviz.health.report import Finding
from hpoviz.health.signs import CERTAIN, Case, Sign

__all__ = ["RULES", "Rule", "find_faults"]


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
    consequence : str
    prescription : str or callable
        What to do; a callable takes the case and the sign, and says what fits this model.
    """

    fault: str
    metric: str
    signs: Callable[[Case], Iterator[Sign]]
    threshold: str
    consequence: str
    prescription: str | Callable[[Case, Sign], str]

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
                prescription=self.prescription if isinstance(self.prescription, str) else self.prescription(case, sign),
            )


def find_faults(case: Case, thresholds: Mapping[str, float] = THRESHOLDS) -> tuple[Finding, ...]:
    """Return what is wrong with a model, causes before what they lead to.

    Values that are not finite hide everything else, so nothing else is then said but a learning rate that is too large.
    """
    found: list[Finding] = []
    for rule in RULES:
        found += rule.findings(case, thresholds.get(rule.fault, CERTAIN))
        if found and found[-1].fault == "not_finite":
            break
    return _after_the_rate(found)


def _after_the_rate(found: list[Finding]) -> tuple[Finding, ...]:
    """Leave out a large learning rate that did no harm; where it did, nothing else is advised against the harm."""
    if not found or found[0].fault != LARGE_RATE:
        return tuple(found)
    rate, *others = found
    if not any(one.fault in HARM for one in others):
        return tuple(others)
    first = dict.fromkeys((*HARM, "slow_convergence"), advice.RATE_FIRST)  # which advises a larger rate
    return (
        rate, *(dataclasses.replace(one, prescription=first.get(one.fault, one.prescription)) for one in others)
    )  # fmt: skip


LARGE_RATE = "learning_rate_out_of_range"
# What too large a learning rate leads to by itself.
HARM = (
    *("not_finite", "dying_relu", "dead_units", "saturation", "vanishing_gradient", "exploding_gradient"),
    *("at_chance", "oscillation", "underfitting"),
)
# Causes before what they lead to.
RULES: tuple[Rule, ...] = (
    Rule(
        LARGE_RATE,
        "training_stability",
        signs.large_steps,
        "",
        "Steps are so large that the loss jumps or units die.",
        advice.against_large_steps,
    ),
    Rule(
        "not_finite",
        "neuron_utilization",
        signs.not_finite,
        "",
        "Everything after it is NaN: the model predicts nothing, and training on cannot mend it.",
        "Train anew with a learning rate ten times smaller, or with clipnorm=1.0 in the optimizer, and look for NaN "
        "and very large values in the data.",
    ),
    Rule(
        "wrong_output_activation",
        "convergence_quality",
        signs.wrong_output,
        "",
        "The loss is not that of the predictions: training is slow or goes the wrong way.",
        "End with activation='softmax' and from_logits=False, or without activation and from_logits=True.",
    ),
    Rule(
        "missing_input_scaling",
        "training_stability",
        signs.scaling,
        "{:,.0f}",
        "Its gradients are as large: units die or saturate in the first steps.",
        "Begin the model with layers.Rescaling(1 / 255) for pictures, or with an adapted layers.Normalization().",
    ),
    Rule(
        "dying_relu",
        "neuron_utilization",
        signs.inactive(rectifiers=True),
        "{:.0%} inactive",
        "The others say the same for every sample: their weights cost time and memory for nothing.",
        advice.against_dead_rectifiers,
    ),
    Rule(
        "saturation",
        "gradient_health",
        signs.saturation,
        "{:.0%}",
        "They pass next to no gradient, so they cannot move away from there.",
        "Scale the inputs to about −1 to 1, use a smaller learning rate, glorot_uniform weights and BatchNormalization "
        "before the activation; or relu.",
    ),
    Rule(
        "vanishing_gradient",
        "gradient_health",
        signs.vanishing,
        "10^−{:.1f}",
        "Layers before it hardly learn: they stay as they were made.",
        advice.against_vanishing,
    ),
    Rule(
        "exploding_gradient",
        "gradient_health",
        signs.exploding,
        "10^{:.1f}",
        "Steps of the first layers are far too large: the loss jumps or becomes NaN.",
        "Use kernel_initializer='he_normal', BatchNormalization, clipnorm=1.0 in the optimizer, and a smaller learning "
        "rate.",
    ),
    Rule(
        "dead_units",
        "neuron_utilization",
        signs.inactive(rectifiers=False),
        "{:.0%} inactive",
        "The others say the same for every sample: their weights cost time and memory for nothing.",
        "Use a smaller learning rate, glorot_uniform weights or BatchNormalization; if accuracy is good, a narrower "
        "layer will do.",
    ),
    Rule(
        "untrained_layer",
        "convergence_quality",
        signs.untrained,
        "",
        "It does what chance made it do: training has passed it by.",
        "Set trainable=True before compiling, and see that a gradient reaches it.",
    ),
    Rule(
        "stale_normalization",
        "accuracy_consistency",
        signs.stale_normalization,
        "{:.2f} apart",
        "In use the model is far worse than its training said: the averages lag behind the weights.",
        "Use BatchNormalization(momentum=0.9), a smaller batch or more epochs, so that the averages catch up.",
    ),
    Rule(
        "at_chance",
        "accuracy_consistency",
        signs.chance,
        "",
        "The model has learned nothing that holds on new data.",
        "Look whether labels belong to their samples; then try a learning rate ten times larger and ten times smaller, "
        "and a smaller model.",
    ),
    Rule(
        "label_noise",
        "accuracy_consistency",
        signs.label_noise,
        "{:.1f}",
        "Many training labels seem to be wrong: the model knows better, or learns the mistakes by heart.",
        "Look at the training samples that it is surest to be of another class, and mend their labels; fewer epochs "
        "and more data help.",
    ),
    Rule(
        "over_regularized",
        "convergence_quality",
        signs.penalties,
        "{:.0%}",
        "Training shrinks the weights rather than fit the data.",
        "Use a tenth of the l2.",
    ),
    Rule(
        "oscillation",
        "training_stability",
        signs.instability,
        "{:.2f} below 1",
        "Where training stops is a matter of luck.",
        "Use a learning rate three to ten times smaller, a larger batch, or a schedule that lowers the learning rate.",
    ),
    Rule(
        "slow_convergence",
        "convergence_quality",
        signs.slowness,
        "{:.2f} below 1",
        "Training ended before it was done.",
        "Train for more epochs, or with a larger learning rate.",
    ),
    Rule(
        "underfitting",
        "convergence_quality",
        signs.underfitting,
        "{:.0%}",
        "The model cannot say what the data hold.",
        "Use a larger model, less dropout and l2, or another learning rate.",
    ),
    Rule(
        "class_collapse",
        "accuracy_consistency",
        signs.collapse,
        "{:.0%}",
        "The accuracy hides that this class is hardly ever found.",
        "Give it class weights, or more samples, and look at what it is taken for.",
    ),
    Rule(
        "overfitting",
        "accuracy_consistency",
        signs.overfitting,
        "{:.2f} apart",
        "The model knows its training samples by heart.",
        "Use dropout, l2, augmentation, a smaller model or fewer epochs; more data help most.",
    ),
    Rule(
        "bloat",
        "parameter_efficiency",
        signs.bloat,
        "{:.0f}",
        "The layer is larger and slower than it has to be.",
        "Try half of its units or filters; in a search, objective='pareto' weighs size.",
    ),
)
