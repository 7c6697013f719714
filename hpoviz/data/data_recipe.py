"""DataRecipe: how another machine makes the same DataSplit of a data set that has a name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from hpoviz.data.catalog import load_dataset
from hpoviz.data.data_split import DataSplit
from hpoviz.errors import DatasetError

__all__ = ["DataRecipe", "KnownData"]


@dataclasses.dataclass(frozen=True)
class DataRecipe:
    """The training and validation data of a search, by the name of the data set.

    Attributes
    ----------
    dataset : str
        For `load_dataset`.
    sha256 : str
        Of the data set: another one of that name is not taken for it.
    validation_fraction : float
    seed : int

    Examples
    --------
    >>> data = load_dataset("digits")
    >>> recipe = DataRecipe("digits", data.sha256, 0.2, 0)
    >>> DataRecipe.from_dict(recipe.to_dict()).make().y_val.tolist() == data.split(0.2, 0).y_val.tolist()
    True
    """

    dataset: str
    sha256: str
    validation_fraction: float
    seed: int

    def make(self) -> DataSplit:
        """Load the data set and split it.

        Raises
        ------
        DatasetError
            It cannot be loaded, or is another one here.
        """
        data = load_dataset(self.dataset)
        if data.sha256 != self.sha256:
            raise DatasetError(
                f"The data set {self.dataset!r} is another one on this machine: its hash differs. Use the same version "
                "of hpoviz and of the package that brings it."
            )
        return data.split(self.validation_fraction, self.seed)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> DataRecipe:
        """Read what `to_dict` wrote; TypeError for anything else."""
        return cls(**record)


@dataclasses.dataclass(frozen=True, eq=False)
class KnownData:
    """Gives a DataSplit that is here already, and says how another machine makes it."""

    split: DataSplit
    recipe: Callable[[], DataRecipe]

    def __call__(self) -> DataSplit:
        """Return the data."""
        return self.split
