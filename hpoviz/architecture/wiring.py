"""What a Keras container calls, in which order, on which tensors: the one place that knows how Keras 3 keeps it.

Keras keeps the calls in private attributes (``_nodes_by_depth``, ``_inbound_nodes``), which are read first. Where they
are missing, the same is found in ``get_config()``, which is public but slow; a test holds that both give the same.
"""

from __future__ import annotations

import dataclasses
import heapq
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import keras
from keras import tree

__all__ = ["Call", "Key", "Source", "Wiring", "flat_inputs", "given_values", "run_operation", "wiring_of"]

NONE: frozenset[int] = frozenset()
Key = tuple[str, int]  # name of an operation, and which of its calls by this container it is
Source = tuple[Key, int]  # a call and the port at which a tensor leaves it


@dataclasses.dataclass(frozen=True)
class Call:
    """One call of an operation.

    Attributes
    ----------
    key : (str, int)
    operation : keras.Operation
    sources : tuple of Source
        The tensors among its arguments, in order.
    inputs : tuple of KerasTensor
        What these were when the model was made.
    masks : frozenset of int
        Which of them are masks of padding, that Keras hands on.
    outputs : tuple of KerasTensor
        Symbolic, as Keras saw them when the model was made.
    arguments : callable
        Returns (args, kwargs) with these values in place of the tensors.
    constants : tuple of str
    is_input : bool
    """

    key: Key
    operation: Any
    sources: tuple[Source, ...]
    inputs: tuple[Any, ...]
    masks: frozenset[int]
    outputs: tuple[Any, ...]
    arguments: Callable[[Sequence[Any]], tuple[tuple[Any, ...], dict[str, Any]]]
    constants: tuple[str, ...] = ()
    is_input: bool = False


@dataclasses.dataclass(frozen=True)
class Wiring:
    """The calls of one container, each after those whose results it takes.

    Attributes
    ----------
    calls : tuple of Call
    inputs, outputs : tuple of Source
        In the order of the container's own inputs and outputs.
    """

    calls: tuple[Call, ...]
    inputs: tuple[Source, ...]
    outputs: tuple[Source, ...]


def wiring_of(container: Any, *, public: bool = False) -> Wiring | None:
    """Return the wiring of a Sequential, functional model or ``keras.Function``; None for anything else.

    Parameters
    ----------
    container : object
    public : bool
        Whether to read ``get_config()`` although the private attributes are there.
    """
    functional = getattr(container, "_functional", None) if isinstance(container, keras.Sequential) else container
    if not public and hasattr(functional, "_nodes_by_depth"):
        return _from_nodes(functional)
    if isinstance(container, keras.Sequential):
        if functional is None:  # not built, or of layers that take several tensors
            return None
        container = keras.Model(container.inputs, container.outputs)
    config = container.get_config() if is_functional(container) else {}
    return _from_config(container, config) if "layers" in config else None


def given_values(function: Any) -> list[Any]:
    """Return all that the calls of a ``keras.Function`` are given, flat: symbolic tensors, weights, numbers, …"""
    nodes = [node for depth in function._nodes_by_depth.values() for node in depth]
    return list(tree.flatten([(node.arguments.args, node.arguments.kwargs) for node in nodes]))


def is_functional(container: Any) -> bool:
    """Tell whether something is a functional model, or of a class that was derived from one."""
    return any(kind.__name__ == "Functional" for kind in type(container).__mro__)


def run_operation(operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any], training: bool | None) -> list[Any]:
    """Call an operation on real tensors as Keras does inside a model, and return its outputs, flat."""
    if training is not None and getattr(operation, "_call_has_training_arg", False):
        kwargs = {**kwargs, "training": training}
    return list(tree.flatten(operation(*args, **kwargs)))


def flat_inputs(container: Any, x: Any) -> list[Any]:
    """Return samples as the tensors that a model's inputs take, in their order.

    Parameters
    ----------
    container : keras.Model or keras.Function
    x : array, or list, tuple or dict of arrays
        A dict is by the names of the inputs, or as the dict that the model was made with.
    """
    inputs = list(container.inputs)
    if isinstance(x, dict):
        by_name = {tensor.name: position for position, tensor in enumerate(inputs)}
        named = set(x) == set(by_name)
        values = [x[tensor.name] for tensor in inputs] if named else [x[name] for name in sorted(x)]
    else:
        values = list(x) if isinstance(x, list | tuple) else [x]
    if len(values) != len(inputs):
        raise ValueError(f"the model has {len(inputs)} inputs, and {len(values)} came")
    return [_as_input(value, tensor) for value, tensor in zip(values, inputs, strict=True)]


def _as_input(value: Any, reference: Any) -> Any:
    tensor = keras.ops.convert_to_tensor(value, dtype=None if reference.dtype == "string" else reference.dtype)
    if len(tensor.shape) == len(reference.shape) - 1 and reference.shape[-1] == 1:
        tensor = keras.ops.expand_dims(tensor, -1)  # as Keras: (n, 28, 28) for a model of (28, 28, 1)
    return tensor


def _from_nodes(functional: Any) -> Wiring:
    nodes = [node for depth in functional._nodes_by_depth.values() for node in depth]
    own = {id(node) for node in nodes}
    order: dict[Key, int] = {}
    keys: dict[int, Key] = {}
    names = _names(functional)
    for position, operation in enumerate(functional.operations):
        mine = [node for node in operation._inbound_nodes if id(node) in own]
        for rank, node in enumerate(mine):
            keys[id(node)] = (names[position], rank)
            order[names[position], rank] = position
    producers: dict[int, Source] = {
        id(tensor): (keys[id(node)], port) for node in nodes for port, tensor in enumerate(node.outputs)
    }
    calls = [
        Call(
            key=keys[id(node)],
            operation=node.operation,
            sources=tuple(producers[id(tensor)] for tensor in node.input_tensors),
            inputs=tuple(node.input_tensors),
            masks=_masks(node.arguments.args, node.arguments.kwargs, _is_symbolic) if node.arguments.kwargs else NONE,
            outputs=tuple(node.outputs),
            arguments=_filler(node),
            constants=tuple(_numbers((node.arguments.args, node.arguments.kwargs))) if _has_more(node) else (),
            is_input=node.is_input,
        )
        for node in nodes
    ]
    return Wiring(
        _ordered(calls, order),
        tuple(producers[id(tensor)] for tensor in functional.inputs),
        tuple(producers[id(tensor)] for tensor in functional.outputs),
    )


def _names(functional: Any) -> list[str]:
    """Return the names of the operations; in what was traced, Keras' running numbers are counted anew."""
    if isinstance(functional, keras.Model):
        return [operation.name for operation in functional.operations]
    layers = {operation.name for operation in functional.operations if _is_own_layer(operation)}
    taken: set[str] = set(layers)
    names = []
    for operation in functional.operations:
        if _is_own_layer(operation):
            names.append(operation.name)
            continue
        stem = "input" if isinstance(operation, keras.layers.InputLayer) else type(operation).__name__.lower()
        tried = itertools.chain((stem,), (f"{stem}_{number}" for number in itertools.count(1)))
        name = next(name for name in tried if name not in taken)
        taken.add(name)
        names.append(name)
    return names


def _is_own_layer(operation: Any) -> bool:
    return isinstance(operation, keras.layers.Layer) and not isinstance(operation, keras.layers.InputLayer)


def _is_symbolic(value: Any) -> bool:
    return isinstance(value, keras.KerasTensor)


def _masks(args: Any, kwargs: dict[str, Any], is_tensor: Callable[[Any], bool]) -> frozenset[int]:
    """Return which of the tensors among arguments are given as ``mask``."""
    place = _count(args, is_tensor)
    for name in sorted(kwargs):
        count = _count(kwargs[name], is_tensor)
        if name == "mask":
            return frozenset(range(place, place + count))
        place += count
    return NONE


def _count(value: Any, is_tensor: Callable[[Any], bool]) -> int:
    if is_tensor(value):
        return 1
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return sum(_count(item, is_tensor) for item in items)


def _has_more(node: Any) -> bool:
    """Tell whether a call was given more than one tensor, so that its arguments must be looked at."""
    arguments = node.arguments
    return bool(arguments.kwargs) or len(arguments.args) != 1 or len(node.input_tensors) != 1


def _filler(node: Any) -> Callable[[Sequence[Any]], tuple[tuple[Any, ...], dict[str, Any]]]:
    def fill(values: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        by_tensor = {id(tensor): value for tensor, value in zip(node.input_tensors, values, strict=True)}
        args, kwargs = node.arguments.fill_in(by_tensor)
        return tuple(args), dict(kwargs)

    return fill


def _from_config(model: Any, config: dict[str, Any]) -> Wiring:
    """Return the wiring of a functional model from ``get_config()``."""
    operations = {operation.name: operation for operation in model.operations}
    order: dict[Key, int] = {}
    pending: list[tuple[Key, Any, list[Source], Any]] = []
    for position, item in enumerate(config["layers"]):
        for rank, node in enumerate(item["inbound_nodes"] or [None]):
            key = (item["name"], rank)
            order[key] = position
            given = (node["args"], node["kwargs"]) if node else ((), {})
            sources = [_history(operations, tensor) for tensor in _config_tensors(given)]
            pending.append((key, operations[item["name"]], sources, given))
    symbolic: dict[Source, Any] = {}
    calls = []
    for key, operation, sources, given in _in_turn(pending, order):
        fill = _config_filler(given)
        if sources:
            args, kwargs = fill([symbolic[source] for source in sources])
            outputs = tuple(tree.flatten(operation.compute_output_spec(*args, **kwargs)))
        else:
            outputs = (keras.KerasTensor(operation.batch_shape, operation.dtype),)
        symbolic |= {(key, port): tensor for port, tensor in enumerate(outputs)}
        calls.append(
            Call(
                key=key,
                operation=operation,
                sources=tuple(sources),
                inputs=tuple(symbolic[source] for source in sources),
                masks=_masks(given[0], given[1], _is_tensor),
                outputs=outputs,
                arguments=fill,
                constants=tuple(_numbers(given)),
                is_input=not sources,
            )
        )
    return Wiring(
        tuple(calls),
        tuple(_named(operations, item) for item in _config_ends(config["input_layers"])),
        tuple(_named(operations, item, at_end=True) for item in _config_ends(config["output_layers"])),
    )


def _history(operations: dict[str, Any], tensor: dict[str, Any]) -> Source:
    return _named(operations, tensor["config"]["keras_history"])


def _named(operations: dict[str, Any], history: Sequence[Any], *, at_end: bool = False) -> Source:
    name, rank, port = history
    # Where a model ends, Keras counts the calls of a functional model from 1, as if its own making were the first.
    return (name, rank - (at_end and is_functional(operations[name]))), port


def _is_tensor(value: Any) -> bool:
    return isinstance(value, dict) and value.get("class_name") == "__keras_tensor__"


def _config_tensors(value: Any) -> Iterator[dict[str, Any]]:
    """Yield the tensors among saved arguments, in the order in which Keras flattens arguments."""
    if _is_tensor(value):
        yield value
    elif isinstance(value, dict):
        for name in sorted(value):
            yield from _config_tensors(value[name])
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _config_tensors(item)


def _config_filler(given: Any) -> Callable[[Sequence[Any]], tuple[tuple[Any, ...], dict[str, Any]]]:
    def put(value: Any, left: Iterator[Any]) -> Any:
        if _is_tensor(value):
            return next(left)
        if isinstance(value, dict) and "class_name" in value:
            return keras.saving.deserialize_keras_object(value)
        if isinstance(value, dict):
            return {name: put(value[name], left) for name in sorted(value)}
        if isinstance(value, list | tuple):
            return type(value)(put(item, left) for item in value)
        return value

    def fill(values: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        left = iter(values)
        args, kwargs = given
        return tuple(put(item, left) for item in args), put(dict(kwargs), left)

    return fill


def _config_ends(value: Any) -> Iterator[Sequence[Any]]:
    """Yield the [name, call, port] of a container's inputs or outputs, in whatever structure they are kept."""
    if isinstance(value, dict):
        for name in sorted(value):
            yield from _config_ends(value[name])
    elif len(value) == 3 and isinstance(value[0], str):
        yield value
    else:
        for item in value:
            yield from _config_ends(item)


def _numbers(value: Any) -> Iterator[str]:
    """Yield the numbers among the arguments of a call as text."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        yield f"{value:g}"
    elif isinstance(value, dict) and "class_name" not in value:
        for name in sorted(value):
            yield from _numbers(value[name])
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _numbers(item)


def _ordered(calls: Sequence[Call], order: dict[Key, int]) -> tuple[Call, ...]:
    pending = [(call.key, call, call.sources, None) for call in calls]
    return tuple(call for _, call, _, _ in _in_turn(pending, order))


def _in_turn(pending: Iterable[tuple[Key, Any, Sequence[Source], Any]], order: dict[Key, int]) -> Iterator[Any]:
    """Yield calls after those they depend on, and else in the order of their operations: both readings give one."""
    items = {item[0]: item for item in pending}
    waiting = {key: len({source for source, _ in item[2]}) for key, item in items.items()}
    users: dict[Key, list[Key]] = {key: [] for key in items}
    for key, item in items.items():
        for source in {source for source, _ in item[2]}:
            users[source].append(key)
    ready = [(order[key], key[1], key) for key, count in waiting.items() if not count]
    heapq.heapify(ready)
    while ready:
        *_, key = heapq.heappop(ready)
        yield items[key]
        for user in users[key]:
            waiting[user] -= 1
            if not waiting[user]:
                heapq.heappush(ready, (order[user], user[1], user))
