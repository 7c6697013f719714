"""HealthCallback beside one look at the trained model, and in trials of a search."""

import keras
import numpy as np
import pytest
from keras import layers

import hpoviz
from hpoviz.errors import ConfigError, DatasetError
from hpoviz.health.health_analyzer import HealthAnalyzer
from hpoviz.health.health_callback import HealthCallback
from hpoviz.training.loop import why_fit
from tests.health.test_health_analyzer import body, data, parts  # noqa: F401  fixtures

pytestmark = pytest.mark.slow


def fitted(parts, callback, epochs=4, stack=None):  # noqa: F811
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((8, 8, 1)), *(stack or body)()])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(
        *parts[0], validation_data=parts[1], epochs=epochs, batch_size=64, verbose=0, callbacks=[callback]
    )
    return model, history


def test_it_sees_what_has_passed_when_training_ends(parts):  # noqa: F811
    watch = HealthCallback(parts)
    model, history = fitted(parts, watch, epochs=5)
    assert [snapshot.epoch for snapshot in watch.snapshots] == [0, 1, 2, 3, 4, 5]
    assert watch.history == history.history
    seen = HealthAnalyzer().observe(model, parts, watch)
    assert [snapshot.epoch for snapshot in seen.snapshots] == [0, 1, 2, 3, 4, 5]
    report = watch.report
    assert report.gradient_health.reason is None
    assert report.gradient_health.evidence["snapshots"] == 6
    alone = HealthAnalyzer().analyze(model, parts, history)
    assert report.gradient_health.value <= alone.gradient_health.value
    assert report.training_stability.value == alone.training_stability.value


def test_a_gradient_that_came_back_is_still_told_of(parts):  # noqa: F811
    """Small weights under sigmoids let nothing through; they grow while they are trained."""
    small = keras.initializers.RandomNormal(stddev=0.05, seed=0)

    def deep():
        hidden = [layers.Dense(24, "sigmoid", kernel_initializer=small) for _ in range(3)]
        return [layers.Flatten(), *hidden, layers.Dense(10, "softmax")]

    watch = HealthCallback(parts)
    model, history = fitted(parts, watch, epochs=30, stack=deep)
    now = HealthAnalyzer().analyze(model, parts, history).gradient_health.evidence["log10_ratio"]
    assert watch.report.gradient_health.evidence["log10_ratio"] < now - 0.5


def test_it_changes_nothing_of_the_training(parts):  # noqa: F811
    def stack():
        return [*body()[:2], layers.BatchNormalization(), layers.Dropout(0.2), *body()[3:]]

    plain, _ = fitted(parts, keras.callbacks.Callback(), stack=stack)
    watched, _ = fitted(parts, HealthCallback(parts), stack=stack)
    for one, two in zip(plain.get_weights(), watched.get_weights(), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-6)


def test_it_looks_as_often_as_it_is_asked(parts):  # noqa: F811
    watch = HealthCallback(parts, every=3)
    fitted(parts, watch, epochs=7)
    assert [snapshot.epoch for snapshot in watch.snapshots] == [0, 3, 6]


def test_it_can_be_a_callback_of_the_compiled_loop(parts):  # noqa: F811
    model = keras.Sequential([keras.Input((8, 8, 1)), *body()])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    assert why_fit(model, [HealthCallback(parts)], parts[0][0]) is None


def test_one_line(parts):  # noqa: F811
    watch = HealthCallback(parts)
    model, _ = fitted(parts, watch)
    assert hpoviz.diagnose(model, parts, watch).to_dict()["metrics"] == watch.report.to_dict()["metrics"]


@pytest.mark.parametrize("every", [0, True, 1.5])
def test_bad_settings(parts, every):  # noqa: F811
    with pytest.raises(ConfigError, match="every must be a whole number of at least 1"):
        HealthCallback(parts, every=every)


def test_before_training_there_is_no_report(parts):  # noqa: F811
    with pytest.raises(ConfigError, match="Nothing was trained yet"):
        HealthCallback(parts).report  # noqa: B018


def test_labels_that_the_model_does_not_have(parts):  # noqa: F811
    (x, y), val = parts
    watch = HealthCallback(((x, y + 1), val))
    with pytest.raises(DatasetError, match="Labels must be from 0 to 9"):
        fitted(parts, watch)
