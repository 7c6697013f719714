"""Figures of a trial's training: how its figures and its health went from epoch to epoch."""

from __future__ import annotations

import dataclasses
from typing import Any

import plotly.graph_objects as go

from hpoviz.health.assessment import metrics_of
from hpoviz.health.metric import METRICS
from hpoviz.health.observation import Observation
from hpoviz.plots.look import Colours, empty_figure, log_axis, new_figure, new_grid, text_of
from hpoviz.plots.trial_facts import TrialFacts, TrialPlot, whole_epochs

__all__ = ["health_by_epoch", "training"]

OF_LAYERS = ("neuron_utilization", "parameter_efficiency", "gradient_health")  # metrics that every look gives
OF_CURVES = ("training_stability", "convergence_quality")
LINES = ("solid", "dash", "dot", "dashdot", "longdash", "solid")
TINTS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")  # Okabe and Ito: for all eyes


def training(facts: TrialFacts, paint: Colours, plot: TrialPlot) -> go.Figure:
    history = facts.result.history
    if not history:
        return empty_figure(plot.title, "The trial ended before its first epoch did.", paint)
    titles = ("Loss", "Accuracy", "Gap: training − validation accuracy", "Learning rate")
    figure = new_grid(plot.title, plot.how, paint, titles, across=1, each=190)
    epochs = [epoch.epoch for epoch in history]
    check = {"color": paint["finished"], "width": 2.5}
    train = {"color": paint["muted"], "width": 1.5, "dash": "dash"}
    for row, (ours, theirs) in enumerate((("loss", "val_loss"), ("accuracy", "val_accuracy")), start=1):
        for name, words, line in ((ours, "training", train), (theirs, "validation", check)):
            _add(figure, row, epochs, [getattr(epoch, name) for epoch in history], words, line, row == 1)
    gaps = [
        None if epoch.accuracy is None or epoch.val_accuracy is None else epoch.accuracy - epoch.val_accuracy
        for epoch in history
    ]
    _add(figure, 3, epochs, gaps, "gap", {"color": paint["failed"], "width": 2}, False)
    _add(
        figure, 4, epochs, [epoch.learning_rate for epoch in history], "learning rate", {"color": paint["text"]}, False
    )
    figure.update_yaxes(row=4, col=1, **log_axis([epoch.learning_rate for epoch in history]))
    if facts.result.best_epoch is not None:
        for row in (1, 2, 3):
            figure.add_vline(
                x=facts.result.best_epoch, line={"color": paint["text"], "dash": "dot", "width": 1}, row=row, col=1
            )
        figure.add_scatter(
            x=[None], y=[None], mode="lines", line={"color": paint["text"], "dash": "dot", "width": 1},
            name=f"kept: epoch {facts.result.best_epoch}",
        )  # fmt: skip
    return figure.update_xaxes(**whole_epochs(len(epochs))).update_xaxes(title_text="epoch", row=4, col=1)


def _add(figure: go.Figure, row: int, x: list[int], y: list[Any], name: str, line: dict[str, Any], key: bool) -> None:
    figure.add_scatter(
        x=x, y=y, mode="lines+markers" if len(x) < 40 else "lines", name=name, line=line, marker={"size": 4},
        showlegend=key, legendgroup=name, row=row, col=1,
        hovertemplate=f"epoch %{{x}}: %{{y:.4g}}<extra>{name}</extra>",
    )  # fmt: skip


def health_by_epoch(facts: TrialFacts, paint: Colours, plot: TrialPlot) -> go.Figure:
    if facts.health is None:
        return empty_figure(plot.title, facts.no_health, paint)
    figure = new_figure(plot.title, plot.how, paint, x="epoch", y="health, 0 to 1")
    curves = metrics_by_epoch(facts.health)
    for at, name in enumerate(METRICS):
        points = curves.get(name, [])
        if points:
            figure.add_scatter(
                x=[epoch for epoch, _ in points], y=[value for _, value in points], mode="lines+markers",
                name=text_of(name.replace("_", " ")), line={"color": TINTS[at], "dash": LINES[at], "width": 2},
                hovertemplate="epoch %{x}: %{y:.3f}",
            )  # fmt: skip
    figure.update_xaxes(**whole_epochs(max(snapshot.epoch for snapshot in facts.health.snapshots)))
    return figure.update_layout(yaxis={"range": [-0.03, 1.05]}, margin_b=120)


def metrics_by_epoch(seen: Observation) -> dict[str, list[tuple[int, float]]]:
    """Return what can be known of the six metrics after each epoch that was looked at.

    Those of layers come from the look after that epoch, those of curves from the epochs until then. What needs
    predictions is known of the end alone.
    """
    found: dict[str, list[tuple[int, float]]] = {name: [] for name in METRICS}
    ends = sorted({snapshot.epoch for snapshot in seen.snapshots if snapshot.epoch})
    for epoch in ends:
        until_now = (snapshot for snapshot in seen.snapshots if snapshot.epoch <= epoch)
        snapshots = sorted(until_now, key=lambda snapshot: snapshot.epoch)  # that of the best epoch is kept last
        until = {name: list(curve)[:epoch] for name, curve in seen.history.items()}
        part = dataclasses.replace(seen, snapshots=snapshots, history=until, epoch=epoch)
        for name, metric in metrics_of(part).items():
            if name in (*OF_LAYERS, *OF_CURVES) and metric.value is not None:
                found[name].append((epoch, metric.value))
    for name, metric in metrics_of(seen).items():
        if name not in (*OF_LAYERS, *OF_CURVES) and metric.value is not None:
            found[name].append((seen.epoch, metric.value))
    return found
