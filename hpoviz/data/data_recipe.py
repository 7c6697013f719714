"""DataRecipe: how another machine makes the same DataSplit of a data set that has a name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from hpoviz.data.catalog import load_dataset
from hpoviz.data.data_split import DataSplit
from hpoviz.data.dataset import Dataset
from hpoviz.errors import DatasetError
from hpoviz.plugins import plugin_names

__all__ = ["DataRecipe", "KnownData", "fold_makers", "search_maker", "whole_maker"]

SEARCH, FOLD, WHOLE = "search", "fold", "whole"


@dataclasses.dataclass(frozen=True)
class DataRecipe:
    """The data of a trial, by the name of the data set and by what is made of it.

    Attributes
    ----------
    dataset : str
        For `load_dataset`.
    sha256 : str
        Of the data set: another one of that name is not taken for it.
    validation_fraction : float
        Of a search's split.
    seed : int
        Of the split, or of the folds.
    part : {"search", "fold", "whole"}
        A search's training and validation data, those of one fold of a cross-validation, or all as training data.
    fold, folds : int
        Which fold, from 0, of how many.

    Examples
    --------
    >>> data = load_dataset("digits")
    >>> recipe = DataRecipe("digits", data.sha256, 0.2, 0)
    >>> DataRecipe.from_dict(recipe.to_dict()).make().y_val.tolist() == data.split(0.2, 0).y_val.tolist()
    True
    >>> third = DataRecipe("digits", data.sha256, seed=7, part="fold", fold=2, folds=5)
    >>> third.make().y_val.tolist() == data.folds(5, 7)[2]().y_val.tolist()
    True
    >>> len(DataRecipe("digits", data.sha256, part="whole").make().y_train)
    1437
    """

    dataset: str
    sha256: str
    validation_fraction: float = 0.2
    seed: int = 0
    part: str = SEARCH
    fold: int = 0
    folds: int = 1

    def __post_init__(self) -> None:
        if self.part not in (SEARCH, FOLD, WHOLE):
            raise ValueError(f"part must be {SEARCH!r}, {FOLD!r} or {WHOLE!r}. Got {self.part!r}.")
        if type(self.fold) is not int or type(self.folds) is not int or not 0 <= self.fold < self.folds:
            raise ValueError(f"fold must be one of the folds, from 0. Got {self.fold!r} of {self.folds!r}.")

    def make(self) -> DataSplit:
        """Load the data set and make the data of it.

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
        if self.part == FOLD:
            return data.folds(self.folds, self.seed)[self.fold]()
        return data.whole() if self.part == WHOLE else data.split(self.validation_fraction, self.seed)

    def is_right(self) -> bool:
        """Tell whether the data set of that name is this one, and not one that was loaded with options or by hand."""
        return bool(load_dataset(self.dataset).sha256 == self.sha256)

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> DataRecipe:
        """Read what `to_dict` wrote; TypeError or ValueError for anything else."""
        return cls(**record)


@dataclasses.dataclass(frozen=True, eq=False)
class KnownData:
    """Gives a DataSplit, and says how another machine makes it."""

    make: Callable[[], DataSplit]
    recipe: Callable[[], DataRecipe]

    def __call__(self) -> DataSplit:
        """Return the data."""
        return self.make()


def search_maker(data: Dataset, split: DataSplit, validation_fraction: float, seed: int) -> Callable[[], DataSplit]:
    """Return what gives a search's split that is here already; of a data set by name it is a KnownData."""
    return _known(data, lambda: split, validation_fraction=validation_fraction, seed=seed)


def fold_makers(data: Dataset, folds: int, seed: int) -> list[Callable[[], DataSplit]]:
    """Return what makes the data of each fold; of a data set by name each is a KnownData.

    Raises
    ------
    DatasetError
        More folds than a class has samples or groups.
    """
    makers = data.folds(folds, seed)
    return [_known(data, make, seed=seed, part=FOLD, fold=fold, folds=folds) for fold, make in enumerate(makers)]


def whole_maker(data: Dataset) -> Callable[[], DataSplit]:
    """Return what makes training data of all samples; of a data set by name it is a KnownData."""
    return _known(data, data.whole, part=WHOLE)


def _known(data: Dataset, make: Callable[[], DataSplit], **what: Any) -> Callable[[], DataSplit]:
    if data.name not in plugin_names("hpoviz.datasets"):
        return make
    return KnownData(make, lambda: DataRecipe(data.name, data.sha256, **what))
