"""Layers of a user's own: made from a layer of Keras', or put together from several."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from hpoviz import HealthAnalyzer
from hpoviz.architecture.keras_adapter import graph_of, replay
from hpoviz.architecture.model_graph import ModelGraph
from hpoviz.architecture.palette import layer_kind


class Residual(layers.Layer):
    """A block with a weight of its own, that knows masks."""

    def __init__(self, units, **options):
        super().__init__(**options)
        self.supports_masking = True
        self.wide, self.narrow = layers.Dense(2 * units, "relu", name="wide"), layers.Dense(units, name="narrow")
        self.drop = layers.Dropout(0.5, name="drop")

    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), initializer="ones", name="scale")
        self.wide.build(shape)
        self.narrow.build((*shape[:-1], self.wide.units))
        self.built = True

    def call(self, x, training=False):
        return x + self.drop(self.narrow(self.wide(x))) * self.scale


class Halved(layers.Dense):
    def call(self, x, training=False):
        return super().call(x) / 2


class Early(layers.Layer):
    """A block that computes something before its input comes in."""

    def __init__(self, what, **options):
        super().__init__(**options)
        self.what = what
        self.places, self.dense = layers.Embedding(6, 4, name="places"), layers.Dense(4, name="dense")
        self.chance = keras.random.SeedGenerator(0)

    def build(self, shape):
        self.weight = self.add_weight(shape=(4,), initializer="ones", name="weight")
        self.places.build()
        self.dense.build(shape)
        self.built = True

    def call(self, x):
        added = {
            "places": lambda: self.places(ops.arange(6)),
            "weight": lambda: ops.softplus(self.weight),
            "chance": lambda: keras.random.normal((4,), seed=self.chance),
            "numbers": lambda: ops.cast(ops.arange(4), "float32"),
        }
        return self.dense(x + added[self.what]())


def shaken(model, seed=0):
    """Give every weight another value."""
    chance = np.random.default_rng(seed)
    model.set_weights(
        [weight + chance.normal(0, 0.3, weight.shape).astype(weight.dtype) for weight in model.get_weights()]
    )


def outputs(model, x):
    return replay(model, x, watch=lambda node, tensors: tensors)[0]


def of_blocks():
    return keras.Sequential(
        [
            keras.Input((8,), name="x"),
            Residual(8, name="first"),
            Halved(6, "relu", name="halved"),
            Residual(6, name="second"),
            layers.Dense(3, "softmax", name="head"),
        ]
    )


def test_a_block_is_a_container_with_its_layers_inside():
    model = of_blocks()
    graph = graph_of(model)
    assert graph_of(model, public=True) == ModelGraph.from_json(graph.to_json()) == graph
    assert graph.partial is None
    assert graph.parameters == model.count_params()
    assert graph.inside("first") == {f"first/{name}" for name in ("wide", "narrow", "drop", "multiply", "add")}
    assert graph.layers["first"].parameters == 8
    assert graph.layers["second/narrow"].parameters == 12 * 6 + 6
    assert [node.id for node in graph_of(model, expand=False).nodes if node.kind == "container"] == []


def test_a_block_is_run_as_keras_runs_it():
    model = of_blocks()
    x = np.random.default_rng(0).normal(size=(5, 8)).astype("float32")
    graph_of(model)
    shaken(model)
    np.testing.assert_allclose(outputs(model, x), model(x), rtol=1e-5)
    seen = []
    replay(model, x, watch=lambda node, tensors: seen.append(node) or tensors)
    assert seen == [node.id for node in graph_of(model).nodes if node.kind not in ("container", "output")]


def test_the_mask_that_a_block_knows_reaches_what_comes_after():
    words = keras.Input((5,), dtype="int32")
    x = Residual(4, name="block")(layers.Embedding(9, 4, mask_zero=True)(words))
    model = keras.Model(words, layers.Dense(2)(layers.GlobalAveragePooling1D()(x)))
    shaken(model)
    x = np.array([[3, 4, 0, 0, 0], [1, 2, 3, 4, 5]])
    assert {"block/wide", "block/add"} <= {node.id for node in graph_of(model).nodes}
    np.testing.assert_allclose(outputs(model, x), model(x), rtol=1e-5)
    assert np.abs(model(x) - model.layers[-1](ops.mean(model.layers[2](model.layers[1](x)), 1))).max() > 1e-3


def test_a_class_made_from_a_layer_of_keras_is_of_its_kind():
    graph = graph_of(of_blocks())
    kinds = {node.id: layer_kind(graph.layers[node.layer], node.kind).name for node in graph.nodes}
    assert (kinds["halved"], graph.layers["halved"].base, graph.layers["head"].base) == ("dense", "Dense", "")
    assert (kinds["first"], graph.layers["first"].base) == ("model", "")


@pytest.mark.parametrize("what", ["places", "weight", "chance"])
def test_what_a_trace_would_keep_as_it_is_closes_a_block(what):
    model = keras.Sequential([keras.Input((6, 4), name="x"), Early(what, name="early"), layers.Flatten(name="flat")])
    graph = graph_of(model)
    assert [node.id for node in graph.nodes] == ["x", "early", "flat", "/output/0"]
    assert "'early' computes something of its weights" in graph.partial
    if what == "chance":
        return
    x = np.ones((2, 6, 4), "float32")
    outputs(model, x)
    shaken(model)
    np.testing.assert_allclose(outputs(model, x), model(x), rtol=1e-5)


def test_numbers_that_stay_the_same_close_nothing():
    model = keras.Sequential([keras.Input((6, 4), name="x"), Early("numbers", name="early")])
    graph = graph_of(model)
    assert graph.partial is None
    assert graph.inside("early") == {"early/add", "early/dense"}
    shaken(model)
    x = np.ones((2, 6, 4), "float32")
    np.testing.assert_allclose(outputs(model, x), model(x), rtol=1e-5)


def test_a_model_that_computes_something_of_its_weights_early_is_closed():
    class Scaled(keras.Model):
        def __init__(self):
            super().__init__(name="scaled")
            self.dense = layers.Dense(2, name="dense")

        def build(self, shape):
            self.scale = self.add_weight(shape=(1,), initializer="ones", name="scale")
            self.dense.build(shape)
            self.built = True

        def call(self, x):
            return self.dense(x) * ops.exp(self.scale)

    model = Scaled()
    x = np.ones((3, 4), "float32")
    model(x)
    assert "computes something of its weights" in graph_of(model, inputs=x).partial
    outputs(model, x)
    shaken(model)
    np.testing.assert_allclose(outputs(model, x), model(x), rtol=1e-5)


@pytest.mark.slow
def test_the_layers_of_a_block_are_diagnosed():
    chance = np.random.default_rng(0)
    x = chance.normal(size=(300, 8)).astype("float32")
    y = (x[:, 0] > 0).astype(int) + (x[:, 1] > 0)
    model = of_blocks()
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, y, epochs=8, verbose=0)
    kernel, bias = model.get_layer("second").wide.get_weights()
    model.get_layer("second").wide.set_weights([kernel, bias - 100])
    report = HealthAnalyzer().analyze(model, (x, y))
    assert (report.findings[0].fault, report.findings[0].layer) == ("dying_relu", "second/wide")
    observed = [layer.layer for layer in HealthAnalyzer().observe(model, (x, y)).now.layers]
    assert observed == ["first/wide", "first/narrow", "halved", "second/wide", "second/narrow"]
