"""UserModel: a model that the user's own function builds and compiles."""

from __future__ import annotations

import copy
import dataclasses
import re
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hpoviz.data.info import DataInfo
from hpoviz.data.text import to_tokens
from hpoviz.errors import ConfigError, ModelBuildError, StoreError
from hpoviz.models.model_config import ModelConfig
from hpoviz.models.saved_model import load_model
from hpoviz.models.text_input import taking_texts
from hpoviz.models.trial_model import TrialModel
from hpoviz.search.parameter import Parameter

if TYPE_CHECKING:
    import keras

__all__ = [
    "OWN_MODEL",
    "SAMPLES_TO_CHECK",
    "UserModel",
    "UserModelFamily",
    "as_probabilities",
    "check_user_model",
    "in_brief",
    "model_inputs",
]

OWN_MODEL = "build_model"  # what an architecture is called that is a function of the user's
OWN_PARAMETERS = ("batch_size", "epochs")
SAMPLES_TO_CHECK = 8
COMPILE_ADVICE = (
    'Call model.compile(optimizer=…, loss="sparse_categorical_crossentropy", metrics=["accuracy"]) before returning it'
)

COLOUR = re.compile("\x1b\\[[0-9;]*m")
BuildModel = Callable[[dict[str, Any], DataInfo], Any]


@dataclasses.dataclass(frozen=True)
class UserModelFamily:
    """The models of one ``build_model(params, data)``; of its parameters only batch size and epochs are declared."""

    build_model: BuildModel
    structure: tuple[str, ...] = ()

    def parameters(self) -> dict[str, Parameter]:
        """Return the two parameters of every training; all others belong to the user."""
        declared = ModelConfig.parameters()
        return {name: declared[name] for name in OWN_PARAMETERS}

    def misfit(self, values: Mapping[str, Any], info: DataInfo) -> str | None:
        """Return None: what fits is known to the user's function alone."""
        return None

    def from_dict(self, params: Mapping[str, Any]) -> UserModel:
        """Return the model of these parameters."""
        return UserModel(self.build_model, params)


class UserModel(TrialModel):
    """The model of one choice of parameters.

    Parameters
    ----------
    build_model : callable
        ``build_model(params, data) -> compiled keras.Model``.
    params : mapping
        ``batch_size`` and ``epochs``, and all that the user's search space adds.
    """

    def __init__(self, build_model: BuildModel, params: Mapping[str, Any]) -> None:
        self._build_model, self._params = build_model, dict(params)
        self.batch_size, self.epochs = int(params["batch_size"]), int(params["epochs"])

    def build(self, info: DataInfo) -> keras.Model:
        """Call the user's function, check what it returns, and see to it that the weights are made.

        Raises
        ------
        ModelBuildError
            It returns no model, or one that is not compiled or cannot take the samples.
        """
        import keras

        model = self._build_model(copy.deepcopy(self._params), info)
        if not isinstance(model, keras.Model):
            hint = " Does the function end in return model?" if model is None else ""
            raise ModelBuildError(
                f"build_model must return a compiled keras.Model. It returned {type(model).__name__}.{hint}"
            )
        if not model.compiled:
            raise ModelBuildError(f"build_model returned a model that is not compiled. {COMPILE_ADVICE}.")
        if not model.built:
            dtype = "int32" if info.kind == "text" else "float32"
            model(np.zeros((1, *info.input_shape), dtype))
        return model

    def compile(self, model: keras.Model) -> None:
        """Do nothing: the user's function has compiled it."""

    def export(self, model: keras.Model, info: DataInfo) -> keras.Model:
        """Build the model anew with the weights of the trained one; for texts behind a TextVectorization."""
        import keras

        twin = self.build(info)
        twin.set_weights(model.get_weights())
        if info.kind != "text":
            return twin
        compiled_as = twin.get_compile_config()
        if type(twin).__name__ == "Functional":
            twin = keras.Model(twin.inputs, twin.outputs, name=twin.name)  # uncompiled: the whole is compiled below
        texts = taking_texts(twin, info, tokens=len(info.vocabulary) + 2, words=info.input_shape[0])
        texts.compile_from_config(compiled_as)
        return texts


def as_probabilities(outputs: np.ndarray, tolerance: float = 1e-3) -> np.ndarray:
    """Return a model's outputs (n, classes) as probabilities: rows that do not sum to 1 are logits.

    Parameters
    ----------
    outputs : ndarray
    tolerance : float
        How far from 1 a sum may be; larger for numbers of 16 bits.

    Examples
    --------
    >>> as_probabilities(np.array([[0.0, 0.0]])), as_probabilities(np.array([[0.25, 0.75]]))
    (array([[0.5, 0.5]]), array([[0.25, 0.75]]))
    """
    if (outputs >= 0).all() and np.allclose(outputs.sum(axis=1), 1, atol=tolerance):
        return outputs
    exponents = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    return np.asarray(exponents / exponents.sum(axis=1, keepdims=True))


def check_user_model(
    model: UserModel, params: Mapping[str, Any], samples: np.ndarray, labels: np.ndarray, info: DataInfo
) -> None:
    """Try everything that a trial will do to a user's model, but train it.

    Parameters
    ----------
    model : UserModel
    params : mapping
        Its parameters, for messages.
    samples : ndarray
        Raw samples: images or texts.
    labels : ndarray of int, (n,)
    info : DataInfo

    Raises
    ------
    ConfigError
        With what is wrong, and what to do.
    """
    raw, y = samples[:SAMPLES_TO_CHECK], labels[:SAMPLES_TO_CHECK]
    x = model_inputs(raw, info)
    try:
        built = model.build(info)
    except ModelBuildError as error:
        raise ConfigError(str(error)) from error
    except Exception as error:
        raise ConfigError(f"build_model failed with params={dict(params)!r}: {in_brief(error)}") from error
    _check_output(built, x, y, info)
    _check_saving(model, built, raw, x, info)


def takes_logits(model: keras.Model) -> bool | None:
    """Return whether the loss that a model was compiled with takes logits; None where that is not known."""
    loss = getattr(model, "loss", None)
    if loss in ("sparse_categorical_crossentropy", "categorical_crossentropy", "binary_crossentropy"):
        return False
    return getattr(loss, "from_logits", None)


def model_inputs(samples: np.ndarray, info: DataInfo) -> np.ndarray:
    """Return raw samples as a user's model takes them: texts as token numbers."""
    return to_tokens(samples.tolist(), info.vocabulary, info.input_shape[0]) if info.kind == "text" else samples


def _check_output(built: keras.Model, x: np.ndarray, y: np.ndarray, info: DataInfo) -> None:
    try:
        outputs = np.asarray(built.predict(x, verbose=0))
    except Exception as error:
        raise ConfigError(
            f"The model of build_model cannot take samples of shape {x.shape[1:]} ({x.dtype}): {in_brief(error)}. Use "
            "data.input_shape for its input."
        ) from error
    if outputs.shape != (len(x), info.num_classes):
        raise ConfigError(
            f"The model of build_model must give one value a class, shape ({len(x)}, {info.num_classes}) for {len(x)} "
            f"samples. It gives {outputs.shape}. End it in Dense(data.num_classes, activation='softmax')."
        )
    if takes_logits(built) is False and (outputs.min() < 0 or outputs.max() > 1):
        raise ConfigError(
            f"The model of build_model gives numbers from {outputs.min():.3g} to {outputs.max():.3g}, and its loss "
            "takes them for probabilities, so it cannot learn. End it in Dense(data.num_classes, activation='softmax'),"
            " or compile it with SparseCategoricalCrossentropy(from_logits=True)."
        )
    try:
        figures = built.evaluate(x, y, verbose=0, return_dict=True)
    except Exception as error:
        raise ConfigError(
            f"The model of build_model cannot be evaluated with labels 0 to {info.num_classes - 1}: {in_brief(error)}. "
            f"{COMPILE_ADVICE}."
        ) from error
    if "accuracy" not in figures:
        raise ConfigError(
            f"The model of build_model does not report its accuracy, but {', '.join(figures)}. {COMPILE_ADVICE}."
        )


def _check_saving(model: UserModel, built: keras.Model, raw: np.ndarray, x: np.ndarray, info: DataInfo) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        try:
            model.export(built, info).save(path)
            loaded = load_model(path, compiled=True)
        except Exception as error:
            said = in_brief(error.__cause__ if isinstance(error, StoreError) and error.__cause__ else error)
            raise ConfigError(
                f"The model of build_model cannot be saved and loaded back: {said}. Give layers, losses and metrics of "
                "your own a get_config, unless they are functions, and decorate them with "
                "@keras.saving.register_keras_serializable(); write a layer of your own instead of a Lambda layer, "
                "which Keras does not load safely."
            ) from error
    before, after = built.predict(x, verbose=0), loaded.predict(_as_tensor(raw), verbose=0)
    if not np.allclose(before, after, rtol=1e-3, atol=1e-4):
        raise ConfigError(
            "The model of build_model predicts something else once it was saved and loaded back: "
            f"up to {np.abs(before - after).max():.3g} apart. Keep every weight in a Keras layer or variable, and let "
            "build_model build the same layers whenever the parameters are the same."
        )


def _as_tensor(samples: np.ndarray) -> Any:
    """Return samples as Keras takes them: it knows no arrays of Python strings."""
    if samples.dtype != object:
        return samples
    import tensorflow as tf

    return tf.constant(samples.tolist())


def in_brief(error: BaseException) -> str:
    """Return the first and the last lines of an error, where Keras and TensorFlow name the cause, without colours."""
    lines = [line.strip() for line in COLOUR.sub("", str(error)).splitlines() if line.strip()]
    told = lines if len(lines) <= 4 else [*lines[:1], "…", *lines[-3:]]
    return f"{type(error).__name__}: {' '.join(line[:300] for line in told)}".rstrip(".")
