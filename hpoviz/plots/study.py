"""Figures of a whole search: what it found, when, and which parameters mattered."""

from __future__ import annotations

from collections.abc import Mapping

import plotly.graph_objects as go

from hpoviz.plots.catalogue import STUDY_FIGURES
from hpoviz.plots.look import colours
from hpoviz.plots.study_facts import StudyFacts, StudyPlot
from hpoviz.plots.study_parameters import contour, importance, parallel_coordinates, slices
from hpoviz.plots.study_scores import accuracy_health, learning_curves, pareto, score_history, timeline

__all__ = ["STUDY_PLOTS", "study_figure"]


def study_figure(name: str, facts: StudyFacts, theme: str = "light") -> go.Figure:
    """Return the figure of that name; one that says what is missing, where there is nothing to draw."""
    plot = STUDY_PLOTS[name]
    return plot.draw(facts, colours(theme), plot)


DRAWN = {
    "history": score_history,
    "importance": importance,
    "parallel_coordinates": parallel_coordinates,
    "slice": slices,
    "contour": contour,
    "pareto": pareto,
    "timeline": timeline,
    "learning_curves": learning_curves,
    "accuracy_health": accuracy_health,
}
STUDY_PLOTS: Mapping[str, StudyPlot] = {name: StudyPlot(*text, DRAWN[name]) for name, text in STUDY_FIGURES.items()}
