"""ModelGraph: what a model computes, call by call, as plain data that can be stored, sent and drawn.

Nothing of Keras is in it. `architecture/keras_adapter.py` makes one of any Keras 3 model.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, cast

from hpoviz.architecture.recording import Recording
from hpoviz.errors import StoreError

__all__ = ["Edge", "LayerInfo", "ModelGraph", "Node", "NodeKind", "Tensor", "shape_text"]

VERSION = 1
NodeKind = Literal["input", "layer", "operation", "container", "output"]
KINDS = ("input", "layer", "operation", "container", "output")


@dataclasses.dataclass(frozen=True, slots=True)
class Tensor:
    """What a node gives out at one of its ports.

    Attributes
    ----------
    shape : tuple of (int or None), or None
        Without the batch axis; a None in it is a length that is not known yet, None for all of it says that nothing is.
    dtype : str
    """

    shape: tuple[int | None, ...] | None
    dtype: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerInfo:
    """A layer, an operation or a model inside the model: there is one, however often it is called.

    Attributes
    ----------
    id : str
        Names from the outermost model on, joined by ``/``; ``""`` is the model itself.
    name, type : str
        Its own name, and that of its class.
    base : str
        Keras' layer that a class of somebody else's is made from, such as ``Dense``; empty for Keras' own classes, and
        for those that are made from no particular layer.
    parameters, trainable_parameters : int
        Numbers that only this layer holds: a container's own, without those of the layers inside; weights that are
        shared count for the first layer that holds them.
    settings : mapping of str to JSON values
        What its class was told, as far as it is numbers, words or flags.
    inner : tuple of LayerInfo
        The layers that a wrapper wraps; their weights count for the wrapper.
    """

    id: str
    name: str
    type: str
    base: str = ""
    parameters: int = 0
    trainable_parameters: int = 0
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    inner: tuple[LayerInfo, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Node:
    """One call of a layer, of an operation or of a model inside the model; or an output of the model.

    Attributes
    ----------
    id : str
        Unique in the graph.
    layer : str
        The id of the LayerInfo that is called.
    kind : {"input", "layer", "operation", "container", "output"}
        A container holds the nodes that name it as their parent.
    call : int
        Which of the calls of the layer by its container it is, from 0.
    parent : str or None
        The id of the container's node, or None.
    outputs : tuple of Tensor
        By port.
    constants : tuple of str
        Numbers that the call was given beside its tensors, as the 2.0 of ``x * 2.0``.
    """

    id: str
    layer: str
    kind: NodeKind
    call: int = 0
    parent: str | None = None
    outputs: tuple[Tensor, ...] = ()
    constants: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Edge:
    """One use of a tensor: it leaves `source` at a port and enters `target` as its argument number `slot`.

    `mask` says that it is Keras' own mask of the padding of a sequence. `origin` is the node and the port that make the
    tensor, where `source` stands for several nodes.
    """

    source: str
    port: int
    target: str
    slot: int
    tensor: Tensor
    mask: bool = False
    origin: tuple[str, int] | None = None

    @property
    def made_by(self) -> tuple[str, int]:
        """The node of the whole graph that makes the tensor, and the port that it leaves."""
        return self.origin or (self.source, self.port)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelGraph:
    """A model as nodes (calls) and edges (uses of tensors), beside the layers that are called.

    Attributes
    ----------
    name, type : str
        Of the model: its name and its class.
    nodes : tuple of Node
        In an order in which they can be computed; a container comes before what is inside it.
    edges : tuple of Edge
        In the order of their targets. A tensor that is used twice has two. They join nodes that are no containers,
        and containers that could not be looked into.
    layers : mapping of str to LayerInfo
        By id: the model itself, then in the order in which they are first called, those inside a container before it.
    partial : str or None
        Why the graph does not show all that is computed, or None.
    health : mapping of str to float
        In [0, 1], by layer id, for the layers of which it is known.
    recording : Recording or None
        One pass through the model, by the ids of the nodes.

    Examples
    --------
    >>> import keras
    >>> from hpoviz.architecture.keras_adapter import graph_of
    >>> graph = graph_of(keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="d")], name="small"))
    >>> [node.id for node in graph.nodes][1:], graph.parameters
    (['d', '/output/0'], 15)
    >>> ModelGraph.from_json(graph.to_json()) == graph
    True
    """

    name: str
    type: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    layers: Mapping[str, LayerInfo]
    partial: str | None = None
    health: Mapping[str, float] = dataclasses.field(default_factory=dict)
    recording: Recording | None = None

    @property
    def parameters(self) -> int:
        """Number of weights, those that are shared counted once."""
        return sum(layer.parameters for layer in self.layers.values())

    @property
    def trainable_parameters(self) -> int:
        """Number of weights that training changes."""
        return sum(layer.trainable_parameters for layer in self.layers.values())

    @functools.cached_property
    def by_id(self) -> Mapping[str, Node]:
        """The nodes by id."""
        return {node.id: node for node in self.nodes}

    @functools.cached_property
    def calls(self) -> Mapping[str, int]:
        """How often each layer is called, by layer id."""
        counts: dict[str, int] = {}
        for node in self.nodes:
            counts[node.layer] = counts.get(node.layer, 0) + (node.kind != "output")
        return counts

    @functools.cached_property
    def depths(self) -> Mapping[str, int]:
        """The longest way to each node from an input, in calls."""
        depths = dict.fromkeys(self.by_id, 0)
        order = {node.id: place for place, node in enumerate(self.nodes)}
        for edge in sorted(self.edges, key=lambda edge: order[edge.target]):
            depths[edge.target] = max(depths[edge.target], depths[edge.source] + 1)
        return depths

    def ancestors(self, node: str) -> Iterator[str]:
        """Yield the containers around a node, the innermost first."""
        parent = self.by_id[node].parent
        while parent is not None:
            yield parent
            parent = self.by_id[parent].parent

    def inside(self, container: str) -> set[str]:
        """Return the ids of all nodes inside a container, at any depth."""
        return {node.id for node in self.nodes if container in self.ancestors(node.id)}

    def parameters_of(self, node: str, *, trainable: bool = False) -> int:
        """Return the number of weights of a node's layer and, for a container, of all layers inside, counted once.

        With `trainable` those that are trained.
        """
        kind = self.by_id[node].kind
        if kind == "output":
            return 0
        nodes = self.inside(node) | {node} if kind == "container" else {node}
        layers = [self.layers[name] for name in {self.by_id[one].layer for one in nodes}]
        return sum(layer.trainable_parameters if trainable else layer.parameters for layer in layers)

    def to_dict(self) -> dict[str, Any]:
        """Return the graph as JSON values, with the version of their form."""
        return {
            "version": VERSION,
            "name": self.name,
            "type": self.type,
            "partial": self.partial,
            "nodes": [
                {**_fields(node), "outputs": [_tensor(tensor) for tensor in node.outputs]} for node in self.nodes
            ],
            "edges": [
                {
                    "source": edge.source,
                    "port": edge.port,
                    "target": edge.target,
                    "slot": edge.slot,
                    "mask": edge.mask,
                    **_tensor(edge.tensor),
                }
                for edge in self.edges
            ],
            "layers": [_layer(layer) for layer in self.layers.values()],
            "health": dict(self.health),
            "recording": self.recording and self.recording.to_dict(),
        }

    def to_json(self) -> str:
        """Return `to_dict` as text."""
        return json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelGraph:
        """Return the graph of `to_dict`'s values.

        Raises
        ------
        StoreError
            Another version, or values that are no graph: missing fields, edges from or to nodes that are not there.
        """
        version = values.get("version") if isinstance(values, Mapping) else None
        if version != VERSION:
            raise StoreError(f"This is not a model graph of version {VERSION}: its version is {version!r}.")
        try:
            graph = cls(
                name=str(values["name"]),
                type=str(values["type"]),
                partial=None if values["partial"] is None else str(values["partial"]),
                nodes=tuple(_node_of(item) for item in values["nodes"]),
                edges=tuple(_edge_of(item) for item in values["edges"]),
                layers={item["id"]: _layer_of(item) for item in values["layers"]},
                health={str(name): float(value) for name, value in values["health"].items()},
                recording=None if values["recording"] is None else Recording.from_dict(values["recording"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StoreError(f"The model graph is damaged: {type(error).__name__}: {error}.") from error
        if problem := next(_problems(graph), None):
            raise StoreError(f"The model graph is damaged: {problem}")
        return graph

    @classmethod
    def from_json(cls, text: str) -> ModelGraph:
        """Return the graph of `to_json`'s text; StoreError as `from_dict`."""
        try:
            values = json.loads(text)
        except ValueError as error:
            raise StoreError(f"The model graph is damaged: it is no JSON ({error}).") from error
        return cls.from_dict(values)


def shape_text(shape: Iterable[int | None] | None) -> str:
    """Return a shape as people write it.

    Examples
    --------
    >>> shape_text((28, 28, 1)), shape_text((None, 32)), shape_text(()), shape_text(None)
    ('28×28×1', '?×32', 'scalar', 'unknown')
    """
    if shape is None:
        return "unknown"
    return "×".join("?" if length is None else str(length) for length in shape) or "scalar"


def _problems(graph: ModelGraph) -> Iterator[str]:
    """Yield what keeps values that have the right types from being a graph."""
    if len(graph.by_id) != len(graph.nodes):
        yield "two nodes have the same id."
    seen: set[str] = set()
    for node in graph.nodes:
        if node.kind not in KINDS:
            yield f"a node is of kind {node.kind!r}. Kinds: {', '.join(KINDS)}."
        if node.layer not in graph.layers:
            yield f"node {node.id!r} calls layer {node.layer!r}, which is not there."
        if node.parent is not None and node.parent not in seen:
            yield f"node {node.id!r} is inside {node.parent!r}, which is not before it."
        seen.add(node.id)
    order = {node.id: position for position, node in enumerate(graph.nodes)}
    for name in graph.health:
        if name not in graph.layers:
            yield f"there is a health of layer {name!r}, which is not there."
    for edge in graph.edges:
        if not order.get(edge.source, len(order)) < order.get(edge.target, -1):
            yield f"an edge leads from {edge.source!r} to {edge.target!r}, which are not nodes in this order."


def _fields(item: Any) -> dict[str, Any]:
    """Return the fields of a dataclass, tuples as lists."""
    values = {field.name: getattr(item, field.name) for field in dataclasses.fields(item)}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def _tensor(tensor: Tensor) -> dict[str, Any]:
    return {"shape": None if tensor.shape is None else list(tensor.shape), "dtype": tensor.dtype}


def _layer(layer: LayerInfo) -> dict[str, Any]:
    return {**_fields(layer), "settings": dict(layer.settings), "inner": [_layer(item) for item in layer.inner]}


def _tensor_of(values: Mapping[str, Any]) -> Tensor:
    shape = values["shape"]
    lengths = None if shape is None else tuple(None if length is None else int(length) for length in shape)
    return Tensor(lengths, str(values["dtype"]))


def _node_of(values: Mapping[str, Any]) -> Node:
    return Node(
        id=str(values["id"]),
        layer=str(values["layer"]),
        kind=cast(NodeKind, values["kind"]),
        call=int(values["call"]),
        parent=None if values["parent"] is None else str(values["parent"]),
        outputs=tuple(_tensor_of(item) for item in values["outputs"]),
        constants=tuple(str(item) for item in values["constants"]),
    )


def _edge_of(values: Mapping[str, Any]) -> Edge:
    return Edge(
        source=str(values["source"]),
        port=int(values["port"]),
        target=str(values["target"]),
        slot=int(values["slot"]),
        tensor=_tensor_of(values),
        mask=bool(values["mask"]),
    )


def _layer_of(values: Mapping[str, Any]) -> LayerInfo:
    return LayerInfo(
        id=str(values["id"]),
        name=str(values["name"]),
        type=str(values["type"]),
        base=str(values["base"]),
        parameters=int(values["parameters"]),
        trainable_parameters=int(values["trainable_parameters"]),
        settings=dict(values["settings"]),
        inner=tuple(_layer_of(item) for item in values["inner"]),
    )
