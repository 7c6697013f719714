"""RunState: the state of a run, computed from its events and from nothing else."""

from __future__ import annotations

import dataclasses
import datetime
import functools
from collections import Counter
from collections.abc import Iterable, Mapping

from hpoviz.events import (
    BackendFellBack,
    BatchProgress,
    EpochEnded,
    Event,
    JobStarted,
    ModelBuilt,
    PhaseChanged,
    ProposalRepeated,
    RunFinished,
    RunStarted,
    SlotChanged,
    TerminalEvent,
    TestEvaluated,
    TrialCancelled,
    TrialCharged,
    TrialEvent,
    TrialFailed,
    TrialFinished,
    TrialPlanned,
    TrialPruned,
    TrialStarted,
    WorkerLost,
)
from hpoviz.json_values import json_value
from hpoviz.results import BEST, CANCELLED, FAILED, FINISHED, INFEASIBLE, PRUNED, RUNNING, Epoch, TrialResult
from hpoviz.selection import selected

__all__ = ["RunState", "Slot"]


@dataclasses.dataclass
class Slot:
    """What one slot does now."""

    trial_id: int | None = None
    phase: str = "waiting"
    epoch: int = 0
    epochs: int = 0
    batch: int = 0
    batches: int = 0
    accuracy: float | None = None
    val_accuracy: float | None = None


class RunState:
    """Folds events into trials, slots and counts: the same live, replayed from disk and in tests.

    Not thread-safe: its owner holds a lock while it is changed or read.

    Attributes
    ----------
    trials : dict of int to TrialResult
        By order of asking.
    attempts : dict of int to int
        Latest attempt at each trial, from 1.
    begun : dict of int to (str, int)
        When the latest attempt at each trial began, ISO 8601, and on which slot.
    jobs : dict of str to RunState
        The cross-validations and final trainings, each with the trials and slots of its own.
    kind : str or None
        What job this is; None for the search.
    steps : list of mapping
        What each trial of a job repeats, see JobStarted.
    planned : list of TrialPlanned
        Trials to come whose parameters are known, the next first.
    looks : int
        How often somebody looked at the test set.
    slots : dict of int to Slot
    wanted : int
        How many trials the run is to have in all.
    select : str
        How the best trial is chosen.
    best : TrialResult or None
        The finished trial that is selected, see `selected`.
    finished_reason : str or None
        How the latest start ended; None while it goes on.
    fell_back : BackendFellBack or None
        Where trials run instead of where they were to run, since the latest start.

    Examples
    --------
    >>> state = RunState([RunStarted(run="r", trials=2, slots=1, objective="accuracy")])
    >>> state.wanted, state.counts["finished"], state.finished_reason
    (2, 0, None)
    """

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self.trials: dict[int, TrialResult] = {}
        self.attempts: dict[int, int] = {}
        self.begun: dict[int, tuple[str, int]] = {}
        self.slots: dict[int, Slot] = {}
        self.jobs: dict[str, RunState] = {}
        self.kind: str | None = None
        self.steps: list[Mapping[str, int]] = []
        self.planned: list[TrialPlanned] = []
        self.looks = 0
        self.wanted = 0
        self.best: TrialResult | None = None
        self.select, self._validation_rows = BEST, 1
        self.started: str | None = None
        self.finished_reason: str | None = None
        self.elapsed_s = 0.0
        self.fell_back: BackendFellBack | None = None
        for event in events:
            self.apply(event)

    @property
    def counts(self) -> Counter[str]:
        """How many trials are in each state."""
        return Counter(trial.state for trial in self.trials.values())

    @property
    def counted(self) -> int:
        """How many trials have ended and count: cancelled ones do not, as others take their place."""
        return sum(trial.state not in (RUNNING, CANCELLED) for trial in self.trials.values())

    @property
    def numbered(self) -> list[TrialResult]:
        """The ended trials by number."""
        return sorted((t for t in self.trials.values() if t.number is not None), key=lambda t: t.number or 0)

    @property
    def cost(self) -> float | None:
        """What its trials have cost, in US dollars, those of its jobs included; None where no price is known."""
        parts = [trial.cost for trial in self.trials.values()] + [job.cost for job in self.jobs.values()]
        known = [part for part in parts if part is not None]
        return sum(known) if known else None

    def seconds(self, now: datetime.datetime | None = None) -> float:
        """Return how long the run has gone on, all its starts together."""
        if self.started is None or self.finished_reason is not None:
            return self.elapsed_s
        now = now or datetime.datetime.now(datetime.UTC)
        return self.elapsed_s + (now - datetime.datetime.fromisoformat(self.started)).total_seconds()

    def apply(self, event: Event) -> None:
        """Take one event into account. Events that change nothing here are passed over."""
        if event.job is None:
            self._apply(event)
        else:
            self.jobs.setdefault(event.job, RunState())._apply(event)

    @functools.singledispatchmethod
    def _apply(self, event: Event) -> None:
        """Pass over what changes nothing."""

    @_apply.register
    def _job_started(self, event: JobStarted) -> None:
        self.kind, self.steps, self.wanted = event.kind, list(event.steps), len(event.steps)
        self.started, self.slots = event.time, {index: Slot() for index in range(event.slots)}

    @_apply.register
    def _backend_fell_back(self, event: BackendFellBack) -> None:
        self.fell_back, self.slots = event, {index: Slot() for index in range(event.slots)}

    @_apply.register
    def _run_started(self, event: RunStarted) -> None:
        self.wanted, self.started, self.finished_reason = event.trials, event.time, None
        self.select, self._validation_rows = event.select, event.validation_rows
        self.slots, self.fell_back = {index: Slot() for index in range(event.slots)}, None

    @_apply.register
    def _trial_planned(self, event: TrialPlanned) -> None:
        self.planned.append(event)

    @_apply.register
    def _trial_started(self, event: TrialStarted) -> None:
        if event.attempt == 1:
            self._carry_out_plan(event.origin)
        before = self.trials.get(event.trial)
        self.trials[event.trial] = TrialResult(
            trial_id=event.trial,
            params=event.params,
            seed=event.seed,
            origin=event.origin,
            cost=None if before is None else before.cost,
        )
        self.attempts[event.trial] = event.attempt
        self.begun[event.trial] = (event.time, event.slot)
        self.slots[event.slot] = Slot(trial_id=event.trial, phase="waiting for a worker")

    @_apply.register
    def _proposal_repeated(self, event: ProposalRepeated) -> None:
        self._carry_out_plan(event.origin)

    def _carry_out_plan(self, origin: str) -> None:
        if self.planned and origin == self.planned[0].origin:
            self.planned.pop(0)

    @_apply.register
    def _phase_changed(self, event: PhaseChanged) -> None:
        slot = self._slot_of(event)
        if slot is not None:
            slot.phase = event.phase

    @_apply.register
    def _slot_changed(self, event: SlotChanged) -> None:
        self.slots.setdefault(event.slot, Slot()).phase = event.phase

    @_apply.register
    def _model_built(self, event: ModelBuilt) -> None:
        self.trials[event.trial] = dataclasses.replace(
            self.trials[event.trial],
            parameters=event.parameters,
            trained_by=event.trained_by,
            rate_factor=event.rate_factor,
        )

    @_apply.register
    def _batch_progress(self, event: BatchProgress) -> None:
        slot = self._slot_of(event)
        if slot is not None:
            slot.epoch, slot.epochs = event.epoch, event.epochs
            slot.batch, slot.batches, slot.accuracy = event.batch, event.batches, event.accuracy

    @_apply.register
    def _epoch_ended(self, event: EpochEnded) -> None:
        trial = self.trials[event.trial]
        # As JSON has it: a live run and a replayed one agree.
        values = {field.name: json_value(getattr(event, field.name)) for field in dataclasses.fields(Epoch)}
        self.trials[event.trial] = dataclasses.replace(trial, history=(*trial.history, Epoch(**values)))
        slot = self._slot_of(event)
        if slot is not None:
            slot.epoch, slot.epochs = event.epoch, event.epochs
            slot.accuracy, slot.val_accuracy = event.accuracy, event.val_accuracy

    @_apply.register
    def _worker_lost(self, event: WorkerLost) -> None:
        self.trials[event.trial] = dataclasses.replace(self.trials[event.trial], history=())
        self.attempts[event.trial] = event.attempt + 1 if event.will_retry else event.attempt
        self._put_slot(event, Slot(trial_id=event.trial, phase="waiting for a fresh worker"))

    @_apply.register
    def _trial_charged(self, event: TrialCharged) -> None:
        trial = self.trials[event.trial]
        self.trials[event.trial] = dataclasses.replace(trial, cost=(trial.cost or 0.0) + event.cost)

    @_apply.register
    def _trial_ended(self, event: TerminalEvent) -> None:
        ended = dataclasses.replace(
            self.trials[event.trial],
            number=event.number,
            state=_state_of(event),
            seconds=event.seconds,
            reason=event.reason,
            score=getattr(event, "score", None),
            accuracy=getattr(event, "accuracy", None),
            loss=getattr(event, "loss", None),
            health=getattr(event, "health", None),
            metrics=getattr(event, "metrics", None) or {},
            no_health=getattr(event, "no_health", None),
            best_epoch=getattr(event, "best_epoch", None),
            details=getattr(event, "details", None),
        )
        self.trials[event.trial] = ended
        self._put_slot(event, Slot())
        if ended.state == FINISHED:
            self.best = selected(self.numbered, self.select, self._validation_rows)

    @_apply.register
    def _test_evaluated(self, event: TestEvaluated) -> None:
        self.looks += 1

    @_apply.register
    def _run_finished(self, event: RunFinished) -> None:
        self.finished_reason = event.reason
        self.elapsed_s += event.seconds
        self.slots = {}

    def _put_slot(self, event: TrialEvent, fresh: Slot) -> None:
        for index, slot in self.slots.items():
            if slot.trial_id == event.trial:
                self.slots[index] = fresh
                return

    def _slot_of(self, event: TrialEvent) -> Slot | None:
        return next((slot for slot in self.slots.values() if slot.trial_id == event.trial), None)


def _state_of(event: TerminalEvent) -> str:
    match event:
        case TrialFinished():
            return FINISHED
        case TrialPruned():
            return PRUNED
        case TrialFailed():
            return FAILED if event.violation is None else INFEASIBLE
        case TrialCancelled():
            return CANCELLED
    return RUNNING
