"""What figures of a trial are drawn from, and what a figure is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import plotly.graph_objects as go

from hpoviz.architecture.palette import scale_colour
from hpoviz.data.validation_samples import ValidationSamples
from hpoviz.health.observation import Observation
from hpoviz.plots.look import Colours
from hpoviz.results import TrialResult
from hpoviz.training_record import Predictions, TrainingRecord

__all__ = ["TrialFacts", "TrialPlot", "add_epoch_scale", "epoch_colour", "whole_epochs"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrialFacts:
    """What figures of a trial are drawn from.

    Attributes
    ----------
    result : TrialResult
    record : TrainingRecord or None
    no_record : str
        Why there is no record.
    health : Observation or None
    no_health : str
        Why there is no health.
    samples : ValidationSamples or None
    load : callable
        Returns the trained model; StoreError without.
    """

    result: TrialResult
    record: TrainingRecord | None
    no_record: str
    health: Observation | None
    no_health: str
    samples: ValidationSamples | None
    load: Callable[[], Any]

    @property
    def looks(self) -> list[int]:
        """The looks of the record that the trial's epochs reach to: a pruned trial may have gone on for a while."""
        if self.record is None:
            return []
        return [at for at, epoch in enumerate(self.record.epochs) if epoch <= len(self.result.history)]

    @property
    def predictions(self) -> Predictions | None:
        """What the model says of the validation samples."""
        ended = self.result.state == "pruned"  # what it did before its worker let go does not count
        return None if self.record is None or ended else self.record.predictions

    def no_looks(self, what: str) -> str:
        """Say why nothing of the layers can be drawn."""
        problem = self.record.problem if self.record is not None else self.no_record
        return f"{what} cannot be drawn: {problem or 'the trial ended before it was looked at.'}"

    def no_predictions(self, what: str) -> str:
        """Say why nothing of the predictions can be drawn."""
        if self.record is None or self.record.problem:
            return self.no_looks(what)
        return f"{what} needs a trained model: the trial is {self.result.state} ({self.result.reason or 'no reason'})."

    def class_name(self, code: int) -> str:
        """Return the name of a class; its number where names are not known."""
        return str(code) if self.samples is None else self.samples.name(code)


@dataclasses.dataclass(frozen=True)
class TrialPlot:
    """A figure that can be asked for: what it shows, how to read it, and what draws it."""

    title: str
    how: str
    draw: Callable[[TrialFacts, Colours, TrialPlot], go.Figure]


def epoch_colour(share: float, paint: Colours) -> str:
    """Return the colour of an epoch, by the share of the training that is over; one that is seen on the paper."""
    return scale_colour(_seen(share, paint))


def whole_epochs(last: int) -> dict[str, Any]:
    """Return what makes the ticks of an axis whole epochs."""
    return {"tickformat": "d", "dtick": max(1, last // 8)}


def _seen(share: float, paint: Colours) -> float:
    """Leave out of the scale what is nearly black, or nearly white."""
    low, high = (0.0, 0.85) if paint["paper"] == "#ffffff" else (0.25, 1.0)
    return low + share * (high - low)


def add_epoch_scale(figure: go.Figure, epochs: Sequence[int], paint: Colours) -> None:
    """Add the key of lines that are coloured by epoch."""
    marker = {
        "color": [min(epochs), max(epochs)], "cmin": min(epochs), "cmax": max(epochs, default=1),
        "colorscale": [[step / 8, epoch_colour(step / 8, paint)] for step in range(9)], "showscale": True, "opacity": 0,
        "colorbar": {"title": {"text": "epoch"}, "thickness": 12, "tickfont": {"color": paint["text"]}},
    }  # fmt: skip
    figure.add_scatter(
        x=[None, None], y=[None, None], mode="markers", marker=marker, showlegend=False, hoverinfo="skip"
    )
