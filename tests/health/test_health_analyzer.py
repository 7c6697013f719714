"""HealthAnalyzer on real models whose condition is known, and what it makes of bad input."""

import json

import keras
import numpy as np
import pandas as pd
import pytest
from keras import layers

import hpoviz
from hpoviz.architecture.keras_adapter import graph_of
from hpoviz.errors import ConfigError, DatasetError, ModelBuildError
from hpoviz.health.health_analyzer import HealthAnalyzer
from hpoviz.health.metric import METRICS
from hpoviz.health.sites import hidden_sites
from tests.architecture import models

pytestmark = pytest.mark.slow

METRICS_OF_THE_MODEL = ("neuron_utilization", "gradient_health", "accuracy_consistency", "parameter_efficiency")


@pytest.fixture(scope="module")
def data():
    return hpoviz.load_dataset("digits")


@pytest.fixture(scope="module")
def parts(data):
    split = data.split()
    scaled = [x.astype("float32") / 16 for x in (split.x_train, split.x_val)]
    return (scaled[0], split.y_train), (scaled[1], split.y_val)


def body():
    return [
        layers.Conv2D(12, 3, activation="relu", padding="same"),
        layers.MaxPooling2D(),
        layers.Conv2D(16, 3, activation="relu", padding="same"),
        layers.Flatten(),
        layers.Dense(32, activation="relu"),
        layers.Dense(10, activation="softmax"),
    ]


@pytest.fixture(scope="module")
def trained(parts):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((8, 8, 1)), *body()], name="healthy")
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(*parts[0], validation_data=parts[1], epochs=14, batch_size=64, verbose=0)
    return model, history


@pytest.fixture(scope="module")
def report(trained, parts):
    return HealthAnalyzer().analyze(trained[0], parts, trained[1])


def copied(model, made):
    """Return `made` with the weights of `model`, in their order."""
    made.set_weights(model.get_weights())
    return made


def same(report, other, tolerance=0.01):
    for name in METRICS_OF_THE_MODEL:
        one, two = report.metrics[name].value, other.metrics[name].value
        assert one == pytest.approx(two, abs=tolerance), name


def test_a_healthy_model_is_healthy(report):
    values = {metric.name: metric.value for metric in report.metrics.values()}
    assert list(values) == list(METRICS)
    assert all(value is not None for value in values.values())
    for name in set(METRICS) - {"parameter_efficiency"}:  # a cost
        assert values[name] > 0.7, (name, values[name])
    assert report.coverage == "6/6"
    assert report.overall == pytest.approx(sum(report.weights[name] * values[name] for name in METRICS))
    assert report.worst.value == min(values.values())


def test_metrics_are_attributes(report):
    assert report.gradient_health is report.metrics["gradient_health"]
    with pytest.raises(AttributeError, match=r"no 'gradient_helth'\. Did you mean 'gradient_health'"):
        report.gradient_helth  # noqa: B018


def test_it_is_the_same_each_time(trained, parts, report):
    again = HealthAnalyzer().analyze(trained[0], parts, trained[1])
    assert {**again.to_dict(), "seconds": 0} == {**report.to_dict(), "seconds": 0}


def test_looking_leaves_the_model_as_it_is(trained, parts):
    before = trained[0].get_weights()
    HealthAnalyzer().analyze(trained[0], parts)
    assert all(np.array_equal(a, b) for a, b in zip(before, trained[0].get_weights(), strict=True))


def test_names_do_not_matter(trained, parts, report):
    renamed = keras.models.clone_model(
        trained[0],
        clone_function=lambda layer: type(layer).from_config({**layer.get_config(), "name": f"x{id(layer)}"}),
    )
    same(report, HealthAnalyzer().analyze(copied(trained[0], renamed), parts))


def test_nesting_does_not_matter(trained, parts, report):
    *hidden, head = body()
    inner = keras.Sequential([keras.Input((8, 8, 1)), *hidden], name="inner")
    nested = keras.Sequential([keras.Input((8, 8, 1)), inner, head])
    same(report, HealthAnalyzer().analyze(copied(trained[0], nested), parts))


def test_dropout_does_not_matter(trained, parts, report):
    stack = body()
    stack.insert(2, layers.Dropout(0.3))
    stack.insert(-1, layers.Dropout(0.5))
    same(
        report, HealthAnalyzer().analyze(copied(trained[0], keras.Sequential([keras.Input((8, 8, 1)), *stack])), parts)
    )


def test_splitting_layers_and_activations_does_not_matter(trained, parts, report):
    stack = []
    for layer in body():
        activation = getattr(layer, "activation", None)
        if activation is not None:
            config = {**layer.get_config(), "activation": "linear"}
            stack += [type(layer).from_config(config), layers.Activation(activation)]
        else:
            stack.append(layer)
    split = keras.Sequential([keras.Input((8, 8, 1)), *stack])
    same(report, HealthAnalyzer().analyze(copied(trained[0], split), parts))


def test_permuting_units_does_not_matter(trained, parts, report):
    weights = trained[0].get_weights()
    order = np.random.default_rng(0).permutation(32)
    weights[4], weights[5], weights[6] = weights[4][:, order], weights[5][order], weights[6][order]
    turned = keras.models.clone_model(trained[0])
    turned.set_weights(weights)
    same(report, HealthAnalyzer().analyze(turned, parts))


def test_killing_half_of_a_layers_units_halves_its_share_and_names_it(trained, parts, report):
    weights = [weight.copy() for weight in trained[0].get_weights()]
    dense = graph_of(trained[0]).nodes[5].layer
    before = {score.layer: score for score in report.neuron_utilization.layers}[dense]
    alive = np.flatnonzero(
        np.std(keras.Model(trained[0].inputs, trained[0].layers[4].output)(parts[1][0]), axis=0) > 0.01
    )
    dead = alive[: round(before.evidence["active"] / 2)]
    weights[4][:, dead], weights[5][dead] = 0.0, -1.0
    killed = keras.models.clone_model(trained[0])
    killed.set_weights(weights)
    graph = graph_of(killed)
    found = HealthAnalyzer().analyze(killed, parts).neuron_utilization
    assert found.layers[0].layer == graph.nodes[5].layer
    assert found.layers[0].value == pytest.approx(before.value / 2, abs=0.05)


def test_a_net_without_gradient(trained, parts):
    """A layer whose units are all dead lets nothing through."""
    weights = [weight.copy() for weight in trained[0].get_weights()]
    weights[4][:], weights[5][:] = 0.0, -1.0
    dead = keras.models.clone_model(trained[0])
    dead.set_weights(weights)
    found = HealthAnalyzer().analyze(dead, parts)
    assert found.gradient_health.value < 0.05
    assert found.neuron_utilization.value == 0.0


def test_vanishing_gradients_are_seen_whatever_the_loss(parts):
    """Small weights under ten sigmoid layers: each takes a factor of the signal."""
    deep = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Flatten(),
            *(layers.Dense(16, "sigmoid") for _ in range(10)),
            layers.Dense(10, "softmax"),
        ]
    )
    assert HealthAnalyzer().analyze(deep, parts).gradient_health.value < 0.2


def test_saturated_units_are_seen(parts):
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Flatten(),
            layers.Dense(20, "tanh"),
            layers.Dense(20, "tanh"),
            layers.Dense(10, "softmax"),
        ]
    )
    weights = model.get_weights()
    weights[1] = np.full(20, 8.0)  # tanh(8 + …) is 1 but for a millionth
    model.set_weights(weights)
    found = HealthAnalyzer().analyze(model, parts).gradient_health
    assert found.evidence["saturated"] > 0.9
    assert found.value < 0.1


def test_an_untrained_model(parts):
    blind = [layers.Dense(10, "softmax", kernel_initializer="zeros")]
    model = keras.Sequential([keras.Input((8, 8, 1)), *body()[:-1], *blind])
    found = HealthAnalyzer().analyze(model, parts)
    assert found.convergence_quality.value is None
    assert found.training_stability.value is None
    assert found.accuracy_consistency.value == 0.0
    assert found.parameter_efficiency.value == 0.0
    assert 0.5 not in {metric.value for metric in found.metrics.values()}


def test_values_that_are_not_finite(trained, parts):
    weights = [weight.copy() for weight in trained[0].get_weights()]
    weights[0][0] = np.nan
    broken = keras.models.clone_model(trained[0])
    broken.set_weights(weights)
    found = HealthAnalyzer().analyze(broken, parts)
    assert found.neuron_utilization.value == 0.0
    assert "not finite" in found.neuron_utilization.reason
    json.loads(found.to_json())


def test_no_hidden_layer(parts):
    model = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(10, "softmax")])
    found = HealthAnalyzer().analyze(model, parts)
    assert "no hidden layer" in found.neuron_utilization.reason
    assert "no hidden layer" in found.gradient_health.reason


def test_few_rows(trained, parts):
    few = tuple((x[:60], y[:60]) for x, y in parts)
    found = HealthAnalyzer().analyze(trained[0], few, trained[1])
    assert found.neuron_utilization.reason == "60 samples are too few: 100 are needed."
    assert found.overall is not None  # of history and gradients
    assert found.coverage == "3/6"


def test_two_metrics_are_no_overall_health(parts):
    model = keras.Sequential([keras.Input((8, 8, 1)), *body()])
    few = (parts[1][0][:60], parts[1][1][:60])
    found = HealthAnalyzer().analyze(model, few)
    assert (found.overall, found.coverage) == (None, "1/6")
    assert "not available (1/6" in repr(found)


def test_history_forms(trained, parts):
    curves = trained[1].history
    expected = HealthAnalyzer().analyze(trained[0], parts, trained[1]).training_stability.value
    for form in (curves, pd.DataFrame(curves)):
        assert HealthAnalyzer().analyze(trained[0], parts, form).training_stability.value == expected


def test_history_without_a_loss(trained, parts):
    found = HealthAnalyzer().analyze(trained[0], parts, {"mse": [1.0, 2.0]})
    assert found.training_stability.reason == "The history has no loss by epoch: it holds 'mse'."


def test_history_of_one_epoch(trained, parts):
    found = HealthAnalyzer().analyze(trained[0], parts, {"loss": [1.0]})
    assert found.convergence_quality.reason == "1 epoch of training are too few: 2 are needed."


def test_a_dataset_is_split(data, trained, parts):
    model = keras.Sequential([keras.Input((8, 8, 1)), layers.Rescaling(1 / 16), trained[0]])
    found = HealthAnalyzer().analyze(model, data, trained[1])
    assert found.accuracy_consistency.reason is None
    assert found.rows == len(parts[1][1])


def test_texts_as_the_saved_models_of_a_search_take_them():
    data = hpoviz.load_dataset("docstrings")
    vectorize = layers.TextVectorization(max_tokens=500, output_sequence_length=20)
    vectorize.adapt(data.x[:400].tolist())
    model = keras.Sequential(
        [
            keras.Input((), dtype="string"),
            vectorize,
            layers.Embedding(500, 8, mask_zero=True),
            layers.Bidirectional(layers.LSTM(6, return_sequences=True)),
            layers.LSTM(6),
            layers.Dense(len(data.class_names), "softmax"),
        ]
    )
    found = HealthAnalyzer(rows=150).analyze(model, data)
    assert {score.evidence["units"] for score in found.neuron_utilization.layers} == {12, 6}
    assert found.gradient_health.value is not None


def test_hidden_layers_are_found_by_type_and_place():
    sites = hidden_sites(graph_of(models.cnn()))
    assert [(site.layer, site.node, site.activation) for site in sites] == [("conv", "conv", "relu")]
    x = keras.Input((6,))
    y = layers.Dense(4, name="first")(x)
    y = layers.ReLU(name="rectify")(layers.BatchNormalization()(y))
    z = layers.Dense(4, name="second")(y)
    both = layers.Add()([y, z])
    sites = hidden_sites(graph_of(keras.Model(x, layers.Dense(3, name="head")(both))))
    assert [(site.layer, site.node, site.activation) for site in sites] == [
        ("first", "rectify", "relu"), ("second", "second", "linear"),
    ]  # fmt: skip


def test_layers_of_every_head_are_heads():
    assert [site.layer for site in hidden_sites(graph_of(models.multi_output()))] == ["trunk"]


def test_tables_and_json(report):
    frame = report.to_frame()
    assert list(frame.index) == list(METRICS)
    assert frame["weight"].sum() == pytest.approx(1.0)
    values = json.loads(report.to_json())
    assert values["version"] == 1
    assert values["metrics"]["neuron_utilization"]["layers"][0]["interval"]
    assert "gradient health" in repr(report)
    assert all(0 <= value <= 1 for value in report.layer_health.values())


def test_layer_health_colours_a_drawing(trained, report):
    view = hpoviz.ModelVisualizer(trained[0], health=report)
    assert view.model_graph.health == report.layer_health
    assert view.architecture().health_score == report.overall
    assert "health of the layer" in {getattr(item, "text", "") for item in view.drawing(color="health").items}


def test_own_weights(trained, parts):
    found = HealthAnalyzer(weights={"gradient_health": 1, "accuracy_consistency": 3}).analyze(
        trained[0], parts, trained[1]
    )
    expected = (found.gradient_health.value + 3 * found.accuracy_consistency.value) / 4
    assert found.overall == pytest.approx(expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rows": 99}, r"rows must be a whole number of at least 100. Got 99."),
        ({"weights": {"gradient": 1}}, r"no health metric 'gradient'."),
        ({"weights": {"gradient_health": -1}}, r"weight of gradient_health must be a number of at least 0. Got -1."),
        ({"weights": {}}, r"At least one health metric must have a weight above 0."),
    ],
)
def test_bad_settings(options, message):
    with pytest.raises(ConfigError, match=message):
        HealthAnalyzer(**options)


X, Y = np.zeros((120, 8, 8, 1), "float32"), np.arange(120) % 10


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (None, DatasetError, r"data must be a Dataset, \(x, y\), or .* Got NoneType."),
        (X, DatasetError, r"data must be a Dataset"),
        ((X[:0], Y[:0]), DatasetError, r"a label for each sample, and some. Got 0 samples, 0 labels."),
        ((X, Y[:100]), DatasetError, r"Got 120 samples, 100 labels."),
        ((X, Y + 1), DatasetError, r"Labels must be from 0 to 9, as 'healthy' has 10 classes. Got 10."),
        ((X, Y - 1), DatasetError, r"Labels must be whole numbers from 0"),
        ((X, Y + 0.5), DatasetError, r"looks like a regression"),
        (
            (X, np.eye(11)[Y]),
            DatasetError,
            r"each output of 'healthy', which has 10. Got 11 columns. .*argmax\(axis=1\)",
        ),
        ((X, np.eye(10)[Y] / 2), DatasetError, r"float64 of shape \(120, 10\). .* pass y.argmax\(axis=1\)."),
        (((X, Y), (X, np.eye(10)[Y])), DatasetError, r"must be coded alike"),
        ((X, np.array(["a"] * 120)), DatasetError, r"Labels must be whole numbers from 0"),
        ((X[:, :4], Y), ModelBuildError, r"'healthy' cannot be run on these samples"),
    ],
)
def test_bad_data(trained, given, error, message):
    with pytest.raises(error, match=message):
        HealthAnalyzer().analyze(trained[0], given)


@pytest.mark.parametrize("history", [3, "loss", [1.0, 2.0]])
def test_bad_histories(trained, parts, history):
    with pytest.raises(ConfigError, match="history must be what fit"):
        HealthAnalyzer().analyze(trained[0], parts, history)


def test_one_hot_labels_say_the_same(trained, parts, report):
    (x, y), (x_val, y_val) = parts
    rows = ((x, np.eye(10, dtype=int)[y]), (x_val, np.eye(10, dtype=int)[y_val]))
    found = HealthAnalyzer().analyze(trained[0], rows, trained[1])
    assert {**found.to_dict(), "seconds": 0} == {**report.to_dict(), "seconds": 0}
    one, other = (HealthAnalyzer().analyze(trained[0], (x_val, labels)) for labels in (y_val, np.eye(10)[y_val]))
    same(one, other, 0)


def of_one_output(activation, loss):
    model = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(1, activation)], name="one")
    model.compile("adam", loss)
    return model


@pytest.mark.parametrize("loss", ["mse", "mean_absolute_error", keras.losses.Huber()], ids=str)
def test_a_regression_is_told_that_it_is_no_classifier(loss):
    with pytest.raises(DatasetError, match=r"'one' is no classifier: .* with the loss .*, which is for a regression"):
        HealthAnalyzer().analyze(of_one_output(None, loss), (X, Y))


def test_two_classes_told_apart_by_a_squared_error_are_no_regression():
    assert HealthAnalyzer().analyze(of_one_output("sigmoid", "mse"), (X, Y % 2)).rows == len(X)
    with pytest.raises(DatasetError, match="Labels must be from 0 to 1, as 'one' has 2 classes"):
        HealthAnalyzer().analyze(of_one_output("sigmoid", "mse"), (X, Y))
    with pytest.raises(DatasetError, match=r"output of 'one', which has 1. Got 2 columns. .*y.argmax\(axis=1\)"):
        HealthAnalyzer().analyze(of_one_output("sigmoid", "mse"), (X, np.eye(2)[Y % 2]))


def test_models_with_several_outputs_are_refused():
    with pytest.raises(DatasetError, match=r"'forked' is no classifier with one output: it gives \(64, 1\), \(64, 2\)"):
        HealthAnalyzer().analyze(models.multi_output(), (np.zeros((120, 8), "float32"), Y % 2))


def test_what_is_no_model_is_refused(parts):
    with pytest.raises(ModelBuildError, match="A Keras 3 model"):
        HealthAnalyzer().analyze("model.keras", parts)


def two_classes(parts, output, loss):
    keras.utils.set_random_seed(0)
    stack = [*body()[:-1], layers.Dense(1, output)]
    model = keras.Sequential([keras.Input((8, 8, 1)), *stack], name="two")
    model.compile("adam", loss)
    (x, y), (x_val, y_val) = parts
    history = model.fit(x, y > 4, epochs=15, batch_size=32, verbose=0)
    return model, ((x, (y > 4).astype(int)), (x_val, (y_val > 4).astype(int))), history


@pytest.mark.parametrize(
    ("output", "loss"),
    [("sigmoid", "binary_crossentropy"), (None, keras.losses.BinaryCrossentropy(from_logits=True))],
    ids=["shares", "logits"],
)
def test_a_healthy_model_of_two_classes(parts, output, loss):
    found = HealthAnalyzer().analyze(*two_classes(parts, output, loss))
    assert found.accuracy_consistency.value > 0.8
    assert [finding.fault for finding in found.findings] == []


def test_many_samples_are_recorded_in_parts(trained, parts, report, monkeypatch):
    monkeypatch.setattr("hpoviz.health.probe.MOST_NUMBERS", 100_000)
    found = HealthAnalyzer().analyze(trained[0], parts, trained[1])
    for name in ("neuron_utilization", "gradient_health"):
        assert found.metrics[name].value == pytest.approx(report.metrics[name].value, abs=0.05)


def test_a_model_that_is_not_trained_any_more(trained, parts, report):
    model = keras.models.clone_model(trained[0])
    model.set_weights(trained[0].get_weights())
    model.trainable = False
    same(report, HealthAnalyzer().analyze(model, parts))


def test_a_history_with_other_columns(trained, parts):
    frame = pd.DataFrame(trained[1].history).assign(note="fine")
    assert HealthAnalyzer().analyze(trained[0], parts, frame).training_stability.value is not None


@pytest.fixture(scope="module")
def of_two_inputs():
    """A classifier that tells whether the means of two inputs differ in sign, trained, and its data."""
    keras.utils.set_random_seed(0)
    chance = np.random.default_rng(0)
    a, b = (chance.normal(chance.choice([-1.0, 1.0], (600, 1)), 0.5, (600, 6)).astype("float32") for _ in range(2))
    y = (np.sign(a.mean(1)) != np.sign(b.mean(1))).astype(int)
    inputs = {"a": keras.Input((6,), name="a"), "b": keras.Input((6,), name="b")}
    both = layers.Concatenate()(list(inputs.values()))
    hidden = layers.Dense(16, "relu", name="hidden")(both)
    model = keras.Model(inputs, layers.Dense(2, "softmax", name="head")(hidden), name="two_inputs")
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    parts = (({"a": a[:400], "b": b[:400]}, y[:400]), ({"a": a[400:], "b": b[400:]}, y[400:]))
    history = model.fit(*parts[0], validation_data=parts[1], epochs=12, verbose=0)
    return model, parts, history


def test_a_model_of_several_inputs(of_two_inputs):
    model, parts, history = of_two_inputs
    found = HealthAnalyzer().analyze(model, parts, history)
    assert found.coverage == "6/6"
    assert found.accuracy_consistency.value > 0.7
    ((x, _), _) = parts
    active = (np.maximum(np.concatenate([x["a"], x["b"]], 1) @ model.get_layer("hidden").kernel.numpy(), 0) > 0).any(0)
    assert found.neuron_utilization.value == pytest.approx(active.mean(), abs=0.1)
    model.get_layer("hidden").bias.assign(np.full(16, -1e3, "float32"))
    dead = HealthAnalyzer().analyze(model, parts, history)
    assert dead.neuron_utilization.value < 0.1
    assert any(one.layer == "hidden" for one in dead.findings)


def test_several_inputs_as_a_list_and_without_training_samples(of_two_inputs):
    model, (_, (x, y)), _ = of_two_inputs
    one, other = (HealthAnalyzer().analyze(model, (inputs, y)) for inputs in (x, [x["a"], x["b"]]))
    same(one, other)


def test_preflight_and_retry_with_several_inputs(of_two_inputs):
    model, parts, _ = of_two_inputs
    assert isinstance(HealthAnalyzer().preflight(model, parts).findings, tuple)
    tried = HealthAnalyzer().retry(model, parts, "dying_relu", epochs=5)
    assert tried.accuracy_after > 0.5


def test_inputs_of_different_length():
    x = np.zeros((120, 6), "float32")
    with pytest.raises(DatasetError, match=r"as many for each input. Got \[119, 120\]"):
        HealthAnalyzer().analyze(models.siamese(), ([x, x[1:]], np.arange(120) % 2))


def test_metrics_without_weight_do_not_count(trained, parts):
    found = HealthAnalyzer(weights={"gradient_health": 1}).analyze(trained[0], parts)
    assert found.coverage == "1/1"
    assert found.overall == found.gradient_health.value
