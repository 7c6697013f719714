"""Models and blocks of layers with a `call` of their own, traced by Keras so that they can be read as any other."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import tree

from hpoviz.architecture.layer_settings import is_block
from hpoviz.architecture.wiring import Call, Wiring, given_values, wiring_of
from hpoviz.errors import ModelBuildError

__all__ = ["Untraceable", "open_model", "wiring_inside"]

Fill = Callable[[Sequence[Any]], tuple[tuple[Any, ...], dict[str, Any]]]

# Tracing adds calls to the layers of a model, so each model is traced once for each shape of its inputs.
_traced: weakref.WeakKeyDictionary[Any, dict[Any, Any]] = weakref.WeakKeyDictionary()


class Untraceable(Exception):
    """A model or block whose `call` cannot be followed; `tensors` are its symbolic inputs."""

    def __init__(self, reason: str, tensors: Sequence[Any]) -> None:
        super().__init__(reason)
        self.tensors = tensors


def open_model(model: Any, inputs: Any, public: bool, training: bool = False) -> tuple[Any, Wiring]:
    """Return what holds a model's symbolic inputs (itself, or what was traced of it), and its wiring."""
    wiring = wiring_of(model, public=public)
    if wiring:
        return model, wiring
    structure = _known_inputs(model, inputs)
    flat, form = tree.flatten(structure), str(tree.map_structure(lambda tensor: 0, structure))

    def fill(values: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return (tree.pack_sequence_as(structure, values),), {}

    traced = _trace(model, flat, fill, form, training)
    wiring = wiring_of(traced)
    assert wiring  # a keras.Function has one
    return traced, wiring


def _known_inputs(model: Any, inputs: Any) -> Any:
    """Return symbolic inputs of a model with a `call` of its own, as it was built, or as these samples are.

    What it was built for comes first, with the dtype of the samples, so that all samples share one trace.
    """
    built = _built_for(model)
    if inputs is None:
        if built is None:
            raise ModelBuildError(
                f"The shape of the input of {model.name!r} is not known, as its call() is its own. "
                "Give samples too: inputs=x[:1]."
            )
        return built
    given = tree.map_structure(_specification, inputs)
    if built is None or not _same_form(built, given):
        return given
    return tree.map_structure(lambda one, other: keras.KerasTensor(one.shape, other.dtype), built, given)


def _same_form(one: Any, other: Any) -> bool:
    try:
        tree.assert_same_structure(one, other)
    except (ValueError, TypeError):
        return False
    pairs = zip(tree.flatten(one), tree.flatten(other), strict=True)
    return all(
        len(a.shape) == len(b.shape) and all(x in (None, y) for x, y in zip(a.shape, b.shape, strict=True))
        for a, b in pairs
    )


def _built_for(model: Any) -> Any:
    """Return symbolic inputs of the shapes that a model was built for; None where they are not known."""
    known = model.get_build_config() or {}
    shapes = [*(known.get("shapes_dict") or {}).values(), known.get("input_shape")]
    shape = next((shape for shape in shapes if shape is not None), None)
    if shape is None:
        return None
    if isinstance(shape, dict):
        return {name: keras.KerasTensor((None, *one[1:])) for name, one in shape.items()}
    if isinstance(shape[0], list | tuple):
        return [keras.KerasTensor((None, *one[1:])) for one in shape]
    return keras.KerasTensor((None, *shape[1:]))


def _specification(x: Any) -> Any:
    return keras.KerasTensor((None, *x.shape[1:]), keras.backend.standardize_dtype(x.dtype))


def _trace(model: Any, tensors: Sequence[Any], arguments: Fill, form: str, training: bool) -> Any:
    """Return a ``keras.Function`` of these inputs that computes what a model's own `call` does.

    `form` tells calls apart that differ in more than these tensors.
    """
    specifications = tuple((tuple(tensor.shape), str(tensor.dtype)) for tensor in tensors)
    key = (specifications, form, training)
    kept = _traced.setdefault(model, {})
    if key not in kept:
        symbols = [keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype) for tensor in tensors]
        args, kwargs = arguments(symbols)
        if getattr(model, "_call_has_training_arg", False) and kwargs.get("training") is None:
            kwargs = {**kwargs, "training": training}

        def follow() -> Any:
            return keras.Function(symbols, tree.flatten(model.call(*args, **kwargs)))

        try:
            kept[key] = _frozen(model, follow) or follow()
        except Exception as error:  # whatever the user's call raises
            said = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
            kept[key] = f"What {model.name!r} computes depends on values, or on what Keras cannot trace: {said}"
    if isinstance(kept[key], str):
        raise Untraceable(kept[key], tensors)
    return kept[key]


def _frozen(model: Any, follow: Callable[[], Any]) -> str | None:
    """Say that a trace would keep values as they are now: what `call` computes of weights, or of chance, alone.

    Such values are computed while it is followed. In a graph they can be asked for what they come from.
    """
    reasons = []

    def look() -> None:
        pending = [value.op for value in given_values(follow()) if tf.is_symbolic_tensor(value)]
        seen = set()
        while pending:
            operation = pending.pop()
            if operation not in seen:
                seen.add(operation)
                pending += [tensor.op for tensor in operation.inputs]
        if any(operation.op_def.is_stateful for operation in seen):  # as reading a weight is
            reasons.append(
                f"{model.name!r} computes something of its weights, or of chance, before its input comes in."
            )

    tf.function(look, autograph=False).get_concrete_function()
    return reasons[0] if reasons else None


def wiring_inside(call: Call, tensors: Sequence[Any], public: bool, training: bool = False) -> Wiring | None:
    """Return the wiring of a called model or block, for these symbolic tensors; None where a layer is called."""
    if not isinstance(call.operation, keras.Model) and not is_block(call.operation):
        return None
    wiring = wiring_of(call.operation, public=public)
    if wiring:
        return wiring
    form = repr(call.arguments(["tensor"] * len(tensors)))
    return wiring_of(_trace(call.operation, [_specification(one) for one in tensors], call.arguments, form, training))
