"""Figures of one trial: how it was trained, what its layers do, and where it is wrong."""

from __future__ import annotations

from collections.abc import Mapping

import plotly.graph_objects as go

from hpoviz.errors import StoreError
from hpoviz.plots.look import Colours, colours, empty_figure
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
    graph, samples, played = graph_of(model), facts.samples, None
    if samples is not None:
        row = facts.record.sample if facts.record is not None else 0
        chosen = samples.rows[[row]]
        played = SampleRecorder(model, graph, (samples.x[chosen], samples.y[chosen])).played(0)
    theme = "light" if paint == colours("light") else "dark"
    return scene_figure(overview(graph, collapse=True), theme="light" if theme == "light" else "dark", played=played)


TRIAL_PLOTS: Mapping[str, TrialPlot] = {
    "training": TrialPlot(
        "Training progress",
        "Good: both losses fall and then lie flat, with a small gap. A validation loss that rises again overfits; "
        "losses that stay high underfit; jumps ask for a lower learning rate.",
        training,
    ),
    "gradient_flow": TrialPlot(
        "Gradient flow",
        "Good: lines that are about level. A line that falls by powers of ten towards the first layers is a vanishing "
        "gradient, one that climbs an exploding one; the bottom is no gradient at all.",
        gradient_flow,
    ),
    "gradient_distributions": TrialPlot(
        "Gradient distributions",
        "Good: hills around zero that grow narrow as training converges. A spike at zero from the start means that a "
        "layer does not learn; very wide hills mean unsteady steps.",
        gradient_distributions,
    ),
    "dead_neurons": TrialPlot(
        "Dead neurons",
        "Units that say the same of every sample. Good: near zero, and not growing. From a fifth on a layer is smaller "
        "than it looks; lower the learning rate, or take an activation without a dead half.",
        dead_neurons,
    ),
    "weights_biases": TrialPlot(
        "Weights and biases",
        "Good: the end is wider than the beginning, without tails far out. No change means that a layer did not learn; "
        "ever wider means too large steps or too little regularisation.",
        weights_biases,
    ),
    "activation_maps": TrialPlot(
        "Activation maps",
        "What layers say of one sample, bright is more. Good: pictures that differ from each other. Flat or equal ones "
        "are channels that are not needed, or dead.",
        activation_maps,
    ),
    "activation_summary": TrialPlot(
        "Activation summary",
        "Good: means and spreads of the same order from layer to layer. Spreads that shrink layer by layer lose the "
        "signal; many zeros are usual after ReLU, many silent units are not.",
        activation_summary,
    ),
    "activation_progression": TrialPlot(
        "Activation progression",
        "How one channel of each layer, its liveliest, comes to what it says, from left to right (vectors: from top to "
        "bottom). Good: structure that appears early and then settles.",
        activation_progression,
    ),
    "confusion_matrix": TrialPlot(
        "Confusion matrix",
        "Good: a bright diagonal. Bright fields beside it are classes taken for each other; an empty column is a class "
        "that is never said.",
        confusion_matrix,
    ),
    "mistakes": TrialPlot(
        "Most confident mistakes",
        "True class → what the model says, and how sure it is. Wrong labels show here first; so do kinds of samples "
        "that training had too few of.",
        mistakes,
    ),
    "calibration": TrialPlot(
        "Calibration",
        "Good: on the diagonal, as often right as it is sure. Below it the model is too sure of itself, above it not "
        "sure enough.",
        calibration,
    ),
    "health": TrialPlot(
        "Health over epochs",
        "Good: lines that rise and stay up. A metric that falls while accuracy rises tells what the accuracy is bought "
        "with. What needs predictions is known of the end alone.",
        health_by_epoch,
    ),
    "architecture": TrialPlot(
        "Model architecture",
        "A box is what a layer gives out; play shows one sample flowing through it.",
        architecture,
    ),
}
