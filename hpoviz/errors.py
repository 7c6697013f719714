"""Every error that hpoviz raises on purpose: each says what came, what is allowed and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "BackendError",
    "BackendProtocol",
    "BackendUnavailable",
    "ConfigError",
    "DatasetError",
    "ExportError",
    "HpovizError",
    "ModelBuildError",
    "StoreError",
    "nearest",
]


class HpovizError(Exception):
    """The base of all errors of hpoviz: ``except hpoviz.HpovizError`` catches every one."""


class ConfigError(HpovizError, ValueError):
    """A setting or a search space that cannot work. Lists every problem at once."""


class DatasetError(HpovizError, ValueError):
    """Data that a classifier cannot be trained on, or a data set that does not exist."""


class ModelBuildError(HpovizError):
    """A model that cannot be built from its parameters and this data."""


class BackendError(HpovizError):
    """The place where trials run failed."""


class BackendUnavailable(BackendError):
    """A backend that does not exist, or whose workers cannot be started."""


class BackendProtocol(BackendError):
    """A message that does not follow the protocol between hpoviz and its workers."""


class StoreError(HpovizError):
    """A run directory that cannot be created, read or written."""


class ExportError(HpovizError):
    """Something that cannot be written in the form asked for."""


def nearest(name: object, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the known name closest to `name`, or an empty string.

    Examples
    --------
    >>> nearest("digit", ["digits", "mnist"])
    " Did you mean 'digits'?"
    >>> nearest("zebra", ["digits", "mnist"])
    ''
    """
    matches = difflib.get_close_matches(str(name), list(known), n=1, cutoff=0.6)
    return f" Did you mean '{matches[0]}'?" if matches else ""
