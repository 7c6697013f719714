"""Which of a search's trials is taken: by score, by health within the error of accuracy, or all that none beats."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hpoviz.results import BEST, FINISHED, TrialResult

__all__ = ["pareto_front", "selected", "size_efficiency"]


def selected(trials: Sequence[TrialResult], select: str, validation_rows: int) -> TrialResult | None:
    """Return the trial that a search selects; None if none has finished.

    Parameters
    ----------
    trials : sequence of TrialResult
        By number.
    select : {"best", "one_se_healthiest"}
        The highest score, of equals the one that finished first; or the healthiest of the trials whose accuracy is at
        most one standard error, √(p(1 − p) / rows), below the highest (after Breiman et al. 1984, who choose the
        simplest).
    validation_rows : int
        Samples that the accuracies were measured on.

    Examples
    --------
    >>> options = {"params": {}, "seed": 0, "state": FINISHED}
    >>> one = TrialResult(trial_id=0, number=0, score=0.95, accuracy=0.95, health=0.4, **options)
    >>> two = TrialResult(trial_id=1, number=1, score=0.945, accuracy=0.945, health=0.9, **options)
    >>> selected([one, two], "best", 400).number, selected([one, two], "one_se_healthiest", 400).number
    (0, 1)
    """
    finished = [trial for trial in trials if trial.state == FINISHED and trial.score is not None]
    if not finished:
        return None
    if select == BEST:
        return max(finished, key=lambda trial: (trial.score or 0.0, -(trial.number or 0)))
    return max(
        _near(finished, validation_rows),
        key=lambda trial: (trial.health or 0.0, trial.accuracy or 0.0, -(trial.number or 0)),
    )


def size_efficiency(trials: Sequence[TrialResult], validation_rows: int) -> dict[int, float]:
    """Return, by number, how small a trial's model is beside the smallest that is as accurate as can be told.

    log(weights of the smallest trial within one standard error of the best accuracy) / log(own weights), 1 at most.
    """
    finished = [
        trial for trial in trials if trial.state == FINISHED and trial.parameters and trial.accuracy is not None
    ]
    near = _near(finished, validation_rows)
    if not near:
        return {}
    smallest = min(trial.parameters or 1 for trial in near)
    return {
        trial.number or 0: min(1.0, math.log(max(smallest, 2)) / math.log(max(trial.parameters or 2, 2)))
        for trial in finished
    }


def pareto_front(trials: Sequence[TrialResult]) -> list[TrialResult]:
    """Return the finished trials that no other one beats, the most accurate first.

    One beats another if it is as accurate, as healthy and as small, and better in one of these.
    """
    finished = [trial for trial in trials if trial.state == FINISHED and trial.health is not None]
    front = [trial for trial in finished if not any(_beats(other, trial) for other in finished)]
    return sorted(front, key=lambda trial: -(trial.accuracy or 0.0))


def _near(finished: Sequence[TrialResult], validation_rows: int) -> list[TrialResult]:
    """Return the trials whose accuracy is at most one standard error below the highest."""
    best = max((trial.accuracy or 0.0 for trial in finished), default=0.0)
    error = math.sqrt(best * (1 - best) / validation_rows)
    return [trial for trial in finished if (trial.accuracy or 0.0) >= best - error]


def _beats(one: TrialResult, other: TrialResult) -> bool:
    mine, theirs = _values(one), _values(other)
    return all(a >= b for a, b in zip(mine, theirs, strict=True)) and mine != theirs


def _values(trial: TrialResult) -> tuple[float, float, float]:
    return trial.accuracy or 0.0, trial.health or 0.0, -float(trial.parameters or 0)
