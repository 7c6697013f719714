"""Figures of one trial: how it was trained, what its layers do, and where it is wrong."""

from __future__ import annotations

from collections.abc import Mapping

import plotly.graph_objects as go

from hpoviz.errors import HpovizError, StoreError
from hpoviz.plots.catalogue import TRIAL_FIGURES
from hpoviz.plots.look import Colours, colours, empty_figure, short, text_of
from hpoviz.plots.trial_facts import TrialFacts, TrialPlot
from hpoviz.plots.trial_layers import (
    activation_summary,
    dead_neurons,
    gradient_distributions,
    gradient_flow,
    weights_biases,
)
from hpoviz.plots.trial_pictures import activation_maps, activation_progression, mistakes
from hpoviz.plots.trial_predictions import calibration, confusion_matrix
from hpoviz.plots.trial_training import health_by_epoch, training

__all__ = ["TRIAL_PLOTS", "trial_figure"]


def trial_figure(name: str, facts: TrialFacts, theme: str = "light") -> go.Figure:
    """Return the figure of that name; one that says what is missing, where there is nothing to draw."""
    plot = TRIAL_PLOTS[name]
    return plot.draw(facts, colours(theme), plot)


def architecture(facts: TrialFacts, paint: Colours, plot: TrialPlot) -> go.Figure:
    from hpoviz.architecture.keras_adapter import graph_of
    from hpoviz.architecture.overview import overview
    from hpoviz.architecture.sample_recorder import SampleRecorder
    from hpoviz.architecture.scene3d import scene_figure

    try:
        model = facts.load()
    except StoreError as error:
        return empty_figure(plot.title, str(error), paint)
    graph, samples, played, why = graph_of(model), facts.samples, None, ""
    if samples is not None:
        row = facts.record.sample if facts.record is not None else 0
        chosen = samples.rows[row : row + 1]
        try:
            played = SampleRecorder(model, graph, (samples.x[chosen], samples.y[chosen])).played(0)
        except HpovizError as error:  # the model is drawn all the same
            why = f"No sample flows through it: {error}"
    figure = scene_figure(
        overview(graph, collapse=True), theme="light" if paint == colours("light") else "dark", played=played
    )
    if why:
        figure.add_annotation(text=text_of(short(why, 160)), showarrow=False, x=0, y=0, xref="paper", yref="paper")
    return figure


DRAWN = {
    "training": training,
    "gradient_flow": gradient_flow,
    "gradient_distributions": gradient_distributions,
    "dead_neurons": dead_neurons,
    "weights_biases": weights_biases,
    "activation_maps": activation_maps,
    "activation_summary": activation_summary,
    "activation_progression": activation_progression,
    "confusion_matrix": confusion_matrix,
    "mistakes": mistakes,
    "calibration": calibration,
    "health": health_by_epoch,
    "architecture": architecture,
}
TRIAL_PLOTS: Mapping[str, TrialPlot] = {name: TrialPlot(*text, DRAWN[name]) for name, text in TRIAL_FIGURES.items()}
