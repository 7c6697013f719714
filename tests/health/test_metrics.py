"""The six metrics beside values computed by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpoviz.health.layer_metrics import active_units, gradient_health, neuron_utilization, parameter_efficiency
from hpoviz.health.metric import wilson
from hpoviz.health.observation import LayerLook, Snapshot
from hpoviz.health.prediction_metrics import accuracy_consistency
from hpoviz.health.training_metrics import convergence_quality, training_stability, trivial_loss

TRIVIAL = math.log(10)


def look(layer, active=1, units=1, gradient=1.0, **others):
    values = {"activation": "relu", "finite": 1.0} | others
    return LayerLook(layer=layer, active=active, units=units, gradient_norm=gradient, **values)


def snapshot(*layers):
    """A snapshot of (layer, gradient norm, share saturated)."""
    return Snapshot(epoch=0, layers=tuple(look(name, gradient=norm, saturated=stuck) for name, norm, stuck in layers))


def flow(*norms):
    return snapshot(*((layer, norm, None) for layer, norm in zip("abc", norms, strict=False)))


def test_wilson():
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson(10, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)


def test_constant_units_are_dead_whatever_they_say():
    assert active_units(np.array([0.0, 1.0, 1.0, 0.2]), np.array([0.0, 0.0, 1e-6, 0.5])).tolist() == [
        False,
        False,
        False,
        True,
    ]


def test_a_unit_is_active_from_two_and_a_half_percent_on():
    std = np.array([1.0, 1.0, 0.04, 0.06])  # a mean of 0.525: 2.5% are 0.0131
    assert active_units(np.zeros(4), std).all()
    std[2] = 0.012
    assert active_units(np.zeros(4), std).tolist() == [True, True, False, True]


def test_utilization_is_the_geometric_mean_of_the_layers():
    metric = neuron_utilization([look("a", 4, 4), look("b", 1, 4)], rows=200)
    assert metric.value == pytest.approx(0.5)
    assert [(score.layer, score.value) for score in metric.layers] == [("b", 0.25), ("a", 1.0)]
    assert metric.layers[0].interval == pytest.approx(wilson(1, 4))
    assert metric.layers[0].evidence["active"] == 1


def test_one_dead_layer_is_a_dead_net():
    assert neuron_utilization([look("a", 2, 2), look("b", 0, 2)], rows=200).value == 0.0


def test_utilization_of_values_that_are_not_finite():
    metric = neuron_utilization([look("a", 2, 2, finite=0.9)], rows=200)
    assert (metric.value, metric.reason) == (0.0, "a gives out values that are not finite.")


@pytest.mark.parametrize(
    ("layers", "rows", "reason"), [([], 200, "no hidden layer"), ([look("a")], 99, "99 samples are too few: 100")]
)
def test_utilization_that_cannot_be_known(layers, rows, reason):
    metric = neuron_utilization(layers, rows)
    assert metric.value is None
    assert reason in metric.reason


@pytest.mark.parametrize(
    ("first", "value"), [(1.0, 1.0), (10**-1.5, 1.0), (10**-2.25, 0.5), (1e-3, 0.0), (10**1.85, 1.0), (1e3, 0.0)]
)
def test_gradient_flow_by_its_ratio(first, value):
    metric = gradient_health([flow(first, 1.0)])
    assert metric.value == pytest.approx(value, abs=1e-9)
    assert metric.evidence["log10_ratio"] == pytest.approx(math.log10(first))


def test_the_worst_probe_counts():
    metric = gradient_health([flow(1e-3, 1.0), flow(1.0, 1.0)])
    assert metric.value == 0.0
    assert metric.reason is None
    assert metric.layers[0].layer == "a"


def test_saturated_units_hold_the_gradient_back():
    assert gradient_health([snapshot(("a", 1.0, 0.25), ("b", 1.0, 0.1))]).value == pytest.approx(0.75)


def test_no_gradient_is_no_health():
    metric = gradient_health([flow(0.0, 1.0)])
    assert (metric.value, metric.reason) == (0.0, "No gradient reaches a.")
    assert gradient_health([flow(0.0)]).value == 0.0
    assert gradient_health([flow(math.nan, 1.0)]).value == 0.0


def test_gradient_flow_that_cannot_be_known():
    metric = gradient_health([])
    assert metric.value is None
    assert "no hidden layer" in metric.reason


def test_of_one_hidden_layer_only_the_saturation_counts():
    metric = gradient_health([snapshot(("a", 3.0, 0.4))])
    assert metric.value == pytest.approx(0.6)
    assert "one hidden layer" in metric.reason


def test_stability_by_hand():
    losses = [2.0, 1.0, 1.1, 0.9, 1.0]
    rms = math.sqrt((0.1**2 + 0.1**2) / 4)
    assert training_stability(losses, TRIVIAL).value == pytest.approx(1 - rms / TRIVIAL / 0.05)


def test_a_first_epoch_far_above_guessing_is_not_stable():
    falling = [0.5, 0.4, 0.3, 0.2]
    assert training_stability([2 * TRIVIAL, *falling], TRIVIAL).value == pytest.approx(0.5)
    assert training_stability([4 * TRIVIAL, *falling], TRIVIAL).value == pytest.approx(0.0)


def test_a_loss_that_only_falls_is_stable():
    assert training_stability([2.0, 1.5, 1.0, 1.0, 0.9], TRIVIAL).value == 1.0


def test_a_loss_that_explodes_is_not():
    metric = training_stability([2.0, 1.0, math.inf, 1.0, 1.0], TRIVIAL)
    assert (metric.value, metric.reason) == (0.0, "The loss was not finite in epoch 3.")
    assert convergence_quality([2.0, math.nan], TRIVIAL).value == 0.0


@pytest.mark.parametrize("function", [training_stability, convergence_quality])
@pytest.mark.parametrize(
    ("losses", "trivial", "reason"),
    [(None, 1.0, "no history"), ([1.0], 1.0, "1 epoch of training are too few"), ([1.0] * 9, None, "one class")],
)
def test_what_a_history_cannot_say(function, losses, trivial, reason):
    metric = function(losses, trivial)
    assert metric.value is None
    assert reason in metric.reason


def test_convergence_by_hand():
    losses = [2.0, 1.0, 0.6, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]
    assert convergence_quality(losses, 2.0).value == pytest.approx(0.75)
    falling = [2.0, 1.8, 1.6, 1.4, 1.2, 1.0, 0.8, 0.6, 0.4, 0.2]
    assert convergence_quality(falling, 2.0).value == pytest.approx(0.9 * 0.0)
    slower = [1.0 - 0.01 * epoch for epoch in range(10)]
    assert convergence_quality(slower, 2.0).value == pytest.approx((1 - 0.91 / 2) * (1 - 10 * 0.01 / 2))


def test_what_weight_penalties_add_does_not_count():
    losses = [4.0, 3.0, 1.5, 1.5, 1.5, 1.5, 1.5, 1.5, 1.5, 1.5]
    assert convergence_quality(losses, 2.0, penalty=1.0).value == pytest.approx(0.75)
    assert training_stability(losses, 2.0, penalty=1.0).value == 1.0
    assert training_stability(losses, 2.0).value == pytest.approx(0.5)


def test_convergence_names_the_best_epoch():
    metric = convergence_quality([1.0, 0.5, 0.4], 2.0, [1.0, 0.6, 0.8])
    assert metric.evidence["best_epoch"] == 2


def test_a_perfect_classifier_is_consistent():
    labels = np.arange(300) % 3
    metric = accuracy_consistency(labels, labels, agreement=1.0, train_accuracy=1.0)
    assert (metric.value, metric.reason) == (1.0, None)
    assert metric.interval == (1.0, 1.0)


def test_chance_is_never_consistent():
    labels = np.arange(400) % 4
    guessed = np.random.default_rng(0).integers(0, 4, 400)
    metric = accuracy_consistency(labels, guessed, agreement=1.0, train_accuracy=0.25)
    assert metric.value == 0.0
    assert "not better than always naming the largest class (0.250)" in metric.reason


def test_always_the_largest_class_is_never_consistent():
    labels = np.r_[np.zeros(900, int), np.ones(100, int)]
    assert accuracy_consistency(labels, np.zeros(1000, int)).value == 0.0


def test_a_class_that_is_never_found():
    labels = np.arange(600) % 3
    predicted = np.where(labels == 2, 0, labels)
    metric = accuracy_consistency(labels, predicted, agreement=1.0, train_accuracy=2 / 3)
    assert metric.value < 0.02
    assert metric.evidence["worst_class"] == 2
    assert metric.evidence["worst_recall"] == 0.0


def test_differences_that_are_noise_do_not_count():
    labels = np.arange(500) % 10
    right = np.random.default_rng(1).random(500) < 0.9
    predicted = np.where(right, labels, (labels + 1) % 10)
    metric = accuracy_consistency(labels, predicted, agreement=1.0, train_accuracy=0.9)
    assert metric.value > 0.95


def test_the_gap_and_the_agreement():
    labels = np.arange(300) % 3
    gap = accuracy_consistency(labels, labels, agreement=0.9, train_accuracy=1.0)
    assert gap.value == pytest.approx(0.9)
    wrong = labels.copy()
    wrong[:30] = (wrong[:30] + 1) % 3  # an accuracy of 0.9 on validation data, 1.0 on training data
    metric = accuracy_consistency(labels, wrong, agreement=1.0, train_accuracy=1.0)
    assert metric.value == pytest.approx(0.5, abs=0.01)
    backwards = accuracy_consistency(labels, labels, agreement=1.0, train_accuracy=0.9)
    assert backwards.value == pytest.approx(0.5)  # better on validation data: the labels differ
    assert accuracy_consistency(labels, labels).reason == "Without training data (no gap) and noise."


@pytest.mark.parametrize(
    ("labels", "reason"), [(np.zeros(300, int), "one class"), (np.arange(50) % 2, "50 samples are too few")]
)
def test_consistency_that_cannot_be_known(labels, reason):
    metric = accuracy_consistency(labels, labels)
    assert metric.value is None
    assert reason in metric.reason


def test_efficiency_by_hand():
    layers = [look("a", 100, 100, effective_units=10.0), look("b", 1000, 1000, effective_units=10.0)]
    metric = parameter_efficiency(layers, 200, better_than_chance=True)
    assert metric.value == pytest.approx(math.sqrt(1.0 * 0.5))
    assert [(score.layer, score.value) for score in metric.layers] == [("b", 0.5), ("a", 1.0)]
    assert parameter_efficiency([look("a", 4, 4, effective_units=3.9)], 200, better_than_chance=True).value == 1.0


def test_at_chance_no_weight_is_of_use():
    metric = parameter_efficiency([look("a", 4, 4, effective_units=3.9)], 200, better_than_chance=False)
    assert metric.value == 0.0
    assert "not better than chance" in metric.reason


@pytest.mark.parametrize(
    ("layers", "rows", "reason"), [([], 200, "no hidden layer"), ([look("a", effective_units=1.0)], 50, "too few")]
)
def test_efficiency_that_cannot_be_known(layers, rows, reason):
    metric = parameter_efficiency(layers, rows, better_than_chance=True)
    assert metric.value is None
    assert reason in metric.reason


def test_trivial_loss_is_the_entropy_of_the_labels():
    assert trivial_loss([3, 1]) == pytest.approx(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))
    assert trivial_loss([5, 0]) is None


@given(st.lists(st.floats(0, 10), min_size=2, max_size=30), st.floats(0.1, 5))
def test_values_are_shares(losses, trivial):
    for metric in (training_stability(losses, trivial), convergence_quality(losses, trivial)):
        assert metric.value is None or 0 <= metric.value <= 1


@given(st.lists(st.floats(0, 5), min_size=1, max_size=8))
def test_permuting_units_changes_nothing(std):
    turned = active_units(np.zeros(len(std)), np.array(std[::-1]))
    assert active_units(np.zeros(len(std)), np.array(std)).sum() == turned.sum()


def test_the_snapshots_of_a_training_that_went_well_leave_the_value_as_it_is():
    metric = gradient_health([flow(2.0, 1.0), flow(1.0, 1.0)])
    assert (metric.value, metric.reason, metric.evidence["snapshots"]) == (1.0, None, 2)
