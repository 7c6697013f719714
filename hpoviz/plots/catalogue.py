"""Which figures there are, what they show, and how to read them; drawn elsewhere, as plotly takes a while to import."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import pandas as pd

__all__ = ["LEAST_TRIALS", "STUDY_FIGURES", "TRIAL_FIGURES", "FigureText", "figure_table"]


LEAST_TRIALS = 8  # below that many finished trials importances are noise


class FigureText(NamedTuple):
    """What a figure shows, and one sentence or two on how to read it."""

    title: str
    how: str


STUDY_FIGURES: Mapping[str, FigureText] = {
    "history": FigureText(
        "Optimisation history",
        "Dots climb while the search still learns; a line that has long been flat says that more trials bring little.",
    ),
    "importance": FigureText(
        "Parameter importance",
        "How much of the differences in score goes with each parameter (PED-ANOVA): search long bars further, fix "
        "short ones. With fewer than some 20 trials it is a hint.",
    ),
    "parallel_coordinates": FigureText(
        "Parallel coordinates",
        "A line is a trial, over five parameters, the most important where that is known; bright lines score high. "
        "Where those meet lies what good trials have in common. Drag along an axis to look at a part.",
    ),
    "slice": FigureText(
        "Slices",
        "Score by one parameter at a time, the most important first where that is known. A slope says which way to go, "
        "a cloud that it hardly matters, a peak at an edge that the range should be wider.",
    ),
    "contour": FigureText(
        "Two parameters together",
        "Mean score of the trials in each field, for two parameters, the most important where that is known; dots are "
        "trials, and empty fields were not tried.",
    ),
    "pareto": FigureText(
        "Accuracy, size and health",
        "Up is more accurate, left is smaller, bright is healthier. Ringed trials are beaten by no other in all "
        "three at once: choose among them.",
    ),
    "timeline": FigureText(
        "Timeline",
        "A bar is a trial on its slot, with its number. Gaps are time without a trial; many short bars are trials that "
        "were stopped early.",
    ),
    "learning_curves": FigureText(
        "Learning curves",
        "Validation accuracy of every trial. Good trials rise early and stay; curves that still rise at their end want "
        "more epochs.",
    ),
    "accuracy_health": FigureText(
        "Accuracy against health",
        "Up is more accurate, right is healthier. Accurate and ill models, top left, want a look before use.",
    ),
}

TRIAL_FIGURES: Mapping[str, FigureText] = {
    "architecture": FigureText(
        "Model architecture",
        "A box is what a layer gives out; play shows one sample flowing through it.",
    ),
    "training": FigureText(
        "Training progress",
        "Good: both losses fall and then lie flat, with a small gap. A validation loss that rises again overfits; "
        "losses that stay high underfit; jumps ask for a lower learning rate.",
    ),
    "gradient_flow": FigureText(
        "Gradient flow",
        "Good: lines that are about level. A line that falls by powers of ten towards the first layers is a vanishing "
        "gradient, one that climbs an exploding one; the bottom is no gradient at all.",
    ),
    "gradient_distributions": FigureText(
        "Gradient distributions",
        "Good: hills around zero that grow narrow as training converges. A spike at zero from the start means that a "
        "layer does not learn; very wide hills mean unsteady steps.",
    ),
    "dead_neurons": FigureText(
        "Dead neurons",
        "Units that say the same of every sample. Good: near zero, and not growing. From a third on a layer is smaller "
        "than it looks; lower the learning rate, or take an activation without a dead half.",
    ),
    "weights_biases": FigureText(
        "Weights and biases",
        "Good: the end is wider than the beginning, without tails far out. No change means that a layer did not learn; "
        "ever wider means too large steps or too little regularisation.",
    ),
    "activation_maps": FigureText(
        "Activation maps",
        "What layers say of one sample, bright is more. Good: pictures that differ from each other. Flat or equal ones "
        "are channels that are not needed, or dead.",
    ),
    "activation_summary": FigureText(
        "Activation summary",
        "Good: means and spreads of the same order from layer to layer. Spreads that shrink layer by layer lose the "
        "signal; many zeros are usual after ReLU, many silent units are not.",
    ),
    "activation_progression": FigureText(
        "Activation progression",
        "How one channel of each layer, its liveliest, comes to what it says, from left to right (vectors: from top to "
        "bottom). Good: structure that appears early and then settles.",
    ),
    "confusion_matrix": FigureText(
        "Confusion matrix",
        "Good: a bright diagonal (brightness is the share of the true class). Bright fields beside it are classes "
        "taken for each other; an empty column is a class that is never said.",
    ),
    "mistakes": FigureText(
        "Most confident mistakes",
        "True class → what the model says, and how sure it is. Wrong labels show here first; so do kinds of samples "
        "that training had too few of.",
    ),
    "calibration": FigureText(
        "Calibration",
        "Good: on the diagonal, as often right as it is sure. Below it the model is too sure of itself, above it not "
        "sure enough.",
    ),
    "health": FigureText(
        "Health over epochs",
        "Good: lines that rise and stay up. A metric that falls while accuracy rises tells what the accuracy is bought "
        "with. What needs predictions is known of the end alone.",
    ),
}


def figure_table(figures: Mapping[str, FigureText]) -> pd.DataFrame:
    """Return figures as a table: name, what each shows, how to read it."""
    return pd.DataFrame(
        [{"name": name, "shows": figure.title, "how_to_read": figure.how} for name, figure in figures.items()]
    )
