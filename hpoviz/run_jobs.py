"""RunJobs: trainings beside the search, on its backend."""

from __future__ import annotations

import abc
import contextlib
import threading
from collections.abc import Iterator

from hpoviz._display import ProgressPump
from hpoviz.backends.backend import Backend
from hpoviz.config import check_count
from hpoviz.errors import ConfigError
from hpoviz.results import FINISHED
from hpoviz.run_plots import RunPlots
from hpoviz.running.estimate import Estimate, calibrate
from hpoviz.running.job_runner import Job, JobRunner
from hpoviz.running.jobs import CrossValidation, FinalModel, cross_validation, final_training
from hpoviz.store.run_log import EventLog, JobLog
from hpoviz.store.run_store import trial_path

__all__ = ["RunJobs"]


class RunJobs(RunPlots):
    """The part of `hpoviz.Optimizer` that trains models beside the search and waits for them.

    The other part fills these in.

    Attributes
    ----------
    seed : int
    """

    seed: int
    _at_work: threading.Lock
    _backend: Backend
    _wanted: int
    _estimate: Estimate | None
    _job_runner: JobRunner | None

    def estimate(self) -> Estimate:
        """Measure how long the search will take and how much disk.

        A few models train for two epochs on a part of the data, on the backend of the search: some seconds, and nothing
        stays on disk. The repr of the search shows the figures, and once trials have ended, what they say.

        Raises
        ------
        ConfigError
            The search is running, or no model of the space could be trained.
        """
        title = f"hpoviz · {self.data.name} · {self._backend.describe()} · estimating"
        with self._alone():
            self._check_ready()
            self._estimate = calibrate(
                self._problem,
                self._backend,
                trials=self._wanted,
                seed=self.seed,
                watch=lambda runner, log: _watch(runner, log, title, self.request.config.display),
            )
        return self._estimate

    def cross_validate(self, top: int = 3, folds: int = 5) -> CrossValidation:
        """Train the best trials anew on every fold of the data, and say how steady they are.

        Runs on the backend of the search and waits for the end; Ctrl-C stops it and keeps what is done. Each training
        keeps its best epoch by its own fold, as in the search, so all means are a little too high, by the same rule.

        Parameters
        ----------
        top : int
            How many of the finished trials, the best first.
        folds : int
            Into how many parts training and validation data together are split, by class and group; at least 2.

        Raises
        ------
        ConfigError, DatasetError
            Wrong numbers, or more folds than a class has samples or groups.
        StoreError
            No trial has finished, or the run cannot be written.
        """
        check_count("top", top, least=1)
        check_count("folds", folds, least=2)
        self._best()  # StoreError if there is none
        chosen = [trial for trial in self._ended() if trial.state == FINISHED]
        chosen = sorted(chosen, key=lambda trial: -(trial.score or 0))[:top]
        job = cross_validation(
            chosen,
            self.data,
            folds,
            seed=self.seed,
            run=self._record["run"],
            architecture=self._problem.architecture,
            patience=self.request.config.early_stopping_patience,
        )
        log = self._run_job(job)
        with log.reading() as state:
            return CrossValidation.of(state, chosen, folds)

    def train_final(self, epochs: int | None = None) -> FinalModel:
        """Train a model with the best parameters on training and validation data together, for use.

        Runs on the backend of the search and waits for the end; Ctrl-C stops it. There is no data left to stop by, so
        it trains the epochs that were best in the search, with the learning rates of then.

        Parameters
        ----------
        epochs : int, optional
            Another number of epochs.

        Raises
        ------
        StoreError
            No trial has finished, the training gave no model, or the run cannot be written.
        """
        if epochs is not None:
            check_count("epochs", epochs, least=1)
        best = self._best()
        job = final_training(
            best,
            self.data,
            epochs,
            family=self._problem.family,
            run=self._record["run"],
            architecture=self._problem.architecture,
        )
        log = self._run_job(job)
        with log.reading() as state:
            return FinalModel.of(state, trial_path(self._folder, 0, log.job))

    def _run_job(self, job: Job) -> JobLog:
        """Run a job on the backend, show its progress, wait for its end, and return its log."""
        with self._alone():
            self._check_ready()
            return self._train(job)

    def _train(self, job: Job) -> JobLog:
        assert self._log is not None  # there is a best trial
        with self._reading() as state:
            name = f"{job.kind}-{1 + sum(known.startswith(job.kind) for known in state.jobs)}"
        log = self._log.for_job(name)
        runner = JobRunner(
            job, log=log, code=self._problem.code, backend=self._backend, retries=self.request.config.retries
        )
        runner.start()
        self._job_runner = runner
        try:
            _watch(runner, log, f"{self._title()} · {name}", self.request.config.display)
        finally:
            self._job_runner = None
        if runner.error is not None:
            raise runner.error
        return log

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the right to begin something; ConfigError where somebody else has it."""
        if not self._at_work.acquire(blocking=False):
            raise ConfigError("This search is being started, or trains something beside it. Wait for that to end.")
        try:
            yield
        finally:
            self._at_work.release()

    @abc.abstractmethod
    def _check_ready(self) -> None:
        """Raise ConfigError unless something can be run now."""

    @abc.abstractmethod
    def _title(self) -> str:
        """Name the run, for the screen."""


def _watch(runner: JobRunner, log: EventLog, title: str, display: str) -> None:
    """Show a job until it ends; Ctrl-C, or interrupting the kernel, stops it cleanly."""
    pump = ProgressPump(log.reading, lambda: runner.running, title, display=display)
    pump.start()
    try:
        runner.wait()
    except KeyboardInterrupt:
        runner.stop()
        runner.wait()
        print("Interrupted: stopped cleanly.", flush=True)
    pump.finish()
