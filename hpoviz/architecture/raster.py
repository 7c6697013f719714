"""A drawing as PDF or PNG, by matplotlib: no browser, no Graphviz."""

from __future__ import annotations

import contextlib
import io
import threading
import warnings
from collections.abc import Iterator
from typing import Any, Literal

import matplotlib
import matplotlib.style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, PathPatch, Polygon
from matplotlib.patches import Rectangle as Patch
from matplotlib.path import Path

from hpoviz.architecture.drawing import Drawing, Line, Rectangle, Text
from hpoviz.architecture.svg import arrow_head, back_of, route_path

__all__ = ["LARGEST_PNG", "pdf_bytes", "png_bytes"]

UNITS_PER_INCH = 96.0  # a unit is a CSS pixel
POINTS = 72.0 / UNITS_PER_INCH
LARGEST_PNG = 30_000  # pixels a side: viewers give up beyond, and matplotlib at 65,536
CODES = {"M": [Path.MOVETO], "L": [Path.LINETO], "C": [Path.CURVE4] * 3}


def png_bytes(drawing: Drawing, *, scale: float = 2.0) -> bytes:
    """Return a drawing as a PNG file of `scale` pixels a unit, fewer where a side would have more than 30,000."""
    scale = min(scale, LARGEST_PNG / max(drawing.width, drawing.height))
    with _plain_settings():
        figure = _figure(drawing)
        FigureCanvasAgg(figure)
        return _saved(figure, "png", dpi=UNITS_PER_INCH * scale, metadata={"Software": None})


def pdf_bytes(drawing: Drawing) -> bytes:
    """Return a drawing as a PDF file of one page, its texts searchable."""
    about = {"CreationDate": None, "Title": drawing.title, "Subject": drawing.description}
    with _plain_settings():
        figure = _figure(drawing)
        FigureCanvasPdf(figure)
        return _saved(figure, "pdf", metadata=about)


# Settings of matplotlib belong to the process: ours are set for a moment, by one thread at a time.
_settings = threading.Lock()


@contextlib.contextmanager
def _plain_settings() -> Iterator[None]:
    """Set aside what the user has told matplotlib, as TeX for all texts, while a drawing is made."""
    with _settings, warnings.catch_warnings(), matplotlib.rc_context():
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)  # shown as an empty box
        matplotlib.style.use("default")
        matplotlib.rcParams.update({"pdf.fonttype": 42, "text.hinting": "none"})
        yield


def _saved(figure: Figure, kind: Literal["png", "pdf"], **options: Any) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format=kind, facecolor=figure.get_facecolor(), **options)
    return file.getvalue()


def _figure(drawing: Drawing) -> Figure:
    figure = Figure(figsize=(drawing.width / UNITS_PER_INCH, drawing.height / UNITS_PER_INCH))
    figure.set_facecolor(drawing.palette["paper"])
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, drawing.width)
    axes.set_ylim(drawing.height, 0)
    axes.set_axis_off()
    for order, item in enumerate(drawing.items):
        _add(axes, item, drawing.palette, order)
    return figure


def _add(axes: Any, item: Rectangle | Line | Text, palette: Any, order: int) -> None:
    if isinstance(item, Rectangle):
        _add_rectangle(axes, item, palette, order)
    elif isinstance(item, Line):
        _add_line(axes, item, palette, order)
    else:
        _add_text(axes, item, palette, order)


def _add_rectangle(axes: Any, item: Rectangle, palette: Any, order: int) -> None:
    fill = _faded(palette[item.fill], item.opacity) if item.fill else "none"
    look: dict[str, Any] = {
        "facecolor": fill,
        "edgecolor": palette[item.stroke] if item.stroke else "none",
        "linewidth": item.stroke_width * POINTS if item.stroke else 0.0,
        "linestyle": (0, (4, 3)) if item.dashed else "solid",
        "zorder": order,
    }
    if item.radius:
        style = f"round,pad=0,rounding_size={item.radius}"
        axes.add_patch(FancyBboxPatch((item.x, item.y), item.width, item.height, boxstyle=style, **look))
    else:
        axes.add_patch(Patch((item.x, item.y), item.width, item.height, **look))


def _add_line(axes: Any, item: Line, palette: Any, order: int) -> None:
    vertices: list[Any] = []
    codes: list[Any] = []
    for command, points in route_path(item.points, across=item.across):
        vertices += points
        codes += CODES[command]
    colour = palette[item.colour]
    path = Path(vertices, codes)
    axes.add_patch(
        PathPatch(
            path, facecolor="none", edgecolor=colour, linewidth=item.width * POINTS, capstyle="butt", zorder=order
        )
    )
    if item.arrow:
        axes.add_patch(Polygon(arrow_head(item), closed=True, facecolor=colour, edgecolor="none", zorder=order))


def _add_text(axes: Any, item: Text, palette: Any, order: int) -> None:
    if item.back:
        width, left = back_of(item)
        axes.add_patch(
            Patch(
                (left, item.y - item.size), width, item.size * 1.35, facecolor=palette[item.back], edgecolor="none",
                zorder=order,
            )
        )  # fmt: skip
    axes.text(
        item.x,
        item.y,
        item.text,
        fontsize=item.size * POINTS,
        color=palette[item.colour],
        fontweight="bold" if item.bold else "normal",
        fontfamily="DejaVu Sans",
        ha={"start": "left", "middle": "center", "end": "right"}[item.anchor],
        va="baseline",
        parse_math=False,  # a name with dollars is no formula
        zorder=order,
    )


def _faded(colour: str, opacity: float) -> tuple[float, float, float, float]:
    red, green, blue = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    return red, green, blue, opacity
