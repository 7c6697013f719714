"""DatasetReaders: data sets out of what people have: tables, files, folders, ``tf.data``."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from hpoviz.data.folders import read_folder
from hpoviz.data.tables import Columns, read_columns, read_csv
from hpoviz.data.validation import CHECKS

if TYPE_CHECKING:
    import pandas as pd
    import tensorflow as tf

__all__ = ["DatasetReaders"]


class DatasetReaders:
    """The part of Dataset that reads; a child has `from_arrays`, which everything read goes through."""

    @classmethod
    def from_arrays(cls, x: Any, y: Any, **settings: Any) -> Self:
        """Make a data set from samples and labels; a child does."""
        raise TypeError(f"{cls.__name__} has no from_arrays.")

    @classmethod
    def from_dataframe(
        cls,
        df: pd.DataFrame,
        *,
        text: str,
        label: str,
        groups: str | None = None,
        split: str | None = None,
        test: float = 0.2,
        name: str = "dataframe",
        seed: int = 0,
    ) -> Self:
        """Make a data set of texts from two columns of a DataFrame.

        Parameters
        ----------
        df : pandas.DataFrame
        text, label : str
            Names of the columns.
        groups : str, optional
            The column that says what each text comes from, see `from_arrays`.
        split : str, optional
            The column that says "train" or "test" in every row. None: `test` is set apart.
        test, name, seed
            See `from_arrays`.

        Raises
        ------
        DatasetError
            A column that is not there, empty cells, or data that no classifier can be trained on.

        Examples
        --------
        >>> import hpoviz, pandas as pd
        >>> reviews = pd.DataFrame({"review": ["good day", "bad luck"] * 10, "mood": ["+", "-"] * 10})
        >>> hpoviz.Dataset.from_dataframe(reviews, text="review", label="mood").class_names
        ('+', '-')
        """
        columns = read_columns(df, text=text, label=label, groups=groups, split=split)
        return cls._from_columns(columns, test=test, name=name, seed=seed)

    @classmethod
    def from_csv(
        cls,
        path: str | os.PathLike[str],
        *,
        text: str,
        label: str,
        groups: str | None = None,
        split: str | None = None,
        test: float = 0.2,
        name: str | None = None,
        seed: int = 0,
        **options: Any,
    ) -> Self:
        """Make a data set of texts from two columns of a CSV file.

        Parameters
        ----------
        path : str or path
        text, label, groups, split, test, seed
            See `from_dataframe`.
        name : str, optional
            None: that of the file.
        **options
            Of `pandas.read_csv`, as ``sep=";"`` or ``encoding="latin-1"``.

        Raises
        ------
        DatasetError
            No such file, no table in it, or what `from_dataframe` refuses.
        """
        frame, file = read_csv(path, options), str(path)
        columns = read_columns(frame, text=text, label=label, groups=groups, split=split, file=file)
        return cls._from_columns(columns, test=test, name=name or Path(path).stem, seed=seed)

    @classmethod
    def _from_columns(cls, columns: Columns, *, test: float, name: str, seed: int) -> Self:
        texts = np.empty(len(columns.texts), dtype=object)
        texts[:] = columns.texts
        as_texts = CHECKS["text"](texts, "text")
        return cls._from_marked(as_texts, columns.labels, columns.is_test, test, name, seed, groups=columns.groups)

    @classmethod
    def from_folder(
        cls,
        path: str | os.PathLike[str],
        *,
        size: tuple[int, int] | None = None,
        colour: bool | None = None,
        test: float = 0.2,
        name: str | None = None,
        seed: int = 0,
    ) -> Self:
        """Make a data set of the pictures in class folders: ``path/cat/1.png``, ``path/dog/1.png``.

        Parameters
        ----------
        path : str or path
            Holds a folder a class with PNG, JPEG, PPM, PGM or BMP pictures; or two folders, ``train`` and ``test``,
            with a folder a class each.
        size : (height, width), optional
            To which all pictures are scaled. None: their own where it is equal; else the median, its longer side at
            most 96.
        colour : bool, optional
            Three channels or one. None: three if any picture has colour.
        test, seed
            See `from_arrays`; not used where there is a ``test`` folder.
        name : str, optional
            None: that of the folder.

        Raises
        ------
        DatasetError
            No class folders, an empty one, or pictures that cannot be read; all of them are named.
        """
        found = read_folder(path, size=size, colour=colour)
        name = name or Path(path).resolve().name
        return cls._from_marked(found.x, found.y, found.is_test, test, name, seed, notes=found.notes)

    @classmethod
    def from_tf(
        cls, dataset: tf.data.Dataset, *, test: tf.data.Dataset | float = 0.2, name: str = "tf", seed: int = 0
    ) -> Self:
        """Make a data set from a ``tf.data.Dataset`` of batches (x, y) of images or texts and labels.

        Parameters
        ----------
        dataset : tf.data.Dataset
            Finite, batched.
        test : tf.data.Dataset or float
            The test set, or the share to set apart as one.
        name, seed
            See `from_arrays`.

        Raises
        ------
        DatasetError
            It is infinite, not batched, or not of pairs, or what `from_arrays` refuses.
        """
        from hpoviz.data.streams import arrays_of

        x, y = arrays_of(dataset)
        given = test if isinstance(test, float | int) else arrays_of(test, "test")
        return cls.from_arrays(x, y, test=given, name=name, seed=seed)

    @classmethod
    def _from_marked(
        cls,
        x: np.ndarray,
        labels: list[Any],
        is_test: np.ndarray | None,
        test: float,
        name: str,
        seed: int,
        *,
        groups: list[Any] | None = None,
        notes: tuple[str, ...] = (),
    ) -> Self:
        """Make a data set of samples of which some may be marked as the test set."""
        y = np.array(labels, dtype=object)
        if is_test is None:
            made = cls.from_arrays(x, y, test=test, name=name, groups=groups, seed=seed)
        else:
            kept = None if groups is None else np.array(groups)[~is_test]
            given = (x[is_test], y[is_test])
            made = cls.from_arrays(x[~is_test], y[~is_test], test=given, name=name, groups=kept)
        return dataclasses.replace(made, notes=notes)  # type: ignore[type-var]  # a child is a dataclass
