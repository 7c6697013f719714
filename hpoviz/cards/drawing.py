"""What the small pictures of parameter cards are drawn with: shapes, texts, plots and rows of boxes, as SVG.

Shapes have no colours of their own but one of five looks, which `card.css` colours by the page's theme.
"""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Iterable, Sequence

__all__ = [
    "FULL",
    "Frame",
    "Picture",
    "arrow",
    "bar_groups",
    "box",
    "boxes",
    "circle",
    "dashed",
    "grid",
    "line",
    "path",
    "text",
    "words_row",
]

Point = tuple[float, float]
FULL = 300.0  # width of a picture, in pixels
LETTER = 6.4  # width of a letter of 11 pixels, in most fonts
CHIP = 20.0  # height of a word's box
GAP = 4.0


@dataclasses.dataclass(frozen=True)
class Picture:
    """A drawing, and what it shows in words for those who do not see it."""

    alt: str
    height: float
    items: Sequence[str]

    def svg(self) -> str:
        """Return the drawing as SVG for inside of a page.

        Examples
        --------
        >>> Picture("a < b", 10, [line(0, 0, 5, 5)]).svg()[:69]
        '<svg viewBox="0 0 300 10" width="300" height="10" role="img" aria-lab'
        """
        size = f'viewBox="0 0 {FULL:g} {self.height:g}" width="{FULL:g}" height="{self.height:g}"'
        return f'<svg {size} role="img" aria-label="{html.escape(self.alt)}">{"".join(self.items)}</svg>'


def box(x: float, y: float, width: float, height: float, look: str = "soft") -> str:
    """Return a rectangle; looks: soft, line, accent, dashed, bold."""
    return f'<rect class="{look}" x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}"/>'


def boxes(corners: Iterable[Point], width: float, height: float, look: str = "soft") -> str:
    """Return rectangles of one size as one shape."""
    size = f"h{_n(width)}v{_n(height)}h{_n(-width)}z"
    return f'<path class="{look}" d="{"".join(f"M{_n(x)},{_n(y)}{size}" for x, y in corners)}"/>'


def circle(x: float, y: float, radius: float, look: str = "soft") -> str:
    """Return a circle."""
    return f'<circle class="{look}" cx="{_n(x)}" cy="{_n(y)}" r="{_n(radius)}"/>'


def line(x0: float, y0: float, x1: float, y1: float, look: str = "line") -> str:
    """Return a straight line."""
    return path([(x0, y0), (x1, y1)], look)


def path(points: Iterable[Point], look: str = "line") -> str:
    """Return a line through points."""
    through = " ".join(f"{_n(x)},{_n(y)}" for x, y in points)
    return f'<polyline class="{look}" points="{through}"/>'


def arrow(x0: float, x1: float, y: float) -> str:
    """Return an arrow along a row."""
    head = 4 if x1 > x0 else -4
    return line(x0, y, x1, y) + path([(x1 - head, y - 3), (x1, y), (x1 - head, y + 3)])


def text(x: float, y: float, words: object, anchor: str = "start") -> str:
    """Return a text whose base line begins, has its middle, or ends at x."""
    place = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text x="{_n(x)}" y="{_n(y)}"{place}>{html.escape(str(words))}</text>'


def dashed(place: int) -> str:
    """Return the look of a curve among others: each has a dash pattern of its own."""
    return ("curve", "curve dash1", "curve dash2", "curve dash3")[place]


def grid(x: float, y: float, values: Sequence[Sequence[float]], side: float = 22.0, *, shaded: bool = False) -> str:
    """Return a table of numbers as squares, written in them or, shaded, from 0 (paper) to the largest (ink)."""
    most = max(max(row) for row in values) or 1.0
    places = [(x + across * side, y + down * side) for down, row in enumerate(values) for across in range(len(row))]
    cells = [boxes(places, side, side, "thin" if shaded else "line")]
    for (left, top), value in zip(places, (value for row in values for value in row), strict=True):
        if shaded and value > 0:
            share = f'<g fill-opacity="{0.15 + 0.85 * value / most:.2f}">'
            cells.append(f"{share}{box(left, top, side, side, 'ink')}</g>")
        elif not shaded:
            cells.append(text(left + side / 2, top + side / 2 + 4, f"{value:g}", "middle"))
    return "".join(cells)


@dataclasses.dataclass(frozen=True)
class Frame:
    """A place to plot in: its corner and size in pixels, and the values at its ends."""

    x: float
    y: float
    width: float
    height: float
    across: Point
    up: Point

    def at(self, x: float, y: float) -> Point:
        """Return where a pair of values lies, at the edge where it is outside."""
        right = (x - self.across[0]) / (self.across[1] - self.across[0])
        high = (min(max(y, self.up[0]), self.up[1]) - self.up[0]) / (self.up[1] - self.up[0])
        return self.x + right * self.width, self.y + (1 - high) * self.height

    def curve(self, points: Iterable[Point], look: str = "curve") -> str:
        """Return a curve through values."""
        return path([self.at(x, y) for x, y in points], look)

    def dots(self, points: Iterable[Point], radius: float = 2.2) -> str:
        """Return a dot at each pair of values."""
        through = "".join(f"M{_n(x)},{_n(y)}h0" for x, y in (self.at(*point) for point in points))
        return f'<path class="dots" stroke-width="{_n(2 * radius)}" d="{through}"/>'

    def axes(self, below: str = "", beside: str = "") -> str:
        """Return the lower and the left edge, with what they stand for."""
        bottom, right = self.y + self.height, self.x + self.width
        edges = path([(self.x, self.y), (self.x, bottom), (right, bottom)])
        names = text(right, bottom + 13, below, "end") if below else ""
        return edges + names + (text(self.x, self.y - 5, beside) if beside else "")


def bar_groups(groups: Sequence[tuple[str, Sequence[float]]], names: Sequence[str] = ()) -> list[str]:
    """Return groups of bars, each bar with its value above and its name below, each group with its own below."""
    most = max(max(values) for _, values in groups)
    wide, base = FULL / len(groups), 88.0
    items = []
    for place, (label, values) in enumerate(groups):
        step = (wide - 16) / len(values)
        for at, value in enumerate(values):
            height, left = 68 * value / most, place * wide + 8 + at * step
            items += [
                box(left, base - height, step - 3, height),
                text(left + (step - 3) / 2, base - height - 4, f"{value:g}", "middle"),
            ]
            items += [text(left + (step - 3) / 2, base + 13, names[at], "middle")] if names else []
        items.append(text(place * wide + wide / 2, base + (28 if names else 14), label, "middle"))
    return items


def words_row(y: float, words: Sequence[str], kept: Sequence[bool] | None = None, x: float = 0.0) -> tuple[str, float]:
    """Return words in boxes one after another, those not kept struck out, and where the row ends."""
    items = []
    for word, stays in zip(words, kept or [True] * len(words), strict=True):
        width = LETTER * len(word) + 8
        items.append(box(x, y, width, CHIP, "soft" if stays else "dashed"))
        items.append(text(x + width / 2, y + 14, word, "middle"))
        if not stays:
            items.append(line(x + 2, y + CHIP / 2, x + width - 2, y + CHIP / 2, "line"))
        x += width + GAP
    return "".join(items), x - GAP


def _n(value: float) -> str:
    return f"{round(float(value), 1):g}"
