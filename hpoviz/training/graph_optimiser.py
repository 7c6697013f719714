"""TensorFlow's graph optimiser, off for a while: it takes longer than it saves where a graph is run a few times."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import tensorflow as tf

__all__ = ["graph_optimiser"]

SETTING = "disable_meta_optimizer"  # of the process
_lock = threading.Lock()
_off: list[bool] = []  # what it was before, once for each that wants it off


@contextlib.contextmanager
def graph_optimiser(on: bool) -> Iterator[None]:
    """Run without TensorFlow's graph optimiser, unless it is wanted; put back when the last one is done."""
    if on:
        yield
        return
    with _lock:
        _off.append(tf.config.optimizer.get_experimental_options().get(SETTING, False))
        tf.config.optimizer.set_experimental_options({SETTING: True})
    try:
        yield
    finally:
        with _lock:
            before = _off[0]
            _off.pop()
            if not _off:
                tf.config.optimizer.set_experimental_options({SETTING: before})
