"""ModelConfig: the base of model families, with the training parameters that all of them share.

A family is a frozen dataclass whose fields are declared hyperparameters, and a ``build`` that makes the Keras
model. Keras is imported inside the methods that need it: declaring a search space must not cost the 4 seconds
that TensorFlow takes to import, as the notebook's process often never trains anything itself.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from hpoviz.data.info import DataInfo
from hpoviz.errors import ConfigError, nearest
from hpoviz.models.training_parameters import TrainingParameters
from hpoviz.models.trial_model import TrialModel
from hpoviz.plugins import load_plugin, plugin_names
from hpoviz.search.parameter import Parameter, parameters_of, said_once

if TYPE_CHECKING:
    import keras

__all__ = ["ModelConfig", "family_for", "load_family"]

OWN_FAMILIES = ("cnn", "lstm")
PLATEAU_FACTOR, PLATEAU_PATIENCE = 0.5, 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig(TrainingParameters, TrialModel):
    """The base of model families: how any classifier is trained.

    A family adds its own parameters, names the `data_kinds` it can be built for, and overrides `build`.

    Raises
    ------
    ConfigError
        With every wrong value at once.
    """

    data_kinds: ClassVar[tuple[str, ...]] = ()
    structure: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        declared = self.parameters()
        problems = [text for name, item in declared.items() if (text := item.problem(getattr(self, name)))]
        if problems:
            raise ConfigError("\n".join(f"{type(self).__name__}: {problem}" for problem in problems))
        for name, item in declared.items():
            object.__setattr__(self, name, item.convert(getattr(self, name)))

    @classmethod
    def parameters(cls) -> dict[str, Parameter]:
        """Return the declared hyperparameters by name, the family's own first."""
        return parameters_of(cls)

    @classmethod
    def from_dict(cls, params: Mapping[str, Any]) -> ModelConfig:
        """Build a config from parameters by name; unknown names are a ConfigError."""
        known = cls.parameters()
        params = said_once(params, known)
        unknown = [
            f"{cls.__name__} has no parameter {name!r}.{nearest(name, known)}" for name in params if name not in known
        ]
        if unknown:
            raise ConfigError("\n".join(unknown))
        return cls(**params)

    def to_dict(self) -> dict[str, Any]:
        """Return every hyperparameter by name, the family's own first; JSON values."""
        return {name: getattr(self, name) for name in self.parameters()}

    @classmethod
    def misfit(cls, values: Mapping[str, Any], info: DataInfo) -> str | None:
        """Return why these values of `structure` do not fit the data, or None."""
        return None

    def build(self, info: DataInfo) -> keras.Model:
        """Return the uncompiled Keras model for this data.

        Raises
        ------
        ModelBuildError
            When the parameters do not fit the data.
        """
        raise ConfigError(f"{type(self).__name__} is no model family: it has no build method.")

    def augmentation(self) -> list[keras.Layer]:
        """Return the layers that change samples at random in training; a saved model does not have them."""
        return []

    def class_weights(self, y: np.ndarray) -> np.ndarray | None:
        """Return the weight of each class in the loss, its mean over the samples 1; None where all are equal.

        Examples
        --------
        >>> from hpoviz.models.cnn import CnnConfig
        >>> CnnConfig(class_weight="balanced").class_weights(np.array([0, 0, 0, 1]))
        array([0.66666667, 2.        ])
        """
        if self.class_weight == "none":
            return None
        counts = np.bincount(y)
        return len(y) / (len(counts) * counts)

    def export(self, model: keras.Model, info: DataInfo) -> keras.Model:
        """Return an uncompiled model with the weights of a trained one, which takes raw samples."""
        import keras

        if isinstance(model, keras.Sequential):  # around the same layers, as making weights anew takes a while
            given = model.inputs[0]
            first = keras.layers.Input(batch_shape=given.shape, dtype=given.dtype)
            return keras.Sequential([first, *model.layers], name=model.name)
        twin = self.build(info)
        twin.set_weights(model.get_weights())
        return twin

    def compile(self, model: keras.Model) -> None:
        """Compile a model with this optimizer and learning rate, for integer labels."""
        model.compile(optimizer=self.make_optimizer(), loss="sparse_categorical_crossentropy", metrics=["accuracy"])

    def make_optimizer(self) -> keras.Optimizer:
        """Return the Keras optimizer."""
        import keras

        rate = self.learning_rate
        match self.optimizer:
            case "adam":
                return keras.optimizers.Adam(rate)
            case "adamw":
                return keras.optimizers.AdamW(rate, weight_decay=self.weight_decay)
            case "rmsprop":
                return keras.optimizers.RMSprop(rate)
            case _:
                return keras.optimizers.SGD(rate, momentum=self.momentum)

    def schedule_callbacks(self) -> list[keras.callbacks.Callback]:
        """Return the Keras callbacks that carry out the learning-rate schedule: none or one."""
        import keras

        match self.learning_rate_schedule:
            case "constant":
                return []
            case "reduce_on_plateau":
                return [keras.callbacks.ReduceLROnPlateau("val_loss", PLATEAU_FACTOR, PLATEAU_PATIENCE)]
            case _:
                return [keras.callbacks.LearningRateScheduler(lambda epoch: self.learning_rate_at(epoch))]

    def learning_rate_at(self, epoch: int) -> float:
        """Return the learning rate of an epoch (counted from 0) where it does not depend on the training itself.

        Examples
        --------
        >>> from hpoviz.models.cnn import CnnConfig
        >>> config = CnnConfig(learning_rate=0.01, learning_rate_schedule="cosine", epochs=10)
        >>> config.learning_rate_at(0), round(config.learning_rate_at(5), 6)
        (0.01, 0.005)
        """
        match self.learning_rate_schedule:
            case "cosine":
                return self.learning_rate * 0.5 * (1 + math.cos(math.pi * epoch / self.epochs))
            case "exponential":
                return float(self.learning_rate * self.learning_rate_decay**epoch)
            case _:
                return self.learning_rate


def load_family(name: str) -> type[ModelConfig]:
    """Return the model family of that name; ConfigError if there is none."""
    family: type[ModelConfig] = load_plugin("hpoviz.architectures", name)
    return family


def family_for(kind: str) -> str:
    """Return the name of the default model family for a kind of data; ConfigError if there is none.

    Those that hpoviz brings come first: installing a package changes no default.
    """
    names = plugin_names("hpoviz.architectures")
    for name in sorted(names, key=lambda name: (name not in OWN_FAMILIES, name)):
        if kind in load_family(name).data_kinds:
            return name
    raise ConfigError(f"No architecture is registered for {kind} data. Known: {', '.join(names)}.")
