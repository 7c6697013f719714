"""Findings on models with one known fault, and none on healthy ones."""

import re

import keras
import numpy as np
import pytest
from keras import layers

from hpoviz.health.calibration import CALIBRATION, THRESHOLDS
from hpoviz.health.diagnosis import RULES, find_faults
from hpoviz.health.health_analyzer import HealthAnalyzer
from hpoviz.health.metric import METRICS, Metric
from hpoviz.health.observation import LayerLook, Observation, Snapshot
from hpoviz.health.signs import Case
from tests.health.test_health_analyzer import body, data, parts, trained  # noqa: F401  fixtures

pytestmark = pytest.mark.slow

LABELS = [number % 10 for number in range(400)]
SEEN = Observation(
    model="healthy", class_counts=[40] * 10, labels=LABELS, predicted=LABELS, train_rows=400, train_accuracy=0.95,
    snapshots=[Snapshot(epoch=1, layers=(LayerLook(layer="a", activation="relu", units=4, active=4, finite=1.0,
                                                   gradient_norm=1.0),))],
)  # fmt: skip


def healthy(**changed):
    metrics = {name: Metric(name=name, value=0.95) for name in METRICS}
    return metrics | changed


def faults(findings):
    return [finding.fault for finding in findings]


def test_nothing_is_wrong_with_a_healthy_model(trained, parts):  # noqa: F811
    assert HealthAnalyzer().analyze(trained[0], parts, trained[1]).findings == ()


def test_metrics_without_evidence_are_no_fault():
    assert find_faults(Case(healthy(), SEEN)) == ()
    missing = {name: Metric(name=name, value=None, reason="unknown") for name in METRICS}
    assert find_faults(Case(missing, SEEN)) == ()


def test_a_dying_layer_is_named(trained, parts):  # noqa: F811
    model = keras.models.clone_model(trained[0])
    weights = [weight.copy() for weight in trained[0].get_weights()]
    weights[3][:13] = -100.0  # 13 of the 16 filters of the second convolution
    model.set_weights(weights)
    (finding, *_) = [one for one in HealthAnalyzer().analyze(model, parts).findings if one.fault == "dying_relu"]
    assert finding.layer == model.layers[2].name
    assert re.match(r"[0-3] of 16 units are active \(\d+%, 95% from \d+% to \d+%\) \(threshold", finding.evidence)
    assert "he_normal" in finding.prescription


def test_values_that_are_not_finite_are_all_that_is_said(trained, parts):  # noqa: F811
    model = keras.models.clone_model(trained[0])
    weights = [weight.copy() for weight in trained[0].get_weights()]
    weights[4][0, 0] = np.inf
    model.set_weights(weights)
    findings = HealthAnalyzer().analyze(model, parts).findings
    assert faults(findings) == ["not_finite"]
    assert findings[0].layer == model.layers[4].name


def test_vanishing_gradients(parts):  # noqa: F811
    deep = [layers.Dense(16, "sigmoid", name=f"deep_{number}") for number in range(10)]
    model = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), *deep, layers.Dense(10, "softmax")])
    (finding, *_) = HealthAnalyzer().analyze(model, parts).findings
    assert (finding.fault, finding.layer) == ("vanishing_gradient", "deep_0")


def test_exploding_gradients(parts):  # noqa: F811
    wild = keras.initializers.RandomNormal(stddev=3.0, seed=0)
    deep = [layers.Dense(32, "relu", kernel_initializer=wild, name=f"deep_{number}") for number in range(5)]
    model = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), *deep, layers.Dense(10, "softmax")])
    found = HealthAnalyzer().analyze(model, parts).findings
    assert [finding.layer for finding in found if finding.fault == "exploding_gradient"] == ["deep_0"]


def test_saturation_names_the_layer(parts):  # noqa: F811
    model = keras.Sequential(
        [keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(20, "tanh", name="one"),
         layers.Dense(20, "tanh", name="two"), layers.Dense(10, "softmax")]
    )  # fmt: skip
    weights = model.get_weights()
    weights[3] = np.full(20, 9.0)
    model.set_weights(weights)
    found = HealthAnalyzer().analyze(model, parts).findings
    assert [finding.layer for finding in found if finding.fault == "saturation"] == ["two"]


def test_missing_input_scaling(trained, parts):  # noqa: F811
    (x, y), (x_val, y_val) = parts
    found = HealthAnalyzer().analyze(trained[0], ((x * 255, y), (x_val * 255, y_val))).findings
    (finding,) = [one for one in found if one.fault == "missing_input_scaling"]
    assert finding.layer == trained[0].layers[0].name
    assert "up to 255 reach" in finding.evidence


@pytest.mark.parametrize(
    "first", [layers.Rescaling(1 / 255), layers.BatchNormalization()], ids=lambda one: type(one).__name__
)
def test_inputs_that_the_model_scales_itself(parts, first):  # noqa: F811
    (x, y), (x_val, y_val) = parts
    model = keras.Sequential([keras.Input((8, 8, 1)), type(first).from_config(first.get_config()), *body()])
    found = HealthAnalyzer().analyze(model, ((x * 255, y), (x_val * 255, y_val))).findings
    assert "missing_input_scaling" not in faults(found)


@pytest.mark.parametrize(
    ("activation", "from_logits", "wrong"),
    [("softmax", False, False), (None, True, False), ("softmax", True, True), (None, False, True)],
)
def test_outputs_that_are_not_what_the_loss_takes(parts, activation, from_logits, wrong):  # noqa: F811
    model = keras.Sequential([keras.Input((8, 8, 1)), *body()[:-1], layers.Dense(10, activation)])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits))
    assert ("wrong_output_activation" in faults(HealthAnalyzer().analyze(model, parts).findings)) == wrong


def test_overfitting(parts):  # noqa: F811
    """Forty pictures learned by heart; labels of the others are of no use."""
    keras.utils.set_random_seed(0)
    (x, y), val = parts
    few = np.random.default_rng(0).permutation(len(x))[:150]
    labels = y[few].copy()
    labels[::2] = np.random.default_rng(1).integers(0, 10, len(labels[::2]))  # half of the labels mean nothing
    model = keras.Sequential([keras.Input((8, 8, 1)), *body()])
    model.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy")
    history = model.fit(x[few], labels, epochs=60, batch_size=32, verbose=0)
    found = HealthAnalyzer().analyze(model, ((x[few], labels), val), history).findings
    assert "overfitting" in faults(found)


def test_a_class_that_is_never_found(parts):  # noqa: F811
    keras.utils.set_random_seed(0)
    (x, y), val = parts
    others = y != 3
    model = keras.Sequential([keras.Input((8, 8, 1)), *body()])
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(x[others], y[others], epochs=6, batch_size=64, verbose=0)
    found = HealthAnalyzer().analyze(model, ((x[others], y[others]), val)).findings
    (finding,) = [one for one in found if one.fault == "class_collapse"]
    assert finding.evidence.startswith("Class 3 is recalled in 0% of cases")


def test_training_that_ends_too_early_or_does_not_hold(parts):  # noqa: F811
    model = keras.Sequential([keras.Input((8, 8, 1)), *body()])
    falling = {"loss": [2.3, 2.1, 1.9, 1.7, 1.5, 1.3, 1.1]}
    assert "slow_convergence" in faults(HealthAnalyzer().analyze(model, parts, falling).findings)
    jumping = {"loss": [1.0, 0.4, 1.2, 0.3, 1.1, 0.4, 1.0]}
    assert "oscillation" in faults(HealthAnalyzer().analyze(model, parts, jumping).findings)
    flat = {"loss": [2.3, 2.1, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0]}
    assert "underfitting" in faults(HealthAnalyzer().analyze(model, parts, flat).findings)


def test_a_model_whose_labels_mean_nothing_is_at_chance(trained, parts):  # noqa: F811
    (x, y), (x_val, y_val) = parts
    mixed = np.random.default_rng(0).permutation(y_val)  # labels that have nothing to do with the pictures
    found = HealthAnalyzer().analyze(trained[0], ((x, y), (x_val, mixed))).findings
    assert "at_chance" in faults(found)


def test_bloat(parts):  # noqa: F811
    keras.utils.set_random_seed(0)
    stack = [layers.Flatten(), layers.Dense(32, "relu", name="fit"), layers.Dense(3000, "relu", name="fat")]
    model = keras.Sequential([keras.Input((8, 8, 1)), *stack, layers.Dense(10, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(*parts[0], epochs=4, batch_size=64, verbose=0)
    found = [one for one in HealthAnalyzer().analyze(model, parts).findings if one.fault == "bloat"]
    assert [one.layer for one in found] == ["fat"]
    assert found[0].evidence.startswith("Its 3,000 units say no more than")


def test_every_finding_says_what_to_do(parts):  # noqa: F811
    deep = [layers.Dense(16, "sigmoid") for _ in range(10)]
    model = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), *deep, layers.Dense(10, "softmax")])
    report = HealthAnalyzer().analyze(model, parts)
    for finding in report.findings:
        assert all(len(text.split()) >= 5 for text in (finding.evidence, finding.consequence, finding.prescription))
        assert finding.prescription in repr(report)
        assert finding.metric in METRICS


def test_a_layer_that_was_never_trained_is_named(parts):  # noqa: F811
    keras.utils.set_random_seed(0)
    stack = body()
    stack[2].trainable = False
    model = keras.Sequential([keras.Input((8, 8, 1)), *stack])
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(*parts[0], epochs=2, batch_size=64, verbose=0)
    found = HealthAnalyzer().analyze(model, parts).findings
    assert [finding.layer for finding in found if finding.fault == "untrained_layer"] == [stack[2].name]


def test_wrong_labels_are_suspected(parts):  # noqa: F811
    keras.utils.set_random_seed(0)
    (x, y), val = parts
    labels, chance = y.copy(), np.random.default_rng(0)
    wrong = chance.random(len(y)) < 0.4
    labels[wrong] = chance.integers(0, 10, int(wrong.sum()))
    model = keras.Sequential([keras.Input((8, 8, 1)), *body()])
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(x, labels, epochs=10, batch_size=64, verbose=0)
    found = [one for one in HealthAnalyzer().analyze(model, ((x, labels), val)).findings if one.fault == "label_noise"]
    assert found
    share = int(re.search(r"another class for (\d+)% of them", found[0].evidence)[1]) / 100
    assert share == pytest.approx((labels != y).mean(), abs=0.08)


def test_averages_that_lag_behind_are_told_of(parts):  # noqa: F811
    keras.utils.set_random_seed(0)
    late = layers.BatchNormalization(name="late")
    stack = [layers.Conv2D(8, 3, padding="same"), late, layers.ReLU(), layers.Flatten()]
    model = keras.Sequential([keras.Input((8, 8, 1)), *stack, layers.Dense(10, "softmax")])
    model.compile(keras.optimizers.Adam(1e-2), "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(*parts[0], epochs=6, batch_size=64, verbose=0)
    assert "stale_normalization" not in faults(HealthAnalyzer().analyze(model, parts, history).findings)
    late.moving_mean.assign(late.moving_mean + 2.0)  # of weights that are long gone
    found = HealthAnalyzer().analyze(model, parts, history).findings
    assert [one.layer for one in found if one.fault == "stale_normalization"] == ["late"]


def test_penalties_that_outweigh_the_data(parts):  # noqa: F811
    keras.utils.set_random_seed(0)
    hidden = layers.Dense(32, "relu", kernel_regularizer=keras.regularizers.L2(0.1))
    model = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), hidden, layers.Dense(10, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(*parts[0], epochs=4, batch_size=64, verbose=0)
    assert "over_regularized" in faults(HealthAnalyzer().analyze(model, parts).findings)
    light = layers.Dense(32, "relu", kernel_regularizer=keras.regularizers.L2(1e-4))
    model = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), light, layers.Dense(10, "softmax")])
    assert "over_regularized" not in faults(HealthAnalyzer().analyze(model, parts).findings)


def test_every_rule_that_needs_a_threshold_has_one():
    assert {rule.fault for rule in RULES if rule.threshold} == set(THRESHOLDS)
    assert CALIBRATION["version"] >= 0
