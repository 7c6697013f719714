"""What predictions say of health: whether they are as good on every class, on new data and on changed data."""

from __future__ import annotations

import numpy as np

from hpoviz.health.metric import LEAST_OF_CLASS, LEAST_ROWS, Metric, clip, wilson

__all__ = ["accuracy_consistency"]

WIDEST_GAP = 0.2  # between training and validation accuracy


def accuracy_consistency(
    labels: np.ndarray,
    predicted: np.ndarray,
    *,
    agreement: float | None = None,
    train_accuracy: float | None = None,
    seed: int = 0,
) -> Metric:
    """Return whether a model is as good on all classes, on new data, and on slightly changed data.

    (worst class' recall / mean recall) · clip(1 − |gap| / 0.2) · agreement

    Parameters
    ----------
    labels, predicted : ndarray of int, (n,)
        Of validation data.
    agreement : float or None
        Share of predictions that stay when small noise is added to the samples.
    train_accuracy : float or None
        For the gap between training and validation data. Where validation data do better than training data, the
        training labels are not those of the validation data.
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
    gap = train_accuracy - float(right.mean()) if train_accuracy is not None else 0.0
    share, worst, recall = _evenness(labels, right, large)
    rest = clip(1 - abs(gap) / WIDEST_GAP) * (agreement if agreement is not None else 1.0)
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
