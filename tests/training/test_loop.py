"""The compiled loop trains as ``Model.fit`` does."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import hpoviz
from hpoviz.models.cnn import CnnConfig
from hpoviz.models.lstm import LstmConfig
from hpoviz.training.loop import FEW_STEPS, EpochLoop, why_fit

# Both compute in float32, but sum in another order: over two epochs the cases below came to differ by up to 2e-7, and
# 1e-4 leaves room for other processors.
TOLERANCE = 1e-4
LAST_BATCH_IS_PARTIAL = 250


def small(split, rows=LAST_BATCH_IS_PARTIAL):
    parts = {"x_train": split.x_train[:rows], "y_train": split.y_train[:rows]}
    return dataclasses.replace(split, **parts, x_val=split.x_val[:100], y_val=split.y_val[:100])


@pytest.fixture(scope="module")
def digits():
    return small(hpoviz.load_dataset("digits").split())


@pytest.fixture(scope="module")
def texts():
    return small(hpoviz.load_dataset("docstrings").split(), rows=150)


def built(config, split):
    """The model with the start that the seed gives, without dropout, which draws in another order."""
    keras.utils.set_random_seed(3)
    model = config.build(split.info)
    for layer in model._flatten_layers():
        if isinstance(layer, layers.Dropout | layers.SpatialDropout1D):
            layer.rate = 0.0
    config.compile(model)
    return model


def curves_of_fit(config, split, epochs=2):
    x, x_val = (config.prepare(part, split.info) for part in (split.x_train, split.x_val))
    fitted = built(config, split).fit(
        x,
        split.y_train,
        validation_data=(x_val, split.y_val),
        batch_size=config.batch_size,
        epochs=epochs,
        shuffle=False,
        verbose=0,
    )
    return np.array([fitted.history[name] for name in ("loss", "accuracy", "val_loss", "val_accuracy")]).T


def curves_of_loop(config, split, epochs=2, planned=2):
    x, x_val = (config.prepare(part, split.info) for part in (split.x_train, split.x_val))
    model = built(config, split)
    assert why_fit(model, [], x) is None
    loop, rows = EpochLoop(model, x, split.y_train, batch_size=config.batch_size, seed=0, epochs=planned), []
    for _ in range(epochs):
        figures = loop.train_epoch(lambda *look: None, np.arange(len(x)))
        rows.append((figures.loss, figures.accuracy, *loop.evaluate(x_val, split.y_val, lambda: None)))
    return np.array(rows)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "rmsprop", "sgd"])
def test_a_cnn_with_batch_normalization(digits, optimizer):
    config = CnnConfig(optimizer=optimizer, l2=1e-3, batch_size=32, filters=8)
    np.testing.assert_allclose(curves_of_loop(config, digits), curves_of_fit(config, digits), rtol=TOLERANCE)


def test_a_cnn_that_is_trained_for_long_has_its_graph_optimised_and_is_equal_too(digits, monkeypatch):
    config, seen = CnnConfig(batch_size=32, filters=8), []
    update = tf.config.optimizer.set_experimental_options
    monkeypatch.setattr(tf.config.optimizer, "set_experimental_options", lambda x: (seen.append(x), update(x)))
    curves = curves_of_loop(config, digits, planned=FEW_STEPS)
    assert not seen
    np.testing.assert_allclose(curves, curves_of_fit(config, digits), rtol=TOLERANCE)
    curves_of_loop(config, digits, planned=2)
    assert seen[:2] == [{"disable_meta_optimizer": True}, {"disable_meta_optimizer": False}]  # put back
    assert tf.config.optimizer.get_experimental_options()["disable_meta_optimizer"] is False


def test_a_dense_network_on_the_pixels(digits):
    class Dense(CnnConfig):
        def build(self, info):
            dense = [layers.Dense(16, "tanh"), layers.Dense(10, "softmax")]
            scale = layers.Rescaling(1 / 16)  # Adam would make a difference of rounding large in saturated units
            return keras.Sequential([layers.Input(info.input_shape), scale, layers.Flatten(), *dense])

    config = Dense(learning_rate=0.01)
    np.testing.assert_allclose(curves_of_loop(config, digits), curves_of_fit(config, digits), rtol=TOLERANCE)


@pytest.mark.parametrize("bidirectional", [True, False])
def test_an_lstm(texts, bidirectional):
    config = LstmConfig(bidirectional=bidirectional, dropout_lstm=0.0, sequence_length=20, lstm_units=8, batch_size=64)
    np.testing.assert_allclose(curves_of_loop(config, texts), curves_of_fit(config, texts), rtol=TOLERANCE)


def test_class_weights_are_those_of_fit(digits, monkeypatch):
    config = CnnConfig(batch_size=32, filters=8, class_weight="balanced")
    kept = np.flatnonzero((digits.y_train != 3) | (np.arange(len(digits.y_train)) % 5 == 0))  # few threes
    split = dataclasses.replace(digits, x_train=digits.x_train[kept], y_train=digits.y_train[kept])
    weights = config.class_weights(split.y_train)
    assert weights.argmax() == 3
    assert weights[split.y_train].mean() == pytest.approx(1)
    model = built(config, split)
    fitted = model.fit(
        split.x_train, split.y_train, batch_size=32, shuffle=False, class_weight=dict(enumerate(weights)), verbose=0
    )
    loop = EpochLoop(
        built(config, split), split.x_train, split.y_train, batch_size=32, seed=0, epochs=1, class_weights=weights
    )
    figures = loop.train_epoch(lambda *look: None, np.arange(len(kept)))
    assert figures.loss == pytest.approx(fitted.history["loss"][0], rel=TOLERANCE)
    assert figures.loss != pytest.approx(curves_of_loop(config, split, epochs=1)[0][0], rel=0.01)


def test_recurrent_models_have_their_graph_optimised_however_short(texts, monkeypatch):
    seen = []
    monkeypatch.setattr(tf.config.optimizer, "set_experimental_options", seen.append)
    curves_of_loop(LstmConfig(lstm_units=4, sequence_length=10), texts, epochs=1, planned=1)
    assert not seen


def test_every_sample_is_seen_once_an_epoch_in_another_order(digits):
    seen = []

    class Remembers(layers.Layer):
        def call(self, x, training=False):
            if training:
                tf.py_function(lambda batch: seen.append(batch.numpy()), [x], [])
            return x

    x = np.arange(10, dtype="float32")[:, None]
    model = keras.Sequential([layers.Input((1,)), Remembers(), layers.Dense(2, "softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    loop = EpochLoop(model, x, np.zeros(10, int), batch_size=4, seed=5, epochs=2)
    orders = []
    for _ in range(2):
        loop.train_epoch(lambda *look: None)
        assert [len(batch) for batch in seen] == [4, 4, 2]
        orders.append(np.concatenate(seen)[:, 0].tolist())
        seen.clear()
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(10))
    assert orders[0] != orders[1]


def test_gradient_norms_are_those_of_a_gradient_tape(digits):
    """One step over all samples: the norm is that of the gradient before it."""
    x, y = digits.x_train.astype("float32"), digits.y_train
    model = keras.Sequential([layers.Input(x.shape[1:]), layers.Flatten(), layers.Dense(10, "softmax", name="out")])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    with tf.GradientTape() as tape:
        loss = model.compute_loss(x=x, y=y, y_pred=model(x, training=True))
    gradients = tape.gradient(loss, model.trainable_variables)
    expected = np.sqrt(sum(np.square(gradient.numpy()).sum() for gradient in gradients))
    figures = EpochLoop(model, x, y, batch_size=len(x), seed=0, epochs=1).train_epoch(lambda *look: None)
    assert figures.gradient_norms == {"out": pytest.approx(expected, rel=1e-4)}


def test_repeated_rows_of_an_embedding_are_added_before_their_norm_is_taken():
    import tensorflow as tf

    x, y = np.array([[1, 1, 2]]), np.array([0])
    model = keras.Sequential(
        [
            layers.Input((3,), dtype="int32"),
            layers.Embedding(4, 2, name="words"),
            layers.Flatten(),
            layers.Dense(2, "softmax"),
        ]
    )
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    table = model.layers[0].trainable_variables[0]
    with tf.GradientTape() as tape:
        loss = model.compute_loss(x=x, y=y, y_pred=model(x))
    dense = tf.convert_to_tensor(tape.gradient(loss, table.value))
    figures = EpochLoop(model, x, y, batch_size=1, seed=0, epochs=1).train_epoch(lambda *look: None)
    assert figures.gradient_norms["words"] == pytest.approx(float(tf.norm(dense)), rel=1e-4)


def test_a_loss_that_is_not_finite_ends_the_call_at_once(digits):
    x = digits.x_train.astype("float32")
    x[40] = np.nan
    model = keras.Sequential([layers.Input(x.shape[1:]), layers.Flatten(), layers.Dense(10, "softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    looks = []

    def look(step, steps, loss, accuracy):
        looks.append((step, steps))
        if not np.isfinite(loss):
            raise StopIteration

    loop = EpochLoop(model, x, digits.y_train, batch_size=10, seed=0, epochs=1)
    with pytest.raises(StopIteration):
        loop.train_epoch(look, np.arange(len(x)))
    assert looks[-1] == (5, 25)  # sample 40 is in the fifth batch


def test_equal_seeds_give_equal_weights(digits):
    config = CnnConfig(filters=4, num_layers_conv=1, dropout_dense=0.3)
    weights = []
    for _ in range(2):
        keras.utils.set_random_seed(1)
        model = config.build(digits.info)
        config.compile(model)
        EpochLoop(model, digits.x_train, digits.y_train, batch_size=32, seed=9, epochs=1).train_epoch(
            lambda *look: None
        )
        weights.append(model.get_weights())
    assert all(np.array_equal(first, second) for first, second in zip(*weights, strict=True))


class LooksAtBatches(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        pass


class LooksAtEpochs(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        pass


class OwnStep(keras.Sequential):
    def train_step(self, data):
        return super().train_step(data)


def plain(cls=keras.Sequential, **compiled):
    model = cls([layers.Input((2,)), layers.Dense(2, "softmax")])
    settings = {"optimizer": "adam", "loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]}
    model.compile(**settings | compiled)
    return model


def several_outputs():
    inputs = layers.Input((2,))
    model = keras.Model(inputs, [layers.Dense(2)(inputs), layers.Dense(2)(inputs)])
    model.compile("adam", ["mse", "mse"])
    return model


@pytest.mark.parametrize(
    ("model", "callbacks", "reason"),
    [
        (plain, [], None),
        (plain, [LooksAtEpochs(), keras.callbacks.EarlyStopping(), keras.callbacks.LearningRateScheduler(abs)], None),
        (plain, [LooksAtEpochs(), LooksAtBatches()], "callback LooksAtBatches looks at batches"),
        (lambda: plain(OwnStep), [], "it has a train_step of its own"),
        (lambda: plain(run_eagerly=True), [], "it runs eagerly"),
        (lambda: plain(jit_compile=True), [], "it is compiled by XLA"),
        (lambda: plain(metrics=["accuracy", "mse"]), [], "it reports mse"),
        (lambda: plain(loss_weights=[0.5]), [], "its loss is weighted"),
        (several_outputs, [], "it has several outputs"),
    ],
)
def test_the_rule_says_why_a_model_is_trained_by_fit(model, callbacks, reason):
    assert why_fit(model(), callbacks, np.zeros((2, 2))) == reason


def test_large_data_are_left_to_fit():
    huge = np.lib.stride_tricks.as_strided(np.zeros(1), (10**9, 2), (0, 0))
    assert why_fit(plain(), [], huge) == "its data take 16.0 GB"


def test_a_trial_says_by_what_it_was_trained(stripes, run_dir):
    space = {"num_layers_conv": 1, "filters": 4, "num_layers_dense": 0, "batch_size": 64}
    for name, callbacks, told in (
        ("loop", [LooksAtEpochs()], "the compiled loop"),
        ("fit", [LooksAtBatches()], "Model.fit, as callback LooksAtBatches looks at batches"),
    ):
        opt = hpoviz.Optimizer(
            stripes,
            trials=1,
            epochs=2,
            seed=0,
            backend="inline",
            search_space=space,
            callbacks=callbacks,
            run_dir=run_dir / name,
        )
        opt.run()
        trial = opt.best_trial
        assert trial.result.trained_by == told
        assert trial.history["val_accuracy"].notna().all()
        assert trial.gradient_norms.shape == ((2, 3) if name == "loop" else (2, 0))
