"""TrialRunner: keeps the slots of a backend busy, listens, and writes down what happens."""

from __future__ import annotations

import abc
import dataclasses
import queue
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from hpoviz.backends.backend import Backend, RunContext
from hpoviz.data.data_split import DataSplit
from hpoviz.errors import BackendUnavailable, HpovizError
from hpoviz.events import (
    BackendFellBack,
    Event,
    RunFinished,
    TerminalEvent,
    TrialCancelled,
    TrialCharged,
    TrialEvent,
    TrialFailed,
    TrialStarted,
    WorkerLost,
)
from hpoviz.store.run_log import EventLog
from hpoviz.trial_spec import TrialSpec

__all__ = ["TrialRunner", "trial_seed"]

LOOK_INTERVAL_S = 0.5
WAIT_STEP_S = 0.2
STOP_GRACE_S = 1.0


def trial_seed(seed: int, *path: int) -> int:
    """Return the seed of a trial: fixed by the run's seed and the trial's place, as the order of asking.

    Examples
    --------
    >>> trial_seed(0, 1) == trial_seed(0, 1) != trial_seed(0, 2)
    True
    """
    return int(np.random.SeedSequence([seed, *path]).generate_state(1)[0])


class TrialRunner(abc.ABC):
    """Runs trials in a thread of its own; what is run, and what follows from an end, is said by its children.

    The thread alone touches the backend and writes to the log; others read the log's state. Backends hand events over
    through a queue, from any thread.

    Parameters
    ----------
    log : EventLog
    data : mapping of str to callable
        See `RunContext`.
    code : bytes or None
        The user's own model and callbacks, packed.
    backend : Backend
    retries : int
        How often a trial is repeated when its worker died.
    """

    def __init__(
        self,
        *,
        log: EventLog,
        data: Mapping[str, Callable[[], DataSplit]],
        code: bytes | None,
        backend: Backend,
        retries: int,
    ) -> None:
        self._log, self._data, self._code, self._retries = log, data, code, retries
        self._wanted_backend = self._backend = backend  # where trials were to run, and where they run
        # Only this thread writes the state, so it reads it without the lock.
        with log.reading() as state:
            self._state = state
        self._queue: queue.Queue[Event | None] = queue.Queue()
        self._in_flight: dict[int, tuple[TrialSpec, int]] = {}  # trial id → spec, slot
        self._losses: Counter[int] = Counter()  # workers that died with a trial in hand
        self._moved: list[TrialSpec] = []  # attempts that go on elsewhere, as their backend is of no use any more
        self._stopping = threading.Event()
        # An event, as a KeyboardInterrupt inside Thread.join() makes Python 3.11 take the thread for dead.
        self._ended = threading.Event()
        self._ended.set()
        self._completed = "completed"  # how the run ends when there is nothing left to do
        self.error: BaseException | None = None

    @property
    def running(self) -> bool:
        """Whether the thread is at work."""
        return not self._ended.is_set()

    def stop(self) -> None:
        """Cancel what runs and end; returns at once."""
        self._stopping.set()
        self._queue.put(None)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for the end; return whether it has come."""
        give_up = None if timeout_s is None else time.monotonic() + timeout_s
        while self.running and (give_up is None or time.monotonic() < give_up):
            self._ended.wait(WAIT_STEP_S)  # in short steps, as Windows cannot interrupt a long one
        return not self.running

    def _start(self, event_type: type[Event], *, timeout_hours: float | None = None, **fields: Any) -> None:
        """Record that it begins, and run in a thread; returns at once.

        Raises
        ------
        StoreError
            Somebody else writes the run, or it cannot be written.
        """
        self._backend = self._wanted_backend
        self._log.store.begin_writing()  # the thread ends it
        try:
            self._log.record(event_type, slots=self._backend.slots, **fields)
        except BaseException:
            self._log.store.end_writing()
            raise
        self._stopping.clear()
        self.error = None
        self._ended.clear()
        threading.Thread(target=self._run, args=(timeout_hours,), name="hpoviz-trials", daemon=True).start()

    @abc.abstractmethod
    def _begin_next(self, slot: int) -> bool:
        """Submit the next trial to a free slot; False if there is none."""

    def _on_epoch(self, event: TrialEvent) -> None:
        """Take an event of a running trial; children that decide from epochs look at it."""
        self._log.take(event)

    def _on_end(self, event: TerminalEvent) -> None:
        """Store the numbered end of a trial."""
        self._log.take(event)

    def _run(self, timeout_hours: float | None) -> None:
        began, reason = time.monotonic(), "completed"
        try:
            self._open()
            reason = self._work(began, timeout_hours)
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

    def _open(self) -> None:
        try:
            self._backend.open(self._context())
        except BackendUnavailable as error:
            self._fall_back(error)

    def _work(self, began: float, timeout_hours: float | None) -> str:
        while not self._stopping.is_set():
            if timeout_hours is not None and time.monotonic() > began + 3600 * timeout_hours:
                return f"timeout_hours={timeout_hours:g} is over"
            self._log.store.check_space()
            try:
                self._fill()
            except BackendUnavailable as error:
                self._fall_back(error)
                continue
            if not self._in_flight:
                return self._completed
            self._handle(self._next_event())
        return "stopped"

    def _fill(self) -> None:
        """Give every free slot a trial."""
        busy = {slot for _, slot in self._in_flight.values()}
        for slot in range(self._backend.slots):
            if slot in busy or self._stopping.is_set():
                continue
            if (reason := self._backend.exhausted()) is not None:
                self._completed = reason
                return
            if self._moved:
                self._begin_again(self._moved.pop(0), slot)
            elif not self._begin_next(slot):
                return

    def _begin_again(self, spec: TrialSpec, slot: int) -> None:
        """Submit a further attempt at a trial whose loss is on record."""
        trial = self._state.trials[spec.trial]
        self._log.record(
            TrialStarted,
            trial=spec.trial,
            attempt=spec.attempt,
            slot=slot,
            params=trial.params,
            suggested={},
            seed=trial.seed,
            origin=trial.origin,
        )
        self._submit(spec, slot)

    def _fall_back(self, error: BackendUnavailable) -> None:
        """Go on where the backend says that trials are to run without it; else raise what it has said.

        What ended there while it was closed counts; what did not, is run again.
        """
        self._backend.close()
        fallback = self._backend.fallback
        if fallback is None:
            raise error
        come = [event for event in self._come() if isinstance(event, TrialEvent)]
        ended = {
            event.trial for event in come if isinstance(event, TerminalEvent) and not isinstance(event, TrialCancelled)
        }
        for event in come:
            if event.trial in ended or isinstance(event, TrialCharged):
                self._handle(event)
        for spec, _ in list(self._in_flight.values()):
            self._move(spec, str(error))
        self._backend = fallback
        self._backend.open(self._context())
        now, slots = self._backend.describe(), self._backend.slots
        self._log.record(BackendFellBack, reason=str(error), now=now, slots=slots)

    def _move(self, spec: TrialSpec, reason: str) -> None:
        """Put a trial aside that its backend has given back."""
        identity = self._identity(spec.trial)
        self._log.take(WorkerLost(**identity, attempt=spec.attempt, reason=reason, will_retry=True, given_back=True))
        del self._in_flight[spec.trial]
        self._moved.append(dataclasses.replace(spec, attempt=spec.attempt + 1))

    def _submit(self, spec: TrialSpec, slot: int) -> None:
        self._in_flight[spec.trial] = (spec, slot)
        self._backend.submit(spec, slot)

    def _come(self) -> Iterator[Event | None]:
        """Take what has come."""
        while not self._queue.empty():
            yield self._queue.get_nowait()

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
            self._end(event)
        elif isinstance(event, WorkerLost):
            self._on_worker_lost(event)
        else:
            self._on_epoch(event)

    def _on_worker_lost(self, event: WorkerLost) -> None:
        spec, slot = self._in_flight[event.trial]
        if event.given_back:
            self._fall_back(BackendUnavailable(event.reason))
            return
        self._losses[event.trial] += 1
        losses = self._losses[event.trial]
        retry = losses <= self._retries and not self._stopping.is_set() and self._backend.exhausted() is None
        self._log.take(dataclasses.replace(event, will_retry=retry))
        if retry:
            self._submit(dataclasses.replace(spec, attempt=spec.attempt + 1), slot)
        else:
            reason = f"its worker died {losses} time{'s' if losses > 1 else ''}: {event.reason}"
            self._end(TrialFailed(**self._identity(event.trial), kind="worker_lost", reason=reason, seconds=0.0))

    def _end(self, event: TerminalEvent) -> None:
        """Number the end of a trial and free its slot."""
        event = dataclasses.replace(event, number=len(self._state.numbered))
        self._in_flight.pop(event.trial, None)
        self._on_end(event)

    def _close(self, reason: str, began: float) -> None:
        """Cancel what is in flight, free the backend, and say how it ended."""
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
            for trial in [*self._in_flight, *(spec.trial for spec in self._moved)]:
                self._end(TrialCancelled(**self._identity(trial), seconds=0.0, reason="the run ended"))
            self._log.record(RunFinished, reason=reason, seconds=time.monotonic() - began)
        except Exception as error:
            self.error = self.error or error
            ended = RunFinished(**self._log.identity(), reason=reason, seconds=time.monotonic() - began)
            self._log.show(ended)  # the disk cannot take it, but who looks at the screen must see the end
        self._queue, self._moved = queue.Queue(), []

    def _context(self) -> RunContext:
        events, store, job = self._queue, self._log.store, self._log.job
        return RunContext(
            run=self._log.run,
            data=self._data,
            code=self._code,
            folder=store.folder,
            trial_folder=lambda trial: store.trial_folder(trial, job),
            emit=events.put,
            log=store.note,
        )

    def _identity(self, trial_id: int) -> dict[str, Any]:
        return {**self._log.identity(), "trial": trial_id}
