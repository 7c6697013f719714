"""The size of a gradient."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

__all__ = ["squared_norm"]


def squared_norm(gradient: Any) -> Any:
    """Return the sum of squares of a gradient; that of an embedding is a list of rows, which may repeat."""
    if gradient is None:
        return tf.constant(0.0)
    if isinstance(gradient, tf.IndexedSlices):
        rows, at = tf.unique(gradient.indices)
        gradient = tf.math.unsorted_segment_sum(gradient.values, at, tf.size(rows))
    return 2 * tf.nn.l2_loss(tf.cast(gradient, tf.float32))  # a square may be too large for 16 bits
