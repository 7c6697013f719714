"""Arrays that took long to make, kept beside Keras' own downloads and read back at once."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["cached_arrays", "keras_home"]

VERSION = 1  # of the form; another one is made anew


def keras_home() -> Path:
    """Return the folder in which Keras keeps what it downloads: ``$KERAS_HOME``, else ``~/.keras``."""
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")


def cached_arrays(name: str, make: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    """Return what `make` returns, from the second time on read from ``<keras home>/datasets/hpoviz/``.

    Numeric arrays come back as read-only memory maps, shared by all processes; lists of strings as lists. Where the
    folder cannot be written, nothing is kept, and a warning says so.

    Parameters
    ----------
    name : str
        A file name.
    make : callable
        Returns arrays of numbers and lists of strings by name.

    Examples
    --------
    >>> with tempfile.TemporaryDirectory() as home:
    ...     os.environ["KERAS_HOME"] = home
    ...     first = cached_arrays("ones", lambda: {"x": np.ones(2), "words": ["a"]})
    ...     again = cached_arrays("ones", lambda: 1 / 0)
    ...     del os.environ["KERAS_HOME"]
    ...     (again["x"].tolist(), again["words"])
    ([1.0, 1.0], ['a'])
    """
    folder = keras_home() / "datasets" / "hpoviz" / f"{name}-{VERSION}"
    try:
        return _read(folder)
    except (OSError, ValueError):  # not there yet, or damaged: it is made anew
        shutil.rmtree(folder, ignore_errors=True)
    made = dict(make())
    try:
        _write(folder, made)
    except OSError as error:
        warnings.warn(f"{name} cannot be kept in {folder}, so every load makes it anew: {error}", stacklevel=2)
        return made
    return _read(folder)


def _read(folder: Path) -> dict[str, Any]:
    names = json.loads((folder / "names.json").read_text(encoding="utf-8"))
    return {name: _read_one(folder / file) for name, file in names.items()}


def _read_one(path: Path) -> Any:
    if path.suffix == ".npy":
        return np.load(path, mmap_mode="r", allow_pickle=False)
    return json.loads(path.read_text(encoding="utf-8"))


def _write(folder: Path, made: Mapping[str, Any]) -> None:
    """Write all files beside the place of the folder, and rename: there is no half of one."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        names = {}
        for name, value in made.items():
            if isinstance(value, np.ndarray):
                names[name] = f"{name}.npy"
                np.save(temporary / names[name], value, allow_pickle=False)
            else:
                names[name] = f"{name}.json"
                (temporary / names[name]).write_text(json.dumps(value), encoding="utf-8")
        (temporary / "names.json").write_text(json.dumps(names), encoding="utf-8")
        temporary.rename(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
