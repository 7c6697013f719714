"""Optuna studies that say nothing of their own making."""

from __future__ import annotations

import optuna

__all__ = ["quiet_study"]


def quiet_study(
    sampler: optuna.samplers.BaseSampler, pruner: optuna.pruners.BasePruner, objectives: int = 1
) -> optuna.Study:
    """Return a new study in memory that maximises, without the line that Optuna logs about its random name."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return optuna.create_study(directions=["maximize"] * objectives, sampler=sampler, pruner=pruner)
    finally:
        optuna.logging.set_verbosity(verbosity)
