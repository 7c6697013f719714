import keras
import pytest
from keras import layers

from hpoviz.architecture.folding import BLOCK, NODES, REPEATS, THEN, collapsed, folded, grouped, without_masks
from hpoviz.architecture.keras_adapter import graph_of
from tests.architecture import models


def residual(blocks, width=4, start=None):
    x = inputs = keras.Input((8, 8, width)) if start is None else start
    for number in range(blocks):
        y = layers.Conv2D(width, 3, padding="same")(x)
        y = layers.BatchNormalization()(y)
        y = layers.ReLU()(y)
        x = layers.ReLU()(layers.Add(name=f"add_{number}" if start is None else None)([x, y]))
    return inputs, x


def deep(blocks=8):
    inputs, x = residual(blocks)
    return keras.Model(inputs, layers.Dense(2, name="end")(layers.Flatten(name="flat")(x)))


def blocks(graph):
    return [layer for layer in graph.layers.values() if layer.type == BLOCK]


def test_residual_blocks_are_one_group():
    graph = grouped(graph_of(deep()))
    (block,) = blocks(graph)
    assert block.settings == {REPEATS: 8, NODES: 40}
    assert block.name == "8 × (Conv2D, BatchNormalization, ReLU, Add)"
    assert graph.by_id["add_0"].parent == graph.by_id["add_7"].parent == block.id
    assert graph.by_id["flat"].parent is None


def test_small_models_are_left_alone():
    graph = graph_of(models.cnn())
    assert grouped(graph) == graph


@pytest.mark.parametrize(
    ("application", "repeats"),
    [("ResNet50", [2, 3, 5, 2]), ("DenseNet121", [6, 12, 24, 16]), ("MobileNetV2", [2, 3, 2, 2])],
)
def test_stages_of_applications(application, repeats):
    graph = grouped(graph_of(getattr(keras.applications, application)(weights=None)))
    assert [block.settings[REPEATS] for block in blocks(graph)] == repeats


def test_grouping_changes_nothing_but_parents():
    graph = graph_of(deep())
    made = grouped(graph)
    assert made.edges == graph.edges
    assert made.parameters == graph.parameters
    assert [node.id for node in made.nodes if not node.id.startswith("/block")] == [node.id for node in graph.nodes]


def test_blocks_inside_a_nested_model_are_found():
    inner = deep()
    x = keras.Input((8, 8, 4))
    graph = grouped(graph_of(keras.Model(x, inner(x))))
    (block,) = blocks(graph)
    assert graph.by_id[block.id].parent == inner.name


def test_a_closed_container_is_one_node_with_all_parameters():
    graph = graph_of(models.siamese())
    closed = collapsed(graph)
    assert [node.id for node in models.bare(closed).nodes] == [
        "a",
        "b",
        "base",
        "base//1",
        "difference",
        "score",
    ]
    assert closed.layers[closed.by_id["base"].layer].parameters == 28
    assert [(edge.source, edge.target, edge.slot) for edge in closed.edges][:4] == [
        ("a", "base", 0),
        ("b", "base//1", 0),
        ("base", "difference", 0),
        ("base//1", "difference", 1),
    ]
    assert closed.by_id["base"].outputs == graph.by_id["base/code"].outputs


def test_one_container_closed_others_open():
    closed = collapsed(graph_of(models.nested_twice()), ["middle/inner"])
    assert [node.id for node in closed.nodes] == ["y", "middle", "middle/inner", "middle/rectify", "end", "/output/0"]
    assert closed.by_id["middle/inner"].parent == "middle"


def test_closing_again_changes_nothing():
    closed = collapsed(grouped(graph_of(deep())))
    assert collapsed(closed) == closed
    assert closed.layers[closed.nodes[1].layer].settings[NODES] == 40


def test_small_layers_are_folded_into_those_before_them():
    graph = folded(graph_of(models.cnn()), {"BatchNormalization", "Dropout"})
    assert [node.id for node in graph.nodes] == ["image", "conv", "pool", "flat", "head", "/output/0"]
    assert [(edge.source, edge.target) for edge in graph.edges][1:3] == [("conv", "pool"), ("pool", "flat")]
    assert graph.layers[graph.by_id["conv"].layer].settings[THEN] == ["BatchNormalization"]
    assert graph.layers[graph.by_id["flat"].layer].settings[THEN] == ["Dropout"]
    assert graph.parameters == models.cnn().count_params()


def test_what_others_use_too_is_not_folded():
    x = keras.Input((4,))
    dense = layers.Dense(4, name="dense")(x)
    graph = graph_of(keras.Model(x, layers.Add()([dense, layers.ReLU(name="relu")(dense)])))
    assert folded(graph, {"ReLU"}) == graph


def test_inputs_take_nothing_in():
    x = keras.Input((4,), name="x")
    graph = folded(graph_of(keras.Model(x, layers.ReLU(name="relu")(x))), {"ReLU"})
    assert "relu" in graph.by_id


def test_the_masks_of_padding_are_not_shown():
    graph = without_masks(graph_of(models.text()))
    assert [node.id for node in graph.nodes] == ["words", "embed", "lstm", "head", "/output/0"]
    assert len(graph.edges) == 4


def test_masks_of_the_users_own_are_shown():
    x = keras.Input((6, 8))
    flags = keras.Input((6,), dtype="bool")
    attended = layers.MultiHeadAttention(2, 4)(x, x, attention_mask=keras.ops.logical_not(flags)[:, None])
    graph = graph_of(keras.Model([x, flags], attended))
    assert without_masks(graph) == graph
