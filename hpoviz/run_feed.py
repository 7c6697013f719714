"""RunFeed: what a screen must be told of a run, as JSON values, and later only what has changed."""

from __future__ import annotations

import statistics
from typing import Any

from hpoviz.health.weights import Scoring
from hpoviz.json_values import json_value
from hpoviz.progress import cost_text, differing_params, duration, notice_text, seconds_left, slot_fraction
from hpoviz.results import FINISHED, RUNNING, TrialResult
from hpoviz.store.run_state import RunState, Slot

__all__ = ["RunFeed"]

INTERRUPTED = "interrupted"
LONGEST_REASON, LONGEST_VALUE = 200, 80  # characters; details have all
DIFFER_AMONG = 60  # latest trials that are looked at for parameters that differ
MOST_TELLING = 3
CUMULATIVE = 20  # first changes that repeat each other, as nobody may be listening yet


class RunFeed:
    """Turns states of one run into a snapshot and changes for whoever keeps a copy on a screen.

    Not thread-safe: its owner holds a lock.

    Every change says which version it leads `from` and `to`. A copy of an older version than `from` has missed
    something and must ask for a snapshot. The first changes all lead from the snapshot's version, so that a copy that
    begins to listen late misses nothing.

    Parameters
    ----------
    scoring : Scoring
        What the score is made of; it is told with every head. May be replaced.

    Examples
    --------
    >>> feed = RunFeed(Scoring())
    >>> feed.snapshot(RunState(), running=False, phase="not started")["head"]["phase"]
    'not started'
    >>> feed.change(RunState(), running=False, phase="not started") is None
    True
    """

    def __init__(self, scoring: Scoring) -> None:
        self.scoring = scoring
        self._version, self._changes = 0, 0
        self._head: dict[str, Any] = {}
        self._names: list[str] = []
        self._known: dict[int, TrialResult] = {}
        self._since: dict[int, TrialResult] = {}  # changed since the snapshot, while changes are cumulative
        self._base = 0

    @property
    def version(self) -> int:
        """Of what was told last."""
        return self._version

    def snapshot(self, state: RunState, *, running: bool, phase: str) -> dict[str, Any]:
        """Return everything.

        Parameters
        ----------
        state : RunState
        running : bool
            Whether the run goes on in this process.
        phase : str
            In words, for a run that has not ended.
        """
        self._version += 1
        self._base, self._changes, self._since = self._version, 0, {}
        self._known = dict(state.trials)
        self._head = self._head_of(state, running, phase)
        rows = [self._row(trial, _is_cut_off(running, phase)) for trial in state.trials.values()]
        return {"version": self._version, "head": self._head, "names": list(self._names), "trials": rows}

    def change(self, state: RunState, *, running: bool, phase: str) -> dict[str, Any] | None:
        """Return what is new since the last call of this or of `snapshot`; None if nothing is."""
        changed = {key: trial for key, trial in state.trials.items() if self._known.get(key) is not trial}
        head = self._head_of(state, running, phase)
        if not changed and head == self._head:
            return None
        self._known.update(changed)
        self._head = head
        before, self._version = self._version, self._version + 1
        if self._changes < CUMULATIVE:
            self._changes += 1
            self._since |= changed
            before, changed = self._base, self._since
        rows = [self._row(trial, _is_cut_off(running, phase)) for trial in changed.values()]
        return {"from": before, "to": self._version, "head": head, "names": list(self._names), "trials": rows}

    def _head_of(self, state: RunState, running: bool, phase: str) -> dict[str, Any]:
        counts, trials = state.counts, list(state.trials.values())
        if _is_cut_off(running, phase) and counts["running"]:
            counts[INTERRUPTED] = counts.pop("running")
        scores = [trial.score for trial in trials if trial.state == FINISHED and trial.score is not None]
        accuracies = [
            (trial.accuracy, -trial.trial_id)
            for trial in trials
            if trial.state == FINISHED and trial.accuracy is not None
        ]
        top = max(accuracies, default=None)
        left = seconds_left(state) if running else None
        ended = sum(count for name, count in counts.items() if name not in ("running", INTERRUPTED, "cancelled"))
        head = {
            "running": running,
            "begun": state.started is not None,
            "phase": state.finished_reason or phase,
            "counts": dict(counts),
            "ended": ended,
            "wanted": state.wanted,
            "best": None if state.best is None else state.best.trial_id,
            "best_accuracy": None if top is None else {"value": top[0], "trial": -top[1]},
            "average": statistics.fmean(scores) if scores else None,
            "elapsed": duration(state.seconds() if running else state.elapsed_s),
            "left": None if left is None else duration(left),
            "cost": cost_text(state),
            "notice": notice_text(state),
            "slots": [_slot(index, slot) for index, slot in sorted(state.slots.items())] if running else [],
            "scoring": {
                "objective": self.scoring.objective,
                "accuracy": self.scoring.accuracy,
                "health": self.scoring.health,
                "metrics": dict(self.scoring.metrics),
            },
            "select": state.select,
            "telling": differing_params(trials[-DIFFER_AMONG:])[:MOST_TELLING],
        }
        return {name: json_value(value) for name, value in head.items()}

    def _row(self, trial: TrialResult, cut_off: bool) -> dict[str, Any]:
        """Return a trial without what only its details show."""
        self._names += [name for name in trial.params if name not in self._names]
        row: dict[str, Any] = {
            "id": trial.trial_id,
            "number": trial.number,
            "state": INTERRUPTED if cut_off and trial.state == RUNNING else trial.state,
            "origin": trial.origin,
            "score": trial.score,
            "accuracy": trial.accuracy,
            "health": trial.health,
            "metrics": dict(trial.metrics),
            "weights": trial.parameters,
            "seconds": trial.seconds,
            "cost": trial.cost,
            "best_epoch": trial.best_epoch,
            "reason": (trial.reason or "")[:LONGEST_REASON],
            "params": [_plain(trial.params.get(name)) for name in self._names],
            "curve": [[_rounded(epoch.accuracy), _rounded(epoch.val_accuracy)] for epoch in trial.history],
        }
        return {name: json_value(value) for name, value in row.items()}


def _slot(index: int, slot: Slot) -> dict[str, Any]:
    return {
        "slot": index,
        "trial": slot.trial_id,
        "phase": slot.phase,
        "fraction": round(slot_fraction(slot), 4),
        "epoch": slot.epoch,
        "epochs": slot.epochs,
        "batch": slot.batch,
        "batches": slot.batches,
        "accuracy": _rounded(slot.accuracy),
        "val_accuracy": _rounded(slot.val_accuracy),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _is_cut_off(running: bool, phase: str) -> bool:
    """Tell whether trials that have not ended will not go on by themselves."""
    return not running and phase == INTERRUPTED


def _plain(value: Any) -> Any:
    """Return a parameter as a JSON value of its own kind, or in words; long texts are cut."""
    if isinstance(value, int | float | type(None)):
        return value
    text = str(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"
