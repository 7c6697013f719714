"""RunLog: the one place where an event of a run is stored and taken into its state."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Iterable, Iterator
from typing import Any

from hpoviz.events import Event, TrialEvent
from hpoviz.store.run_state import RunState
from hpoviz.store.run_store import RunStore

__all__ = ["RunLog"]


class RunLog:
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
        self._lock = threading.Lock()
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

    def record(self, event_type: type[Event], **fields: Any) -> None:
        """Make, store and take an event of the run itself."""
        self.take(event_type(**self.identity(), **fields))

    def identity(self) -> dict[str, Any]:
        """Return the fields of an event that the parent makes: run and sequence."""
        return {"run": self.run, "sequence": next(self._sequence)}
