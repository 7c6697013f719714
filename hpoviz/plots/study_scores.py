"""Figures of a search's scores: over time, over epochs, and beside size and health."""

from __future__ import annotations

import datetime
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import plotly.graph_objects as go

from hpoviz.plots.look import SCALE, STATES, Colours, empty_figure, log_axis, new_figure, whole_axis
from hpoviz.plots.study_facts import NO_TRIAL, StudyFacts, StudyPlot, tip
from hpoviz.progress import duration
from hpoviz.results import FINISHED, TrialResult
from hpoviz.selection import pareto_front

__all__ = ["accuracy_health", "learning_curves", "pareto", "score_history", "timeline"]


def score_history(facts: StudyFacts, paint: Colours, plot: StudyPlot) -> go.Figure:
    if not facts.trials:
        return empty_figure(plot.title, NO_TRIAL, paint)
    figure = new_figure(plot.title, plot.how, paint, x="trial, in the order of finishing", y=facts.score)
    _add_states(figure, facts.scored, paint, lambda trial: trial.number, lambda trial: trial.score)
    finished = [trial for trial in facts.scored if trial.state == FINISHED]
    tops = list(itertools.accumulate((trial.score or 0.0 for trial in finished), max))
    line = {"color": paint["text"], "width": 1.5, "shape": "hv"}
    figure.add_scatter(x=[one.number for one in finished], y=tops, mode="lines", line=line, name="best so far")
    failed = [trial for trial in facts.trials if trial.score is None]
    low = min((trial.score or 0.0 for trial in facts.scored), default=0.0)
    _add_states(figure, failed, paint, lambda trial: trial.number, lambda _: low)
    return figure.update_layout(xaxis=whole_axis([trial.number or 0 for trial in facts.trials]))


def pareto(facts: StudyFacts, paint: Colours, plot: StudyPlot) -> go.Figure:
    trials = [
        trial for trial in facts.trials if trial.state == FINISHED and trial.parameters and trial.accuracy is not None
    ]
    if not trials:
        return empty_figure(plot.title, "No trial has finished yet.", paint)
    figure = new_figure(plot.title, plot.how, paint, x="weights of the model (log)", y="validation accuracy")
    measured = [trial.health for trial in trials if trial.health is not None]
    marker: dict[str, Any] = {"size": 9, "color": paint["finished"]}
    if measured:
        known = [math.nan if trial.health is None else trial.health for trial in trials]  # plotly takes no None
        marker |= {"color": known, "colorscale": SCALE, "cmin": 0, "cmax": 1}
        marker |= {"showscale": True, "colorbar": {"title": {"text": "health"}, "thickness": 12}}
    figure.add_scatter(
        x=[trial.parameters for trial in trials], y=[trial.accuracy for trial in trials], mode="markers", marker=marker,
        name="finished", text=[tip(trial) for trial in trials], hovertemplate="%{text}<extra></extra>",
    )  # fmt: skip
    front = sorted(pareto_front(facts.trials), key=lambda trial: trial.parameters or 0)
    ring = {"size": 16, "symbol": "circle-open", "color": paint["text"], "line": {"width": 2}}
    figure.add_scatter(
        x=[trial.parameters for trial in front], y=[trial.accuracy for trial in front], mode="markers", marker=ring,
        name="beaten by none", hoverinfo="skip",
    )  # fmt: skip
    sizes = log_axis([trial.parameters for trial in trials]) | {"tickformat": "~s"}
    return figure.update_layout(xaxis=sizes)


def timeline(facts: StudyFacts, paint: Colours, plot: StudyPlot) -> go.Figure:
    known = [trial for trial in facts.trials if trial.trial_id in facts.begun and trial.seconds is not None]
    if not known:
        return empty_figure(plot.title, "No trial has ended yet.", paint)
    times = {trial.trial_id: datetime.datetime.fromisoformat(facts.begun[trial.trial_id][0]) for trial in known}
    zero = min(times.values())
    slots = sorted({facts.begun[trial.trial_id][1] for trial in known})
    figure = new_figure(
        plot.title, plot.how, paint, x="seconds since the first trial began", height=200 + 46 * len(slots)
    )
    for state, (_, *_) in STATES.items():
        some = [trial for trial in known if trial.state == state]
        if some:
            figure.add_bar(
                base=[(times[trial.trial_id] - zero).total_seconds() for trial in some],
                x=[trial.seconds for trial in some],
                y=[f"slot {facts.begun[trial.trial_id][1] + 1}" for trial in some],
                orientation="h",
                name=state,
                marker={"color": paint[state], "line": {"color": paint["paper"], "width": 1}},
                text=[str(trial.number) for trial in some],
                textposition="inside",
                hovertext=[f"{tip(trial)}<br>{duration(trial.seconds or 0)}" for trial in some],
                hovertemplate="%{hovertext}<extra></extra>",
            )
    order = [f"slot {slot + 1}" for slot in reversed(slots)]
    return figure.update_layout(barmode="overlay", yaxis={"categoryorder": "array", "categoryarray": order})


def learning_curves(facts: StudyFacts, paint: Colours, plot: StudyPlot) -> go.Figure:
    trials = [trial for trial in facts.trials if trial.history]
    if not trials:
        return empty_figure(plot.title, "No epoch of an ended trial is known.", paint)
    figure = new_figure(plot.title, plot.how, paint, x="epoch", y="validation accuracy")
    for state in STATES:
        some = [trial for trial in trials if trial.state == state and trial is not facts.best]
        x: list[int | None] = []
        y: list[float | None] = []
        tips: list[str] = []
        for trial in some:
            x += [*(epoch.epoch for epoch in trial.history), None]
            y += [*(epoch.val_accuracy for epoch in trial.history), None]
            tips += [f"trial {trial.number}"] * (len(trial.history) + 1)
        if some:
            figure.add_scatter(
                x=x, y=y, text=tips, mode="lines", name=state, opacity=0.55, connectgaps=False,
                line={"color": paint[state], "width": 1.2, "dash": "solid" if state == FINISHED else "dot"},
                hovertemplate="%{text}, epoch %{x}: %{y:.4f}<extra></extra>",
            )  # fmt: skip
    if facts.best is not None and facts.best.history:
        figure.add_scatter(
            x=[epoch.epoch for epoch in facts.best.history],
            y=[epoch.val_accuracy for epoch in facts.best.history],
            mode="lines",
            name=f"best: trial {facts.best.number}",
            line={"color": paint["text"], "width": 3},
            hovertemplate="epoch %{x}: %{y:.4f}<extra></extra>",
        )
    return figure.update_layout(xaxis=whole_axis([len(trial.history) for trial in trials] + [1]))


def accuracy_health(facts: StudyFacts, paint: Colours, plot: StudyPlot) -> go.Figure:
    trials = [trial for trial in facts.trials if trial.health is not None and trial.accuracy is not None]
    if not trials:
        return empty_figure(
            plot.title, "No trial has a health: it is measured at the end of trials that finish.", paint
        )
    figure = new_figure(plot.title, plot.how, paint, x="overall health", y="validation accuracy")
    _add_states(figure, trials, paint, lambda trial: trial.health, lambda trial: trial.accuracy)
    if facts.best is not None and facts.best.health is not None:
        star = {"symbol": "star-open", "size": 18, "color": paint["text"], "line": {"width": 2}}
        figure.add_scatter(
            x=[facts.best.health], y=[facts.best.accuracy], mode="markers", marker=star,
            name=f"best: trial {facts.best.number}", hoverinfo="skip",
        )  # fmt: skip
    return figure


def _add_states(
    figure: go.Figure,
    trials: Sequence[TrialResult],
    paint: Colours,
    x: Callable[[TrialResult], Any],
    y: Callable[[TrialResult], Any],
) -> None:
    """Add a point a trial, with a colour and a shape for each state."""
    for state, (symbol, *_) in STATES.items():
        some = [trial for trial in trials if trial.state == state]
        if some:
            figure.add_scatter(
                x=[x(trial) for trial in some],
                y=[y(trial) for trial in some],
                mode="markers",
                name=state,
                marker={"symbol": symbol, "color": paint[state], "size": 8},
                text=[tip(trial) for trial in some],
                hovertemplate="%{text}<extra></extra>",
            )
