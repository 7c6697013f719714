"""What hidden layers say of health: how many units take part, how many were enough, and whether gradients come back."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from hpoviz.health.metric import LEAST_ROWS, LayerScore, Metric, clip, geometric_mean, wilson, worst_first
from hpoviz.health.observation import LayerLook, Snapshot

__all__ = ["active_units", "gradient_health", "neuron_utilization", "parameter_efficiency"]

USUAL_RATIO = 10.0  # units for each independent one, in healthy models of the fault zoo
RELATIVE_STD, ABSOLUTE_STD = 0.025, 1e-5  # of a layer's mean standard deviation; of a unit's own size


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


def neuron_utilization(layers: Sequence[LayerLook], rows: int) -> Metric:
    """Return the share of units that are active, as the geometric mean over the hidden layers.

    Parameters
    ----------
    layers : sequence of LayerLook
    rows : int
        Samples that were looked at.
    """
    name = "neuron_utilization"
    if not layers:
        return Metric(name=name, value=None, reason="The model has no hidden layer whose units could be looked at.")
    if rows < LEAST_ROWS:
        return Metric(name=name, value=None, reason=f"{rows} samples are too few: {LEAST_ROWS} are needed.")
    scores = []
    for look in layers:
        share = look.active / look.units if look.finite == 1 else 0.0
        evidence: dict[str, float] = {"active": look.active, "units": look.units, "finite": look.finite}
        scores.append(
            LayerScore(layer=look.layer, value=share, interval=wilson(look.active, look.units), evidence=evidence)
        )
    broken = next((look.layer for look in layers if look.finite < 1), None)
    return Metric(
        name=name,
        value=geometric_mean([score.value for score in scores]),
        reason=f"{broken} gives out values that are not finite." if broken else None,
        interval=(
            geometric_mean([score.interval[0] for score in scores if score.interval]),
            geometric_mean([score.interval[1] for score in scores if score.interval]),
        ),
        layers=worst_first(scores),
    )


def parameter_efficiency(layers: Sequence[LayerLook], rows: int, *, better_than_chance: bool) -> Metric:
    """Return how few units more there are than say something of their own, as the geometric mean over hidden layers.

    A layer of n units whose outputs have a participation ratio of r (trace² / trace of the square of their covariance)
    has clip(1 − log₁₀(n / r / 10) / 2): ten units for each independent one are usual, a thousand are none the better.
    It is a cost, not a quality.

    Parameters
    ----------
    layers : sequence of LayerLook
    rows : int
        Samples that were looked at.
    better_than_chance : bool
        Of the model's accuracy.
    """
    name = "parameter_efficiency"
    known = [look for look in layers if look.effective_units is not None]
    if not known:
        return Metric(name=name, value=None, reason="The model has no hidden layer whose units could be counted.")
    if rows < LEAST_ROWS:
        return Metric(name=name, value=None, reason=f"{rows} samples are too few: {LEAST_ROWS} are needed.")
    scores = []
    for look in known:
        ratio = look.units / max(look.effective_units or 1.0, 1.0)
        value = clip(1 - math.log10(ratio / USUAL_RATIO) / 2)
        evidence: dict[str, float] = {"units": look.units, "effective_units": look.effective_units or 0.0}
        scores.append(LayerScore(layer=look.layer, value=value, evidence={**evidence, "ratio": ratio}))
    return Metric(
        name=name,
        value=geometric_mean([score.value for score in scores]) if better_than_chance else 0.0,
        reason=None if better_than_chance else "The model is not better than chance: no weight is of any use.",
        layers=worst_first(scores),
    )


def gradient_health(snapshots: Sequence[Snapshot]) -> Metric:
    """Return how evenly a signal from the logits comes back through the hidden layers; the worst snapshot counts.

    Parameters
    ----------
    snapshots : sequence of Snapshot
        While the model was trained, where they were taken; the last is the model as it is.
    """
    name = "gradient_health"
    seen = [snapshot.layers for snapshot in snapshots if snapshot.layers]
    if not seen:
        return Metric(name=name, value=None, reason="The model has no hidden layer that a gradient could pass.")
    norms = [layer.gradient_norm for layers in seen for layer in layers]
    if not np.isfinite(norms).all():
        return Metric(name=name, value=0.0, reason="A gradient is not finite.", layers=_flow(seen[-1]))
    blocked = next((layer for layers in seen for layer in layers if layer.gradient_norm == 0), None)
    if blocked is not None:
        return Metric(name=name, value=0.0, reason=f"No gradient reaches {blocked.layer}.", layers=_flow(seen[-1]))
    saturated = {layer.layer: layer.saturated for layer in seen[-1] if layer.saturated is not None}
    ratios = [math.log10(layers[0].gradient_norm / layers[-1].gradient_norm) for layers in seen]
    worst = min(ratios, key=_flow_score)
    stuck = max(saturated.values(), default=0.0)
    return Metric(
        name=name,
        value=_flow_score(worst) * (1 - stuck),
        reason=_caveat(len(ratios), len(seen[-1])),
        layers=_flow(seen[ratios.index(worst)]),
        evidence={"log10_ratio": worst, "saturated": stuck, "snapshots": len(ratios)},
        saturated=saturated,
    )


def _caveat(snapshots: int, layers: int) -> str | None:
    """Say what there is to know of the value."""
    if layers == 1:
        return "There is one hidden layer: only its saturation counts, as nothing lies between the first and the last."
    return None if snapshots > 1 else "Only the trained model was looked at: what vanished earlier is not seen."


def _flow_score(ratio: float) -> float:
    return clip((3 + ratio) / 1.5) if ratio < 0 else clip((3 - ratio) / 1.15)


def _flow(layers: Sequence[LayerLook]) -> tuple[LayerScore, ...]:
    """Return the layers of a snapshot, each beside the last one."""
    last = layers[-1].gradient_norm
    scores = []
    for look in layers:
        norm = look.gradient_norm
        usable = math.isfinite(norm) and norm > 0 and math.isfinite(last) and last > 0
        ratio = math.log10(norm / last) if usable else 0.0
        value = _flow_score(ratio) if usable else 0.0
        evidence = {"gradient_norm": norm, **({"log10_ratio": ratio} if usable else {})}
        scores.append(LayerScore(layer=look.layer, value=value, evidence=evidence))
    return worst_first(scores)
