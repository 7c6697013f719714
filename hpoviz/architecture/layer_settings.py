"""What a layer was told, and what it wraps, as plain values."""

from __future__ import annotations

import functools
import inspect
import math
from typing import Any, NamedTuple

import keras

__all__ = ["settings_of", "wrapped_by"]

WRAPPED = ("layer", "forward_layer", "backward_layer", "cell", "cells")
NOT_SETTINGS = {"self", "name", "dtype", "trainable", "args", "kwargs", "layers", "weights", *WRAPPED}
SIMPLE = (bool, int, float, str)


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
