"""The layers of a model as boxes in space: how large, and where on a path that is folded where it is long."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence

from hpoviz.architecture.graph_scene import steps_of
from hpoviz.architecture.model_graph import ModelGraph, Node
from hpoviz.architecture.model_records import box_of

__all__ = ["CORNERS", "GAP", "RIDGES", "TRIANGLES", "Point3", "Solid", "corners_of", "grown", "path_between", "solids"]

GAP, BESIDE, BETWEEN_ROWS = 0.7, 0.6, 1.6  # between boxes along the path, beside each other, between rows of the path
FOLD_FROM = 26.0  # a path that is longer is folded
WIDE = 2.6  # how much wider than deep a folded path is
# The corners of a box, and its sides as two triangles each.
CORNERS = tuple(itertools.product((-0.5, 0.5), repeat=3))
TRIANGLES = (
    (0, 1, 3), (0, 3, 2), (4, 6, 7), (4, 7, 5), (0, 4, 5), (0, 5, 1), (2, 3, 7), (2, 7, 6), (0, 2, 6), (0, 6, 4),
    (1, 5, 7), (1, 7, 3),
)  # fmt: skip
RIDGES = ((0, 1), (1, 3), (3, 2), (2, 0), (4, 5), (5, 7), (7, 6), (6, 4), (0, 4), (1, 5), (2, 6), (3, 7))
Point3 = tuple[float, float, float]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Solid:
    """The box of one node: its middle and its size, along the path (x), beside it (y) and upwards (z)."""

    node: str
    at: Point3
    size: Point3
    towards: int  # 1 where the path leads to larger x, -1 where it comes back


def solids(graph: ModelGraph) -> list[Solid]:
    """Place the nodes of a graph in space.

    Nodes that are equally far from the inputs lie beside each other. A long path is folded into rows, so that what is
    deep does not become a thread.

    Examples
    --------
    >>> import keras
    >>> from hpoviz.architecture.keras_adapter import graph_of
    >>> found = solids(graph_of(keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="d")])))
    >>> [one.node for one in found][1], found[0].at[0] < found[1].at[0]
    ('d', True)
    """
    ordered = [[(graph.by_id[name], _size(graph.by_id[name])) for name in names] for names in steps_of(graph)]
    lengths = [max(size[0] for _, size in level) + GAP for level in ordered]
    widths = [sum(size[1] + BESIDE for _, size in level) for level in ordered]
    found: list[Solid] = []
    y, towards = 0.0, 1
    for row in _rows(lengths, widths):
        row_length = sum(lengths[number] for number in row)
        row_width = max(widths[number] for number in row)
        x = 0.0 if towards > 0 else row_length
        y -= row_width / 2
        for number in row:
            middle = x + towards * lengths[number] / 2
            found += _beside(ordered[number], middle, y, widths[number], towards)
            x += towards * lengths[number]
        y -= row_width / 2 + BETWEEN_ROWS
        towards = -towards
    return found


def path_between(source: Solid, target: Solid) -> list[Point3]:
    """Return the way of an edge: out of one box's end, into the other's beginning, low on the ground."""
    begin = (source.at[0] + source.towards * source.size[0] / 2, source.at[1], source.at[2])
    end = (target.at[0] - target.towards * target.size[0] / 2, target.at[1], target.at[2])
    if source.towards == target.towards:
        return [begin, end]
    turn = begin[0] + source.towards * GAP * 0.8  # around the end of the row
    return [begin, (turn, begin[1], begin[2]), (turn, end[1], end[2]), end]


def corners_of(solid: Solid) -> list[Point3]:
    (x, y, z), (length, width, height) = solid.at, solid.size
    return [(x + a * length, y + b * width, z + c * height) for a, b, c in CORNERS]


def grown(solid: Solid) -> Solid:
    """Return a box that is a little larger, so that it hides the one inside."""
    length, width, height = (side + 0.12 for side in solid.size)
    return dataclasses.replace(solid, size=(length, width, height))


def _size(node: Node) -> Point3:
    shape = node.outputs[0].shape if node.outputs else None
    width, height, thickness = box_of(shape)
    return thickness, width, height


def _rows(lengths: Sequence[float], widths: Sequence[float]) -> list[list[int]]:
    """Cut a long path into rows, about `WIDE` times as long as all rows are wide."""
    total = sum(lengths)
    if total <= FOLD_FROM:
        return [list(range(len(lengths)))]
    pitch = sum(widths) / len(widths) + BETWEEN_ROWS
    longest = max(math.sqrt(total * pitch * WIDE), max(lengths))
    rows: list[list[int]] = [[]]
    used = 0.0
    for number, length in enumerate(lengths):
        if rows[-1] and used + length > longest:
            rows.append([])
            used = 0.0
        rows[-1].append(number)
        used += length
    return rows


def _beside(level: Sequence[tuple[Node, Point3]], x: float, y: float, width: float, towards: int) -> list[Solid]:
    found = []
    beside = y + width / 2
    for node, size in level:
        beside -= (size[1] + BESIDE) / 2
        found.append(Solid(node=node.id, at=(x, beside, size[2] / 2), size=size, towards=towards))
        beside -= (size[1] + BESIDE) / 2
    return found
