import dataclasses
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpoviz.config import OptimizationConfig, OptimizationRequest
from hpoviz.errors import ConfigError

BAD_REQUESTS = [
    ({"trials": 0}, "trials must be a whole number, at least 1. Got 0."),
    ({"trials": -3}, "trials must be a whole number, at least 1. Got -3."),
    ({"trials": 2.0}, "trials must be a whole number, at least 1. Got 2.0."),
    ({"trials": True}, "trials must be a whole number, at least 1. Got True."),
    ({"trials": None}, "trials must be a whole number, at least 1. Got None."),
    ({"trials": "10"}, "trials must be a whole number, at least 1. Got '10'."),
    (
        {"objective": "acuracy"},
        "objective must be one of 'accuracy', 'health', 'pareto'. Got 'acuracy'. Did you mean 'accuracy'?",
    ),
    ({"objective": None}, "objective must be one of 'accuracy', 'health', 'pareto'. Got None."),
    ({"objective": 3}, "objective must be one of 'accuracy', 'health', 'pareto'. Got 3."),
    ({"seed": -1}, "seed must be a whole number, from 0 to 4294967295 (or None). Got -1."),
    ({"seed": 1.5}, "seed must be a whole number, from 0 to 4294967295 (or None). Got 1.5."),
    ({"epochs": 0}, "epochs must be a whole number, at least 1 (or None). Got 0."),
    ({"epochs": [5, 20]}, "epochs must be a whole number, at least 1 (or None). Got [5, 20]."),
    ({"epochs": (5,)}, "epochs must be a whole number or a range of two, as (5, 20). Got (5,)."),
    ({"epochs": (0, 5)}, "epochs must be a whole number or a range of two, as (5, 20). Got (0, 5)."),
    ({"epochs": (1, 2, 3)}, "epochs must be a whole number or a range of two, as (5, 20). Got (1, 2, 3)."),
    ({"epochs": (1.0, 2.0)}, "epochs must be a whole number or a range of two, as (5, 20). Got (1.0, 2.0)."),
    ({"epochs": (20, 5)}, "epochs is upside down: (20, 5). Write (5, 20)."),
    ({"workers": 0}, "workers must be a whole number, at least 1 (or None). Got 0."),
    ({"workers": "two"}, "workers must be a whole number, at least 1 (or None). Got 'two'."),
    ({"validation_fraction": 0}, "validation_fraction must be a number in (0, 0.9]. Got 0."),
    ({"validation_fraction": 0.91}, "validation_fraction must be a number in (0, 0.9]. Got 0.91."),
    ({"validation_fraction": math.nan}, "validation_fraction must be a number in (0, 0.9]. Got nan."),
    ({"validation_fraction": None}, "validation_fraction must be a number in (0, 0.9]. Got None."),
    ({"validation_fraction": "0.2"}, "validation_fraction must be a number in (0, 0.9]. Got '0.2'."),
    ({"validation_fraction": False}, "validation_fraction must be a number in (0, 0.9]. Got False."),
    ({"max_parameters": 0}, "max_parameters must be a whole number, at least 1 (or None). Got 0."),
    ({"max_parameters": 1e6}, "max_parameters must be a whole number, at least 1 (or None). Got 1000000.0."),
    ({"max_trial_minutes": 0}, "max_trial_minutes must be a number above 0 (or None). Got 0."),
    ({"max_trial_minutes": -1.0}, "max_trial_minutes must be a number above 0 (or None). Got -1.0."),
    ({"max_trial_minutes": math.inf}, "max_trial_minutes must be a number above 0 (or None). Got inf."),
    ({"run_dir": 3}, "run_dir must be a path. Got 3."),
    ({"config": {"retries": 2}}, "config must be an hpoviz.OptimizationConfig. Got {'retries': 2}."),
    ({"config": None}, "config must be an hpoviz.OptimizationConfig. Got None."),
]
BAD_CONFIGS = [
    ({"timeout_hours": 0}, "timeout_hours must be a number above 0 (or None). Got 0."),
    ({"timeout_hours": math.nan}, "timeout_hours must be a number above 0 (or None). Got nan."),
    ({"timeout_hours": True}, "timeout_hours must be a number above 0 (or None). Got True."),
    ({"retries": -1}, "retries must be a whole number, at least 0. Got -1."),
    ({"retries": None}, "retries must be a whole number, at least 0. Got None."),
    ({"early_stopping_patience": 0}, "early_stopping_patience must be a whole number, at least 1 (or None). Got 0."),
    ({"startup_trials": 0}, "startup_trials must be a whole number, at least 1. Got 0."),
    ({"startup_trials": None}, "startup_trials must be a whole number, at least 1. Got None."),
    ({"keep_models": "bset"}, "keep_models must be one of 'all', 'best'. Got 'bset'. Did you mean 'best'?"),
    ({"keep_models": None}, "keep_models must be one of 'all', 'best'. Got None."),
]


@pytest.mark.parametrize(("keywords", "message"), BAD_REQUESTS)
def test_bad_request(keywords, message):
    with pytest.raises(ConfigError) as caught:
        OptimizationRequest(**keywords)
    assert str(caught.value) == message


@pytest.mark.parametrize(("keywords", "message"), BAD_CONFIGS)
def test_bad_config(keywords, message):
    with pytest.raises(ConfigError) as caught:
        OptimizationConfig(**keywords)
    assert str(caught.value) == message


def test_all_problems_of_a_request_at_once():
    with pytest.raises(ConfigError) as caught:
        OptimizationRequest(trials=0, epochs=(9, 3), workers=-1, validation_fraction=2)
    names = [line.split()[0] for line in str(caught.value).splitlines()]
    assert names == ["trials", "epochs", "workers", "validation_fraction"]


def test_all_problems_of_a_config_at_once():
    with pytest.raises(ConfigError) as caught:
        OptimizationConfig(timeout_hours=-1, retries="x", keep_models="none")
    names = [line.split()[0] for line in str(caught.value).splitlines()]
    assert names == ["timeout_hours", "retries", "keep_models"]


@pytest.mark.parametrize(
    "keywords",
    [
        {},
        {"trials": 1, "seed": 0, "epochs": 1, "workers": 1, "max_parameters": 1},
        {"epochs": (5, 5)},
        {"validation_fraction": 0.9, "max_trial_minutes": 1},
        {"run_dir": "a/b"},
        {"run_dir": Path("a")},
        {"search_space": {"filters": 8}, "architecture": "cnn", "sampler": "random", "pruner": None},
    ],
)
def test_good_request_keeps_its_values(keywords):
    request = OptimizationRequest(**keywords)
    assert {name: getattr(request, name) for name in keywords} == keywords


def test_good_config_keeps_its_values():
    config = OptimizationConfig(
        timeout_hours=0.5,
        retries=0,
        early_stopping_patience=None,
        startup_trials=1,
        keep_models="best",
        health_monitoring_frequency=3,
        record_layers=False,
        display="text",
    )
    assert dataclasses.astuple(config) == (0.5, 0, None, 1, "best", 3, False, "text")


def test_defaults():
    request = OptimizationRequest()
    assert (request.trials, request.seed, request.backend, request.sampler) == (50, None, "local", "tpe")
    assert request.config == OptimizationConfig()


def test_settings_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        OptimizationRequest().trials = 3


def test_unknown_keyword_offers_the_nearest_and_lists_all():
    with pytest.raises(ConfigError, match=r"Optimizer has no setting 'trails'. Did you mean 'trials'\?") as caught:
        OptimizationRequest.from_keywords({"trails": 3})
    fields = ", ".join(field.name for field in dataclasses.fields(OptimizationRequest))
    assert str(caught.value).endswith(f"Settings: {fields}.")


def test_all_unknown_keywords_at_once():
    with pytest.raises(ConfigError) as caught:
        OptimizationRequest.from_keywords({"trails": 3, "zebra": 1})
    first, second = str(caught.value).splitlines()
    assert first.startswith("Optimizer has no setting 'trails'.")
    assert second.startswith("Optimizer has no setting 'zebra'. Settings:")


def test_from_keywords_is_the_request():
    assert OptimizationRequest.from_keywords({"trials": 7, "seed": 1}) == OptimizationRequest(trials=7, seed=1)


@settings(max_examples=100, deadline=None)
@given(st.integers(), st.integers())
def test_an_epoch_range_is_right_exactly_when_it_is_positive_and_upright(low, high):
    try:
        OptimizationRequest(epochs=(low, high))
        accepted = True
    except ConfigError:
        accepted = False
    assert accepted == (1 <= low <= high)


@settings(max_examples=100, deadline=None)
@given(st.floats())
def test_validation_fraction_is_right_exactly_in_its_range(fraction):
    try:
        OptimizationRequest(validation_fraction=fraction)
        accepted = True
    except ConfigError:
        accepted = False
    assert accepted == (0 < fraction <= 0.9)


def test_seed_that_numpy_cannot_use():
    with pytest.raises(ConfigError, match="seed must be"):
        OptimizationRequest(seed=2**32)


def test_unknown_keywords_and_wrong_values_at_once():
    with pytest.raises(ConfigError, match=r"(?s)'trails'.*workers must be"):
        OptimizationRequest.from_keywords({"trails": 3, "workers": 0})
