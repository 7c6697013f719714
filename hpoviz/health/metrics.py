"""The six health metrics as functions of plain numbers: each gives a value in [0, 1], or None and the reason.

No value is made up: where something is missing, there is none. Formulas are explained in docs/health.md.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

__all__ = [
    "EXPLANATIONS",
    "METRICS",
    "LayerScore",
    "Metric",
    "Units",
    "accuracy_consistency",
    "active_units",
    "convergence_quality",
    "gradient_health",
    "neuron_utilization",
    "parameter_efficiency",
    "training_stability",
    "trivial_loss",
    "wilson",
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
    "parameter_efficiency": "The share of weights that the accuracy needs: how many can be set to zero before it "
    "falls. A cost, not a fault.",
    "training_stability": "How little the training loss went up again. A loss that jumps about has too large steps.",
    "gradient_health": "How evenly a signal from the output comes back to the first hidden layer. Where it fades, "
    "early layers do not learn; where it grows, steps become too large.",
    "convergence_quality": "How far training came down from the loss of always guessing the same, and whether it had "
    "come to rest.",
    "accuracy_consistency": "Whether the model is as good on its worst class as on the others, on new data as on "
    "training data, and on slightly changed samples as on clean ones.",
}
LEAST_ROWS = 100  # fewer samples say too little of a unit
RELATIVE_STD, ABSOLUTE_STD = 0.025, 1e-5  # of a layer's mean standard deviation; of a unit's own size
LEAST_EPOCHS, LEAST_OF_CLASS = 5, 10
JUMPY = 0.05  # upward moves of the loss, as a share of the trivial loss, at which training is not stable at all
END = 0.2  # share of the epochs that is the end of training
PRUNINGS = 6  # halvings, so the share is found to a 64th
WIDEST_GAP = 0.2  # between training and validation accuracy
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


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Units:
    """What the units of one hidden layer gave out, over samples and positions.

    Attributes
    ----------
    layer : str
    mean, std : ndarray, (units,)
    finite : float
        Share of the values that were finite.
    """

    layer: str
    mean: np.ndarray
    std: np.ndarray
    finite: float = 1.0


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


def active_units(mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Return which units say something, as bool, (units,).

    A unit is active if it changes from sample to sample: its standard deviation is more than 2.5% of its layer's mean
    one, and more than rounding. So a constant is dead, whether it is zero or saturated (after Sokar et al. 2023, who
    look at means, and so take saturated units for alive).

    Examples
    --------
    >>> active_units(np.array([0.0, 1.0, 0.5]), np.array([0.0, 1e-9, 0.3])).tolist()
    [False, False, True]
    """
    return np.asarray((std > RELATIVE_STD * std.mean()) & (std > ABSOLUTE_STD * np.maximum(1.0, np.abs(mean))))


def neuron_utilization(layers: Sequence[Units], rows: int) -> Metric:
    """Return the share of units that are active, as the geometric mean over the hidden layers.

    Parameters
    ----------
    layers : sequence of Units
        After their activations.
    rows : int
        Samples that were looked at.
    """
    name = "neuron_utilization"
    if not layers:
        return Metric(name=name, value=None, reason="The model has no hidden layer whose units could be looked at.")
    if rows < LEAST_ROWS:
        return Metric(name=name, value=None, reason=f"{rows} samples are too few: {LEAST_ROWS} are needed.")
    scores = []
    for layer in layers:
        active, units = int(active_units(layer.mean, layer.std).sum()), len(layer.std)
        evidence = {"active": active, "units": units, "finite": layer.finite}
        share = active / units if layer.finite == 1 else 0.0
        scores.append(LayerScore(layer=layer.layer, value=share, interval=wilson(active, units), evidence=evidence))
    broken = next((layer.layer for layer in layers if layer.finite < 1), None)
    return Metric(
        name=name,
        value=_geometric_mean([score.value for score in scores]),
        reason=f"{broken} gives out values that are not finite." if broken else None,
        interval=(
            _geometric_mean([score.interval[0] for score in scores if score.interval]),
            _geometric_mean([score.interval[1] for score in scores if score.interval]),
        ),
        layers=_worst_first(scores),
    )


def gradient_health(probes: Sequence[Sequence[tuple[str, float]]], saturated: Mapping[str, float]) -> Metric:
    """Return how evenly a signal from the logits comes back through the hidden layers; the worst probe counts.

    Parameters
    ----------
    probes : sequence of sequence of (layer, norm)
        For each probe the norms of the gradient at the hidden layers, from the first to the last.
    saturated : mapping of str to float
        By layer with a saturating activation: the share of its units whose derivative is below 2% of its maximum.
    """
    name = "gradient_health"
    known = [probe for probe in probes if probe]
    if not known:
        return Metric(name=name, value=None, reason="The model has no hidden layer that a gradient could pass.")
    values = [norm for probe in known for _, norm in probe]
    if not np.isfinite(values).all():
        return Metric(name=name, value=0.0, reason="A gradient is not finite.", layers=_flow(known[-1]))
    zero = next((layer for probe in known for layer, norm in probe if norm == 0), None)
    if zero is not None:
        return Metric(name=name, value=0.0, reason=f"No gradient reaches {zero}.", layers=_flow(known[-1]))
    if len(known[-1]) < 2:
        return Metric(
            name=name, value=None, reason="There is one hidden layer: nothing lies between the first and the last."
        )
    known = [probe for probe in known if len(probe) > 1]
    ratios = [math.log10(probe[0][1] / probe[-1][1]) for probe in known]
    worst = min(ratios, key=_flow_score)
    stuck = max(saturated.values(), default=0.0)
    return Metric(
        name=name,
        value=_flow_score(worst) * (1 - stuck),
        reason=None if len(ratios) > 1 else "Only the trained model was looked at: what vanished earlier is not seen.",
        layers=_flow(known[ratios.index(worst)]),
        evidence={"log10_ratio": worst, "saturated": stuck, "probes": len(ratios)},
        saturated=saturated,
    )


def training_stability(losses: Sequence[float] | None, trivial: float | None) -> Metric:
    """Return how little the training loss went up: 1 − RMS of its upward moves, as a share of 5% of the trivial loss.

    Parameters
    ----------
    losses : sequence of float or None
        Training loss by epoch.
    trivial : float or None
        Loss of the best constant prediction, of `trivial_loss`.
    """
    name = "training_stability"
    problem = _no_history(losses, trivial, LEAST_EPOCHS)
    if problem or losses is None or trivial is None:
        return Metric(name=name, value=None, reason=problem)
    if not np.isfinite(losses).all():
        return Metric(name=name, value=0.0, reason=f"The loss was not finite in epoch {_first_bad(losses)}.")
    moves = np.maximum(np.diff(losses), 0.0)
    rms = float(np.sqrt(np.mean(moves**2)))
    return Metric(
        name=name, value=1 - min(1.0, rms / trivial / JUMPY), evidence={"upward_rms": rms, "trivial_loss": trivial}
    )


def convergence_quality(
    losses: Sequence[float] | None, trivial: float | None, validation: Sequence[float] | None = None
) -> Metric:
    """Return how far training came down from the trivial loss, and whether it had come to rest.

    clip(1 − last loss / trivial loss) · clip(1 − epochs · |slope of the last fifth| / trivial loss)
    """
    name = "convergence_quality"
    problem = _no_history(losses, trivial, 2)
    if problem or losses is None or trivial is None:
        return Metric(name=name, value=None, reason=problem)
    if not np.isfinite(losses).all():
        return Metric(name=name, value=0.0, reason=f"The loss was not finite in epoch {_first_bad(losses)}.")
    end = np.asarray(losses[-max(3, round(END * len(losses))) :], dtype=float)
    slope = float(np.polyfit(np.arange(len(end)), end, 1)[0])
    depth, rest = _clip(1 - losses[-1] / trivial), _clip(1 - len(losses) * abs(slope) / trivial)
    evidence = {"last_loss": float(losses[-1]), "trivial_loss": trivial, "end_slope": slope, "epochs": len(losses)}
    evidence |= {"depth": depth, "rest": rest}
    if validation is not None and len(validation) and np.isfinite(validation).any():
        evidence["best_epoch"] = int(np.nanargmin(validation)) + 1
    return Metric(name=name, value=depth * rest, evidence=evidence)


def accuracy_consistency(
    labels: np.ndarray,
    predicted: np.ndarray,
    *,
    agreement: float | None = None,
    train_accuracy: float | None = None,
    seed: int = 0,
) -> Metric:
    """Return whether a model is as good on all classes, on new data, and on slightly changed data.

    (worst class' recall / mean recall) · clip(1 − gap / 0.2) · agreement

    Parameters
    ----------
    labels, predicted : ndarray of int, (n,)
        Of validation data.
    agreement : float or None
        Share of predictions that stay when small noise is added to the samples.
    train_accuracy : float or None
        For the gap between training and validation data.
    """
    name = "accuracy_consistency"
    if len(labels) < LEAST_ROWS:
        return Metric(name=name, value=None, reason=f"{len(labels)} samples are too few: {LEAST_ROWS} are needed.")
    right = labels == predicted
    classes, counts = np.unique(labels, return_counts=True)
    if len(classes) < 2:
        return Metric(name=name, value=None, reason="All samples are of one class.")
    low, high = wilson(int(right.sum()), len(right))
    chance = float(counts.max() / counts.sum())
    evidence = {"accuracy": float(right.mean()), "largest_class": chance}
    if low <= chance:
        return Metric(
            name=name, value=0.0, interval=(0.0, 0.0), evidence=evidence,
            reason=f"The accuracy ({right.mean():.3f}, 95% from {low:.3f} to {high:.3f}) is not better than always "
            f"naming the largest class ({chance:.3f}).",
        )  # fmt: skip
    large = classes[counts >= LEAST_OF_CLASS]
    if len(large) < 2:
        return Metric(name=name, value=None, reason=f"Fewer than two classes have {LEAST_OF_CLASS} samples.")
    gap = max(0.0, train_accuracy - float(right.mean())) if train_accuracy is not None else 0.0
    share, worst, recall = _evenness(labels, right, large)
    rest = _clip(1 - gap / WIDEST_GAP) * (agreement if agreement is not None else 1.0)
    drawn = _bootstrap(labels, right, large, seed)
    evidence |= {"worst_class": float(worst), "worst_recall": recall, "evenness": share, "gap": gap}
    if agreement is not None:
        evidence["agreement"] = agreement
    missing = [
        text for text, value in (("training data (no gap)", train_accuracy), ("noise", agreement)) if value is None
    ]
    return Metric(
        name=name,
        value=share * rest,
        reason=f"Without {' and '.join(missing)}." if missing else None,
        interval=(float(np.quantile(drawn, 0.025)) * rest, float(np.quantile(drawn, 0.975)) * rest),
        evidence=evidence,
    )


def parameter_efficiency(accuracy_at: Callable[[float], float], accuracy: float, rows: int, chance: float) -> Metric:
    """Return 1 − the largest share of weights that can be set to zero while validation accuracy stays within one SE.

    It is a cost, not a quality: among good models it says how many weights are not needed (global magnitude pruning).

    Parameters
    ----------
    accuracy_at : callable
        Validation accuracy with that share of the smallest weights set to zero.
    accuracy : float
        Without.
    rows : int
        Samples it is measured on.
    chance : float
        Accuracy of always naming the largest class.
    """
    name = "parameter_efficiency"
    if rows < LEAST_ROWS:
        return Metric(name=name, value=None, reason=f"{rows} samples are too few: {LEAST_ROWS} are needed.")
    if wilson(accuracy * rows, rows)[0] <= chance:
        return Metric(name=name, value=None, reason="The model is not better than chance, so no weight is needed.")
    error = math.sqrt(accuracy * (1 - accuracy) / rows)
    lowest = accuracy - max(error, 1 / rows)
    kept, too_many = 0.0, 1.0
    for _ in range(PRUNINGS):
        share = (kept + too_many) / 2
        if accuracy_at(share) >= lowest:
            kept = share
        else:
            too_many = share
    return Metric(
        name=name,
        value=1 - kept,
        reason="Alone, a model is compared with itself pruned; in a study, with the smallest that is as good.",
        evidence={"prunable": kept, "accuracy": accuracy, "lowest": lowest},
    )


def trivial_loss(labels: np.ndarray) -> float | None:
    """Return the cross-entropy of the best constant prediction: the entropy of the labels; None for one class.

    Examples
    --------
    >>> round(trivial_loss(np.array([0, 1, 2, 3])), 4) == round(math.log(4), 4)
    True
    """
    _, counts = np.unique(labels, return_counts=True)
    shares = counts / counts.sum()
    return float(-(shares * np.log(shares)).sum()) if len(counts) > 1 else None


def _flow_score(ratio: float) -> float:
    return _clip((3 + ratio) / 1.5) if ratio < 0 else _clip((3 - ratio) / 1.15)


def _flow(probe: Sequence[tuple[str, float]]) -> tuple[LayerScore, ...]:
    """Return the layers of a probe, each beside the last one."""
    last = probe[-1][1]
    scores = []
    for layer, norm in probe:
        usable = math.isfinite(norm) and norm > 0 and math.isfinite(last) and last > 0
        ratio = math.log10(norm / last) if usable else 0.0
        value = _flow_score(ratio) if usable else 0.0
        evidence = {"gradient_norm": norm, **({"log10_ratio": ratio} if usable else {})}
        scores.append(LayerScore(layer=layer, value=value, evidence=evidence))
    return _worst_first(scores)


def _no_history(losses: Sequence[float] | None, trivial: float | None, least: int) -> str | None:
    if losses is None:
        return "There is no history of the training."
    if trivial is None:
        return "All labels are of one class, so there is nothing to learn."
    if len(losses) < least:
        return f"{len(losses)} epoch{'s' if len(losses) != 1 else ''} of training are too few: {least} are needed."
    return None


def _first_bad(losses: Sequence[float]) -> int:
    return int(np.argmin(np.isfinite(losses))) + 1


def _evenness(labels: np.ndarray, right: np.ndarray, classes: np.ndarray) -> tuple[float, int, float]:
    """Return worst / mean recall, the worst class and its recall; recalls are shrunk to their mean by their noise.

    Beta-binomial, by moments: what differs between recalls no more than their sampling noise counts as no difference.
    """
    counts = np.array([(labels == one).sum() for one in classes], dtype=float)
    hits = np.array([right[labels == one].sum() for one in classes], dtype=float)
    recalls = hits / counts
    mean = float(hits.sum() / counts.sum())
    extra = float(recalls.var()) - float((mean * (1 - mean) / counts).mean())
    if extra <= 0 or mean in (0.0, 1.0):
        shrunk = np.full(len(classes), mean)
    else:
        strength = max(mean * (1 - mean) / extra - 1, 0.0)
        shrunk = (hits + mean * strength) / (counts + strength)
    worst = int(np.argmin(shrunk if extra > 0 else recalls))
    average = float(shrunk.mean())
    return (float(shrunk[worst] / average) if average else 0.0), int(classes[worst]), float(recalls[worst])


def _bootstrap(labels: np.ndarray, right: np.ndarray, classes: np.ndarray, seed: int, draws: int = 200) -> np.ndarray:
    chance = np.random.default_rng(seed)
    values = []
    for _ in range(draws):
        rows = chance.integers(0, len(labels), len(labels))
        there = [one for one in classes if (labels[rows] == one).any()]
        values.append(_evenness(labels[rows], right[rows], np.array(there))[0] if len(there) > 1 else 0.0)
    return np.array(values)


def _geometric_mean(values: Sequence[float]) -> float:
    return float(math.exp(sum(math.log(value) for value in values) / len(values))) if min(values) > 0 else 0.0


def _worst_first(scores: Sequence[LayerScore]) -> tuple[LayerScore, ...]:
    return tuple(sorted(scores, key=lambda score: score.value))


def _clip(value: float) -> float:
    return min(max(value, 0.0), 1.0)
