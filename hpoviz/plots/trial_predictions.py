"""Figures of a trial's predictions: which classes it takes for which, and how far its confidence can be trusted."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from hpoviz.plots.look import SCALE, Colours, empty_figure, new_figure, new_grid, short, text_of
from hpoviz.plots.trial_facts import TrialFacts, TrialPlot
from hpoviz.training_record import Predictions

__all__ = ["calibration", "calibration_error", "confusion_matrix"]

MOST_CLASSES, MOST_WRITTEN, MOST_PAIRS = 40, 12, 20
CONFIDENCE_BINS = 10


def confusion_matrix(facts: TrialFacts, paint: Colours, plot: TrialPlot) -> go.Figure:
    said = facts.predictions
    if said is None:
        return empty_figure(plot.title, facts.no_predictions("A confusion matrix"), paint)
    classes = max(int(said.labels.max()), int(said.predicted.max())) + 1
    if facts.samples is not None:
        classes = max(classes, len(facts.samples.class_names))
    counts = np.zeros((classes, classes), int)
    np.add.at(counts, (said.labels, said.predicted), 1)
    if classes > MOST_CLASSES:
        return _pairs(facts, paint, plot, counts)
    names = [text_of(short(facts.class_name(code), 14)) for code in range(classes)]
    if len(set(names)) < classes:
        names = [f"{code} {name}" for code, name in enumerate(names)]
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    figure = new_figure(
        plot.title, plot.how, paint, x="predicted class", y="true class", height=230 + max(220, 26 * classes)
    )
    figure.add_heatmap(
        x=names, y=names, z=np.round(shares, 4).tolist(), customdata=counts.tolist(), colorscale=SCALE, zmin=0, zmax=1,
        text=counts.tolist() if classes <= MOST_WRITTEN else None,
        texttemplate="%{text}" if classes <= MOST_WRITTEN else None, textfont={"size": 11},
        colorbar={"tickformat": ".0%", "thickness": 12},
        hovertemplate="%{y} taken for %{x}: %{customdata} (%{z:.1%} of the class)<extra></extra>",
    )  # fmt: skip
    figure.update_yaxes(autorange="reversed", showgrid=False, type="category")
    return figure.update_xaxes(showgrid=False, type="category", tickangle=-45 if classes > 6 else None)


def _pairs(facts: TrialFacts, paint: Colours, plot: TrialPlot, counts: np.ndarray) -> go.Figure:
    """Draw the commonest confusions of very many classes."""
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    order = [at for at in np.argsort(-wrong, axis=None, kind="stable")[:MOST_PAIRS] if wrong.flat[at]]
    if not order:
        return empty_figure(plot.title, "No validation sample was taken for another class.", paint)
    how = f"The commonest of the confusions between {len(counts)} classes; the others are fewer."
    height = 160 + 24 * len(order)
    figure = new_figure(plot.title, how, paint, x="validation samples", height=height)
    pairs = [divmod(int(at), len(counts)) for at in reversed(order)]
    figure.add_bar(
        x=[int(wrong[pair]) for pair in pairs], orientation="h", marker={"color": paint["failed"]},
        y=[text_of(f"{short(facts.class_name(true))} → {short(facts.class_name(other))}") for true, other in pairs],
        hovertemplate="%{y}: %{x}<extra></extra>",
    )  # fmt: skip
    return figure


def calibration(facts: TrialFacts, paint: Colours, plot: TrialPlot) -> go.Figure:
    said = facts.predictions
    if said is None:
        return empty_figure(plot.title, facts.no_predictions("Calibration"), paint)
    confidence, accuracy, counts = _bins(said)
    error = calibration_error(said)
    titles = (f"Expected calibration error {error:.3f}", "Samples")
    figure = new_grid(
        plot.title, plot.how, paint, titles, across=1, each=220, shared_xaxes=True, row_heights=[0.7, 0.3]
    )
    diagonal = {"color": paint["muted"], "dash": "dash"}
    figure.add_scatter(x=[0, 1], y=[0, 1], mode="lines", line=diagonal, name="as sure as right", row=1, col=1)
    some = counts > 0
    figure.add_scatter(
        x=confidence[some].tolist(), y=accuracy[some].tolist(), mode="lines+markers", name="the model",
        line={"color": paint["finished"], "width": 2.5}, marker={"size": 8}, customdata=counts[some].tolist(),
        hovertemplate="says %{x:.1%}, is right in %{y:.1%} of %{customdata}<extra></extra>", row=1, col=1,
    )  # fmt: skip
    middles = (np.arange(CONFIDENCE_BINS) + 0.5) / CONFIDENCE_BINS
    figure.add_bar(
        x=middles.tolist(), y=counts.tolist(), width=0.95 / CONFIDENCE_BINS, marker={"color": paint["finished"]},
        showlegend=False, hovertemplate="%{y} samples<extra></extra>", row=2, col=1,
    )  # fmt: skip
    figure.update_xaxes(range=[0, 1.01], tickformat=".0%")
    figure.update_xaxes(title_text="confidence in the predicted class", row=2, col=1)
    figure.update_yaxes(title_text="share that is right", tickformat=".0%", range=[0, 1.03], row=1, col=1)
    return figure.update_yaxes(title_text="samples", row=2, col=1)


def calibration_error(said: Predictions) -> float:
    """Return the expected calibration error: the mean distance of confidence from accuracy, in [0, 1].

    Over ten bins of equal width, weighted by their samples (Naeini, Cooper and Hauskrecht 2015; Guo et al. 2017).

    Examples
    --------
    >>> half = np.full(2, 0.75, np.float32)
    >>> calibration_error(Predictions(np.arange(2), np.array([0, 1]), np.array([0, 0]), half, half))
    0.25
    """
    confidence, accuracy, counts = _bins(said)
    return float((np.abs(confidence - accuracy) * counts).sum() / counts.sum())


def _bins(said: Predictions) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean confidence, share that is right, and number of samples, by confidence; each (bins,)."""
    sure, right = said.confidence.astype(np.float64), said.labels == said.predicted
    at = np.minimum((sure * CONFIDENCE_BINS).astype(int), CONFIDENCE_BINS - 1)
    counts = np.bincount(at, minlength=CONFIDENCE_BINS)
    some = np.maximum(counts, 1)
    confidence = np.bincount(at, sure, CONFIDENCE_BINS) / some
    return confidence, np.bincount(at, right, CONFIDENCE_BINS) / some, counts
