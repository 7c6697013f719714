"""Small models whose graphs are counted by hand."""

import dataclasses

import keras
import numpy as np
from keras import layers


def bare(graph):
    """Return a graph without the nodes that stand for the model's outputs."""
    nodes = tuple(node for node in graph.nodes if node.kind != "output")
    kept = {node.id for node in nodes}
    return dataclasses.replace(graph, nodes=nodes, edges=tuple(edge for edge in graph.edges if edge.target in kept))


def cnn():
    return keras.Sequential(
        [
            keras.Input((12, 12, 1), name="image"),
            layers.Conv2D(4, 3, activation="relu", name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.MaxPooling2D(name="pool"),
            layers.Flatten(name="flat"),
            layers.Dropout(0.2, name="drop"),
            layers.Dense(3, activation="softmax", name="head"),
        ],
        name="cnn",
    )


def siamese():
    """Two inputs through one nested model, which is drawn once for each call."""
    base = keras.Sequential([keras.Input((6,)), layers.Dense(4, name="code")], name="base")
    a, b = keras.Input((6,), name="a"), keras.Input((6,), name="b")
    difference = layers.Subtract(name="difference")([base(a), base(b)])
    return keras.Model([a, b], layers.Dense(1, name="score")(difference), name="siamese")


def self_shared():
    """A layer that is called on its own result, then added to itself: parallel edges, no cycle."""
    x = keras.Input((5,), name="x")
    layer = layers.Dense(5, name="again")
    twice = layer(layer(x))
    return keras.Model(x, layers.Add(name="double")([twice, twice]), name="self_shared")


def nested_twice():
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="deep")], name="inner")
    x = keras.Input((4,))
    middle = keras.Model(x, layers.ReLU(name="rectify")(inner(x)), name="middle")
    y = keras.Input((4,), name="y")
    return keras.Model(y, layers.Dense(2, name="end")(middle(y)), name="outer")


def multi_output():
    x = keras.Input((8,), name="x")
    trunk = layers.Dense(6, name="trunk")(x)
    return keras.Model(x, [layers.Dense(1, name="left")(trunk), layers.Dense(2, name="right")(trunk)], name="forked")


def arithmetic():
    x = keras.Input((4,), name="x")
    return keras.Model(x, keras.ops.relu(x * 2.0 + x), name="arithmetic")


def states():
    """A Bidirectional LSTM that gives out its sequence and four states, two of which are used."""
    x = keras.Input((7, 3), name="x")
    sequence, *states = layers.Bidirectional(layers.LSTM(2, return_sequences=True, return_state=True), name="both")(x)
    pooled = layers.GlobalAveragePooling1D(name="mean")(sequence)
    return keras.Model(x, layers.Concatenate(name="all")([pooled, states[0], states[2]]), name="states")


def attention():
    x = keras.Input((6, 8), name="x")
    mixed = layers.MultiHeadAttention(2, 4, name="attend")(x, x)
    return keras.Model(x, layers.Add(name="residual")([x, mixed]), name="attention")


def other_shape():
    """A nested model that is called on another shape than it was made for."""
    inner = keras.Sequential([keras.Input((None, None, 3)), layers.Conv2D(2, 3, name="any")], name="inner")
    x = keras.Input((9, 9, 3), name="x")
    return keras.Model(x, layers.Flatten(name="flat")(inner(x)), name="other_shape")


def text():
    return keras.Sequential(
        [
            keras.Input((9,), dtype="int32", name="words"),
            layers.Embedding(20, 4, mask_zero=True, name="embed"),
            layers.LSTM(3, name="lstm"),
            layers.Dense(2, activation="softmax", name="head"),
        ],
        name="text",
    )


class Subclassed(keras.Model):
    """A residual block with a `call` of its own, a weight of its own, and a layer that it does not use."""

    def __init__(self, **options):
        super().__init__(**options)
        self.first, self.second = layers.Dense(5, activation="relu", name="first"), layers.Dense(5, name="second")
        self.scale = self.add_weight(shape=(), initializer="ones", name="scale")

    def call(self, x, training=None):
        return x + self.second(self.first(x)) * self.scale


class Branching(keras.Model):
    """A model that looks at values to know what to compute."""

    def __init__(self, **options):
        super().__init__(**options)
        self.small, self.large = layers.Dense(2, name="small"), layers.Dense(2, name="large")

    def call(self, x):
        if float(keras.ops.sum(x)) > 0:
            return self.large(x)
        return self.small(x)


def subclassed():
    model = Subclassed(name="subclassed")
    model(np.zeros((1, 5), "float32"))
    return model


def branching():
    model = Branching(name="branching")
    model.small.build((None, 4))
    model.large.build((None, 4))
    model(np.ones((1, 4), "float32"))
    return model


def around_subclassed():
    x = keras.Input((5,), name="x")
    return keras.Model(x, layers.Dense(1, name="end")(Subclassed(name="block")(x)), name="around")
