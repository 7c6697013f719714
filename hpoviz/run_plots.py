"""RunPlots: the figures of a search."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from hpoviz.errors import ConfigError, nearest
from hpoviz.run_results import RunResults
from hpoviz.search.space import SearchSpace

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from hpoviz.plots.study_facts import StudyFacts

__all__ = ["RunPlots"]


class RunPlots(RunResults):
    """The part of `hpoviz.Optimizer` that draws; plotly is imported when a figure is asked for."""

    def plots(self) -> pd.DataFrame:
        """Return the figures that `plot` draws: name, what each shows, how to read it."""
        from hpoviz.plots.study import STUDY_PLOTS

        return pd.DataFrame(
            [{"name": name, "shows": plot.title, "how_to_read": plot.how} for name, plot in STUDY_PLOTS.items()]
        )

    def plot(self, name: str = "history", *, theme: str = "light") -> go.Figure:
        """Return a figure of the search, drawn from its recorded numbers.

        Parameters
        ----------
        name : str
            One of `plots`: history, importance, parallel_coordinates, slice, contour, pareto, timeline,
            learning_curves, accuracy_health.
        theme : {"light", "dark"}

        Returns
        -------
        plotly.graph_objects.Figure
            With a sentence on how to read it; where there is nothing to draw yet, it says what is missing.

        Raises
        ------
        ConfigError
            There is no such figure or theme.

        Examples
        --------
        >>> from hpoviz.optimizer import Optimizer
        >>> Optimizer("digits").plot("history").layout.annotations[0].text
        'No trial has a score yet. Wait for the first to end.'
        """
        from hpoviz.plots.study import STUDY_PLOTS, study_figure

        if name not in STUDY_PLOTS:
            raise ConfigError(
                f"There is no figure {name!r}.{nearest(str(name), STUDY_PLOTS)} Figures: {', '.join(STUDY_PLOTS)}."
            )
        return study_figure(name, self._study_facts(), theme)

    def _study_facts(self) -> StudyFacts:
        from hpoviz.plots.study_facts import StudyFacts

        space = self._problem.space
        with self._reading() as state:
            trials, best, begun = state.numbered, state.best, dict(state.begun)
        return StudyFacts(
            trials=trials,
            best=best,
            score="validation accuracy" if self.request.objective != "health" else "score (accuracy and health)",
            importances=self._importances() if trials else {},
            domains=space.domains if isinstance(space, SearchSpace) else {},
            begun=begun,
        )
