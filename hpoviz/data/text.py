"""Words and tokens: the vocabulary of training texts, and texts as rows of token numbers.

Words are those of Keras' TextVectorization with its defaults, so that a model trained on tokens and one that takes
texts agree: ASCII letters in lower case, ASCII punctuation left out, split at white space.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

__all__ = ["PADDING", "UNKNOWN", "build_vocabulary", "to_tokens", "words"]

PADDING, UNKNOWN = 0, 1
MOST_WORDS = 20_000
MOST_TOKENS = 500  # a longer text is cut: an LSTM's time grows with every token
PUNCTUATION = str.maketrans("", "", "!\"#$%&()*+,-./:;<=>?@[\\]^_`{|}~'")
LOWER = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")
SPACE = re.compile(r"[ \t\n\r\f\v]+")


def words(text: str) -> list[str]:
    """Split a text into words.

    Examples
    --------
    >>> words("It's 20 °C – isn't it?")
    ['its', '20', '°c', '–', 'isnt', 'it']
    """
    return [word for word in SPACE.split(text.translate(LOWER).translate(PUNCTUATION)) if word]


def build_vocabulary(texts: Iterable[str], most: int = MOST_WORDS) -> tuple[str, ...]:
    """Return the `most` most frequent words, the most frequent first; of equals the last in the alphabet.

    Examples
    --------
    >>> build_vocabulary(["b a", "b c"])
    ('b', 'c', 'a')
    """
    counts = Counter(word for text in texts for word in words(text))
    return tuple(sorted(counts, key=lambda word: (counts[word], word.encode()), reverse=True)[:most])


def to_tokens(texts: Sequence[str], vocabulary: Sequence[str], length: int | None = None) -> np.ndarray:
    """Return texts as token numbers, shape (n, length), int32: cut at the end or filled with 0.

    `length` None takes the longest text, at most 500 tokens.

    Examples
    --------
    >>> to_tokens(["b zebra b", "a"], ("b", "a"))
    array([[2, 1, 2],
           [3, 0, 0]], dtype=int32)
    """
    number = {word: index for index, word in enumerate(vocabulary, start=2)}
    rows = [[number.get(word, UNKNOWN) for word in words(text)] for text in texts]
    width = min(max(map(len, rows)), MOST_TOKENS) if length is None else length
    tokens = np.full((len(rows), width), PADDING, np.int32)
    for row, found in zip(tokens, rows, strict=True):
        row[: len(found)] = found[:width]
    return tokens
