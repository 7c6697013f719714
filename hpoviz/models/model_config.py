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
from hpoviz.models.trial_model import TrialModel
from hpoviz.plugins import load_plugin, plugin_names
from hpoviz.search.parameter import Parameter, one_of, parameter, parameters_of

if TYPE_CHECKING:
    import keras

__all__ = ["ModelConfig", "family_for", "load_family"]

OWN_FAMILIES = ("cnn", "lstm")
PLATEAU_FACTOR, PLATEAU_PATIENCE = 0.5, 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelConfig(TrialModel):
    """The base of model families: how any classifier is trained.

    A family adds its own parameters, names the `data_kinds` it can be built for, and overrides `build`.

    Raises
    ------
    ConfigError
        With every wrong value at once.
    """

    data_kinds: ClassVar[tuple[str, ...]] = ()
    structure: ClassVar[tuple[str, ...]] = ()

    optimizer: str = parameter(
        "adam",
        choices=("adam", "adamw", "rmsprop", "sgd"),
        help="The rule that turns gradients into weight changes. Adam, AdamW and RMSprop give every weight its own "
        "step size and work at once; SGD with momentum takes one step size for all: it needs a better chosen "
        "learning rate and sometimes ends in a model that generalises better.",
    )
    learning_rate: float = parameter(
        1e-3,
        search=(1e-4, 3e-2),
        valid=(1e-8, 1e6),
        log=True,
        help="How far each step moves the weights: the parameter that matters most. Too small, and training crawls; "
        "too large, and the loss jumps about or becomes NaN.",
    )
    momentum: float = parameter(
        0.9,
        search=(0.5, 0.99),
        valid=(0.0, 0.999),
        when=one_of("optimizer", "sgd"),
        help="How much of the last step SGD adds to the next, like a rolling ball: more speeds up long slopes and "
        "smooths noise; too much overshoots.",
    )
    weight_decay: float = parameter(
        4e-3,
        search=(1e-5, 1e-1),
        valid=(0.0, 1.0),
        log=True,
        when=one_of("optimizer", "adamw"),
        help="AdamW pulls every weight a little towards zero at each step, apart from the gradient: more keeps the "
        "model simpler and works against overfitting; too much stops it from learning.",
    )
    learning_rate_schedule: str = parameter(
        "constant",
        choices=("constant", "cosine", "exponential", "reduce_on_plateau"),
        help="How the learning rate changes over the epochs: large steps find the right valley, small steps its floor. "
        "Cosine falls smoothly to zero, exponential by a factor each epoch, reduce_on_plateau halves it when the "
        "validation loss has not fallen for three epochs.",
    )
    learning_rate_decay: float = parameter(
        0.95,
        search=(0.8, 0.99),
        valid=(0.01, 1.0),
        when=one_of("learning_rate_schedule", "exponential"),
        help="The factor by which the exponential schedule multiplies the learning rate after each epoch.",
    )
    batch_size: int = parameter(
        32,
        choices=(16, 32, 64, 128),
        valid=(1, 65536),
        help="How many samples are looked at before each step. Small batches are noisy, which can help to "
        "generalise, and slow; large ones are smooth and fast and want a larger learning rate.",
    )
    epochs: int = parameter(
        20,
        search=(10, 30),
        valid=(1, 100_000),
        help="How often training goes through all training samples. Too few underfit; more cost time and end in "
        "overfitting, against which training stops early when validation accuracy no longer rises.",
    )
    l2: float = parameter(
        1e-5,
        search=(1e-6, 1e-2),
        valid=(0.0, 10.0),
        log=True,
        help="A penalty on large weights in the loss: more makes a smoother, simpler model; too much underfits.",
    )

    class_weight: str = parameter(
        "none",
        choices=("none",),
        also=("balanced",),
        help="Whose mistakes count in training: none gives every sample the same say, so that rare classes have "
        "little; balanced gives every class the same say. It finds more of the rare classes and costs some accuracy on "
        "the frequent ones. Tried only if you ask for it.",
    )

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
