"""A model of the user's own on its way to another machine: its Keras configuration as JSON, and never code.

The user's function is called here, and Keras describes what it returns. There the model is made anew from that
description. Weights do not travel where their initialisers make the same ones there: each is told the seed that it has
drawn here. Those that come from elsewhere (set by hand, or drawn by a layer itself) travel as arrays if they are small.
"""

from __future__ import annotations

import base64
import contextlib
import copy
import functools
import importlib
import io
import json
import random
import re
import zipfile
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from hpoviz.data.info import DataInfo
from hpoviz.errors import BackendProtocol, ConfigError, ModelBuildError
from hpoviz.models.user_code import UserCode, importable
from hpoviz.models.user_model import SAMPLES_TO_CHECK, UserModel, in_brief, model_inputs

if TYPE_CHECKING:
    import keras

__all__ = ["check_sent_model", "pack_model", "received_code"]

# A job may have 10 MB, and up to 5.4 MB of it are data. In base64 these weights are 3.4 MB.
MOST_WEIGHTS = 2_500_000  # bytes, packed
MOST_CONFIG = 1_000_000  # characters; ResNet50 has 170,000
MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")


def pack_model(model: UserModel, info: DataInfo, seed: int) -> dict[str, Any]:
    """Build a model of the user's, and return it as JSON values.

    What the user's function itself raises is raised here.

    Parameters
    ----------
    model : UserModel
    info : DataInfo
    seed : int
        Of the trial.

    Raises
    ------
    ModelBuildError
        It cannot be sent, or is another model once it is read back.
    """
    return _pack(model, info, seed)[0]


def received_code(record: Any) -> UserCode:
    """Return what a trial needs of `pack_model`'s record; None is no model of the user's.

    What the record says is checked when the trial builds the model: it fails with the reason.

    Raises
    ------
    BackendProtocol
        It is no record of a model.
    """
    if record is None:
        return UserCode()
    if not isinstance(record, Mapping) or not isinstance(record.get("config"), Mapping):
        raise BackendProtocol("The model of a job is no configuration of one.")
    return UserCode(build_model=functools.partial(_unpack, record))


def check_sent_model(model: UserModel, samples: np.ndarray, info: DataInfo, seed: int) -> None:
    """Send a model to nowhere: pack it, read it back from text, and see that it predicts the same.

    Parameters
    ----------
    model : UserModel
    samples : ndarray
        Raw samples: images or texts.
    info : DataInfo
    seed : int

    Raises
    ------
    ConfigError
        It cannot be sent; says why, and what to do.
    """
    try:
        record, built = _pack(model, info, seed)
        with _seeded(seed):
            there = _received(json.loads(json.dumps(record)), model, info)
    except ModelBuildError as error:
        raise ConfigError(str(error)) from error
    x = model_inputs(samples[:SAMPLES_TO_CHECK], info)
    before, after = built.predict(x, verbose=0), there.predict(x, verbose=0)
    if not np.allclose(before, after, rtol=1e-4, atol=1e-5, equal_nan=True):
        raise ConfigError(
            "The model of build_model predicts something else once it is made from its configuration: up to "
            f"{np.abs(before - after).max():.3g} apart. Keep all that a layer has learnt or been given in its weights "
            "or in its get_config, or search on this machine: backend='local'."
        )


def _pack(model: UserModel, info: DataInfo, seed: int) -> tuple[dict[str, Any], keras.Model]:
    import keras

    with _seeded(seed):
        built = model.build(info)
    _check_lambdas(built)
    _pin_seeds(built)
    config = _config_of(built)
    record = {"keras": keras.__version__, "objects": _objects_of(config), "config": config}
    with _seeded(seed):
        twin = _received(record, model, info)
    own = _differing(built, twin)
    if own:
        record["weights"] = _packed_weights(own, built)
    if json.dumps(_config_of(twin)) != json.dumps(config):
        raise ModelBuildError(
            "The model of build_model is another one once it is made from its configuration: "
            f"{_first_other(built, twin)} has other settings. Let its get_config return every argument of its __init__."
        )
    return record, built


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Begin with the random numbers of a trial, and leave those of the notebook as they were."""
    import keras

    python_state, numpy_state = random.getstate(), np.random.get_state()
    try:
        keras.utils.set_random_seed(seed)
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)


def _check_lambdas(model: keras.Model) -> None:
    import keras

    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.Lambda) and getattr(layer.function, "__name__", "") == "<lambda>":
            raise ModelBuildError(
                f"The layer {layer.name!r} of build_model is a Lambda layer: it is Python code, which is not sent to "
                "other machines. Use an operation of keras.ops, or a layer of your own in a package that the workers "
                "install."
            )


def _pin_seeds(model: keras.Model) -> None:
    """Give each initialiser the seed that it has drawn: layers are made in another order where the model is read."""
    import keras

    for layer in model._flatten_layers():
        for name, value in list(vars(layer).items()):
            if not isinstance(value, keras.Initializer) or type(getattr(value, "seed", None)) is not int:
                continue
            config = value.get_config()
            if config.get("seed", 0) is None:
                setattr(layer, name, type(value).from_config({**config, "seed": value.seed}))


def _config_of(model: keras.Model) -> dict[str, Any]:
    """Return the configuration of a model, compiled as it is, as JSON values."""
    import keras

    try:
        text = json.dumps(keras.saving.serialize_keras_object(model), allow_nan=False)
    except Exception as error:
        raise ModelBuildError(f"The model of build_model cannot be described as JSON: {in_brief(error)}.") from error
    if len(text) > MOST_CONFIG:
        raise ModelBuildError(
            f"The configuration of build_model's model takes {len(text) / 1e6:.1f} MB; {MOST_CONFIG / 1e6:.0f} MB can "
            "be sent with a trial. Keep arrays and vocabularies out of the arguments of layers."
        )
    config: dict[str, Any] = json.loads(text)
    return config


def _objects_of(config: Any) -> dict[str, str]:
    """Return the modules of all registered objects that a configuration names, by the names they are registered under.

    Raises
    ------
    ModelBuildError
        One of them is in no module that can be imported.
    """
    import keras

    found: dict[str, str] = {}
    for name in sorted(set(_names_in(config))):
        thing = keras.saving.get_registered_object(name)
        if thing is None:
            continue  # Keras' own
        if not importable(thing):
            raise ModelBuildError(
                f"{name!r}, which build_model uses, is defined in this notebook or inside a function: no other machine "
                "can import it. Put it in a package that the workers install, and import it from there."
            )
        found[name] = thing.__module__
    return found


def _names_in(config: Any) -> Iterator[str]:
    """Yield the names of all classes and functions in a configuration."""
    if isinstance(config, dict):
        name = config.get("config" if config.get("class_name") == "function" else "registered_name")
        if "class_name" in config and isinstance(name, str):
            yield name
    for value in config.values() if isinstance(config, dict) else config if isinstance(config, list) else ():
        yield from _names_in(value)


def _differing(built: keras.Model, twin: keras.Model) -> dict[int, np.ndarray]:
    """Return the weights and seeds, by their place, that are not those of the model made from the configuration."""
    ours, theirs = ([value.numpy() for value in model.variables] for model in (built, twin))
    if [value.shape for value in ours] != [value.shape for value in theirs]:
        raise ModelBuildError(
            f"The model of build_model has other weights once it is made from its configuration: {len(theirs)} arrays "
            f"instead of {len(ours)}. Let get_config return every argument of __init__, and share no layer between "
            "models that are inside of it."
        )
    return {at: one for at, (one, other) in enumerate(zip(ours, theirs, strict=True)) if not np.array_equal(one, other)}


def _packed_weights(own: Mapping[int, np.ndarray], model: keras.Model) -> str:
    """Return arrays by their place as npz in base64."""
    content = io.BytesIO()
    arrays: dict[str, Any] = {str(at): _plain(value) for at, value in own.items()}
    np.savez_compressed(content, **arrays)
    size = content.tell()
    if size > MOST_WEIGHTS:
        largest = max(own, key=lambda at: own[at].nbytes)
        raise ModelBuildError(
            f"{size / 1e6:.1f} MB of the weights of build_model's model are not made by its initialisers, the largest "
            f"of them {model.variables[largest].path!r}; {MOST_WEIGHTS / 1e6:.1f} MB can be sent with a trial. Begin "
            "with new weights (of a model of keras.applications: weights=None), or train here: backend='local'."
        )
    return base64.b64encode(content.getvalue()).decode("ascii")


def _plain(value: np.ndarray) -> np.ndarray:
    """Return an array as a type that NumPy knows: bfloat16 as float32, which holds the same numbers."""
    return value if value.dtype.kind in "biuf" else value.astype("float32")


def _first_other(built: keras.Model, twin: keras.Model) -> str:
    """Name the first layer whose settings differ, inner ones first; else what compiles the model."""
    pairs = list(zip(built._flatten_layers(), twin._flatten_layers(), strict=False))
    for one, other in reversed(pairs):
        if one is not built and json.dumps(_config_of(one)) != json.dumps(_config_of(other)):
            return f"the {type(one).__name__} {one.name!r}"
    return "how it is compiled"


# --- at the other end ------------------------------------------------------------------------------------------------


def _received(record: Mapping[str, Any], model: UserModel, info: DataInfo) -> keras.Model:
    """Return the model as a worker makes it."""
    return UserModel(
        functools.partial(_unpack, record), {"batch_size": model.batch_size, "epochs": model.epochs}
    ).build(info)


def _unpack(record: Mapping[str, Any], *_: Any) -> keras.Model:
    """Make the model of a record; as a `build_model`, whose parameters and data are in the record already."""
    import keras

    _import_objects(record.get("objects", {}))
    try:
        model = keras.saving.deserialize_keras_object(copy.deepcopy(record["config"]), safe_mode=True)
    except Exception as error:
        theirs = str(record.get("keras"))[:20]
        versions = "" if theirs == keras.__version__ else f" Keras is {keras.__version__} here, and {theirs} at home."
        raise ModelBuildError(
            f"The model of build_model cannot be made from its configuration: {_cause(error)}.{versions} Decorate "
            "layers, losses and metrics of your own with @keras.saving.register_keras_serializable(), give them a "
            "get_config, and use no lambda."
        ) from error
    if not isinstance(model, keras.Model):
        raise BackendProtocol(f"The configuration in a job is of no model, but of a {type(model).__name__}.")
    if "weights" in record:
        _set_weights(model, record["weights"])
    return model


def _import_objects(objects: Any) -> None:
    """Import the modules in which objects of a model are registered."""
    import keras

    for name, module in objects.items() if isinstance(objects, Mapping) else ():
        if keras.saving.get_registered_object(name) is not None:
            continue
        reason = f"{str(module)[:100]!r} is no module"
        if isinstance(module, str) and MODULE.fullmatch(module):
            try:
                importlib.import_module(module)
                reason = f"the module {module!r} that is installed there does not register it"
            except Exception as error:
                reason = f"{type(error).__name__}: {error}"
        if keras.saving.get_registered_object(name) is None:
            raise ModelBuildError(
                f"The worker does not know {name!r}, which build_model uses ({reason}). Install the package that "
                f"registers it, in {module}, in the worker's image."
            )


def _set_weights(model: keras.Model, packed: Any) -> None:
    import keras

    try:
        with np.load(io.BytesIO(base64.b64decode(packed, validate=True)), allow_pickle=False) as file:
            for place in file.files:
                model.variables[int(place)].assign(file[place])
    except (TypeError, ValueError, IndexError, OSError, zipfile.BadZipFile) as error:
        raise BackendProtocol(f"The weights of a job's model cannot be read: {in_brief(error)}.") from error
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # it computes with copies of its weights


def _cause(error: Exception) -> str:
    """Return what Keras met, without its advice and the configuration that it prints around it."""
    met = in_brief(error).rpartition("Exception encountered:")[2]
    return re.split(r"\. Make sure|Full object config:|\. If you trust", met)[0].strip(" .")
