"""Plug-ins: backends, data sets and architectures are entry points, the built-in ones included."""

from __future__ import annotations

import importlib.metadata
from typing import Any

from hpoviz.errors import BackendUnavailable, ConfigError, DatasetError, HpovizError, nearest

__all__ = ["load_plugin", "plugin_names"]

_KINDS: dict[str, tuple[str, type[HpovizError]]] = {
    "hpoviz.architectures": ("architecture", ConfigError),
    "hpoviz.backends": ("backend", BackendUnavailable),
    "hpoviz.datasets": ("data set", DatasetError),
}


def plugin_names(group: str) -> list[str]:
    """Return the sorted names of a group's plug-ins, installed packages' included."""
    return sorted(importlib.metadata.entry_points(group=group).names)


def load_plugin(group: str, name: Any) -> Any:
    """Return the object behind a plug-in's name.

    Raises
    ------
    DatasetError, ConfigError or BackendUnavailable
        By group: nothing has that name, or its module cannot be imported.

    Examples
    --------
    >>> load_plugin("hpoviz.architectures", "cnn").__name__
    'CnnConfig'
    """
    kind, error_type = _KINDS[group]
    known = plugin_names(group)
    if not known:
        raise error_type(
            f"No {kind} is registered, not even a built-in one. Install hpoviz with pip; a copy is not enough."
        )
    if not isinstance(name, str) or name not in known:
        raise error_type(f"Unknown {kind} {name!r}.{nearest(name, known)} Known: {', '.join(known)}.")
    (entry,) = list(importlib.metadata.entry_points(group=group, name=name))[:1]
    try:
        return entry.load()
    except Exception as error:
        raise error_type(
            f"The {kind} {name!r} ({entry.value}) cannot be loaded: {error}. Reinstall its package."
        ) from error
