"""LayerWatch: what it sees is what Keras and NumPy say, it is bounded, and it never ends a trial."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from hpoviz.training import layer_watch
from hpoviz.training.layer_watch import LayerWatch
from hpoviz.training_record import TrainingRecord, histograms


def data(count=200, classes=3, shape=(8, 8, 1)):
    chance = np.random.default_rng(0)
    return chance.random((count, *shape)).astype("float32"), np.arange(count) % classes


def small_cnn(classes=3):
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(12, 3, activation="relu", name="conv"),
            layers.Dropout(0.5, name="drop"),
            layers.Flatten(name="flat"),
            layers.Dense(classes, activation="softmax", name="head"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def watched(model, x, y, epochs=1, **more):
    watch = LayerWatch(x, y, epochs=epochs, seed=0)
    model.fit(x, y, epochs=epochs, verbose=0, callbacks=[watch], **more)
    watch.predict()
    assert watch.problem is None, watch.problem
    return watch.record


def test_numbers_are_those_of_keras():
    x, y = data(40)
    model = small_cnn()
    record = watched(model, x, y)
    outputs = keras.Model(model.inputs, model.get_layer("conv").output)(x).numpy()
    assert record.layers == ["conv", "head"]
    assert record.units.tolist() == [12, 3]
    assert record.mean[-1, 0] == pytest.approx(outputs.mean(), rel=1e-4)
    assert record.std[-1, 0] == pytest.approx(outputs.std(), rel=1e-4)
    assert record.zeros[-1, 0] == pytest.approx((outputs == 0).mean(), abs=3 / outputs.size)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(y, model(x, training=False)))
    gradients = tape.gradient(loss, [variable.value for variable in model.trainable_variables])
    norms = [float(tf.norm(gradient)) for gradient in gradients]
    assert record.gradient_norms[-1].tolist() == pytest.approx(norms, rel=1e-4)
    assert record.tensors == [("conv", "kernel"), ("conv", "bias"), ("head", "kernel"), ("head", "bias")]
    kernel = model.get_layer("conv").kernel.numpy()
    assert (record.weights.low[-1, 0], record.weights.high[-1, 0]) == (
        pytest.approx(kernel.min()), pytest.approx(kernel.max()),
    )  # fmt: skip


def test_predictions_are_those_of_the_model():
    x, y = data(300)
    model = small_cnn()
    said = watched(model, x, y).predictions
    shares = model.predict(x, verbose=0)
    assert said.predicted.tolist() == shares.argmax(1).tolist()
    assert said.confidence == pytest.approx(shares.max(1), rel=1e-4)
    assert said.of_label == pytest.approx(shares[np.arange(300), y], rel=1e-4)


def test_looking_changes_nothing():
    x, y = data(60)
    keras.utils.set_random_seed(1)
    plain = small_cnn()
    plain.compile("sgd", "sparse_categorical_crossentropy")
    plain.fit(x, y, epochs=2, verbose=0, shuffle=False)
    keras.utils.set_random_seed(1)
    model = small_cnn()
    model.compile("sgd", "sparse_categorical_crossentropy")
    watched(model, x, y, epochs=2, shuffle=False)
    for one, other in zip(plain.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_pictures_are_the_outputs_for_one_sample():
    x, y = data(20)
    model = small_cnn()
    record = watched(model, x, y)
    (at,) = (at for at, name in enumerate(record.pictures) if name == "conv")
    outputs = keras.Model(model.inputs, model.get_layer("conv").output)(x[[record.sample]]).numpy()[0]
    assert record.maps[at].shape == (2, 8, 6, 6)  # looks, 8 of 12 channels
    low, high = record.map_low[-1, at], record.map_high[-1, at]
    shown = low + record.maps[at][-1, 0] / 255 * (high - low)
    assert shown == pytest.approx(outputs[..., 0], abs=float(high - low) / 250)


def test_texts_and_recurrent_layers():
    x, y = np.random.default_rng(0).integers(0, 50, (60, 12)), np.arange(60) % 2
    model = keras.Sequential(
        [
            keras.Input((12,)), layers.Embedding(50, 6, name="words"),
            layers.LSTM(5, return_sequences=True, name="seq"), layers.LSTM(4, name="last"),
            layers.Dense(2, activation="softmax", name="head"),
        ]
    )  # fmt: skip
    model.compile("adam", "sparse_categorical_crossentropy")
    record = watched(model, x, y)
    assert record.layers == ["words", "seq", "last", "head"]
    assert [maps.shape[1:] for maps in record.maps] == [(1, 12, 6), (1, 12, 5), (1, 1, 4), (1, 1, 2)]


def test_a_shared_layer_has_a_place_for_each_call():
    x = keras.Input((4,))
    shared = layers.Dense(4, name="shared")
    model = keras.Model(x, layers.Dense(2, activation="softmax", name="head")(shared(shared(x))))
    model.compile("adam", "sparse_categorical_crossentropy")
    record = watched(model, *data(20, 2, (4,)))
    assert len(record.layers) == len(set(record.layers)) == 3


def test_a_model_that_runs_eagerly():
    model = small_cnn()
    model.compile("adam", "sparse_categorical_crossentropy", run_eagerly=True)
    assert len(watched(model, *data(20)).epochs) == 2


def test_many_epochs_layers_and_samples_are_bounded(monkeypatch):
    monkeypatch.setattr(layer_watch, "MOST_LOOKS", 4)
    monkeypatch.setattr(layer_watch, "MOST_LAYERS", 5)
    monkeypatch.setattr(layer_watch, "MOST_PICTURES", 3)
    monkeypatch.setattr(layer_watch, "MOST_PREDICTIONS", 50)
    hidden = [layers.Dense(6, "relu") for _ in range(12)]
    model = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), *hidden, layers.Dense(3, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    record = watched(model, *data(70), epochs=10)
    assert record.epochs.tolist() == [0, 3, 6, 9, 10]
    assert (len(record.layers), len(record.pictures), len(record.predictions.rows)) == (5, 3, 50)


def test_a_large_record_is_small_on_disk():
    """Every limit reached at once, of numbers that do not compress."""
    chance, looks = np.random.default_rng(0), layer_watch.MOST_LOOKS + 2
    spread = [[chance.normal(size=64) for _ in range(2 * layer_watch.MOST_LAYERS)] for _ in range(looks)]
    x, y = data(20)
    watch = LayerWatch(x, y, epochs=1, seed=0)
    small_cnn().fit(x, y, epochs=1, verbose=0, callbacks=[watch])
    one = watch._looks[-1][1]
    pictures = layer_watch.MOST_PICTURES
    maps = chance.integers(0, 256, (pictures, layer_watch.CHANNELS, 32, 32), np.uint8)
    watch._pictures, watch._tensors = ["name"] * pictures, [("layer", "kernel")] * len(spread[0])
    changed = {"gradient_norms": [0.0] * len(spread[0]), "maps": list(maps), "ranks": [3] * pictures}
    changed |= {"map_low": [0.0] * pictures, "map_high": [1.0] * pictures}
    watch._looks = [
        (at, one | changed | {"weights": histograms([values]), "gradients": histograms([values])})
        for at, values in enumerate(spread)
    ]
    assert len(watch.record.to_bytes()) < 6e6


def test_what_cannot_be_looked_into_is_trained_all_the_same(tmp_path, capsys):
    class Odd(layers.Layer):
        def call(self, x):
            if not isinstance(x, keras.KerasTensor) and x.shape[0] == layer_watch.ROWS:
                raise RuntimeError("only in looks")
            return x

    x, y = data(layer_watch.ROWS * 2)
    model = keras.Sequential([keras.Input((8, 8, 1)), Odd(), layers.Flatten(), layers.Dense(3, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", run_eagerly=True)
    watch = LayerWatch(x, y, epochs=1, seed=0)
    model.fit(x, y, epochs=1, batch_size=16, verbose=0, callbacks=[watch])
    watch.save(tmp_path)
    assert "only in looks" in watch.problem
    record = TrainingRecord.load(tmp_path / "arrays.npz")
    assert "only in looks" in record.problem
    assert record.layers == []
