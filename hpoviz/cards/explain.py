"""explain: what a hyperparameter is and does, found by its name or its topic."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping

from hpoviz import _html
from hpoviz.cards.card import OTHERS, TOPICS, ParameterCard, ParameterCards, style
from hpoviz.errors import ConfigError, nearest
from hpoviz.models.model_config import OWN_FAMILIES, load_family
from hpoviz.plugins import plugin_names
from hpoviz.search.parameter import Parameter

__all__ = ["card_page", "cards_of", "explain"]

Declared = Mapping[str, Mapping[str, Parameter]]
# What parameters are called elsewhere, without capitals, spaces and underscores.
OTHER_NAMES: Mapping[str, str] = {
    "lr": "learning_rate",
    "stepsize": "learning_rate",
    "earlystopping": "epochs",
    "patience": "epochs",
    "batchnorm": "use_batch_normalization",
    "nonlinearity": "activation",
    "regularization": "weight penalty",
    "regularisation": "weight penalty",
    "initializer": "kernel_initializer",
    "scheduler": "learning_rate_schedule",
}


def explain(name: str | None = None, architecture: str | None = None) -> ParameterCard | ParameterCards:
    """Explain a hyperparameter: what it is, what more and less of it does, typical values, and what it works with.

    Parameters
    ----------
    name : str, optional
        A parameter ("dropout_dense"), a topic ("dropout", "depth", "filters and kernels"), a value to choose ("relu",
        "adam"), or a usual other name ("lr", "early stopping"); capitals, spaces and underscores do not matter. None:
        all, as a table.
    architecture : str, optional
        Only the parameters of this one, as "cnn" or "lstm". None: of all that are installed.

    Returns
    -------
    ParameterCard or ParameterCards
        One card for a parameter, several for a topic; of a value, that of the parameter that may have it.

    Raises
    ------
    ConfigError
        No parameter, topic or value has that name, or no architecture that one.

    Examples
    --------
    >>> import hpoviz
    >>> hpoviz.explain("learning rate", "cnn").typical
    '0.0001 to 0.03, by orders of magnitude'
    >>> [card.name for card in hpoviz.explain("dropout", "cnn")]
    ['dropout_conv', 'dropout_dense']
    >>> hpoviz.explain("relu", "cnn").name
    'activation'
    """
    cards = cards_of(_declared(architecture))
    where = "" if architecture is None else f" of {architecture}"
    if name is None:
        return ParameterCards(f"{len(cards)} hyperparameters{where}", tuple(cards), brief=True)
    found = _found(cards, _key(name) if isinstance(name, str) else "")
    if isinstance(found, ParameterCard):
        return found
    if not found:
        topics = dict.fromkeys(card.topic for card in cards)
        known = [*(card.name for card in cards), *topics]
        raise ConfigError(
            f"There is no hyperparameter{where} and no topic {name!r}.{nearest(name, known)} "
            f"Topics: {', '.join(topics)}. All hyperparameters: hpoviz.explain()."
        )
    return ParameterCards(f"Hyperparameters{where} on {name.strip()}", found)


def cards_of(declared: Declared) -> list[ParameterCard]:
    """Return the card of every parameter that these architectures declare, by topic."""
    names = dict.fromkeys(name for parameters in declared.values() for name in parameters)
    homes = {
        name: {architecture: parameters[name] for architecture, parameters in declared.items() if name in parameters}
        for name in names
    }
    topics = {name: next(iter(home.values())).topic or OTHERS for name, home in homes.items()}
    order = [*TOPICS, *dict.fromkeys(topics.values())]
    return [
        ParameterCard(
            name=name,
            topic=topics[name],
            declared=homes[name],
            known=frozenset(names),
            see_also=tuple(other for other in names if topics[other] == topics[name] != OTHERS and other != name),
        )
        for name in sorted(names, key=lambda name: order.index(topics[name]))
    ]


def card_page(name: object, declared: Mapping[str, Parameter]) -> str:
    """Return the card of one of these parameters as HTML without its name; ConfigError if it is none of them."""
    found = {card.name: card for card in cards_of({"": declared})}
    if not isinstance(name, str) or name not in found:
        raise ConfigError(f"There is no parameter {name!r}. Parameters: {', '.join(found)}.")
    return _html.page(f'{style()}<div class="hpoviz-card">{found[name].html()}</div>')


def _declared(architecture: str | None) -> Declared:
    """Return the declarations of an architecture, or of all; a package's that cannot be loaded is warned of."""
    if architecture is not None:
        return {architecture: load_family(architecture).parameters()}
    found = {}
    for name in _own_first(plugin_names("hpoviz.architectures")):
        try:
            found[name] = load_family(name).parameters()
        except ConfigError as error:
            if name in OWN_FAMILIES:
                raise
            warnings.warn(f"{error} Its parameters are not explained.", stacklevel=3)
    return found


def _own_first(names: Iterable[str]) -> list[str]:
    return sorted(names, key=lambda name: (name not in OWN_FAMILIES, name))


def _found(cards: Iterable[ParameterCard], key: str) -> ParameterCard | tuple[ParameterCard, ...]:
    """Return the parameter of that name, the parameters of that topic, or those that may have that value."""
    by_name = {_key(card.name): card for card in cards}
    by_topic: dict[str, list[ParameterCard]] = {}
    for card in by_name.values():
        for title in {_key(card.topic), _key(card.section)} - {""}:
            by_topic.setdefault(title, []).append(card)
    if key not in by_name and key not in by_topic:
        key = _key(OTHER_NAMES.get(key, key))
    if key in by_name:
        return by_name[key]
    if key in by_topic:
        return tuple(by_topic[key])
    having = tuple(card for card in by_name.values() if key and key in map(_key, _words(card)))
    return having[0] if len(having) == 1 else having


def _words(card: ParameterCard) -> list[str]:
    """Return the values of a parameter that are words."""
    values = [value for item in card.declared.values() for value in (*(item.choices or ()), *item.also)]
    return [value for value in values if isinstance(value, str)]


def _key(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter.isalnum())
