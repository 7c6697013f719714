"""All cards of hpoviz's own architectures as a page of the documentation.

``python -m hpoviz.cards.page > docs/hyperparameters.md`` writes it anew; a test holds the page to the declarations.
"""

from __future__ import annotations

from hpoviz.cards.card import ParameterCards
from hpoviz.cards.explain import cards_of
from hpoviz.models.model_config import OWN_FAMILIES, load_family

__all__ = ["page"]

HEAD = """# Hyperparameters

What each parameter is and does. `hpoviz.explain("name")` shows the same in a notebook, with a small picture, and the
dashboard beside its field. This page is made of the declarations:
`python -m hpoviz.cards.page > docs/hyperparameters.md`.

"""


def page() -> str:
    """Return the page as Markdown.

    Examples
    --------
    >>> page().splitlines()[0]
    '# Hyperparameters'
    """
    cards = cards_of({name: load_family(name).parameters() for name in OWN_FAMILIES})
    topics = ParameterCards("", tuple(cards)).by_topic()
    rows = [
        f"| {topic} | {', '.join(f'[{card.name}](#{card.name})' for card in group)} |"
        for topic, group in topics.items()
    ]
    table = "\n".join(["| topic | parameters |", "|---|---|", *rows])
    parts = [
        f"## {topic[0].upper()}{topic[1:]}\n\n" + "\n".join(card.markdown() for card in group)
        for topic, group in topics.items()
    ]
    return HEAD + table + "\n\n" + "\n".join(parts)


if __name__ == "__main__":
    print(page(), end="")
