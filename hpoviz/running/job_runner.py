"""JobRunner: trains a fixed list of models beside the search, on the same backend."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from hpoviz.backends.backend import Backend
from hpoviz.data.data_split import DataSplit
from hpoviz.events import JobStarted, TerminalEvent, TrialStarted
from hpoviz.running.trial_runner import TrialRunner
from hpoviz.store.run_log import EventLog
from hpoviz.trial_spec import TrialSpec

__all__ = ["Job", "JobRunner"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """What is to be trained.

    Attributes
    ----------
    kind : str
        cross_validation or final_training.
    steps : sequence of mapping
        Of each spec, the `number` of the trial that it repeats, and the `fold`.
    titles : sequence of str
        Of each spec, what it is in words.
    specs : sequence of TrialSpec
        With trial ids from 0.
    data : mapping of str to callable
        See `RunContext`.
    keep_models : bool
        Whether the trained models stay on disk.
    """

    kind: str
    steps: Sequence[Mapping[str, int]]
    titles: Sequence[str]
    specs: Sequence[TrialSpec]
    data: Mapping[str, Callable[[], DataSplit]]
    keep_models: bool


class JobRunner(TrialRunner):
    """Runs the trials of one job.

    Parameters
    ----------
    job : Job
    log : EventLog
    code : bytes or None
        The user's own model and callbacks, packed.
    backend : Backend
    retries : int
    """

    def __init__(self, job: Job, *, log: EventLog, code: bytes | None, backend: Backend, retries: int) -> None:
        super().__init__(log=log, data=job.data, code=code, backend=backend, retries=retries)
        self._job = job
        self._left = list(job.specs)

    def start(self) -> None:
        """Begin; returns at once. StoreError if the run cannot be written."""
        self._start(JobStarted, kind=self._job.kind, steps=self._job.steps)

    def _begin_next(self, slot: int) -> bool:
        if not self._left:
            return False
        spec = self._left.pop(0)
        self._log.record(
            TrialStarted,
            trial=spec.trial,
            slot=slot,
            params=spec.params,
            suggested={},
            seed=spec.seed,
            origin=self._job.titles[spec.trial],
        )
        self._submit(spec, slot)
        return True

    def _on_end(self, event: TerminalEvent) -> None:
        super()._on_end(event)
        if not self._job.keep_models:
            self._log.store.drop_model(event.trial, self._log.job)
