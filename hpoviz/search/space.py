"""The search space: what a search may propose, narrowed by the user, without impossible combinations."""

from __future__ import annotations

import dataclasses
import itertools
import numbers
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import numpy as np

from hpoviz.errors import ConfigError, nearest
from hpoviz.search.parameter import Parameter

__all__ = ["CustomSpace", "Domain", "SearchSpace", "Suggester", "own_parameters"]

LARGEST = 1e300  # the size of a range must be a number too
LOG_FROM = 100  # a range whose end is so many times its beginning is searched by orders of magnitude
Misfit = Callable[[Mapping[str, Any]], str | None]


class Suggester(Protocol):
    """What a space asks for values: an Optuna trial, or anything with its three methods."""

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = ...) -> int: ...

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = ...) -> float: ...

    def suggest_categorical(self, name: str, choices: Any) -> Any: ...


@dataclasses.dataclass(frozen=True)
class Domain:
    """Where one parameter is searched: a range (both ends included) or choices; one choice means fixed."""

    choices: tuple[Any, ...] | None = None
    low: float = 0
    high: float = 0
    log: bool = False

    @property
    def fixed(self) -> bool:
        """Whether there is nothing to search."""
        return self.choices is not None and len(self.choices) == 1

    def __str__(self) -> str:
        if self.choices is not None:
            return " | ".join(map(str, self.choices))
        return f"{self.low:g} to {self.high:g}{' (log)' if self.log else ''}"


class SearchSpace:
    """The parameters of a model family with the domain in which each is searched.

    Parameters
    ----------
    parameters : mapping of str to Parameter
        In order: a condition names only earlier parameters.
    narrowed : mapping, optional
        The user's own values: fixed value, list of choices, or (low, high).
    structure : tuple of str
        Parameters whose combination may not fit the data; few and discrete, as all are enumerated once.
    misfit : callable
        Maps values of `structure` to the reason why they do not fit, or None.

    Raises
    ------
    ConfigError
        Unknown names, wrong values, ranges upside down, or no combination that fits; all at once.

    Examples
    --------
    >>> from hpoviz.models.cnn import CnnConfig
    >>> from hpoviz.search.parameter import parameters_of
    >>> space = SearchSpace(parameters_of(CnnConfig), {"kernel_size": 3, "filters": (8, 16)})
    >>> str(space.domains["filters"])
    '8 to 16 (log)'
    """

    def __init__(
        self,
        parameters: Mapping[str, Parameter],
        narrowed: Mapping[str, Any] | None = None,
        *,
        structure: tuple[str, ...] = (),
        misfit: Misfit = lambda values: None,
    ) -> None:
        self.parameters = dict(parameters)
        self.domains = _domains(self.parameters, narrowed)
        self._structure = structure
        self._combinations = self._fitting_combinations(misfit)
        self._order = [*structure, *(name for name in self.parameters if name not in structure)]

    def suggest(self, trial: Suggester) -> dict[str, Any]:
        """Return a value for every parameter; only those that are searched and have an effect are asked for."""
        params = {name: item.default for name, item in self.parameters.items()}
        params |= {name: domain.choices[0] for name, domain in self.domains.items() if domain.fixed and domain.choices}
        for name in self._order:
            domain = self._domain_beside(name, params)
            if domain.fixed and domain.choices:
                params[name] = domain.choices[0]
            elif self.parameters[name].active(params):
                params[name] = self._ask(trial, name, domain)
        return params

    def near(self, params: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the parameters of this space that are nearest to `params`, or to the defaults where it names none.

        Returns
        -------
        answers : dict
            What to answer to `suggest`'s questions.
        params : dict
            What `suggest` then returns.
        """
        wishes = _Wishes({name: item.default for name, item in self.parameters.items()} | dict(params))
        found = self.suggest(wishes)
        return wishes.given, found

    def describe(self) -> list[dict[str, str]]:
        """Return one row a parameter for tables: name, searched, default, condition, explanation."""
        return [
            {
                "name": name,
                "searched": ("fixed: " if self.domains[name].fixed else "") + str(self.domains[name]),
                "default": str(item.default),
                "when": " and ".join(map(str, item.when)),
                "help": item.help,
            }
            for name, item in self.parameters.items()
        ]

    def _fitting_combinations(self, misfit: Misfit) -> list[dict[str, Any]]:
        values = [_all_values(self.domains[name]) for name in self._structure]
        combinations = [dict(zip(self._structure, row, strict=True)) for row in itertools.product(*values)]
        reasons = [misfit(combination) for combination in combinations]
        fitting = [item for item, reason in zip(combinations, reasons, strict=True) if reason is None]
        if not fitting:
            raise ConfigError(f"No model of this search space fits the data: {reasons[0]}")
        return fitting

    def _domain_beside(self, name: str, params: Mapping[str, Any]) -> Domain:
        """Return the domain, less what cannot be combined with the structure chosen so far."""
        full = self.domains[name]
        if name not in self._structure or full.fixed:
            return full
        chosen = self._structure[: self._structure.index(name)]
        open_ = [row for row in self._combinations if all(row[other] == params[other] for other in chosen)]
        allowed = tuple(value for value in _all_values(full) if any(row[name] == value for row in open_))
        if len(allowed) == 1 or full.choices is not None or len(allowed) <= allowed[-1] - allowed[0]:
            return Domain(choices=allowed)
        return dataclasses.replace(full, low=allowed[0], high=allowed[-1])

    def _ask(self, trial: Suggester, name: str, domain: Domain) -> Any:
        if domain.choices is not None:
            # Optuna allows one set of choices a name: a reduced set is asked for under a name of its own.
            label = name if domain == self.domains[name] else f"{name}[{','.join(map(str, domain.choices))}]"
            return trial.suggest_categorical(label, domain.choices)
        if self.parameters[name].type is int:
            return trial.suggest_int(name, int(domain.low), int(domain.high), log=domain.log)
        return trial.suggest_float(name, domain.low, domain.high, log=domain.log)


class CustomSpace:
    """A space written by the user: a function from an Optuna trial to a dictionary of parameters.

    Parameters
    ----------
    parameters : mapping of str to Parameter
        The declared ones, which are checked and keep their defaults where they are left out.
    function : callable
    open_ : bool
        Whether the function may add parameters of its own, as those of the user's own model.

    Examples
    --------
    >>> from hpoviz.models.cnn import CnnConfig
    >>> from hpoviz.search.parameter import parameters_of
    >>> space = CustomSpace(parameters_of(CnnConfig), lambda trial: {"filters": 16})
    >>> space.suggest(None)["filters"]
    16
    """

    def __init__(
        self,
        parameters: Mapping[str, Parameter],
        function: Callable[[Any], Mapping[str, Any]],
        *,
        open_: bool = False,
    ) -> None:
        self.parameters = dict(parameters)
        self.function = function
        self._open = open_

    def suggest(self, trial: Any) -> dict[str, Any]:
        """Call the function and check what it returns; parameters that it leaves out keep their defaults."""
        returned = self.function(trial)
        if not isinstance(returned, Mapping):
            raise ConfigError(
                f"The search_space function must return a dictionary of parameters. Got {type(returned).__name__}. "
                'Return for example {"filters": trial.suggest_int("filters", 8, 64)}.'
            )
        known = {name: value for name, value in returned.items() if name in self.parameters}
        own = {name: _plain(value) for name, value in returned.items() if name not in self.parameters}
        problems = list(_own_problems(own) if self._open else _unknown_names(returned, self.parameters))
        problems += [text for name, value in known.items() if (text := self.parameters[name].problem(value))]
        if problems:
            raise ConfigError("\n".join(problems))
        defaults = {name: item.default for name, item in self.parameters.items()}
        return own | defaults | {name: self.parameters[name].convert(value) for name, value in known.items()}

    def near(self, params: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return `params` as answers to what the function asks for under their names, and with the defaults of others.

        What the function makes of the answers is known once it is asked.
        """
        return dict(params), {name: item.default for name, item in self.parameters.items()} | dict(params)

    def describe(self) -> list[dict[str, str]]:
        """Return one row that says that a function decides."""
        name = getattr(self.function, "__qualname__", repr(self.function))
        return [{"name": "(your function)", "searched": name, "default": "", "when": "", "help": ""}]


class _Wishes:
    """A suggester that answers with wishes, moved into the range or to the first choice where they are outside."""

    def __init__(self, wishes: Mapping[str, Any]) -> None:
        self._wishes = wishes
        self.given: dict[str, Any] = {}

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        self.given[name] = min(max(self._wishes[name], low), high)
        return int(self.given[name])

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        self.given[name] = min(max(self._wishes[name], low), high)
        return float(self.given[name])

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        wish = self._wishes[name.partition("[")[0]]
        self.given[name] = wish if wish in choices else choices[0]
        return self.given[name]


def _domains(parameters: Mapping[str, Parameter], narrowed: Mapping[str, Any] | None) -> dict[str, Domain]:
    domains = {name: _declared_domain(item) for name, item in parameters.items()}
    if narrowed is None:
        return domains
    if not isinstance(narrowed, Mapping):
        raise ConfigError(
            f"search_space must be a dictionary or a function of an Optuna trial. Got {narrowed!r}. "
            'Write for example {"num_layers_conv": (1, 3), "activation": "relu"}.'
        )
    problems = list(_unknown_names(narrowed, parameters))
    for name, wish in narrowed.items():
        if name in parameters:
            try:
                domains[name] = _narrowed_domain(parameters[name], wish)
            except ConfigError as error:
                problems.append(str(error))
    if problems:
        raise ConfigError("\n".join(problems))
    return domains


def _unknown_names(given: Mapping[str, Any], parameters: Mapping[str, Parameter]) -> Iterator[str]:
    for name in given:
        if name not in parameters:
            yield (
                f"search_space has an unknown parameter {name!r}.{nearest(name, parameters)} "
                f"Parameters: {', '.join(parameters)}."
            )


def own_parameters(wish: Any, declared: Mapping[str, Parameter]) -> dict[str, Parameter]:
    """Return the parameters that a user's search space adds to the declared ones, declared by their ranges.

    A range of positive numbers whose end is at least 100 times its beginning is searched by orders of magnitude.

    Raises
    ------
    ConfigError
        For a name that is no string, and for values that are neither numbers, strings, booleans nor None.

    Examples
    --------
    >>> own = own_parameters({"units": (16, 128), "rate": (1e-4, 1e-1), "bend": ["relu", "tanh"]}, {})
    >>> own["units"].search, own["rate"].log, own["bend"].choices
    ((16, 128), True, ('relu', 'tanh'))
    """
    if not isinstance(wish, Mapping):
        return {}
    own = {name: _plain(value) for name, value in wish.items() if name not in declared}
    problems = [
        problem
        for name, value in own.items()
        for item in (value if isinstance(value, (list, tuple)) else [value])
        for problem in _own_problems({name: item})
    ]
    empty = [name for name, value in own.items() if isinstance(value, (list, tuple)) and not value]
    problems += [f"search_space: {name} has no choices. Give at least one." for name in empty]
    if problems:
        raise ConfigError("\n".join(dict.fromkeys(problems)))
    return {name: _own_parameter(name, value) for name, value in own.items()}


def _own_parameter(name: str, wish: Any) -> Parameter:
    text = "A parameter of your own model."
    if not (isinstance(wish, tuple) and len(wish) == 2 and all(_is_number(end) for end in wish)):
        choices = tuple(dict.fromkeys(wish)) if isinstance(wish, (list, tuple)) else (wish,)
        return Parameter(name=name, default=choices[0], help=text, choices=choices)
    kind = int if all(isinstance(end, numbers.Integral) for end in wish) else float
    low, high = kind(wish[0]), kind(wish[1])
    if low > high:
        raise ConfigError(f"search_space: the range of {name} is upside down: {wish!r}. Write ({high!r}, {low!r}).")
    if low == high:
        return Parameter(name=name, default=low, help=text, choices=(low,))
    log = low > 0 and high >= LOG_FROM * low
    return Parameter(name=name, default=low, help=text, search=(low, high), valid=(low, high), log=log)


def _own_problems(values: Mapping[Any, Any]) -> Iterator[str]:
    for name, value in values.items():
        if not isinstance(name, str):
            yield f"search_space: the name of a parameter must be a string. Got {name!r}."
        elif not isinstance(value, (bool, int, float, str, type(None))):
            yield f"search_space: {name} must be a number, a string, True, False or None. Got {value!r}."
        elif isinstance(value, float) and not abs(value) <= LARGEST:
            yield f"search_space: {name} must be finite, at most {LARGEST:g} in size. Got {value!r}."


def _plain(value: Any) -> Any:
    """Return NumPy scalars as Python's, also inside a list or tuple; an array becomes a list."""
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(item) for item in value)
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value


def _declared_domain(item: Parameter) -> Domain:
    if item.choices is not None:
        return Domain(choices=item.choices)
    assert item.search is not None  # `parameter` made sure of it
    return Domain(low=item.search[0], high=item.search[1], log=item.log)


def _narrowed_domain(item: Parameter, wish: Any) -> Domain:
    if isinstance(wish, tuple) and len(wish) == 2 and all(_is_number(end) for end in wish):
        return _range_domain(item, *wish)
    if isinstance(wish, tuple) and item.choices is None:
        raise ConfigError(f"search_space: a range of {item.name} is a tuple of two numbers. Got {wish!r}.")
    values = list(wish) if isinstance(wish, (list, tuple)) else [wish]
    if not values:
        raise ConfigError(f"search_space: {item.name} has no choices. Give at least one of: {item.describe_allowed()}.")
    problems = [problem for value in values if (problem := item.problem(value))]
    if problems:
        raise ConfigError("\n".join(f"search_space: {problem}" for problem in problems))
    return Domain(choices=tuple(dict.fromkeys(item.convert(value) for value in values)))


def _range_domain(item: Parameter, low: Any, high: Any) -> Domain:
    if low > high:
        raise ConfigError(
            f"search_space: the range of {item.name} is upside down: ({low!r}, {high!r}). Write ({high!r}, {low!r})."
        )
    if item.choices is not None and (len(item.choices) > 1 or item.valid is None):
        inside = tuple(choice for choice in item.choices if _is_number(choice) and low <= choice <= high)
        if not inside:
            choices = ", ".join(map(repr, item.choices))
            raise ConfigError(
                f"search_space: {item.name} must be one of {choices}. Got ({low!r}, {high!r}). "
                "Name the values you want in a list."
            )
        return Domain(choices=inside)
    problems = [problem for end in (low, high) if (problem := item.problem(end))]
    if problems:
        raise ConfigError("\n".join(f"search_space: {problem}" for problem in problems))
    if low == high:
        return Domain(choices=(item.convert(low),))
    return Domain(low=item.convert(low), high=item.convert(high), log=item.log and low > 0)


def _all_values(domain: Domain) -> tuple[Any, ...]:
    if domain.choices is not None:
        return domain.choices
    return tuple(range(int(domain.low), int(domain.high) + 1))


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)
