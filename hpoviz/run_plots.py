"""RunPlots: the figures of a search."""

from __future__ import annotations

import abc
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from hpoviz.errors import ConfigError, ExportError, HpovizError, StoreError, nearest
from hpoviz.events import TestEvaluated
from hpoviz.plots.catalogue import STUDY_FIGURES, figure_table
from hpoviz.progress import duration, health_text
from hpoviz.results import BASELINE, FINISHED, WARM_START, RunStatus
from hpoviz.run_results import RunResults
from hpoviz.search.space import SearchSpace
from hpoviz.search_code import search_code
from hpoviz.store.best_record import best_record
from hpoviz.store.run_store import RunStore, to_yaml, write_atomically
from hpoviz.summary import summarize

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from hpoviz.architecture.colouring import Theme
    from hpoviz.architecture.html_page import ModelView
    from hpoviz.health.report import HealthReport
    from hpoviz.plots.study_facts import StudyFacts
    from hpoviz.report_page import Report, Tile
    from hpoviz.tensorboard_view import TensorBoard
    from hpoviz.trial import Trial

__all__ = ["RunPlots"]


class RunPlots(RunResults):
    """The part of `hpoviz.Optimizer` that draws; plotly is imported when a figure is asked for."""

    _data_name: str | None

    def plots(self) -> pd.DataFrame:
        """Return the figures that `plot` draws: name, what each shows, how to read it."""
        return figure_table(STUDY_FIGURES)

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
        if name not in STUDY_FIGURES:
            raise ConfigError(
                f"There is no figure {name!r}.{nearest(str(name), STUDY_FIGURES)} Figures: {', '.join(STUDY_FIGURES)}."
            )
        from hpoviz.plots.study import study_figure

        return study_figure(name, self._study_facts(), theme)

    def tensorboard(self, log_dir: str | Path | None = None) -> TensorBoard:
        """Show the ended trials in TensorBoard: the real program, on this machine, as long as this process lives.

        Its files are written from what was recorded; nothing is trained or computed anew. Called again, it adds the
        trials that have ended since, to the TensorBoard that runs. Nothing in the folder is deleted.

        Parameters
        ----------
        log_dir : str or Path, optional
            Where its files go; None: ``tensorboard`` in the run's folder.

        Returns
        -------
        TensorBoard
            A notebook shows it as the last thing of a cell; its `url` is for a browser, `close` ends it.

        Raises
        ------
        ExportError
            The package tensorboard is missing (``pip install "hpoviz[lab]"``), or the program did not start.
        ConfigError
            The folder holds the trials of another search.
        StoreError
            No trial has ended, or the folder cannot be written.
        """
        from hpoviz.tensorboard_logs import LoggedSearch
        from hpoviz.tensorboard_view import show_tensorboard

        with self._reading() as state:
            trials, begun = state.numbered, dict(state.begun)
        search = LoggedSearch.of(self._folder, self._problem.space, trials, begun)
        where = self._folder / "tensorboard" if log_dir is None else Path(log_dir)
        return show_tensorboard(where, search, self._trial_folder)

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

    def report(self, path: str | os.PathLike[str], *, theme: str = "light") -> Path:
        """Write a page of the whole run: what was found, all figures, the trials, the best model, how to do it again.

        The page is one file that needs no network and can stand in a website, an iframe too. The test set is not
        looked at for it: its figure is on the page where `evaluate` was called before.

        Parameters
        ----------
        path : str or path
            Ends in ``.html`` or ``.htm``. An existing file is replaced, in one step.
        theme : {"light", "dark"}

        Returns
        -------
        Path
            Where it lies.

        Raises
        ------
        ConfigError
            There is no such theme.
        ExportError
            Another suffix, or a place where nothing can be written.
        StoreError
            The search has not begun.

        Examples
        --------
        >>> from hpoviz.optimizer import Optimizer
        >>> Optimizer("digits").report("run.html")
        Traceback (most recent call last):
            ...
        hpoviz.errors.StoreError: The search has not begun, so there is nothing to report. Call run() or start().
        """
        place = Path(path).expanduser()
        if place.suffix.lower() not in (".html", ".htm"):
            raise ExportError(f"{place.name!r} must end in .html or .htm, as a report is a page.")
        if theme not in ("light", "dark"):
            raise ConfigError(
                f"theme must be one of 'light', 'dark'. Got {theme!r}.{nearest(theme, ('light', 'dark'))}"
            )
        with self._reading() as state:
            begun = state.started is not None
        if not begun:
            raise StoreError("The search has not begun, so there is nothing to report. Call run() or start().")
        if not place.parent.is_dir():  # said before there is much to wait for
            raise _cannot_write(place, "there is no such folder")
        from hpoviz.report_page import report_page

        try:
            write_atomically(place, report_page(self._report("dark" if theme == "dark" else "light")).encode())
        except OSError as error:
            raise _cannot_write(place, error.strerror or str(error)) from error
        return place

    def _report(self, theme: Theme) -> Report:
        """Return what the page of the run shows."""
        from hpoviz.plots.study import STUDY_PLOTS, study_figure
        from hpoviz.plots.trial import TRIAL_PLOTS, trial_figure
        from hpoviz.report_page import Report

        facts, status = self._study_facts(), self.status()
        best, no_best, trial = None, "", []
        try:
            best = self._trial(self._best())
            seen = best._facts()
            trial = [
                (name, plot.title, trial_figure(name, seen, theme))
                for name, plot in TRIAL_PLOTS.items()
                if name != "architecture"  # which is played beside its graph
            ]
        except StoreError as error:
            no_best = str(error)
        health, no_health = self._report_health(best, no_best)
        model, no_model = self._report_model(best, no_best, health, theme)
        planned = [one for one in facts.trials if one.origin in (BASELINE, WARM_START)]
        began = min((time for time, _ in facts.begun.values()), default="")
        return Report(
            title=f"{self.data.name} · {self._problem.describe_architecture()}",
            subtitle=f"Hyperparameter search by hpoviz, run {self._folder.name}"
            + (f", begun {began[:16].replace('T', ' ')} UTC" if began else ""),
            summary=summarize(facts.trials, facts.best, facts.importances, self._problem.space),
            tiles=self._report_tiles(best, status),
            study=[(name, plot.title, study_figure(name, facts, theme)) for name, plot in STUDY_PLOTS.items()],
            trial=trial,
            trials=facts.trials,
            best=facts.best,
            no_best=no_best,
            model=model,
            no_model=no_model,
            health="" if health is None else health._repr_html_(),
            no_health=no_health,
            # Where the folder lies is nobody's business on a website.
            facts=[(name, self._folder.name if name == "run_dir" else value) for name, value in self._facts()],
            space=self._problem.space.describe(),
            versions=self._record["versions"],
            yaml="" if best is None else to_yaml(best_record(best.result, self._record)).decode(),
            code=search_code(self._data_name, self._record, status.wanted, planned),
            theme=theme,
        )

    def _report_tiles(self, best: Trial | None, status: RunStatus) -> list[Tile]:
        from hpoviz.report_page import Tile

        tiles = []
        if best is not None and best.accuracy is not None:
            tiles.append(Tile("validation accuracy", f"{best.accuracy:.4f}", f"trial {best.number}"))
            if best.score is not None and best.score != best.accuracy:
                tiles.append(Tile("score", f"{best.score:.4f}", self.request.scoring.describe()))
            if best.result.health is not None:
                tiles.append(Tile("health", health_text(best.result), "from 0 to 1"))
            tiles.append(Tile("weights", f"{best.result.parameters or 0:,}", "of the best model"))
        names = (FINISHED, "running", "pruned", "failed", "infeasible", "cancelled")
        counts = ", ".join(f"{getattr(status, name)} {name}" for name in names if getattr(status, name))
        ended = sum(getattr(status, name) for name in names if name not in ("running", "cancelled"))
        tiles.append(Tile("trials", f"{ended} of {status.wanted}", counts))
        tiles.append(Tile("time", duration(status.elapsed_s), status.phase))
        with self._reading() as state:
            looks = state.looks
        if looks:
            # A store of its own, as who has read all events may write.
            first = next(event for event in RunStore(self._folder).events() if isinstance(event, TestEvaluated))
            which = f"{'final training of ' if first.final else ''}trial {first.number}, {first.samples:,} samples"
            note = which if looks == 1 else f"{which}; the first of {looks} looks, which is the honest one"
            tiles.append(Tile("test accuracy", f"{first.accuracy:.4f}", note))
        return tiles

    def _report_health(self, best: Trial | None, no_best: str) -> tuple[HealthReport | None, str]:
        if best is None:
            return None, no_best
        try:
            return best.health, ""
        except StoreError as error:
            return None, self._without_folder(error)

    def _report_model(
        self, best: Trial | None, no_best: str, health: HealthReport | None, theme: Theme
    ) -> tuple[ModelView | None, str]:
        from hpoviz.architecture.html_page import trained_view

        if best is None:
            return None, no_best
        try:
            samples = self._problem.validation_samples
            view = trained_view(best.model, samples, health=health, performance=best.accuracy, theme=theme)
        except HpovizError as error:
            return None, self._without_folder(error)
        except Exception as error:  # of layers of the user's own: the rest of the page is worth having
            return None, f"The model cannot be shown: {type(error).__name__}: {error}"
        return view, ""

    def _without_folder(self, error: Exception) -> str:
        return str(error).replace(str(self._folder), self._folder.name)

    @abc.abstractmethod
    def _facts(self) -> list[tuple[str, str]]:
        """Return the settings by name, in words."""

    @abc.abstractmethod
    def status(self) -> RunStatus:
        """Return where the search stands."""


def _cannot_write(place: Path, why: str) -> ExportError:
    return ExportError(f"{str(place)!r} cannot be written: {why}. Name a folder that exists and that you may write to.")
