"""Smaller views of a large graph: repeated blocks as one node, containers closed, small layers in those before them."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence

from hpoviz.architecture.model_graph import Edge, LayerInfo, ModelGraph, Node, Tensor

__all__ = ["BLOCK", "collapsed", "folded", "grouped", "without_masks"]

# No class can have such a name, and no argument of one: the type of a group of repeated blocks, how often it holds one
# and of how many nodes; how many layers a closed container holds; what was folded into a layer.
BLOCK, REPEATS, NODES, THEN = "/block", "/repeats", "/nodes", "/then"
MANY_NODES = 30  # a container with fewer is shown as it is
LONGEST_BLOCK = 16  # in steps of the way through the container
LEAST_BLOCK, LEAST_GROUP = 3, 8  # nodes


def grouped(graph: ModelGraph) -> ModelGraph:
    """Return the graph with each run of repeated blocks in a container of its own.

    The way through a container is cut at its bottlenecks, the nodes that every path passes. Steps that come again one
    after the other, with the same types of layers joined in the same way, are a run: the residual blocks of a stage, or
    the dense layers of a dense block. Sizes may differ.

    Examples
    --------
    >>> import keras
    >>> from hpoviz.architecture.keras_adapter import graph_of
    >>> block = keras.layers.Dense, keras.layers.ReLU, keras.layers.Dropout
    >>> layers = [kind(0.1) if kind is keras.layers.Dropout else kind(8) for _ in range(12) for kind in block]
    >>> graph = grouped(graph_of(keras.Sequential([keras.Input((8,)), *layers])))
    >>> [(layer.name, layer.settings) for layer in graph.layers.values() if layer.type == BLOCK]
    [('12 × (Dense, ReLU, Dropout)', {'/repeats': 12, '/nodes': 36})]
    """
    lift = _Lift(graph)
    groups: list[tuple[str | None, int, list[str]]] = []
    containers = [None, *(node.id for node in graph.nodes if node.kind == "container")]
    for container in containers:
        children = [node.id for node in graph.nodes if node.parent == container and node.kind != "output"]
        if len(children) > MANY_NODES:
            groups += [(container, times, members) for times, members in _runs(graph, children, lift.joins(container))]
    if not groups:
        return graph
    place = {node.id: position for position, node in enumerate(graph.nodes)}
    groups.sort(key=lambda group: place[group[2][0]])
    home: dict[str, str] = {}
    layers = dict(graph.layers)
    for number, (_, times, members) in enumerate(groups):
        name = f"/block/{number}"
        layers[name] = _block(graph, name, times, members)
        home.update(dict.fromkeys(members, name))
    nodes: list[Node] = []
    opened: set[str] = set()
    for node in graph.nodes:
        group = home.get(node.id)
        if group is None:
            nodes.append(node)
            continue
        if group not in opened:
            opened.add(group)
            nodes.append(Node(id=group, layer=group, kind="container", parent=node.parent))
        nodes.append(dataclasses.replace(node, parent=group))
    return dataclasses.replace(graph, nodes=tuple(nodes), layers=layers)


def collapsed(graph: ModelGraph, containers: Collection[str] | None = None) -> ModelGraph:
    """Return the graph with containers closed: one node each, with the parameters of all that is inside.

    Parameters
    ----------
    graph : ModelGraph
    containers : collection of str, optional
        Their ids; by default all that something is inside of.
    """
    opened = {node.parent for node in graph.nodes if node.parent is not None}
    closed = opened if containers is None else opened & set(containers)
    face = {node.id: _outermost(graph, node.id, closed) for node in graph.nodes}
    ports: dict[str, list[tuple[str, int]]] = {}
    outputs: dict[str, list[Tensor]] = {}
    slots: Counter[str] = Counter()
    edges = []
    for edge in graph.edges:
        source, target, port, slot = face[edge.source], face[edge.target], edge.port, edge.slot
        if source == target:
            continue
        if source in closed:
            known = ports.setdefault(source, [])
            if (edge.source, edge.port) not in known:
                known.append((edge.source, edge.port))
                outputs.setdefault(source, []).append(edge.tensor)
            port = known.index((edge.source, edge.port))
        if target in closed:
            slot = slots[target]
            slots[target] += 1
        edges.append(Edge(source, port, target, slot, edge.tensor, origin=edge.made_by))
    layers, health = dict(graph.layers), dict(graph.health)
    nodes = []
    for node in graph.nodes:
        if face[node.id] != node.id:
            continue
        if node.id in closed:
            layer = f"/closed/{node.id}"
            layers[layer] = _whole(graph, node, layer)
            inside = {graph.by_id[one].layer for one in (*graph.inside(node.id), node.id)}
            shares = [graph.health[one] for one in inside if one in graph.health]
            if shares:
                health[layer] = min(shares)
            node = dataclasses.replace(node, layer=layer, outputs=tuple(outputs.get(node.id, node.outputs)))
        nodes.append(node)
    return _without_unused(
        dataclasses.replace(graph, nodes=tuple(nodes), edges=tuple(edges), layers=layers, health=health)
    )


def folded(graph: ModelGraph, types: Collection[str]) -> ModelGraph:
    """Return the graph with layers of these types told of in the layer before them instead of having a node.

    A layer is folded where it takes one tensor and that tensor goes nowhere else.

    Examples
    --------
    >>> import keras
    >>> from hpoviz.architecture.keras_adapter import graph_of
    >>> layers = [keras.layers.Conv2D(4, 3, name="c"), keras.layers.BatchNormalization(), keras.layers.ReLU()]
    >>> graph = folded(graph_of(keras.Sequential([keras.Input((8, 8, 1)), *layers])), {"BatchNormalization", "ReLU"})
    >>> [layer.settings[THEN] for layer in graph.layers.values() if THEN in layer.settings]
    [['BatchNormalization', 'ReLU']]
    """
    entering: dict[str, list[Edge]] = {}
    leaving: Counter[str] = Counter()
    for edge in graph.edges:
        entering.setdefault(edge.target, []).append(edge)
        leaving[edge.source] += 1
    into: dict[str, str] = {}
    layers, of = dict(graph.layers), {node.id: node.layer for node in graph.nodes}
    health = dict(graph.health)
    for node in graph.nodes:
        before = entering.get(node.id, [])
        foldable = node.kind in ("layer", "operation") and graph.layers[node.layer].type in types
        if not foldable or len(before) != 1 or len(node.outputs) != 1:
            continue
        source = graph.by_id[before[0].source]
        host = into.get(source.id, source.id)
        alone = leaving[source.id] == 1 and source.parent == node.parent and source.kind in ("layer", "operation")
        if alone and len(source.outputs) == 1:
            into[node.id] = host
            small, large = graph.layers[node.layer], layers[of[host]]
            of[host] = name = f"/folded/{host}"
            then = [*large.settings.get(THEN, []), small.settings.get("activation", small.type)]
            layers[name] = dataclasses.replace(
                large,
                id=name,
                parameters=large.parameters + small.parameters,
                trainable_parameters=large.trainable_parameters + small.trainable_parameters,
                settings={**large.settings, THEN: then},
            )
            known = [health[one] for one in (large.id, small.id) if one in health]
            if known:
                health[name] = min(known)
    last = {host: node for node, host in into.items()}
    nodes = tuple(
        dataclasses.replace(
            node, layer=of[node.id], outputs=graph.by_id[last[node.id]].outputs if node.id in last else node.outputs
        )
        for node in graph.nodes
        if node.id not in into
    )
    edges = tuple(
        dataclasses.replace(edge, source=into[edge.source], origin=edge.made_by) if edge.source in into else edge
        for edge in graph.edges
        if edge.target not in into
    )
    return _without_unused(dataclasses.replace(graph, nodes=nodes, edges=edges, layers=layers, health=health))


def without_masks(graph: ModelGraph) -> ModelGraph:
    """Return the graph without the operations by which Keras tells layers which steps of a sequence are padding.

    They are operations whose results are nothing but masks; those that a layer is given as another argument stay.
    """
    users: dict[str, list[Edge]] = {}
    for edge in graph.edges:
        users.setdefault(edge.source, []).append(edge)
    gone: set[str] = set()
    for node in reversed(graph.nodes):
        uses = users.get(node.id, [])
        if node.kind == "operation" and uses and all(edge.mask or edge.target in gone for edge in uses):
            gone.add(node.id)
    return _without_unused(
        dataclasses.replace(
            graph,
            nodes=tuple(node for node in graph.nodes if node.id not in gone),
            edges=tuple(edge for edge in graph.edges if gone.isdisjoint((edge.source, edge.target))),
        )
    )


class _Lift:
    """The edges of a graph as they are seen inside each container: between what is directly in it."""

    def __init__(self, graph: ModelGraph) -> None:
        self._joins: dict[str | None, list[tuple[str, str]]] = {}
        chains = {node.id: [node.id, *graph.ancestors(node.id)][::-1] for node in graph.nodes}
        for edge in graph.edges:
            out, into = chains[edge.source], chains[edge.target]
            shared = sum(a == b for a, b in zip(out, into, strict=False))
            container = out[shared - 1] if shared else None
            self._joins.setdefault(container, []).append((out[shared], into[shared]))

    def joins(self, container: str | None) -> list[tuple[str, str]]:
        """Return the (source, target) of the edges inside a container."""
        return self._joins.get(container, [])


def _runs(
    graph: ModelGraph, children: Sequence[str], joins: Sequence[tuple[str, str]]
) -> Iterator[tuple[int, list[str]]]:
    """Yield how often a block is repeated, and the nodes of all its repetitions."""
    steps = list(_steps(children, joins))
    marks = [_signature(graph, step, joins) for step in steps]
    taken = [False] * len(steps)
    for length in range(1, LONGEST_BLOCK + 1):  # the shortest blocks first: what repeats in them is not a larger block
        begin = 0
        while begin + 2 * length <= len(steps):
            times = _repeats(marks, taken, begin, length)
            turn = _turn(steps, marks, taken, begin, times, length)
            members = [node for step in steps[begin + turn : begin + turn + times * length] for node in step]
            if times < 2 or len(members) < max(LEAST_GROUP, times * LEAST_BLOCK):
                begin += 1
                continue
            begin += turn
            taken[begin : begin + times * length] = [True] * (times * length)
            yield times, members
            begin += times * length


def _steps(children: Sequence[str], joins: Sequence[tuple[str, str]]) -> Iterator[list[str]]:
    """Cut the way through a container at its bottlenecks: each is a step, and what lies between two is one."""
    place = {node: position for position, node in enumerate(children)}
    reach = list(range(len(children)))  # the farthest that an edge from here leads
    entered = [False] * len(children)
    for source, target in joins:
        if source in place and target in place:
            reach[place[source]] = max(reach[place[source]], place[target])
            entered[place[target]] = True
    region: list[str] = []
    farthest = 0
    sources_left = sum(not flag for flag in entered)
    for position, node in enumerate(children):
        sources_left -= not entered[position]
        if farthest <= position and not sources_left:
            if region:
                yield region
            yield [node]
            region = []
        else:
            region.append(node)
        farthest = max(farthest, reach[position])
    if region:
        yield region


def _signature(graph: ModelGraph, step: Sequence[str], joins: Sequence[tuple[str, str]]) -> tuple[object, ...]:
    """Return what two steps share if they are the same block: types, and which types lead to which."""
    inside = set(step)
    before: dict[str, list[str]] = {node: [] for node in step}
    for source, target in joins:
        if target in inside:
            before[target].append(_type(graph, source) if source in inside else "")
    return tuple(sorted((_type(graph, node), *sorted(before[node])) for node in step))


def _type(graph: ModelGraph, node: str) -> str:
    return graph.layers[graph.by_id[node].layer].type


def _repeats(marks: Sequence[object], taken: Sequence[bool], begin: int, length: int) -> int:
    """Return how often the steps from `begin` on come one after the other."""
    block, times = marks[begin : begin + length], 0
    while True:
        start = begin + times * length
        if marks[start : start + length] != block or len(block) < length or any(taken[start : start + length]):
            return times
        times += 1


def _turn(
    steps: Sequence[Sequence[str]], marks: Sequence[object], taken: Sequence[bool], begin: int, times: int, length: int
) -> int:
    """Return by how many steps to begin later, so that a block begins where ways part, if it has such a place."""
    for turn in range(length):
        parts = begin + turn < len(steps) and len(steps[begin + turn]) > 1
        if parts and _repeats(marks, taken, begin + turn, length) >= times:
            return turn
    return 0


def _block(graph: ModelGraph, name: str, times: int, members: Sequence[str]) -> LayerInfo:
    unit = members[: len(members) // times]
    types = list(dict.fromkeys(_type(graph, node) for node in unit))
    return LayerInfo(
        id=name,
        name=f"{times} × ({', '.join(types)})",
        type=BLOCK,
        settings={REPEATS: times, NODES: len(members)},
    )


def _outermost(graph: ModelGraph, node: str, closed: Collection[str]) -> str:
    """Return the closed container that is seen instead of a node, or the node itself."""
    return next((name for name in reversed([*graph.ancestors(node)]) if name in closed), node)


def _whole(graph: ModelGraph, node: Node, name: str) -> LayerInfo:
    """Return a closed container's layer with all that is inside counted."""
    inside = graph.inside(node.id)
    layers: Mapping[str, LayerInfo] = {
        one: graph.layers[one] for one in {graph.by_id[member].layer for member in (*inside, node.id)}
    }
    calls = sum(graph.by_id[member].kind in ("layer", "operation") for member in inside)
    info = graph.layers[node.layer]
    return dataclasses.replace(
        info,
        id=name,
        parameters=sum(layer.parameters for layer in layers.values()),
        trainable_parameters=sum(layer.trainable_parameters for layer in layers.values()),
        settings={**info.settings, NODES: calls},
    )


def _without_unused(graph: ModelGraph) -> ModelGraph:
    used = {"", *(node.layer for node in graph.nodes)}
    return dataclasses.replace(
        graph,
        layers={name: layer for name, layer in graph.layers.items() if name in used},
        health={name: value for name, value in graph.health.items() if name in used},
    )
