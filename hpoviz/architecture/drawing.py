"""A drawing as a list of rectangles, lines and texts: what every file format is written from."""

from __future__ import annotations

import dataclasses
import functools
import unicodedata
from collections.abc import Mapping
from typing import Literal

from hpoviz.architecture.layered import Point

__all__ = ["Drawing", "Line", "Rectangle", "Text", "elided", "plain_text", "text_width"]

Anchor = Literal["start", "middle", "end"]
# Widths of the characters from space to ~ of DejaVu Sans and its bold, in thousandths of the font size. It is the
# widest of the fonts that a drawing may be shown in, so a text that fits in it fits in all.
WIDTHS = (
    318, 401, 460, 838, 636, 950, 780, 275, 390, 390, 500, 838, 318, 361, 318, 337,
    636, 636, 636, 636, 636, 636, 636, 636, 636, 636, 337, 337, 838, 838, 838, 531,
    1000, 684, 686, 698, 770, 632, 575, 775, 752, 295, 295, 656, 557, 863, 748, 787,
    603, 787, 695, 635, 611, 732, 684, 989, 685, 611, 685, 390, 337, 390, 838, 500,
    500, 613, 635, 550, 635, 615, 352, 635, 634, 278, 278, 579, 278, 974, 634, 612,
    635, 635, 411, 521, 392, 634, 592, 818, 592, 592, 525, 636, 337, 636, 838,
)  # fmt: skip
BOLD_WIDTHS = (
    348, 456, 521, 838, 696, 1002, 872, 306, 457, 457, 523, 838, 380, 415, 380, 365,
    696, 696, 696, 696, 696, 696, 696, 696, 696, 696, 400, 400, 838, 838, 838, 580,
    1000, 774, 762, 734, 830, 683, 683, 821, 837, 372, 372, 775, 637, 995, 837, 850,
    733, 850, 770, 720, 682, 812, 774, 1103, 771, 724, 725, 457, 365, 457, 838, 500,
    500, 675, 716, 593, 716, 678, 435, 716, 712, 343, 343, 665, 343, 1042, 712, 687,
    716, 716, 493, 595, 478, 712, 652, 924, 645, 652, 582, 712, 365, 712, 838,
)  # fmt: skip
HINTED = 1.02  # how much wider text is where its font is fitted to pixels
JOINERS = "\u200c\u200d"  # of letters and of emoji
OTHER, WIDE = 700, 1100  # other characters, and those that Unicode calls wide


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rectangle:
    """A rectangle; colours are names of the drawing's palette.

    Attributes
    ----------
    x, y, width, height : float
        Its left upper corner and its size.
    fill, stroke : str or None
    opacity : float
        Of the fill.
    radius, stroke_width : float
    dashed : bool
    tip : str
        What is shown when it is pointed at.
    key, role : str
        Which node or edge of a graph it is of, and which part of it, for those who change a drawing that is shown.
    """

    x: float
    y: float
    width: float
    height: float
    fill: str | None = None
    stroke: str | None = None
    opacity: float = 1.0
    radius: float = 0.0
    stroke_width: float = 1.0
    dashed: bool = False
    tip: str = ""
    key: str = ""
    role: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Line:
    """A line through points, straight down or across, and bent where it changes sides; with an arrow at its end."""

    points: tuple[Point, ...]
    colour: str
    across: bool = False
    width: float = 1.2
    arrow: bool = True
    tip: str = ""
    key: str = ""
    role: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Text:
    """One line of text; `y` is its base line. `back` is the colour of a rectangle behind it, if any."""

    x: float
    y: float
    text: str
    size: float
    colour: str
    bold: bool = False
    anchor: Anchor = "start"
    back: str | None = None
    key: str = ""
    role: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Drawing:
    """Everything that is drawn, in order.

    Attributes
    ----------
    width, height : float
        In units that are shown as CSS pixels.
    items : tuple of Rectangle, Line or Text
    palette : mapping of str to str
        Names of colours to ``#rrggbb``.
    title, description : str
        For those who cannot see it.
    """

    width: float
    height: float
    items: tuple[Rectangle | Line | Text, ...]
    palette: Mapping[str, str]
    title: str
    description: str


@functools.lru_cache(maxsize=4096)
def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """Return how wide a line of text is at most, in the unit of its font size."""
    widths, total = BOLD_WIDTHS if bold else WIDTHS, 0
    for character in text:
        code = ord(character) - 32
        if 0 <= code < len(widths):
            total += widths[code]
        elif not unicodedata.combining(character):
            total += WIDE if unicodedata.east_asian_width(character) in "WF" else OTHER
    return total * size / 1000 * HINTED


def elided(text: str, size: float, width: float, *, bold: bool = False) -> str:
    """Return as much of a text as fits into a width, with … where something is left out."""
    if text_width(text, size, bold=bold) <= width:
        return text
    while text and text_width(text + "…", size, bold=bold) > width:
        text = text[:-1]
    return text.rstrip() + "…"


def plain_text(text: str) -> str:
    """Return a text as one line of characters that every file format can hold.

    Examples
    --------
    >>> plain_text("two\\nlines\\x00")
    'two lines\ufffd'
    """
    line = " ".join(text.split())
    if line.isprintable():
        return line
    return "".join(
        one if one in JOINERS or unicodedata.category(one)[0] != "C" else "\N{REPLACEMENT CHARACTER}" for one in line
    )
