import datetime
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpoviz.events import (
    BatchProgress,
    BestChanged,
    EpochEnded,
    ModelBuilt,
    PhaseChanged,
    RunFinished,
    RunStarted,
    SlotChanged,
    TestEvaluated,
    TrialCancelled,
    TrialFailed,
    TrialFinished,
    TrialPruned,
    TrialStarted,
    WorkerLost,
    event_from_json,
)
from hpoviz.results import Epoch, TrialResult
from hpoviz.store.run_state import RunState, Slot

PARAMS = {"filters": 8, "activation": "relu"}


def started(trials=4, slots=2, time="2024-01-01T00:00:00.000+00:00"):
    return RunStarted(run="r", trials=trials, slots=slots, objective="accuracy", time=time)


def began(trial, slot=0):
    return TrialStarted(run="r", trial=trial, slot=slot, params=PARAMS, suggested={}, seed=100 + trial)


def phase(trial, text):
    return PhaseChanged(run="r", trial=trial, phase=text)


def batch(trial, epoch, number):
    return BatchProgress(run="r", trial=trial, epoch=epoch, epochs=5, batch=number, batches=9, loss=1.0, accuracy=0.25)


def epoch_ended(trial, epoch, loss=1.0):
    return EpochEnded(
        run="r",
        trial=trial,
        epoch=epoch,
        epochs=5,
        loss=loss,
        accuracy=0.5,
        val_loss=2.0,
        val_accuracy=0.75,
        learning_rate=0.1,
        seconds=1.5,
    )


def finished(trial, number, score=0.5):
    return TrialFinished(
        run="r",
        trial=trial,
        number=number,
        seconds=3.0,
        score=score,
        accuracy=score,
        loss=0.25,
        best_epoch=2,
        epochs=3,
        model_sha256="0",
    )


def lost(trial, **more):
    return WorkerLost(run="r", trial=trial, reason="killed", **more)


DONE = RunFinished(run="r", reason="completed", seconds=12.0)
PRUNED = TrialPruned(run="r", trial=0, number=0, seconds=2.0, score=0.375, epochs=3, reason="others were ahead")
FAILED = TrialFailed(run="r", trial=0, number=0, seconds=2.0, kind="error", reason="boom", details="traceback")
INFEASIBLE = TrialFailed(run="r", trial=0, number=0, seconds=2.0, kind="too_large", violation=0.5, reason="large")
CANCELLED = TrialCancelled(run="r", trial=0, number=0, seconds=2.0, reason="stopped")


def picture(state):
    return {**vars(state), "counts": state.counts, "numbered": state.numbered}


def test_nothing_has_happened():
    state = RunState()
    assert (state.trials, state.slots, state.wanted, state.best) == ({}, {}, 0, None)
    assert (state.finished_reason, state.numbered, state.seconds()) == (None, [], 0.0)
    assert state.counts["finished"] == 0


def test_run_started():
    state = RunState([started(trials=7, slots=3)])
    assert state.wanted == 7
    assert state.slots == {0: Slot(), 1: Slot(), 2: Slot()}
    assert state.slots[0].phase == "waiting"


def test_trial_started():
    state = RunState([started(), began(0, slot=1)])
    assert state.trials == {0: TrialResult(trial_id=0, params=PARAMS, seed=100)}
    assert state.slots == {0: Slot(), 1: Slot(trial_id=0, phase="waiting for a worker")}
    assert state.counts == {"running": 1}
    assert state.numbered == []


def test_trial_that_goes_through_all_phases():
    state = RunState([started(slots=1), began(0), phase(0, "building")])
    assert state.slots[0].phase == "building"
    state.apply(ModelBuilt(run="r", trial=0, parameters=321))
    assert state.trials[0].parameters == 321
    state.apply(phase(0, "training"))
    state.apply(batch(0, 1, 4))
    assert state.slots[0] == Slot(0, "training", epoch=1, epochs=5, batch=4, batches=9, accuracy=0.25)
    state.apply(epoch_ended(0, 1))
    assert (state.slots[0].accuracy, state.slots[0].val_accuracy) == (0.5, 0.75)
    state.apply(epoch_ended(0, 2))
    wanted = Epoch(epoch=2, loss=1.0, accuracy=0.5, val_loss=2.0, val_accuracy=0.75, learning_rate=0.1, seconds=1.5)
    assert [epoch.epoch for epoch in state.trials[0].history] == [1, 2]
    assert state.trials[0].history[1] == wanted
    state.apply(finished(0, 0, score=0.875))
    assert state.slots == {0: Slot()}
    assert state.best is state.trials[0]
    trial = state.trials[0]
    assert (trial.state, trial.number, trial.score, trial.accuracy) == ("finished", 0, 0.875, 0.875)
    assert (trial.loss, trial.best_epoch, trial.seconds, trial.parameters) == (0.25, 2, 3.0, 321)
    assert len(trial.history) == 2


@pytest.mark.parametrize(
    ("end", "state", "score", "details"),
    [
        (PRUNED, "pruned", 0.375, None),
        (FAILED, "failed", None, "traceback"),
        (INFEASIBLE, "infeasible", None, None),
        (CANCELLED, "cancelled", None, None),
    ],
)
def test_ends_without_a_model(end, state, score, details):
    run = RunState([started(), began(0), phase(0, "training"), end])
    trial = run.trials[0]
    assert (trial.state, trial.score, trial.details) == (state, score, details)
    assert (trial.reason, trial.seconds, trial.number) == (end.reason, 2.0, 0)
    assert (trial.accuracy, trial.loss, trial.best_epoch) == (None, None, None)
    assert (run.counts, run.best, run.slots[0]) == ({state: 1}, None, Slot())


def test_infeasible_by_nothing_is_still_infeasible():
    state = RunState([began(0), TrialFailed(run="r", trial=0, number=0, seconds=1.0, kind="too_slow", violation=0.0)])
    assert state.trials[0].state == "infeasible"


def test_numbers_are_the_order_of_finishing():
    events = [began(0, 0), began(1, 1), began(2, 2), finished(2, 0), finished(0, 1), finished(1, 2)]
    state = RunState(events)
    assert [trial.trial_id for trial in state.numbered] == [2, 0, 1]
    assert [trial.number for trial in state.numbered] == [0, 1, 2]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=1, max_size=12))
def test_best_is_the_first_of_the_highest_score(scores):
    state = RunState()
    for trial, score in enumerate(scores):
        state.apply(began(trial))
        state.apply(finished(trial, trial, score))
    assert state.best.number == scores.index(max(scores))
    assert state.best is state.trials[state.best.trial_id]


def test_pruned_trial_is_never_the_best():
    pruned = TrialPruned(run="r", trial=1, number=1, seconds=1.0, score=1.0, epochs=3)
    state = RunState([began(0), finished(0, 0, 0.5), began(1), pruned])
    assert state.best.number == 0


def test_best_of_trials_that_know_nothing():
    state = RunState([began(0), finished(0, 0, 0.0), began(1), finished(1, 1, 0.0)])
    assert state.best.number == 0


def test_slots_are_kept_apart():
    state = RunState([started(slots=2), began(0, 0), began(1, 1), phase(1, "training"), batch(0, 2, 3)])
    assert state.slots[0] == Slot(0, "waiting for a worker", epoch=2, epochs=5, batch=3, batches=9, accuracy=0.25)
    assert state.slots[1] == Slot(1, "training")
    state.apply(finished(0, 0))
    state.apply(began(2, 0))
    assert (state.slots[0].trial_id, state.slots[1].trial_id) == (2, 1)


def test_slot_without_a_trial():
    state = RunState([started(slots=1), SlotChanged(run="r", slot=0, phase="starting TensorFlow")])
    assert state.slots == {0: Slot(phase="starting TensorFlow")}


def test_slot_that_nobody_announced():
    state = RunState([SlotChanged(run="r", slot=5, phase="waiting")])
    assert state.slots == {5: Slot(phase="waiting")}


def test_events_of_a_trial_without_a_slot_change_no_slot():
    state = RunState([started(slots=1), began(0), CANCELLED])
    for event in (phase(0, "training"), batch(0, 1, 1)):
        state.apply(event)
    assert state.slots == {0: Slot()}


def test_lost_worker_starts_the_trial_anew():
    state = RunState([started(slots=1), began(0), epoch_ended(0, 1), epoch_ended(0, 2), lost(0, will_retry=True)])
    assert state.trials[0].history == ()
    assert state.trials[0].state == "running"
    assert state.slots[0] == Slot(0, "waiting for a fresh worker")
    state.apply(epoch_ended(0, 1))
    state.apply(finished(0, 0))
    assert [epoch.epoch for epoch in state.trials[0].history] == [1]


def test_run_finished():
    state = RunState([started(), began(0), DONE])
    assert (state.finished_reason, state.slots, state.elapsed_s) == ("completed", {}, 12.0)
    assert state.seconds() == 12.0


def test_seconds_go_on_while_the_run_does():
    state = RunState([started()])
    now = datetime.datetime(2024, 1, 1, 0, 2, 5, tzinfo=datetime.UTC)
    assert state.seconds(now) == 125.0


def test_second_start_adds_up():
    events = [
        started(trials=2),
        began(0),
        finished(0, 0),
        DONE,
        started(trials=5, time="2024-01-02T00:00:00.000+00:00"),
    ]
    state = RunState(events)
    assert (state.wanted, state.finished_reason, list(state.slots)) == (5, None, [0, 1])
    assert len(state.numbered) == 1
    assert state.seconds(datetime.datetime(2024, 1, 2, 0, 0, 3, tzinfo=datetime.UTC)) == 15.0
    state.apply(DONE)
    assert state.seconds() == 24.0


@pytest.mark.parametrize(
    "event",
    [BestChanged(run="r", number=0, score=0.5), PhaseChanged(run="r", trial=9, phase="building")],
)
def test_events_that_change_nothing(event):
    events = [started(), began(0), finished(0, 0)]
    assert picture(RunState([*events, event])) == picture(RunState(events))


def test_looks_at_the_test_set_are_counted():
    look = TestEvaluated(run="r", number=0, accuracy=0.5, loss=1.0, samples=9)
    assert RunState([started(), began(0), finished(0, 0), look, look]).looks == 2


STORY = [
    started(trials=6, slots=2),
    SlotChanged(run="r", slot=0, phase="starting TensorFlow"),
    began(0, 0),
    began(1, 1),
    phase(0, "building"),
    ModelBuilt(run="r", trial=0, parameters=10),
    phase(0, "training"),
    batch(0, 1, 5),
    epoch_ended(0, 1),
    lost(1, will_retry=True),
    epoch_ended(1, 1),
    finished(0, 0, 0.5),
    began(2, 0),
    finished(1, 1, 0.75),
    began(3, 1),
    TrialFailed(run="r", trial=2, number=2, seconds=1.0, kind="error", reason="boom", details="traceback"),
    began(4, 0),
    TrialPruned(run="r", trial=3, number=3, seconds=1.0, score=0.25, epochs=3),
    TrialFailed(run="r", trial=4, number=4, seconds=1.0, kind="too_large", violation=2.0, reason="large"),
    began(5, 0),
    batch(5, 2, 3),
]


@pytest.mark.parametrize("length", range(len(STORY) + 1))
def test_replayed_json_gives_the_same_state(length):
    events = [*STORY[:length]]
    replayed = RunState(event_from_json(event.to_json()) for event in events)
    assert picture(replayed) == picture(RunState(events))


def test_the_whole_story():
    state = RunState(STORY)
    assert state.counts == {"finished": 2, "failed": 1, "pruned": 1, "infeasible": 1, "running": 1}
    assert [trial.trial_id for trial in state.numbered] == [0, 1, 2, 3, 4]
    assert (state.best.number, state.best.score) == (1, 0.75)
    assert [slot.trial_id for slot in state.slots.values()] == [5, None]


def test_replay_of_what_is_stored_agrees_but_for_what_goes_on_inside_an_epoch():
    stored = [event for event in STORY if not isinstance(event, BatchProgress)]
    live, replayed = RunState([*STORY, DONE]), RunState([*stored, DONE])
    assert picture(live) == picture(replayed)


def test_figure_that_is_not_finite_is_none_live_too():
    state = RunState([began(0), epoch_ended(0, 1, loss=math.nan)])
    assert state.trials[0].history[0].loss is None
