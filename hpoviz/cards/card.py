"""A hyperparameter's card: what its declaration says of it, as text, as HTML and as Markdown."""

from __future__ import annotations

import dataclasses
import html
import re
import textwrap
from collections.abc import Callable, Collection, Iterator, Mapping
from importlib.resources import files

from hpoviz import _html
from hpoviz.cards.drawing import Picture
from hpoviz.cards.pictures import picture
from hpoviz.search.parameter import Parameter

__all__ = ["TOPICS", "TUTORIAL", "ParameterCard", "ParameterCards", "Part", "style"]

TUTORIAL = "notebooks/06_hyperparameters.ipynb"
# Topics in the order in which they are listed, and the tutorial's section on each.
TOPICS: Mapping[str, str] = {
    "learning rate": "Learning rate",
    "schedule": "Schedules",
    "optimizer": "Optimizer",
    "batch size": "Batch size",
    "epochs": "",
    "depth": "Depth",
    "width": "Width",
    "activation": "Activation",
    "initialiser": "Initialiser",
    "normalisation": "Normalisation",
    "dropout": "Dropout and L2",
    "weight penalty": "Dropout and L2",
    "class weights": "",
    "filters and kernels": "Filters and kernels",
    "pooling": "Pooling",
    "augmentation": "",
    "words": "",
    "lstm": "LSTM units and direction",
}
OTHERS = "other parameters"  # of families that name no topic
LINE = 88  # letters of a line of text
LONGEST = 90  # of what a parameter is, in a table


@dataclasses.dataclass(frozen=True)
class Part:
    """A part of a card: its title, and what is said, each with a name before it or an empty one."""

    title: str
    said: tuple[tuple[str, str], ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ParameterCard:
    """What there is to know of a hyperparameter; its last line in a notebook shows it.

    Attributes
    ----------
    name, topic : str
    declared : mapping of str to Parameter
        Its declaration by architecture: they may differ in default and range.
    known : collection of str
        The parameters there are: of others, nothing is said.
    see_also : tuple of str
        The other parameters of its topic.
    """

    name: str
    topic: str
    declared: Mapping[str, Parameter]
    known: Collection[str]
    see_also: tuple[str, ...] = ()

    @property
    def first(self) -> Parameter:
        """The declaration of the first architecture."""
        return next(iter(self.declared.values()))

    @property
    def summary(self) -> str:
        """What it is, in one line."""
        return textwrap.shorten(re.split(r"[.:;] ", self.first.help)[0].rstrip("."), LONGEST, placeholder=" …")

    @property
    def default(self) -> str:
        """Its default; where architectures differ, of each."""
        return self._by_architecture(lambda item: _value(item.default))

    @property
    def typical(self) -> str:
        """What a search tries; where architectures differ, of each."""
        return self._by_architecture(_typical)

    @property
    def picture(self) -> Picture | None:
        """A small picture of what it does; None where its declaration names none."""
        return picture(self.first.picture) if self.first.picture else None

    @property
    def section(self) -> str:
        """The tutorial's section on its topic, or an empty text."""
        return TOPICS.get(self.topic, "")

    def link(self, base: str = "") -> str:
        """Return the address of that section, from a folder from which `base` leads to the repository's."""
        return f"{base}{TUTORIAL}#{self.section.replace(' ', '-')}"

    def parts(self) -> list[Part]:
        """Return what the card says after the first paragraph; what was not declared is left out."""
        item = self.first
        found = [
            Part("Raising it", _alone(item.raising)),
            Part("Lowering it", _alone(item.lowering)),
            Part("Its values", tuple(item.means.items())),
            Part("Typical values", tuple(self._values())),
            Part("Has an effect", _alone(f"only when {' and '.join(map(str, item.when))}." if item.when else "")),
            Part(
                "Works together with",
                tuple((name, said) for name, said in item.interacts.items() if name in self.known),
            ),
            Part("Model health", tuple(item.health.items())),
            Part("See also", _alone(", ".join(self.see_also))),
            Part("Tutorial", _alone(f"section “{self.section}” of {TUTORIAL}" if self.section else "")),
        ]
        found[0:0] = [Part(f"In {name}", _alone(self._otherwise(other))) for name, other in self.declared.items()]
        return [part for part in found if part.said]

    def html(self) -> str:
        """Return everything but the name as HTML without a style, every value escaped."""
        drawn = self.picture
        figure = ""
        if drawn is not None:
            figure = f'<figure>{drawn.svg()}<figcaption aria-hidden="true">{_text(drawn.alt)}</figcaption></figure>'
        said = "".join(f"<dt>{_text(part.title)}</dt>{_said_html(part)}" for part in self.parts())
        return f"<p>{_text(self.first.help)}</p><div>{figure}<dl>{said}</dl></div>"

    def markdown(self, base: str = "../") -> str:
        """Return the card as Markdown, for a page in a folder from which `base` leads to the repository's."""
        lines = [f"### {self.name}", "", self.first.help, ""]
        for part in self.parts():
            if part.title == "Tutorial":
                lines.append(f"- **Tutorial:** [{self.section}]({self.link(base)})")
            elif part.title == "See also":
                lines.append(f"- **See also:** {', '.join(f'[{name}](#{name})' for name in self.see_also)}")
            elif part.said[0][0]:
                lines += [f"- **{part.title}:**", *(f"  - `{name}`: {said}" for name, said in part.said)]
            else:
                lines.append(f"- **{part.title}:** {part.said[0][1]}")
        return "\n".join(lines) + "\n"

    def __repr__(self) -> str:
        lines = [f"{self.name} ({self.topic})", *_wrapped(self.first.help, 2)]
        for part in self.parts():
            if part.said[0][0]:
                lines.append(f"  {part.title}:")
                lines += [line for name, said in part.said for line in _wrapped(f"{name}: {said}", 4)]
            else:
                lines += _wrapped(f"{part.title}: {part.said[0][1]}", 2)
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return _html.page(style() + self.titled_html())

    def titled_html(self) -> str:
        """Return the card as HTML with its name, without a style."""
        title = f"<h4>{_text(self.name)} <small>{_text(self.topic)}</small></h4>"
        return f'<section class="hpoviz-card" aria-label="{_text(self.name)}">{title}{self.html()}</section>'

    def _otherwise(self, other: Parameter) -> str:
        """Return what another architecture says otherwise than the first."""
        leads = {"help": "", "raising": "Raising it: ", "lowering": "Lowering it: "}
        said = {name: getattr(other, name) for name in leads}
        return " ".join(leads[name] + text for name, text in said.items() if text and text != getattr(self.first, name))

    def _values(self) -> Iterator[tuple[str, str]]:
        """Yield default, what is searched and what is allowed, of architectures that agree at once."""
        by_text: dict[str, list[str]] = {}
        for architecture, item in self.declared.items():
            tried = f"{_value(item.default)} by default; a search tries {_typical(item)}."
            said = tried if item.valid is None else f"{tried} Allowed is {item.describe_allowed()}."
            by_text.setdefault(said, []).append(architecture)
        several = len(self.declared) > 1
        yield from ((", ".join(names) if several else "", said) for said, names in by_text.items())

    def _by_architecture(self, say: Callable[[Parameter], str]) -> str:
        first = say(self.first)
        others = [f"{name}: {text}" for name, item in self.declared.items() if (text := say(item)) != first]
        return f"{first} ({'; '.join(others)})" if others else first


@dataclasses.dataclass(frozen=True)
class ParameterCards:
    """Several cards: of a topic, in full; or of all parameters, as a table.

    Attributes
    ----------
    title : str
    cards : tuple of ParameterCard
    brief : bool
        Whether they are shown as a table.
    """

    title: str
    cards: tuple[ParameterCard, ...]
    brief: bool = False

    def __iter__(self) -> Iterator[ParameterCard]:
        return iter(self.cards)

    def __len__(self) -> int:
        return len(self.cards)

    def by_topic(self) -> dict[str, list[ParameterCard]]:
        """Return the cards by topic, in the order of `TOPICS`."""
        found: dict[str, list[ParameterCard]] = {topic: [] for topic in TOPICS}
        for card in self.cards:
            found.setdefault(card.topic, []).append(card)
        return {topic: cards for topic, cards in found.items() if cards}

    def __repr__(self) -> str:
        if not self.brief:
            return "\n\n".join([self.title, *map(repr, self.cards)])
        lines = [self.title, *_wrapped(HINT, 0)]
        for topic, cards in self.by_topic().items():
            lines += ["", topic]
            for card in cards:
                lines += _wrapped(f"{card.name}: {card.default} by default, typically {card.typical}", 2)
                lines += _wrapped(card.summary, 6)
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        if not self.brief:
            shown = "".join(card.titled_html() for card in self.cards)
            return _html.page(style() + _html.paragraph(self.title, strong=True) + shown)
        rows = [
            (card.name, topic, card.summary, card.default, card.typical)
            for topic, cards in self.by_topic().items()
            for card in cards
        ]
        table = _html.table(("parameter", "topic", "what it is", "default", "typical values"), rows)
        told = _html.paragraph(self.title, strong=True) + _html.paragraph(HINT)
        return _html.page(f'{style()}{told}<div class="hpoviz-cards">{table}</div>')


HINT = 'More of one: hpoviz.explain("learning_rate"); of a topic: hpoviz.explain("dropout").'


def style() -> str:
    """Return the style of cards as an element."""
    return f"<style>{files('hpoviz.cards').joinpath('card.css').read_text(encoding='utf-8')}</style>"


def _typical(item: Parameter) -> str:
    """Say what a search tries."""
    if item.search is not None:
        return f"{item.search[0]:g} to {item.search[1]:g}" + (", by orders of magnitude" if item.log else "")
    tried = ", ".join(_value(choice) for choice in item.choices or ())
    asked = ", ".join(_value(choice) for choice in item.also)
    if len(item.choices or ()) == 1:
        return f"{tried}, and others only if you ask for them"
    return tried + (f"; {asked} only if you ask for it" if asked else "")


def _value(value: object) -> str:
    return f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def _alone(said: str) -> tuple[tuple[str, str], ...]:
    return (("", said),) if said else ()


def _said_html(part: Part) -> str:
    if not part.said[0][0]:
        return f"<dd>{_text(part.said[0][1])}</dd>"
    rows = "".join(f"<li><code>{_text(name)}</code>: {_text(said)}</li>" for name, said in part.said)
    return f"<dd><ul>{rows}</ul></dd>"


def _wrapped(said: str, indent: int) -> list[str]:
    space = " " * indent
    return textwrap.wrap(said, LINE, initial_indent=space, subsequent_indent=space + "  ", break_on_hyphens=False)


def _text(value: object) -> str:
    return html.escape(str(value))
