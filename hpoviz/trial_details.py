"""Everything that is known of one trial, ready for the details panel of the dashboard."""

from __future__ import annotations

import dataclasses
from typing import Any

from hpoviz.errors import StoreError
from hpoviz.json_values import json_value
from hpoviz.search.space import SearchSpace
from hpoviz.trial import Trial

__all__ = ["trial_details"]


def trial_details(trial: Trial, space: Any) -> dict[str, Any]:
    """Return parameters, figures, epochs, health and errors of a trial as JSON values.

    ``health_html`` is already escaped HTML; everything else is plain text and numbers.

    Parameters
    ----------
    trial : Trial
    space : SearchSpace or CustomSpace
        Whose domains and explanations stand beside the parameters.

    Examples
    --------
    >>> from pathlib import Path
    >>> from hpoviz.results import TrialResult
    >>> result = TrialResult(trial_id=0, number=0, state="failed", params={"filters": 8}, seed=0, reason="no luck")
    >>> found = trial_details(Trial(result, Path("nowhere")), SearchSpace({}))
    >>> found["params"], found["no_health"]
    ([['filters', '8', '', '', '']], 'Trial 0 has no health: the trial is failed.')
    """
    result = trial.result
    known = {row["name"]: row for row in space.describe()} if isinstance(space, SearchSpace) else {}
    health, no_health = None, ""
    try:
        health = trial.health._repr_html_()
    except StoreError as error:
        no_health = str(error)
    columns = ("epoch", "loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds")
    return {
        "id": result.trial_id,
        "loss": json_value(result.loss),
        "seed": result.seed,
        "trained_by": result.trained_by or "",
        "params": [
            [
                name,
                _cell(value),
                *(known.get(name, {}).get(column, "") for column in ("searched", "default", "help")),
            ]
            for name, value in result.params.items()
        ],
        "columns": columns,
        "epochs": [
            [json_value(value) for name, value in dataclasses.asdict(epoch).items() if name in columns]
            for epoch in result.history
        ],
        "health_html": health,
        "no_health": no_health,
        "reason": result.reason or "",
        "traceback": result.details or "",
    }


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
