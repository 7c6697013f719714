"""RecordedData: data of a run on disk that were not passed again, known by what ``run.json`` says of them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, NoReturn, cast

import numpy as np

from hpoviz import _html
from hpoviz.data.data_split import DataSplit
from hpoviz.data.dataset import Dataset
from hpoviz.data.info import DataInfo
from hpoviz.errors import ConfigError

__all__ = ["MissingRows", "RecordedData"]


class MissingRows:
    """Stands for an array of which only the shape is known: whoever asks for its values is told what to do.

    Examples
    --------
    >>> rows = MissingRows((240, 8, 8, 1), "The data must be passed again.")
    >>> len(rows), rows.shape[1:]
    (240, (8, 8, 1))
    >>> rows[0]
    Traceback (most recent call last):
        ...
    hpoviz.errors.ConfigError: The data must be passed again.
    """

    def __init__(self, shape: tuple[int, ...], refusal: str) -> None:
        self.shape, self._refusal = shape, refusal

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise ConfigError(self._refusal)

    def __getitem__(self, rows: Any) -> NoReturn:
        raise ConfigError(self._refusal)

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):  # what Python and NumPy look for
            raise AttributeError(name)
        raise ConfigError(self._refusal)


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class RecordedData(Dataset):
    """Enough to look at a run: names, shapes and numbers of the samples, and no sample.

    Attributes
    ----------
    record : mapping
        What ``run.json`` says of the data.
    refusal : str
        What to do, for whoever needs the samples.
    """

    record: Mapping[str, Any]
    refusal: str

    @classmethod
    def of(cls, record: Mapping[str, Any], refusal: str) -> RecordedData:
        """Return what stands for the data of a run.

        Examples
        --------
        >>> record = {"name": "mine", "kind": "image", "shape": [8, 8, 1], "classes": ["a", "b"], "sha256": "0"}
        >>> record |= {"train": 192, "validation": 48, "test": 60, "test_origin": "given with the data"}
        >>> data = RecordedData.of(record, "Pass them again.")
        >>> data
        <Dataset mine: 240 images of 8×8×1 in 2 classes, and 60 test samples (given with the data)>
        >>> len(data.split().x_val)
        48
        """
        each = () if record["kind"] == "text" else tuple(record["shape"])
        rows = record["train"] + record["validation"]
        return cls(
            name=record["name"],
            kind=record["kind"],
            x=_missing((rows, *each), refusal),
            y=_missing((rows,), refusal),
            x_test=_missing((record["test"], *each), refusal),
            y_test=_missing((record["test"],), refusal),
            class_names=tuple(record["classes"]),
            test_origin=record["test_origin"],
            record=record,
            refusal=refusal,
        )

    @functools.cached_property
    def sha256(self) -> str:
        """Hash of all samples and labels, as it was recorded."""
        return str(self.record["sha256"])

    def split(self, validation_fraction: float = 0.2, seed: int = 0) -> DataSplit:
        """Return the split of the run: its numbers of samples, and none of them."""
        shape, record = tuple(self.record["shape"]), self.record
        rows = {"train": record["train"], "val": record["validation"]}
        arrays = {f"x_{part}": _missing((count, *shape), self.refusal) for part, count in rows.items()}
        arrays |= {f"y_{part}": _missing((count,), self.refusal) for part, count in rows.items()}
        info = DataInfo(name=self.name, kind=self.kind, input_shape=shape, class_names=self.class_names)
        return DataSplit(**arrays, info=info)

    def split_rows(self, validation_fraction: float = 0.2, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Return no rows, as none is here."""
        return np.arange(0), np.arange(0)

    def _repr_html_(self) -> str:
        return _html.page(_html.paragraph(repr(self)[1:-1], strong=True) + _html.paragraph(self.refusal))


def _missing(shape: tuple[int, ...], refusal: str) -> np.ndarray:
    """Return a `MissingRows` in the place of an array."""
    return cast("np.ndarray", MissingRows(shape, refusal))
