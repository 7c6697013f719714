"""How much each metric counts in the overall health, and what a search makes of accuracy and health."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any

from hpoviz.errors import ConfigError, nearest
from hpoviz.health.metric import METRICS

__all__ = ["CLASSIC_WEIGHTS", "OBJECTIVES", "PARETO", "Scoring", "checked_weights", "scoring_problems"]

PARETO = "pareto"
OBJECTIVES = ("accuracy", "health", PARETO)
CLASSIC_WEIGHTS: Mapping[str, float] = {
    "neuron_utilization": 0.25,
    "parameter_efficiency": 0.15,
    "training_stability": 0.20,
    "gradient_health": 0.15,
    "convergence_quality": 0.15,
    "accuracy_consistency": 0.10,
}
PARTS = {"accuracy": 0.7, "health": 0.3}
NONE_LEFT = "At least one health metric must have a weight above 0."


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scoring:
    """What a search maximises.

    Attributes
    ----------
    objective : {"accuracy", "health", "pareto"}
        "health": ``accuracy`` times the validation accuracy and ``health`` times the overall health, divided by their
        sum. With "pareto" the score is the accuracy, and trials are compared by accuracy, health and size.
    accuracy, health : float
    metrics : mapping of str to float
        Weights of the six metrics in the overall health.

    Examples
    --------
    >>> scoring = Scoring.of("health", {"accuracy": 0.5, "health": 0.5, "gradient_health": 1})
    >>> scoring.score(0.9, 0.5)
    0.7
    >>> scoring.describe()
    '0.5 accuracy + 0.5 health (1 gradient health)'
    """

    objective: str = "accuracy"
    accuracy: float = PARTS["accuracy"]
    health: float = PARTS["health"]
    metrics: Mapping[str, float] = dataclasses.field(default_factory=lambda: dict(CLASSIC_WEIGHTS))

    @classmethod
    def of(cls, objective: str, weights: Mapping[str, float] | None) -> Scoring:
        """Return the scoring of an objective with its weights; those not named are the usual ones.

        Where one of the six metrics is named, those that are not have weight 0.
        """
        given = dict(weights or {})
        parts = {name: float(given.get(name, value)) for name, value in PARTS.items()}
        inner = {name: value for name, value in given.items() if name in METRICS}
        return cls(objective=objective, **parts, metrics=checked_weights(inner or None))

    @property
    def needs_health(self) -> bool:
        """Whether a trial without health has no score."""
        return self.objective != "accuracy"

    def score(self, accuracy: float, health: float | None) -> float:
        """Return the score of a trial, in [0, 1]."""
        if self.objective != "health":
            return accuracy
        assert health is not None  # a trial without it has failed
        return (self.accuracy * accuracy + self.health * health) / (self.accuracy + self.health)

    def to_dict(self) -> dict[str, float]:
        """Return the weights that count, for a record."""
        if self.objective == "accuracy":
            return {"accuracy": 1.0}
        parts = {"accuracy": self.accuracy, "health": self.health} if self.objective == "health" else {}
        return {**parts, **self.metrics}

    def missing(self, values: Mapping[str, float | None]) -> list[str]:
        """Return the metrics that have a weight and no value."""
        return [name for name, weight in self.metrics.items() if weight > 0 and values.get(name) is None]

    def describe(self) -> str:
        """Say it in words."""
        if self.objective == "accuracy":
            return "validation accuracy"
        inner = " + ".join(f"{w:.3g} {name.replace('_', ' ')}" for name, w in self.metrics.items() if w > 0)
        if self.objective == PARETO:
            return f"validation accuracy, health ({inner}) and number of weights, none before the others"
        return f"{self.accuracy:.3g} accuracy + {self.health:.3g} health ({inner})"


def scoring_problems(objective: str, weights: Any) -> Iterator[str]:
    """Yield what is wrong with the weights of a search."""
    if weights is None:
        return
    if not isinstance(weights, Mapping):
        yield f"weights must be a dictionary, as {{'accuracy': 0.7, 'health': 0.3}}. Got {weights!r}."
        return
    if objective == "accuracy":
        yield "weights belong to objective='health' or 'pareto'. With objective='accuracy' leave them out."
    if objective == PARETO and (named := [name for name in PARTS if name in weights]):
        yield f"With objective='pareto' nothing is weighed against accuracy: leave {', '.join(named)} out of weights."
    problems = list(_problems(weights, (*PARTS, *METRICS)))
    yield from problems
    inner = [weights[name] for name in METRICS if name in weights]
    if not problems and inner and not any(inner):
        yield NONE_LEFT
    if objective == "health" and all(weights.get(name, value) == 0 for name, value in PARTS.items()):
        yield "accuracy and health cannot both have weight 0."


def checked_weights(weights: Mapping[str, float] | None) -> dict[str, float]:
    """Return the weight of every metric; those that are not named have weight 0, all are the classic ones by default.

    Raises
    ------
    ConfigError
        Unknown metrics, negative weights, or all zero.
    """
    if weights is None:
        return dict(CLASSIC_WEIGHTS)
    problems = list(_problems(weights, METRICS))
    if not problems and not any(weights.values()):
        problems = [NONE_LEFT]
    if problems:
        raise ConfigError("\n".join(problems))
    return {name: float(weights.get(name, 0.0)) for name in METRICS}


def _problems(weights: Mapping[str, Any], known: tuple[str, ...]) -> Iterator[str]:
    for name, value in weights.items():
        if name not in known:
            yield f"There is no health metric {name!r}.{nearest(str(name), known)} Metrics: {', '.join(known)}."
        elif isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            yield f"The weight of {name} must be a number of at least 0. Got {value!r}."
