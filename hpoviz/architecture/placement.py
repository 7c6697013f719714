"""Where the nodes of a graph lie, with their texts: what all views of it share."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Mapping

from hpoviz.architecture.drawing import elided, plain_text, text_width
from hpoviz.architecture.folding import BLOCK
from hpoviz.architecture.layout import Direction, Layout, layered_layout
from hpoviz.architecture.model_graph import ModelGraph, Node, shape_text
from hpoviz.architecture.node_text import node_texts

__all__ = ["BADGE", "BODY", "INSET", "LABEL", "TITLE", "Placement", "fitted", "place"]

NODE_HEIGHT, BADGE, INSET = 40.0, 22.0, 8.0
NARROWEST, WIDEST = 156.0, 280.0  # the narrowest have room for what an animation says of them
TITLE, BODY, LABEL = 12.0, 10.5, 10.0  # sizes of texts


@dataclasses.dataclass(frozen=True, kw_only=True)
class Placement:
    """A graph with a place for everything.

    Attributes
    ----------
    layout : Layout
        Its routes begin with those of the graph's edges, in their order.
    texts : mapping of str to (title, facts, number of parameters)
        By node; those of open containers are a title alone.
    open : frozenset of str
        Containers whose inside is shown.
    """

    layout: Layout
    texts: Mapping[str, tuple[str, str, str]]
    open: frozenset[str]


def place(graph: ModelGraph, direction: Direction = "down") -> Placement:
    """Lay out a graph.

    Examples
    --------
    >>> import keras
    >>> from hpoviz.architecture.keras_adapter import graph_of
    >>> placed = place(graph_of(keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="d")])))
    >>> placed.texts["d"], placed.layout.boxes["d"].height
    (('Dense', '3 units', '15'), 40.0)
    """
    opened = frozenset(node.parent for node in graph.nodes if node.parent is not None)
    texts: dict[str, tuple[str, str, str]] = {}
    counts: dict[str, int] = {}
    for node in graph.nodes:
        counts[node.layer] = call = counts.get(node.layer, 0) + 1
        texts[node.id] = (_title(graph, node), "", "") if node.id in opened else node_texts(graph, node, call)
    sizes = {name: _size(lines, name in opened) for name, lines in texts.items()}
    return Placement(layout=_laid_out(graph, sizes, opened, direction), texts=texts, open=opened)


def fitted(texts: tuple[str, str, str], width: float) -> tuple[str, str, str]:
    """Return a node's texts as far as they fit into its width."""
    title, facts, count = texts
    room = width - 3 * INSET - BADGE
    beside = text_width(count, LABEL) + INSET if count else 0.0
    return elided(title, TITLE, room - beside, bold=True), elided(facts, BODY, room), count


def _title(graph: ModelGraph, node: Node) -> str:
    """Return the line in the corner of an open container."""
    info = graph.layers[node.layer]
    name = elided(plain_text(info.name or graph.name), BODY, WIDEST / 2)
    kind = "" if info.type == BLOCK else f" ({plain_text(info.type)})"
    return f"{name}{kind} · {graph.parameters_of(node.id):,} parameters"


def _size(texts: tuple[str, str, str], opened: bool) -> tuple[float, float]:
    """Return the size of a node, or the least one of an open container."""
    title, facts, count = texts
    if opened:
        return text_width(title, BODY) + 3 * INSET, NODE_HEIGHT
    first = text_width(title, TITLE, bold=True) + (text_width(count, LABEL) + INSET if count else 0.0)
    width = max(first, text_width(facts, BODY)) + 3 * INSET + BADGE
    return min(max(math.ceil(width), NARROWEST), WIDEST), NODE_HEIGHT


def _laid_out(
    graph: ModelGraph, sizes: Mapping[str, tuple[float, float]], opened: frozenset[str], direction: Direction
) -> Layout:
    told: set[tuple[str, int]] = set()
    labels: list[tuple[float, float] | None] = []
    for edge in graph.edges:  # a tensor's shape is told once, where it leaves
        new = (edge.source, edge.port) not in told
        told.add((edge.source, edge.port))
        text = shape_text(edge.tensor.shape)
        labels.append((text_width(text, LABEL) + 8.0, LABEL + 5.0) if new else None)
    # Containers that have layers inside, but no edges between them: what could not be traced. A column keeps them tidy.
    ends = {edge.target for edge in graph.edges}
    closed = {node.id for node in graph.nodes if node.kind == "container" and node.id in ends & opened}
    alone = [node for node in graph.nodes if node.parent in closed]
    column = [(a.id, b.id) for a, b in itertools.pairwise(alone)]
    return layered_layout(
        sizes,
        [*((edge.source, edge.target) for edge in graph.edges), *column],
        labels=[*labels, *[None] * len(column)],
        parents={node.id: node.parent for node in graph.nodes if node.parent is not None},
        direction=direction,
    )
