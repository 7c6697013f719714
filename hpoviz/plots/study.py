"""Figures of a whole search: what it found, when, and which parameters mattered."""

from __future__ import annotations

from collections.abc import Mapping

import plotly.graph_objects as go

from hpoviz.plots.look import colours
from hpoviz.plots.study_facts import StudyFacts, StudyPlot
from hpoviz.plots.study_parameters import contour, importance, parallel_coordinates, slices
from hpoviz.plots.study_scores import accuracy_health, learning_curves, pareto, score_history, timeline

__all__ = ["STUDY_PLOTS", "study_figure"]


def study_figure(name: str, facts: StudyFacts, theme: str = "light") -> go.Figure:
    """Return the figure of that name; one that says what is missing, where there is nothing to draw."""
    plot = STUDY_PLOTS[name]
    return plot.draw(facts, colours(theme), plot)


STUDY_PLOTS: Mapping[str, StudyPlot] = {
    "history": StudyPlot(
        "Optimisation history",
        "Dots climb while the search still learns; a line that has long been flat says that more trials bring little.",
        score_history,
    ),
    "importance": StudyPlot(
        "Parameter importance",
        "How much of the differences in score goes with each parameter (PED-ANOVA): search long bars further, fix "
        "short ones. With fewer than some 20 trials it is a hint.",
        importance,
    ),
    "parallel_coordinates": StudyPlot(
        "Parallel coordinates",
        "A line is a trial; bright lines score high. Where bright lines meet lies what good trials have in common. "
        "Drag along an axis to look at a part.",
        parallel_coordinates,
    ),
    "slice": StudyPlot(
        "Slices",
        "Score by one parameter at a time, the most important first. A slope says which way to go, a cloud that it "
        "hardly matters, a peak at an edge that the range should be wider.",
        slices,
    ),
    "contour": StudyPlot(
        "Two parameters together",
        "Mean score of the trials in each field, for the two most important parameters; dots are trials, and empty "
        "fields were not tried.",
        contour,
    ),
    "pareto": StudyPlot(
        "Accuracy, size and health",
        "Up is more accurate, left is smaller, bright is healthier. Ringed trials are beaten by no other in all "
        "three at once: choose among them.",
        pareto,
    ),
    "timeline": StudyPlot(
        "Timeline",
        "A bar is a trial on its slot, with its number. Gaps are time without a trial; many short bars are trials that "
        "were stopped early.",
        timeline,
    ),
    "learning_curves": StudyPlot(
        "Learning curves",
        "Validation accuracy of every trial. Good trials rise early and stay; curves that still rise at their end want "
        "more epochs.",
        learning_curves,
    ),
    "accuracy_health": StudyPlot(
        "Accuracy against health",
        "Up is more accurate, right is healthier. Accurate and ill models, top left, want a look before use.",
        accuracy_health,
    ),
}
