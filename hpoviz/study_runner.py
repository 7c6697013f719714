"""StudyRunner: asks, submits, listens and tells, asynchronously over the slots of a backend."""

from __future__ import annotations

import dataclasses
import queue
import threading
import time
import traceback
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from hpoviz.backends.backend import Backend, RunContext
from hpoviz.config import OptimizationRequest
from hpoviz.data.dataset import DataSplit
from hpoviz.errors import HpovizError
from hpoviz.events import (
    BestChanged,
    EpochEnded,
    Event,
    RunFinished,
    RunStarted,
    TerminalEvent,
    TrialCancelled,
    TrialEvent,
    TrialFailed,
    TrialFinished,
    TrialPruned,
    TrialStarted,
    WorkerLost,
)
from hpoviz.results import BASELINE, CANCELLED, SEARCH
from hpoviz.search.sampler import Proposal, Space, Study
from hpoviz.store.best_record import best_record
from hpoviz.store.run_log import RunLog
from hpoviz.trial_spec import TrialSpec

__all__ = ["StudyRunner", "trial_seed"]

LOOK_INTERVAL_S = 0.5
WAIT_STEP_S = 0.2
STOP_GRACE_S = 1.0
PRUNE_GRACE_S = 60.0  # a pruned trial ends by itself after its batch; its worker is worth waiting for


def trial_seed(seed: int, trial_id: int) -> int:
    """Return the seed of a trial: fixed by the run's seed and the order of asking.

    Examples
    --------
    >>> trial_seed(0, 1) == trial_seed(0, 1) != trial_seed(0, 2)
    True
    """
    return int(np.random.SeedSequence([seed, trial_id]).generate_state(1)[0])


class StudyRunner:
    """Runs the trials of one run in a thread of its own.

    The thread alone touches study and backend, and writes to the log; others read the log's state. Backends hand
    events over through a queue, from any thread.

    Parameters
    ----------
    request : OptimizationRequest
    seed : int
        The run's seed.
    record : mapping
        What ``run.json`` says.
    log : RunLog
        Its past events are carried on: the study is rebuilt from them, and trials that had not ended run again.
    data : DataSplit
    code : bytes or None
        The user's own model and callbacks, packed.
    space : Space
    backend : Backend
    """

    def __init__(
        self,
        request: OptimizationRequest,
        *,
        seed: int,
        record: Mapping[str, Any],
        log: RunLog,
        data: DataSplit,
        code: bytes | None,
        space: Space,
        backend: Backend,
    ) -> None:
        self._request, self._seed, self._record = request, seed, record
        self._log, self._data, self._code, self._space, self._backend = log, data, code, space, backend
        # Only this thread writes the state, so it reads it without the lock.
        with log.reading() as state:
            self._state = state
        asked = len(self._state.trials)
        self._study = Study(
            sampler=request.sampler,
            pruner=request.pruner,
            seed=trial_seed(seed, asked) if asked else seed,  # the run's seed again would repeat its first proposals
            startup_trials=request.config.startup_trials,
        )
        self._unfinished = self._study.restore(log.past)
        self._queue: queue.Queue[Event | None] = queue.Queue()
        self._in_flight: dict[int, tuple[TrialSpec, int]] = {}  # trial id → spec, slot
        self._pruned: dict[int, TrialPruned] = {}  # decided, waiting for the worker to let go
        self._losses: Counter[int] = Counter()  # workers that died with a trial in hand
        self._stopping = threading.Event()
        # An event, as a KeyboardInterrupt inside Thread.join() makes Python 3.11 take the thread for dead.
        self._ended = threading.Event()
        self._ended.set()
        self.error: BaseException | None = None

    @property
    def running(self) -> bool:
        """Whether the thread is at work."""
        return not self._ended.is_set()

    def start(self, trials: int) -> None:
        """Run until there are `trials` in all, those that were cancelled not counted; returns at once.

        Raises
        ------
        StoreError
            Somebody else writes the run, or it cannot be written.
        """
        self._log.store.begin_writing()  # the thread ends it
        try:
            self._log.record(RunStarted, trials=trials, slots=self._backend.slots, objective=self._request.objective)
        except BaseException:
            self._log.store.end_writing()
            raise
        self._stopping.clear()
        self.error = None
        self._ended.clear()
        threading.Thread(target=self._run, args=(trials,), name="hpoviz-study", daemon=True).start()

    def stop(self) -> None:
        """Cancel what runs and end the run; returns at once."""
        self._stopping.set()
        self._queue.put(None)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for the end of the run; return whether it has ended."""
        give_up = None if timeout_s is None else time.monotonic() + timeout_s
        while self.running and (give_up is None or time.monotonic() < give_up):
            self._ended.wait(WAIT_STEP_S)  # in short steps, as Windows cannot interrupt a long one
        return not self.running

    def importances(self) -> dict[str, float]:
        """Return `Study.importances`; empty while the search runs, as the study belongs to its thread."""
        return {} if self.running else self._study.importances()

    def _run(self, trials: int) -> None:
        began, reason = time.monotonic(), "completed"
        try:
            self._backend.open(self._context())
            reason = self._search(trials, self._deadline(began))
        except Exception as error:
            self.error, reason = error, f"failed: {error}"
            if not isinstance(error, HpovizError):
                self._log.store.note(traceback.format_exc())
        finally:
            try:
                self._close(reason, began)
            finally:
                self._log.store.end_writing()
                self._ended.set()

    def _search(self, trials: int, deadline: float | None) -> str:
        while not self._stopping.is_set():
            if deadline is not None and time.monotonic() > deadline:
                return f"timeout_hours={self._request.config.timeout_hours:g} is over"
            self._log.store.check_space()
            self._fill(trials)
            if not self._in_flight:
                return "completed"
            self._handle(self._next_event())
        return "stopped"

    def _fill(self, trials: int) -> None:
        """Give every free slot a trial."""
        busy = {slot for _, slot in self._in_flight.values()}
        free = [slot for slot in range(self._backend.slots) if slot not in busy]
        for slot in free:
            while slot not in busy and self._unfinished and not self._stopping.is_set():
                if self._resume(self._unfinished.pop(0), slot):
                    busy.add(slot)
            while slot not in busy and self._counting_trials() < trials and not self._stopping.is_set():
                planned = self._state.planned[0] if self._state.planned else None
                origin = SEARCH if planned is None else planned.origin
                if self._begin(self._study.ask(self._space, planned), origin, slot):
                    busy.add(slot)

    def _counting_trials(self) -> int:
        return sum(trial.state != CANCELLED for trial in self._state.trials.values())

    def _begin(self, proposal: Proposal, origin: str, slot: int) -> bool:
        """Submit a proposed trial; False if the space's function failed and the slot is still free."""
        seed = trial_seed(self._seed, proposal.trial)
        self._log.record(
            TrialStarted,
            trial=proposal.trial,
            slot=slot,
            params=proposal.params or {},
            suggested=proposal.suggested,
            seed=seed,
            origin=origin,
        )
        if proposal.params is None:
            reason = f"the search_space function failed: {type(proposal.error).__name__}: {proposal.error}"
            self._end(TrialFailed(**self._identity(proposal.trial), kind="search_space", reason=reason, seconds=0.0))
            return False
        self._submit(self._spec(proposal.trial, proposal.params, seed), slot)
        return True

    def _resume(self, trial_id: int, slot: int) -> bool:
        """Run a trial again that had not ended when the run was interrupted: same parameters, next attempt.

        False if it never had parameters, as the space's function had failed: the slot is still free.
        """
        trial, attempt = self._state.trials[trial_id], self._state.attempts[trial_id]
        if not trial.params:
            reason = "the search_space function failed just before the run was interrupted"
            self._end(TrialFailed(**self._identity(trial_id), kind="search_space", reason=reason, seconds=0.0))
            return False
        lost = WorkerLost(
            **self._identity(trial_id), attempt=attempt, reason="the run was interrupted", will_retry=True
        )
        self._log.take(lost)
        self._log.record(
            TrialStarted,
            trial=trial_id,
            attempt=attempt + 1,
            slot=slot,
            params=trial.params,
            suggested={},
            seed=trial.seed,
            origin=trial.origin,
        )
        spec = self._spec(trial_id, trial.params, trial.seed)
        self._submit(dataclasses.replace(spec, attempt=attempt + 1), slot)
        return True

    def _spec(self, trial_id: int, params: Mapping[str, Any], seed: int) -> TrialSpec:
        return TrialSpec(
            run=self._record["run"],
            trial=trial_id,
            seed=seed,
            architecture=self._record["architecture"],
            params=params,
            early_stopping_patience=self._request.config.early_stopping_patience,
            max_parameters=self._request.max_parameters,
            max_trial_minutes=self._request.max_trial_minutes,
        )

    def _submit(self, spec: TrialSpec, slot: int) -> None:
        self._in_flight[spec.trial] = (spec, slot)
        self._backend.submit(spec, slot)

    def _next_event(self) -> Event | None:
        try:
            return self._queue.get(timeout=LOOK_INTERVAL_S)
        except queue.Empty:
            return None

    def _handle(self, event: Event | None) -> None:
        if event is None:
            return
        if not isinstance(event, TrialEvent):
            self._log.take(event)
        elif event.trial not in self._in_flight:
            self._log.store.note(f"late event of trial id {event.trial} passed over: {event.to_json()}")
        elif isinstance(event, TerminalEvent):
            self._end(self._pruned.pop(event.trial, event))
        elif isinstance(event, WorkerLost):
            self._on_worker_lost(event)
        elif event.trial not in self._pruned:  # what a pruned trial still does counts no more
            self._log.take(event)
            if isinstance(event, EpochEnded):
                self._report(event)

    def _report(self, event: EpochEnded) -> None:
        if event.val_accuracy is None or event.epoch >= event.epochs:
            return
        trial = self._state.trials[event.trial]
        if self._study.report(event.trial, event.epoch, event.val_accuracy) and trial.origin != BASELINE:
            self._pruned[event.trial] = TrialPruned(
                **self._identity(event.trial),
                score=max(epoch.val_accuracy or 0.0 for epoch in trial.history),
                epochs=event.epoch,
                seconds=sum(epoch.seconds for epoch in trial.history),
                reason=f"others were ahead after epoch {event.epoch}",
            )
            self._backend.cancel(event.trial, grace_s=PRUNE_GRACE_S)

    def _on_worker_lost(self, event: WorkerLost) -> None:
        spec, slot = self._in_flight[event.trial]
        if event.trial in self._pruned:
            self._end(self._pruned.pop(event.trial))
            return
        self._losses[event.trial] += 1
        losses = self._losses[event.trial]
        retry = losses <= self._request.config.retries and not self._stopping.is_set()
        self._log.take(dataclasses.replace(event, will_retry=retry))
        if retry:
            self._submit(dataclasses.replace(spec, attempt=spec.attempt + 1), slot)
        else:
            reason = f"its worker died {losses} time{'s' if losses > 1 else ''}: {event.reason}"
            self._end(TrialFailed(**self._identity(event.trial), kind="worker_lost", reason=reason, seconds=0.0))

    def _end(self, event: TerminalEvent) -> None:
        """Number, store and tell the end of a trial."""
        best_before = self._state.best
        event = dataclasses.replace(event, number=len(self._state.numbered))
        self._log.take(event)
        self._in_flight.pop(event.trial, None)
        self._study.tell(event)
        best = self._state.best
        if best is not None and best is not best_before:
            self._log.record(BestChanged, number=best.number, score=best.score)
            self._log.store.write_best(best_record(best, self._record))
        if isinstance(event, TrialFinished) and self._request.config.keep_models == "best":
            worse = best_before if best is not best_before else self._state.trials[event.trial]
            if worse is not None:
                self._log.store.drop_model(worse.trial_id)

    def _close(self, reason: str, began: float) -> None:
        """Cancel what is in flight, free the backend, and say how the run ended."""
        self._stopping.set()  # nothing is retried any more
        for trial in list(self._in_flight):
            self._backend.cancel(trial, grace_s=STOP_GRACE_S)
        give_up = time.monotonic() + 3 * STOP_GRACE_S
        try:
            while self._in_flight and time.monotonic() < give_up:
                self._handle(self._next_event())
        except Exception as error:
            self.error = self.error or error
        self._backend.close()
        try:
            for trial in list(self._in_flight):
                cancelled = TrialCancelled(**self._identity(trial), seconds=0.0, reason="the run ended")
                self._end(self._pruned.pop(trial, cancelled))
            self._log.record(RunFinished, reason=reason, seconds=time.monotonic() - began)
        except Exception as error:
            self.error = self.error or error
            ended = RunFinished(**self._log.identity(), reason=reason, seconds=time.monotonic() - began)
            self._log.show(ended)  # the disk cannot take it, but who looks at the screen must see the end
        self._queue = queue.Queue()

    def _context(self) -> RunContext:
        events = self._queue
        return RunContext(
            run=self._record["run"],
            data=self._data,
            code=self._code,
            folder=self._log.store.folder,
            trial_folder=self._log.store.trial_folder,
            emit=events.put,
            log=self._log.store.note,
        )

    def _identity(self, trial_id: int) -> dict[str, Any]:
        return {**self._log.identity(), "trial": trial_id}

    def _deadline(self, began: float) -> float | None:
        hours = self._request.config.timeout_hours
        return None if hours is None else began + 3600 * hours
