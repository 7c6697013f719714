import string

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hpoviz
from hpoviz.data.dataset import Dataset
from hpoviz.data.text import build_vocabulary, to_tokens, words
from hpoviz.errors import DatasetError
from hpoviz.models.lstm import LstmConfig

ALPHABET = string.printable + "ÄÉßñ€–’\u00a0\u2003😀"
TEXTS = st.lists(st.text(ALPHABET, min_size=1, max_size=40), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None)
@given(TEXTS)
def test_words_and_vocabulary_are_those_of_keras(texts):
    texts = [text.replace("\x00", "") + " end" for text in texts]  # TensorFlow's strings may hold zeros, NumPy's not
    vectorize = keras.layers.TextVectorization()
    vectorize.adapt(texts)
    vocabulary = build_vocabulary(texts)
    assert list(map(str, vectorize.get_vocabulary()[2:])) == list(vocabulary)
    tokens = np.asarray(vectorize(texts))
    assert np.array_equal(tokens, to_tokens(texts, vocabulary, tokens.shape[1]))


def test_most_words_keeps_the_most_frequent():
    assert build_vocabulary(["a a b", "c b a"], most=2) == ("a", "b")


def test_tokens_are_cut_and_filled():
    assert to_tokens(["a b c", "a"], ("a", "b"), 2).tolist() == [[2, 3], [2, 0]]
    assert to_tokens(["a b c", "a"], ("a", "b")).tolist() == [[2, 3, 1], [2, 0, 0]]


def test_a_word_less_text_is_a_row_of_padding():
    assert words("?!") == []
    assert to_tokens(["?!", "a"], ("a",)).tolist() == [[0], [2]]


def test_the_vocabulary_is_of_the_training_part_only():
    texts = [f"word{i} common" for i in range(40)]
    data = Dataset.from_arrays(texts, [0, 1] * 20)
    split = data.split(0.25)
    known = set(split.info.vocabulary)
    assert "common" in known
    assert len(known) == 1 + len(split.x_train)
    assert (split.x_val == 1).any(axis=1).all()  # each holds a word that training never saw


def test_groups_stay_whole():
    groups = np.repeat(np.arange(20), 5)
    texts = [f"group{group} text{i}" for i, group in enumerate(groups)]
    data = Dataset.from_arrays(texts, np.tile([0, 1], 50), groups=groups, test=0.2)
    assert not {text.split()[0] for text in data.x} & {text.split()[0] for text in data.x_test}
    split = data.split(0.2)
    train_words = {split.info.vocabulary[token - 2] for token in split.x_train[:, 0]}
    assert (split.x_val[:, 0] == 1).all()
    assert all(word.startswith("group") for word in train_words)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (["good", " \n"] * 10, "Got a blank text in sample 1"),
        (["good", None] * 10, "x must be texts. Got NoneType in sample 1"),
        (["good", 3] * 10, "x must be texts. Got int in sample 1"),
        ("one text", "Got one text: 'one text'"),
    ],
)
def test_bad_texts(x, message):
    with pytest.raises(DatasetError) as caught:
        Dataset.from_arrays(x, [0, 1] * 10)
    assert message in str(caught.value)


def test_groups_of_another_length_are_refused():
    with pytest.raises(DatasetError, match="group of each of the 20 samples"):
        Dataset.from_arrays(["a b", "c d"] * 10, [0, 1] * 10, groups=[1, 2])


def test_pandas_columns_of_texts_are_texts():
    import pandas as pd

    frame = pd.DataFrame({"text": ["good day", "bad luck"] * 10, "label": ["+", "-"] * 10})
    data = Dataset.from_arrays(frame["text"], frame["label"])
    assert (data.kind, data.class_names) == ("text", ("+", "-"))


def test_the_embedded_texts_are_distinct_and_split_by_module():
    data = hpoviz.load_dataset("docstrings")
    texts = [*data.x, *data.x_test]
    assert len({" ".join(words(text)) for text in texts}) == len(texts) == 7500
    assert data.class_names == ("keras", "matplotlib", "numpy", "pandas", "scikit-learn")
    assert not any(name in words(text) for name in ("numpy", "pandas", "keras", "sklearn") for text in texts)


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"bidirectional": False},
        {"sequence_pooling": "average", "num_layers_dense": 2},
        {"bidirectional": False, "sequence_pooling": "last", "num_layers_lstm": 2},
    ],
)
def test_the_exported_lstm_takes_texts_and_agrees_with_the_one_that_was_trained(params):
    texts = np.array(["Good day!", "bad luck, day", "unseen words"] * 8, dtype=object)
    split = Dataset.from_arrays(texts, [0, 1, 1] * 8).split(0.25)
    config = LstmConfig(vocabulary_size=5, sequence_length=2, lstm_units=3, embedding_size=4, **params)
    model = config.build(split.info)
    tokens = config.prepare(to_tokens(texts, split.info.vocabulary, split.x_train.shape[1]), split.info)
    assert tokens.shape == (24, 2)
    assert tokens.max() <= 4
    exported = config.export(model, split.info)
    assert np.allclose(exported.predict(texts, verbose=0), model.predict(tokens, verbose=0), atol=1e-6)
