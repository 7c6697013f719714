import dataclasses

import pytest
import yaml

import hpoviz
from hpoviz.errors import ConfigError
from hpoviz.models.cnn import CnnConfig
from hpoviz.results import Epoch, TrialResult
from hpoviz.store.best_record import best_record
from hpoviz.store.run_store import to_yaml

EPOCH = Epoch(epoch=1, loss=1.0, accuracy=0.5, val_loss=1.0, val_accuracy=0.5, learning_rate=0.1, seconds=1.0)
TRIAL = TrialResult(
    trial_id=4,
    number=2,
    state="finished",
    params=CnnConfig(filters=8).to_dict(),
    seed=99,
    score=0.875,
    accuracy=0.875,
    loss=0.25,
    health=0.75,
    metrics={"gradient_health": 1.0},
    best_epoch=2,
    parameters=1234,
    seconds=3.5,
    history=(EPOCH, EPOCH, EPOCH),
)
RUN = {
    "version": 1,
    "run": "20240101-digits",
    "data": {"name": "digits", "sha256": "0" * 64},
    "objective": "accuracy",
    "weights": {"accuracy": 1.0},
    "architecture": "cnn",
    "seed": 7,
    "search_space": [],
    "execution": {"backend": "inline"},
    "versions": {"python": "3.11"},
}


def test_record():
    record = best_record(TRIAL, RUN)
    assert list(record) == [
        "run",
        "data",
        "objective",
        "weights",
        "architecture",
        "hyperparameters",
        "scores",
        "trial",
        "seed",
        "execution",
        "versions",
    ]
    for name in ("run", "data", "objective", "weights", "architecture", "seed", "execution", "versions"):
        assert record[name] == RUN[name]
    assert record["trial"] == {"number": 2, "trial_id": 4, "seed": 99}
    assert record["scores"] == {
        "score": 0.875,
        "validation_accuracy": 0.875,
        "validation_loss": 0.25,
        "health": 0.75,
        "gradient_health": 1.0,
        "best_epoch": 2,
        "epochs_trained": 3,
        "parameters": 1234,
        "seconds": 3.5,
    }


@pytest.mark.parametrize("pooling", [True, False])
def test_flattening_is_the_opposite_of_global_pooling_and_beside_it(pooling):
    params = CnnConfig(use_global_pooling=pooling).to_dict()
    found = best_record(dataclasses.replace(TRIAL, params=params), RUN)["hyperparameters"]
    assert found["use_flattening"] is (not pooling)
    names = list(found)
    assert names.index("use_flattening") == names.index("use_global_pooling") + 1
    assert {name: value for name, value in found.items() if name != "use_flattening"} == params


def test_family_without_global_pooling_has_no_flattening():
    record = best_record(dataclasses.replace(TRIAL, params={"units": 3}), RUN)
    assert record["hyperparameters"] == {"units": 3}


def test_record_survives_yaml_in_its_order():
    record = best_record(TRIAL, RUN)
    again = yaml.safe_load(to_yaml(record))
    assert again == record
    assert list(again["hyperparameters"]) == list(record["hyperparameters"])


def test_hyperparameters_of_the_yaml_build_the_config_again():
    found = yaml.safe_load(to_yaml(best_record(TRIAL, RUN)))["hyperparameters"]
    del found["use_flattening"]
    assert CnnConfig.from_dict(found) == CnnConfig(filters=8)


def test_record_is_a_copy():
    record = best_record(TRIAL, RUN)
    record["data"]["name"] = "another"
    record["hyperparameters"]["filters"] = 1
    assert RUN["data"]["name"] == "digits"
    assert TRIAL.params["filters"] == 8


def test_the_file_can_be_fed_back():
    """It says use_flattening too, which is read as the opposite of use_global_pooling."""
    trial = hpoviz.Optimizer("digits", seed=0)._problem.defaults()
    params = best_record(TrialResult(trial_id=0, number=0, params=trial, seed=1, score=0.9), RUN)["hyperparameters"]
    assert params["use_flattening"] is True
    assert CnnConfig.from_dict(params).to_dict() == trial
    opt = hpoviz.Optimizer("digits", trials=1, seed=0, search_space=params)
    opt.compare_with(params)
    opt.warm_start(params)
    assert opt._problem.defaults() == trial
    with pytest.raises(ConfigError, match="are opposites"):
        opt.compare_with({"use_flattening": True, "use_global_pooling": True})
