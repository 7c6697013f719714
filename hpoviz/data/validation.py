"""Checks of the user's arrays: what Keras takes silently or words badly is said clearly here."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hpoviz.errors import DatasetError

__all__ = [
    "CHECKS",
    "as_images",
    "as_labels",
    "as_texts",
    "check_pair",
    "checked_groups",
    "checked_names",
    "codes_of_one_hot",
    "encode_labels",
    "given_test",
    "holds_texts",
]

LARGEST_LABEL = 2**63


def as_images(x: Any, name: str = "x") -> np.ndarray:
    """Return images as an array (n, height, width, channels), dtype kept for integers, else float32.

    Raises
    ------
    DatasetError
        Not numeric, not of 3 or 4 axes, empty, NaN or infinity.
    """
    try:
        array = np.asarray(x)
    except ValueError as error:
        raise DatasetError(
            f"{name} must be one array of images of equal size, or texts. Got samples of unequal size. Lists of token "
            "numbers: give the texts that they were made of."
        ) from error
    if array.dtype.kind not in "buif":
        raise DatasetError(f"{name} must hold numbers. Got an array of dtype {array.dtype}.")
    if array.ndim not in (3, 4):
        raise DatasetError(
            f"{name} must be images of shape (samples, height, width) or (samples, height, width, channels). "
            f"Got shape {array.shape}."
        )
    if array.ndim == 4 and array.shape[1] in (1, 3) and array.shape[3] > 4:
        raise DatasetError(
            f"{name} must have its channels last. Got shape {array.shape}, with channels first: "
            f"np.moveaxis({name.split()[0]}, 1, -1) moves them."
        )
    if 0 in array.shape:
        raise DatasetError(f"{name} is empty: its shape is {array.shape}. Give at least some samples of two classes.")
    array = array if array.dtype.kind in "ui" else _as_float32(array)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        row = int(np.flatnonzero(~np.isfinite(array).reshape(len(array), -1).all(axis=1))[0])
        raise DatasetError(f"{name} must be finite. Got NaN or infinity, first in sample {row}: leave it out.")
    return array[..., np.newaxis] if array.ndim == 3 else array


def as_texts(x: Any, name: str = "x") -> np.ndarray:
    """Return texts as an array (n,) of Python strings.

    Raises
    ------
    DatasetError
        Empty, something that is no string, or a text without a word.
    """
    array = np.empty(len(x), dtype=object)
    array[:] = list(x)
    for row, text in enumerate(array):
        if not isinstance(text, str):
            raise DatasetError(f"{name} must be texts. Got {type(text).__name__} in sample {row}.")
        if not text.strip():
            raise DatasetError(
                f"{name} must hold a word in every text. Got a blank text in sample {row}: leave it out."
            )
    return array


CHECKS: dict[str, Callable[..., np.ndarray]] = {"image": as_images, "text": as_texts}


def codes_of_one_hot(labels: np.ndarray) -> np.ndarray | None:
    """Return the class of each one-hot row as whole numbers, (n,); None for labels that are no such rows.

    Examples
    --------
    >>> codes_of_one_hot(np.array([[0, 1, 0], [1, 0, 0]])).tolist(), codes_of_one_hot(np.array([1, 0]))
    ([1, 0], None)
    """
    if labels.ndim != 2 or labels.shape[1] < 2 or labels.dtype.kind not in "buif":
        return None
    if not np.isin(labels, (0, 1)).all() or (labels.sum(1) != 1).any():
        return None
    return np.asarray(labels.argmax(axis=1))


def as_labels(y: Any, name: str = "y") -> np.ndarray:
    """Return labels as an array (n,) of integers or strings; one-hot rows become their class.

    Raises
    ------
    DatasetError
        Missing values, fractions, mixed kinds, or a shape that is neither (n,), (n, 1) nor one-hot.
    """
    try:
        array = np.asarray(y)
        if array.dtype.kind == "U" and not isinstance(y, np.ndarray):
            array = np.asarray(y, dtype=object)  # NumPy made strings of numbers among them
    except ValueError as error:
        raise DatasetError(
            f"{name} must be one label a sample, or one-hot rows. Got rows of unequal length."
        ) from error
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    codes = codes_of_one_hot(array)
    if codes is not None:
        return codes
    if array.ndim != 1:
        raise DatasetError(f"{name} must be one label a sample, or one-hot rows. Got shape {array.shape}.")
    if array.dtype.kind == "O":
        return _labels_of_objects(array, name)
    if array.dtype.kind == "f":
        if not np.isfinite(array).all() or (array != np.round(array)).any():
            bad = array[~np.isfinite(array) | (array != np.round(array))][0]
            raise DatasetError(f"{name} must be class labels: whole numbers or strings. Got {bad}.")
        if np.abs(array).max() >= LARGEST_LABEL:
            raise DatasetError(
                f"{name} must be labels that fit 64 bits. Got {np.abs(array).max():g}. Number the classes from 0."
            )
        return array.astype(np.int64)
    if array.dtype.kind not in "buiU":
        raise DatasetError(f"{name} must be whole numbers or strings. Got an array of dtype {array.dtype}.")
    return _without_blanks(array, name)


def check_pair(x: np.ndarray, y: np.ndarray, what: str = "") -> None:
    """Raise DatasetError unless x and y have one length."""
    if len(x) != len(y):
        raise DatasetError(
            f"x and y{what} must have the same length. Got {len(x)} samples and {len(y)} labels. "
            "Give one label a sample, in the same order."
        )


def encode_labels(y: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return labels 0 … K−1 (int64) and the K class names in sorted order.

    Raises
    ------
    DatasetError
        Fewer than two classes, or a class with fewer than four samples.
    """
    classes, codes, counts = np.unique(y, return_inverse=True, return_counts=True)
    if len(classes) < 2:
        raise DatasetError(
            f"A classifier needs at least two classes. Got {len(classes)}: {[str(c) for c in classes]}. "
            "Check that y holds the labels."
        )
    if np.min(counts) < 4:
        rare = [f"{name!s} ({count})" for name, count in zip(classes, counts, strict=True) if count < 4]
        raise DatasetError(
            f"Every class needs at least 4 samples, to be in training, validation and test data. "
            f"Too few in: {', '.join(rare[:10])}{' …' if len(rare) > 10 else ''}. Leave them out or merge them."
        )
    return codes.astype(np.int64), tuple(str(name) for name in classes)


def holds_texts(x: Any) -> bool:
    """Tell whether there is a string among the first samples."""
    if isinstance(x, str):
        raise DatasetError(f"x must hold many samples. Got one text: {x[:60]!r}. Give a list of texts.")
    if isinstance(x, np.ndarray) and x.dtype.kind not in "OUT":
        return False
    return isinstance(x, Sequence | np.ndarray) and any(isinstance(sample, str) for sample in x[:10])


def checked_names(given: Any, found: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names that the user gives to the classes, or those found; DatasetError if they do not fit."""
    if given is None:
        return found
    if isinstance(given, str) or not isinstance(given, Sequence | np.ndarray):
        raise DatasetError(f"class_names must be a list of the {len(found)} classes' names. Got {given!r}.")
    if len(given) != len(found) or len(set(map(str, given))) != len(found):
        raise DatasetError(f"class_names must name the {len(found)} classes in y, each once. Got {list(given)!r}.")
    return tuple(map(str, given))


def checked_groups(groups: Any, samples: int) -> np.ndarray | None:
    """Return the group of each sample as a number; DatasetError unless every sample has one."""
    if groups is None:
        return None
    array = np.asarray(groups)
    if array.shape != (samples,):
        raise DatasetError(f"groups must name the group of each of the {samples} samples. Got shape {array.shape}.")
    return np.asarray(np.unique(array, return_inverse=True)[1])


def given_test(test: tuple[Any, ...], kind: str, x: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a given test set as checked arrays; DatasetError if it does not fit the training samples."""
    if len(test) != 2:
        raise DatasetError(f"test must be a pair (x, y) or a share in (0, 0.9]. Got a tuple of {len(test)}.")
    x_test, y_test = CHECKS[kind](test[0], "x of test"), as_labels(test[1], "y of test")
    check_pair(x_test, y_test, " of test")
    if x_test.shape[1:] != x.shape[1:]:
        raise DatasetError(f"x of test must have samples of shape {x.shape[1:]}. Got {x_test.shape[1:]}.")
    classes = np.unique(labels)
    unseen = np.setdiff1d(y_test, classes)
    if len(unseen):
        raise DatasetError(f"y of test has classes that y lacks: {[str(item) for item in unseen[:10]]}.")
    return x_test, np.searchsorted(classes, y_test).astype(np.int64)


def _as_float32(array: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused
        return array.astype(np.float32, copy=False)


def _labels_of_objects(array: np.ndarray, name: str) -> np.ndarray:
    kinds = {type(value) for value in array.tolist()}
    if kinds <= {str}:
        return _without_blanks(array.astype(str), name)
    if all(issubclass(kind, (numbers.Integral, np.bool_)) for kind in kinds):
        largest = max((int(label) for label in array.tolist()), key=abs)
        if abs(largest) >= LARGEST_LABEL:
            raise DatasetError(f"{name} must be labels that fit 64 bits. Got {largest}. Number the classes from 0.")
        return array.astype(np.int64)
    found = ", ".join(sorted(kind.__name__ for kind in kinds))
    raise DatasetError(f"{name} must be all whole numbers or all strings. Got labels of type {found}.")


def _without_blanks(array: np.ndarray, name: str) -> np.ndarray:
    if array.dtype.kind == "U":
        blank = np.flatnonzero(np.char.strip(array) == "")
        if len(blank):
            raise DatasetError(f"{name} must name a class for every sample. Got a blank label in sample {blank[0]}.")
    return array
