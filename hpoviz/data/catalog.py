"""Data sets by name: the entry points of group ``hpoviz.datasets``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pandas as pd

from hpoviz import _html
from hpoviz.data.dataset import Dataset
from hpoviz.data.dataset_source import DatasetSource
from hpoviz.errors import DatasetError
from hpoviz.plugins import load_plugin, plugin_names

__all__ = ["DatasetTable", "datasets", "load_dataset"]

RUN_FILE, TABLES = "run.json", (".csv", ".tsv", ".txt")


class DatasetTable(pd.DataFrame):
    """A DataFrame, a row a data set, that a notebook shows with links and without cut-off words."""

    def _repr_html_(self) -> str:
        rows = [
            [f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row] for row in self.to_numpy().tolist()
        ]
        return _html.page(_html.table([str(column) for column in self.columns], rows, links=True))


def datasets() -> DatasetTable:
    """Return what `load_dataset` knows: name, kind, classes, shape, sizes, licence, what it is good for, link.

    Nothing is loaded or downloaded. A plug-in that cannot be used is there too, with the reason.

    Examples
    --------
    >>> "digits" in datasets()["name"].tolist()
    True
    """
    rows: list[dict[str, Any]] = []
    for name in plugin_names("hpoviz.datasets"):
        try:
            rows.append(_source(name).facts())
        except DatasetError as error:
            rows.append({"name": name, "good_for": f"cannot be used: {error}"})
    return DatasetTable(pd.DataFrame(rows).fillna(""))


def load_dataset(name: str, **options: Any) -> Dataset:
    """Load a data set by name.

    Those that are not embedded are downloaded the first time, into Keras' folder (``$KERAS_HOME`` or ``~/.keras``), and
    read from there later, within a second.

    Parameters
    ----------
    name : str
        See `datasets`. ``"digits"`` and ``"docstrings"`` are embedded.
    **options
        Of that data set, as ``labels="coarse"`` of ``"cifar100"``.

    Raises
    ------
    DatasetError
        Unknown name, the nearest known one is offered; an option that it does not have; or a download that failed: the
        message says which file, from where, and how to put it in place by hand.

    Examples
    --------
    >>> load_dataset("digits").x.shape
    (1437, 8, 8, 1)
    """
    source = _source(name)
    try:
        return source.load(**options)
    except TypeError as error:
        if options and "argument" in str(error):
            raise DatasetError(f"The data set {name!r} has no such option. Got {options!r}: {error}.") from error
        raise


def _source(name: Any) -> DatasetSource:
    if isinstance(name, str) and name not in plugin_names("hpoviz.datasets"):
        _refuse_path(name)
    source = load_plugin("hpoviz.datasets", name)
    if not isinstance(source, DatasetSource):
        raise DatasetError(
            f"The entry point {name!r} of group hpoviz.datasets must name a DatasetSource. Got "
            f"{type(source).__name__}. hpoviz.testing.dataset_contract checks it."
        )
    return source


def _refuse_path(name: str) -> None:
    """Raise DatasetError for a path in the place of a name, with what reads what lies there."""
    path = Path(name)
    known = f"Names: {', '.join(plugin_names('hpoviz.datasets'))}."
    if name and path.is_dir():
        call = "open_run" if (path / RUN_FILE).is_file() else "Dataset.from_folder"
        raise DatasetError(f"{name!r} is a folder, no data set's name: hpoviz.{call}({name!r}) reads it. {known}")
    if path.is_file():
        table = f"hpoviz.Dataset.from_csv({name!r}, text=…, label=…) reads it."
        how = table if path.suffix.lower() in TABLES else "hpoviz.Dataset.from_arrays takes what you read from it."
        raise DatasetError(f"{name!r} is a file, no data set's name: {how} {known}")
    if os.sep in name or "/" in name or path.suffix.lower() in TABLES:
        raise DatasetError(
            f"{name!r} is no data set's name, and there is no file or folder of that name in {str(Path.cwd())!r}. "
            f"hpoviz.Dataset.from_folder and from_csv read files. {known}"
        )
