"""A trial on several devices: the curves of one device, and what is shared and scaled."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hpoviz.backends.runpod import RunPodBackend
from hpoviz.errors import BackendError, ConfigError
from hpoviz.models.cnn import CnnConfig
from hpoviz.training.devices import Devices, _strategy
from tests.training.two_devices import RATES

# Two devices add the same float32 numbers in another order: the cases below came to differ by up to 2e-7, and 1e-4
# leaves room for other processors.
TOLERANCE = 1e-4
# The loss of an epoch of Model.fit counts the shares of an uneven last batch (13 and 12 samples here) alike, in that
# batch only: it came to differ by 5e-4. What is learnt is exact, as the validation loss shows.
TOLERANCE_OF_UNEVEN = 5e-3


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What trials on two logical CPUs told, in a process of their own."""
    folder = tmp_path_factory.mktemp("devices")
    script, quiet = Path(__file__).with_name("two_devices.py"), os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run([sys.executable, script, folder], env=quiet, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((folder / "found.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cnn", "lstm"])
def test_two_devices_train_as_one_does_with_the_same_batch(found, name):
    one, two = found[f"{name} on 1"], found[f"{name} on 2"]
    assert one["trained_by"] == "the compiled loop"
    assert two["trained_by"] == "Model.fit, as it trains on 2 devices (32 samples a step, 16 on each)"
    assert two["kind"] == "TrialFinished"
    assert len(one["curves"]) > 1
    np.testing.assert_allclose(two["curves"], one["curves"], rtol=TOLERANCE)


@pytest.mark.slow
def test_samples_count_the_same_in_uneven_shares_and_with_class_weights(found):
    one, two = (np.array(found[f"odd on {devices}"]["curves"]) for devices in (1, 2))
    np.testing.assert_allclose(two[:, 1:], one[:, 1:], rtol=TOLERANCE)
    np.testing.assert_allclose(two[:, 0], one[:, 0], rtol=TOLERANCE_OF_UNEVEN)


@pytest.mark.slow
def test_a_trial_on_two_devices_has_a_model_health_and_figures(found):
    trial = found["scaled"]
    assert trial["kind"] == "TrialFinished"
    assert trial["end"]["no_health"] is None
    assert 0 < trial["end"]["health"] <= 1
    assert found["problem of the record"] is None
    assert found["accuracy of the file"] == pytest.approx(trial["end"]["accuracy"])
    assert found["accuracy of the file"] > 0.3  # it has learnt something
    assert found["predicted by the file"] == found["predicted in the trial"]
    assert found["types of weights"] == ["ResourceVariable"]  # a file of plain Keras
    assert found["synchronized"] == [False]


@pytest.mark.slow
def test_a_scaled_batch_and_its_learning_rates_are_told(found):
    factor = math.sqrt(2)  # Adam
    told = "Model.fit, as it trains on 2 devices (64 samples a step, 32 on each, learning rate times 1.41)"
    assert found["scaled"]["trained_by"] == told
    assert found["scaled"]["rate_factor"] == pytest.approx(factor)
    assert found["scaled"]["rates"] == pytest.approx([rate * factor for rate in RATES])


@pytest.mark.slow
def test_a_model_of_the_users_own_is_trained_on_two_devices_and_sets_its_own_rate(found):
    assert found["own"]["kind"] == "TrialFinished", found["own"]["end"]
    assert found["own"]["rates"] == pytest.approx([0.01, 0.005])
    assert found["own scaled"]["kind"] == "TrialFailed"
    assert "a model of your own sets its learning rate itself" in found["own scaled"]["end"]["reason"]


@pytest.mark.slow
def test_too_few_devices_are_an_error_and_never_silently_one(found):
    assert found["three"]["kind"] == "TrialFailed"
    assert found["three"]["end"]["reason"].startswith("The trial is to train on 3 GPUs, and its worker has no GPU.")
    assert found["three"]["curves"] == []


def test_shares():
    assert Devices(2).shares(64, batch_size=32) == [[16, 16]] * 2
    assert Devices(2).shares(73, batch_size=32) == [[16, 16], [16, 16], [5, 4]]
    assert Devices(2).shares(33, batch_size=32) == [[16, 16], [1, 1]]  # both take the last one
    assert Devices(3).shares(32, batch_size=16) == [[5, 5, 5], [5, 5, 5], [2, 2, 2]]  # 15 can be shared evenly
    assert Devices(2).shares(25, batch_size=32) == [[12, 12], [1, 1]]
    assert Devices(4).shares(2, batch_size=1) == [[2, 2, 2, 2]]


@pytest.mark.parametrize("devices", [2, 3, 8])
@pytest.mark.parametrize("samples", [1, 2, 7, 100, 255, 256, 257, 1023])
def test_every_validation_sample_counts_once_or_all_as_often(devices, samples):
    several = Devices(devices)
    times, size = several._validation_batch(samples)
    steps = several.shares(times * samples, batch_size=size)
    assert sum(map(sum, steps)) == times * samples
    assert min(map(min, steps)) > 0
    assert len(set(steps[0])) == 1  # Keras adds the first shares up to learn their shape


def test_scaling():
    config = CnnConfig(learning_rate=0.01, batch_size=16)
    adam, sgd = (
        Devices(4, scale_batch=True).scaled(CnnConfig(learning_rate=0.01, batch_size=16, optimizer=name))
        for name in ("adam", "sgd")
    )
    assert (adam.batch_size, adam.learning_rate) == (64, 0.02)
    assert (sgd.batch_size, sgd.learning_rate, sgd.learning_rate_at(3)) == (64, 0.04, 0.04)
    assert Devices(4).scaled(config) is Devices(1, scale_batch=True).scaled(config) is config
    assert Devices(4).rate_factor(config) == 1.0


def test_a_keras_that_adds_losses_up_is_refused(monkeypatch):
    monkeypatch.setattr("keras.__version__", "3.7.0")
    with pytest.raises(BackendError, match=r"needs Keras 3\.8 or later\. Got Keras 3\.7\.0"):
        _strategy(2)


def test_the_settings_of_the_backend():
    backend = RunPodBackend("abc", api_key="k", workers=2, gpus_per_worker=4)
    assert backend.describe() == "RunPod endpoint abc, 2 workers with 4 GPUs each"
    for wrong in (0, 9, True, 1.0):
        with pytest.raises(ConfigError, match="gpus_per_worker must be a whole number from 1 to 8"):
            RunPodBackend("abc", api_key="k", gpus_per_worker=wrong)
    with pytest.raises(ConfigError, match="scale_batch must be True or False"):
        RunPodBackend("abc", api_key="k", scale_batch=1)
