"""Figures of a trial's layers: gradients, weights and activations, from layer to layer and from epoch to epoch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from hpoviz.plots.look import Colours, empty_figure, log_axis, new_figure, new_grid, short, text_of
from hpoviz.plots.trial_facts import TrialFacts, TrialPlot, add_epoch_scale, epoch_colour, whole_epochs
from hpoviz.training_record import Histograms, TrainingRecord, evenly

__all__ = ["activation_summary", "dead_neurons", "gradient_distributions", "gradient_flow", "weights_biases"]

MOST_FIELDS, MOST_LINES = 6, 10
LEAST_NORM = 1e-12  # where a logarithmic axis ends
BIASES = ("bias", "beta")


def gradient_flow(facts: TrialFacts, paint: Colours, plot: TrialPlot) -> go.Figure:
    record, looks = facts.record, facts.looks
    if record is None or not looks or not record.tensors:
        return empty_figure(plot.title, facts.no_looks("The flow of gradients"), paint)
    figure = new_figure(
        plot.title, plot.how, paint, x="layer, from the first to the last", y="norm of the loss gradient (log)"
    )
    layers = list(dict.fromkeys(layer for layer, _ in record.tensors))
    of = np.array([layers.index(layer) for layer, _ in record.tensors])
    last = max(int(record.epochs[looks[-1]]), 1)
    for look in looks:
        squares = np.zeros(len(layers))
        np.add.at(squares, of, np.square(record.gradient_norms[look].astype(np.float64)))
        norms = [float(norm) if np.isfinite(norm) else None for norm in np.sqrt(squares)]
        epoch = int(record.epochs[look])
        figure.add_scatter(
            x=_distinct([short(layer) for layer in layers]),
            y=[None if norm is None else max(norm, LEAST_NORM) for norm in norms],
            mode="lines+markers",
            line={"color": epoch_colour(epoch / last, paint), "width": 3 if look == looks[-1] else 1.5},
            showlegend=False,
            hovertemplate=f"epoch {epoch}, %{{x}}: %{{y:.3g}}<extra></extra>",
        )
    add_epoch_scale(figure, [int(record.epochs[look]) for look in looks], paint)
    return figure.update_layout(yaxis=log_axis([y for line in figure.data for y in line.y]))


def gradient_distributions(facts: TrialFacts, paint: Colours, plot: TrialPlot) -> go.Figure:
    record, looks = facts.record, facts.looks
    if record is None or not looks or not record.tensors:
        return empty_figure(plot.title, facts.no_looks("Gradients"), paint)
    chosen = [at for at, (_, name) in enumerate(record.tensors) if name not in BIASES]
    return _ridges(facts, paint, plot, record, record.gradients, chosen, "gradient")


def weights_biases(facts: TrialFacts, paint: Colours, plot: TrialPlot) -> go.Figure:
    record, looks = facts.record, facts.looks
    if record is None or not looks or not record.tensors:
        return empty_figure(plot.title, facts.no_looks("Weights"), paint)
    weights = [at for at, (_, name) in enumerate(record.tensors) if name not in BIASES]
    biases = [at for at, (_, name) in enumerate(record.tensors) if name in BIASES]
    half = MOST_FIELDS // 2
    chosen = sorted([*_ends(weights, MOST_FIELDS - min(half, len(biases))), *_ends(biases, half)])
    return _ridges(facts, paint, plot, record, record.weights, chosen, "value")


def _ridges(
    facts: TrialFacts, paint: Colours, plot: TrialPlot, record: TrainingRecord, spread: Histograms,
    chosen: Sequence[int], axis: str,
) -> go.Figure:  # fmt: skip
    """Draw how tensors are spread at the beginning, in the middle and at the end."""
    if not chosen:
        return empty_figure(plot.title, "Only biases are trained in this model.", paint)
    chosen = _ends(chosen, MOST_FIELDS)
    titles = [f"{short(record.tensors[at][0])}: {record.tensors[at][1]}" for at in chosen]
    figure = new_grid(plot.title, plot.how, paint, titles, across=min(2, len(titles)), each=190)
    looks = facts.looks
    shown = sorted({looks[0], looks[len(looks) // 2], looks[-1]})
    tints = dict(zip(shown, (paint["muted"], paint["pruned"], paint["finished"])[-len(shown) :], strict=True))
    for place, tensor in enumerate(chosen):
        for look in shown:
            x, y = spread.density(look, tensor)
            if not np.isfinite(x).all():
                continue
            y = y / y.max()
            name = f"epoch {record.epochs[look]}"
            figure.add_scatter(
                x=_rounded(x), y=_rounded(y), mode="lines", name=name, legendgroup=name, showlegend=place == 0,
                line={"color": tints[look], "width": 2, "dash": "solid" if look == shown[-1] else "dot"},
                fill="tozeroy" if look == shown[-1] else None, hovertemplate="%{x:.3g}<extra>" + name + "</extra>",
                row=place // 2 + 1, col=place % 2 + 1,
            )  # fmt: skip
    figure.update_xaxes(tickformat=".2~g", nticks=4).update_yaxes(showticklabels=False)
    figure.update_xaxes(title_text=axis, row=-(-len(titles) // 2), col=1)
    return figure.update_yaxes(title_text="how often", col=1)


def dead_neurons(facts: TrialFacts, paint: Colours, plot: TrialPlot) -> go.Figure:
    record, looks = facts.record, facts.looks
    if record is None or not looks or not record.layers:
        return empty_figure(plot.title, facts.no_looks("Silent units"), paint)
    figure = new_figure(plot.title, plot.how, paint, x="epoch", y="share of silent units")
    shares = record.silent[looks] / np.maximum(record.units, 1)
    some = [at for at in range(len(record.layers)) if record.silent[looks, at].any()]
    worst = sorted(some, key=lambda at: (-shares[-1, at], -shares[:, at].max(), at))[:MOST_LINES]
    for place, at in enumerate(sorted(worst)):
        figure.add_scatter(
            x=record.epochs[looks].tolist(), y=shares[:, at].tolist(), mode="lines+markers",
            name=text_of(short(record.layers[at])), line={"color": epoch_colour(place / max(len(worst) - 1, 1), paint)},
            marker={"symbol": place, "size": 7},
            customdata=[[int(silent), int(record.units[at])] for silent in record.silent[looks, at]],
            hovertemplate="epoch %{x}: %{customdata[0]} of %{customdata[1]} units",
        )  # fmt: skip
    quiet = len(record.layers) - len(some)
    if quiet:
        words = f"no unit was ever silent in {quiet if some else 'any'} of the {len(record.layers)} layers"
        ends = [0] * len(looks)
        line = {"color": paint["muted"], "dash": "dash"}
        figure.add_scatter(
            x=record.epochs[looks].tolist(), y=ends, mode="lines", line=line, name=words, hoverinfo="skip"
        )
    rows = 2 + len(worst) // 3
    figure.update_xaxes(**whole_epochs(int(record.epochs[looks[-1]])))
    figure.update_layout(yaxis={"range": [-0.03, 1.05], "tickformat": ".0%"}, margin_b=64 + 20 * rows, showlegend=True)
    return figure.update_layout(height=figure.layout.height + 20 * rows)


def activation_summary(facts: TrialFacts, paint: Colours, plot: TrialPlot) -> go.Figure:
    record, looks = facts.record, facts.looks
    if record is None or not looks or not record.layers:
        return empty_figure(plot.title, facts.no_looks("Activations"), paint)
    titles = ("Mean and standard deviation", "Share of exact zeros, and of silent units")
    figure = new_grid(plot.title, plot.how, paint, titles, across=1, each=230, shared_xaxes=True)
    names = _distinct([short(layer) for layer in record.layers])
    first, last = looks[0], looks[-1]
    for look, tint, symbol in ((first, paint["muted"], "circle-open"), (last, paint["finished"], "circle")):
        spread = record.std[look].tolist()
        figure.add_scatter(
            x=names, y=record.mean[look].tolist(), mode="markers", name=f"epoch {record.epochs[look]}",
            marker={"color": tint, "symbol": symbol, "size": 9}, row=1, col=1,
            error_y={"array": spread, "color": tint, "thickness": 1.5}, customdata=spread,
            hovertemplate="%{x}: mean %{y:.3g}, standard deviation %{customdata:.3g}",
        )  # fmt: skip
    silent = (record.silent[last] / np.maximum(record.units, 1)).tolist()
    for values, words, tint, pattern in (
        (record.zeros[last].tolist(), "zeros", paint["finished"], ""),
        (silent, "silent units", paint["failed"], "/"),
    ):
        figure.add_bar(
            x=names, y=values, name=words, marker={"color": tint, "pattern": {"shape": pattern}}, row=2, col=1,
            hovertemplate="%{x}: %{y:.1%}",
        )  # fmt: skip
    figure.update_xaxes(tickmode="linear", dtick=1, tickangle=-45, row=2, col=1)
    figure.update_yaxes(title_text="activation", row=1, col=1)
    return figure.update_yaxes(title_text="share", tickformat=".0%", range=[0, 1.02], row=2, col=1)


def _ends(items: Sequence[int], most: int) -> list[int]:
    return [items[at] for at in evenly(len(items), most)]


def _distinct(names: Sequence[str]) -> list[str]:
    """Return names of which no two are equal, as plotly takes equal ones for one place."""
    seen: dict[str, int] = {}
    found = []
    for name in map(text_of, names):
        seen[name] = seen.get(name, 0) + 1
        found.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return found


def _rounded(values: np.ndarray) -> list[Any]:
    return [float(f"{value:.4g}") for value in values]
