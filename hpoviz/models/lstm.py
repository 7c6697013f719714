"""LstmConfig: recurrent networks for texts."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from hpoviz.data.info import DataInfo
from hpoviz.data.text import UNKNOWN
from hpoviz.models.dense_head import DenseHeadConfig
from hpoviz.models.model_config import ModelConfig
from hpoviz.models.text_input import end_mask, taking_texts
from hpoviz.search.parameter import parameter, varied

if TYPE_CHECKING:
    import keras

__all__ = ["LstmConfig"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class LstmConfig(DenseHeadConfig):
    """A recurrent network: embedding, dropout of words, LSTM layers, pooling over the words, dense blocks, softmax.

    It is trained on token numbers; the saved model begins with a TextVectorization layer and takes texts. The
    defaults build a model that works.

    Examples
    --------
    >>> LstmConfig(lstm_units=16).bidirectional
    True
    """

    data_kinds: ClassVar[tuple[str, ...]] = ("text",)

    vocabulary_size: int = parameter(
        20_000,
        search=(4000, 20_000),
        valid=(3, 1_000_000),
        log=True,
        help="How many words the model knows, the most frequent of the training texts; all others are one unknown "
        "word. More tell finer shades apart; rare words are seen too seldom to be learnt and cost weights.",
    )
    sequence_length: int = parameter(
        100,
        search=(40, 160),
        valid=(1, 500),
        log=True,
        help="How many words of a text are read; the rest is cut off. More see the whole text and take longer. "
        "Beyond the longest text it changes nothing.",
    )
    embedding_size: int = parameter(
        64,
        search=(32, 128),
        valid=(1, 4096),
        log=True,
        help="How many numbers stand for a word. Words of like use come to lie near each other; with few numbers only "
        "coarse likeness fits, with many the training texts are learnt by heart.",
    )
    dropout_words: float = parameter(
        0.6,
        search=(0.3, 0.75),
        valid=(0.0, 0.95),
        help="Share of the words of each text left out in training, other ones every time, so that no single word "
        "gives a text away: the first remedy against overfitting here. Too much leaves too little to read.",
    )
    lstm_units: int = parameter(
        32,
        search=(16, 64),
        valid=(1, 4096),
        log=True,
        help="How much an LSTM can remember while it reads. More hold more at once, and take longer.",
    )
    num_layers_lstm: int = parameter(
        1,
        search=(1, 2),
        valid=(1, 8),
        help="How many LSTM layers read one after another, each what the one before wrote. One is often enough; more "
        "are slow and hard to train.",
    )
    bidirectional: bool = parameter(
        True,
        choices=(True, False),
        help="Reads every text forwards and backwards, so that each word is seen with what comes before and after. "
        "Twice the weights and time.",
    )
    sequence_pooling: str = parameter(
        "max",
        choices=("max", "average"),
        also=("last",),
        help="How what was written at each word becomes one vector: max takes the strongest sign of each trait "
        "wherever it stands, average the mean over all words. last keeps what is remembered at the end, so that long "
        "texts train slowly; it is tried only if you ask for it.",
    )
    dropout_lstm: float = parameter(
        0.4,
        search=(0.1, 0.6),
        valid=(0.0, 0.95),
        help="Share of the inputs of each LSTM switched off at random in training, the same at every word of a text, "
        "so that no trait of a word is relied on alone: works against overfitting.",
    )
    recurrent_dropout: float = parameter(
        0.0,
        choices=(0.0,),
        valid=(0.0, 0.95),
        help="Share of the memory switched off at random from word to word in training. Works against overfitting, "
        "but is slow and rules out the fast kernels of a GPU: a search leaves it at 0 unless you name a range.",
    )
    num_layers_dense: int = varied(
        DenseHeadConfig,
        "num_layers_dense",
        0,
        search=(0, 1),
        help="How many fully connected layers sit between the LSTM and the output. An LSTM seldom needs one; several "
        "in a row keep training at chance for many epochs.",
    )
    optimizer: str = varied(
        ModelConfig,
        "optimizer",
        "adam",
        choices=("adam", "adamw", "rmsprop"),
        also=("sgd",),
        help="The rule that turns gradients into weight changes. Adam, AdamW and RMSprop give every weight its own "
        "step size, so that rare words are learnt too. SGD takes one step size for all and hardly moves a word that "
        "is seen seldom; it is tried only if you ask for it.",
    )
    learning_rate: float = varied(ModelConfig, "learning_rate", 5e-3, search=(2e-3, 1e-2))
    learning_rate_schedule: str = varied(ModelConfig, "learning_rate_schedule", "cosine")
    batch_size: int = varied(ModelConfig, "batch_size", 64, choices=(64, 128))
    epochs: int = varied(ModelConfig, "epochs", 16, search=(10, 20))
    l2: float = varied(
        ModelConfig,
        "l2",
        1e-5,
        search=(1e-6, 1e-4),
        help="A penalty on large weights in the loss: more makes a smoother, simpler model. It also pulls the gates of "
        "an LSTM shut: above about 0.001 training can stay at chance.",
    )

    def prepare(self, x: np.ndarray, info: DataInfo) -> np.ndarray:
        """Return token numbers cut to the sequence length, with words beyond the vocabulary as unknown."""
        cut = np.asarray(x[:, : self.sequence_length])
        return np.where(cut < self._tokens(info), cut, UNKNOWN)

    def build(self, info: DataInfo) -> keras.Model:
        """Return the uncompiled model: input token numbers (words,), output class probabilities."""
        from keras import Sequential, layers

        words = min(self.sequence_length, info.input_shape[0])
        stack = [
            layers.Input((words,), dtype="int32"),
            layers.Embedding(self._tokens(info), self.embedding_size, mask_zero=True, name="embedding"),
        ]
        if self.dropout_words > 0:
            stack.append(layers.Dropout(self.dropout_words, noise_shape=(None, None, 1), name="dropout_words"))
        for index in range(1, self.num_layers_lstm + 1):
            keep = index < self.num_layers_lstm or self.sequence_pooling != "last"
            stack.append(self._recurrent_layer(index, keep))
        if self.sequence_pooling == "average":
            stack.append(layers.GlobalAveragePooling1D(name="average_over_words"))
        elif self.sequence_pooling == "max":
            maximum = layers.GlobalMaxPooling1D(name="max_over_words")
            end_mask(maximum)
            stack.append(maximum)
        return Sequential([*stack, *self.head_layers(info)], name="lstm")

    def export(self, model: keras.Model, info: DataInfo) -> keras.Model:
        """Return an uncompiled model with the same weights that takes texts."""
        uncompiled = super().export(model, info)
        return taking_texts(uncompiled, info, tokens=self._tokens(info), words=model.input_shape[1])

    def _tokens(self, info: DataInfo) -> int:
        """How many token numbers there are: the words known, one for unknown words, one for the end."""
        return min(self.vocabulary_size, len(info.vocabulary) + 2)

    def _recurrent_layer(self, index: int, return_sequences: bool) -> keras.Layer:
        from keras import layers, regularizers

        arguments: dict[str, Any] = {
            "return_sequences": return_sequences,
            "dropout": self.dropout_lstm,
            "recurrent_dropout": self.recurrent_dropout,
            "zero_output_for_mask": return_sequences,  # as Bidirectional does by itself
            "kernel_regularizer": regularizers.L2(self.l2) if self.l2 > 0 else None,
        }
        if not self.bidirectional:
            return layers.LSTM(self.lstm_units, name=f"lstm_{index}", **arguments)
        inner = layers.LSTM(self.lstm_units, name=f"lstm_{index}_one_way", **arguments)
        return layers.Bidirectional(inner, name=f"lstm_{index}")
