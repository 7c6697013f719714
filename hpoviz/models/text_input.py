"""A model of token numbers as one that takes texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpoviz.data.info import DataInfo

if TYPE_CHECKING:
    import keras

__all__ = ["end_mask", "taking_texts"]


def end_mask(pooling: keras.Layer) -> None:
    """Let the mask of the padding end at a pooling by maximum, without the warning that Keras gives there.

    It may end: nothing behind needs it, and an LSTM writes zeros at padding.
    """
    pooling.supports_masking, pooling.compute_mask = True, lambda *_, **__: None


def taking_texts(model: keras.Model, info: DataInfo, *, tokens: int, words: int) -> keras.Model:
    """Return a model that turns texts into token numbers first: the layers of `model` behind a TextVectorization.

    Parameters
    ----------
    model : keras.Model
        Takes int32 (n, words).
    info : DataInfo
        Has the vocabulary.
    tokens : int
        How many token numbers there are, those for the end and for unknown words included.
    words : int
        Length to which texts are cut or filled up.
    """
    from keras import Sequential, layers

    vectorize = layers.TextVectorization(
        max_tokens=tokens,
        output_sequence_length=words,
        vocabulary=list(info.vocabulary[: tokens - 2]),
        name="words_to_tokens",
    )
    inner = model.layers if isinstance(model, Sequential) else [model]
    return Sequential([layers.Input((), dtype="string"), vectorize, *inner], name=model.name)
