"""RunLog: the one place where an event of a run is stored and taken into its state."""

from __future__ import annotations

import abc
import contextlib
import dataclasses
import itertools
import threading
from collections.abc import Iterable, Iterator
from typing import Any

from hpoviz.events import Event, TrialEvent
from hpoviz.store.run_state import RunState
from hpoviz.store.run_store import RunStore

__all__ = ["EventLog", "JobLog", "RunLog"]


class EventLog(abc.ABC):
    """Where the events of a search, or of a job, are stored and taken into its state.

    Attributes
    ----------
    run : str
        Identifier of the run.
    job : str or None
        Whose events these are; None for the search.
    store : RunStore
    """

    run: str
    job: str | None = None
    store: RunStore

    @abc.abstractmethod
    def reading(self) -> contextlib.AbstractContextManager[RunState]:
        """Hold the lock while the state is read."""

    @abc.abstractmethod
    def take(self, event: Event) -> None:
        """Store an event and take it into the state; StoreError if it cannot be stored."""

    @abc.abstractmethod
    def show(self, event: Event) -> None:
        """Take an event into the state only, where it cannot be stored."""

    @abc.abstractmethod
    def identity(self) -> dict[str, Any]:
        """Return the fields of an event that the parent makes: run, sequence, job."""

    def record(self, event_type: type[Event], **fields: Any) -> None:
        """Make, store and take an event of the run itself."""
        self.take(event_type(**self.identity(), **fields))


class RunLog(EventLog):
    """Joins a run's store with its state, so that neither knows an event that the other does not.

    ``_lock`` guards the state: every method may be called from any thread.

    Parameters
    ----------
    run : str
        Identifier of the run.
    store : RunStore
    past : iterable of Event
        What the store holds already.
    """

    def __init__(self, run: str, store: RunStore, past: Iterable[Event] = ()) -> None:
        self.run, self.store, self.past = run, store, list(past)
        self._lock = threading.RLock()  # who shows a state may be asked about it on the way
        self._state = RunState(self.past)
        own = [event.sequence for event in self.past if not isinstance(event, TrialEvent)]
        self._sequence = itertools.count(max(own, default=-1) + 1)

    @contextlib.contextmanager
    def reading(self) -> Iterator[RunState]:
        """Hold the lock while the state is read."""
        with self._lock:
            yield self._state

    def take(self, event: Event) -> None:
        """Store an event and take it into the state; StoreError if it cannot be stored."""
        self.store.append(event)
        self.show(event)

    def show(self, event: Event) -> None:
        """Take an event into the state only, where it cannot be stored."""
        with self._lock:
            self._state.apply(event)

    def identity(self) -> dict[str, Any]:
        """Return run and sequence."""
        return {"run": self.run, "sequence": next(self._sequence)}

    def for_job(self, job: str) -> JobLog:
        """Return this log for the events of a job."""
        return JobLog(self, job)


class JobLog(EventLog):
    """The log of a run for one of its jobs: marks every event as the job's, and shows the job's state alone."""

    def __init__(self, log: RunLog, job: str) -> None:
        self.job, self.run, self.store = job, log.run, log.store
        self._log, self._job = log, job

    @contextlib.contextmanager
    def reading(self) -> Iterator[RunState]:
        """Hold the run's lock while the job's state is read."""
        with self._log.reading() as state:
            yield state.jobs.setdefault(self._job, RunState())

    def take(self, event: Event) -> None:
        """Store an event of the job and take it into the state."""
        self._log.take(dataclasses.replace(event, job=self.job))

    def show(self, event: Event) -> None:
        """Take an event of the job into the state only."""
        self._log.show(dataclasses.replace(event, job=self.job))

    def identity(self) -> dict[str, Any]:
        """Return run, sequence and job."""
        return {**self._log.identity(), "job": self.job}
