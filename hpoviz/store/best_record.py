"""What ``best_hyperparameters.yaml`` says: enough to know, and to repeat, the best trial."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpoviz.results import TrialResult

__all__ = ["best_record"]


def best_record(trial: TrialResult, run: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record of a trial for YAML.

    Parameters
    ----------
    trial : TrialResult
        A finished trial.
    run : mapping
        The content of ``run.json``.

    Examples
    --------
    >>> trial = TrialResult(trial_id=4, number=2, params={"use_global_pooling": False}, seed=1, score=0.9)
    >>> run = {"run": "r", "data": {}, "objective": "accuracy", "weights": {}, "architecture": "cnn"}
    >>> record = best_record(trial, run | {"seed": 0, "versions": {}, "execution": {}})
    >>> record["hyperparameters"]
    {'use_global_pooling': False, 'use_flattening': True}
    """
    return {
        "run": run["run"],
        "data": dict(run["data"]),
        "objective": run["objective"],
        "weights": dict(run["weights"]),
        "architecture": run["architecture"],
        "hyperparameters": _with_flattening(trial.params),
        "scores": {
            "score": trial.score,
            "validation_accuracy": trial.accuracy,
            "validation_loss": trial.loss,
            "health": trial.health,
            **trial.metrics,
            "best_epoch": trial.best_epoch,
            "epochs_trained": len(trial.history),
            "parameters": trial.parameters,
            "seconds": trial.seconds,
        },
        "trial": {"number": trial.number, "trial_id": trial.trial_id, "seed": trial.seed},
        "seed": run["seed"],
        "execution": dict(run["execution"]),
        "versions": dict(run["versions"]),
    }


def _with_flattening(params: Mapping[str, Any]) -> dict[str, Any]:
    """Say the opposite of global pooling too, as readers look for either."""
    record: dict[str, Any] = {}
    for name, value in params.items():
        record[name] = value
        if name == "use_global_pooling":
            record["use_flattening"] = not value
    return record
