"""Any Keras 3 model as a ModelGraph, and run again call by call."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import tree

from hpoviz.architecture.layer_settings import base_of, is_block, settings_of, wrapped_by
from hpoviz.architecture.model_graph import Edge, LayerInfo, ModelGraph, Node, NodeKind, Tensor
from hpoviz.architecture.tracing import Untraceable, open_model, wiring_inside
from hpoviz.architecture.wiring import Call, Source, Wiring, flat_inputs, run_operation
from hpoviz.errors import ModelBuildError

__all__ = ["MODEL_NODE", "graph_of", "graph_with_weights", "replay"]

MODEL_NODE = "/model"  # the node of a model that could not be looked into; no name of a layer holds a slash
Watch = Callable[[str, list[Any]], list[Any]]


def graph_of(model: keras.Model, *, inputs: Any = None, expand: bool = True, public: bool = False) -> ModelGraph:
    """Return the graph of a Keras 3 model.

    Sequential and functional models are read; a model with a `call` of its own is traced, unless what it computes
    depends on values. Models inside the model, and layers of your own that are put together from layers, become
    containers with what is inside them, once for each call.

    Parameters
    ----------
    model : keras.Model
        Built: its weights are made.
    inputs : array, or list, tuple or dict of arrays, optional
        Samples, for a model with a `call` of its own that does not know the shape or the dtype of its input.
    expand : bool
        Whether to show what is inside of models and blocks inside the model.
    public : bool
        Whether to read nothing but Keras' public configuration: slower, and the same.

    Raises
    ------
    ModelBuildError
        Not a Keras model, or one that has not been built.

    Examples
    --------
    >>> inner = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4, name="narrow")], name="inner")
    >>> graph = graph_of(keras.Sequential([keras.Input((8,), name="x"), inner], name="outer"))
    >>> [(node.id, node.kind) for node in graph.nodes]
    [('x', 'input'), ('inner', 'container'), ('inner/narrow', 'layer'), ('/output/0', 'output')]
    """
    return _Builder(expand, public).graph(model, inputs)


def graph_with_weights(model: keras.Model, inputs: Any = None) -> tuple[ModelGraph, list[tuple[str, Any]]]:
    """Return the graph of a model, and its weights with the ids of the layers that hold them."""
    builder = _Builder(expand=True, public=False)
    return builder.graph(model, inputs), builder.weights


def replay(model: keras.Model, x: Any, *, training: bool = False, watch: Watch) -> list[Any]:
    """Run a model on samples, one call of its graph after the other.

    Parameters
    ----------
    model : keras.Model
    x : array, or list, tuple or dict of arrays
        The first axis counts samples.
    training : bool
        Whether layers behave as in training.
    watch : callable
        Takes the id of a node of `graph_of(model)` and the tensors that it gave out, and returns those that its users
        shall get. It is not asked for containers and output nodes.

    Returns
    -------
    list of tensors
        The model's outputs, flat.

    Raises
    ------
    ModelBuildError
        As `graph_of`, and for samples that the model does not take.
    """
    _check(model)
    try:
        try:
            container, wiring = open_model(model, x, public=False, training=training)
        except Untraceable:
            return watch(MODEL_NODE, list(tree.flatten(model(x, training=training))))
        return _run(wiring, flat_inputs(container, x), "", training, watch)
    except (ValueError, TypeError, tf.errors.OpError) as error:
        raise ModelBuildError(f"{model.name!r} cannot be run on these samples: {error}") from error


def _check(model: Any) -> None:
    if not isinstance(model, keras.Model):
        kind = type(model)
        raise ModelBuildError(f"A Keras 3 model (keras.Model) is needed. Got {kind.__module__}.{kind.__qualname__}.")
    if not model.built:
        raise ModelBuildError(
            f"{model.name!r} has not been built, so nothing is known of its input. Let it begin with "
            "keras.Input((28, 28, 1)), or call it once on samples: model(x[:1])."
        )


def _entering(inside: Wiring, given: Sequence[Any]) -> Sequence[Any]:
    """Return what enters a called model: its inputs, without the masks that Keras hands on beside them."""
    return given[: len(inside.inputs)]


def _node_id(prefix: str, call: Call) -> str:
    name, rank = call.key
    return f"{prefix}{name}//{rank}" if rank else f"{prefix}{name}"  # names are not empty: no path looks like it


def _run(wiring: Wiring, values: Sequence[Any], prefix: str, training: bool, watch: Watch) -> list[Any]:
    found: dict[Source, Any] = dict(zip(wiring.inputs, values, strict=True))
    for call in wiring.calls:
        node = _node_id(prefix, call)
        if call.is_input:
            if not prefix:
                (found[call.key, 0],) = watch(node, [found[call.key, 0]])
            continue
        given = [found[source] for source in call.sources]
        try:
            inside = wiring_inside(call, call.inputs, public=False, training=training)
        except Untraceable:
            inside = None
        if inside:
            outputs = _run(inside, _entering(inside, given), f"{node}/", training, watch)
            if is_block(call.operation):
                _hand_on_mask(call.operation, given, outputs)
        else:
            outputs = watch(node, run_operation(call.operation, *call.arguments(given), training))
        found.update({(call.key, port): value for port, value in enumerate(outputs)})
    return [found[source] for source in wiring.outputs]


def _hand_on_mask(block: Any, given: Sequence[Any], outputs: Sequence[Any]) -> None:
    """Give a block's outputs the mask of padding that Keras gives them after its `call`."""
    mask = getattr(given[0], "_keras_mask", None)
    if mask is None or not block.supports_masking:
        return
    for tensor, its in zip(outputs, tree.flatten(block.compute_mask(given[0], mask)), strict=False):
        if getattr(tensor, "_keras_mask", None) is None:
            tensor._keras_mask = its


class _Builder:
    """Nodes, edges and layers of a graph, gathered container by container.

    An end is where a tensor leaves the graph drawn so far: the id of a node, its port, the symbolic tensor.
    """

    def __init__(self, expand: bool, public: bool) -> None:
        self._expand, self._public = expand, public
        self.nodes: list[Node] = []
        self.edges: list[Edge] = []
        self.layers: dict[str, LayerInfo] = {}
        self.notes: list[str] = []
        self.weights: list[tuple[str, Any]] = []
        self._ids: dict[int, str] = {}
        self._counted: set[int] = set()
        self._tensors: dict[int, tuple[Any, Tensor]] = {}  # with what they were made of, so that its id stays its own

    def _tensor(self, tensor: Any) -> Tensor:
        known = self._tensors.get(id(tensor))
        if known is None:
            known = self._tensors[id(tensor)] = (tensor, _plain_tensor(tensor))
        return known[1]

    def graph(self, model: Any, inputs: Any) -> ModelGraph:
        """Return the graph of a whole model."""
        _check(model)
        try:
            _, wiring = open_model(model, inputs, self._public)
            ends = self.add(wiring, "", None, None)
        except Untraceable as problem:
            self.notes.append(str(problem))
            ends = self.add_closed(model, problem.tensors)
        for number, (source, port, tensor) in enumerate(ends):
            output = f"/output/{number}"
            self.nodes.append(Node(id=output, layer="", kind="output", outputs=(_plain_tensor(tensor),)))
            self.edges.append(Edge(source, port, output, 0, _plain_tensor(tensor)))
        return ModelGraph(
            name=model.name,
            type=type(model).__name__,
            nodes=tuple(self.nodes),
            edges=tuple(self.edges),
            layers={"": self.describe(model, ""), **self.layers},
            partial=" ".join(dict.fromkeys(self.notes)) or None,
        )

    def add(
        self, wiring: Wiring, prefix: str, parent: str | None, entry: Sequence[tuple[str, int, Any]] | None
    ) -> list[tuple[str, int, Any]]:
        """Add the calls of a container, whose inputs are `entry` (None for the model itself); return its ends."""
        ends = dict(zip(wiring.inputs, entry, strict=True)) if entry is not None else {}
        static = {(call.key, port): tensor for call in wiring.calls for port, tensor in enumerate(call.outputs)}
        # Inside a model that is called on other shapes than it was made for, what Keras keeps is not what is computed.
        fresh = all(tuple(static[source].shape[1:]) == tuple(end[2].shape[1:]) for source, end in ends.items())
        for call in wiring.calls:
            if call.is_input and entry is not None:
                continue
            given = [ends[source] for source in call.sources]
            outputs = call.outputs if fresh else _computed(call, [tensor for *_, tensor in given])
            ends.update(self._add_call(call, _node_id(prefix, call), prefix, parent, given, outputs))
        return [ends[source] for source in wiring.outputs]

    def _add_call(
        self,
        call: Call,
        node: str,
        prefix: str,
        parent: str | None,
        given: Sequence[tuple[str, int, Any]],
        outputs: Sequence[Any],
    ) -> dict[Source, tuple[str, int, Any]]:
        inside = self._look_inside(call, [tensor for *_, tensor in given])
        place = len(self.nodes)
        if inside:
            self.nodes.append(Node(id=node, layer="", kind="container"))  # its place, before what is inside
            results = self.add(inside, f"{node}/", node, _entering(inside, given))
        else:
            results = [(node, port, tensor) for port, tensor in enumerate(outputs)]
            for slot, (source, port, tensor) in enumerate(given):
                self.edges.append(Edge(source, port, node, slot, self._tensor(tensor), slot in call.masks))
        made = Node(
            id=node,
            layer=self._layer(call.operation, prefix + call.key[0], is_input=call.is_input),
            kind="container" if inside else _kind(call),
            call=call.key[1],
            parent=parent,
            outputs=tuple(map(self._tensor, outputs)),
            constants=call.constants,
        )
        self.nodes[place : place + 1] = [made]
        return {(call.key, port): result for port, result in enumerate(results)}

    def add_closed(self, model: Any, tensors: Sequence[Any]) -> list[tuple[str, int, Any]]:
        """Add a model that could not be looked into as one container, which holds its layers without edges."""
        inputs = [f"/input/{number}" for number in range(len(tensors))]
        for name, tensor in zip(inputs, tensors, strict=True):
            self.layers[name] = LayerInfo(id=name, name="input", type="InputLayer")
            self.nodes.append(Node(id=name, layer=name, kind="input", outputs=(_plain_tensor(tensor),)))
            self.edges.append(Edge(name, 0, MODEL_NODE, len(self.edges), _plain_tensor(tensor)))
        unknown = Tensor(None, "float32")
        self.nodes.append(Node(id=MODEL_NODE, layer="", kind="container", outputs=(unknown,)))
        for layer in model.layers:
            name = layer.name
            while name in self.layers:  # nothing keeps such a model's layers from having one name
                name += "'"
            name = self._layer(layer, name)
            self.nodes.append(Node(id=name, layer=name, kind="layer", parent=MODEL_NODE))
        return [(MODEL_NODE, 0, unknown)]

    def _look_inside(self, call: Call, tensors: Sequence[Any]) -> Wiring | None:
        if not self._expand:
            return None
        try:
            return wiring_inside(call, tensors, self._public)
        except Untraceable as problem:
            self.notes.append(str(problem))
            return None

    def _layer(self, operation: Any, name: str, *, is_input: bool = False) -> str:
        """Return the id of a layer: `name` where it is met first, and noted then."""
        if id(operation) not in self._ids:
            self._ids[id(operation)] = name
            short = name.rpartition("/")[2]
            self.layers[name] = (
                LayerInfo(id=name, name=short, type="InputLayer") if is_input else self.describe(operation, name)
            )
        return self._ids[id(operation)]

    def describe(self, operation: Any, name: str) -> LayerInfo:
        """Return what is known of a layer; its weights are those that no layer before it has."""
        weights = self._weights_of(operation) if isinstance(operation, keras.layers.Layer) else []
        own = [weight for weight in weights if id(weight) not in self._counted]
        self._counted.update(map(id, own))
        self.weights += [(name, weight) for weight in own]
        return LayerInfo(
            id=name,
            name=name.rpartition("/")[2] or operation.name,
            type=type(operation).__name__,
            base=base_of(operation),
            parameters=sum(_size(weight) for weight in own),
            trainable_parameters=sum(_size(weight) for weight in own if weight.trainable),
            settings=settings_of(operation),
            inner=tuple(
                LayerInfo(
                    id=f"{name}/{item.name}",
                    name=item.name,
                    type=type(item).__name__,
                    base=base_of(item),
                    settings=settings_of(item),
                )
                for item in wrapped_by(operation)
            ),
        )

    def _weights_of(self, layer: Any) -> list[Any]:
        """Return the weights of a layer; those of one that holds no other are at hand without a search."""
        if self._public or layer._layers:
            return list(layer.weights)
        return [*layer._trainable_variables, *layer._non_trainable_variables]


def _computed(call: Call, tensors: Sequence[Any]) -> tuple[Any, ...]:
    args, kwargs = call.arguments(tensors)
    return tuple(tree.flatten(call.operation.compute_output_spec(*args, **kwargs)))


def _kind(call: Call) -> NodeKind:
    if call.is_input:
        return "input"
    return "layer" if isinstance(call.operation, keras.layers.Layer) else "operation"


def _plain_tensor(tensor: Any) -> Tensor:
    if isinstance(tensor, Tensor):
        return tensor
    dtype = tensor.dtype
    return Tensor(tuple(tensor.shape[1:]), dtype if isinstance(dtype, str) else keras.backend.standardize_dtype(dtype))


def _size(weight: Any) -> int:
    # `shape` asks TensorFlow each time, which takes half of the time that it takes to read a large model.
    return math.prod(getattr(weight, "_shape", None) or weight.shape)
