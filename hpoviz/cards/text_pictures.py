"""Pictures of how texts are read: words known, read and left out, LSTMs and what is kept of them."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence

import numpy as np

from hpoviz.cards.drawing import CHIP, Picture, arrow, box, grid, line, text, words_row

__all__ = ["directions", "dropped_words", "embedding", "known_words", "lstm", "sequence", "vocabulary", "word_pooling"]

WORDS = ("the", "cat", "sees", "the", "dog", "the", "dog", "sees")
READ = ("a", "film", "not", "bad", "at", "all")


def known_words(words: tuple[str, ...], size: int) -> list[bool]:
    """Tell for each word whether it is among the most frequent ones.

    Examples
    --------
    >>> known_words(("a", "b", "a"), 1)
    [True, False, True]
    """
    known = {word for word, _ in Counter(words).most_common(size)}
    return [word in known for word in words]


def _rows(alt: str, rows: Sequence[tuple[str, tuple[str, ...], list[bool]]]) -> Picture:
    items = []
    for place, (name, words, kept) in enumerate(rows):
        y = 44.0 * place
        items += [text(0, y + 11, name), words_row(y + 16, words, kept)[0]]
    return Picture(alt, 44.0 * len(rows), items)


def vocabulary() -> Picture:
    """Draw a text with small and large vocabularies."""
    sizes = {2: "2 words known, all others are one unknown word", len(set(WORDS)): "all words known"}
    rows = [(name, WORDS, known_words(WORDS, size)) for size, name in sizes.items()]
    return _rows("The same text with two words known, all others struck out as unknown, and with all known.", rows)


def sequence() -> Picture:
    """Draw a text that is cut off."""
    rows = [(f"{length} words read", WORDS, [place < length for place in range(len(WORDS))]) for length in (3, 6)]
    return _rows("The same text: the first three words are read, or the first six; the rest is struck out.", rows)


def dropped_words() -> Picture:
    """Draw a text in two epochs, with other words left out each time."""
    rng = np.random.default_rng(2)
    rows = [(f"epoch {epoch}", WORDS, (rng.random(len(WORDS)) >= 0.4).tolist()) for epoch in (1, 2)]
    return _rows("The same text in two epochs: other words are left out each time.", rows)


def embedding() -> Picture:
    """Draw a word as few and as many numbers."""
    items = []
    for row, size in enumerate((4, 12)):
        y = 30.0 * row + 2
        chip, end = words_row(y, ["cat"])
        items += [chip, arrow(end + 4, end + 18, y + CHIP / 2)]
        items += [box(end + 24 + 13 * place, y + 4, 12, 12, "line") for place in range(size)]
        items.append(text(end + 28 + 13 * size, y + 14, f"{size} numbers"))
    items.append(text(0, 76, "10,000 words: 40,000 weights, or 120,000"))
    return Picture("A word as four numbers and as twelve: 10,000 words have 40,000 weights, or 120,000.", 82, items)


def _reading(y: float, backwards: bool) -> tuple[list[str], list[float]]:
    """Return a row of LSTM cells with arrows between, and their middles."""
    middles = [25 + 46.0 * place for place in range(len(READ))]
    items = [box(x - 15, y, 30, 22, "accent" if backwards else "soft") for x in middles]
    for left, right in itertools.pairwise(middles):
        items.append(arrow(right - 17, left + 17, y + 11) if backwards else arrow(left + 17, right - 17, y + 11))
    return items, middles


def lstm() -> Picture:
    """Draw an LSTM that reads a text word by word."""
    items, middles = _reading(44, backwards=False)
    for x, word in zip(middles, READ, strict=True):
        items += [text(x, 14, word, "middle"), line(x, 20, x, 44), text(x, 59, "h", "middle")]
    items.append(text(0, 86, "h: lstm_units numbers, handed from word to word"))
    return Picture(
        "An LSTM reads a text word by word and hands its memory on, as many numbers as it has units.", 92, items
    )


def directions() -> Picture:
    """Draw two LSTMs that read a text from both ends."""
    forwards, middles = _reading(28, backwards=False)
    back, _ = _reading(60, backwards=True)
    items = [*forwards, *back, *(text(x, 14, word, "middle") for x, word in zip(middles, READ, strict=True))]
    items += [text(x, 43, "→", "middle") for x in middles] + [text(x, 75, "←", "middle") for x in middles]
    return Picture(
        "Two LSTMs read a text, one forwards and one backwards, so that each word is seen with both sides.", 86, items
    )


def word_pooling() -> Picture:
    """Draw what is kept of three traits at five words."""
    values = np.array([[1, 4, 0, 2, 1], [0, 1, 1, 0, 3], [2, 2, 5, 0, 1]])
    kept = (("max", values.max(axis=1)), ("average", values.mean(axis=1)), ("last", values[:, -1]))
    items = [grid(2, 18, values.tolist()), text(2, 12, "3 traits, 5 words"), arrow(120, 136, 51)]
    for place, (name, row) in enumerate(kept):
        left = 146 + 52.0 * place
        items += [grid(left, 18, row[:, None].tolist(), 22), text(left + 11, 100, name, "middle")]
    return Picture(
        "Three traits at five words: kept are the largest number of each, the mean, or the last.", 106, items
    )
