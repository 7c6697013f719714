"""Which samples of a user's data the health of a model is looked at with."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from keras import tree

from hpoviz.data.dataset import Dataset
from hpoviz.data.inputs import rows_of, sample_count
from hpoviz.data.splitting import sample_rows
from hpoviz.data.validation import codes_of_one_hot
from hpoviz.errors import DatasetError

__all__ = ["ROWS", "Samples", "parts_of", "samples_of"]

ROWS = 512  # of validation and of training samples


@dataclasses.dataclass(frozen=True, eq=False)
class Samples:
    """Validation samples, as many training samples where there are some, and how many of each class there are.

    Attributes
    ----------
    x, y : ndarray
        Validation samples and their labels; `x` is a list, tuple or dict of arrays for a model with several inputs.
    x_train, y_train : ndarray or None
    class_counts : ndarray of int, (classes,)
        Of all training samples; of the validation samples where there are no others.
    one_hot : int or None
        How many columns the labels had, where they came as one-hot rows.
    """

    x: Any
    y: np.ndarray
    x_train: Any
    y_train: np.ndarray | None
    class_counts: np.ndarray
    one_hot: int | None = None

    def check_classes(self, model: str, classes: int, outputs: int) -> None:
        """Raise DatasetError for labels that are none of a model's classes."""
        if self.one_hot is not None and self.one_hot != outputs:
            raise DatasetError(
                f"One-hot labels must have a column for each output of {model!r}, which has {outputs}. "
                f"Got {self.one_hot} columns. Pass whole numbers instead: y.argmax(axis=1)."
            )
        largest = max(int(self.y.max()), len(self.class_counts) - 1)
        if largest >= classes:
            raise DatasetError(
                f"Labels must be from 0 to {classes - 1}, as {model!r} has {classes} classes. Got {largest}."
            )


def samples_of(data: Any, rows: int, seed: int) -> Samples:
    """Choose at most `rows` validation and `rows` training samples, of all classes as they come.

    Parameters
    ----------
    data : Dataset, or (x, y), or ((x_train, y_train), (x_val, y_val))
    rows, seed : int

    Raises
    ------
    DatasetError

    Examples
    --------
    >>> found = samples_of((np.zeros((300, 4)), np.arange(300) % 3), 120, 0)
    >>> found.x.shape, found.x_train, found.class_counts.tolist()
    ((120, 4), None, [100, 100, 100])
    """
    if isinstance(data, Dataset):
        train, val = data.split_rows(seed=seed)
        chosen, others = _some(data.x, data.y, rows, seed, val), _some(data.x, data.y, rows, seed, train)
        return Samples(*chosen, *others, np.bincount(data.y[train]))
    try:
        first, second = data
    except (TypeError, ValueError):
        raise DatasetError(
            f"data must be a Dataset, (x, y), or ((x_train, y_train), (x_val, y_val)). Got {type(data).__name__}."
        ) from None
    if _is_pair(first) and _is_pair(second):
        chosen, others = _some(second[0], second[1], rows, seed), _some(first[0], first[1], rows, seed)
        return Samples(*chosen, *others, np.bincount(_labels(first[1])), _columns(first[1], second[1]))
    chosen = _some(first, second, rows, seed)
    return Samples(*chosen, None, None, np.bincount(_labels(second)), _columns(second))


def parts_of(data: Any, seed: int) -> Any:
    """Return all of the data as ((x_train, y_train), (x_val, y_val)); labels whole numbers, or one-hot as they came.

    Raises
    ------
    DatasetError
        There are no training samples apart.
    """
    if isinstance(data, Dataset):
        train, val = data.split_rows(seed=seed)
        return (data.x[train], data.y[train]), (data.x[val], data.y[val])
    if not (_is_pair(data) and _is_pair(data[0]) and _is_pair(data[1])):
        raise DatasetError("To train again, data must be a Dataset or ((x_train, y_train), (x_val, y_val)).")
    one_hot = _columns(data[0][1], data[1][1]) is not None
    return tuple((tree.map_structure(np.asarray, x), np.asarray(y) if one_hot else _labels(y)) for x, y in data)


def _is_pair(value: Any) -> bool:
    return isinstance(value, tuple | list) and len(value) == 2


def _some(x: Any, y: Any, count: int, seed: int, among: np.ndarray | None = None) -> tuple[Any, np.ndarray]:
    """Return some samples with their labels, of all or of those in some rows."""
    labels = _labels(y)
    if not isinstance(x, dict) and not (isinstance(x, list | tuple) and len(x) != len(labels)):
        x = np.asarray(x)  # else a list of inputs
    count_x = sample_count(x) if len(labels) else 0
    if not len(labels) or count_x != len(labels):
        raise DatasetError(
            f"data must hold a label for each sample, and some. Got {count_x} samples, {len(labels)} labels."
        )
    rows = np.arange(len(labels)) if among is None else among
    if len(rows) > count:
        rows = np.sort(rows[sample_rows(labels[rows], count, seed)])
    return rows_of(x, rows), labels[rows]


def _columns(*parts: Any) -> int | None:
    """Return how many columns labels have that are one-hot; None for whole numbers."""
    shapes = {np.shape(y)[1:] if codes_of_one_hot(np.asarray(y)) is not None else () for y in parts}
    if len(shapes) > 1:
        raise DatasetError(
            "Labels of training and of validation samples must be coded alike: whole numbers, or one-hot rows of as "
            "many columns. y.argmax(axis=1) makes whole numbers of one-hot rows."
        )
    (shape,) = shapes
    return shape[0] if shape else None


def _labels(y: Any) -> np.ndarray:
    """Return labels as whole numbers, (n,)."""
    labels = np.asarray(y)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    codes = codes_of_one_hot(labels)
    if codes is not None:
        return codes
    if labels.ndim == 2 and np.issubdtype(labels.dtype, np.number):
        raise DatasetError(
            f"Labels must be whole numbers from 0, one a sample, or one-hot rows (0, and 1 in one column). Got "
            f"{labels.dtype} of shape {labels.shape}. If the largest of each row is its class, pass y.argmax(axis=1)."
        )
    if labels.ndim != 1 or not (np.issubdtype(labels.dtype, np.number) or labels.dtype == bool):
        raise DatasetError(
            f"Labels must be whole numbers from 0, one a sample. Got {labels.dtype} of shape {labels.shape}."
        )
    whole = labels.astype(np.int64)
    if (whole != labels).any() or (whole < 0).any():
        raise DatasetError(
            "Labels must be whole numbers from 0: this looks like a regression, and health is for classifiers."
        )
    return whole
