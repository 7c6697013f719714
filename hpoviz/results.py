"""TrialResult: one trial as people see it, and the states that it can be in."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

__all__ = [
    "BASELINE",
    "BEST",
    "CANCELLED",
    "DEFAULTS",
    "FAILED",
    "FINISHED",
    "INFEASIBLE",
    "ONE_SE_HEALTHIEST",
    "PLANNED",
    "PRUNED",
    "RUNNING",
    "SEARCH",
    "WARM_START",
    "Epoch",
    "RunStatus",
    "TestScore",
    "TrialResult",
    "dollars",
]

SEARCH, DEFAULTS, BASELINE, WARM_START = "search", "defaults", "baseline", "warm start"  # where parameters come from
PLANNED = (DEFAULTS, BASELINE, WARM_START)
BEST, ONE_SE_HEALTHIEST = "best", "one_se_healthiest"  # which trial a search selects
RUNNING, FINISHED, PRUNED = "running", "finished", "pruned"
FAILED, INFEASIBLE, CANCELLED = "failed", "infeasible", "cancelled"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Epoch:
    """The figures of one epoch (counted from 1); None where a figure is not finite.

    ``gradient_norms`` is by layer: the root mean square, over the steps, of the norm of the gradient of its weights.
    """

    epoch: int
    loss: float | None
    accuracy: float | None
    val_loss: float | None
    val_accuracy: float | None
    learning_rate: float
    seconds: float
    gradient_norms: Mapping[str, float] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrialResult:
    """What is known of one trial.

    Attributes
    ----------
    trial_id : int
        Order of asking, from 0; the name of its folder.
    number : int or None
        Order of finishing, from 0; None while it runs.
    state : str
        running, finished, pruned, failed, infeasible or cancelled.
    params : mapping
        Every hyperparameter, defaults included.
    seed : int
    origin : str
        Where its parameters come from: search, defaults, baseline or warm start; in a job, what it repeats in words.
    score : float or None
        What the search maximises; of a pruned trial the best validation accuracy so far.
    accuracy, loss : float or None
        On validation data, of the weights that were kept; the loss with its L2 penalty.
    health : float or None
        Overall health, in [0, 1], by the weights of the search.
    metrics : mapping of str to float or None
        The six health metrics by name; empty where health was not measured, as `no_health` says.
    no_health : str or None
    best_epoch : int or None
        The epoch (from 1) whose weights were kept.
    parameters : int or None
        How many weights the model has.
    trained_by : str or None
        The compiled loop, or ``Model.fit`` with the reason.
    rate_factor : float
        By what its learning rates were multiplied, as several devices took larger batches.
    seconds : float or None
    cost : float or None
        What all attempts at it have cost, in US dollars, by the price that the backend was given: an estimate.
    reason : str or None
        Why it failed, was pruned, cancelled or found infeasible.
    details : str or None
        Traceback of an error.
    history : tuple of Epoch
    """

    trial_id: int
    number: int | None = None
    state: str = RUNNING
    params: Mapping[str, Any]
    seed: int
    origin: str = SEARCH
    score: float | None = None
    accuracy: float | None = None
    loss: float | None = None
    health: float | None = None
    metrics: Mapping[str, float | None] = dataclasses.field(default_factory=dict)
    no_health: str | None = None
    best_epoch: int | None = None
    parameters: int | None = None
    trained_by: str | None = None
    rate_factor: float = 1.0
    seconds: float | None = None
    cost: float | None = None
    reason: str | None = None
    details: str | None = None
    history: tuple[Epoch, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class TestScore:
    """How the selected model does on the test set.

    Attributes
    ----------
    accuracy : float
        In [0, 1].
    loss : float
        Mean cross-entropy, in nats.
    samples : int
    number : int
        The trial whose model was looked at.
    final : bool
        Whether it was the model of the final training with that trial's parameters.
    looks : int
        How often anybody has looked at this test set in this run; after the first it is no longer unseen.
    """

    __test__ = False  # not a test case, whatever pytest makes of the name

    accuracy: float
    loss: float
    samples: int
    number: int
    final: bool = False
    looks: int

    def __repr__(self) -> str:
        which = f"{'final training of ' if self.final else ''}trial {self.number}"
        text = f"test accuracy {self.accuracy:.4f}, loss {self.loss:.4f} on {self.samples:,} samples ({which})"
        if self.looks > 1:
            text += f"; look number {self.looks} at this test set: the first one is the honest one"
        return text


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunStatus:
    """Where a run stands.

    Attributes
    ----------
    phase : str
        not started, running, or how it ended.
    wanted, finished, running, pruned, failed, infeasible, cancelled : int
        Numbers of trials.
    best_score : float or None
    best_number : int or None
    elapsed_s : float
    left_s : float or None
        How long it will still take, from the trials that have ended; None where that is not known.
    cost : float or None
        What it has cost so far, in US dollars: an estimate; None where trials cost nothing, or nobody has said a price.
    """

    phase: str
    wanted: int
    finished: int
    running: int
    pruned: int
    failed: int
    infeasible: int
    cancelled: int
    best_score: float | None
    best_number: int | None
    elapsed_s: float
    left_s: float | None = None
    cost: float | None = None

    def __repr__(self) -> str:
        states = ("finished", "running", "pruned", "failed", "infeasible", "cancelled")
        counts = ", ".join(f"{getattr(self, name)} {name}" for name in states if getattr(self, name))
        best = "" if self.best_score is None else f"; best score {self.best_score:.4f} (trial {self.best_number})"
        left = "" if self.left_s is None else f", about {self.left_s:.0f} s left"
        cost = "" if self.cost is None else f", about {dollars(self.cost)}"
        return f"{self.phase}: {counts or 'no trials'} of {self.wanted}{best}; {self.elapsed_s:.0f} s{left}{cost}"


def dollars(amount: float) -> str:
    """Say an amount of money: cents, and two digits of what is below one.

    Examples
    --------
    >>> dollars(0.00123), dollars(0.5), dollars(12.345)
    ('$0.0012', '$0.50', '$12.35')
    """
    digits = 2 if amount >= 0.01 or amount <= 0 else 1 - math.floor(math.log10(amount))
    return f"${amount:.{digits}f}"
