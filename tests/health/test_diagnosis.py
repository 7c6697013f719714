"""Findings on models with one known fault, and none on healthy ones."""

import dataclasses
import re

import keras
import numpy as np
import pytest
from keras import layers

from hpoviz.health.assessment import metrics_of
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


def relus(optimizer, parts, **options):  # noqa: F811
    """A model of relus that was trained for five epochs, and its history."""
    keras.utils.set_random_seed(0)
    hidden = (layers.Dense(32, "relu") for _ in range(3))
    model = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), *hidden, layers.Dense(10, "softmax")])
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model, model.fit(*parts[0], epochs=5, batch_size=32, verbose=0, **options)


@pytest.mark.parametrize(
    "optimizer", [keras.optimizers.SGD(10.0), keras.optimizers.SGD(1.5), keras.optimizers.Adam(1.0)],
    ids=["SGD 10", "SGD 1.5", "Adam 1"],
)  # fmt: skip
def test_a_huge_learning_rate_is_the_first_cause(parts, optimizer):  # noqa: F811
    model, history = relus(optimizer, parts)
    for given in (history, None):  # a compiled model knows its rate without
        first, *others = HealthAnalyzer().analyze(model, parts, given).findings
        assert first.fault == "learning_rate_out_of_range"
        assert (
            f"The learning rate is {float(optimizer.learning_rate):g}; with {type(optimizer).__name__}"
            in first.evidence
        )
        assert "at_chance" in faults(others)
        for finding in others:
            assert finding.prescription == "Mend the learning rate first: so large a one leads to this by itself."
            assert "root mean square of 0 " not in finding.evidence
            assert "root mean square of 0," not in finding.evidence


def test_a_huge_learning_rate_that_was_lowered_is_known_by_the_history_or_the_schedule(parts):  # noqa: F811
    lowered = keras.callbacks.LearningRateScheduler(lambda epoch: 10.0 if epoch < 4 else 1e-3)
    model, history = relus(keras.optimizers.SGD(10.0), parts, callbacks=[lowered])
    assert faults(HealthAnalyzer().analyze(model, parts, history).findings)[0] == "learning_rate_out_of_range"
    assert "learning_rate_out_of_range" not in faults(HealthAnalyzer().analyze(model, parts).findings)
    schedule = keras.optimizers.schedules.ExponentialDecay(10.0, 10, 0.5)
    model, _ = relus(keras.optimizers.SGD(schedule), parts)
    assert faults(HealthAnalyzer().analyze(model, parts).findings)[0] == "learning_rate_out_of_range"


def test_a_large_learning_rate_that_did_no_harm_is_no_finding(parts):  # noqa: F811
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(10, "softmax")])
    model.compile(keras.optimizers.SGD(1.1), "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(*parts[0], epochs=20, batch_size=64, verbose=0)
    assert faults(HealthAnalyzer().analyze(model, parts, history).findings) == []


def test_a_large_learning_rate_is_not_to_blame_before_training(parts):  # noqa: F811
    dead = layers.Dense(32, "relu", bias_initializer=keras.initializers.Constant(-9.0))
    model = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), dead, layers.Dense(10, "softmax")])
    model.compile(keras.optimizers.SGD(10.0), "sparse_categorical_crossentropy")
    (finding, *_) = HealthAnalyzer().analyze(model, parts).findings
    assert finding.fault == "dying_relu"
    assert "leaky_relu" in finding.prescription


def seen_with(activation, normalizing=()):
    look = LayerLook(layer="a", activation=activation, units=40, active=1, finite=1.0, gradient_norm=1e-6)
    last = LayerLook(layer="b", activation=activation, units=40, active=40, finite=1.0, gradient_norm=1.0)
    snapshot = Snapshot(epoch=1, layers=(look, last))
    return dataclasses.replace(SEEN, snapshots=[snapshot], normalizing=normalizing)


@pytest.mark.parametrize(
    ("activation", "normalizing", "fault", "advised", "not_advised"),
    [
        (
            "sigmoid",
            (),
            "vanishing_gradient",
            ("Use relu instead of sigmoid or tanh", "BatchNormalization"),
            "he_normal",
        ),
        ("relu", (), "vanishing_gradient", ("he_normal", "BatchNormalization"), "instead of"),
        ("relu", ("n", "m"), "vanishing_gradient", ("he_normal", "skip connections"), "BatchNormalization"),
        ("relu", (), "dying_relu", ("leaky_relu instead of relu", "BatchNormalization"), "sigmoid"),
        ("gelu", (), "dying_relu", ("he_normal", "BatchNormalization"), "leaky_relu"),
        ("relu", ("n", "m"), "dying_relu", ("leaky_relu", "he_normal"), "BatchNormalization"),
    ],
)
def test_only_what_the_model_has_not_is_advised(activation, normalizing, fault, advised, not_advised):
    seen = seen_with(activation, normalizing)
    (finding, *_) = [one for one in find_faults(Case(metrics_of(seen), seen)) if one.fault == fault]
    assert all(words in finding.prescription for words in advised)
    assert not_advised not in finding.prescription


def test_what_was_seen_of_the_optimizer_is_kept_and_may_be_missing():
    seen = dataclasses.replace(SEEN, optimizer="SGD", learning_rate=10.0)
    assert Observation.from_dict(seen.to_dict()).learning_rate == 10.0
    old = {name: value for name, value in seen.to_dict().items() if name not in ("optimizer", "learning_rate")}
    assert Observation.from_dict(old).learning_rate is None
