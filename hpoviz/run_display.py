"""RunDisplay: how an optimizer shows itself."""

from __future__ import annotations

import abc
import contextlib
import threading
import traceback
from collections.abc import Callable
from typing import Any

from hpoviz import _html
from hpoviz._display import in_notebook, make_dashboard
from hpoviz.config import DASHBOARD
from hpoviz.health.weights import PARETO
from hpoviz.progress import ProgressView, TrialTable, duration, seconds_left, size
from hpoviz.results import RunStatus
from hpoviz.run_jobs import RunJobs

__all__ = ["RunDisplay"]


class RunDisplay(RunJobs):
    """The part of `hpoviz.Optimizer` that shows the search: as text, as a page, as a dashboard."""

    _dashboards: list[Any]  # changed in one step, and iterated over in copies: any thread may do so

    def _repr_mimebundle_(self, **_options: Any) -> Any:
        """Return the dashboard, and a page for where widgets are not shown; None outside of notebooks.

        With it comes what Colab must know to show widgets that are not its own.
        """
        return self._shown() if in_notebook() and self.request.config.display == DASHBOARD else None

    def _shown(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the dashboard's data and metadata, by MIME type."""
        shown = next(iter(tuple(self._dashboards)), None) or make_dashboard(self)
        data, metadata = shown._repr_mimebundle_()
        return data, metadata

    def _renew_dashboards(self) -> None:
        """Let every dashboard show settings and state as they are now."""
        self._tell_dashboards(lambda dashboard: dashboard.renew())

    def _cell_waits(self, waits: bool) -> None:
        """Tell every dashboard whether a cell waits for the end: what an interrupt of the kernel reaches."""
        if threading.current_thread() is threading.main_thread():
            self._tell_dashboards(lambda dashboard: dashboard.cell_waits(waits))

    def _tell_dashboards(self, tell: Callable[[Any], None]) -> None:
        """Tell every dashboard something; one that cannot be told does not stop the others."""
        for dashboard in tuple(self._dashboards):
            try:
                tell(dashboard)
            except Exception:
                traceback.print_exc()

    def __repr__(self) -> str:
        facts = "\n".join(f"  {name}: {value}" for name, value in self._facts())
        return f"<Optimizer\n{facts}\n  status: {self.status()}>"

    def _repr_html_(self) -> str:
        if self._log is None:
            return _html.settings(self._title(), self._facts(), self._problem.space.describe())
        with self._reading() as state:
            return _html.progress(self._title(), ProgressView.of(state), TrialTable.of(state))

    def _facts(self) -> list[tuple[str, str]]:
        request, split = self.request, self._problem.split
        patience = request.config.early_stopping_patience
        limits = {"max_parameters": request.max_parameters, "max_trial_minutes": request.max_trial_minutes}
        limits["timeout_hours"] = request.config.timeout_hours
        every = request.config.health_monitoring_frequency
        return [
            ("data", f"{self.data.name}: {len(split.x_train)} training, {len(split.x_val)} validation samples"),
            ("test set", f"{len(self.data.x_test)} samples, {self.data.test_origin}; for evaluate() only"),
            ("trials", str(self._wanted)),
            ("objective", f"{request.objective}: {request.scoring.describe()}"),
            ("health", f"looked at every {every} epoch(s), measured at the end" if every else "not measured"),
            ("selects", request.select.replace("_", " ")),
            ("architecture", self._problem.describe_architecture()),
            ("backend", self._backend.describe()),
            ("sampler", str(request.sampler)),
            ("pruner", "none, as there are several objectives" if request.objective == PARETO else str(request.pruner)),
            ("early stopping", "none" if patience is None else f"after {patience} epochs without a better one"),
            ("limits", ", ".join(f"{name}={value}" for name, value in limits.items() if value) or "none"),
            ("takes", self._takes()),
            ("seed", f"{self.seed}{'' if request.seed is not None else ' (drawn)'}"),
            ("run_dir", f"{self._folder}{'' if self._log else ' (created at start)'}"),
        ]

    def _takes(self) -> str:
        """Say how long the search takes and how much disk: as estimated, or as measured by its own trials."""
        with self._reading() as state:
            ended, wanted, left = state.counted, state.wanted, seconds_left(state)
        if ended:
            used = 0
            for path in self._folder.glob("trials/*/model.keras"):
                with contextlib.suppress(FileNotFoundError):  # a worse one may just have been deleted
                    used += path.stat().st_size
            text = f"{size(used)} of models on disk"
            if ended < wanted:
                text += f", about {size(used / ended * wanted)} in the end"
            return text if left is None else f"about {duration(left)} left; {text}"
        return repr(self._estimate) if self._estimate else "estimate() measures it in some seconds"

    def _title(self) -> str:
        return f"hpoviz · {self.data.name} · {self._backend.describe()} · {self._folder}"

    @abc.abstractmethod
    def status(self) -> RunStatus:
        """Return where the search stands."""
