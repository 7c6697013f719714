"""A hyperparameter, declared once: default, search range, allowed values, condition, and what there is to explain."""

from __future__ import annotations

import dataclasses
import inspect
import math
import numbers
from collections.abc import Container, Mapping
from typing import Any, TypedDict, Unpack

from hpoviz.errors import ConfigError, nearest
from hpoviz.health.metric import METRICS

__all__ = [
    "CardText",
    "Condition",
    "Parameter",
    "at_least",
    "one_of",
    "parameter",
    "parameters_of",
    "said_once",
    "varied",
]


@dataclasses.dataclass(frozen=True)
class Condition:
    """When a parameter has any effect: another one has one of `values`, or is at least `least`."""

    name: str
    values: tuple[Any, ...] | None = None
    least: float | None = None

    def holds(self, params: Mapping[str, Any]) -> bool:
        """Tell whether the condition is met by these parameters."""
        value = params[self.name]
        return value in self.values if self.values is not None else value >= self.least

    def __str__(self) -> str:
        if self.values is None:
            return f"{self.name} is at least {self.least:g}"
        return f"{self.name} is {' or '.join(map(str, self.values))}"


def at_least(name: str, least: float) -> Condition:
    """Return the condition that parameter `name` is at least `least`."""
    return Condition(name, least=least)


def one_of(name: str, *values: Any) -> Condition:
    """Return the condition that parameter `name` has one of `values`."""
    return Condition(name, values=values)


class CardText(TypedDict, total=False):
    """What a declaration may say beside `help`, for the parameter's card (`hpoviz.explain`): all of it optional.

    Attributes
    ----------
    topic : str
        What it belongs to with others: "dropout", "learning rate".
    raising, lowering : str
        What a larger and a smaller value does to a model.
    means : mapping of str to str
        In place of these, where there is no more and less: what each choice does, by the choice as text.
    interacts : mapping of str to str
        Names of other parameters, and how the two work on each other.
    health : mapping of str to str
        Names of health metrics, and how they move.
    picture : str
        Name of a picture of ``hpoviz.cards.pictures``.
    """

    topic: str
    raising: str
    lowering: str
    means: Mapping[str, str]
    interacts: Mapping[str, str]
    health: Mapping[str, str]
    picture: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Parameter:
    """The declaration of one hyperparameter.

    Attributes
    ----------
    name : str
    default : int, float, str or bool
    help : str
        What it does to a model, in words fit for a learner.
    choices : tuple, optional
        The values that a search tries.
    also : tuple
        Values that are allowed beside `choices`, but tried only where the user asks for them.
    search : (low, high), optional
        The range that a search tries, both ends included; a parameter has either this or choices.
    valid : (low, high), optional
        The range that is allowed; wider than the search. None: `choices` and `also` are all.
    log : bool
        Search the range by orders of magnitude.
    when : tuple of Condition
        All must hold, or the parameter has no effect and is not searched.
    topic, raising, lowering, means, interacts, health, picture
        What its card says beside `help`: see `CardText`.
    """

    name: str
    default: Any
    help: str
    choices: tuple[Any, ...] | None = None
    also: tuple[Any, ...] = ()
    search: tuple[float, float] | None = None
    valid: tuple[float, float] | None = None
    log: bool = False
    when: tuple[Condition, ...] = ()
    topic: str = ""
    raising: str = ""
    lowering: str = ""
    means: Mapping[str, str] = dataclasses.field(default_factory=dict, hash=False)
    interacts: Mapping[str, str] = dataclasses.field(default_factory=dict, hash=False)
    health: Mapping[str, str] = dataclasses.field(default_factory=dict, hash=False)
    picture: str = ""

    @property
    def type(self) -> type:
        """int, float, str or bool."""
        return type(self.default)

    def active(self, params: Mapping[str, Any]) -> bool:
        """Tell whether the parameter has an effect beside these others."""
        return all(condition.holds(params) for condition in self.when)

    def describe_allowed(self) -> str:
        """Say in words which values are allowed."""
        if self.valid is None:
            return "one of " + ", ".join(repr(choice) for choice in (*(self.choices or ()), *self.also))
        kind = "a whole number" if self.type is int else "a number"
        return f"{kind} from {self.valid[0]:g} to {self.valid[1]:g}"

    def problem(self, value: Any) -> str | None:
        """Return what is wrong with a value, or None."""
        if self._right_type(value) and self._in_range(value):
            return None
        return f"{self.name} must be {self.describe_allowed()}. Got {value!r}."

    def convert(self, value: Any) -> Any:
        """Return a right value as the declared Python type, so that it survives JSON."""
        return self.type(value)

    def _right_type(self, value: Any) -> bool:
        if self.type is bool or isinstance(value, bool):
            return isinstance(value, bool) and self.type is bool
        if self.type is float:
            return isinstance(value, numbers.Real) and math.isfinite(value)
        return isinstance(value, numbers.Integral if self.type is int else self.type)

    def _in_range(self, value: Any) -> bool:
        if self.valid is not None:
            return bool(self.valid[0] <= value <= self.valid[1])
        return value in (self.choices or ()) or value in self.also


def parameter(
    default: Any,
    *,
    help: str,
    choices: tuple[Any, ...] | None = None,
    also: tuple[Any, ...] = (),
    search: tuple[float, float] | None = None,
    valid: tuple[float, float] | None = None,
    log: bool = False,
    when: tuple[Condition, ...] | Condition = (),
    **card: Unpack[CardText],
) -> Any:
    """Declare a hyperparameter as a dataclass field of a ModelConfig. See `Parameter` and `CardText` for the arguments.

    Examples
    --------
    >>> @dataclasses.dataclass(frozen=True, kw_only=True)
    ... class Tiny:
    ...     units: int = parameter(8, search=(4, 64), valid=(1, 4096), log=True, help="Width of the layer.")
    >>> parameters_of(Tiny)["units"].search
    (4, 64)
    """
    if (choices is None) == (search is None):
        raise ConfigError("A parameter has either choices or a search range. Give one of them.")
    _check_card(card)
    if isinstance(default, bool):
        valid = None
    elif search is not None and valid is None:
        valid = search
    conditions = (when,) if isinstance(when, Condition) else when
    declared = {"help": help, "choices": choices, "also": also, "search": search, "valid": valid, "log": log}
    return dataclasses.field(default=default, metadata={"hyperparameter": declared | {"when": conditions} | card})


def _check_card(card: CardText) -> None:
    if unknown := [name for name in card if name not in CardText.__annotations__]:
        raise TypeError(f"parameter() got an unexpected keyword argument {unknown[0]!r}")
    for name in card.get("health", {}):
        if name not in METRICS:
            raise ConfigError(f"health must name metrics: {', '.join(METRICS)}. Got {name!r}.{nearest(name, METRICS)}")


def varied(base: type, name: str, default: Any, **changes: Any) -> Any:
    """Declare a parameter of a parent anew with another default, and with other arguments where they are given.

    Examples
    --------
    >>> @dataclasses.dataclass(frozen=True, kw_only=True)
    ... class Tiny:
    ...     units: int = parameter(8, search=(4, 64), help="Width of the layer.")
    >>> @dataclasses.dataclass(frozen=True, kw_only=True)
    ... class Wide(Tiny):
    ...     units: int = varied(Tiny, "units", 32)
    >>> parameters_of(Wide)["units"].default, parameters_of(Wide)["units"].help
    (32, 'Width of the layer.')
    """
    (field,) = [field for field in dataclasses.fields(base) if field.name == name]
    return parameter(default, **{**field.metadata["hyperparameter"], **changes})


def parameters_of(cls: type) -> dict[str, Parameter]:
    """Return the parameters declared by a dataclass, by name: its own first, then its parents', nearest first.

    One that varies a parent's stands where the parent's stood.
    """
    found = [
        Parameter(name=field.name, default=field.default, **field.metadata["hyperparameter"])
        for field in dataclasses.fields(cls)
        if "hyperparameter" in field.metadata
    ]
    home = {
        name: level
        for level, base in enumerate(cls.__mro__)
        if dataclasses.is_dataclass(base)
        for name in inspect.get_annotations(base)
    }
    found.sort(key=lambda item: home[item.name])
    return {item.name: item for item in found}


def said_once(params: Mapping[str, Any], known: Container[str]) -> dict[str, Any]:
    """Return parameters as a family takes them, read from ``best_hyperparameters.yaml`` too.

    That file says ``use_flattening`` beside ``use_global_pooling``, its opposite.

    Raises
    ------
    ConfigError
        The two contradict each other.

    Examples
    --------
    >>> said_once({"filters": 8, "use_flattening": True}, {"filters", "use_global_pooling"})
    {'filters': 8, 'use_global_pooling': False}
    """
    found = dict(params)
    flattening = found.get("use_flattening")
    if not isinstance(flattening, bool) or "use_flattening" in known or "use_global_pooling" not in known:
        return found
    del found["use_flattening"]
    if found.setdefault("use_global_pooling", not flattening) is flattening:
        raise ConfigError(
            f"use_global_pooling and use_flattening are opposites. Got {flattening!r} for both. Leave one of them out."
        )
    return found
