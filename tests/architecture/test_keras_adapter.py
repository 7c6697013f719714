"""Graphs of Keras models, counted by hand; read by the private and the public way."""

import gc
import weakref

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keras import layers

from hpoviz.architecture.keras_adapter import MODEL_NODE, graph_of, replay
from hpoviz.architecture.model_graph import ModelGraph
from hpoviz.errors import ModelBuildError
from tests.architecture import models

# nodes and edges, without the Output nodes; containers count as nodes
COUNTS = {
    models.cnn: (7, 6),
    models.siamese: (8, 5),
    models.self_shared: (4, 4),
    models.nested_twice: (6, 3),
    models.multi_output: (4, 3),
    models.arithmetic: (4, 4),
    models.states: (4, 5),
    models.attention: (3, 4),
    models.other_shape: (4, 2),
    models.text: (5, 5),  # with the mask of the padding
    models.subclassed: (5, 5),
    models.around_subclassed: (7, 6),
}
READ = [make for make in COUNTS if make not in (models.subclassed, models.around_subclassed)]
APPLICATIONS = {
    "MobileNetV2": (156, 165),
    "ResNet50": (177, 192),
    "EfficientNetB0": (240, 264),
    "InceptionV3": (313, 347),
    "DenseNet121": (429, 486),
}


def name(make):
    return make.__name__


def edges(graph):
    return [(edge.source, edge.port, edge.target, edge.slot) for edge in graph.edges]


@pytest.mark.parametrize(("make", "counts"), COUNTS.items(), ids=map(name, COUNTS))
def test_counts(make, counts):
    model = make()
    graph = models.bare(graph_of(model))
    assert (len(graph.nodes), len(graph.edges)) == counts
    assert graph.parameters == model.count_params()
    assert graph.trainable_parameters == sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    assert graph.partial is None


@pytest.mark.parametrize(("application", "counts"), APPLICATIONS.items(), ids=list(APPLICATIONS))
def test_counts_of_applications(application, counts):
    model = getattr(keras.applications, application)(weights=None)
    graph = graph_of(model)
    bare = models.bare(graph)
    assert (len(bare.nodes), len(bare.edges)) == counts
    assert graph.parameters == model.count_params()
    assert graph_of(model, public=True) == graph


@pytest.mark.parametrize("make", READ, ids=map(name, READ))
def test_the_public_configuration_gives_the_same_graph(make):
    model = make()
    assert graph_of(model, public=True) == graph_of(model)


@pytest.mark.parametrize("make", COUNTS, ids=map(name, COUNTS))
def test_a_graph_survives_json(make):
    graph = graph_of(make())
    assert ModelGraph.from_json(graph.to_json()) == graph


def test_a_shared_layer_is_two_nodes_and_one_layer():
    graph = graph_of(models.self_shared())
    assert edges(graph)[:4] == [
        ("x", 0, "again", 0),
        ("again", 0, "again//1", 0),
        ("again//1", 0, "double", 0),
        ("again//1", 0, "double", 1),
    ]
    assert [node.layer for node in graph.nodes if node.id.startswith("again")] == ["again", "again"]
    assert graph.calls["again"] == 2
    assert graph.parameters == 30


def test_calls_from_outside_of_the_model_do_not_count():
    model = models.self_shared()
    layer = model.get_layer("again")
    for _ in range(3):
        layer(keras.Input((5,)))
    assert edges(graph_of(model)) == edges(graph_of(models.self_shared()))
    assert edges(graph_of(keras.Model(model.inputs, model.outputs))) == edges(graph_of(model))


def test_a_nested_model_is_a_container_for_each_call():
    graph = graph_of(models.siamese())
    containers = [node for node in graph.nodes if node.kind == "container"]
    assert [(node.id, node.layer, node.call) for node in containers] == [("base", "base", 0), ("base//1", "base", 1)]
    assert ("b", 0, "base//1/code", 0) in edges(graph)
    assert ("base/code", 0, "difference", 0) in edges(graph)
    assert graph.by_id["base//1/code"].parent == "base//1"
    assert graph.by_id["base//1/code"].layer == "base/code"
    assert graph.parameters_of("base") == graph.parameters_of("base//1") == 28


def test_a_nested_model_may_stay_closed():
    graph = models.bare(graph_of(models.siamese(), expand=False))
    assert [node.id for node in graph.nodes] == ["a", "b", "base", "base//1", "difference", "score"]
    assert len(graph.edges) == 5
    assert graph.parameters == models.siamese().count_params()


def test_models_inside_models_inside_models():
    graph = graph_of(models.nested_twice())
    assert graph.by_id["middle/inner/deep"].parent == "middle/inner"
    assert list(graph.ancestors("middle/inner/deep")) == ["middle/inner", "middle"]
    assert ("y", 0, "middle/inner/deep", 0) in edges(graph)


def test_shapes_inside_are_those_of_the_call():
    for public in (False, True):
        graph = graph_of(models.other_shape(), public=public)
        assert graph.by_id["inner/any"].outputs[0].shape == (7, 7, 2)
        assert graph.by_id["flat"].outputs[0].shape == (98,)


def test_ports_and_unused_outputs():
    graph = graph_of(models.states())
    assert [tensor.shape for tensor in graph.by_id["both"].outputs] == [(7, 4), (2,), (2,), (2,), (2,)]
    assert [(edge.port, edge.slot) for edge in graph.edges if edge.target == "all"] == [(0, 0), (1, 1), (3, 2)]
    (inner, *_) = graph.layers["both"].inner
    assert (inner.type, inner.settings["units"]) == ("LSTM", 2)


def test_operations_that_are_no_layers():
    graph = graph_of(models.arithmetic())
    assert [(graph.layers[node.layer].type, node.kind, node.constants) for node in graph.nodes[1:4]] == [
        ("Multiply", "operation", ("2",)),
        ("Add", "operation", ()),
        ("Relu", "operation", ()),
    ]


def test_a_model_with_its_own_call_is_traced():
    model = models.subclassed()
    graph = graph_of(model)
    types = [graph.layers[node.layer].type for node in graph.nodes if node.kind in ("layer", "operation")]
    assert sorted(types) == ["Add", "Dense", "Dense", "Multiply"]
    assert graph.layers[""].parameters == 1
    again = graph_of(model)
    assert again == graph


def test_tracing_does_not_keep_a_model_alive():
    model = models.subclassed()
    graph_of(model)
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


def test_a_traced_model_inside_a_functional_one():
    graph = graph_of(models.around_subclassed())
    assert graph.by_id["block"].kind == "container"
    assert graph.by_id["block/first"].parent == "block"


def test_what_depends_on_values_is_said_to_be_partial():
    graph = graph_of(models.branching())
    assert graph.partial is not None
    assert "'branching'" in graph.partial
    assert [(node.id, node.kind) for node in graph.nodes] == [
        ("/input/0", "input"),
        (MODEL_NODE, "container"),
        ("small", "layer"),
        ("large", "layer"),
        ("/output/0", "output"),
    ]
    assert graph.parameters == 20
    assert graph.nodes[-1].outputs[0].shape is None
    assert ModelGraph.from_json(graph.to_json()) == graph


def test_a_nested_model_that_depends_on_values_stays_closed():
    class Opaque(models.Branching):
        def compute_output_shape(self, shape):
            return (shape[0], 2)

        def compute_output_spec(self, x, **options):
            return keras.KerasTensor((None, 2), x.dtype)

    x = keras.Input((4,), name="x")
    graph = graph_of(keras.Model(x, Opaque(name="opaque")(x)))
    assert graph.by_id["opaque"].kind == "layer"
    assert "'opaque'" in graph.partial


def test_samples_tell_the_shape_of_a_model_that_was_never_called():
    model = models.Subclassed(name="fresh")
    model.built = True
    with pytest.raises(ModelBuildError, match=r"shape of the input of 'fresh' is not known.*inputs=x\[:1\]"):
        graph_of(model)
    assert graph_of(model, inputs=np.zeros((1, 5), "float32")).parameters == 61


@pytest.mark.parametrize("thing", [None, "model.keras", np.zeros(3), keras.layers.Dense(2)], ids=repr)
def test_what_is_no_model_is_refused(thing):
    with pytest.raises(
        ModelBuildError, match=r"A Keras 3 model \(keras.Model\) is needed. Got .*" + type(thing).__name__
    ):
        graph_of(thing)


def test_an_unbuilt_model_is_refused():
    with pytest.raises(ModelBuildError, match=r"'raw' has not been built.*keras.Input.*model\(x\[:1\]\)"):
        graph_of(keras.Sequential([layers.Dense(2)], name="raw"))


def test_settings_are_plain():
    graph = graph_of(models.cnn())
    assert graph.layers["conv"].settings["kernel_size"] == [3, 3]
    assert graph.layers["conv"].settings["activation"] == "relu"
    assert graph.layers["drop"].settings["rate"] == 0.2


def test_frozen_layers_are_not_trained():
    model = models.cnn()
    model.get_layer("conv").trainable = False
    graph = graph_of(model)
    assert graph.layers["conv"].trainable_parameters == 0
    assert graph.parameters - graph.trainable_parameters == 40 + 8


def test_tied_weights_count_once():
    class Tied(layers.Layer):
        def __init__(self, other, **options):
            super().__init__(**options)
            self.kernel = other.kernel

        def call(self, x):
            return keras.ops.matmul(x, keras.ops.transpose(self.kernel))

    x = keras.Input((6,))
    dense = layers.Dense(3)
    code = dense(x)
    model = keras.Model(x, Tied(dense)(code))
    assert graph_of(model).parameters == model.count_params() == 21


def test_a_replay_gives_what_the_model_gives():
    chance = np.random.default_rng(0)
    for make in COUNTS:
        model = make()
        x = [chance.random((2, *tensor.shape[1:]), "float32") for tensor in getattr(model, "inputs", None) or []]
        x = x or [chance.random((2, 5), "float32")]
        x = [np.floor(9 * one) if make is models.text else one for one in x]
        given = x[0] if len(x) == 1 else x
        seen = []
        outputs = replay(model, given, watch=lambda node, tensors, seen=seen: seen.append(node) or tensors)
        expected = keras.tree.flatten(model(given, training=False))
        for one, other in zip(outputs, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
        graph = graph_of(model)
        assert seen == [node.id for node in graph.nodes if node.kind in ("input", "layer", "operation")]


def test_a_replay_of_a_model_that_cannot_be_traced_sees_its_output():
    model = models.branching()
    seen = []
    (output,) = replay(model, np.ones((2, 4), "float32"), watch=lambda node, tensors: seen.append(node) or tensors)
    assert seen == [MODEL_NODE]
    np.testing.assert_allclose(output, model(np.ones((2, 4), "float32")))


def test_samples_by_name_and_without_channels():
    model = models.siamese()
    a, b = np.ones((2, 6), "float32"), np.zeros((2, 6), "float32")
    by_list, by_name = (replay(model, x, watch=lambda node, tensors: tensors)[0] for x in ([a, b], {"b": b, "a": a}))
    np.testing.assert_array_equal(by_list, by_name)
    assert replay(models.cnn(), np.zeros((3, 12, 12)), watch=lambda node, tensors: tensors)[0].shape == (3, 3)


@pytest.mark.parametrize("x", [np.zeros((2, 7), "float32"), [np.zeros((2, 6))], np.zeros((2, 3, 6, 6))])
def test_samples_that_a_model_does_not_take_are_refused(x):
    with pytest.raises(ModelBuildError, match="'siamese' cannot be run on these samples"):
        replay(models.siamese(), x, watch=lambda node, tensors: tensors)


@st.composite
def functional_models(draw):
    """Random models with branches, shared layers and nested models, over images of 6 by 6."""
    inputs = [keras.Input((6, 6, draw(st.integers(1, 3)))) for _ in range(draw(st.integers(1, 2)))]
    tensors, shared, nested = list(inputs), [], []
    for _ in range(draw(st.integers(1, 9))):
        x = tensors[draw(st.integers(0, len(tensors) - 1))]
        channels = x.shape[-1]
        match draw(st.sampled_from(["conv", "norm", "add", "concat", "shared", "nested", "times", "twice"])):
            case "conv":
                made = layers.Conv2D(draw(st.integers(1, 4)), 3, padding="same")
                shared.append((channels, made))
                tensors.append(made(x))
            case "norm":
                tensors.append(layers.BatchNormalization()(x))
            case "add":
                same = [other for other in tensors if other.shape == x.shape]
                tensors.append(layers.Add()([x, same[draw(st.integers(0, len(same) - 1))]]))
            case "concat":
                tensors.append(layers.Concatenate()([x, tensors[draw(st.integers(0, len(tensors) - 1))]]))
            case "shared":
                fitting = [made for count, made in shared if count == channels]
                tensors.append(fitting[0](x) if fitting else layers.ReLU()(x))
            case "nested":
                fitting = [made for count, made in nested if count == channels]
                if not fitting or draw(st.booleans()):
                    inner = keras.Input((None, None, channels))
                    made = keras.Model(inner, layers.Add()([inner, layers.Conv2D(channels, 1)(inner)]))
                    nested.append((channels, made))
                    fitting = [made]
                tensors.append(fitting[-1](x))
            case "times":
                tensors.append(x * 0.5)
            case "twice":
                tensors.append(layers.Multiply()([x, x]))
    outputs = [tensors[-1], *(tensor for tensor in tensors[:-1] if draw(st.integers(0, 4)) == 0)]
    used = [tensor for tensor in inputs if any(tensor is one for one in outputs)]
    for tensor in inputs:
        layers.Identity()(tensor)  # Keras 3.13 refuses an input that no layer takes
    return keras.Model(inputs, outputs) if len(used) == len(inputs) else keras.Model(inputs, [*outputs, *inputs])


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(functional_models())
def test_random_models_replay_to_the_shapes_of_keras(model):
    graph = graph_of(model)
    assert graph.parameters == model.count_params()
    assert graph_of(model, public=True) == graph
    shapes = {}
    x = [np.ones((2, *tensor.shape[1:]), "float32") for tensor in model.inputs]

    def watch(node, tensors):
        shapes[node] = [tuple(tensor.shape[1:]) for tensor in tensors]
        return tensors

    outputs = replay(model, x, watch=watch)
    for node in graph.nodes:
        if node.kind in ("input", "layer", "operation"):
            assert [tensor.shape for tensor in node.outputs] == shapes[node.id]
    for edge in graph.edges:
        assert edge.tensor.shape == shapes[edge.source][edge.port]
    for one, other in zip(outputs, keras.tree.flatten(model(x, training=False)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    for tensor, node in zip(model.outputs, (node for node in graph.nodes if node.kind == "output"), strict=True):
        assert tuple(tensor.shape[1:]) == node.outputs[0].shape


def test_a_masked_tensor_enters_a_nested_model():
    words = keras.Input((9,), dtype="int32", name="words")
    inner = keras.Sequential([keras.Input((9, 4)), layers.LSTM(3, name="lstm")], name="inner")
    model = keras.Model(words, inner(layers.Embedding(20, 4, mask_zero=True, name="embed")(words)))
    graph = graph_of(model)
    assert graph_of(model, public=True) == graph
    assert ("embed", 0, "inner/lstm", 0) in edges(graph)
    x = np.array([[1, 2, 3, 0, 0, 0, 0, 0, 0]])
    (output,) = replay(model, x, watch=lambda node, tensors: tensors)
    np.testing.assert_allclose(output, model(x), rtol=1e-6)


class Switched(keras.Model):
    """A block that computes something else when it is told to."""

    def __init__(self, **options):
        super().__init__(**options)
        self.dense = layers.Dense(5, name="dense")

    def call(self, x, residual=False, training=False):
        y = self.dense(x)
        return (x + y if residual else y) * (2.0 if training else 1.0)


def test_calls_that_differ_in_their_arguments_are_traced_apart():
    x = keras.Input((5,), name="x")
    block = Switched(name="block")
    model = keras.Model(x, layers.Concatenate(name="both")([block(x), block(x, residual=True)]))
    names = {node.id for node in graph_of(model).nodes}
    assert "block//1/add" in names
    assert "block/add" not in names


def test_training_is_traced_apart():
    model = Switched(name="block")
    model(np.ones((1, 5), "float32"))
    x = np.ones((2, 5), "float32")
    still, moving = (replay(model, x, training=flag, watch=lambda node, tensors: tensors)[0] for flag in (False, True))
    np.testing.assert_allclose(2 * np.asarray(still), moving, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
def test_nodes_of_what_is_traced_have_names_of_their_own(dtype):
    """Keras counts operations over the whole process; the graph and a replay must not."""
    model = models.subclassed()
    names = [node.id for node in graph_of(model).nodes if node.kind != "output"]
    assert names == ["input", "first", "second", "multiply", "add"]
    seen = []
    replay(model, np.ones((2, 5), dtype), watch=lambda node, tensors: seen.append(node) or tensors)
    assert seen == names


def test_sequences_of_any_length_share_one_trace():
    class Twice(keras.Model):
        def call(self, x):
            return x + x

    x = keras.Input((None, 3), name="x")
    model = keras.Model(x, Twice(name="twice")(x))
    for length in (4, 6, 9):
        seen = []
        replay(model, np.ones((1, length, 3), "float32"), watch=lambda node, tensors, s=seen: s.append(node) or tensors)
        assert seen == ["x", "twice/add"]
    assert len(model.layers[1]._inbound_nodes) == 1


def test_a_sequential_model_of_several_inputs_is_traced():
    model = keras.Sequential([layers.Concatenate(name="join"), layers.Dense(2, name="dense")])
    a, b = np.ones((1, 3), "float32"), np.ones((1, 2), "float32")
    model([a, b])
    assert [node.id for node in graph_of(model, inputs=[a, b]).nodes][-3:-1] == ["join", "dense"]


def test_layers_of_one_name_in_a_model_that_cannot_be_traced():
    class Twins(keras.Model):
        def __init__(self):
            super().__init__(name="twins")
            self.one, self.two = layers.Dense(2, name="fc"), layers.Dense(2, name="fc")

        def call(self, x):
            return self.two(self.one(x))

    model = Twins()
    model(np.zeros((1, 3), "float32"))
    graph = graph_of(model)
    assert graph.parameters == model.count_params()
    assert ModelGraph.from_json(graph.to_json()) == graph


def test_settings_that_are_not_finite_are_words():
    class Limited(layers.Layer):
        def __init__(self, limit, **options):
            super().__init__(**options)
            self.limit = limit

        def call(self, x):
            return keras.ops.minimum(x, self.limit)

    graph = graph_of(keras.Sequential([keras.Input((3,)), Limited(float("inf"), name="limited")]))
    assert graph.layers["limited"].settings["limit"] == "inf"
    assert ModelGraph.from_json(graph.to_json()) == graph


def test_tokens_that_a_model_does_not_know():
    with pytest.raises(ModelBuildError, match="'text' cannot be run on these samples"):
        replay(models.text(), np.full((1, 9), 99), watch=lambda node, tensors: tensors)
