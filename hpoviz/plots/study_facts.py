"""What figures of a search are drawn from, and what a figure is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import plotly.graph_objects as go

from hpoviz.plots.catalogue import LEAST_TRIALS
from hpoviz.plots.look import Colours, text_of
from hpoviz.progress import differing_params, health_text
from hpoviz.results import FINISHED, TrialResult
from hpoviz.search.space import Domain

__all__ = ["NO_PAIR", "NO_TRIAL", "StudyFacts", "StudyPlot", "tip"]

NO_TRIAL = "No trial has a score yet. Wait for the first to end."
NO_PAIR = "It needs two trials with a score whose parameters differ."


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudyFacts:
    """What figures of a search are drawn from.

    Attributes
    ----------
    trials : sequence of TrialResult
        The ended ones by number.
    best : TrialResult or None
    score : str
        What the score is, in words.
    importances : mapping of str to float
        In [0, 1], of however few trials; empty where they are not known.
    domains : mapping of str to Domain
        Where each parameter is searched; empty for a space that is a function.
    begun : mapping of int to (str, int)
        By trial id: when it began (ISO 8601), and on which slot.
    """

    trials: Sequence[TrialResult]
    best: TrialResult | None
    score: str
    importances: Mapping[str, float]
    domains: Mapping[str, Domain]
    begun: Mapping[int, tuple[str, int]]

    @property
    def scored(self) -> list[TrialResult]:
        """The trials that have a score."""
        return [trial for trial in self.trials if trial.score is not None]

    @property
    def finished(self) -> int:
        """How many trials have finished."""
        return sum(trial.state == FINISHED for trial in self.trials)

    @property
    def shares(self) -> Mapping[str, float]:
        """The importances, where enough trials have finished to tell."""
        return self.importances if self.finished >= LEAST_TRIALS else {}

    @property
    def ranked(self) -> list[str]:
        """The parameters that differ between trials with a score, the most important first where that is known."""
        names = differing_params(self.scored)
        return sorted(names, key=lambda name: -self.shares.get(name, 0.0))


@dataclasses.dataclass(frozen=True)
class StudyPlot:
    """A figure that can be asked for: what it shows, how to read it, and what draws it."""

    title: str
    how: str
    draw: Callable[[StudyFacts, Colours, StudyPlot], go.Figure]


def tip(trial: TrialResult) -> str:
    """Say what a trial is, under the pointer."""
    parts = [f"trial {trial.number}: {trial.state}"]
    parts += [f"score {trial.score:.4f}"] if trial.score is not None else []
    parts += [f"health {health_text(trial)}"] if trial.health is not None else []
    parts += [f"{trial.parameters:,} weights"] if trial.parameters is not None else []
    return "<br>".join(text_of(part) for part in parts)
