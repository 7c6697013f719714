"""A metric of health: its value in [0, 1], or None and the reason; what the six are called and what they mean."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

__all__ = [
    "EXPLANATIONS",
    "LEAST_EPOCHS",
    "LEAST_OF_CLASS",
    "LEAST_ROWS",
    "METRICS",
    "LayerScore",
    "Metric",
    "clip",
    "geometric_mean",
    "wilson",
    "worst_first",
]

METRICS = (
    "neuron_utilization",
    "parameter_efficiency",
    "training_stability",
    "gradient_health",
    "convergence_quality",
    "accuracy_consistency",
)
EXPLANATIONS = {
    "neuron_utilization": "The share of hidden units that change from sample to sample. A unit that always says the "
    "same, zero or saturated, is paid for and does nothing.",
    "parameter_efficiency": "How few units more there are than say something of their own. A layer of a thousand units "
    "that say what ten could say is paid for in time and memory. A cost, not a fault.",
    "training_stability": "How little the training loss went up again. A loss that jumps about has too large steps.",
    "gradient_health": "How evenly a signal from the output comes back to the first hidden layer. Where it fades, "
    "early layers do not learn; where it grows, steps become too large.",
    "convergence_quality": "How far training came down from the loss of always guessing the same, and whether it had "
    "come to rest.",
    "accuracy_consistency": "Whether the model is as good on its worst class as on the others, on new data as on "
    "training data, and on slightly changed samples as on clean ones.",
}
LEAST_ROWS = 100  # fewer samples say too little
LEAST_EPOCHS = 5  # fewer say nothing of stability
LEAST_OF_CLASS = 10  # fewer say nothing of a class
Z95 = 1.959964


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerScore:
    """What a metric says of one layer.

    Attributes
    ----------
    layer : str
        Its id in the model's graph.
    value : float
        In [0, 1].
    interval : (float, float) or None
        Of 95%.
    evidence : mapping of str to float
        The numbers that it was computed from.
    """

    layer: str
    value: float
    interval: tuple[float, float] | None = None
    evidence: Mapping[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Metric:
    """One of the six metrics.

    Attributes
    ----------
    name : str
    value : float or None
        In [0, 1], 1 is healthy; None where it cannot be known.
    reason : str or None
        Why there is no value, or what to know of it.
    interval : (float, float) or None
        Of 95%.
    layers : tuple of LayerScore
        The worst first.
    evidence : mapping of str to float
        The numbers that it was computed from.
    saturated : mapping of str to float
        For the gradient: by layer with a saturating activation, the share of its units that are saturated.
    """

    name: str
    value: float | None
    reason: str | None = None
    interval: tuple[float, float] | None = None
    layers: tuple[LayerScore, ...] = ()
    evidence: Mapping[str, float] = dataclasses.field(default_factory=dict)
    saturated: Mapping[str, float] = dataclasses.field(default_factory=dict)


def wilson(successes: float, trials: int) -> tuple[float, float]:
    """Return the 95% interval of a share (Wilson 1927).

    Examples
    --------
    >>> [round(end, 3) for end in wilson(8, 10)]
    [0.49, 0.943]
    """
    share, square = successes / trials, Z95**2
    middle = (share + square / (2 * trials)) / (1 + square / trials)
    half = Z95 * math.sqrt(share * (1 - share) / trials + square / (4 * trials**2)) / (1 + square / trials)
    return max(middle - half, 0.0), min(middle + half, 1.0)


def geometric_mean(values: Sequence[float]) -> float:
    """Return the geometric mean of values in [0, 1]: 0 if one of them is."""
    return float(math.exp(sum(math.log(value) for value in values) / len(values))) if min(values) > 0 else 0.0


def worst_first(scores: Sequence[LayerScore]) -> tuple[LayerScore, ...]:
    """Return scores by their value."""
    return tuple(sorted(scores, key=lambda score: score.value))


def clip(value: float) -> float:
    """Return what is nearest in [0, 1]."""
    return min(max(value, 0.0), 1.0)
