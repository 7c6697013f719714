"""What the curves of a training say of health: whether it was smooth, how far it came and whether it was done."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from hpoviz.health.metric import LEAST_EPOCHS, Metric, clip

__all__ = ["JUMPY", "convergence_quality", "training_stability", "trivial_loss"]

JUMPY = 0.05  # upward moves of the loss, as a share of the trivial loss, at which training is not stable at all
THROWN_OFF = 4.0  # a first epoch with so many times the trivial loss is not stable at all
END = 0.2  # share of the epochs that is the end of training


def training_stability(losses: Sequence[float] | None, trivial: float | None, penalty: float = 0.0) -> Metric:
    """Return how little the training loss went up, and how little above guessing it began.

    (1 − RMS of upward moves, as a share of 5% of the trivial loss) · clip(1 − log(first loss / trivial loss) / log 4)

    Parameters
    ----------
    losses : sequence of float or None
        Training loss by epoch.
    trivial : float or None
        Loss of the best constant prediction, of `trivial_loss`.
    penalty : float
        What weight penalties add to the loss in the end. With one, the first loss is not compared with guessing, as
        nobody knows how large the penalty was then.
    """
    name = "training_stability"
    problem = _no_history(losses, trivial, LEAST_EPOCHS)
    if problem or losses is None or trivial is None:
        return Metric(name=name, value=None, reason=problem)
    if not np.isfinite(losses).all():
        return Metric(name=name, value=0.0, reason=f"The loss was not finite in epoch {_first_bad(losses)}.")
    moves = np.maximum(np.diff(losses), 0.0)
    rms = float(np.sqrt(np.mean(moves**2)))
    start = 1.0 if penalty else losses[0] / trivial
    return Metric(
        name=name,
        value=(1 - min(1.0, rms / trivial / JUMPY)) * clip(1 - math.log(max(start, 1.0)) / math.log(THROWN_OFF)),
        evidence={"upward_rms": rms, "trivial_loss": trivial, "start": start},
    )


def convergence_quality(
    losses: Sequence[float] | None,
    trivial: float | None,
    validation: Sequence[float] | None = None,
    penalty: float = 0.0,
) -> Metric:
    """Return how far training came down from the trivial loss, and whether it had come to rest.

    clip(1 − last loss / trivial loss) · clip(1 − epochs · |slope of the last fifth| / trivial loss), the last loss
    without what weight penalties add to it.
    """
    name = "convergence_quality"
    problem = _no_history(losses, trivial, 2)
    if problem or losses is None or trivial is None:
        return Metric(name=name, value=None, reason=problem)
    if not np.isfinite(losses).all():
        return Metric(name=name, value=0.0, reason=f"The loss was not finite in epoch {_first_bad(losses)}.")
    end = np.asarray(losses[-max(3, round(END * len(losses))) :], dtype=float)
    slope = float(np.polyfit(np.arange(len(end)), end, 1)[0])
    last = max(losses[-1] - penalty, 0.0)
    depth, rest = clip(1 - last / trivial), clip(1 - len(losses) * abs(slope) / trivial)
    evidence = {"last_loss": last, "trivial_loss": trivial, "end_slope": slope, "epochs": len(losses)}
    evidence |= {"depth": depth, "rest": rest}
    if validation is not None and len(validation) and np.isfinite(validation).any():
        evidence["best_epoch"] = int(np.nanargmin(validation)) + 1
    return Metric(name=name, value=depth * rest, evidence=evidence)


def trivial_loss(class_counts: Sequence[int]) -> float | None:
    """Return the cross-entropy of the best constant prediction: the entropy of the labels; None for one class.

    Examples
    --------
    >>> round(trivial_loss([5, 5, 0, 5, 5]), 4) == round(float(np.log(4)), 4)
    True
    """
    counts = np.array([count for count in class_counts if count])
    shares = counts / counts.sum()
    return float(-(shares * np.log(shares)).sum()) if len(counts) > 1 else None


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
