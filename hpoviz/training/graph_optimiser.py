"""TensorFlow's graph optimiser, off for a while: it takes longer than it saves where a graph is run a few times."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import tensorflow as tf

__all__ = ["graph_optimiser"]


@contextlib.contextmanager
def graph_optimiser(on: bool) -> Iterator[None]:
    """Run without TensorFlow's graph optimiser, unless it is wanted; a setting of the process, put back at the end."""
    name = "disable_meta_optimizer"
    before = tf.config.optimizer.get_experimental_options().get(name, False)
    if not on:
        tf.config.optimizer.set_experimental_options({name: True})
    try:
        yield
    finally:
        if not on:
            tf.config.optimizer.set_experimental_options({name: before})
