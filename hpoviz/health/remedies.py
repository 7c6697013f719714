"""What a prescription changes: a fresh model with other layers, another optimizer, another loss or class weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
from keras import tree

from hpoviz.architecture.keras_adapter import graph_of
from hpoviz.data.inputs import as_tensors, rows_of
from hpoviz.errors import ConfigError, ModelBuildError
from hpoviz.health.rates import RATES, constant_rate, inner_optimizer, middle_rate, said_of_rate, usual_rates
from hpoviz.health.sites import SATURATING, hidden_sites

__all__ = ["REMEDIES", "Remedy", "fresh", "words_of"]

LayerConfig = dict[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Remedy:
    """How a model is changed against a fault.

    Attributes
    ----------
    words : str
        What is changed.
    layer : callable, optional
        Takes the configuration of a hidden layer and returns another.
    everywhere : callable, optional
        The same, of any layer.
    only_at_fault : bool
        Whether just the layer that the finding names is changed.
    rate : float
        Factor on the learning rate.
    usual_rate : bool
        The learning rate is one that is usual with the optimizer.
    clipnorm : float or None
    scale_inputs : bool
        Begins with a Normalization layer that is adapted to the training samples.
    other_logits : bool
        The loss is told the opposite of what the outputs are.
    class_weights : bool
        Each class counts the same.
    trainable : bool
        All layers are trained.
    """

    words: str
    layer: Callable[[LayerConfig], LayerConfig] | None = None
    everywhere: Callable[[LayerConfig], LayerConfig] | None = None
    only_at_fault: bool = False
    rate: float = 1.0
    usual_rate: bool = False
    clipnorm: float | None = None
    scale_inputs: bool = False
    other_logits: bool = False
    class_weights: bool = False
    trainable: bool = False


def _with(**changes: Any) -> Callable[[LayerConfig], LayerConfig]:
    """Return a function that sets those fields which a layer's configuration has."""
    return lambda config: config | {name: value for name, value in changes.items() if name in config}


def _rectified(config: LayerConfig) -> LayerConfig:
    activation = config.get("activation")
    if not isinstance(activation, str) or activation not in (*SATURATING, "relu"):
        return config
    return _with(kernel_initializer="he_normal")(config) | {"activation": "relu"}


def _leaky(config: LayerConfig) -> LayerConfig:
    leaky: LayerConfig = {"activation": "leaky_relu"} if config.get("activation") == "relu" else {}
    if config.get("negative_slope") == 0:  # a ReLU layer
        leaky["negative_slope"] = 0.2
    return _with(kernel_initializer="he_normal", bias_initializer="zeros")(config) | leaky


def _wider(factor: float) -> Callable[[LayerConfig], LayerConfig]:
    return lambda config: (
        config | {name: max(1, round(config[name] * factor)) for name in ("units", "filters") if name in config}
    )


def _lighter(config: LayerConfig) -> LayerConfig:
    """Return a configuration with a tenth of its penalties."""
    found = {}
    for name, value in config.items():
        if name.endswith("_regularizer") and isinstance(value, dict):
            inner = {key: 0.1 * one if isinstance(one, float) else one for key, one in value["config"].items()}
            found[name] = {**value, "config": inner}
    return config | found


BY_NAME: Mapping[Any, Any] = {
    "sparse_categorical_crossentropy": keras.losses.SparseCategoricalCrossentropy,
    "categorical_crossentropy": keras.losses.CategoricalCrossentropy,
    "binary_crossentropy": keras.losses.BinaryCrossentropy,
}
DRAWN_ANEW = _with(kernel_initializer="glorot_uniform", bias_initializer="zeros")
REMEDIES: Mapping[str, Remedy] = {
    "learning_rate_out_of_range": Remedy(words="a usual learning rate", usual_rate=True),
    "not_finite": Remedy(words="a tenth of the learning rate, gradients clipped to norm 1", rate=0.1, clipnorm=1.0),
    "wrong_output_activation": Remedy(words="a loss that takes what the outputs are", other_logits=True),
    "missing_input_scaling": Remedy(words="a Normalization layer at the beginning", scale_inputs=True),
    "vanishing_gradient": Remedy(words="relu and he_normal weights", layer=_rectified),
    "exploding_gradient": Remedy(
        words="glorot_uniform weights, gradients clipped to norm 1", layer=DRAWN_ANEW, clipnorm=1.0
    ),
    "saturation": Remedy(words="glorot_uniform weights, biases of zero", layer=DRAWN_ANEW),
    "dying_relu": Remedy(words="leaky_relu, he_normal weights, biases of zero", layer=_leaky),
    "dead_units": Remedy(words="glorot_uniform weights, biases of zero", layer=DRAWN_ANEW),
    "untrained_layer": Remedy(words="all layers trained", trainable=True),
    "stale_normalization": Remedy(words="BatchNormalization(momentum=0.9)", everywhere=_with(momentum=0.9)),
    "at_chance": Remedy(words="a tenth of the learning rate", rate=0.1),
    "over_regularized": Remedy(words="a tenth of the weight penalties", everywhere=_lighter),
    "oscillation": Remedy(words="a fifth of the learning rate", rate=0.2),
    "class_collapse": Remedy(words="class weights", class_weights=True),
    "overfitting": Remedy(
        words="l2 of 0.001 in hidden layers",
        layer=lambda config: (
            config | ({"kernel_regularizer": keras.regularizers.L2(1e-3)} if "kernel_regularizer" in config else {})
        ),
    ),
    "slow_convergence": Remedy(words="three times the learning rate", rate=3.0),
    "underfitting": Remedy(words="twice as many units and filters", layer=_wider(2.0)),
    "bloat": Remedy(words="half of its units or filters", layer=_wider(0.5), only_at_fault=True),
}  # fmt: skip


def fresh(model: keras.Model, x: Any, remedy: Remedy | None, at_fault: str | None = None) -> keras.Model:
    """Return an untrained, compiled copy of a model, changed by a remedy.

    Layers that are not trained (pretrained ones, Normalization) keep their weights, unless the remedy trains them.

    Parameters
    ----------
    model : keras.Model
        Sequential or functional, compiled.
    x : ndarray
        Training samples.
    remedy : Remedy or None
        None changes nothing.
    at_fault : str, optional
        Id of the layer that a finding names.

    Raises
    ------
    ModelBuildError
        A model that Keras cannot clone, or that cannot be built with the change.
    ConfigError
        A remedy that changes nothing of this model, or that its optimizer or loss cannot take.
    """
    remedy = remedy or Remedy(words="")
    graph = graph_of(model, inputs=as_tensors(rows_of(x, slice(1))))
    hidden = {graph.layers[graph.by_id[site.call].layer].name for site in hidden_sites(graph)}
    hidden |= {graph.layers[graph.by_id[site.node].layer].name for site in hidden_sites(graph)}
    if remedy.only_at_fault and at_fault is not None:
        hidden = {graph.layers[at_fault].name} if at_fault in graph.layers else set()

    changed: list[bool] = []

    def cloned(layer: Any) -> Any:
        config = before = layer.get_config()
        if remedy.everywhere is not None:
            config = remedy.everywhere(config)
        if remedy.layer is not None and layer.name in hidden:
            config = remedy.layer(config)
        other = type(layer).from_config(config)
        changed.append(other.get_config() != before or (remedy.trainable and not layer.trainable))
        return other

    try:
        copy = keras.models.clone_model(model, clone_function=cloned, recursive=True)
    except (ValueError, TypeError, NotImplementedError) as error:
        raise ModelBuildError(f"{model.name!r} cannot be made anew with {remedy.words}: {error}") from error
    others = (
        remedy.rate != 1,
        remedy.usual_rate,
        remedy.clipnorm,
        remedy.scale_inputs,
        remedy.other_logits,
        remedy.class_weights,
    )
    if remedy.words and not any(changed) and not any(others):
        raise ConfigError(
            f"Nothing of {model.name!r} would change with {remedy.words}: it has none of what this mends, or has it "
            f"already. So there is nothing to try.{_instead(model)}"
        )
    _keep_what_is_not_trained(model, copy, remedy.trainable)
    if remedy.scale_inputs:
        copy = _scaled(copy, x)
    copy.compile(_optimizer(model, remedy), _loss(model, remedy), metrics=["accuracy"])
    return copy


def words_of(remedy: Remedy, model: keras.Model) -> str:
    """Return what a remedy changes of a model, with the learning rate where it sets one."""
    rate = middle_rate(type(inner_optimizer(model)).__name__) if remedy.usual_rate else None
    return remedy.words if rate is None else f"a learning rate of {rate:g}"


def _instead(model: keras.Model) -> str:
    """Say that the learning rate can be tried where it is no usual one."""
    optimizer = inner_optimizer(model)
    if optimizer is None:
        return ""
    rate, kind = constant_rate(model), type(optimizer).__name__
    if rate is None or rate <= usual_rates(kind)[1]:
        return " Look at the other findings first."
    return f" {said_of_rate(rate, kind)}: try 'learning_rate_out_of_range'."


def _keep_what_is_not_trained(model: keras.Model, copy: keras.Model, train_all: bool) -> None:
    for old, new in zip(model._flatten_layers(), copy._flatten_layers(), strict=False):
        if type(old) is not type(new):
            continue
        if train_all:
            new.trainable = True
        if old.weights and not old.trainable_weights and not (train_all and new.trainable_weights):
            new.set_weights(old.get_weights())
        if hasattr(new, "finalize_state") and old.weights:  # Normalization
            new.finalize_state()
        if hasattr(old, "get_vocabulary") and not old.get_config().get("vocabulary"):
            new.set_vocabulary(old.get_vocabulary())


def _scaled(model: keras.Model, x: Any) -> keras.Model:
    inputs = tree.map_structure(lambda array: keras.Input(array.shape[1:], dtype=array.dtype.name), x)
    scaled = tree.map_structure(_standardised, x, inputs)
    return keras.Model(inputs, model(scaled), name=model.name)


def _standardised(x: np.ndarray, tensor: Any) -> Any:
    if not np.issubdtype(x.dtype, np.number):
        return tensor
    scale = keras.layers.Normalization(axis=None)
    scale.adapt(np.asarray(x, dtype="float32"))
    return scale(tensor)


def _optimizer(model: keras.Model, remedy: Remedy) -> Any:
    if model.optimizer is None:
        raise ConfigError(f"{model.name!r} was compiled without an optimizer, so it cannot be trained.")
    outer, optimizer = model.optimizer, inner_optimizer(model)
    config = optimizer.get_config()
    if remedy.rate != 1 or remedy.usual_rate:
        if not isinstance(config["learning_rate"], int | float):
            raise ConfigError("The learning rate is a schedule: change it by hand, or compile with a number.")
        config["learning_rate"] = config["learning_rate"] * remedy.rate
    if remedy.usual_rate:
        config["learning_rate"] = _usual_rate(type(optimizer).__name__, config["learning_rate"])
    if remedy.clipnorm is not None:
        config |= {"clipnorm": remedy.clipnorm, "clipvalue": None, "global_clipnorm": None}
    fresh_one = type(optimizer).from_config(config)
    return fresh_one if optimizer is outer else type(outer)(fresh_one)


def _usual_rate(optimizer: str, rate: float) -> float:
    """Return a usual learning rate, if that of the model is none."""
    low, high = usual_rates(optimizer)
    if optimizer not in RATES:
        raise ConfigError(
            f"No usual learning rate is known for {optimizer}. Known: {', '.join(RATES)}. Change it by hand."
        )
    if low <= rate <= high:
        raise ConfigError(
            f"The learning rate is {rate:g}, and with {optimizer} from {low:g} to {high:g} are usual: there is nothing "
            "to try. 'oscillation' tries a fifth of it, 'slow_convergence' three times as much."
        )
    return float(middle_rate(optimizer) or rate)


def _loss(model: keras.Model, remedy: Remedy) -> Any:
    loss = model.loss
    if not remedy.other_logits:
        return loss
    named = BY_NAME[loss]() if isinstance(loss, str) and loss in BY_NAME else loss
    config = named.get_config() if isinstance(named, keras.losses.Loss) else {}
    if "from_logits" not in config:
        raise ConfigError(f"The loss {loss!r} knows no from_logits. Change the activation of the last layer by hand.")
    return type(named).from_config(config | {"from_logits": not config["from_logits"]})
