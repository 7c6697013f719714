"""Figures of the parameters that a search tried: which of them matter, and where it is good."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from hpoviz.plots.catalogue import LEAST_TRIALS
from hpoviz.plots.look import (
    SCALE,
    Colours,
    empty_figure,
    log_axis,
    new_figure,
    new_grid,
    short,
    text_of,
    whole_axis,
    whole_ticks,
)
from hpoviz.plots.study_facts import NO_PAIR, StudyFacts, StudyPlot, tip
from hpoviz.search.space import Domain

__all__ = ["contour", "importance", "parallel_coordinates", "slices"]

MOST_AXES, MOST_SLICES = 5, 6  # axes: as many as a phone has room for
BINS = 20  # of a contour, a side, at most
LONGEST_TICK = 10  # letters: what lies between two axes of the parallel coordinates
UNSEEN = {"size": 1, "color": "rgba(0, 0, 0, 0)"}  # plotly cannot leave the ends of an axis out, which hide ticks


def importance(facts: StudyFacts, paint: Colours, plot: StudyPlot) -> go.Figure:
    if not facts.importances:
        why = f"Importances need at least {LEAST_TRIALS} finished trials of a search that does not run any more."
        return empty_figure(plot.title, why, paint)
    if not facts.shares:
        few = (
            f"{facts.finished} finished trials are too few to tell which parameter mattered: {LEAST_TRIALS} are needed."
        )
        return empty_figure(plot.title, few, paint)
    rows = sorted(facts.shares.items(), key=lambda item: item[1])
    height = 160 + 24 * len(rows)
    figure = new_figure(plot.title, plot.how, paint, x="share in the differences of the score", height=height)
    figure.add_bar(
        x=[share for _, share in rows],
        y=[text_of(name) for name, _ in rows],
        orientation="h",
        marker={"color": paint["finished"]},
        text=[f"{share:.0%}" for _, share in rows],
        textposition="outside",
        cliponaxis=False,
        hovertemplate="%{y}: %{x:.1%}<extra></extra>",
    )
    return figure.update_layout(yaxis={"showgrid": False}, xaxis={"tickformat": ".0%"})


def parallel_coordinates(facts: StudyFacts, paint: Colours, plot: StudyPlot) -> go.Figure:
    trials, names = facts.scored, facts.ranked[:MOST_AXES]
    if len(trials) < 2 or not names:
        return empty_figure(plot.title, NO_PAIR, paint)
    scores = [trial.score for trial in trials]
    axes = [_axis(name, [trial.params.get(name) for trial in trials], facts.domains.get(name)) for name in names]
    figure = new_figure(plot.title, plot.how, paint)
    ends = {"label": facts.score, "values": scores}
    figure.add_trace(
        go.Parcoords(
            line={"color": scores, "colorscale": SCALE},  # the last axis says what a colour is
            dimensions=[{key: axis[key] for key in axis if key != "places"} for axis in (*axes, ends)],
            labelangle=-30,
            labelfont={"size": 10, "color": paint["text"]},
            tickfont={"size": 10, "color": paint["text"]},
            rangefont=UNSEEN,
        )
    )
    top = figure.layout.margin.t + 40
    return figure.update_layout(margin={"l": 48, "r": 80, "t": top + 20, "b": 24})


def slices(facts: StudyFacts, paint: Colours, plot: StudyPlot) -> go.Figure:
    trials, names = facts.scored, facts.ranked[:MOST_SLICES]
    if not trials or not names:
        return empty_figure(plot.title, NO_PAIR, paint)
    across = min(2, len(names))
    grid = new_grid(plot.title, plot.how, paint, names, across=across)
    for place, name in enumerate(names):
        values, domain = [trial.params.get(name) for trial in trials], facts.domains.get(name)
        marker = {"color": [trial.number for trial in trials], "colorscale": SCALE, "size": 7, "showscale": place == 0}
        bar = whole_axis([trial.number or 0 for trial in trials])
        marker |= {"colorbar": {"title": {"text": "trial"}, "thickness": 12, **bar}}
        numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        grid.add_scatter(
            x=values if numbers else [str(value) for value in values],
            y=[trial.score for trial in trials],
            mode="markers",
            marker=marker,
            showlegend=False,
            text=[tip(trial) for trial in trials],
            hovertemplate="%{text}<extra></extra>",
            row=place // across + 1,
            col=place % across + 1,
        )
        axis: dict[str, Any] = {"type": "linear" if numbers else "category"}
        if numbers and domain is not None and domain.log:
            axis = log_axis(values)
        elif whole := _whole(values):
            axis |= whole_axis(whole)
        grid.update_xaxes(row=place // across + 1, col=place % across + 1, tickangle=0 if numbers else None, **axis)
    return grid.update_layout(yaxis_title_text=text_of(facts.score))


def contour(facts: StudyFacts, paint: Colours, plot: StudyPlot) -> go.Figure:
    trials, names = facts.scored, facts.ranked[:2]
    if len(trials) < 4 or len(names) < 2:
        return empty_figure(plot.title, "It needs four trials with a score, and two parameters that differ.", paint)
    figure = new_figure(plot.title, plot.how, paint, x=names[0], y=names[1])
    axes = [_axis(name, [trial.params.get(name) for trial in trials], facts.domains.get(name), 24) for name in names]
    (x, y), scores = (
        (np.array(axis["values"], dtype=float) for axis in axes),
        np.array([trial.score for trial in trials]),
    )
    sides = [_edges(axis, values) for axis, values in zip(axes, (x, y), strict=True)]
    total, x_ends, y_ends = np.histogram2d(x, y, bins=sides, weights=scores)
    number, _, _ = np.histogram2d(x, y, bins=sides)
    with np.errstate(invalid="ignore"):
        mean = np.where(number > 0, total / number, np.nan).T
    figure.add_heatmap(
        x=x_ends, y=y_ends, z=[[None if np.isnan(one) else float(one) for one in row] for row in mean],
        colorscale=SCALE, colorbar={"title": {"text": "mean score"}}, hoverinfo="skip", opacity=0.75,
    )  # fmt: skip
    marker = {"color": paint["text"], "size": 5, "line": {"color": paint["paper"], "width": 1}}
    figure.add_scatter(
        x=x, y=y, mode="markers", marker=marker, showlegend=False,
        text=[tip(trial) for trial in trials], hovertemplate="%{text}<extra></extra>",
    )  # fmt: skip
    ticks = [{"tickvals": axis.get("tickvals"), "ticktext": axis.get("ticktext")} for axis in axes]
    return figure.update_layout(xaxis=ticks[0], yaxis=ticks[1])


def _edges(axis: Mapping[str, Any], values: np.ndarray) -> np.ndarray:
    """Return the edges of the fields along an axis: one a choice, or some of equal width."""
    if "places" in axis:
        return np.arange(axis["places"] + 1) - 0.5
    return np.histogram_bin_edges(values, bins=min(BINS, max(2, len(np.unique(values)))))


def _axis(name: str, values: Sequence[Any], domain: Domain | None, longest: int = LONGEST_TICK) -> dict[str, Any]:
    """Return values as an axis of numbers: logarithms where the search is by orders of magnitude, places of choices."""
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        by_orders = domain is not None and domain.log and min(values) > 0
        return {"label": text_of(short(name, 16)), **(_log_scale(values) if by_orders else _linear_scale(values))}
    known = sorted({str(value) for value in values})
    places = {text: place for place, text in enumerate(known)}
    return {
        "label": text_of(short(name, 16)),
        "values": [places[str(value)] for value in values],
        "places": len(known),
        "tickvals": list(range(len(known))),
        "ticktext": [text_of(short(text, longest)) for text in known],
    }


def _linear_scale(values: Sequence[float]) -> dict[str, Any]:
    """Return values with ticks at whole numbers, if they are such; else plotly chooses them."""
    whole = _whole(values)
    ticks = whole_ticks(whole) if whole else []
    return {"values": list(values)} | ({"tickvals": ticks, "ticktext": list(map(str, ticks))} if ticks else {})


def _log_scale(values: Sequence[float]) -> dict[str, Any]:
    """Return logarithms of values with ticks at 1, 2 and 5 of each decade."""
    logs = [math.log10(value) for value in values]
    decades = range(math.floor(min(logs)), math.ceil(max(logs)) + 1)
    ticks = [power + math.log10(times) for power in decades for times in (1, 2, 5)]
    ticks = [tick for tick in ticks if min(logs) - 0.01 <= tick <= max(logs) + 0.01] or [logs[0]]
    return {"values": logs, "tickvals": ticks, "ticktext": [f"{10**tick:.3g}" for tick in ticks]}


def _whole(values: Sequence[Any]) -> list[int]:
    """Return the values, if they are whole numbers; else an empty list."""
    return [*values] if all(isinstance(value, int) and not isinstance(value, bool) for value in values) else []
