"""A layered drawing of one flat graph: ranks, order within the ranks, coordinates, routes of edges.

After Sugiyama, Tagawa and Toda (1981): nodes are ranked, long edges are cut into one piece a rank, the order within
the ranks is improved by barycentres while edges cross, and everything moves towards the median of its neighbours.
Labels have ranks of their own, between those of the nodes.
"""

from __future__ import annotations

import bisect
import dataclasses
from collections.abc import Collection, Sequence

__all__ = ["Flat", "Piece", "Point", "Size", "Spacing", "place_flat"]

Point = tuple[float, float]
Size = tuple[float, float]
SWEEPS, ALIGNMENTS = 12, 6
SPLIT = 9.0  # distance between the ends of edges at one node, and width of a piece of a long edge
STILL = 0.5  # what moves by less has come to rest
FIRM = 50.0  # how much more a node keeps its place than a piece of a long edge, which can go around


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spacing:
    """Distances, in the unit of the sizes.

    Attributes
    ----------
    beside : float
        From node to node in a rank.
    between : float
        From a rank of nodes to the labels below it, and from these to the next rank.
    padding, title : float
        Around what is inside a container, and more above it.
    """

    beside: float = 26.0
    between: float = 12.0
    padding: float = 14.0
    title: float = 20.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Piece:
    """An edge, or what of it lies in this graph.

    Attributes
    ----------
    source, target : int
    label : (width, height) or None
    start, end : float or None
        Where it leaves and enters, from the middle of the item; else it leaves in the middle, and those that enter
        stand side by side.
    """

    source: int
    target: int
    label: Size | None = None
    start: float | None = None
    end: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Flat:
    """A laid out graph: centres of items, routes and centres of labels of pieces, all from (0, 0) on."""

    width: float
    height: float
    at: Sequence[Point]
    routes: Sequence[tuple[Point, ...]]
    labels: Sequence[Point | None]


def place_flat(
    sizes: Sequence[Size],
    pieces: Sequence[Piece],
    *,
    first: Collection[int] = (),
    last: Collection[int] = (),
    spacing: Spacing | None = None,
) -> Flat:
    """Lay out a graph without cycles.

    Parameters
    ----------
    sizes : sequence of (width, height)
        Of the items.
    pieces : sequence of Piece
    first, last : collection of int
        Items above and below all others.
    spacing : Spacing, optional

    Examples
    --------
    >>> flat = place_flat([(40, 20), (60, 20)], [Piece(source=0, target=1)])
    >>> flat.at[0][0] == flat.at[1][0], flat.width, flat.height
    (True, 60.0, 64.0)
    """
    drawing = _Ranked(sizes, pieces, _ranks(len(sizes), pieces, first, last), spacing or Spacing())
    drawing.untangle()
    drawing.align()
    return drawing.flat()


def _ranks(count: int, pieces: Sequence[Piece], first: Collection[int], last: Collection[int]) -> list[int]:
    """Return the rank of each item: below all that lead to it; items that nothing leads to just above their users."""
    after: list[list[int]] = [[] for _ in range(count)]
    waiting = [0] * count
    for piece in pieces:
        after[piece.source].append(piece.target)
        waiting[piece.target] += 1
    ranks = [0] * count
    sources = [item for item in range(count) if not waiting[item]]
    ready = list(sources)
    for item in ready:  # grows while it is walked
        for target in after[item]:
            ranks[target] = max(ranks[target], ranks[item] + 1)
            waiting[target] -= 1
            if not waiting[target]:
                ready.append(target)
    if len(ready) < count:
        raise ValueError("The graph has a cycle.")
    for item in sources:
        if after[item] and item not in first:
            ranks[item] = min(ranks[target] for target in after[item]) - 1
    lowest = max((ranks[item] for item in range(count) if item not in last), default=0)
    for item in last:
        ranks[item] = lowest + 1
    return ranks


class _Ranked:
    """Items and the pieces of long edges, by rank; even ranks hold items, odd ones labels."""

    def __init__(self, sizes: Sequence[Size], pieces: Sequence[Piece], ranks: Sequence[int], spacing: Spacing) -> None:
        self._pieces, self._spacing, self._items = pieces, spacing, len(sizes)
        self._sizes: list[Size] = [(float(width), float(height)) for width, height in sizes]
        self._rank = [2 * rank for rank in ranks]
        self._up: list[list[int]] = [[] for _ in sizes]
        self._down: list[list[int]] = [[] for _ in sizes]
        self._chains = [self._chain(piece) for piece in pieces]
        self._long = {vertex for chain in self._chains if len(chain) > 1 for vertex in chain}
        self._rows: list[list[int]] = [[] for _ in range(max(self._rank, default=0) + 1)]
        for vertex in self._depth_first():
            self._rows[self._rank[vertex]].append(vertex)
        self._x = [0.0] * len(self._sizes)

    def _chain(self, piece: Piece) -> list[int]:
        """Cut a piece into vertices, one for each rank between its ends."""
        chain: list[int] = []
        above = piece.source
        for rank in range(self._rank[piece.source] + 1, self._rank[piece.target]):
            vertex = len(self._sizes)
            labelled = piece.label is not None and not chain
            self._sizes.append(piece.label if labelled and piece.label else (SPLIT, 0.0))
            self._rank.append(rank)
            self._up.append([above])
            self._down.append([])
            self._down[above].append(vertex)
            chain.append(vertex)
            above = vertex
        self._down[above].append(piece.target)
        self._up[piece.target].append(above)
        return chain

    def _depth_first(self) -> list[int]:
        """Return all vertices so that what hangs together lies together, as a first order."""
        seen, order = [False] * len(self._sizes), []
        starts = sorted(range(len(self._sizes)), key=lambda vertex: (bool(self._up[vertex]), vertex))
        for start in starts:
            stack = [start]
            while stack:
                vertex = stack.pop()
                if seen[vertex]:
                    continue
                seen[vertex] = True
                order.append(vertex)
                stack.extend(reversed(self._down[vertex]))
        return order

    def untangle(self) -> None:
        """Order the vertices of each rank so that few edges cross."""
        place = [0] * len(self._sizes)
        for row in self._rows:
            for position, vertex in enumerate(row):
                place[vertex] = position
        best, fewest = [list(row) for row in self._rows], self._crossings(place)
        for sweep in range(SWEEPS):
            if not fewest:
                break
            rows, beside = (self._rows, self._up) if sweep % 2 == 0 else (self._rows[::-1], self._down)
            for row in rows:
                row.sort(
                    key=lambda vertex: (
                        sum(place[other] for other in beside[vertex]) / len(beside[vertex])
                        if beside[vertex]
                        else place[vertex]
                    )
                )
                for position, vertex in enumerate(row):
                    place[vertex] = position
            crossings = self._crossings(place)
            if crossings < fewest:
                best, fewest = [list(row) for row in self._rows], crossings
        self._rows = best

    def _crossings(self, place: Sequence[int]) -> int:
        total = 0
        for row in self._rows[:-1]:
            if len(row) < 2:
                continue
            ends = [end for vertex in row for end in sorted(place[other] for other in self._down[vertex])]
            seen: list[int] = []
            for end in ends:
                total += len(seen) - bisect.bisect_right(seen, end)
                bisect.insort(seen, end)
        return total

    def align(self) -> None:
        """Move vertices towards the median of their neighbours, in their order and as far apart as they must be."""
        x, gap = self._x, self._spacing.beside
        offsets = []
        for row in self._rows:
            right, row_offsets = 0.0, []
            for position, vertex in enumerate(row):
                space = (
                    0.0 if not position else gap if self._is_wide(vertex) or self._is_wide(row[position - 1]) else SPLIT
                )
                right += space
                row_offsets.append(right + self._sizes[vertex][0] / 2)
                right += self._sizes[vertex][0]
            for vertex, offset in zip(row, row_offsets, strict=True):
                x[vertex] = offset - right / 2
            offsets.append(row_offsets)
        rows = list(zip(self._rows, offsets, strict=True))
        above, below = (self._guides(beside) for beside in (self._up, self._down))
        before: list[list[float]] = []  # by turn: up and down pull differently, so a turn is compared with its like
        for turn in range(ALIGNMENTS):
            downwards = turn % 2 == 0
            near, far = (above, below) if downwards else (below, above)
            for row, row_offsets in rows if downwards else reversed(rows):
                wishes = [self._median(near[vertex] or far[vertex], x[vertex]) for vertex in row]
                if len(row) == 1:
                    x[row[0]] = wishes[0]
                else:
                    self._settle(row, wishes, row_offsets)
            if turn > 1 and all(abs(one - other) < STILL for one, other in zip(x, before[turn - 2], strict=True)):
                break
            before.append(list(x))

    def _guides(self, beside: Sequence[Sequence[int]]) -> list[Sequence[int]]:
        """Return which neighbours a vertex keeps in line with: those over short edges; long ones go around."""
        return [
            [other for other in others if other not in self._long] or others if vertex < self._items else others
            for vertex, others in enumerate(beside)
        ]

    def _is_wide(self, vertex: int) -> bool:
        return self._sizes[vertex][0] > SPLIT

    def _median(self, others: Sequence[int], otherwise: float) -> float:
        if not others:
            return otherwise
        if len(others) == 1:
            return self._x[others[0]]
        places = sorted(self._x[other] for other in others)
        middle = len(places) // 2
        return places[middle] if len(places) % 2 else (places[middle - 1] + places[middle]) / 2

    def _settle(self, row: Sequence[int], wishes: Sequence[float], offsets: Sequence[float]) -> None:
        """Give the vertices of a rank the places nearest to their wishes (pooling adjacent violators)."""
        if all(
            wishes[place + 1] - wishes[place] >= offsets[place + 1] - offsets[place] for place in range(len(row) - 1)
        ):
            for vertex, wish in zip(row, wishes, strict=True):
                self._x[vertex] = wish
            return
        blocks: list[list[float]] = []  # weighted sum of wishes, weight, number of vertices
        for vertex, wish, offset in zip(row, wishes, offsets, strict=True):
            weight = 1.0 if vertex in self._long else FIRM
            blocks.append([(wish - offset) * weight, weight, 1])
            while len(blocks) > 1 and blocks[-2][0] * blocks[-1][1] > blocks[-1][0] * blocks[-2][1]:
                total, weight, count = blocks.pop()
                blocks[-1][0] += total
                blocks[-1][1] += weight
                blocks[-1][2] += count
        position = 0
        for total, weight, count in blocks:
            for _ in range(int(count)):
                self._x[row[position]] = total / weight + offsets[position]
                position += 1

    def flat(self) -> Flat:
        """Return the coordinates."""
        if not self._sizes:
            return Flat(width=0.0, height=0.0, at=[], routes=[], labels=[])
        left = min(x - size[0] / 2 for x, size in zip(self._x, self._sizes, strict=True))
        right = max(x + size[0] / 2 for x, size in zip(self._x, self._sizes, strict=True))
        x = [one - left for one in self._x]
        bands, top = [], 0.0
        for row in self._rows:
            height = max((self._sizes[vertex][1] for vertex in row), default=0.0)
            bands.append((top, top + height))
            top += height + self._spacing.between
        at = [(x[item], sum(bands[self._rank[item]]) / 2) for item in range(self._items)]
        ends = self._ends(x)
        routes, labels = [], []
        for piece, chain, end in zip(self._pieces, self._chains, ends, strict=True):
            start = (x[piece.source] + (piece.start or 0.0), at[piece.source][1] + self._sizes[piece.source][1] / 2)
            points = [start, (start[0], bands[self._rank[piece.source]][1])]
            for vertex in chain:
                points += [(x[vertex], edge) for edge in bands[self._rank[vertex]]]
            points += [(end, bands[self._rank[piece.target]][0])]
            points += [(end, at[piece.target][1] - self._sizes[piece.target][1] / 2)]
            routes.append(_without_repeats(points))
            labels.append((x[chain[0]], sum(bands[self._rank[chain[0]]]) / 2) if piece.label else None)
        return Flat(width=right - left, height=bands[-1][1], at=at, routes=routes, labels=labels)

    def _ends(self, x: Sequence[float]) -> list[float]:
        """Return the x at which each piece enters its target: side by side, in the order in which they come."""
        ends = [x[piece.target] + (piece.end or 0.0) for piece in self._pieces]
        entering: dict[int, list[int]] = {}
        for number, piece in enumerate(self._pieces):
            if piece.end is None:
                entering.setdefault(piece.target, []).append(number)
        for target, numbers in entering.items():
            width = max(self._sizes[target][0] - 2 * SPLIT, 0.0)
            step = min(SPLIT, width / max(len(numbers) - 1, 1))
            numbers.sort(key=lambda number: x[self._chains[number][-1]])
            for position, number in enumerate(numbers):
                ends[number] = x[target] + (position - (len(numbers) - 1) / 2) * step
        return ends


def _without_repeats(points: Sequence[Point]) -> tuple[Point, ...]:
    """Return a route without points that change nothing: repeated ones, and those on a vertical line."""
    kept: list[Point] = []
    for point in points:
        if kept and abs(kept[-1][0] - point[0]) < 1e-6 and abs(kept[-1][1] - point[1]) < 1e-6:
            continue
        if len(kept) > 1 and abs(kept[-1][0] - point[0]) < 1e-6 and abs(kept[-2][0] - point[0]) < 1e-6:
            kept.pop()
        kept.append(point)
    return tuple(kept)
