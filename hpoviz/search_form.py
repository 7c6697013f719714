"""The settings of a search as a form: what can be chosen, what is chosen, and the request that comes of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from hpoviz.backend_choice import BackendChoice
from hpoviz.backends.runpod import RunPodBackend
from hpoviz.cards.explain import card_page
from hpoviz.config import OptimizationRequest
from hpoviz.data.catalog import datasets
from hpoviz.data.dataset import Dataset
from hpoviz.errors import ConfigError
from hpoviz.health.metric import EXPLANATIONS
from hpoviz.health.weights import CLASSIC_WEIGHTS, OBJECTIVES, PARTS, Scoring, scoring_problems
from hpoviz.json_values import json_value
from hpoviz.models.model_config import family_for, load_family
from hpoviz.plugins import plugin_names
from hpoviz.search.parameter import Parameter
from hpoviz.search.space import Domain, SearchSpace

__all__ = ["OWN_DATA", "Choices", "card", "form", "request_of"]

OWN_DATA = ""  # the name of data that were passed as an object
EPOCHS = "epochs"  # has a field of its own
TEACHING = (
    "mnist",
    "cifar10",
    "cifar100",
    "fashion_mnist",
    "gtsrb",
    "imdb",
    "reuters",
)  # in the order of the tutorials


@dataclasses.dataclass(frozen=True)
class Choices:
    """What is chosen.

    Attributes
    ----------
    data : str or Dataset
        By its name in the catalogue, or as an object.
    request : OptimizationRequest
    own : Dataset, optional
        Data of the user's own that can be chosen beside the catalogue's.
    runpod : RunPodBackend, optional
        The one that was passed in code, also while trials are to run elsewhere.
    """

    data: str | Dataset
    request: OptimizationRequest
    own: Dataset | None = None
    runpod: RunPodBackend | None = None

    @property
    def backend(self) -> BackendChoice:
        """Where trials are to run."""
        return BackendChoice(self.request.backend, self.runpod)

    def changed(self, data: str | Dataset, request: OptimizationRequest, own: Dataset | None) -> Choices:
        """Return other choices that remember the RunPod endpoint of these."""
        return Choices(data, request, own, BackendChoice(request.backend, self.runpod).known)

    @property
    def data_name(self) -> str:
        """The data's name in the catalogue, or `OWN_DATA`."""
        return self.data if isinstance(self.data, str) else OWN_DATA

    @property
    def has_own_code(self) -> bool:
        """Whether a function of the user's says what is searched: then it is not known without asking it."""
        return self.request.build_model is not None or callable(self.request.search_space)

    def kinds(self) -> dict[str, str]:
        """Return the kind, image or text, of all data that can be chosen, by name."""
        own = {} if self.own is None else {OWN_DATA: self.own.kind}
        return own | {row["name"]: row["kind"] for row in _usable()}


def form(choices: Choices, *, space: Any = None) -> dict[str, Any]:
    """Return the form as JSON values: the fields with what is chosen, what may be chosen, and what it means.

    Parameters
    ----------
    choices : Choices
    space : SearchSpace or CustomSpace, optional
        That of a search that exists; None makes the one that the architecture declares.

    Raises
    ------
    ConfigError
        The search space is impossible.
    """
    request = choices.request
    space = _declared_space(choices) if space is None else space
    domains = space.domains if isinstance(space, SearchSpace) else {}
    return json_value(  # type: ignore[no-any-return]
        {
            "data": choices.data_name,
            "datasets": _catalogue(choices),
            "objective": request.objective,
            "objectives": OBJECTIVES,
            "trials": request.trials,
            "epochs": _ends(domains[EPOCHS]) if EPOCHS in domains else None,
            "workers": request.workers,
            "backend": choices.backend.name,
            "runpod": choices.backend.switch(),
            "backends": plugin_names("hpoviz.backends"),
            "seed": request.seed,
            "weights": _weights(request),
            "usual_weights": {"parts": PARTS, "metrics": CLASSIC_WEIGHTS},
            "metric_help": EXPLANATIONS,
            "space": [
                _row(space.parameters[name], domain, _start(request, space.parameters[name], domain))
                for name, domain in domains.items()
                if name != EPOCHS
            ],
            "space_note": "" if domains else "A function of your own proposes the parameters.",
        }
    )


def card(name: Any, choices: Choices, *, space: Any = None) -> str:
    """Return the card of a parameter of the form as HTML; ConfigError if the form has none of that name."""
    space = _declared_space(choices) if space is None else space
    return card_page(name, space.parameters if isinstance(space, SearchSpace) else {})


def request_of(settings: Mapping[str, Any], choices: Choices, *, space: Any = None) -> tuple[str, OptimizationRequest]:
    """Return the data's name and the request that filled-in settings ask for; what the form does not show is kept.

    Parameters
    ----------
    settings : mapping
        From the browser: data, objective, trials, epochs, workers, backend, runpod, seed, weights, space.
    choices : Choices
        What was chosen before.
    space : SearchSpace or CustomSpace, optional
        As for `form`.

    Raises
    ------
    ConfigError
        With every problem at once.
    """
    request, problems = choices.request, list[str]()

    def checked(check: Callable[..., Any], *given: Any) -> Any:
        try:
            return check(*given)
        except ConfigError as error:
            problems.append(str(error))
            return None

    name = checked(_checked_name, settings.get("data", choices.data_name), choices)
    objective = settings.get("objective", request.objective)
    fields: dict[str, Any] = {
        "objective": objective,
        "trials": settings.get("trials", request.trials),
        "workers": settings.get("workers", request.workers),
        "seed": settings.get("seed", request.seed),
        "weights": _chosen_weights(objective, settings.get("weights", request.weights), request),
    }
    fields |= checked(choices.backend.taken, settings, fields["workers"]) or {}
    space_fields = checked(_space_fields, settings, choices.data_name if name is None else name, choices, space)
    changed = checked(lambda: dataclasses.replace(request, **fields, **(space_fields or {})))
    if problems:
        raise ConfigError("\n".join(problems))
    return name, changed


def _checked_name(name: Any, choices: Choices) -> str:
    """Return the name of data that can be chosen, and that the request can be about."""
    kinds, request = choices.kinds(), choices.request
    if not isinstance(name, str) or (name not in kinds and name != choices.data_name):
        raise ConfigError(f"There is no data set {name!r}. Data sets: {', '.join(filter(None, kinds))}.")
    if name != choices.data_name:
        if request.build_model is not None:
            raise ConfigError("A model of your own was made for these data. Make another hpoviz.Optimizer for others.")
        fitting = load_family(request.architecture).data_kinds if request.architecture else (kinds[name],)
        if kinds[name] not in fitting:
            raise ConfigError(
                f"architecture={request.architecture!r} is for {' and '.join(fitting)} data, and these are "
                f"{kinds[name]} data. Make another hpoviz.Optimizer for them."
            )
    return name


def _chosen_weights(objective: Any, weights: Any, request: OptimizationRequest) -> Any:
    """Return the weights, as they were written before where they mean the same."""
    if objective == "accuracy":
        return None
    if objective == request.objective and not list(scoring_problems(objective, weights)):
        same = Scoring.of(objective, weights) == request.scoring
        return request.weights if same else weights
    return weights


def _space_fields(settings: Mapping[str, Any], name: str, choices: Choices, space: Any) -> dict[str, Any]:
    """Return epochs and search_space where they are to change: only what is narrower than declared."""
    kinds = choices.kinds()
    if name != choices.data_name and not choices.has_own_code:
        before = choices.data.kind if isinstance(choices.data, Dataset) else kinds[choices.data]
        if choices.request.architecture is None and family_for(before) != family_for(kinds[name]):
            return {"search_space": None, "epochs": None}  # other parameters: the form is made anew
    space = _declared_space(choices) if space is None else space
    if not isinstance(space, SearchSpace):
        return {}
    wish = _wish(choices.request)
    changed = _changed(settings, space)
    for parameter, wanted in changed.items():
        item = space.parameters[parameter]
        if choices.request.build_model is None and _domain(item, wanted) == _domain(item):
            wish.pop(parameter, None)
        else:
            wish[parameter] = wanted
    if not changed:
        return {}
    epochs = wish.pop(EPOCHS) if isinstance(wish.get(EPOCHS), int | tuple) else None
    return {"search_space": wish or None, "epochs": epochs}


def _changed(settings: Mapping[str, Any], space: SearchSpace) -> dict[str, Any]:
    """Return what `search_space` is to say of the parameters that were changed; ConfigError with all that is wrong."""
    entries = settings.get("space") or {}
    if not isinstance(entries, Mapping):
        raise ConfigError(f"space must map parameters to ranges or choices. Got {entries!r}.")
    ends = settings.get("epochs")
    if EPOCHS in space.parameters and ends is not None and ends != _ends(space.domains[EPOCHS]):
        entries = {**entries, EPOCHS: {"range": ends}}
    found, problems = {}, []
    for name, entry in entries.items():
        try:
            if name not in space.parameters:
                raise ConfigError(f"There is no parameter {name!r}. Parameters: {', '.join(space.parameters)}.")
            item = space.parameters[name]
            if entry != _entry(item, space.domains[name]):
                found[name] = _wanted(item, entry)
                _domain(item, found[name])
        except ConfigError as error:
            problems.append(str(error))
    if problems:
        raise ConfigError("\n".join(problems))
    return found


def _wish(request: OptimizationRequest) -> dict[str, Any]:
    """Return the user's own search space, epochs included."""
    return dict(request.search_space or {}) | ({} if request.epochs is None else {EPOCHS: request.epochs})


def _wanted(item: Parameter, entry: Any) -> Any:
    """Return what `search_space` says for an entry of the form; the opposite of `_entry`."""
    values = (*(item.choices or ()), *item.also)
    match entry:
        case {"range": [int() | float() as low, int() | float() as high]}:
            return low if low == high else (low, high)
        case {"choices": [*places]} if all(type(place) is int and 0 <= place < len(values) for place in places):
            return [values[place] for place in places]
        case {"range": _}:
            raise ConfigError(
                f"{item.name} needs a number at both ends, {item.describe_allowed()}. Got {entry['range']!r}."
            )
    raise ConfigError(f"{item.name} needs two numbers, or places of its choices. Got {entry!r}.")


def _domain(item: Parameter, wish: Any = None) -> Domain:
    """Return where a parameter is searched by its declaration, or by a user's wish."""
    alone = {item.name: dataclasses.replace(item, when=())}
    return SearchSpace(alone, None if wish is None else {item.name: wish}).domains[item.name]


def _start(request: OptimizationRequest, item: Parameter, domain: Domain) -> Domain:
    """Return what Reset goes back to: what is declared, or for a model of the user's own what he has asked for."""
    return domain if request.build_model is not None else _domain(item)


def _declared_space(choices: Choices) -> SearchSpace | None:
    """Return the space of an architecture without the data, which may not be loaded yet."""
    if choices.has_own_code:
        return None
    kind = choices.data.kind if isinstance(choices.data, Dataset) else choices.kinds()[choices.data]
    family = load_family(choices.request.architecture or family_for(kind))
    return SearchSpace(family.parameters(), _wish(choices.request))


def _usable() -> Iterator[dict[str, Any]]:
    """Yield what the catalogue says of every data set that can be used."""
    for row in datasets().to_dict("records"):
        if row["kind"]:
            yield {str(name): value for name, value in row.items()}


def _catalogue(choices: Choices) -> list[dict[str, Any]]:
    rows = list(_usable())
    rows.sort(key=lambda row: (row["name"] in TEACHING, TEACHING.index(row["name"]) if row["name"] in TEACHING else 0))
    if choices.own is None:
        return rows
    own = choices.own
    shape = "×".join(map(str, own.x.shape[1:])) or "texts"
    yours = {"name": OWN_DATA, "title": own.name, "kind": own.kind, "classes": len(own.class_names), "shape": shape}
    more = {"train": len(own.x), "test": len(own.x_test), "good_for": "your own data", "licence": "", "link": ""}
    return [{**yours, **more}, *([] if choices.request.build_model is not None else rows)]


def _weights(request: OptimizationRequest) -> dict[str, Any]:
    scoring = request.scoring
    return {"parts": {"accuracy": scoring.accuracy, "health": scoring.health}, "metrics": dict(scoring.metrics)}


def _ends(domain: Domain) -> list[float]:
    values = domain.choices or (domain.low, domain.high)
    return [min(values), max(values)]


def _row(item: Parameter, domain: Domain, start: Domain) -> dict[str, Any]:
    ranged = _ranged(item)
    return {
        "name": item.name,
        "help": item.help,
        "when": " and ".join(map(str, item.when)),
        "default": item.default,
        "whole": item.type is int,
        "log": item.log,
        "valid": item.valid,
        "ranged": ranged,
        "choices": None if ranged else [str(value) for value in (*(item.choices or ()), *item.also)],
        "now": _entry(item, domain),
        "start": _entry(item, start),
    }


def _ranged(item: Parameter) -> bool:
    """Tell whether it has ends: a range, or one number which a search may be asked to leave."""
    return item.choices is None or (len(item.choices) == 1 and item.valid is not None)


def _entry(item: Parameter, domain: Domain) -> dict[str, Any]:
    """Return a domain as the form has it: two ends, places of its choices, or a list that is shown and not edited."""
    values = (*(item.choices or ()), *item.also)
    if _ranged(item):
        listed = domain.choices is not None and len(domain.choices) > 1
        return {"list": list(domain.choices or ())} if listed else {"range": _ends(domain)}
    chosen = domain.choices or ()
    if all(value in values for value in chosen):
        return {"choices": [values.index(value) for value in chosen]}
    return {"list": list(chosen)}
