"""What a layer was told, what it is made from, and what it wraps."""

from __future__ import annotations

import functools
import inspect
import math
from typing import Any, NamedTuple

import keras

__all__ = ["base_of", "is_block", "settings_of", "wrapped_by"]

WRAPPED = ("layer", "forward_layer", "backward_layer", "cell", "cells")
NOT_SETTINGS = {"self", "name", "dtype", "trainable", "args", "kwargs", "layers", "weights", *WRAPPED}
SIMPLE = (bool, int, float, str)
PLAIN = (keras.layers.Layer, keras.Model, keras.Operation)  # what a class of no particular layer is made from


def base_of(operation: Any) -> str:
    """Return the name of Keras' layer that a class of somebody else's is made from; nothing for any other class."""
    nearest = _nearest(operation)
    return "" if nearest in (None, type(operation), *PLAIN) else nearest.__name__


def is_block(operation: Any) -> bool:
    """Tell whether an operation is a layer of somebody else's class that is put together from layers."""
    return _nearest(operation) is keras.layers.Layer and bool(operation._layers)


def _nearest(operation: Any) -> Any:
    """Return the first class of Keras' own among those that an operation's class is made from."""
    kind: Any = type(operation)
    return _nearest_of(kind)


@functools.lru_cache(maxsize=1024)
def _nearest_of(kind: Any) -> Any:
    return next((base for base in kind.__mro__ if base.__module__.startswith("keras.")), None)


def wrapped_by(operation: Any) -> list[Any]:
    """Return the layers that a wrapper wraps; none for a layer that was not given any."""
    if not _arguments(operation).wraps:
        return []
    found: dict[int, Any] = {}
    for name in WRAPPED:
        value = getattr(operation, name, None)
        for item in value if isinstance(value, list | tuple) else (value,):
            if isinstance(item, keras.layers.Layer):
                found[id(item)] = item
    return list(found.values())


class _Arguments(NamedTuple):
    """What a class takes: the names that are shown, and whether it wraps layers."""

    shown: tuple[str, ...]
    wraps: bool


def _arguments(operation: Any) -> _Arguments:
    kind: Any = type(operation)
    return _arguments_of(kind)


@functools.lru_cache(maxsize=1024)
def _arguments_of(kind: Any) -> _Arguments:
    try:
        names = list(inspect.signature(kind).parameters)
    except (TypeError, ValueError):
        return _Arguments((), False)
    shown = (name for name in names if name not in NOT_SETTINGS and not name.endswith(("_initializer", "_constraint")))
    return _Arguments(tuple(shown), not {"layer", "cell", "cells"}.isdisjoint(names))


def _attribute(operation: Any, name: str) -> Any:
    """Return an attribute; None for a property of the user's that fails."""
    try:
        return getattr(operation, name, None)
    except Exception:
        return None


def settings_of(operation: Any) -> dict[str, Any]:
    """Return the arguments of a layer's class that are numbers, words, flags, or things with a name."""
    found = {}
    for name in _arguments(operation).shown:
        value = _attribute(operation, name)
        if value is not None and (plain := _plain(value)) is not None:
            found[name] = plain
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, SIMPLE):
        return value if not isinstance(value, float) or math.isfinite(value) else str(value)
    if isinstance(value, list | tuple):
        items = [_plain(item) for item in value]
        return None if any(item is None for item in items) else items
    if inspect.isfunction(value):
        return value.__name__
    return type(value).__name__ if type(value).__module__.startswith("keras.") else None
