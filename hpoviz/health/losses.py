"""What a compiled loss takes: whole numbers, a column for each class, or values of a regression."""

from __future__ import annotations

import keras
import numpy as np

from hpoviz.data.validation import codes_of_one_hot

__all__ = ["CATEGORICAL", "REGRESSIONS", "SPARSE", "as_loss_takes", "loss_name"]

SPARSE = ("sparse_categorical_crossentropy", "SparseCategoricalCrossentropy")
CATEGORICAL = (
    *("categorical_crossentropy", "CategoricalCrossentropy"),
    *("categorical_focal_crossentropy", "CategoricalFocalCrossentropy"),
)
REGRESSIONS = (
    *("mse", "mean_squared_error", "MeanSquaredError", "mae", "mean_absolute_error", "MeanAbsoluteError"),
    *("mape", "mean_absolute_percentage_error", "MeanAbsolutePercentageError"),
    *("msle", "mean_squared_logarithmic_error", "MeanSquaredLogarithmicError"),
    *("huber", "Huber", "log_cosh", "LogCosh", "poisson", "Poisson"),
)


def loss_name(model: keras.Model) -> str:
    """Return the name of the loss that a model is compiled with, as it was given; of an object that of its class."""
    loss = getattr(model, "loss", None)
    return loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__)


def as_loss_takes(model: keras.Model, y: np.ndarray) -> np.ndarray:
    """Return labels coded as the loss of a model takes them; as they are where that is not known.

    Parameters
    ----------
    model : keras.Model
        Compiled, with one output.
    y : ndarray, (n,) or one-hot (n, classes)

    Examples
    --------
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, "softmax")])
    >>> model.compile("adam", "categorical_crossentropy")
    >>> as_loss_takes(model, np.array([2, 0])).tolist()
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """
    codes, name = codes_of_one_hot(y), loss_name(model)
    if codes is not None and name in SPARSE:
        return codes
    if codes is None and name in CATEGORICAL:
        return np.asarray(keras.utils.to_categorical(y, model.output_shape[-1]))
    return y
