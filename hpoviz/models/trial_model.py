"""TrialModel: what a trial needs of a model, whoever builds it."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from hpoviz.data.info import DataInfo
from hpoviz.search.parameter import Parameter

if TYPE_CHECKING:
    import keras

__all__ = ["ModelFamily", "TrialModel"]


class TrialModel(abc.ABC):
    """One choice of hyperparameters, and the Keras model that they make.

    Attributes
    ----------
    batch_size, epochs : int
    """

    batch_size: int
    epochs: int

    @abc.abstractmethod
    def build(self, info: DataInfo) -> keras.Model:
        """Return the Keras model for this data, with its weights made."""

    @abc.abstractmethod
    def compile(self, model: keras.Model) -> None:
        """Compile a model of `build` for integer labels, with accuracy among its metrics."""

    @abc.abstractmethod
    def export(self, model: keras.Model, info: DataInfo) -> keras.Model:
        """Return a model with the weights of a trained one, which takes raw samples: it is what is saved.

        Without its used optimizer, whose state would make the file up to three times larger.
        """

    def prepare(self, x: np.ndarray, info: DataInfo) -> np.ndarray:
        """Return samples of a DataSplit in the form that `build`'s model trains on; by default unchanged."""
        return x

    def class_weights(self, y: np.ndarray) -> np.ndarray | None:
        """Return the weight of each class in the training loss; by default None, all equal."""
        return None

    def schedule_callbacks(self) -> list[keras.callbacks.Callback]:
        """Return the Keras callbacks that set the learning rate; by default none."""
        return []


class ModelFamily(Protocol):
    """Makes a TrialModel of parameters, and says which parameters there are."""

    @property
    def structure(self) -> tuple[str, ...]:
        """Parameters whose combination may not fit the data."""

    def parameters(self) -> dict[str, Parameter]:
        """Return the declared hyperparameters by name."""

    def misfit(self, values: Mapping[str, Any], info: DataInfo) -> str | None:
        """Return why these values of `structure` do not fit the data, or None."""

    def from_dict(self, params: Mapping[str, Any]) -> TrialModel:
        """Return the model of these parameters; ConfigError if they are wrong."""
