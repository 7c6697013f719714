"""Where the nodes of a graph lie and which way its edges go, with containers around what is inside them."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Literal

from hpoviz.architecture.layered import SPLIT, Flat, Piece, Point, Size, Spacing, place_flat

__all__ = ["Box", "Direction", "Layout", "layered_layout"]

Direction = Literal["down", "right"]


@dataclasses.dataclass(frozen=True, slots=True)
class Box:
    """A rectangle by its centre and its size; y grows downwards."""

    x: float
    y: float
    width: float
    height: float

    @property
    def left(self) -> float:
        """Its smallest x."""
        return self.x - self.width / 2

    @property
    def right(self) -> float:
        """Its largest x."""
        return self.x + self.width / 2

    @property
    def top(self) -> float:
        """Its smallest y."""
        return self.y - self.height / 2

    @property
    def bottom(self) -> float:
        """Its largest y."""
        return self.y + self.height / 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """A laid out graph.

    Attributes
    ----------
    width, height : float
        Everything lies between 0 and these.
    boxes : mapping of str to Box
        By node; that of a container is around what is inside it.
    routes : tuple of tuple of (x, y)
        By edge, from the border of its source to that of its target.
    labels : tuple of (x, y) or None
        By edge: the centre of the room for its label, where it has one.
    """

    width: float
    height: float
    boxes: Mapping[str, Box]
    routes: tuple[tuple[Point, ...], ...]
    labels: tuple[Point | None, ...]


def layered_layout(
    sizes: Mapping[str, Size],
    edges: Sequence[tuple[str, str]],
    *,
    labels: Sequence[Size | None] | None = None,
    parents: Mapping[str, str] | None = None,
    direction: Direction = "down",
    spacing: Spacing | None = None,
) -> Layout:
    """Lay out a directed graph without cycles.

    Containers are laid out from the innermost on; each is one large node for what is around it, so nothing overlaps.

    Parameters
    ----------
    sizes : mapping of str to (width, height)
        Of the nodes; of a container that which it has at least.
    edges : sequence of (source, target)
        Two between the same nodes are two lines. They join nodes that hold no ends of other edges.
    labels : sequence of (width, height) or None, optional
        By edge; none by default.
    parents : mapping of str to str, optional
        The container of each node that is in one.
    direction : {"down", "right"}
        Where edges lead.
    spacing : Spacing, optional

    Returns
    -------
    Layout
        The same for the same arguments.

    Raises
    ------
    ValueError
        The graph has a cycle.

    Examples
    --------
    >>> layout = layered_layout({"a": (40, 20), "b": (60, 20)}, [("a", "b")])
    >>> layout.boxes["a"].x == layout.boxes["b"].x, layout.boxes["a"].bottom < layout.boxes["b"].top
    (True, True)
    """
    labels = labels if labels is not None else [None] * len(edges)
    turned = direction == "right"
    if turned:
        sizes = {name: (height, width) for name, (width, height) in sizes.items()}
        labels = [label and (label[1], label[0]) for label in labels]
    found = _Placer(sizes, edges, labels, parents or {}, spacing or Spacing(), turned).layout()
    if not turned:
        return found
    return Layout(
        width=found.height,
        height=found.width,
        boxes={name: Box(box.y, box.x, box.height, box.width) for name, box in found.boxes.items()},
        routes=tuple(tuple((y, x) for x, y in route) for route in found.routes),
        labels=tuple(label and (label[1], label[0]) for label in found.labels),
    )


@dataclasses.dataclass
class _Part:
    """What of an edge lies in one level: between two items, of which one may be a place on the level's border."""

    edge: int
    source: int
    target: int
    label: Size | None = None
    number: int = 0  # its place in the level


class _Level:
    """What is directly inside one container."""

    def __init__(self) -> None:
        self.names: list[str | None] = []  # None: a place on the border
        self.sizes: list[Size] = []
        self.parts: list[_Part] = []
        self.first: set[int] = set()
        self.last: set[int] = set()
        self.flat = Flat(width=0.0, height=0.0, at=[], routes=[], labels=[])
        self.origin = (0.0, 0.0)  # of what is inside, from the centre of the container

    def add(self, name: str | None, size: Size) -> int:
        self.names.append(name)
        self.sizes.append(size)
        return len(self.names) - 1

    def join(self, edge: int, source: int, target: int) -> _Part:
        part = _Part(edge, source, target, number=len(self.parts))
        self.parts.append(part)
        return part


class _Placer:
    def __init__(
        self,
        sizes: Mapping[str, Size],
        edges: Sequence[tuple[str, str]],
        labels: Sequence[Size | None],
        parents: Mapping[str, str],
        spacing: Spacing,
        turned: bool,
    ) -> None:
        self._parents, self._spacing, self._turned = parents, spacing, turned
        self._levels: dict[str | None, _Level] = {None: _Level()}
        for container in parents.values():
            self._levels.setdefault(container, _Level())
        self._item = {name: self._levels[parents.get(name)].add(name, size) for name, size in sizes.items()}
        self._ways = [self._way(edge, *ends, labels[edge]) for edge, ends in enumerate(edges)]
        self._centres: dict[str | None, Point] = {}
        self._boxes: dict[str, Box] = {}

    def layout(self) -> Layout:
        top = self._levels[None]
        self._solve(None)
        self._put(None, (0.0, 0.0))
        routes = tuple(self._route(way) for way in self._ways)
        labels = tuple(self._label(way) for way in self._ways)
        return Layout(width=top.flat.width, height=top.flat.height, boxes=self._boxes, routes=routes, labels=labels)

    def _containers(self, name: str) -> list[str | None]:
        """Return the containers around a node, the outermost (None) first."""
        chain: list[str | None] = []
        parent = self._parents.get(name)
        while parent is not None:
            chain.append(parent)
            parent = self._parents.get(parent)
        return [None, *reversed(chain)]

    def _way(self, edge: int, source: str, target: str, label: Size | None) -> list[tuple[str | None, _Part]]:
        """Cut an edge where it crosses the border of a container; return its parts with their levels."""
        out, into = self._containers(source), self._containers(target)
        shared = sum(a == b for a, b in zip(out, into, strict=False))
        way: list[tuple[str | None, _Part]] = []
        leaving = source
        for container in reversed(out[shared:]):
            level = self._levels[container]
            border = level.add(None, (SPLIT, 0.0))
            level.last.add(border)
            way.append((container, level.join(edge, self._item[leaving], border)))
            assert container is not None
            leaving = container
        inner = [*into[shared:], target]
        assert inner[0] is not None
        common = out[shared - 1]
        way.append((common, self._levels[common].join(edge, self._item[leaving], self._item[inner[0]])))
        for container, name in itertools.pairwise(inner):
            level = self._levels[container]
            border = level.add(None, (SPLIT, 0.0))
            level.first.add(border)
            assert name is not None
            way.append((container, level.join(edge, border, self._item[name])))
        way[0][1].label = label
        return way

    def _solve(self, container: str | None) -> None:
        """Lay out a level and all inside it."""
        level = self._levels[container]
        for item, name in enumerate(level.names):
            if name is not None and name in self._levels:
                self._solve(name)
                level.sizes[item] = self._around(self._levels[name], level.sizes[item])
        pieces = [
            Piece(
                source=part.source,
                target=part.target,
                label=part.label,
                start=self._crossing(level.names[part.source], part.edge, "last"),
                end=self._crossing(level.names[part.target], part.edge, "first"),
            )
            for part in level.parts
        ]
        level.flat = place_flat(level.sizes, pieces, first=level.first, last=level.last, spacing=self._spacing)

    def _around(self, level: _Level, least: Size) -> Size:
        """Return the size of a container, and note where in it the inside lies."""
        space, title = 2 * self._spacing.padding, self._spacing.title
        beside, above = (title, 0.0) if self._turned else (0.0, title)
        width = max(level.flat.width + space + beside, least[0])
        height = max(level.flat.height + space + above, least[1])
        level.origin = (
            (beside - level.flat.width) / 2,
            (above - level.flat.height) / 2,
        )
        return width, height

    def _crossing(self, name: str | None, edge: int, side: str) -> float | None:
        """Return where an edge crosses the border of a container, from its middle; None if it ends there."""
        level = self._levels.get(name) if name is not None else None
        if level is None:
            return None
        for part in level.parts:
            border = part.source if side == "first" else part.target
            if part.edge == edge and border in (level.first if side == "first" else level.last):
                return level.flat.at[border][0] + level.origin[0]
        return None

    def _put(self, container: str | None, origin: Point) -> None:
        """Note where everything of a level lies."""
        level = self._levels[container]
        self._centres[container] = origin
        for name, size, (x, y) in zip(level.names, level.sizes, level.flat.at, strict=True):
            if name is None:
                continue
            box = self._boxes[name] = Box(x + origin[0], y + origin[1], *size)
            if name in self._levels:
                inner = self._levels[name].origin
                self._put(name, (box.x + inner[0], box.y + inner[1]))

    def _route(self, way: Sequence[tuple[str | None, _Part]]) -> tuple[Point, ...]:
        points: list[Point] = []
        for container, part in way:
            dx, dy = self._centres[container]
            points += [(x + dx, y + dy) for x, y in self._levels[container].flat.routes[part.number]]
        return tuple(points)

    def _label(self, way: Sequence[tuple[str | None, _Part]]) -> Point | None:
        container, part = way[0]
        place = self._levels[container].flat.labels[part.number]
        dx, dy = self._centres[container]
        return place and (place[0] + dx, place[1] + dy)
