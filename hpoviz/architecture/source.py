"""A Keras model as the plain Keras source that builds, compiles and trains it."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from hpoviz.errors import ExportError
from hpoviz.models.model_config import PLATEAU_FACTOR, PLATEAU_PATIENCE, ModelConfig
from hpoviz.python_text import wrapped

__all__ = ["keras_source", "object_source"]

BUILD = '''"""{title}"""

{imports}import keras
from keras import layers


def build_model({argument}) -> keras.Model:
    """Return the compiled, untrained model: it takes the data as they are{what_for}."""
{before}    model = keras.Sequential(
        [
{layers}
        ],
        name={name},
    )
    {compile}
    return model


'''
SCHEDULE = '''def learning_rate(epoch: int) -> float:
    """Return the learning rate of an epoch, counted from 0."""
    return {learning_rate}


'''
TRAIN = '''def train(model: keras.Model, x_train, y_train, x_val, y_val) -> keras.callbacks.History:
    """Train with the settings of the search; y holds whole numbers from 0."""
    callbacks = [
{callbacks}
    ]
{weigh}    return model.fit(
        x_train,
        y_train,
        validation_data=(x_val, y_val),
        batch_size={batch_size},
        epochs={epochs},
        callbacks=callbacks,{weighed}
    )

'''
WEIGH = """    counts = np.bincount(y_train)
    class_weight = {label: len(y_train) / (len(counts) * count) for label, count in enumerate(counts)}
"""
MAIN = """

if __name__ == "__main__":
    build_model().summary()
"""
ADAPT = """    vectorize = {vectorize}
    vectorize.adapt(x_train)
"""


def keras_source(model: keras.Model, config: ModelConfig, *, title: str, patience: int | None) -> str:
    """Return a Python module without hpoviz that builds the same model and trains it in the same way.

    Parameters
    ----------
    model : keras.Sequential
        Built; its layers are written out with the arguments that differ from Keras' defaults, after those of the
        config's augmentation, which a saved model has not.
    config : ModelConfig
        How it was trained.
    title : str
        The module's docstring.
    patience : int or None
        Epochs without a better validation accuracy before training ends.

    Raises
    ------
    ExportError
        For a model that is not Sequential, or with layers that are not Keras' own.
    """
    if not isinstance(model, keras.Sequential):
        raise ExportError(
            f"Only a keras.Sequential model can be written as source. Got {type(model).__name__}. "
            "Save it with save_model instead."
        )
    first = model.layers[0]
    takes_texts = isinstance(first, keras.layers.TextVectorization)
    if takes_texts:
        lines = ['layers.Input((), dtype="string")', "vectorize", *map(_layer_source, model.layers[1:])]
        before = ADAPT.format(vectorize=_vectorize_source(first))
    else:
        changing = config.augmentation()
        stack = [*changing, *(layer for layer in model.layers if layer.name not in {each.name for each in changing})]
        lines = [f"layers.Input({tuple(model.input_shape[1:])!r})", *map(_layer_source, stack)]
        before = ""
    formula, weighed = _schedule_formula(config), config.class_weight != "none"
    optimizer = object_source(config.make_optimizer(), "keras.optimizers")
    compiled = (f"optimizer={optimizer}", 'loss="sparse_categorical_crossentropy"', 'metrics=["accuracy"]')
    build = BUILD.format(
        title=title.replace("\\", "/").replace('"', "'"),
        imports=("import math\n\n" if "math." in formula else "") + ("import numpy as np\n" if weighed else ""),
        argument="x_train" if takes_texts else "",
        what_for="; the training texts fit its vocabulary" if takes_texts else " and standardises them itself",
        before=before,
        layers="\n".join(f"            {wrapped(line, 12)}," for line in lines),
        name=json.dumps(model.name),
        compile=wrapped(f"model.compile({', '.join(compiled)})", 4),
    )
    train = TRAIN.format(
        callbacks="\n".join(f"        {line}," for line in _callback_sources(config, patience)),
        batch_size=config.batch_size,
        epochs=config.epochs,
        weigh=WEIGH if weighed else "",
        weighed="\n        class_weight=class_weight," if weighed else "",
    )
    schedule = SCHEDULE.format(learning_rate=formula) if formula else ""
    return build + schedule + train + ("" if takes_texts else MAIN)


def object_source(thing: Any, module: str) -> str:
    """Return the call that makes a Keras object, with the arguments that differ from the defaults.

    Examples
    --------
    >>> object_source(keras.optimizers.Adam(0.5), "keras.optimizers")
    'keras.optimizers.Adam(learning_rate=0.5)'
    """
    cls, config = type(thing), thing.get_config()
    signature = inspect.signature(cls.__init__).parameters.values()
    required = [
        p.name for p in signature if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD and p.name != "self"
    ]
    plain = cls(**{name: _deserialized(config[name]) for name in required}).get_config()
    if isinstance(thing, keras.Layer):
        plain.pop("name")  # made up by Keras from a counter: the name is always written out
    else:
        config.pop("name", None)
    chosen = [key for key, value in config.items() if _differs(key, value, plain, required)]
    # A default may depend on another argument, as strides on pool_size: look again beside what was chosen.
    beside = cls(**{key: _deserialized(config[key]) for key in (*required, *chosen)}).get_config()
    chosen += [key for key, value in config.items() if key not in chosen and _differs(key, value, beside, required)]
    named = [f"{key}={_value_source(config[key])}" for key in config if key in chosen]
    return f"{module}.{cls.__name__}({', '.join([_value_source(config[name]) for name in required] + named)})"


def _deserialized(value: Any) -> Any:
    return keras.saving.deserialize_keras_object(value) if _is_serialized(value) else value


def _is_serialized(value: Any) -> bool:
    return isinstance(value, Mapping) and "class_name" in value


def _vectorize_source(layer: keras.layers.TextVectorization) -> str:
    config = layer.get_config()  # without its vocabulary: thousands of words, which `adapt` finds again
    arguments = [f"{name}={_value_source(config[name])}" for name in ("max_tokens", "output_sequence_length", "name")]
    return f"layers.TextVectorization({', '.join(arguments)})"


def _differs(key: str, value: Any, plain: Mapping[str, Any], required: list[str]) -> bool:
    if key in required or key in ("dtype", "trainable"):
        return False
    return key not in plain or plain[key] != value


def _layer_source(layer: keras.Layer) -> str:
    if not type(layer).__module__.startswith("keras."):
        raise ExportError(
            f"Layer {layer.name!r} is a {type(layer).__name__} of {type(layer).__module__}, not Keras' own: its source "
            "is not known here. Save the model with save_model instead."
        )
    return object_source(layer, "layers")


def _value_source(value: Any) -> str:
    if _is_serialized(value):
        thing = _deserialized(value)
        package = value["module"] or "keras"
        return object_source(thing, package) if hasattr(thing, "get_config") else repr(value["config"])
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, float):  # Keras gives 0.001 back as the float32 0.0010000000474974513
        short = float(str(np.float32(value)))
        return repr(short if float(np.float32(short)) == value else value)
    return repr(value)


def _schedule_formula(config: ModelConfig) -> str:
    """Return `ModelConfig.learning_rate_at` as source; empty where the schedule is no formula."""
    match config.learning_rate_schedule:
        case "cosine":
            return f"{config.learning_rate!r} * 0.5 * (1 + math.cos(math.pi * epoch / {config.epochs}))"
        case "exponential":
            return f"{config.learning_rate!r} * {config.learning_rate_decay!r}**epoch"
        case _:
            return ""


def _callback_sources(config: ModelConfig, patience: int | None) -> list[str]:
    sources = []
    if _schedule_formula(config):
        sources.append("keras.callbacks.LearningRateScheduler(learning_rate)")
    elif config.learning_rate_schedule == "reduce_on_plateau":
        arguments = f'"val_loss", factor={PLATEAU_FACTOR}, patience={PLATEAU_PATIENCE}'
        sources.append(f"keras.callbacks.ReduceLROnPlateau({arguments})")
    stopping = f'"val_accuracy", patience={config.epochs if patience is None else patience}, restore_best_weights=True'
    return [*sources, f"keras.callbacks.EarlyStopping({stopping})"]
