"""Plug-ins: backends, data sets and architectures are entry points, the built-in ones included."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import sys
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
    return sorted(_installed()[group].names)


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
    (entry,) = list(_installed()[group].select(name=name))[:1]
    try:
        return entry.load()
    except Exception as error:
        raise error_type(
            f"The {kind} {name!r} ({entry.value}) cannot be loaded: {error}. Reinstall its package."
        ) from error


def _installed() -> dict[str, importlib.metadata.EntryPoints]:
    """Return the entry points by group; they are read anew once a package was installed or removed."""
    return _read(tuple((folder, _changed(folder)) for folder in sys.path))


@functools.lru_cache(maxsize=1)
def _read(_state: tuple[tuple[str, int], ...]) -> dict[str, importlib.metadata.EntryPoints]:
    every = importlib.metadata.entry_points()
    return {group: every.select(group=group) for group in _KINDS}


def _changed(folder: str) -> int:
    try:
        return os.stat(folder or ".").st_mtime_ns
    except OSError:  # sys.path may name what is not there
        return 0
