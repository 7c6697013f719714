"""Concerns: what may be wrong with data that can be trained on, said before it costs a search."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["concerns_of"]

RARE = 0.1  # of the most frequent class
MOST_NAMED = 5
LARGEST_SCALED = 20.0  # standard deviations: larger values are outliers, or the unit of a column that is no picture


def concerns_of(
    kind: str, x: np.ndarray, y: np.ndarray, x_test: np.ndarray, y_test: np.ndarray, class_names: Sequence[str]
) -> tuple[str, ...]:
    """Return one sentence for each thing that a person should look at.

    Parameters
    ----------
    kind : {"image", "text"}
    x, x_test : ndarray
        Images (n, height, width, channels), or texts (n,).
    y, y_test : ndarray of int, (n,)
    class_names : sequence of str

    Examples
    --------
    >>> x = np.arange(64, dtype="uint8").reshape(16, 2, 2, 1)
    >>> concerns_of("image", x, np.arange(16) % 2, x[:2], np.array([0, 1]), ("a", "b"))[0]
    'Test samples that are training samples too: 2, first test sample 0. The test accuracy will be too high.'
    """
    found = [*_imbalance(y, class_names), *_missing(y_test, class_names), *_duplicates(x, y, x_test)]
    if kind == "image":
        found += _scale(x) + _constant(x)
    return tuple(found)


def _imbalance(y: np.ndarray, class_names: Sequence[str]) -> list[str]:
    counts = np.bincount(y, minlength=len(class_names))
    least, most = int(counts.argmin()), int(counts.argmax())
    if counts[least] >= RARE * counts[most]:
        return []
    return [
        f"Class {class_names[least]!r} has {counts[least]} training samples, {class_names[most]!r} {counts[most]}: "
        "accuracy says little of rare classes. Look at their recall."
    ]


def _missing(y_test: np.ndarray, class_names: Sequence[str]) -> list[str]:
    missing = [name for code, name in enumerate(class_names) if not (y_test == code).any()]
    if not missing:
        return []
    named = ", ".join(missing[:MOST_NAMED])
    return [f"Classes without a test sample: {len(missing)} ({named}). The test accuracy says nothing of them."]


def _duplicates(x: np.ndarray, y: np.ndarray, x_test: np.ndarray) -> list[str]:
    """Look for equal samples in training and test data, and for equal ones with different labels."""
    seen: dict[bytes, int] = {}
    again, contradictions = 0, []
    for row, key in enumerate(map(_content, x)):
        first = seen.setdefault(key, row)
        if first != row:
            again += 1
            if y[first] != y[row]:
                contradictions.append((first, row))
    shared = [row for row, key in enumerate(map(_content, x_test)) if key in seen]
    found = []
    if shared:
        found.append(
            f"Test samples that are training samples too: {len(shared)}, first test sample {shared[0]}. The test "
            "accuracy will be too high."
        )
    if contradictions:
        found.append(
            f"Training samples that equal an earlier one of another class: {len(contradictions)}, first samples "
            f"{contradictions[0][0]} and {contradictions[0][1]}. No model can have both right."
        )
    elif again:
        found.append(
            f"Training samples that equal an earlier one: {again}. One copy may be trained on and the other validated "
            "on: leave them out, or give equal ones one group."
        )
    return found


def _content(sample: object) -> bytes:
    return sample.tobytes() if isinstance(sample, np.ndarray) else str(sample).encode()


def _scale(x: np.ndarray) -> list[str]:
    low, high = float(x.min()), float(x.max())
    mean, deviation = float(x.mean(dtype=np.float64)), float(x.std(dtype=np.float64))
    if deviation and max(high - mean, mean - low) > LARGEST_SCALED * deviation:
        return [f"Values run from {low:g} to {high:g}, far from their mean {mean:g}: look for outliers."]
    if low < -1 or high > 1:
        return [f"Values run from {low:g} to {high:g}: hpoviz's models scale them; a build_model of your own has to."]
    return []


def _constant(x: np.ndarray) -> list[str]:
    flat = x.reshape(len(x), -1)
    constant = np.flatnonzero(flat.min(axis=1) == flat.max(axis=1))
    if not len(constant):
        return []
    named = ", ".join(map(str, constant[:MOST_NAMED]))
    return [f"Training images of one flat colour: {len(constant)}, as sample {named}. Nothing can be seen in them."]
