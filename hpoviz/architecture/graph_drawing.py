"""A ModelGraph as a drawing: a box for each call, a line for each tensor, its shape beside it, and a legend."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence

from hpoviz.architecture.colouring import Coloring, Colouring, Theme
from hpoviz.architecture.drawing import Drawing, Line, Rectangle, Text, elided, plain_text, text_width
from hpoviz.architecture.layout import Box, Direction, Layout
from hpoviz.architecture.model_graph import Edge, ModelGraph, Node, shape_text
from hpoviz.architecture.node_text import node_tip
from hpoviz.architecture.overview import overview
from hpoviz.architecture.palette import THEMES, LayerKind, ink_on, scale_colour
from hpoviz.architecture.placement import BADGE, BODY, INSET, LABEL, TITLE, Placement, fitted, place

__all__ = ["Look", "draw_graph"]

HEADING = 15.0
MARGIN = 16.0


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


def draw_graph(
    graph: ModelGraph,
    look: Look | None = None,
    *,
    performance: float | None = None,
    shown: ModelGraph | None = None,
    placed: Placement | None = None,
) -> Drawing:
    """Draw a graph.

    Parameters
    ----------
    graph : ModelGraph
    look : Look, optional
    performance : float, optional
        A score of the model in [0, 1].
    shown : ModelGraph, optional
        What of the graph is drawn; by default its `overview`.
    placed : Placement, optional
        Where `shown` lies, if that is known.

    Examples
    --------
    >>> import keras
    >>> from hpoviz.architecture.keras_adapter import graph_of
    >>> drawing = draw_graph(graph_of(keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)], name="small")))
    >>> drawing.description
    'small, a Sequential model of 1 layer with 15 parameters: InputLayer 4, Dense 3.'
    """
    look = look or Look()
    shown = shown or overview(graph, collapse=look.collapse, fold=look.fold)
    return _Painter(graph, shown, look, performance).drawing(placed or place(shown, look.direction))


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
        self._colouring = Colouring(graph, look.color, performance)
        self._kinds = {node.id: self._colouring.kind(node) for node in graph.nodes}
        self._items: list[Rectangle | Line | Text] = []
        self._entering: dict[str, list[Edge]] = {node.id: [] for node in graph.nodes}
        for edge in graph.edges:
            self._entering[edge.target].append(edge)

    def drawing(self, placed: Placement) -> Drawing:
        layout, texts = placed.layout, placed.texts
        heading = self._heading()
        width = max(layout.width, max(text_width(line, size, bold=bold) for line, size, bold, _ in heading), 260.0)
        left = MARGIN + (width - layout.width) / 2
        top = MARGIN + sum(size * 1.45 for _, size, *_ in heading) + 8.0
        legend, legend_height = self._legend(width, top + layout.height + 24.0)
        self._add_heading(heading)
        boxes = {name: _moved(box, left, top) for name, box in layout.boxes.items()}
        containers = [node for node in self._graph.nodes if node.id in placed.open]
        for node in containers:
            self._add_container(node, boxes[node.id])
        self._add_edges(layout, left, top)
        for node in containers:
            x, y = boxes[node.id].left + INSET, boxes[node.id].top + 15.0
            self._items.append(Text(x=x, y=y, text=texts[node.id][0], size=BODY, colour="muted", back="paper"))
        for node in self._graph.nodes:
            if node.id not in placed.open:
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
        self._items.append(
            Rectangle(
                x=box.left, y=box.top, width=box.width, height=box.height, radius=8.0, stroke=self._colour(node),
                dashed=True, tip=self._tip(node), key=node.id, role="container",
            )
        )  # fmt: skip

    def _add_edges(self, layout: Layout, left: float, top: float) -> None:
        across = self._look.direction == "right"
        labels: list[Text] = []
        for number, (edge, route, label) in enumerate(
            zip(self._graph.edges, layout.routes, layout.labels, strict=False)
        ):
            key = f"edge-{number}"
            points = tuple((x + left, y + top) for x, y in route)
            text = shape_text(edge.tensor.shape)
            tip = f"{text} {edge.tensor.dtype}"
            self._items.append(Line(points=points, colour="line", across=across, tip=tip, key=key, role="line"))
            if label:
                labels.append(
                    Text(
                        x=label[0] + left, y=label[1] + top + LABEL * 0.36, text=text, size=LABEL, colour="muted",
                        anchor="middle", back="paper", key=key, role="label",
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
                    stroke=colour, key=node.id, role="behind",
                )
            )  # fmt: skip
        self._items.append(
            Rectangle(
                x=box.left, y=box.top, width=box.width, height=box.height, radius=7.0, fill=colour, opacity=0.13,
                stroke=colour, stroke_width=1.4, tip=tip, key=node.id, role="box",
            )
        )  # fmt: skip
        self._items += self._badge(kind, colour, box.left + INSET, box.y, node.id)
        x = box.left + 2 * INSET + BADGE
        title, facts, count = fitted(texts, box.width)
        self._items += [
            Text(x=x, y=box.y - 3.0, text=title, size=TITLE, colour="text", bold=True, key=node.id, role="title"),
            Text(x=x, y=box.y + 12.0, text=facts, size=BODY, colour="muted", key=node.id, role="facts"),
        ]
        if count:
            self._items.append(
                Text(
                    x=box.right - INSET, y=box.y - 3.5, text=count, size=LABEL, colour="muted", anchor="end",
                    key=node.id, role="count",
                )
            )  # fmt: skip

    def _badge(self, kind: LayerKind, colour: str, x: float, y: float, key: str = "") -> list[Rectangle | Text]:
        ink = f"ink-{colour}"  # of its own, as the same colour may be light in one theme and dark in the other
        self._palette[ink] = ink_on(self._palette[colour])
        return [
            Rectangle(
                x=x, y=y - BADGE / 2, width=BADGE, height=BADGE, radius=5.0, fill=colour, key=key, role="badge"
            ),
            Text(
                x=x + BADGE / 2, y=y + 4.4, text=kind.letter, size=12.0, colour=ink, bold=True, anchor="middle",
                key=key, role="letter",
            ),
        ]  # fmt: skip

    def _colour(self, node: Node) -> str:
        """Return the name of a node's colour, which is in the palette then."""
        name, colour = self._colouring.colour(node, self._look.theme)
        self._palette[name] = colour
        return name

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
        if self._colouring.ends is None:
            return items, height
        y = top + height + 14.0
        low, high, title = self._colouring.ends
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
