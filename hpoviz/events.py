"""What can happen in a run: frozen events with a versioned JSON form, one stream from trials to screen.

Workers make the events of their trial, the parent makes those of the run. A run's state, its plots and its
log are computed from this stream and from nothing else, so a live run, a reopened run and a test agree.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
from collections.abc import Mapping, Sequence
from typing import Any

from hpoviz.errors import BackendProtocol
from hpoviz.json_values import json_value
from hpoviz.results import BEST, SEARCH

__all__ = [
    "EVENT_TYPES",
    "BackendFellBack",
    "BatchProgress",
    "BestChanged",
    "EpochEnded",
    "Event",
    "HealthMeasured",
    "JobStarted",
    "ModelBuilt",
    "PhaseChanged",
    "ProposalRepeated",
    "RunFinished",
    "RunStarted",
    "SlotChanged",
    "TerminalEvent",
    "TestEvaluated",
    "TrialCancelled",
    "TrialCharged",
    "TrialEvent",
    "TrialFailed",
    "TrialFinished",
    "TrialPlanned",
    "TrialPruned",
    "TrialStarted",
    "WorkerLost",
    "event_from_json",
    "utc_now",
]

EVENT_VERSION = 1


def utc_now() -> str:
    """Return the present moment as ISO 8601 text in UTC, to the millisecond."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Event:
    """The base of all events.

    Attributes
    ----------
    run : str
        Identifier of the run.
    sequence : int
        Counts the events of one source (an attempt at a trial, or the run itself).
    time : str
        When it happened, ISO 8601 in UTC.
    job : str or None
        The cross-validation or final training that it belongs to; None for the search.
    """

    run: str
    job: str | None = None
    sequence: int = 0
    time: str = dataclasses.field(default_factory=utc_now)

    def to_json(self) -> str:
        """Return the event as one line of strict JSON: NaN and infinity become null."""
        record = {"event": type(self).__name__, "version": EVENT_VERSION, **dataclasses.asdict(self)}
        return json.dumps(json_value(record), allow_nan=False)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrialEvent(Event):
    """The base of the events of a trial.

    Attributes
    ----------
    trial : int
        Order of asking, from 0.
    attempt : int
        Which attempt at that trial, from 1.
    """

    trial: int
    attempt: int = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunStarted(Event):
    """A call of ``start`` or ``run``: how many trials are wanted in all, on how many slots.

    `select` says which trial is the best one, with accuracies of so many `validation_rows`.
    """

    trials: int
    slots: int
    objective: str
    select: str = BEST
    validation_rows: int = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class JobStarted(Event):
    """A cross-validation or a final training begins: what its trials are, in the order of their ids.

    Each step names the `number` of the search's trial that it repeats, and the `fold`, from 0, if there are folds.
    """

    kind: str
    steps: Sequence[Mapping[str, int]]
    slots: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrialPlanned(Event):
    """A trial to come whose parameters are known: a baseline, a warm start, the defaults. First planned, first started.

    `exact` says that nothing of the parameters may be moved into the search space.
    """

    origin: str
    params: Mapping[str, Any]
    exact: bool


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrialStarted(TrialEvent):
    """A trial was handed to a slot. ``suggested`` keeps what the sampler needs to be rebuilt.

    `origin` is "search" for a proposal of the sampler, else that of the TrialPlanned which it carries out.
    """

    slot: int
    params: Mapping[str, Any]
    suggested: Mapping[str, Mapping[str, Any]]
    seed: int
    origin: str = SEARCH


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProposalRepeated(Event):
    """What would have been trial id `proposal` has the parameters of trial id `of`: it is passed over, not trained.

    `suggested` and `origin` as in TrialStarted.
    """

    proposal: int
    of: int
    suggested: Mapping[str, Mapping[str, Any]]
    origin: str = SEARCH


@dataclasses.dataclass(frozen=True, kw_only=True)
class PhaseChanged(TrialEvent):
    """What a trial does now: building, compiling, training, probing, saving."""

    phase: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class SlotChanged(Event):
    """What a slot without a trial, or its worker, does now: starting TensorFlow, waiting."""

    slot: int
    phase: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class BackendFellBack(Event):
    """The backend is of no use any more, for a `reason`: from now on trials run `now`, on so many slots."""

    reason: str
    now: str
    slots: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelBuilt(TrialEvent):
    """The trial's model exists, has so many weights, and is trained by the compiled loop, or for a reason by fit.

    ``rate_factor`` is what its learning rates are multiplied by, as several devices take larger batches.
    """

    parameters: int
    trained_by: str = ""
    rate_factor: float = 1.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class BatchProgress(TrialEvent):
    """Where training is inside an epoch (counted from 1). Shown live, not stored."""

    epoch: int
    epochs: int
    batch: int
    batches: int
    loss: float
    accuracy: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class EpochEnded(TrialEvent):
    """The figures of one epoch (counted from 1); accuracies in [0, 1], ``seconds`` of wall time.

    ``gradient_norms``: by layer, the root mean square over the steps; None where ``Model.fit`` has trained.
    """

    epoch: int
    epochs: int
    loss: float | None
    accuracy: float | None
    val_loss: float | None
    val_accuracy: float | None
    learning_rate: float
    seconds: float
    gradient_norms: Mapping[str, float] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class HealthMeasured(TrialEvent):
    """A look at the hidden layers after `epoch` epochs, 0 before training: for each the fields of a LayerLook."""

    epoch: int
    layers: Sequence[Mapping[str, Any]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class WorkerLost(TrialEvent):
    """The worker died with this attempt in hand; the trial goes to a fresh worker or fails.

    `given_back`: its backend is of no use any more; that does not count as a failure of the trial.
    """

    reason: str
    will_retry: bool = False
    given_back: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrialCharged(TrialEvent):
    """What an attempt has cost, in US dollars, for so many seconds of a worker: an estimate. Comes before its end."""

    cost: float
    worker_seconds: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class TerminalEvent(TrialEvent):
    """The base of the four ends of a trial; ``number`` (order of finishing, from 0) is given by the parent."""

    number: int | None = None
    seconds: float
    reason: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrialFinished(TerminalEvent):
    """A trained, saved model. ``score`` is what the search maximises; without validation data both are None.

    ``health``: the overall health; ``metrics``: that of each metric, by name; None where they are not known, as
    ``no_health`` says. ``objectives``: what a search for several objectives maximises.
    """

    score: float | None
    accuracy: float | None
    loss: float | None
    best_epoch: int
    epochs: int
    model_sha256: str
    health: float | None = None
    metrics: Mapping[str, float | None] | None = None
    no_health: str | None = None
    objectives: Sequence[float] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrialPruned(TerminalEvent):
    """Stopped early because other trials were ahead at the same epoch; ``score`` is its best so far."""

    score: float
    epochs: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrialFailed(TerminalEvent):
    """No model. ``violation`` > 0 says by how much a limit was passed: an infeasible trial, not an error."""

    kind: str
    details: str | None = None
    violation: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrialCancelled(TerminalEvent):
    """Stopped by the user."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class BestChanged(Event):
    """Trial ``number`` is the best so far."""

    number: int
    score: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class TestEvaluated(Event):
    """Somebody looked at the test set with the model of trial ``number``, or with that of its `final` training."""

    __test__ = False  # not a test case, whatever pytest makes of the name

    number: int
    accuracy: float
    loss: float
    samples: int
    final: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunFinished(Event):
    """The call of ``start`` or ``run`` is over: completed, stopped, timed out or failed."""

    reason: str
    seconds: float


EVENT_TYPES: dict[str, type[Event]] = {
    cls.__name__: cls
    for cls in (
        RunStarted,
        JobStarted,
        TrialPlanned,
        TrialStarted,
        ProposalRepeated,
        PhaseChanged,
        SlotChanged,
        BackendFellBack,
        ModelBuilt,
        BatchProgress,
        EpochEnded,
        HealthMeasured,
        WorkerLost,
        TrialCharged,
        TrialFinished,
        TrialPruned,
        TrialFailed,
        TrialCancelled,
        BestChanged,
        TestEvaluated,
        RunFinished,
    )
}


def event_from_json(text: str) -> Event:
    """Rebuild an event from `Event.to_json`'s text; BackendProtocol if it is not one.

    Examples
    --------
    >>> event = PhaseChanged(run="r", trial=3, phase="building")
    >>> event_from_json(event.to_json()) == event
    True
    """
    try:
        record = json.loads(text)
        cls = EVENT_TYPES[record.pop("event")]
        version = record.pop("version")
        if version != EVENT_VERSION:
            raise ValueError(f"version {version!r}")
        return cls(**record)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BackendProtocol(
            f"An event must be a JSON object of version {EVENT_VERSION}. Got {text[:200]!r} "
            f"({type(error).__name__}: {error}). Use one version of hpoviz everywhere."
        ) from error
