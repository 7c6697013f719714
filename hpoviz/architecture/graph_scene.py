"""A graph as the interactive views take it: places, texts, colours, details and steps, all as JSON values."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from hpoviz.architecture.colouring import Coloring, Colouring
from hpoviz.architecture.drawing import plain_text
from hpoviz.architecture.folding import BLOCK, collapsed
from hpoviz.architecture.graph_drawing import Look, draw_graph
from hpoviz.architecture.layout import Direction
from hpoviz.architecture.model_graph import Edge, LayerInfo, ModelGraph, Node, shape_text
from hpoviz.architecture.palette import KINDS, THEMES, scale_colour, two_sided_colour
from hpoviz.architecture.placement import Placement, fitted, place
from hpoviz.architecture.svg import inline_svg

__all__ = ["LayerNotes", "graph_scene", "steps_of", "tensors_shown"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerNotes:
    """What is known of layers beside the graph, by layer id.

    Attributes
    ----------
    findings : mapping of str to sequence of str
        What a health report says is wrong with it.
    histograms : mapping of str to JSON values
        Of its weights, as `weight_histograms` makes them.
    """

    findings: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
    histograms: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)


def graph_scene(
    graph: ModelGraph,
    closed: Collection[str],
    *,
    direction: Direction = "down",
    performance: float | None = None,
    notes: LayerNotes | None = None,
) -> dict[str, Any]:
    """Return what an interactive view of a graph shows.

    Parameters
    ----------
    graph : ModelGraph
        With its blocks in containers, as `with_blocks` returns it.
    closed : collection of str
        The containers of which the inside is not shown.
    direction : {"down", "right"}
    performance : float, optional
    notes : LayerNotes, optional

    Returns
    -------
    dict
        JSON values. Texts are texts: none is markup, but the drawings in ``svg``.
    """
    notes = notes or LayerNotes()
    shown = collapsed(graph, closed)
    placed = place(shown, direction)
    modes = _modes(shown, performance)
    colourings = {mode: Colouring(shown, mode, performance) for mode in modes}
    entering: dict[str, list[Edge]] = {}
    for edge in shown.edges:
        entering.setdefault(edge.target, []).append(edge)
    tensors = tensors_shown(shown)
    containers = {node.parent for node in graph.nodes if node.parent is not None}
    nodes = []
    for node in shown.nodes:
        box = placed.layout.boxes[node.id]
        texts = placed.texts[node.id]
        title, facts, count = texts if node.id in placed.open else fitted(texts, box.width)
        layer = graph.by_id[node.id].layer if node.kind != "output" else None  # also of a closed container its own
        colouring = colourings["type"]
        kind = colouring.kind(node)
        nodes.append(
            {
                "id": node.id,
                "parent": node.parent,
                "layer": node.layer,
                "x": round(box.x, 1),
                "y": round(box.y, 1),
                "width": round(box.width, 1),
                "height": round(box.height, 1),
                "title": title,
                "facts": facts,
                "count": count,
                "kind": kind.name,
                "letter": kind.letter,
                "container": "open" if node.id in placed.open else "closed" if node.id in containers else "",
                "tensor": tensors.get(node.id),
                "colours": {mode: _both(one, node) for mode, one in colourings.items()},
                "name": plain_text(_name(shown, node)),
                "details": _details(shown, node, entering.get(node.id, [])),
                "findings": [] if layer is None else list(notes.findings.get(layer, ())),
                "histogram": None if layer is None else notes.histograms.get(layer),
            }
        )
    return {
        "name": plain_text(graph.name),
        "direction": direction,
        "width": round(placed.layout.width, 1),
        "height": round(placed.layout.height, 1),
        "modes": modes,
        "findings": list(notes.findings.get("", ())),
        "nodes": nodes,
        "edges": [_edge(number, edge, placed) for number, edge in enumerate(shown.edges)],
        "steps": steps_of(shown),
        "scales": {mode: one.ends for mode, one in colourings.items() if one.ends},
        "scale": [scale_colour(step / 8) for step in range(9)],
        "two_sided": [two_sided_colour(tone) for tone in (-1.0, 0.0, 1.0)],
        "kinds": _kinds(shown, colourings["type"]),
        "themes": {name: dict(theme) for name, theme in THEMES.items()},
        "openable": bool(containers),
        "closed": sorted(set(closed) & {node.id for node in shown.nodes}),
        "svg": {mode: _svg(graph, shown, placed, mode, direction, performance) for mode in modes},
    }


def tensors_shown(shown: ModelGraph) -> dict[str, tuple[str, int]]:
    """Return by node whose tensor it stands for, and the port: what leaves it first, at an output what enters."""
    found: dict[str, tuple[str, int]] = {}
    for edge in shown.edges:
        found.setdefault(edge.source, edge.made_by)
        if shown.by_id[edge.target].kind == "output":
            found[edge.target] = edge.made_by
    for node in shown.nodes:
        if node.kind in ("input", "layer", "operation"):
            found.setdefault(node.id, (node.id, 0))
    return found


def _modes(graph: ModelGraph, performance: float | None) -> list[Coloring]:
    modes: list[Coloring] = ["type", "parameters"]
    if graph.health:
        modes.append("health")
    if performance is not None:
        modes.append("performance")
    return modes


def _both(colouring: Colouring, node: Node) -> list[str]:
    return [colouring.colour(node, "light")[1], colouring.colour(node, "dark")[1]]


def _name(graph: ModelGraph, node: Node) -> str:
    info = graph.layers[node.layer]
    if node.kind == "output":
        return f"output {node.id.rpartition('/')[2]}"
    return info.name if info.type == BLOCK or not info.id else info.id.removeprefix("/closed/")


def _details(graph: ModelGraph, node: Node, entering: Sequence[Edge]) -> list[tuple[str, str]]:
    """Return all that is known of a node as pairs of a name and a text."""
    info = graph.layers[node.layer]
    lines = [("type", "repeated block" if info.type == BLOCK else "Output" if node.kind == "output" else info.type)]
    if entering:
        lines.append(("takes", ", ".join(f"{shape_text(one.tensor.shape)} {one.tensor.dtype}" for one in entering)))
    if node.outputs and node.kind != "output":
        lines.append(("gives", ", ".join(f"{shape_text(one.shape)} {one.dtype}" for one in node.outputs)))
    parameters = graph.parameters_of(node.id)
    if parameters:
        lines.append(("parameters", f"{parameters:,}, {graph.parameters_of(node.id, trainable=True):,} trained"))
    if node.kind != "output" and graph.calls[node.layer] > 1:
        lines.append(("shared", f"called {graph.calls[node.layer]} times with the same weights"))
    if node.layer in graph.health:
        lines.append(("health", f"{graph.health[node.layer]:.2f}"))
    lines += [("with", text) for text in node.constants]
    lines += _settings(info) if node.kind != "output" else []
    return [(name, plain_text(text)) for name, text in lines]


def _settings(info: LayerInfo) -> list[tuple[str, str]]:
    lines = [
        (
            name,
            shape_text(value) if isinstance(value, list) and all(isinstance(one, int) for one in value) else f"{value}",
        )
        for name, value in info.settings.items()
        if not name.startswith("/") and value is not None
    ]
    for inner in info.inner:
        lines.append(("wraps", inner.type))
        lines += [(f"{inner.type} {name}", text) for name, text in _settings(inner)]
    return lines


def _edge(number: int, edge: Edge, placed: Placement) -> dict[str, Any]:
    label = placed.layout.labels[number]
    return {
        "id": f"edge-{number}",
        "source": edge.source,
        "target": edge.target,
        "label": shape_text(edge.tensor.shape),
        "dtype": edge.tensor.dtype,
        "points": [[round(x, 1), round(y, 1)] for x, y in placed.layout.routes[number]],
        "label_at": label and [round(label[0], 1), round(label[1], 1)],
        "tensor": edge.made_by,
    }


def steps_of(graph: ModelGraph) -> list[list[str]]:
    """Return the nodes of a view by the longest way to them, so that branches move together."""
    opened = {node.parent for node in graph.nodes}
    steps: dict[int, list[str]] = {}
    for node in graph.nodes:
        if node.id not in opened:
            steps.setdefault(graph.depths[node.id], []).append(node.id)
    return [steps[depth] for depth in sorted(steps)]


def _kinds(graph: ModelGraph, colouring: Colouring) -> list[dict[str, Any]]:
    """Return the kinds of layers that are there, in the order of the palette."""
    present = {colouring.kind(node).name for node in graph.nodes}
    return [
        {
            "name": kind.name,
            "letter": kind.letter,
            "colours": [kind.light, kind.dark],
        }
        for kind in KINDS.values()
        if kind.name in present
    ]


def _svg(
    graph: ModelGraph,
    shown: ModelGraph,
    placed: Placement,
    mode: Coloring,
    direction: Direction,
    performance: float | None,
) -> str:
    light, dark = (
        draw_graph(
            graph,
            Look(theme=theme, color=mode, direction=direction),
            performance=performance,
            shown=shown,
            placed=placed,
        )
        for theme in ("light", "dark")
    )
    return inline_svg(light, dark)
