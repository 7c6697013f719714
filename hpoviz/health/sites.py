"""Where a model's hidden layers speak: found by the graph, by type and place, never by name."""

from __future__ import annotations

import dataclasses

from hpoviz.architecture.model_graph import ModelGraph, Node
from hpoviz.architecture.palette import layer_kind

__all__ = ["Site", "hidden_sites"]

WITH_UNITS = ("convolution", "dense", "recurrent")
PASSED = ("normalization", "regularization", "pooling", "reshaping")  # between a layer and its activation
SATURATING = {
    "sigmoid": "sigmoid", "tanh": "tanh", "hard_sigmoid": "sigmoid", "hardsigmoid": "sigmoid", "softsign": "tanh",
}  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Site:
    """A hidden layer and the node at which its units are looked at: after its activation.

    Attributes
    ----------
    layer : str
        Id of the layer that holds the units.
    call : str
        Id of the layer's own node.
    node : str
        Id of the node whose output is looked at.
    depth : int
        Longest way from an input, in calls.
    activation : str
        As Keras names it; "linear" where there is none.
    """

    layer: str
    call: str
    node: str
    depth: int
    activation: str


def hidden_sites(graph: ModelGraph) -> list[Site]:
    """Return the hidden dense, convolution and recurrent layers, from the first to the last.

    The layers that the outputs are made of are not hidden. An activation that is a layer of its own belongs to the
    layer before it, normalization, pooling or dropout between them or not.
    """
    after: dict[str, list[str]] = {node.id: [] for node in graph.nodes}
    for edge in graph.edges:
        after[edge.source].append(edge.target)
    kinds = {node.id: layer_kind(graph.layers[node.layer], node.kind).name for node in graph.nodes}
    heads = _heads(graph, after, kinds)
    sites = []
    for node in graph.nodes:
        has_weights = graph.layers[node.layer].parameters > 0
        if kinds[node.id] not in WITH_UNITS or node.kind != "layer" or node.id in heads or not has_weights:
            continue
        place, activation = _spoken(graph, node, after, kinds)
        sites.append(
            Site(layer=node.layer, call=node.id, node=place, depth=graph.depths[node.id], activation=activation)
        )
    return sorted(sites, key=lambda site: site.depth)


def _heads(graph: ModelGraph, after: dict[str, list[str]], kinds: dict[str, str]) -> set[str]:
    """Return the nodes with units from which a way leads to an output that passes no other layer with units."""
    open_: set[str] = set()
    heads: set[str] = set()
    for node in reversed(graph.nodes):
        leads_out = node.kind == "output" or any(other in open_ for other in after[node.id])
        if leads_out and kinds[node.id] in WITH_UNITS:
            heads.add(node.id)
        elif leads_out:
            open_.add(node.id)
    return heads


def _spoken(graph: ModelGraph, node: Node, after: dict[str, list[str]], kinds: dict[str, str]) -> tuple[str, str]:
    """Return the node after which a layer's units have spoken, and the activation."""
    own = graph.layers[node.layer].settings.get("activation", "linear")
    if own != "linear":
        return node.id, str(own)
    place = node.id
    while len(after[place]) == 1:
        (place,) = after[place]
        info = graph.layers[graph.by_id[place].layer]
        if kinds[place] == "activation":
            return place, str(info.settings.get("activation", info.type)).lower()
        if kinds[place] not in PASSED:
            break
    return node.id, "linear"
