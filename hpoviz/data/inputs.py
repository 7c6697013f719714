"""What a model takes: one array of samples, or a list, tuple or dict of arrays for a model with several inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from keras import tree

from hpoviz.errors import DatasetError

__all__ = ["as_tensors", "leaves", "rows_of", "sample_count"]


def leaves(x: Any) -> list[np.ndarray]:
    """Return the arrays of all inputs."""
    return [np.asarray(array) for array in tree.flatten(x)]


def sample_count(x: Any) -> int:
    """Return how many samples there are.

    Raises
    ------
    DatasetError
        None, or not as many for each input.

    Examples
    --------
    >>> sample_count(np.zeros((4, 2))), sample_count({"a": np.zeros(3), "b": np.ones((3, 2))})
    (4, 3)
    """
    counts = {len(array) for array in leaves(x)}
    if len(counts) != 1 or counts == {0}:
        raise DatasetError(f"x must hold at least one sample, as many for each input. Got {sorted(counts)}.")
    (count,) = counts
    return count


def rows_of(x: Any, rows: Any) -> Any:
    """Return some of the samples: rows are a slice or whole numbers."""
    return tree.map_structure(lambda array: np.asarray(array)[rows], x)


def as_tensors(x: Any) -> Any:
    """Return samples as tensors; texts as one of strings."""
    return tree.map_structure(
        lambda array: tf.constant(array.tolist(), tf.string) if array.dtype.kind in "OUS" else tf.constant(array), x
    )
