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
        topic="words",
        raising="Rare words are told apart; more weights, and words that are seen too seldom to be learnt.",
        lowering="A smaller model; words that tell classes apart may become unknown.",
        interacts={
            "embedding_size": "Together they make the weights of the embedding, often most of the model's.",
            "dropout_words": "Rare words are learnt by heart: more of it works against that.",
        },
        health={"accuracy_consistency": "Falls when rare words give the training texts away."},
        picture="vocabulary",
    )
    sequence_length: int = parameter(
        100,
        search=(40, 160),
        valid=(1, 500),
        log=True,
        help="How many words of a text are read; the rest is cut off. More see the whole text and take longer. "
        "Beyond the longest text it changes nothing.",
        topic="words",
        raising="More of each text is read; slower, and signals have a longer way through the LSTM.",
        lowering="Faster; what stands late in a text is never seen.",
        interacts={
            "sequence_pooling": "With last, long texts train slowly; max and average reach every word.",
            "lstm_units": "More words want more memory.",
        },
        health={
            "gradient_health": "Falls when the signal has a long way back through many words.",
            "convergence_quality": "Falls when what tells classes apart was cut off.",
        },
        picture="sequence",
    )
    embedding_size: int = parameter(
        64,
        search=(32, 128),
        valid=(1, 4096),
        log=True,
        help="How many numbers stand for a word. Words of like use come to lie near each other; with few numbers only "
        "coarse likeness fits, with many the training texts are learnt by heart.",
        topic="words",
        raising="Finer likeness between words; more weights, and overfitting sooner.",
        lowering="Coarser likeness, fewer weights; too few, and unlike words look the same.",
        interacts={
            "vocabulary_size": "Together they make the weights of the embedding, often most of the model's.",
            "lstm_units": "It reads these numbers: a small LSTM cannot use many.",
        },
        health={
            "accuracy_consistency": "Falls when the training texts are learnt by heart.",
            "convergence_quality": "Falls when too few numbers cannot tell words apart.",
        },
        picture="embedding",
    )
    dropout_words: float = parameter(
        0.6,
        search=(0.3, 0.75),
        valid=(0.0, 0.95),
        help="Share of the words of each text left out in training, other ones every time, so that no single word "
        "gives a text away: the first remedy against overfitting here. Too much leaves too little to read.",
        topic="dropout",
        raising="Less overfitting, as no single word can be relied on; too much leaves too little to read.",
        lowering="Every word is read every time; single words give training texts away, and the model overfits.",
        interacts={
            "vocabulary_size": "The more rare words, the more is needed.",
            "sequence_length": "Short texts have fewer words to spare.",
            "epochs": "With much of it, training needs more epochs.",
        },
        health={
            "accuracy_consistency": "Rises when the gap between training and validation closes.",
            "convergence_quality": "Falls when too much of it keeps the loss up.",
        },
        picture="dropped_words",
    )
    lstm_units: int = parameter(
        32,
        search=(16, 64),
        valid=(1, 4096),
        log=True,
        help="How much an LSTM can remember while it reads. More hold more at once, and take longer.",
        topic="lstm",
        raising="More is held in memory at once; weights and time grow with the square of the units.",
        lowering="Faster and smaller; too few, and what was read early is lost.",
        interacts={
            "bidirectional": "With it there are two LSTMs of this size.",
            "dropout_lstm": "More units stand more of it.",
            "sequence_length": "More words want more memory.",
        },
        health={
            "parameter_efficiency": "Falls when many units remember the same.",
            "convergence_quality": "Falls when too few units cannot hold what is needed.",
        },
        picture="lstm",
    )
    num_layers_lstm: int = parameter(
        1,
        search=(1, 2),
        valid=(1, 8),
        help="How many LSTM layers read one after another, each what the one before wrote. One is often enough; more "
        "are slow and hard to train.",
        topic="depth",
        raising="Patterns of patterns of words; slower, and the signal has a longer way back.",
        lowering="Faster and easier to train; one layer is often enough.",
        interacts={
            "lstm_units": "Depth and width together make the size of this part.",
            "sequence_length": "Each layer reads all words, one after another: time adds up.",
        },
        health={
            "gradient_health": "Falls when the signal fades on its way through layers and words.",
            "convergence_quality": "Falls when a deep model has not arrived when the epochs are over.",
        },
        picture="depth",
    )
    bidirectional: bool = parameter(
        True,
        choices=(True, False),
        help="Reads every text forwards and backwards, so that each word is seen with what comes before and after. "
        "Twice the weights and time.",
        topic="lstm",
        means={
            "True": "Two LSTMs, one from each end: each word is seen with both sides. Twice the weights and time.",
            "False": "One LSTM from left to right: each word is seen with what came before.",
        },
        interacts={
            "lstm_units": "Twice as many of them, half for each direction.",
            "sequence_pooling": "With last, what is kept is what each direction remembers at its end.",
        },
        health={
            "convergence_quality": "Rises when what follows a word matters for its meaning.",
            "parameter_efficiency": "Falls when both directions say the same.",
        },
        picture="directions",
    )
    sequence_pooling: str = parameter(
        "max",
        choices=("max", "average"),
        also=("last",),
        help="How what was written at each word becomes one vector: max takes the strongest sign of each trait "
        "wherever it stands, average the mean over all words. last keeps what is remembered at the end, so that long "
        "texts train slowly; it is tried only if you ask for it.",
        topic="pooling",
        means={
            "max": "The strongest sign of each trait, at whatever word it stands.",
            "average": "The mean over all words: a trait counts by how often it stands there.",
            "last": "What is remembered after the last word: what was read early has a long way to come.",
        },
        interacts={
            "sequence_length": "With last, the signal has to come back through all words.",
            "lstm_units": "One number for each unit is what remains of a text.",
        },
        health={
            "gradient_health": "Falls with last, as the signal goes back word by word.",
            "convergence_quality": "Falls with last when long texts train slowly.",
        },
        picture="word_pooling",
    )
    dropout_lstm: float = parameter(
        0.4,
        search=(0.1, 0.6),
        valid=(0.0, 0.95),
        help="Share of the inputs of each LSTM switched off at random in training, the same at every word of a text, "
        "so that no trait of a word is relied on alone: works against overfitting.",
        topic="dropout",
        raising="Less overfitting; training is slower, and too much underfits.",
        lowering="Training is faster and follows the training texts more closely; at 0 nothing is switched off.",
        interacts={
            "dropout_words": "It leaves out whole words, this one traits of all words.",
            "embedding_size": "More numbers a word stand more of it.",
        },
        health={
            "accuracy_consistency": "Rises when the gap between training and validation closes.",
            "convergence_quality": "Falls when too much of it keeps the loss up.",
        },
        picture="dropout",
    )
    recurrent_dropout: float = parameter(
        0.0,
        choices=(0.0,),
        valid=(0.0, 0.95),
        help="Share of the memory switched off at random from word to word in training. Works against overfitting, "
        "but is slow and rules out the fast kernels of a GPU: a search leaves it at 0 unless you name a range.",
        topic="dropout",
        raising="Less overfitting; memory is disturbed at every word, and training is slow.",
        lowering="Memory is kept from word to word; at 0 the fast kernels of a GPU can be used.",
        interacts={"dropout_lstm": "Try that first: it costs no time."},
        health={
            "accuracy_consistency": "Rises when the gap between training and validation closes.",
            "convergence_quality": "Falls when the LSTM can no longer remember.",
        },
        picture="dropout",
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
        raising="Weights stay smaller and the model smoother; soon it is too much, as the gates of the LSTM shut.",
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
