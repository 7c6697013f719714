"""A ModelGraph as a drawing: a box for each call, a line for each tensor, its shape beside it, and a legend."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

from hpoviz.architecture.drawing import Drawing, Line, Rectangle, Text, elided, plain_text, text_width
from hpoviz.architecture.folding import BLOCK, collapsed, folded, grouped, without_masks
from hpoviz.architecture.layout import Box, Direction, Layout, layered_layout
from hpoviz.architecture.model_graph import Edge, ModelGraph, Node, shape_text
from hpoviz.architecture.node_text import node_texts, node_tip
from hpoviz.architecture.palette import THEMES, LayerKind, layer_kind, scale_colour

__all__ = ["COLOURINGS", "Coloring", "Look", "Theme", "draw_graph", "overview"]

Theme = Literal["light", "dark"]
Coloring = Literal["type", "parameters", "performance", "health"]
COLOURINGS = ("type", "parameters", "performance", "health")
NODE_HEIGHT, BADGE, INSET = 40.0, 22.0, 8.0
NARROWEST, WIDEST = 118.0, 280.0
TITLE, BODY, LABEL, HEADING = 12.0, 10.5, 10.0, 15.0
MARGIN = 16.0
MOST_NODES = 60  # with more, models inside the model are closed too


@dataclasses.dataclass(frozen=True, kw_only=True)
class Look:
    """How a graph is drawn.

    Attributes
    ----------
    theme : {"light", "dark"}
    color : {"type", "parameters", "performance", "health"}
        What colours say.
    direction : {"down", "right"}
    collapse : bool
        Whether repeated blocks are one node, and in very large graphs models inside the model too.
    fold : collection of str
        Classes of layers that are told of in the layer before them, as ``{"BatchNormalization", "Dropout"}``.
    """

    theme: Theme = "light"
    color: Coloring = "type"
    direction: Direction = "down"
    collapse: bool = True
    fold: Collection[str] = ()


def overview(graph: ModelGraph, look: Look) -> ModelGraph:
    """Return what of a graph is drawn: without Keras' own masking of sequences."""
    graph = without_masks(graph)
    if look.fold:
        graph = folded(graph, look.fold)
    if look.collapse:
        graph = grouped(graph)
        graph = collapsed(graph, [node.id for node in graph.nodes if graph.layers[node.layer].type == BLOCK])
        if len(graph.nodes) > MOST_NODES:
            graph = collapsed(graph)
    return graph


def draw_graph(
    graph: ModelGraph,
    look: Look | None = None,
    *,
    performance: float | None = None,
) -> Drawing:
    """Draw a graph.

    Parameters
    ----------
    graph : ModelGraph
    look : Look, optional
    performance : float, optional
        A score of the model in [0, 1].

    Examples
    --------
    >>> import keras
    >>> from hpoviz.architecture.keras_adapter import graph_of
    >>> drawing = draw_graph(graph_of(keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)], name="small")))
    >>> drawing.description
    'small, a Sequential model of 1 layer with 15 parameters: InputLayer 4, Dense 3.'
    """
    look = look or Look()
    return _Painter(graph, overview(graph, look), look, performance).drawing()


class _Painter:
    def __init__(
        self,
        whole: ModelGraph,
        graph: ModelGraph,
        look: Look,
        performance: float | None,
    ) -> None:
        self._whole, self._graph, self._look = whole, graph, look
        self._performance = performance
        self._palette = dict(THEMES[look.theme])
        self._open = {node.parent for node in graph.nodes if node.parent is not None}
        self._kinds = {node.id: layer_kind(graph.layers[node.layer], node.kind) for node in graph.nodes}
        self._most = max((graph.layers[node.layer].parameters for node in graph.nodes), default=0)
        self._items: list[Rectangle | Line | Text] = []
        self._call: dict[str, int] = {}  # of its layer, from 1; a node counts within its container
        counts: dict[str, int] = {}
        for node in graph.nodes:
            counts[node.layer] = self._call[node.id] = counts.get(node.layer, 0) + 1
        self._entering: dict[str, list[Edge]] = {node.id: [] for node in graph.nodes}
        for edge in graph.edges:
            self._entering[edge.target].append(edge)

    def drawing(self) -> Drawing:
        texts = {node.id: node_texts(self._graph, node, self._call[node.id]) for node in self._graph.nodes}
        layout = self._laid_out({node.id: self._size(node, texts[node.id]) for node in self._graph.nodes})
        heading = self._heading()
        width = max(layout.width, max(text_width(line, size, bold=bold) for line, size, bold, _ in heading), 260.0)
        left = MARGIN + (width - layout.width) / 2
        top = MARGIN + sum(size * 1.45 for _, size, *_ in heading) + 8.0
        legend, legend_height = self._legend(width, top + layout.height + 24.0)
        self._add_heading(heading)
        boxes = {name: _moved(box, left, top) for name, box in layout.boxes.items()}
        containers = [node for node in self._graph.nodes if node.id in self._open]
        for node in containers:
            self._add_container(node, boxes[node.id])
        self._add_edges(layout, left, top)
        for node in containers:
            x, y = boxes[node.id].left + INSET, boxes[node.id].top + 15.0
            self._items.append(Text(x=x, y=y, text=self._title(node), size=BODY, colour="muted", back="paper"))
        for node in self._graph.nodes:
            if node.id not in self._open:
                self._add_node(node, texts[node.id], boxes[node.id])
        self._items += legend
        return Drawing(
            width=width + 2 * MARGIN,
            height=top + layout.height + 24.0 + legend_height + MARGIN,
            items=tuple(self._items),
            palette=self._palette,
            title=plain_text(f"{self._whole.name}: graph of its layers"),
            description=self._description(),
        )

    def _size(self, node: Node, texts: tuple[str, str, str]) -> tuple[float, float]:
        """Return the size of a node, or the least one of an open container."""
        if node.id in self._open:
            return text_width(self._title(node), BODY) + 3 * INSET, NODE_HEIGHT
        title, facts, count = texts
        first = text_width(title, TITLE, bold=True) + (text_width(count, LABEL) + INSET if count else 0.0)
        width = max(first, text_width(facts, BODY)) + 3 * INSET + BADGE
        return min(max(math.ceil(width), NARROWEST), WIDEST), NODE_HEIGHT

    def _title(self, node: Node) -> str:
        """Return the line in the corner of an open container."""
        info = self._graph.layers[node.layer]
        name = elided(plain_text(info.name or self._graph.name), BODY, WIDEST / 2)
        kind = "" if info.type == BLOCK else f" ({plain_text(info.type)})"
        return f"{name}{kind} · {self._graph.parameters_of(node.id):,} parameters"

    def _laid_out(self, sizes: Mapping[str, tuple[float, float]]) -> Layout:
        graph = self._graph
        edges = [(edge.source, edge.target) for edge in graph.edges]
        told: set[tuple[str, int]] = set()
        labels: list[tuple[float, float] | None] = []
        for edge in graph.edges:  # a tensor's shape is told once, where it leaves
            new = (edge.source, edge.port) not in told
            told.add((edge.source, edge.port))
            text = shape_text(edge.tensor.shape)
            labels.append((text_width(text, LABEL) + 8.0, LABEL + 5.0) if new else None)
        closed = self._closed_containers()
        alone = [node for node in graph.nodes if node.parent in closed]
        column = [(a.id, b.id) for a, b in itertools.pairwise(alone)]  # keeps unconnected layers in a column
        return layered_layout(
            sizes,
            edges + column,
            labels=[*labels, *[None] * len(column)],
            parents={node.id: node.parent for node in graph.nodes if node.parent is not None},
            direction=self._look.direction,
        )

    def _closed_containers(self) -> set[str]:
        """Return the containers that have layers inside, but no edges between them: what could not be traced."""
        ends = {edge.target for edge in self._graph.edges}
        return {node.id for node in self._graph.nodes if node.kind == "container" and node.id in ends & self._open}

    def _heading(self) -> list[tuple[str, float, bool, str]]:
        """Return the lines above the graph: text, size, bold, colour."""
        graph = self._whole
        count = sum(node.kind in ("layer", "operation") for node in graph.nodes)
        facts = f"{graph.type} · {count} layers · {graph.parameters:,} parameters"
        frozen = graph.parameters - graph.trainable_parameters
        facts += f", {frozen:,} of them not trained" if frozen else ""
        if self._look.color == "performance":
            facts += f" · score {_number(self._performance)}"
        lines = [(elided(plain_text(graph.name), HEADING, 420.0, bold=True), HEADING, True, "text")]
        lines.append((facts, BODY + 1, False, "muted"))
        if graph.partial:
            note = plain_text(f"⚠ Not all is shown. {graph.partial}")
            lines += [(line, BODY, False, "text") for line in _wrapped(note, BODY, 420.0)]
        return lines

    def _add_heading(self, lines: Sequence[tuple[str, float, bool, str]]) -> None:
        y = MARGIN
        for line, size, bold, colour in lines:
            y += size * 1.45
            self._items.append(Text(x=MARGIN, y=y - size * 0.35, text=line, size=size, colour=colour, bold=bold))

    def _add_container(self, node: Node, box: Box) -> None:
        place: dict[str, Any] = {"x": box.left, "y": box.top, "width": box.width, "height": box.height}
        self._items.append(Rectangle(**place, radius=8.0, stroke=self._colour(node), dashed=True, tip=self._tip(node)))

    def _add_edges(self, layout: Layout, left: float, top: float) -> None:
        across = self._look.direction == "right"
        labels: list[Text] = []
        for edge, route, label in zip(self._graph.edges, layout.routes, layout.labels, strict=False):
            points = tuple((x + left, y + top) for x, y in route)
            text = shape_text(edge.tensor.shape)
            self._items.append(Line(points=points, colour="line", across=across, tip=f"{text} {edge.tensor.dtype}"))
            if label:
                labels.append(
                    Text(
                        x=label[0] + left, y=label[1] + top + LABEL * 0.36, text=text, size=LABEL, colour="muted",
                        anchor="middle", back="paper",
                    )
                )  # fmt: skip
        self._items += labels

    def _add_node(self, node: Node, texts: tuple[str, str, str], box: Box) -> None:
        colour, kind = self._colour(node), self._kinds[node.id]
        tip = self._tip(node)
        if node.kind == "container":  # closed: something lies behind it
            self._items.append(
                Rectangle(
                    x=box.left + 4.0, y=box.top + 4.0, width=box.width, height=box.height, radius=7.0, fill="paper",
                    stroke=colour,
                )
            )  # fmt: skip
        self._items.append(
            Rectangle(
                x=box.left, y=box.top, width=box.width, height=box.height, radius=7.0, fill=colour, opacity=0.13,
                stroke=colour, stroke_width=1.4, tip=tip,
            )
        )  # fmt: skip
        self._items += self._badge(kind, colour, box.left + INSET, box.y)
        x, room = box.left + 2 * INSET + BADGE, box.width - 3 * INSET - BADGE
        title, facts, count = texts
        beside = text_width(count, LABEL) + INSET if count else 0.0
        title, facts = elided(title, TITLE, room - beside, bold=True), elided(facts, BODY, room)
        self._items += [
            Text(x=x, y=box.y - 3.0, text=title, size=TITLE, colour="text", bold=True),
            Text(x=x, y=box.y + 12.0, text=facts, size=BODY, colour="muted"),
        ]
        if count:
            self._items.append(
                Text(x=box.right - INSET, y=box.y - 3.5, text=count, size=LABEL, colour="muted", anchor="end")
            )

    def _badge(self, kind: LayerKind, colour: str, x: float, y: float) -> list[Rectangle | Text]:
        ink = f"ink-{colour}"  # of its own, as the same colour may be light in one theme and dark in the other
        self._palette[ink] = "#101418" if _light(self._palette[colour]) else "#ffffff"
        return [
            Rectangle(x=x, y=y - BADGE / 2, width=BADGE, height=BADGE, radius=5.0, fill=colour),
            Text(x=x + BADGE / 2, y=y + 4.4, text=kind.letter, size=12.0, colour=ink, bold=True, anchor="middle"),
        ]

    def _colour(self, node: Node) -> str:
        """Return the name of a node's colour, which is in the palette then."""
        kind = self._kinds[node.id]
        share = self._share(node)
        if self._look.color == "type":
            name, colour = f"kind-{kind.name}", kind.light if self._look.theme == "light" else kind.dark
        elif share is None:
            return "unknown"
        else:
            colour = scale_colour(share)
            name = f"scale-{colour[1:]}"
        self._palette[name] = colour
        return name

    def _share(self, node: Node) -> float | None:
        """Return what a colour of the scale stands for, in [0, 1]; None where there is nothing to say."""
        info = self._graph.layers[node.layer]
        if self._look.color == "performance":
            return self._performance
        if self._look.color == "health":
            return self._graph.health.get(node.layer)
        if not info.parameters or node.kind == "output":
            return None
        return math.log1p(info.parameters) / math.log1p(self._most)

    def _tip(self, node: Node) -> str:
        return node_tip(self._graph, node, self._entering[node.id])

    def _legend(self, width: float, top: float) -> tuple[list[Rectangle | Line | Text], float]:
        """Return the legend's items and its height: the kinds that are there, and the scale if there is one."""
        present = {self._kinds[node.id].name: node for node in self._graph.nodes}
        items: list[Rectangle | Line | Text] = []
        x, y, row = MARGIN, top + BADGE / 2, BADGE + 6.0
        for name, node in present.items():
            space = BADGE + 6.0 + text_width(name, BODY) + 16.0
            if x > MARGIN and x + space > MARGIN + width + 16.0:
                x, y = MARGIN, y + row
            colour = self._colour(node) if self._look.color == "type" else "unknown"
            items += self._badge(self._kinds[node.id], colour, x, y)
            items.append(Text(x=x + BADGE + 6.0, y=y + BODY * 0.36, text=name, size=BODY, colour="text"))
            x += space
        height = y - top + BADGE / 2
        if self._look.color == "type":
            return items, height
        y = top + height + 14.0
        low, high, title = self._scale_ends()
        steps, step = 24, 5.0
        x = MARGIN
        items.append(Text(x=x, y=y + 9.0, text=title, size=BODY, colour="text", bold=True))
        x += text_width(title, BODY, bold=True) + 12.0
        items.append(Text(x=x, y=y + 9.0, text=low, size=BODY, colour="muted"))
        x += text_width(low, BODY) + 6.0
        for number in range(steps):
            colour = scale_colour(number / (steps - 1))
            self._palette[f"scale-{colour[1:]}"] = colour
            items.append(Rectangle(x=x + number * step, y=y, width=step + 0.4, height=11.0, fill=f"scale-{colour[1:]}"))
        items.append(Text(x=x + steps * step + 6.0, y=y + 9.0, text=high, size=BODY, colour="muted"))
        return items, height + 14.0 + 14.0

    def _scale_ends(self) -> tuple[str, str, str]:
        if self._look.color == "parameters":
            return "0", f"{self._most:,}", "parameters"
        return "0", "1", "score of the model" if self._look.color == "performance" else "health of the layer"

    def _description(self) -> str:
        graph = self._whole
        count = sum(node.kind in ("layer", "operation") for node in graph.nodes)
        parts = [
            f"{graph.layers[node.layer].type} {shape_text(node.outputs[0].shape) if node.outputs else ''}".strip()
            for node in graph.nodes
            if node.kind in ("input", "layer", "operation")
        ]
        shown = ", ".join(parts[:40]) + (f" and {len(parts) - 40} more" if len(parts) > 40 else "")
        layers = f"{count} layer{'' if count == 1 else 's'}"
        said = f"{graph.name}, a {graph.type} model of {layers} with {graph.parameters:,} parameters: {shown}."
        return plain_text(f"{said} Not all is shown. {graph.partial}" if graph.partial else said)


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"


def _moved(box: Box, dx: float, dy: float) -> Box:
    return Box(box.x + dx, box.y + dy, box.width, box.height)


def _wrapped(text: str, size: float, width: float) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and text_width(longer, size) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return [elided(line, size, width) for line in lines]


def _light(colour: str) -> bool:
    """Tell whether black is easier to read on a colour than white (WCAG 2 relative luminance)."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179
