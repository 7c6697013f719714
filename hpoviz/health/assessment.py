"""From an Observation to a HealthReport: nothing but arithmetic, so a report can be made anew of what was kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from hpoviz.health.diagnosis import find_faults
from hpoviz.health.layer_metrics import gradient_health, neuron_utilization, parameter_efficiency
from hpoviz.health.metric import METRICS, Metric, wilson
from hpoviz.health.observation import Observation
from hpoviz.health.prediction_metrics import accuracy_consistency
from hpoviz.health.report import HealthReport
from hpoviz.health.signs import Case
from hpoviz.health.training_metrics import convergence_quality, training_stability, trivial_loss

__all__ = ["assess", "metrics_of"]


def assess(seen: Observation, *, weights: Mapping[str, float], seconds: float) -> HealthReport:
    """Return the report on a model.

    Parameters
    ----------
    seen : Observation
    weights : mapping of str to float
        Of all metrics.
    seconds : float
        How long the observation took.
    """
    metrics = metrics_of(seen)
    return HealthReport(
        model=seen.model,
        metrics=metrics,
        findings=find_faults(Case(metrics, seen)),
        weights=weights,
        rows=seen.rows,
        seconds=seconds,
    )


def metrics_of(seen: Observation) -> dict[str, Metric]:
    """Return the six metrics, by name, in their order."""
    losses, trivial = seen.history.get("loss"), trivial_loss(seen.class_counts)
    labels, predicted = np.asarray(seen.labels), np.asarray(seen.predicted)
    lowest = wilson(float((labels == predicted).sum()), len(labels))[0]
    better_than_chance = lowest > np.bincount(labels).max() / len(labels)
    found = (
        neuron_utilization(seen.now.layers, seen.rows),
        parameter_efficiency(seen.now.layers, seen.rows, better_than_chance=bool(better_than_chance)),
        training_stability(losses, trivial, seen.penalty),
        gradient_health(seen.snapshots),
        convergence_quality(losses, trivial, seen.history.get("val_loss"), seen.penalty),
        accuracy_consistency(labels, predicted, agreement=seen.agreement, train_accuracy=seen.train_accuracy),
    )
    metrics = dict(zip(METRICS, found, strict=True))
    if losses is None and seen.history:
        reason = f"The history has no loss by epoch: it holds {', '.join(map(repr, seen.history))}."
        for name in ("training_stability", "convergence_quality"):
            metrics[name] = dataclasses.replace(metrics[name], reason=reason)
    return metrics
