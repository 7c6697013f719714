"""What the compiled look makes of models and inputs of all kinds."""

import json

import keras
import numpy as np
import pytest
from keras import layers

import hpoviz
from hpoviz.health.health_analyzer import HealthAnalyzer
from hpoviz.health.health_callback import HealthCallback
from hpoviz.health.observation import Observation
from hpoviz.health.probe import Probe
from tests.health.test_health_analyzer import body, data, parts  # noqa: F401  fixtures

CHANCE = np.random.default_rng(0)


def labelled(*shape, rows=150, dtype="float32"):
    return CHANCE.random((rows, *shape)).astype(dtype), np.arange(rows) % 3


def test_rounding_makes_no_layer_sick():
    """Many batches of unequal size: shares of them do not sum to exactly one."""
    model = keras.Sequential(
        [keras.Input((8, 8, 1)), layers.Conv2D(4, 3, activation="relu"), layers.Flatten(), layers.Dense(3, "softmax")]
    )
    x = CHANCE.random((773, 8, 8, 1)).astype("float32")
    for step in (7, 100, 114, 256):
        probe = Probe(model, x)
        probe._step = step
        look = probe.look(x)
        assert look.finite
        assert [layer.finite for layer in look.layers] == [1.0]


def test_the_size_of_the_batches_does_not_matter():
    model = keras.Sequential([keras.Input((6,)), layers.Dense(5, "tanh"), layers.Dense(5, "relu"), layers.Dense(3)])
    x = CHANCE.normal(size=(300, 6)).astype("float32")
    looks = []
    for step in (256, 37):
        probe = Probe(model, x)
        probe._step = step
        looks.append(probe.look(x))
    np.testing.assert_allclose(looks[0].outputs, looks[1].outputs, atol=1e-6)
    for one, two in zip(looks[0].layers, looks[1].layers, strict=True):
        assert (one.active, one.units) == (two.active, two.units)
        assert one.saturated == pytest.approx(two.saturated) if one.saturated is not None else two.saturated is None


def test_penalties_of_activities_are_no_obstacle():
    hidden = layers.Dense(8, "relu", activity_regularizer="l2", kernel_regularizer=keras.regularizers.L2(0.1))
    model = keras.Sequential([keras.Input((4,)), hidden, layers.Dense(3, "softmax")])
    seen = HealthAnalyzer().observe(model, labelled(4))
    assert seen.penalty == pytest.approx(0.1 * float(np.square(hidden.get_weights()[0]).sum()), rel=1e-5)


def test_a_stateful_model_of_fixed_batch_keeps_its_states():
    model = keras.Sequential(
        [keras.Input(batch_shape=(32, 5, 2)), layers.LSTM(4, stateful=True), layers.Dense(3, "softmax")]
    )
    states = [state.numpy().copy() for state in model.layers[0].states]
    seen = HealthAnalyzer().observe(model, labelled(5, 2, rows=120))
    assert len(seen.predicted) == 120
    assert all(np.array_equal(a, b.numpy()) for a, b in zip(states, model.layers[0].states, strict=True))


class ByValue(keras.Model):
    """What it computes depends on values, so no graph can be made of it."""

    def __init__(self):
        super().__init__()
        self.hidden, self.head = layers.Dense(4, "relu"), layers.Dense(3, "softmax")

    def call(self, x):
        y = self.hidden(x)
        if float(keras.ops.sum(y)) > 1e9:
            y = y * 0
        return self.head(y)


def test_a_model_that_runs_eagerly_is_looked_at_eagerly():
    model = ByValue()
    model.compile("adam", "sparse_categorical_crossentropy", run_eagerly=True)
    x, y = labelled(6)
    model(x[:1])
    seen = HealthAnalyzer().observe(model, (x, y))
    assert len(seen.predicted) == len(y)


@pytest.mark.parametrize("dtype", ["int32", "float32", "float64"])
def test_numbers_of_words_get_no_noise(dtype):
    model = keras.Sequential([keras.Input((5,)), layers.Embedding(50, 4), layers.LSTM(4), layers.Dense(3, "softmax")])
    x = CHANCE.integers(40, 50, (150, 5)).astype(dtype)
    assert HealthAnalyzer().observe(model, (x, np.arange(150) % 3)).agreement is None


def test_shares_of_sixteen_bits_are_shares():
    head = layers.Dense(40, "softmax", dtype="mixed_bfloat16")
    model = keras.Sequential([keras.Input((16,)), layers.Dense(8, "relu"), head])
    model.compile("adam", "sparse_categorical_crossentropy")
    x = CHANCE.normal(size=(400, 16)).astype("float32") * 5
    seen = HealthAnalyzer().observe(model, (x, np.arange(400) % 40))
    assert seen.sums_to_one
    assert seen.takes_logits is False


@pytest.mark.parametrize("from_logits", [True, False])
def test_one_output_that_is_always_the_same_says_nothing_of_the_loss(from_logits):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(1, kernel_initializer="zeros")])
    model.compile("adam", keras.losses.BinaryCrossentropy(from_logits=from_logits))
    x, y = labelled(4)
    found = HealthAnalyzer().analyze(model, (x, y % 2)).findings
    assert "wrong_output_activation" not in [finding.fault for finding in found]


class Conv2DChannelsFirst(layers.Conv2D):
    """A convolution of channels first that every CPU can compute; TensorFlow's own wants oneDNN or a GPU."""

    def convolution_op(self, inputs, kernel):
        last = keras.ops.transpose(inputs, (0, 2, 3, 1))
        made = keras.ops.conv(last, kernel, padding="valid", data_format="channels_last")
        return keras.ops.transpose(made, (0, 3, 1, 2))


def test_channels_first():
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first")
    try:
        model = keras.Sequential([keras.Input((1, 8, 8)),
                                  Conv2DChannelsFirst(4, 3, activation="relu"),
                                  layers.Flatten(), layers.Dense(3, "softmax")])  # fmt: skip
        (layer,) = HealthAnalyzer().observe(model, labelled(1, 8, 8)).now.layers
        assert layer.units == 4
    finally:
        keras.config.set_image_data_format(before)


def test_metrics_that_are_vectors_and_later_epochs(parts):  # noqa: F811
    x, y = parts[0]
    model = keras.Sequential([keras.Input((8, 8, 1)), *body()])
    model.compile("adam", "categorical_crossentropy", metrics=[keras.metrics.F1Score()])
    watch = HealthCallback(parts)
    model.fit(x, np.eye(10)[y], initial_epoch=2, epochs=4, verbose=0, callbacks=[watch])
    assert list(watch.history) == ["loss"]
    seen = watch.observe()
    assert ([snapshot.epoch for snapshot in seen.snapshots], seen.epoch) == ([0, 3, 4], 4)


def test_an_observation_is_strict_json_and_comes_back(parts):  # noqa: F811
    model = keras.Sequential([keras.Input((8, 8, 1)), *body()])
    weights = model.get_weights()
    weights[0][0] = np.nan
    model.set_weights(weights)
    seen = HealthAnalyzer().observe(model, parts, {"loss": [2.0, float("nan")]})
    text = json.dumps(seen.to_dict(), allow_nan=False)
    back = Observation.from_dict(json.loads(text))
    assert json.dumps(back.to_dict()) == text
    assert np.isnan(back.history["loss"][1])
    with pytest.raises(ValueError, match="version 99"):
        Observation.from_dict({**json.loads(text), "version": 99})


def test_looking_does_not_disturb_chance(parts):  # noqa: F811
    import random

    model = keras.Sequential([keras.Input((8, 8, 1)), *body()])
    keras.utils.set_random_seed(0)
    expected = random.random(), np.random.random()
    keras.utils.set_random_seed(0)
    hpoviz.diagnose(model, parts)
    assert (random.random(), np.random.random()) == expected
