"""Recordings beside what is computed by hand: with GradientTape, by finite differences, with NumPy."""

import dataclasses
import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from hpoviz.architecture.keras_adapter import graph_of
from hpoviz.architecture.model_graph import ModelGraph
from hpoviz.architecture.recording import merged
from hpoviz.errors import ConfigError, DatasetError, ModelBuildError
from hpoviz.instrument import record
from tests.architecture import models

CHANCE = np.random.default_rng(0)
X, Y = CHANCE.random((6, 12, 12, 1), "float32"), CHANCE.integers(0, 3, 6)


def by_node(seen):
    return {tensor.node: tensor for tensor in seen.tensors}


def test_activations_are_those_of_keras():
    model = models.cnn()
    seen = by_node(record(model, X))
    for layer in ("conv", "norm", "pool", "head"):
        values = np.asarray(keras.Model(model.inputs, model.get_layer(layer).output)(X, training=False))
        tensor = seen[layer]
        assert tensor.shape == values.shape
        for figure, expected in {
            "mean": values.mean(), "std": values.std(), "mean_abs": np.abs(values).mean(), "minimum": values.min(),
            "maximum": values.max(), "zeros": (values == 0).mean(), "finite": 1.0,
        }.items():  # fmt: skip
            assert getattr(tensor, figure) == pytest.approx(expected, rel=1e-5, abs=1e-7), figure
        flat = values.reshape(-1, values.shape[-1])
        np.testing.assert_allclose(tensor.unit_mean, flat.mean(0), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(tensor.unit_std, flat.std(0), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(tensor.unit_peak, np.abs(flat).max(0), rtol=1e-5)


def test_gradients_are_those_of_a_tape_by_hand():
    """A net of two layers, written out."""
    model = keras.Sequential(
        [keras.Input((4,), name="x"), layers.Dense(5, "tanh", name="a"), layers.Dense(3, "softmax", name="b")]
    )
    x, y = CHANCE.random((7, 4), "float32"), CHANCE.integers(0, 3, 7)
    seen = record(model, x, y)
    kernels = [tf.constant(weight) for weight in model.get_weights()]
    with tf.GradientTape(persistent=True) as tape:
        inputs = tf.constant(x)
        tape.watch([inputs, *kernels])
        hidden = tf.tanh(inputs @ kernels[0] + kernels[1])
        outputs = tf.nn.softmax(hidden @ kernels[2] + kernels[3])
        loss = tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(y, outputs))
    assert seen.loss == pytest.approx(float(loss), rel=1e-5)
    for node, tensor in {"x": inputs, "a": hidden, "b": outputs}.items():
        norm = float(tf.norm(tape.gradient(loss, tensor)))
        assert by_node(seen)[node].gradient_norm == pytest.approx(norm, rel=1e-4)
    for weight, kernel in zip(seen.weights, kernels, strict=True):
        assert weight.gradient_norm == pytest.approx(float(tf.norm(tape.gradient(loss, kernel))), rel=1e-4)
        assert weight.norm == pytest.approx(float(tf.norm(kernel)), rel=1e-5)
    assert [(weight.layer, weight.name) for weight in seen.weights] == [
        ("a", "kernel"), ("a", "bias"), ("b", "kernel"), ("b", "bias"),
    ]  # fmt: skip


def test_gradients_are_those_of_finite_differences():
    """The norm of a gradient is the slope of the loss along the gradient's own direction: in 64 bits."""
    double = {"dtype": "float64"}
    x = keras.Input((6, 6, 2), **double)
    y = layers.Conv2D(3, 3, activation="tanh", **double)(x)
    y = layers.Add(**double)([y, y])
    model = keras.Model(x, layers.Dense(3, **double)(layers.Flatten(**double)(y)))
    samples, labels = CHANCE.random((4, 6, 6, 2)), np.array([0, 1, 2, 0])

    def loss(_, outputs):
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, outputs))

    seen = record(model, samples, labels, loss=loss)
    for record_, weight in zip(seen.weights, model.weights, strict=True):
        values = weight.numpy().copy()
        slopes = np.zeros_like(values)
        for place in np.ndindex(values.shape):
            sides = []
            for step in (1e-5, -1e-5):
                moved = values.copy()
                moved[place] += step
                weight.assign(moved)
                sides.append(float(loss(None, model(samples))))
            slopes[place] = (sides[0] - sides[1]) / 2e-5
        weight.assign(values)
        assert record_.gradient_norm == pytest.approx(np.linalg.norm(slopes), rel=1e-4)
    slopes = np.zeros_like(samples)
    for place in np.ndindex(samples.shape):
        moved = samples.copy()
        sides = []
        for step in (1e-5, -1e-5):
            moved[place] = samples[place] + step
            sides.append(float(loss(None, model(moved))))
        slopes[place] = (sides[0] - sides[1]) / 2e-5
    assert seen.tensors[0].gradient_norm == pytest.approx(np.linalg.norm(slopes), rel=1e-4)


@pytest.mark.parametrize(
    "make", [models.siamese, models.self_shared, models.nested_twice, models.arithmetic, models.states,
             models.attention, models.other_shape, models.subclassed, models.around_subclassed],
    ids=lambda make: make.__name__,
)  # fmt: skip
def test_everything_that_is_drawn_is_recorded(make):
    model = make()
    shapes = [tuple(tensor.shape[1:]) for tensor in getattr(model, "inputs", None) or []] or [(5,)]
    x = [CHANCE.random((3, *shape), "float32") for shape in shapes]
    x = x[0] if len(x) == 1 else x
    seen = record(model, x, np.zeros(3), loss=lambda y, outputs: tf.reduce_sum(outputs**2))
    nodes = [node.id for node in graph_of(model).nodes if node.kind in ("input", "layer", "operation")]
    assert list(dict.fromkeys(tensor.node for tensor in seen.tensors)) == nodes
    expected = tf.reduce_sum(tf.square(model(x, training=False)))
    assert seen.loss == pytest.approx(float(expected), rel=1e-5)
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(tf.square(model(x, training=False)))
    by_weight = dict(
        zip(
            map(id, model.trainable_weights),
            tape.gradient(value, [w.value for w in model.trainable_weights]),
            strict=True,
        )
    )
    norms = sorted(float(tf.norm(gradient)) for gradient in by_weight.values())
    recorded = sorted(weight.gradient_norm for weight in seen.weights if weight.gradient_norm is not None)
    assert recorded == pytest.approx(norms, rel=1e-4)


def test_a_model_that_cannot_be_traced_shows_its_output_and_weights():
    seen = record(models.branching(), np.ones((2, 4), "float32"), np.array([0, 1]))
    assert [(tensor.node, tensor.shape) for tensor in seen.tensors] == [("/model", (2, 2))]
    assert [weight.gradient_norm is None for weight in seen.weights] == [True, True, False, False]


def test_text_with_masks_and_an_embedding():
    model = models.text()
    words = np.array([[3, 4, 0, 0, 0, 0, 0, 0, 0], [3, 3, 3, 3, 5, 6, 7, 8, 9]])
    seen = record(model, words, np.array([0, 1]))
    with tf.GradientTape() as tape:
        value = tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(np.array([0, 1]), model(words)))
    gradient = tf.convert_to_tensor(tape.gradient(value, model.weights[0].value))
    assert seen.loss == pytest.approx(float(value), rel=1e-5)
    assert seen.weights[0].gradient_norm == pytest.approx(float(tf.norm(gradient)), rel=1e-4)
    assert by_node(seen)["words"].gradient_norm is None


def test_the_compiled_loss_is_used():
    model = models.cnn()
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy())
    assert record(model, X, Y).loss == pytest.approx(float(model.evaluate(X, Y, verbose=0)), rel=1e-5)


def test_logits_of_a_model_that_is_not_compiled():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3)])
    x, y = CHANCE.random((5, 4), "float32"), CHANCE.integers(0, 3, 5)
    expected = keras.losses.sparse_categorical_crossentropy(y, model(x), from_logits=True)
    assert record(model, x, y).loss == pytest.approx(float(np.mean(expected)), rel=1e-5)


def test_training_mode_is_a_choice():
    model = keras.Sequential([keras.Input((50,)), layers.Dropout(0.5, name="drop")])
    ones = np.ones((4, 50), "float32")
    assert by_node(record(model, ones))["drop"].zeros == 0
    assert 0.3 < by_node(record(model, ones, training=True))["drop"].zeros < 0.7


def test_nothing_is_changed():
    model = models.cnn()
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(X, Y, verbose=0)
    before, step = model.get_weights(), int(model.optimizer.iterations)
    record(model, X, Y)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    assert int(model.optimizer.iterations) == step


def test_silent_units():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(6, "relu", name="d")])
    kernel, bias = model.get_weights()
    bias[[1, 4]] = -100.0
    model.set_weights([np.abs(kernel), bias])
    silent = by_node(record(model, np.ones((3, 4), "float32")))["d"].silent
    assert silent.tolist() == [False, True, False, False, True, False]


def test_values_that_are_not_finite_are_counted_and_left_out():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(2, name="d")])
    model.set_weights([np.full((4, 2), [1.0, np.inf]), np.zeros(2)])
    seen = record(model, np.ones((3, 4), "float32"), np.zeros(3, int))
    assert by_node(seen)["d"].finite == 0.5
    assert by_node(seen)["d"].maximum == 4.0
    json.dumps(seen.to_dict(), allow_nan=False)


def test_maps_are_the_channels_with_most_to_say():
    model = models.cnn()
    seen = record(model, X, maps=["conv", "flat"], channels=2)
    values = np.asarray(keras.Model(model.inputs, model.get_layer("conv").output)(X))[0]
    order = np.argsort(-np.abs(values).mean((0, 1)))[:2]
    image, vector = seen.maps
    assert (image.kind, image.channels, image.values.shape) == ("image", tuple(order), (2, 10, 10))
    back = image.low + image.values / 255 * (image.high - image.low)
    np.testing.assert_allclose(back, np.moveaxis(values[..., order], -1, 0), atol=(image.high - image.low) / 400)
    assert (vector.kind, vector.values.shape) == ("vector", (1, 1, 64))


def test_large_maps_are_averaged():
    model = keras.Sequential([keras.Input((100, 70, 1)), layers.Rescaling(2.0, name="same")])
    x = CHANCE.random((1, 100, 70, 1), "float32")
    (found,) = record(model, x, maps=["same"]).maps
    assert found.values.shape == (1, 32, 32)
    back = found.low + found.values / 255 * (found.high - found.low)
    assert back[0, 0, 0] == pytest.approx(2 * x[0, :3, :2].mean(), abs=0.02)


def test_sequences_are_time_by_unit():
    model = models.states()
    (found,) = record(model, CHANCE.random((1, 7, 3), "float32"), maps=["both"]).maps
    assert (found.kind, found.values.shape) == ("sequence", (1, 7, 4))


def test_outputs_are_those_of_the_first_sample():
    model = models.cnn()
    np.testing.assert_allclose(record(model, X).outputs[0], np.asarray(model(X))[0], rtol=1e-5)


def test_a_recording_survives_json_inside_its_graph():
    model = models.cnn()
    seen = record(model, X, Y, maps=["conv", "flat"])
    graph = dataclasses.replace(graph_of(model), recording=seen, health={"conv": 0.5})
    back = ModelGraph.from_json(graph.to_json())
    assert back.health == {"conv": 0.5}
    assert back.recording.to_dict() == seen.to_dict()
    np.testing.assert_array_equal(back.recording.maps[0].values, seen.maps[0].values)
    np.testing.assert_array_equal(back.recording.tensors[1].unit_std, seen.tensors[1].unit_std)


def test_json():
    values = json.loads(json.dumps(record(models.cnn(), X, Y, maps=["conv"]).to_dict(), allow_nan=False))
    assert (values["version"], values["samples"], values["training"]) == (1, 6, False)
    assert values["maps"][0]["values"]["shape"] == [4, 10, 10]
    assert values["tensors"][1]["unit_std"]["dtype"] == "float32"


@pytest.mark.parametrize(
    ("x", "y", "options", "error", "message"),
    [
        (X[:0], None, {}, DatasetError, r"at least one sample"),
        (X, Y[:2], {}, DatasetError, r"a label for each sample: 6. Got 2."),
        (X[..., 0, 0], None, {}, ModelBuildError, r"'cnn' cannot be run on these samples"),
        (X, None, {"maps": ["cnov"]}, ConfigError, r"a node that is not there: 'cnov'. Did you mean 'conv'\?"),
    ],
)
def test_bad_input(x, y, options, error, message):
    with pytest.raises(error, match=message):
        record(models.cnn(), x, y, **options)


def test_several_outputs_need_a_loss():
    with pytest.raises(ConfigError, match="'forked' has 2 outputs and is not compiled: give loss="):
        record(models.multi_output(), np.ones((2, 8), "float32"), np.zeros(2))


def test_what_is_no_model():
    with pytest.raises(ModelBuildError, match="A Keras 3 model"):
        record("model", X)


def test_averages_seeds_and_metrics_are_put_back():
    x = keras.Input((6,))
    y = layers.Dropout(0.5, seed=1)(layers.BatchNormalization()(x))
    model = keras.Model(x, [layers.Dense(2)(y), layers.Dense(2)(y)])
    model.compile("sgd", "mse", metrics=["mae", "mae"])
    samples, targets = CHANCE.random((8, 6), "float32"), [CHANCE.random((8, 2), "float32")] * 2
    model.fit(samples, targets, verbose=0)
    variables = [*model.non_trainable_variables, *model.metrics_variables]
    before = [variable.numpy() for variable in variables]
    record(model, samples, targets, training=True)
    for variable, value in zip(variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


def test_one_output_is_two_classes():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(1, "sigmoid")])
    x, y = CHANCE.random((5, 4), "float32"), np.array([0, 1, 1, 0, 1])
    expected = keras.losses.binary_crossentropy(y[:, None].astype("float32"), model(x))
    assert record(model, x, y).loss == pytest.approx(float(np.mean(expected)), rel=1e-5)


def test_gradients_in_sixteen_bits_do_not_overflow():
    from hpoviz.training.gradient_norm import squared_norm

    assert float(squared_norm(tf.fill([4], tf.constant(400.0, tf.float16)))) == pytest.approx(640_000)


def test_parts_of_the_samples_are_the_whole():
    model = models.cnn()
    loss = lambda _, outputs: tf.reduce_sum(outputs**2)  # noqa: E731
    whole = by_node(record(model, X, Y, loss=loss))
    first, second = (by_node(record(model, X[part], Y[part], loss=loss)) for part in (slice(0, 2), slice(2, 6)))
    for node, one in whole.items():
        both = merged([first[node], second[node]])
        assert (both.shape, both.node) == (one.shape, node)
        for figure in ("mean", "std", "mean_abs", "minimum", "maximum", "zeros", "finite", "gradient_norm"):
            assert getattr(both, figure) == pytest.approx(getattr(one, figure), rel=1e-4, abs=1e-6), figure
        np.testing.assert_allclose(both.unit_std, one.unit_std, rtol=1e-3, atol=1e-6)
        np.testing.assert_allclose(both.unit_peak, one.unit_peak, rtol=1e-5)  # batches of another size round otherwise


def test_graphs_with_recordings_can_be_compared():
    model = models.cnn()
    graph = dataclasses.replace(graph_of(model), recording=record(model, X))
    assert ModelGraph.from_json(graph.to_json()) == graph
    assert graph != dataclasses.replace(graph, recording=record(model, X + 1))


def test_no_channels():
    with pytest.raises(ConfigError, match=r"channels must be at least 1\. Got 0\."):
        record(models.cnn(), X, maps=["conv"], channels=0)
