"""How hpoviz's figures look: a title, one sentence on how to read them, axes with units, in two themes."""

from __future__ import annotations

import itertools
import math
import textwrap
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from hpoviz.architecture.palette import THEMES, scale_colour
from hpoviz.errors import ConfigError, nearest

__all__ = [
    "SCALE",
    "STATES",
    "Colours",
    "colours",
    "empty_figure",
    "log_axis",
    "new_figure",
    "new_grid",
    "short",
    "text_of",
    "whole_axis",
    "whole_ticks",
]

HEIGHT, LINE = 460, 60  # characters of a line under the title: a phone's width
SCALE = [[step / 8, scale_colour(step / 8)] for step in range(9)]  # viridis: even steps for all eyes
# A state has a shape too, for who cannot tell the colours apart.
STATES = {
    "finished": ("circle", "#0072b2", "#5db8f0"),
    "pruned": ("diamond-open", "#8a6d00", "#e6c34d"),
    "failed": ("x", "#b03a2e", "#ff8f85"),
    "infeasible": ("x-open", "#b03a2e", "#ff8f85"),
    "cancelled": ("square-open", "#59636e", "#a5b0bb"),
}
Colours = dict[str, str]


def colours(theme: str) -> Colours:
    """Return the colours of a theme; ConfigError for another name."""
    if theme not in THEMES:
        raise ConfigError(f"theme must be one of 'light', 'dark'. Got {theme!r}.{nearest(str(theme), THEMES)}")
    at = 1 if theme == "light" else 2
    states = {name: look[at] for name, look in STATES.items()}
    return {**THEMES[theme], **states, "grid": "#d8dee4" if theme == "light" else "#2a323b"}


def new_figure(title: str, how: str, paint: Colours, *, x: str = "", y: str = "", height: int = HEIGHT) -> go.Figure:
    """Return an empty figure.

    Parameters
    ----------
    title : str
        What it shows.
    how : str
        One sentence on how to read it.
    paint : Colours
    x, y : str
        What is on the axes, with units.
    height : int
        Pixels.
    """
    lines = textwrap.wrap(how, LINE)
    axis = {"gridcolor": paint["grid"], "zeroline": False, "linecolor": paint["line"], "automargin": True}
    head = f"<b>{text_of(title)}</b><br>" + "<br>".join(
        f"<span style='font-size:12px'>{text_of(line)}</span>" for line in lines
    )
    figure = go.Figure()
    figure.update_layout(
        title={
            "text": head,
            "x": 0.01,
            "xanchor": "left",
            "y": 1,
            "yanchor": "top",
            "pad": {"t": 12},
            "font": {"size": 15},
        },
        paper_bgcolor=paint["paper"],
        plot_bgcolor=paint["paper"],
        font={"color": paint["text"], "size": 12},
        margin={"l": 12, "r": 16, "t": 58 + 17 * len(lines), "b": 72},
        height=height,
        legend={"orientation": "h", "x": 0, "y": 0, "yref": "container", "yanchor": "bottom"},
        hoverlabel={"align": "left"},
        xaxis={**axis, "title": {"text": text_of(x)}},
        yaxis={**axis, "title": {"text": text_of(y)}},
    )
    return figure


def new_grid(
    title: str, how: str, paint: Colours, titles: Sequence[str], *, across: int = 2, each: int = 210, **more: Any
) -> go.Figure:
    """Return an empty figure with a field for each title, so many across; `more` is for ``make_subplots``.

    Parameters
    ----------
    title, how, paint
        As of `new_figure`.
    titles : sequence of str
        What each field shows.
    across : int
    each : int
        Height of a field in pixels.
    """
    down = math.ceil(len(titles) / across)
    look = new_figure(title, how, paint, height=150 + each * down)
    options = {"vertical_spacing": min(0.28 / down, 60 / (each * down)), "horizontal_spacing": 0.14 / across} | more
    grid = make_subplots(rows=down, cols=across, subplot_titles=[text_of(one) for one in titles], **options)
    grid.update_annotations(font={"size": 13, "color": paint["text"]})
    axis = {"gridcolor": paint["grid"], "zeroline": False, "linecolor": paint["line"], "automargin": True}
    grid.update_xaxes(**axis, nticks=6)
    grid.update_yaxes(**axis)
    names = ("title", "paper_bgcolor", "plot_bgcolor", "font", "margin", "height", "legend", "hoverlabel")
    return grid.update_layout(**{name: look.layout[name] for name in names})


def log_axis(values: Sequence[float | None]) -> dict[str, Any]:
    """Return a logarithmic axis whose ticks do not run into each other: 1, 2, 5 of a few decades, or whole decades."""
    known = [value for value in values if value is not None and value > 0] or [1.0]
    low, high = math.log10(min(known)) - 0.15, math.log10(max(known)) + 0.15
    if high - low < 0.7:  # so that there is a tick in it
        low, high = low - 0.2, high + 0.2
    between = high - low
    return {
        "type": "log",
        "range": [low, high],
        "dtick": "D2" if between < 1.6 else math.ceil(between / 7),
        "tickformat": "~g" if low >= -3 else ".0e",
    }


def whole_axis(values: Sequence[float]) -> dict[str, Any]:
    """Return the ticks of an axis, or of a colour bar, of whole numbers: at whole numbers, and at most about eight.

    Examples
    --------
    >>> whole_axis([0, 1, 2, 3]), whole_axis(range(1, 101))
    ({'tick0': 0, 'dtick': 1}, {'tick0': 0, 'dtick': 20})
    """
    span = max(values, default=0) - min(values, default=0)
    steps = (times * 10**power for power in itertools.count() for times in (1, 2, 5))
    return {"tick0": 0, "dtick": next(step for step in steps if span <= 8 * step)}


def whole_ticks(values: Sequence[float]) -> list[int]:
    """Return the whole numbers of `whole_axis` between the least and the largest value, both included."""
    low, high, step = int(min(values)), int(max(values)), whole_axis(values)["dtick"]
    between = range(math.ceil(low / step) * step, high + 1, step)
    return sorted({low, *(tick for tick in between if low + step / 2 <= tick <= high - step / 2), high})


def empty_figure(title: str, why: str, paint: Colours) -> go.Figure:
    """Return a figure that says what is missing."""
    figure = new_figure(title, "", paint, height=220)
    figure.update_layout(xaxis={"visible": False}, yaxis={"visible": False})
    said = "<br>".join(text_of(line) for line in textwrap.wrap(why, LINE))
    figure.add_annotation(text=said, showarrow=False, x=0.5, y=0.5, xref="paper", yref="paper", font={"size": 13})
    return figure


def short(name: str, most: int = 18) -> str:
    """Return a name with its middle left out, if it is long."""
    half = (most - 1) // 2
    return name if len(name) <= most else f"{name[:half]}…{name[-half:]}"


def text_of(value: Any) -> str:
    """Return a text that plotly shows as it is: it reads some tags."""
    return str(value).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
