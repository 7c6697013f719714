"""Seeded, stratified splits of rows, by scikit-learn, which keep groups whole."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, train_test_split

from hpoviz.errors import DatasetError

__all__ = ["check_share", "fold_rows", "sample_rows", "split_rows"]


def split_rows(
    y: np.ndarray, share: float, seed: Any, *, what: str, groups: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows kept and the rows set apart, both ascending, each class in proportion.

    With groups the share is met as nearly as whole groups allow.

    Parameters
    ----------
    y : ndarray, (n,)
    share : float
        To set apart, in (0, 0.9]; at most 0.5 with groups.
    what : str
        Where the share comes from, for messages.

    Raises
    ------
    DatasetError
        A wrong seed, or a share that leaves a class out of one part.

    Examples
    --------
    >>> kept, apart = split_rows(np.array([0, 1] * 4), 0.25, 0, what="test")
    >>> len(kept), len(apart)
    (6, 2)
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise DatasetError(f"seed must be a whole number from 0 to 2**32 - 1. Got {seed!r}.")
    rows = np.arange(len(y))
    try:
        if groups is None:
            kept, apart = train_test_split(rows, test_size=share, stratify=y, random_state=seed)
        else:
            folds = StratifiedGroupKFold(max(2, round(1 / share)), shuffle=True, random_state=seed)
            kept, apart = next(folds.split(rows, y, groups))
    except ValueError as error:
        raise _left_out(y, share, what) from error
    if len(np.unique(y[kept])) < len(np.unique(y)) or len(np.unique(y[apart])) < len(np.unique(y)):
        raise _left_out(y, share, what)
    return np.sort(kept), np.sort(apart)


def fold_rows(
    y: np.ndarray, folds: int, seed: int, groups: np.ndarray | None = None
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return for each fold the rows to train on and the rows to validate on, both ascending, classes in proportion.

    Every row is validated on once.

    Raises
    ------
    DatasetError
        More folds than a class has samples, or than it has groups.

    Examples
    --------
    >>> [apart.tolist() for _, apart in fold_rows(np.array([0, 0, 1, 1]), 2, 0)]
    [[1, 2], [0, 3]]
    """
    splitter = (StratifiedKFold if groups is None else StratifiedGroupKFold)(folds, shuffle=True, random_state=seed)
    rows = np.arange(len(y))
    least = int(np.bincount(y).min())
    try:
        if least < folds:
            raise ValueError
        pairs = [(np.sort(kept), np.sort(apart)) for kept, apart in splitter.split(rows, y, groups)]
    except ValueError as error:
        raise DatasetError(
            f"{folds} folds need {folds} samples of every class, and as many groups. The rarest class has {least} "
            "samples. Ask for fewer folds."
        ) from error
    classes = len(np.unique(y))
    if any(len(np.unique(y[part])) < classes for pair in pairs for part in pair):
        raise DatasetError(f"{folds} folds of whole groups leave a class out of one of them. Ask for fewer folds.")
    return pairs


def sample_rows(y: np.ndarray, n: Any, seed: int) -> np.ndarray:
    """Return `n` rows in random order, each class in proportion.

    Raises
    ------
    DatasetError
        Fewer rows than classes, or more than there are.
    """
    classes = len(np.unique(y))
    if isinstance(n, bool) or not isinstance(n, int) or not classes <= n <= len(y):
        raise DatasetError(
            f"n must be a whole number from {classes} (the classes) to {len(y)} (the samples). Got {n!r}."
        )
    rows = np.random.default_rng(seed).permutation(len(y))
    if n > len(y) - classes:  # what is left out has to hold every class too
        return rows[:n]
    return np.asarray(train_test_split(rows, train_size=n, stratify=y[rows], random_state=seed)[0])


def check_share(name: str, share: Any, allowed: str = "a share in (0, 0.9]") -> None:
    """Raise DatasetError unless `share` is a number in (0, 0.9]."""
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share <= 0.9:
        raise DatasetError(f"{name} must be {allowed}. Got {share!r}.")


def _left_out(y: np.ndarray, share: float, what: str) -> DatasetError:
    return DatasetError(
        f"{what}={share:g} leaves a class without samples in one part ({len(y)} samples, {len(np.unique(y))} classes). "
        "Give more samples, smaller groups or another share."
    )
