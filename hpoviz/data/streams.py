"""Arrays out of a ``tf.data.Dataset`` that is finite and batched."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from hpoviz.errors import DatasetError

__all__ = ["arrays_of"]

MOST_BYTES = 4e9
BATCH_ADVICE = "Make it a Dataset of pairs (x, y) and batch it: dataset.batch(32)."


def arrays_of(dataset: Any, name: str = "dataset") -> tuple[Any, np.ndarray]:
    """Return all samples and labels of a dataset of batches.

    Parameters
    ----------
    dataset : tf.data.Dataset
        Of pairs (x, y): images or texts, and labels, each with a batch axis.
    name : str
        For messages.

    Returns
    -------
    x : ndarray or list of str
    y : ndarray

    Raises
    ------
    DatasetError
        No tf.data.Dataset, no pairs, infinite, not batched, empty, or more than 4 GB.

    Examples
    --------
    >>> arrays_of(tf.data.Dataset.from_tensor_slices((["good", "bad"], [0, 1])).batch(2))[0]
    ['good', 'bad']
    """
    if not isinstance(dataset, tf.data.Dataset):
        raise DatasetError(f"{name} must be a tf.data.Dataset. Got {type(dataset).__name__}.")
    _check_form(dataset.element_spec, name)
    if dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise DatasetError(f"{name} is infinite. Leave repeat() out, or cut it: dataset.take(batches).")
    parts_x, parts_y, size = [], [], 0
    for x, y in dataset:
        parts_x.append(x.numpy())
        parts_y.append(y.numpy())
        size += parts_x[-1].nbytes
        if size > MOST_BYTES:
            raise DatasetError(
                f"{name} has more than {MOST_BYTES / 1e9:.0f} GB of samples, or does not end. Cut it: "
                "dataset.take(batches), or scale its images down."
            )
    if not parts_x:
        raise DatasetError(f"{name} is empty. Check the files or filters that it is made of.")
    try:
        samples, labels = np.concatenate(parts_x), np.concatenate(parts_y)
    except ValueError as error:
        raise DatasetError(f"{name} must have samples of one shape. Got batches that differ: {error}.") from error
    return (_texts(samples, name) if samples.dtype == object else samples), labels


def _check_form(spec: Any, name: str) -> None:
    if not isinstance(spec, tuple) or len(spec) != 2 or not all(isinstance(part, tf.TensorSpec) for part in spec):
        raise DatasetError(f"{name} must give pairs (x, y) of dense tensors. Got {spec!r}. {BATCH_ADVICE}")
    x, y = spec
    least = 1 if x.dtype == tf.string else 3
    if y.shape.rank == 0 or (x.shape.rank is not None and x.shape.rank < least):
        raise DatasetError(
            f"{name} must be batched images or texts with labels. Got x of shape {x.shape} and y of shape {y.shape}. "
            f"{BATCH_ADVICE}"
        )


def _texts(samples: np.ndarray, name: str) -> list[str]:
    if samples.ndim > 1:
        samples = samples.reshape(len(samples), -1)
        if samples.shape[1] != 1:
            raise DatasetError(f"{name} must have one text a sample. Got {samples.shape[1]}.")
    try:
        return [text.decode() for text in samples.ravel().tolist()]
    except UnicodeDecodeError as error:
        raise DatasetError(f"{name} must hold texts in UTF-8: {error}.") from error
