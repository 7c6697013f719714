"""A screen's copy of a run: what it is told makes it equal to the run, whatever it has missed is noticed."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpoviz.events import EpochEnded, TrialFailed
from hpoviz.health.weights import Scoring
from hpoviz.run_feed import CUMULATIVE, RunFeed
from hpoviz.store.run_state import RunState
from tests.made_up_run import made_up_events

EVENTS = list(made_up_events(12, 4, slots=3, seed=1))


class Copy:
    """What the browser keeps: dashboard.js in Python."""

    def __init__(self, snapshot):
        snapshot = json.loads(json.dumps(snapshot, allow_nan=False))
        self.version, self.head, self.names = snapshot["version"], snapshot["head"], snapshot["names"]
        self.trials = {trial["id"]: trial for trial in snapshot["trials"]}
        self.missed = False

    def take(self, change):
        change = json.loads(json.dumps(change, allow_nan=False))
        if change["from"] > self.version:
            self.missed = True
        elif change["to"] > self.version:
            self.version, self.head, self.names = change["to"], change["head"], change["names"]
            self.trials |= {trial["id"]: trial for trial in change["trials"]}

    def params(self):
        return {key: dict(zip(self.names, trial["params"], strict=False)) for key, trial in self.trials.items()}


def told(state, feed, running=True):
    return feed.change(state, running=running, phase="running")


def whole(state):
    return Copy(RunFeed(Scoring()).snapshot(state, running=True, phase="running"))


def without_clock(head):
    return {name: value for name, value in head.items() if name not in ("elapsed", "left")}


def same(copy, state):
    fresh = whole(state)
    assert without_clock(copy.head) == without_clock(fresh.head)
    assert copy.trials.keys() == fresh.trials.keys()
    assert copy.params() == fresh.params()
    for key, trial in copy.trials.items():
        assert {**trial, "params": None} == {**fresh.trials[key], "params": None}


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=30), st.integers(0, 60))
def test_a_copy_that_takes_every_change_is_the_run(steps, first):
    state, at = RunState(EVENTS[:first]), first
    feed = RunFeed(Scoring())
    copy = Copy(feed.snapshot(state, running=True, phase="running"))
    for step in steps:
        for event in EVENTS[at : at + step]:
            state.apply(event)
        at += step
        change = told(state, feed)
        if change is not None:
            copy.take(change)
    assert not copy.missed
    same(copy, state)


def test_nothing_new_is_nothing_told():
    state, feed = RunState(EVENTS[:50]), RunFeed(Scoring())
    feed.snapshot(state, running=False, phase="interrupted")
    assert feed.change(state, running=False, phase="interrupted") is None


def test_only_what_has_changed_is_told_once_somebody_listens():
    state, feed = RunState(EVENTS[:-1]), RunFeed(Scoring())
    feed.snapshot(state, running=True, phase="running")
    epoch = next(event for event in EVENTS if isinstance(event, EpochEnded))
    for _ in range(CUMULATIVE + 1):
        state.apply(epoch)
        change = told(state, feed)
    assert [trial["id"] for trial in change["trials"]] == [epoch.trial]
    state.apply(EVENTS[-1])
    assert told(state, feed, running=False)["trials"] == []


def test_who_begins_late_misses_nothing_and_who_misses_something_is_told():
    state, feed = RunState(EVENTS[:5]), RunFeed(Scoring())
    late = Copy(feed.snapshot(state, running=True, phase="running"))
    for at in range(5, 5 + CUMULATIVE):
        state.apply(EVENTS[at])
        change = told(state, feed)
    late.take(change)  # the only one that it heard
    assert not late.missed
    same(late, state)
    for event in EVENTS[5 + CUMULATIVE : 60 + CUMULATIVE]:
        state.apply(event)
        told(state, feed)
    for event in EVENTS[60 + CUMULATIVE :]:
        state.apply(event)
    late.take(told(state, feed))
    assert late.missed
    late = Copy(feed.snapshot(state, running=False, phase=""))
    assert late.version == feed.version
    assert late.head["phase"] == "completed"


def test_the_head_says_what_the_tiles_show():
    head = whole(RunState(EVENTS)).head
    state = RunState(EVENTS)
    scores = [trial.score for trial in state.trials.values() if trial.state == "finished"]
    assert head["counts"] == dict(state.counts)
    assert (head["ended"], head["wanted"], head["begun"]) == (12, 12, True)
    assert head["average"] == pytest.approx(sum(scores) / len(scores))
    best = max(state.trials.values(), key=lambda trial: trial.accuracy or 0)
    assert head["best_accuracy"] == {"value": best.accuracy, "trial": best.trial_id}
    assert head["best"] == best.trial_id
    assert head["telling"][:2] == ["learning_rate", "optimizer"]


def test_slots_say_how_far_they_are():
    at = next(index for index, event in enumerate(EVENTS) if isinstance(event, EpochEnded))
    slots = whole(RunState(EVENTS[: at + 1])).head["slots"]
    assert len(slots) == 3
    busy = next(slot for slot in slots if slot["trial"] == EVENTS[at].trial)
    assert (busy["phase"], busy["epoch"], busy["epochs"], busy["batch"]) == ("training", 1, 4, 18)
    assert busy["fraction"] == 0.25


def test_weights_in_force_are_those_of_the_settings():
    scoring = Scoring.of("health", {"accuracy": 0.5, "health": 0.5, "gradient_health": 1})
    head = RunFeed(scoring).snapshot(RunState(), running=False, phase="not started")["head"]
    assert (head["scoring"]["accuracy"], head["scoring"]["objective"]) == (0.5, "health")
    assert head["scoring"]["metrics"] == dict.fromkeys(scoring.metrics, 0.0) | {"gradient_health": 1.0}


def test_a_long_reason_is_cut_and_odd_values_become_json():
    state = RunState(EVENTS[:2])
    state.trials[EVENTS[1].trial].params["odd"] = (1, 2)
    state.apply(TrialFailed(run="r", trial=EVENTS[1].trial, number=0, seconds=1.0, kind="error", reason="x" * 999))
    copy = whole(state)
    trial = copy.trials[EVENTS[1].trial]
    assert len(trial["reason"]) == 200
    assert copy.params()[trial["id"]]["odd"] == "(1, 2)"
