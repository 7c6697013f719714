"""What is read of a training's history: its curves, and what was seen of the layers meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from hpoviz.errors import ConfigError
from hpoviz.health.observation import Snapshot

__all__ = ["curves_of", "snapshots_of"]

CURVES = {"loss": "loss", "val_loss": "val_loss", "accuracy": "accuracy", "val_accuracy": "val_accuracy"}
CURVES |= {"learning_rate": "learning_rate", "lr": "learning_rate"}
CURVES |= {f"{val}{name}": f"{val}accuracy" for val in ("", "val_") for name in ("acc", "sparse_categorical_accuracy")}


def curves_of(history: Any) -> dict[str, list[float]]:
    """Return the curves that a history holds, by name, as "loss", "val_accuracy" or "learning_rate"; others empty.

    Parameters
    ----------
    history : keras.callbacks.History, HealthCallback, mapping, DataFrame or None

    Raises
    ------
    ConfigError

    Examples
    --------
    >>> curves_of({"loss": [2.0, 1.0], "acc": [0.1, 0.5], "lr": [0.1, 0.1], "mae": [1, 1]})
    {'loss': [2.0, 1.0], 'accuracy': [0.1, 0.5], 'learning_rate': [0.1, 0.1], 'mae': []}
    """
    if history is None:
        return {}
    values = getattr(history, "history", history)
    if not hasattr(values, "keys"):
        raise ConfigError(
            f"history must be what fit() returned, a mapping or a DataFrame. Got {type(history).__name__}."
        )
    found: dict[str, list[float]] = {}
    for name in values.keys():  # noqa: SIM118  of a DataFrame too
        curve = CURVES.get(str(name))
        found[curve or str(name)] = _numbers(str(name), values[name]) if curve else []
    return found


def snapshots_of(history: Any) -> tuple[Snapshot, ...]:
    """Return what a HealthCallback saw; nothing of other histories."""
    snapshots: Sequence[Snapshot] = getattr(history, "snapshots", ())
    return tuple(snapshots)


def _numbers(name: str, values: Any) -> list[float]:
    try:
        curve = np.asarray(values, dtype=float)
    except (TypeError, ValueError):
        curve = np.zeros((0, 0))
    if curve.ndim != 1:
        raise ConfigError(f"history[{name!r}] must hold a number an epoch.")
    return [float(value) for value in curve]
