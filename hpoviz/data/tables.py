"""Texts and labels out of tables: DataFrames and CSV files."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hpoviz.data.validation import as_labels
from hpoviz.errors import DatasetError, nearest

__all__ = ["Columns", "read_columns", "read_csv"]

MOST_NAMED = 5  # rows that a message names
SEPARATORS = ";\t|"  # beside the comma, in files that are called CSV


@dataclasses.dataclass(frozen=True, kw_only=True)
class Columns:
    """What was read from a table, in its order of rows.

    Attributes
    ----------
    texts, labels : list
    groups : list or None
    is_test : ndarray of bool or None
        Which rows the split column gives to the test set; None without such a column.
    """

    texts: list[Any]
    labels: list[Any]
    groups: list[Any] | None
    is_test: np.ndarray | None


def read_columns(
    frame: Any, *, text: str, label: str, groups: str | None, split: str | None, file: str | None = None
) -> Columns:
    """Return the columns of a table that a data set is made of.

    Parameters
    ----------
    frame : pandas.DataFrame
        Its index does not matter.
    text, label, groups, split : str
        Names of columns; the last two may be None.
    file : str, optional
        What the table was read from: messages then speak of it, not of a DataFrame.

    Raises
    ------
    DatasetError
        No DataFrame, a column that is missing or there twice, empty cells, labels that are none or all the same, a
        split that is not train and test.

    Examples
    --------
    >>> frame = pd.DataFrame({"review": ["good", "bad"], "stars": [5, 1]})
    >>> read_columns(frame, text="review", label="stars", groups=None, split=None).labels
    [5, 1]
    """
    if not isinstance(frame, pd.DataFrame):
        raise DatasetError(f"df must be a pandas DataFrame. Got {type(frame).__name__}.")
    if frame.empty:
        what = "df" if file is None else repr(file)
        raise DatasetError(f"{what} is empty: {len(frame)} rows, {len(frame.columns)} columns.")
    wanted = {"text": text, "label": label, "groups": groups, "split": split}
    found = {role: _column(frame, role, name, file) for role, name in wanted.items() if name is not None}
    _check_labels(found["label"], label, [str(column) for column in frame.columns])
    return Columns(
        texts=found["text"].tolist(),
        labels=found["label"].tolist(),
        groups=found["groups"].tolist() if groups is not None else None,
        is_test=_is_test(found["split"], str(split)) if split is not None else None,
    )


def read_csv(path: str | os.PathLike[str], options: Mapping[str, Any]) -> pd.DataFrame:
    """Read a CSV file with `pandas.read_csv`.

    Raises
    ------
    DatasetError
        No such file, or one that cannot be read as a table.
    """
    file = Path(path)
    if not file.is_file():
        raise DatasetError(f"There is no file {str(file)!r}.{_beside(file)}")
    try:
        frame: pd.DataFrame = pd.read_csv(file, **options)
        return frame
    except UnicodeDecodeError as error:
        raise DatasetError(
            f"{str(file)!r} is not in UTF-8: {error}. Say its encoding, as encoding='latin-1' or 'cp1252'."
        ) from error
    except (ValueError, TypeError, OSError) as error:  # pandas' ParserError and EmptyDataError are ValueErrors
        raise DatasetError(
            f"{str(file)!r} cannot be read as a table: {error}. Options of pandas.read_csv may help, as sep=';' or "
            "on_bad_lines='skip'."
        ) from error


def _column(frame: pd.DataFrame, role: str, name: str, file: str | None) -> pd.Series:
    """Return a column without empty cells."""
    known = [str(column) for column in frame.columns]
    if name not in frame.columns:
        hint = _separator(known) or nearest(name, known)
        raise DatasetError(f"{role}={name!r} is no column.{hint} Columns: {', '.join(known[:20])}.")
    if known.count(name) > 1:
        raise DatasetError(f"{role}={name!r} names {known.count(name)} columns. Give them names of their own.")
    column = frame[name]
    empty = np.flatnonzero(column.isna().to_numpy())
    if len(empty):
        drop = f"dropna(subset=[{name!r}])"
        advice = f"Leave them out: df.{drop}."
        if file is not None:
            advice = (
                "Rows count from 0 below the header. Fill these cells or remove their rows in the file; or leave them "
                f"out by df = pandas.read_csv(…).{drop}, and Dataset.from_dataframe(df, …)."
            )
        raise DatasetError(f"Column {name!r} is empty in {len(empty)} rows, first in {_rows(frame, empty)}. {advice}")
    return column


def _separator(known: list[str]) -> str:
    """Return what to do where the only column holds the separators of several."""
    found = [mark for mark in SEPARATORS if len(known) == 1 and mark in known[0]]
    return f" The columns are separated by {found[0]!r}: read the file with sep={found[0]!r}." if found else ""


def _check_labels(column: pd.Series, name: str, known: list[str]) -> None:
    """Raise DatasetError for what are no labels, and where all are the same."""
    labels = np.unique(as_labels(np.array(column.tolist(), dtype=object), f"Column {name!r}"))
    if len(labels) == 1:
        raise DatasetError(
            f"A classifier needs at least two classes. Got 1 in column {name!r}: {str(labels[0])!r}. Is it the column "
            f"of the labels? Columns: {', '.join(known[:20])}."
        )


def _is_test(column: pd.Series, name: str) -> np.ndarray:
    said = column.astype(str).str.strip().str.lower()
    wrong = np.flatnonzero(~said.isin(["train", "test"]).to_numpy())
    if len(wrong):
        raise DatasetError(
            f"Column {name!r} must say 'train' or 'test' in every row. Got {column.iloc[wrong[0]]!r}. Keep validation "
            "rows as 'train': hpoviz sets its own validation data apart."
        )
    is_test = np.asarray(said == "test")
    if is_test.all() or not is_test.any():
        raise DatasetError(f"Column {name!r} must say both 'train' and 'test'. Got only {said.iloc[0]!r}.")
    return is_test


def _rows(frame: pd.DataFrame, at: np.ndarray) -> str:
    """Name rows by position and, where it says something else, by index."""
    plain = isinstance(frame.index, pd.RangeIndex)
    named = [str(row) if plain else f"{row} (index {frame.index[row]!r})" for row in at[:MOST_NAMED]]
    return f"row {', '.join(named)}{' …' if len(at) > MOST_NAMED else ''}"


def _beside(file: Path) -> str:
    """Offer the file of nearest name in the same folder."""
    if not file.parent.is_dir():
        return f" There is no folder {str(file.parent)!r} either."
    return nearest(file.name, [other.name for other in file.parent.iterdir() if other.is_file()])
