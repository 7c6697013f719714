import subprocess
import sys

import keras
import numpy as np
import optuna
import pytest

from hpoviz.data.info import DataInfo
from hpoviz.models.lstm import LstmConfig
from hpoviz.search.quiet_study import quiet_study
from hpoviz.search.space import SearchSpace

pytestmark = pytest.mark.slow

INFO = DataInfo(
    name="d", kind="text", input_shape=(6,), class_names=("a", "b", "c"), vocabulary=tuple(f"w{i}" for i in range(20))
)
SMALL = {"embedding_size": 4, "lstm_units": 3}
TEXTS = np.array([[5, 9, 0, 0, 0, 0], [7, 3, 4, 2, 0, 0]], np.int32)


def build(**params):
    keras.utils.set_random_seed(0)
    return LstmConfig(**SMALL | params).build(INFO)


def layers(**params):
    """Return kind and name of each layer of a tiny network."""
    return [f"{type(layer).__name__} {layer.name}" for layer in build(**params).layers]


def test_layers_of_the_default_network():
    assert layers() == [
        "Embedding embedding",
        "Dropout dropout_words",
        "Bidirectional lstm_1",
        "GlobalMaxPooling1D max_over_words",
        "Dense probabilities",
    ]


def test_layers_with_everything_switched_the_other_way():
    assert layers(
        dropout_words=0, num_layers_lstm=2, bidirectional=False, sequence_pooling="average", num_layers_dense=1
    ) == [
        "Embedding embedding",
        "LSTM lstm_1",
        "LSTM lstm_2",
        "GlobalAveragePooling1D average_over_words",
        "Dense dense_1",
        "Activation dense_1_relu",
        "Dropout dense_1_dropout",
        "Dense probabilities",
    ]
    assert layers(sequence_pooling="last")[2:] == ["Bidirectional lstm_1", "Dense probabilities"]


def test_in_training_whole_words_are_left_out_and_never_in_prediction():
    embedding, dropout = build(dropout_words=0.5).layers[:2]
    tokens = np.arange(1, 21).reshape(1, 20)
    vectors = np.asarray(embedding(tokens))
    assert np.array_equal(np.asarray(dropout(vectors)), vectors)
    kept = np.asarray(dropout(vectors, training=True)) != 0
    assert (kept.all(axis=2) | ~kept.any(axis=2)).all()
    assert 0 < kept.all(axis=2).sum() < 20


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("pooling", ["max", "average", "last"])
@pytest.mark.parametrize("num_layers", [1, 2])
def test_how_much_a_text_is_filled_up_does_not_change_its_probabilities(bidirectional, pooling, num_layers):
    params = {"bidirectional": bidirectional, "sequence_pooling": pooling, "num_layers_lstm": num_layers}
    long, short = build(**params), build(**params, sequence_length=5)
    short.set_weights(long.get_weights())
    assert np.allclose(np.asarray(short(TEXTS[:, :5])), np.asarray(long(TEXTS)), atol=1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_proposed_networks_build_and_run(seed):
    space = SearchSpace(LstmConfig.parameters(), {"embedding_size": (2, 4), "lstm_units": (2, 4)})
    study = quiet_study(optuna.samplers.RandomSampler(seed=seed), optuna.pruners.NopPruner())
    config = LstmConfig.from_dict(space.suggest(study.ask()))
    assert config.recurrent_dropout == 0
    model = config.build(INFO)
    config.compile(model)
    assert np.isfinite(model.train_on_batch(TEXTS, np.array([0, 2]))).all()
    assert model.output_shape == (None, 3)


def test_what_is_not_searched_can_still_be_asked_for():
    config = LstmConfig(**SMALL, sequence_pooling="last", optimizer="sgd", recurrent_dropout=0.3, num_layers_dense=3)
    model = config.build(INFO)
    config.compile(model)
    assert isinstance(model.optimizer, keras.optimizers.SGD)
    assert np.isfinite(model.train_on_batch(TEXTS, np.array([0, 2]))).all()


def test_every_search_range_is_allowed():
    for item in LstmConfig.parameters().values():
        assert not any(map(item.problem, item.choices or map(item.type, item.search)))


def test_building_the_default_network_warns_of_nothing():
    code = (
        "import warnings; warnings.simplefilter('error')\n"
        "from hpoviz.data.info import DataInfo; from hpoviz.models.lstm import LstmConfig\n"
        "import keras\n"
        "LstmConfig(embedding_size=2, lstm_units=2).build(DataInfo(name='d', kind='text', input_shape=(4,), "
        "class_names=('a', 'b'), vocabulary=('x', 'y')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
