"""Optimizer: the front door of a search."""

from __future__ import annotations

import inspect
import os
import secrets
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpoviz._display import ProgressPump
from hpoviz.backends.backend import Backend
from hpoviz.config import DASHBOARD, NONE, OptimizationRequest, check_count
from hpoviz.data.catalog import load_dataset
from hpoviz.data.dataset import Dataset
from hpoviz.data.recorded_data import RecordedData
from hpoviz.errors import ConfigError
from hpoviz.events import TrialPlanned
from hpoviz.health.weights import PARETO
from hpoviz.plugins import load_plugin, plugin_names
from hpoviz.progress import seconds_left
from hpoviz.results import BASELINE, DEFAULTS, FINISHED, WARM_START, RunStatus
from hpoviz.run_display import RunDisplay
from hpoviz.run_record import Missing, data_record, execution_record, request_record
from hpoviz.running.estimate import Estimate
from hpoviz.running.search_problem import SearchProblem
from hpoviz.running.study_runner import StudyRunner
from hpoviz.search.sampler import check_sampler, make_pruner, make_sampler
from hpoviz.store.run_log import RunLog
from hpoviz.store.run_state import RunState
from hpoviz.store.run_store import RunStore, check_run_dir, new_run_dir

__all__ = ["Optimizer"]


class Optimizer(RunDisplay):
    """Searches the hyperparameters of a Keras classifier; creates nothing on disk before `start` or `run`.

    Use it from one thread. The search itself runs in a thread of its own, and dashboards start and stop it from theirs:
    a lock is held while something is begun, and while a job runs, so only one of them does.

    Parameters
    ----------
    data : Dataset or str
        What to classify; a string names a data set for `hpoviz.load_dataset`.
    **settings
        The fields of `hpoviz.OptimizationRequest`, described there: trials, objective, weights, select, seed, epochs,
        search_space, architecture, build_model, callbacks, backend, workers, sampler, pruner, validation_fraction,
        max_parameters, max_trial_minutes, run_dir, config.

    Raises
    ------
    ConfigError, DatasetError, StoreError
        For settings, data or a run_dir that cannot work; each says what to do.

    Examples
    --------
    >>> opt = Optimizer("digits", trials=20, search_space={"activation": "relu"}, seed=0)
    >>> opt.status()
    not started: no trials of 20; 0 s
    """

    def __init__(self, data: Dataset | str = "digits", **settings: Any) -> None:
        request = OptimizationRequest.from_keywords(settings)
        seed = secrets.randbelow(2**31) if request.seed is None else request.seed
        self._set_up(request, data, seed)
        self._data_name = data if isinstance(data, str) else None
        self._folder = new_run_dir(self.data.name) if request.run_dir is None else Path(request.run_dir)
        check_run_dir(self._folder)

    @classmethod
    def _reopened(
        cls,
        request: OptimizationRequest,
        missing: list[Missing],
        data: Dataset,
        log: RunLog,
        record: dict[str, Any],
    ) -> Optimizer:
        """Return an optimizer over a run on disk; see `open_run`."""
        opt = cls.__new__(cls)
        opt._set_up(request, data, record["seed"], record["architecture"])
        known = plugin_names("hpoviz.datasets")
        own = data.name not in known or isinstance(data, RecordedData)
        opt._data_name = None if own else data.name
        opt._folder, opt._log, opt._record, opt._missing = log.store.folder, log, record, missing
        with log.reading() as state:
            opt._wanted = state.wanted or request.trials
        return opt

    def _set_up(
        self, request: OptimizationRequest, data: Dataset | str, seed: int, architecture: str | None = None
    ) -> None:
        self._backend = _backend(request)
        self._backend.warm_up()  # first, as it takes seconds in which there is much to do here
        self.request, self.data, self.seed = request, _dataset(data), seed
        self._problem = SearchProblem(request, self.data, seed, architecture, takes_code=self._backend.takes_code)
        sampler = make_sampler(request.sampler, seed, request.config.startup_trials)
        if request.objective == PARETO and sampler is request.sampler:
            check_sampler(sampler, self._problem.space)
        make_pruner(request.pruner)
        self._dashboards = []
        self._at_work = threading.Lock()
        self._log = None  # from the start on, when the run is on disk
        self._record = {}
        self._missing: list[Missing] = []
        self._plan: list[dict[str, Any]] = []  # baselines and warm starts of a run that is not on disk yet
        self._runner: StudyRunner | None = None
        self._pump: ProgressPump | None = None
        self._job_runner = None
        self._wanted = request.trials
        self._estimate: Estimate | None = None

    # --- running -----------------------------------------------------------------------------------------------

    def start(self, more_trials: int = 0) -> None:
        """Start the search in the background, show its progress, and return at once.

        Where no trial is left to run it says so.

        Parameters
        ----------
        more_trials : int
            Trials on top of those asked for so far.

        Raises
        ------
        ConfigError
            The search is running already, or something must be passed again to `open_run`.
        StoreError
            The run's folder cannot be created.
        """
        if more_trials == 0 and not self._trials_left():
            self._check_ready()
            print(f"No trial is left of {self._wanted}: run(more_trials=10) goes on with ten more.", flush=True)
        self._begin(more_trials, display=self.request.config.display)

    def compare_with(self, params: Mapping[str, Any]) -> None:
        """Train a model with parameters of your own first, as the marked baseline of the search.

        It counts as one of the trials and is never pruned.

        Parameters
        ----------
        params : mapping
            Parameters by name, inside or outside of the search space; those left out have the values that the space
            has nearest to their defaults.

        Raises
        ------
        ConfigError
            Unknown names or wrong values.

        Examples
        --------
        >>> opt = Optimizer("digits", trials=20, seed=0)
        >>> opt.compare_with({"filters": 16, "num_layers_conv": 2})
        """
        self._add_to_plan(BASELINE, self._problem.completed(params), exact=True)

    def warm_start(self, source: Any, top: int = 3) -> None:
        """Begin the search with parameters that did well before.

        They are moved into the search space where they are outside of it.

        Parameters
        ----------
        source : mapping, Optimizer, str or path
            Parameters by name; or an earlier run, or the folder of one, whose best trials are taken.
        top : int
            How many trials of an earlier run.

        Raises
        ------
        ConfigError
            Unknown names, wrong values, an earlier run with another architecture, or one without finished trials.
        StoreError
            The folder holds no run.
        """
        if isinstance(source, Mapping):
            found = [self._problem.completed(source)]
        else:
            found = [self._problem.completed(params) for params in self._best_params_of(source, top)]
        for params in found:
            self._add_to_plan(WARM_START, params, exact=False)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the search ends, and return whether it has; an error of the search itself is raised here."""
        if self._runner is None:
            return True
        if not self._runner.wait(timeout_s):
            return False
        if self._pump is not None:
            self._pump.finish()
        if self._runner.error is not None:
            error, self._runner.error = self._runner.error, None
            raise error
        return True

    def stop(self) -> None:
        """Stop the search cleanly, within about 2 seconds; trials that have ended are kept.

        From another thread it also stops a cross-validation or a final training.
        """
        if (job := self._job_runner) is not None:
            job.stop()
            job.wait()
        if self._runner is not None and self._runner.running:
            self._runner.stop()
            self.wait()

    def run(self, more_trials: int = 0) -> None:
        """Search and wait for the end. Ctrl-C, or interrupting the kernel, stops cleanly and keeps what is done."""
        try:
            self.start(more_trials)
            self._cell_waits(True)
            self.wait()
        except KeyboardInterrupt:
            self.stop()
            print(f"Interrupted: stopped cleanly. {self.status()}. run() goes on.", flush=True)
        finally:
            self._cell_waits(False)

    def status(self) -> RunStatus:
        """Return where the search stands."""
        with self._reading() as state:
            counts, best, phase = dict(state.counts), state.best, state.finished_reason
            running = self._is_running()
            elapsed, cost = state.seconds() if running else state.elapsed_s, state.cost
            left = seconds_left(state) if running else None
        phase = phase or self._open_phase()
        names = ("finished", "running", "pruned", "failed", "infeasible", "cancelled")
        return RunStatus(
            phase=phase,
            wanted=self._wanted,
            best_score=best.score if best else None,
            best_number=best.number if best else None,
            elapsed_s=elapsed,
            left_s=left,
            cost=cost,
            **{name: counts.get(name, 0) for name in names},
        )

    # --- parts -------------------------------------------------------------------------------------------------

    def _trials_left(self) -> int:
        with self._reading() as state:
            return max(0, self._wanted - state.counted)

    def _check_ready(self) -> None:
        """Raise ConfigError unless something can be run now."""
        if self._is_running():
            raise ConfigError("This search is running already. Call wait() or stop() first.")
        missing = [self.data.refusal] if isinstance(self.data, RecordedData) else []
        if missing := missing + [str(item) for item in self._missing]:
            raise ConfigError("\n".join(missing))

    def _begin(self, more_trials: int = 0, *, display: str = NONE) -> None:
        """Start the search; dashboards that are on screen show it, and what `display` names."""
        check_count("more_trials", more_trials, least=0)
        try:
            with self._alone():
                self._check_ready()
                if self._pump is not None:
                    self._pump.finish()  # of the start before, which may still be telling of its end
                if self._log is None:
                    self._create()
                assert self._log is not None  # it was created or reopened
                runner = self._study_runner()
                pump = ProgressPump(  # before the search begins: what cannot be shown must not run unseen
                    self._log.reading,
                    self._is_running,
                    self._title(),
                    len(self._ended()),
                    display=display,
                    bundle=self._shown if display == DASHBOARD else None,
                    watchers=lambda: tuple(self._dashboards),
                )
                runner.start(self._wanted + more_trials)
                self._wanted += more_trials
                self._pump = pump
                pump.start()
        finally:
            self._renew_dashboards()

    def _stop_soon(self) -> None:
        """Ask what runs to stop, and return at once."""
        if self._job_runner is not None:
            self._job_runner.stop()
        if self._runner is not None:
            self._runner.stop()

    def _change(self, data: Dataset | str, request: OptimizationRequest) -> None:
        """Take other settings before anything is on disk; nothing is changed where they cannot work."""
        if (data is self.data or data == self._data_name) and request == self.request:
            return
        changed = Optimizer(data, **request.keywords())
        with self._alone():
            if self._log is not None:
                raise ConfigError("The search has begun meanwhile, with the settings it had.")
            for step in self._plan:
                changed._add_to_plan(step["origin"], changed._problem.completed(step["params"]), exact=step["exact"])
            kept = {"_dashboards": self._dashboards, "_at_work": self._at_work}
            self.__dict__.update(changed.__dict__ | kept)

    def _best_params_of(self, source: Any, top: int) -> list[Mapping[str, Any]]:
        """Return the parameters of the best trials of an earlier run."""
        check_count("top", top, least=1)
        if isinstance(source, Optimizer):
            architecture = source._problem.architecture
            with source._reading() as state:
                trials = state.numbered
        elif isinstance(source, str | os.PathLike):
            store, record = RunStore.open(Path(source))
            architecture, trials = record["architecture"], RunState(store.events()).numbered
        else:
            raise ConfigError(f"source must be parameters, an Optimizer or the folder of a run. Got {source!r}.")
        if architecture != self._problem.architecture:
            raise ConfigError(
                f"That run searched the architecture {architecture!r}, this one {self._problem.architecture!r}."
            )
        finished = [trial for trial in trials if trial.state == FINISHED]
        if not finished:
            raise ConfigError("That run has no finished trial to start with. Name another one.")
        return [trial.params for trial in sorted(finished, key=lambda trial: -(trial.score or 0))[:top]]

    def _add_to_plan(self, origin: str, params: dict[str, Any], *, exact: bool) -> None:
        self._check_data()
        step = {"origin": origin, "params": params, "exact": exact}
        if self._log is None:
            self._plan.append(step)
        else:
            self._log.record(TrialPlanned, **step)

    def _create(self) -> None:
        """Create the run on disk."""
        request = self.request
        self._record = {
            "run": self._folder.name,
            "data": data_record(self.data, self._problem.split),
            "objective": request.objective,
            "weights": request.scoring.to_dict(),
            "architecture": self._problem.architecture,
            "seed": self.seed,
            "search_space": self._problem.space.describe(),
            "request": request_record(request),
            **execution_record(request, self._backend.describe()),
        }
        self._log = RunLog(self._folder.name, RunStore.create(self._folder, self._record))
        plan = sorted(self._plan, key=lambda step: step["origin"] != BASELINE)
        if (defaults := self._problem.defaults()) is not None:
            plan.append({"origin": DEFAULTS, "params": defaults, "exact": False})
        for step in plan:
            self._log.record(TrialPlanned, **step)

    def _study_runner(self) -> StudyRunner:
        """Return what runs the study of a run that is on disk."""
        assert self._log is not None  # it was created or reopened
        if self._runner is None:
            self._runner = StudyRunner(
                self.request,
                self._problem,
                seed=self.seed,
                record=self._record,
                log=self._log,
                backend=self._backend,
            )
        return self._runner

    def _importances(self) -> dict[str, float]:
        return {} if self._is_running() else self._study_runner().importances()

    def _open_phase(self) -> str:
        """Say where a run is that has not ended."""
        if self._log is None:
            return "not started"
        if self._is_running():
            return "running"
        writer = self._log.store.writer()
        return f"written by {writer}" if writer else "interrupted"

    def _is_running(self) -> bool:
        return self._runner is not None and self._runner.running


def _dataset(data: Any) -> Dataset:
    if isinstance(data, str):
        return load_dataset(data)
    if not isinstance(data, Dataset):
        raise ConfigError(
            f"data must be an hpoviz.Dataset or the name of one. Got {type(data).__name__}. "
            "Make one with hpoviz.Dataset.from_arrays(x, y)."
        )
    return data


def _backend(request: OptimizationRequest) -> Backend:
    if isinstance(request.backend, str):
        backend = load_plugin("hpoviz.backends", request.backend)(workers=request.workers)
    else:
        backend = request.backend
    if not isinstance(backend, Backend):
        raise ConfigError(f"backend must be 'local', 'inline' or a backend object. Got {request.backend!r}.")
    if request.workers is not None and backend is request.backend:
        raise ConfigError("workers belongs to the backend object that you gave. Leave workers out.")
    return backend


Optimizer.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # so that Shift-Tab shows the settings
    [
        inspect.Parameter("data", inspect.Parameter.POSITIONAL_OR_KEYWORD, default="digits"),
        *(
            parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for parameter in inspect.signature(OptimizationRequest).parameters.values()
        ),
    ]
)
