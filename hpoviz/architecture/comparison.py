"""Two architectures beside each other: what they share, what is changed, what only one has."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any, Literal

import pandas as pd

from hpoviz import _html
from hpoviz.architecture.drawing import Drawing, Rectangle, Text, plain_text
from hpoviz.architecture.folding import collapsed
from hpoviz.architecture.graph_drawing import Look, draw_graph
from hpoviz.architecture.model_graph import LayerInfo, ModelGraph, Node, shape_text
from hpoviz.architecture.overview import first_closed, with_blocks
from hpoviz.architecture.svg import inline_svg

__all__ = ["ComparedLayer", "ModelComparison", "compare_graphs"]

Mark = Literal["same", "changed", "only in the first", "only in the second"]
SIGNS: Mapping[Mark, str] = {"changed": "≠", "only in the first": "−", "only in the second": "+"}
COLOURS = {"light": "#b34700", "dark": "#ffb067"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ComparedLayer:
    """A layer of either model, or one of each that stand at the same place.

    Attributes
    ----------
    first, second : str or None
        Ids of nodes.
    type : str
    mark : {"same", "changed", "only in the first", "only in the second"}
    changes : tuple of str
        As "filters 32 → 64".
    """

    first: str | None
    second: str | None
    type: str
    mark: Mark
    changes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelComparison:
    """How two models differ; shown as two drawings with the differences marked, and a table of them.

    Attributes
    ----------
    first, second : ModelGraph
    layers : tuple of ComparedLayer
        In the order of the models.
    """

    first: ModelGraph
    second: ModelGraph
    layers: tuple[ComparedLayer, ...]

    @property
    def differences(self) -> tuple[ComparedLayer, ...]:
        """The layers that are not the same."""
        return tuple(layer for layer in self.layers if layer.mark != "same")

    def to_frame(self) -> pd.DataFrame:
        """Return a table with a row for each layer: first, second, type, mark, changes."""
        rows = [dataclasses.asdict(layer) | {"changes": ", ".join(layer.changes)} for layer in self.layers]
        return pd.DataFrame(rows, columns=["first", "second", "type", "mark", "changes"])

    def __repr__(self) -> str:
        lines = [self._headline()]
        lines += [f"  {SIGNS[one.mark]} {' → '.join(_names(one))} ({one.type}) {', '.join(one.changes)}".rstrip()
                  for one in self.differences]  # fmt: skip
        return "\n".join(lines)

    def _headline(self) -> str:
        count = len(self.differences)
        said = "no difference" if not count else f"{count} difference{'' if count == 1 else 's'}"
        return (
            f"{self.first.name} ({self.first.parameters:,} parameters) and {self.second.name} "
            f"({self.second.parameters:,}): {said}"
        )

    def _repr_html_(self) -> str:
        pictures = "".join(
            f'<div style="flex:1 1 280px;min-width:0;overflow-x:auto">{self._picture(graph, side)}</div>'
            for side, graph in (("first", self.first), ("second", self.second))
        )
        rows = [
            (f"{SIGNS[one.mark]} {one.mark}", one.type, " → ".join(_names(one)), ", ".join(one.changes))
            for one in self.differences
        ]
        below = _html.table(("", "type", "layer", "what"), rows) if rows else ""
        return _html.page(
            f"<p><strong>{html.escape(self._headline())}</strong></p>{below}"
            f'<div style="display:flex;flex-wrap:wrap;gap:16px;align-items:flex-start">{pictures}</div>'
        )

    def _picture(self, graph: ModelGraph, side: str) -> str:
        whole = with_blocks(graph)
        shown = collapsed(whole, first_closed(whole))
        marks: dict[str, str] = {}
        for layer in self.differences:
            name = layer.first if side == "first" else layer.second
            if name is not None:
                face = next((one for one in (name, *whole.ancestors(name)) if one in shown.by_id), None)
                if face:
                    marks[face] = SIGNS[layer.mark]
        light, dark = (
            _marked(draw_graph(graph, Look(theme=theme), shown=shown), marks, COLOURS[theme])
            for theme in ("light", "dark")
        )
        return inline_svg(light, dark)


def compare_graphs(first: ModelGraph, second: ModelGraph) -> ModelComparison:
    """Find the layers that two models share, by type and order, and what is different in the others.

    Examples
    --------
    >>> import keras
    >>> from hpoviz.architecture.keras_adapter import graph_of
    >>> small, large = (
    ...     graph_of(keras.Sequential([keras.Input((4,)), keras.layers.Dense(units, name="d")], name=f"of_{units}"))
    ...     for units in (3, 5)
    ... )
    >>> [one.changes for one in compare_graphs(small, large).differences]
    [('units 3 → 5', 'gives 3 → 5', 'parameters 15 → 25')]
    """
    a, b = _compared(first), _compared(second)
    types = [[graph.layers[node.layer].type for node in nodes] for graph, nodes in ((first, a), (second, b))]
    layers: list[ComparedLayer] = []
    for how, low, high, start, end in SequenceMatcher(None, types[0], types[1], autojunk=False).get_opcodes():
        if how == "equal":
            layers += [_pair(first, a[low + n], second, b[start + n]) for n in range(high - low)]
            continue
        layers += [
            ComparedLayer(first=node.id, second=None, type=first.layers[node.layer].type, mark="only in the first")
            for node in a[low:high]
        ]
        layers += [
            ComparedLayer(first=None, second=node.id, type=second.layers[node.layer].type, mark="only in the second")
            for node in b[start:end]
        ]
    return ModelComparison(first=first, second=second, layers=tuple(layers))


def _compared(graph: ModelGraph) -> list[Node]:
    return [node for node in with_blocks(graph).nodes if node.kind in ("input", "layer", "operation")]


def _pair(first: ModelGraph, a: Node, second: ModelGraph, b: Node) -> ComparedLayer:
    one, other = first.layers[a.layer], second.layers[b.layer]
    changes = _changed_settings(one, other)
    if a.constants != b.constants:
        changes.append(f"with {', '.join(a.constants) or 'nothing'} → {', '.join(b.constants) or 'nothing'}")
    before, after = _feeding(first, a), _feeding(second, b)
    if before != after:
        changes.append(f"takes from {before} → {after}")
    shapes = [", ".join(shape_text(tensor.shape) for tensor in node.outputs) for node in (a, b)]
    if shapes[0] != shapes[1]:
        changes.append(f"gives {shapes[0]} → {shapes[1]}")
    if one.parameters != other.parameters:
        changes.append(f"parameters {one.parameters:,} → {other.parameters:,}")
    mark: Mark = "changed" if changes else "same"
    return ComparedLayer(first=a.id, second=b.id, type=one.type, mark=mark, changes=tuple(map(plain_text, changes)))


def _changed_settings(one: LayerInfo, other: LayerInfo, of: str = "") -> list[str]:
    changes = [
        f"{of}{name} {_value(one.settings.get(name))} → {_value(other.settings.get(name))}"
        for name in dict.fromkeys([*one.settings, *other.settings])
        if one.settings.get(name) != other.settings.get(name)
    ]
    if [layer.type for layer in one.inner] != [layer.type for layer in other.inner]:
        return [*changes, f"{of}wraps {_types(one.inner)} → {_types(other.inner)}"]
    for inner, its in zip(one.inner, other.inner, strict=True):
        changes += _changed_settings(inner, its, f"{of}{inner.type} ")
    return changes


def _types(layers: Sequence[LayerInfo]) -> str:
    return ", ".join(layer.type for layer in layers) or "nothing"


def _feeding(graph: ModelGraph, node: Node) -> str:
    """Return the types of what a node takes, in the order of its arguments."""
    entering = sorted((edge.slot, edge.source) for edge in graph.edges if edge.target == node.id)
    return ", ".join(graph.layers[graph.by_id[source].layer].type for _, source in entering)


def _value(value: Any) -> str:
    return shape_text(value) if isinstance(value, list) and all(isinstance(one, int) for one in value) else f"{value}"


def _names(layer: ComparedLayer) -> Sequence[str]:
    return list(dict.fromkeys(plain_text(name) for name in (layer.first, layer.second) if name is not None))


def _marked(drawing: Drawing, marks: Mapping[str, str], colour: str) -> Drawing:
    """Return a drawing with thick frames and signs at some of its nodes."""
    items: list[Any] = []
    signs: list[Text] = []
    for item in drawing.items:
        if isinstance(item, Rectangle) and item.role in ("box", "container") and item.key in marks:
            item = dataclasses.replace(item, stroke="mark", stroke_width=3.0)
            signs.append(
                Text(
                    x=item.x + item.width + 4.0, y=item.y + item.height / 2 + 5.0, text=marks[item.key], size=15.0,
                    colour="mark", bold=True,
                )
            )  # fmt: skip
        items.append(item)
    return dataclasses.replace(drawing, items=(*items, *signs), palette={**drawing.palette, "mark": colour})
