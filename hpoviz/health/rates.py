"""Learning rates: which are usual with an optimizer, and with which one a model was trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["RATES", "constant_rate", "inner_optimizer", "largest_rate", "middle_rate", "said_of_rate", "usual_rates"]

# Learning rates that people use with these optimizers; beyond, most trainings fail.
RATES: Mapping[str, tuple[float, float]] = {
    "SGD": (1e-4, 1.0), "Adam": (1e-5, 2e-2), "AdamW": (1e-5, 2e-2), "Nadam": (1e-5, 2e-2), "Adamax": (1e-5, 5e-2),
    "RMSprop": (1e-5, 2e-2), "Adagrad": (1e-4, 0.5), "Lion": (1e-6, 5e-3),
}  # fmt: skip


def usual_rates(optimizer: str) -> tuple[float, float]:
    """Return the lowest and the highest usual learning rate of an optimizer; from 0 to infinity if it is not known."""
    return RATES.get(optimizer, (0.0, float("inf")))


def middle_rate(optimizer: str) -> float | None:
    """Return a rate to begin with: the geometric mean of the usual ones, to one digit; None if they are not known.

    Examples
    --------
    >>> middle_rate("SGD"), middle_rate("Adam"), middle_rate("Ftrl")
    (0.01, 0.0004, None)
    """
    if optimizer not in RATES:
        return None
    low, high = RATES[optimizer]
    return float(f"{(low * high) ** 0.5:.0e}")


def said_of_rate(rate: float, optimizer: str) -> str:
    """Say a learning rate beside the usual ones.

    Examples
    --------
    >>> said_of_rate(10.0, "SGD")
    'The learning rate is 10; with SGD from 0.0001 to 1 are usual'
    """
    low, high = usual_rates(optimizer)
    return f"The learning rate is {rate:g}; with {optimizer} from {low:g} to {high:g} are usual"


def inner_optimizer(model: Any) -> Any:
    """Return the optimizer of a compiled model, without what Keras puts around it with 16 bits; None without one."""
    outer = getattr(model, "optimizer", None)
    return getattr(outer, "inner_optimizer", outer)


def constant_rate(model: Any) -> float | None:
    """Return the learning rate of a compiled model; None for a schedule."""
    optimizer = inner_optimizer(model)
    rate = optimizer._learning_rate
    return None if callable(rate) and not hasattr(rate, "numpy") else _number(optimizer.learning_rate)


def largest_rate(model: Any, history: Mapping[str, Any]) -> float | None:
    """Return the largest known learning rate of a training; None for a model not trained since it was compiled.

    A callback may have lowered the rate meanwhile: the curve ``learning_rate`` knows, and a schedule its first one.
    """
    optimizer = inner_optimizer(model)
    if optimizer is None or not (_number(optimizer.iterations) or history.get("loss")):
        return None
    known: list[float] = [_number(optimizer.learning_rate), *history.get("learning_rate", ())]
    if constant_rate(model) is None:
        known.append(_number(optimizer._learning_rate(0)))
    return max(known)


def _number(value: Any) -> float:
    """Return the number in a tensor or a variable, one that lies on several devices included."""
    return float(value.numpy() if hasattr(value, "numpy") else value)
