"""The contract that every backend keeps: subclass `BackendContract` in your own tests.

Examples
--------
In your ``tests/test_my_backend.py``::

    from hpoviz.testing.backend_contract import BackendContract

    class TestMyBackend(BackendContract):
        def make_backend(self):
            return MyBackend(workers=1)
"""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import pytest

from hpoviz.backends.backend import Backend, RunContext
from hpoviz.data.catalog import load_dataset
from hpoviz.data.data_split import DataSplit
from hpoviz.events import (
    EpochEnded,
    Event,
    TerminalEvent,
    TrialCancelled,
    TrialEvent,
    TrialFailed,
    TrialFinished,
    WorkerLost,
)
from hpoviz.models.cnn import CnnConfig
from hpoviz.trial_spec import SEARCH_DATA, TrialSpec

__all__ = ["BackendContract", "Harness", "tiny_spec"]

END_WAIT_S = 60.0
CANCEL_WAIT_S = 5.0


def tiny_spec(trial: int = 0, **params: Any) -> TrialSpec:
    """Return the spec of a trial that trains in a second or two."""
    config = CnnConfig(**{"filters": 4, "num_layers_conv": 1, "batch_size": 128, "epochs": 2} | params)
    return TrialSpec(run="contract", trial=trial, seed=7, architecture="cnn", params=config.to_dict())


class Harness:
    """An open backend with its events, as the search would hold it."""

    def __init__(self, backend: Backend, data: DataSplit, folder: Path) -> None:
        self.backend, self.folder = backend, folder
        self.queue: queue.Queue[Event] = queue.Queue()
        self.log: list[str] = []
        self.context = RunContext(
            run="contract",
            data={SEARCH_DATA: lambda: data},
            folder=folder,
            trial_folder=self.trial_folder,
            emit=self.queue.put,
            log=self.log.append,
        )
        backend.open(self.context)

    def trial_folder(self, trial: int) -> Path:
        """Return the existing folder of a trial."""
        folder = self.folder / "trials" / str(trial)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def events_until(self, kind: type[Event], timeout_s: float = END_WAIT_S) -> list[Event]:
        """Return the events up to the first of that kind; fails if it does not come in time."""
        seen: list[Event] = []
        give_up = time.monotonic() + timeout_s
        while not seen or not isinstance(seen[-1], kind):
            try:
                seen.append(self.queue.get(timeout=max(0.01, give_up - time.monotonic())))
            except queue.Empty:
                pytest.fail(f"no {kind.__name__} within {timeout_s} s; came: {seen}; log: {self.log}")
        return seen


class BackendContract:
    """Tests that any backend must pass; a subclass overrides `make_backend`."""

    def make_backend(self) -> Backend:
        """Return a fresh, unopened backend."""
        pytest.fail("override make_backend")

    @pytest.fixture
    def harness(self, tmp_path: Path) -> Iterator[Harness]:
        """Give an open backend, closed after the test."""
        harness = Harness(self.make_backend(), load_dataset("digits").split(), tmp_path)
        yield harness
        harness.backend.close()

    def test_a_trial_tells_everything_and_leaves_its_model(self, harness: Harness) -> None:
        harness.backend.submit(tiny_spec(), slot=0)
        events = [event for event in harness.events_until(TerminalEvent) if isinstance(event, TrialEvent)]
        finished = events[-1]
        assert isinstance(finished, TrialFinished)
        assert [event.epoch for event in events if isinstance(event, EpochEnded)] == [1, 2]
        assert [event.sequence for event in events] == list(range(len(events)))
        assert {(event.run, event.trial, event.attempt) for event in events} == {("contract", 0, 1)}
        model = keras.saving.load_model(harness.trial_folder(0) / "model.keras", compile=False)
        data = harness.context.data[SEARCH_DATA]()
        accuracy = (model.predict(data.x_val, verbose=0).argmax(1) == data.y_val).mean()
        assert accuracy == pytest.approx(finished.accuracy, abs=1e-6)

    def test_every_slot_takes_trials_and_each_ends_once(self, harness: Harness) -> None:
        free = list(range(harness.backend.slots))
        open_trials: dict[int, int] = {}
        ended: list[int] = []
        waiting = list(range(harness.backend.slots + 1))
        while waiting or open_trials:
            while waiting and free:
                open_trials[waiting[0]] = free.pop()
                harness.backend.submit(tiny_spec(waiting[0], epochs=1), open_trials[waiting.pop(0)])
            last = harness.events_until(TerminalEvent)[-1]
            assert isinstance(last, TrialFinished)
            free.append(open_trials.pop(last.trial))
            ended.append(last.trial)
        assert sorted(ended) == list(range(harness.backend.slots + 1))

    def test_a_trial_that_cannot_be_built_fails_with_its_reason(self, harness: Harness) -> None:
        harness.backend.submit(tiny_spec(kernel_size=7, num_layers_conv=3), slot=0)
        failed = harness.events_until(TerminalEvent)[-1]
        assert isinstance(failed, TrialFailed)
        assert "feature map" in (failed.reason or "")

    def test_cancel_ends_a_trial_and_frees_its_slot(self, harness: Harness) -> None:
        harness.backend.submit(tiny_spec(0, epochs=1000), slot=0)
        harness.events_until(EpochEnded)
        harness.backend.cancel(0, grace_s=1.0)
        ended = harness.events_until(TerminalEvent, CANCEL_WAIT_S)[-1]
        assert isinstance(ended, TrialCancelled)
        harness.backend.submit(tiny_spec(1), slot=0)
        assert isinstance(harness.events_until(TerminalEvent)[-1], TrialFinished)

    def test_cancel_of_an_ended_trial_is_passed_over(self, harness: Harness) -> None:
        harness.backend.submit(tiny_spec(0, epochs=1), slot=0)
        harness.events_until(TerminalEvent)
        harness.backend.cancel(0, grace_s=0.1)
        harness.backend.submit(tiny_spec(1, epochs=1), slot=0)
        ended = harness.events_until(TerminalEvent)[-1]
        assert isinstance(ended, TrialFinished)
        assert ended.trial == 1

    def test_equal_specs_give_equal_results(self, harness: Harness) -> None:
        scores = []
        for trial in (0, 1):
            harness.backend.submit(tiny_spec(trial), slot=0)
            finished = harness.events_until(TerminalEvent)[-1]
            assert isinstance(finished, TrialFinished)
            scores.append((finished.accuracy, finished.loss))
        assert scores[0] == scores[1]

    def test_closing_in_mid_trial_cancels_it_and_the_backend_opens_again(self, harness: Harness) -> None:
        harness.backend.submit(tiny_spec(0, epochs=1000), slot=0)
        harness.events_until(EpochEnded)
        harness.backend.close()
        harness.backend.close()
        ended = harness.events_until(TerminalEvent, CANCEL_WAIT_S)[-1]
        assert isinstance(ended, TrialCancelled)
        assert not isinstance(ended, WorkerLost)
        harness.backend.open(harness.context)
        harness.backend.submit(tiny_spec(1, epochs=1), slot=0)
        assert isinstance(harness.events_until(TerminalEvent)[-1], TrialFinished)
