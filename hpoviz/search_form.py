"""The settings of a search as a form: what can be chosen, what is chosen, and the request that comes of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from hpoviz.config import OptimizationRequest
from hpoviz.data.catalog import datasets
from hpoviz.data.dataset import Dataset
from hpoviz.errors import ConfigError
from hpoviz.health.metric import EXPLANATIONS
from hpoviz.health.weights import CLASSIC_WEIGHTS, OBJECTIVES, PARTS
from hpoviz.json_values import json_value
from hpoviz.models.model_config import family_for, load_family
from hpoviz.plugins import plugin_names
from hpoviz.search.parameter import Parameter
from hpoviz.search.space import Domain, SearchSpace

__all__ = ["OWN_DATA", "Choices", "form", "request_of"]

OWN_DATA = ""  # the name of data that were passed as an object
EPOCHS = "epochs"  # has a field of its own
TEACHING = ("mnist", "cifar10", "cifar100", "fashion_mnist", "gtsrb", "imdb", "reuters")


@dataclasses.dataclass(frozen=True)
class Choices:
    """What is chosen: the data, by name or as an object, and the request."""

    data: str | Dataset
    request: OptimizationRequest

    @property
    def data_name(self) -> str:
        """The data's name in the catalogue, or `OWN_DATA`."""
        return self.data if isinstance(self.data, str) else OWN_DATA


def form(choices: Choices, *, space: Any = None, own: Dataset | None = None) -> dict[str, Any]:
    """Return the form as JSON values: the fields with what is chosen, what may be chosen, and what it means.

    Parameters
    ----------
    choices : Choices
    space : SearchSpace or CustomSpace, optional
        That of a search that exists; None makes the one that the architecture declares.
    own : Dataset, optional
        Data of the user's own that can be chosen beside the catalogue's.

    Raises
    ------
    ConfigError
        The search space is impossible.
    """
    request = choices.request
    space = _declared_space(choices) if space is None else space
    domains = space.domains if isinstance(space, SearchSpace) else {}
    epochs = domains.get(EPOCHS)
    return json_value(  # type: ignore[no-any-return]
        {
            "data": choices.data_name,
            "datasets": _catalogue(own),
            "objective": request.objective,
            "objectives": OBJECTIVES,
            "trials": request.trials,
            "epochs": None if epochs is None else _ends(epochs),
            "workers": request.workers,
            "backend": request.backend if isinstance(request.backend, str) else None,
            "backends": plugin_names("hpoviz.backends"),
            "seed": request.seed,
            "weights": _weights(request),
            "usual_weights": {"parts": PARTS, "metrics": CLASSIC_WEIGHTS},
            "metric_help": EXPLANATIONS,
            "space": [
                _row(space.parameters[name], domain, _start_domain(request, space.parameters[name], domain))
                for name, domain in domains.items()
                if name != EPOCHS
            ],
            "space_note": "" if domains else "Your own function proposes the parameters.",
        }
    )


def request_of(settings: Mapping[str, Any], choices: Choices, *, space: Any = None) -> tuple[str, OptimizationRequest]:
    """Return the data's name and the request that filled-in settings ask for; what the form does not show is kept.

    Parameters
    ----------
    settings : mapping
        From the browser: data, objective, trials, epochs, workers, backend, seed, weights, space.
    choices : Choices
        What was chosen before.
    space : SearchSpace or CustomSpace, optional
        As for `form`.

    Raises
    ------
    ConfigError
        With every problem at once.
    """
    name, request = settings.get("data", choices.data_name), choices.request
    if not isinstance(name, str):
        raise ConfigError(f"data must be the name of a data set. Got {name!r}.")
    objective = settings.get("objective", request.objective)
    fields: dict[str, Any] = {
        "objective": objective,
        "trials": settings.get("trials", request.trials),
        "workers": settings.get("workers", request.workers),
        "seed": settings.get("seed", request.seed),
        "weights": None if objective == "accuracy" else settings.get("weights", request.weights),
    }
    if isinstance(request.backend, str):
        fields["backend"] = settings.get("backend", request.backend)
    fields |= _space_fields(settings, name, choices, space)
    return name, dataclasses.replace(request, **fields)


def _space_fields(settings: Mapping[str, Any], name: str, choices: Choices, space: Any) -> dict[str, Any]:
    """Return epochs and search_space: only what is narrower than declared."""
    if name != choices.data_name and not _same_family(name, choices):
        return {"search_space": None, "epochs": None}  # other parameters: the form is made anew
    space = _declared_space(choices) if space is None else space
    if not isinstance(space, SearchSpace):
        return {}
    wish = _wish(choices.request)
    entries = dict(_entries(settings))
    if "epochs" in settings and EPOCHS in space.parameters:
        entries[EPOCHS] = {"range": settings["epochs"]}
    for parameter, entry in entries.items():
        item = space.parameters.get(parameter)
        if item is None:
            raise ConfigError(f"There is no parameter {parameter!r}. Parameters: {', '.join(space.parameters)}.")
        if entry == _entry(item, space.domains[parameter]):
            continue  # left as it was
        wanted = _wanted(item, entry)
        if choices.request.build_model is None and _domain(item, wanted) == _domain(item):
            wish.pop(parameter, None)
        else:
            wish[parameter] = wanted
    epochs = wish.pop(EPOCHS) if isinstance(wish.get(EPOCHS), int | tuple) else None
    return {"search_space": wish or None, "epochs": epochs}


def _wish(request: OptimizationRequest) -> dict[str, Any]:
    """Return the user's own search space, epochs included."""
    return dict(request.search_space or {}) | ({} if request.epochs is None else {EPOCHS: request.epochs})


def _entries(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    entries = settings.get("space") or {}
    if not isinstance(entries, Mapping):
        raise ConfigError(f"space must map parameters to ranges or choices. Got {entries!r}.")
    return entries


def _wanted(item: Parameter, entry: Any) -> Any:
    """Return what `search_space` says for an entry of the form; the opposite of `_entry`."""
    match entry:
        case {"range": [low, high]}:
            return low if low == high else (low, high)
        case {"choices": [*places]}:
            values = (*(item.choices or ()), *item.also)
            if not all(isinstance(place, int) and 0 <= place < len(values) for place in places):
                raise ConfigError(f"{item.name} must be {item.describe_allowed()}. Got places {places!r}.")
            return [values[place] for place in places]
        case {"fixed": value}:
            return value
    raise ConfigError(f"{item.name} must have a range, choices or a fixed value. Got {entry!r}.")


def _domain(item: Parameter, wish: Any = None) -> Domain:
    """Return where a parameter is searched by its declaration, or by a user's wish."""
    alone = {item.name: dataclasses.replace(item, when=())}
    return SearchSpace(alone, None if wish is None else {item.name: wish}).domains[item.name]


def _start_domain(request: OptimizationRequest, item: Parameter, domain: Domain) -> Domain:
    """Return what Reset goes back to: what is declared, or for a model of the user's own what he has asked for."""
    return domain if request.build_model is not None else _domain(item)


def _declared_space(choices: Choices) -> SearchSpace | None:
    """Return the space of an architecture without the data, which may not be loaded yet."""
    request = choices.request
    if callable(request.search_space) or request.build_model is not None:
        return None
    kind = choices.data.kind if isinstance(choices.data, Dataset) else _kinds()[choices.data]
    return SearchSpace(load_family(request.architecture or family_for(kind)).parameters(), _wish(request))


def _same_family(name: str, choices: Choices) -> bool:
    if choices.request.build_model is not None or callable(choices.request.search_space):
        return True
    kinds = _kinds()
    if name not in kinds:
        raise ConfigError(f"There is no data set {name!r}. Data sets: {', '.join(kinds)}.")
    now = choices.data.kind if isinstance(choices.data, Dataset) else kinds[choices.data]
    return family_for(now) == family_for(kinds[name])


def _kinds() -> dict[str, str]:
    """Return the kind of every data set of the catalogue that can be used."""
    return {row["name"]: row["kind"] for row in _usable()}


def _usable() -> list[dict[str, Any]]:
    rows = [{str(name): value for name, value in row.items()} for row in datasets().to_dict("records")]
    return [row for row in rows if isinstance(row.get("kind"), str)]


def _catalogue(own: Dataset | None) -> list[dict[str, Any]]:
    rows = _usable()
    rows.sort(key=lambda row: (row["name"] in TEACHING, TEACHING.index(row["name"]) if row["name"] in TEACHING else 0))
    if own is None:
        return rows
    shape = "×".join(map(str, own.x.shape[1:])) or "texts"
    yours = {"name": OWN_DATA, "title": own.name, "kind": own.kind, "classes": len(own.class_names), "shape": shape}
    sizes = {"train": len(own.x), "test": len(own.x_test), "good_for": "your own data", "licence": "", "link": ""}
    return [{**yours, **sizes}, *rows]


def _weights(request: OptimizationRequest) -> dict[str, Any]:
    scoring = request.scoring
    return {"parts": {"accuracy": scoring.accuracy, "health": scoring.health}, "metrics": dict(scoring.metrics)}


def _ends(domain: Domain) -> list[float]:
    values = domain.choices or (domain.low, domain.high)
    return [min(values), max(values)]


def _row(item: Parameter, domain: Domain, start: Domain) -> dict[str, Any]:
    values, ranged = (*(item.choices or ()), *item.also), _ranged(item)
    return {
        "name": item.name,
        "help": item.help,
        "when": " and ".join(map(str, item.when)),
        "default": item.default,
        "whole": item.type is int,
        "log": item.log,
        "valid": item.valid,
        "ranged": ranged,
        "choices": None if ranged else [str(value) for value in values],
        "now": _entry(item, domain),
        "start": _entry(item, start),
    }


def _ranged(item: Parameter) -> bool:
    """Tell whether it has ends: a range, or one number which a search may be asked to leave."""
    return item.choices is None or (len(item.choices) == 1 and item.valid is not None)


def _entry(item: Parameter, domain: Domain) -> dict[str, Any]:
    """Return a domain as the form has it; the opposite of `_wanted`."""
    values = (*(item.choices or ()), *item.also)
    if _ranged(item):
        return {"range": _ends(domain)}
    if domain.choices is not None and all(value in values for value in domain.choices):
        return {"choices": [values.index(value) for value in domain.choices]}
    return {"fixed": domain.choices[0] if domain.choices else None}
