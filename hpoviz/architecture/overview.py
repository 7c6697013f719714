"""What of a graph is shown: repeated blocks as one node, and whatever else somebody has closed or told of elsewhere."""

from __future__ import annotations

from collections.abc import Collection

from hpoviz.architecture.folding import BLOCK, collapsed, folded, grouped, without_masks
from hpoviz.architecture.model_graph import ModelGraph

__all__ = ["first_closed", "overview", "with_blocks"]

MOST_NODES = 60  # with more, models inside the model are closed too


def overview(graph: ModelGraph, *, collapse: bool = True, fold: Collection[str] = ()) -> ModelGraph:
    """Return what of a graph is drawn: without Keras' own masking of sequences.

    Parameters
    ----------
    graph : ModelGraph
    collapse : bool
        Whether repeated blocks are one node, and in very large graphs models inside the model too.
    fold : collection of str
        Classes of layers that are told of in the layer before them.
    """
    graph = without_masks(graph)
    if fold:
        graph = folded(graph, fold)
    if collapse:
        graph = grouped(graph)
        graph = collapsed(graph, first_closed(graph))
    return graph


def with_blocks(graph: ModelGraph) -> ModelGraph:
    """Return a graph with repeated blocks in containers, all of them open: what somebody can open and close."""
    return grouped(without_masks(graph))


def first_closed(graph: ModelGraph) -> set[str]:
    """Return the containers of `with_blocks` that are closed at first."""
    containers = {node.parent for node in graph.nodes if node.parent is not None}
    blocks = {name for name in containers if graph.layers[graph.by_id[name].layer].type == BLOCK}
    return containers if len(collapsed(graph, blocks).nodes) > MOST_NODES else blocks
