"""Trials whose parameters are known before the search proposes any: baselines, warm starts, the defaults."""

import optuna
import pytest

import hpoviz
from hpoviz.errors import ConfigError, StoreError
from hpoviz.results import BASELINE, DEFAULTS, SEARCH, WARM_START
from tests.conftest import SMALL_SPACE

pytestmark = pytest.mark.slow

SETTINGS = {"epochs": 1, "seed": 0, "workers": 1, "search_space": SMALL_SPACE, "pruner": None}


@pytest.fixture(scope="module")
def earlier(stripes, tmp_path_factory):
    """A finished run of three trials."""
    opt = hpoviz.Optimizer(stripes, trials=3, run_dir=tmp_path_factory.mktemp("runs") / "earlier", **SETTINGS)
    opt.run()
    return opt


def test_a_baseline_comes_first_exactly_as_given_and_is_marked_everywhere(stripes, run_dir, capsys):
    opt = hpoviz.Optimizer(stripes, trials=3, run_dir=run_dir, **SETTINGS)
    opt.warm_start({"learning_rate": 0.004})
    opt.compare_with({"learning_rate": 0.1, "filters": 4, "activation": "tanh"})  # outside of the space
    assert not run_dir.exists()
    opt.run()
    assert opt.results["origin"].tolist() == [BASELINE, WARM_START, DEFAULTS]
    baseline = opt.trials[0]
    assert (baseline.params["learning_rate"], baseline.params["filters"]) == (0.1, 4)
    assert baseline.params["epochs"] == 1  # as all trials of this search
    assert baseline.params["batch_size"] == 64  # what the space has nearest to the default
    assert opt.trials[1].params["learning_rate"] == 0.004
    shown = capsys.readouterr().out
    assert "trial 0 (baseline): finished" in shown
    assert "finished (baseline)" in shown
    assert "baseline" in opt.summary()
    again = hpoviz.open_run(run_dir, data=stripes)
    assert again.results.equals(opt.results)
    rebuilt = again._study_runner()._study._study.trials
    assert [bool(trial.params) for trial in rebuilt] == [False, True, True]  # the sampler knows no such point


def test_the_sampler_learns_from_a_baseline_inside_the_space(stripes, run_dir):
    opt = hpoviz.Optimizer(stripes, trials=1, run_dir=run_dir, **SETTINGS)
    opt.compare_with({"learning_rate": 0.005})
    opt.run()
    (trial,) = opt._runner._study._study.trials
    assert trial.params["learning_rate"] == 0.005
    assert trial.value == opt.best_trial.score


def test_a_baseline_outside_of_the_space_does_not_hide_what_mattered(stripes, run_dir):
    opt = hpoviz.Optimizer(stripes, trials=6, run_dir=run_dir, **SETTINGS)
    opt.compare_with({"learning_rate": 0.1})
    opt.run()
    assert set(opt._importances()) >= {"learning_rate"}


def test_a_baseline_is_never_pruned(stripes, run_dir):
    settings = SETTINGS | {"epochs": 4, "pruner": optuna.pruners.ThresholdPruner(lower=2.0)}  # prunes whatever comes
    config = hpoviz.OptimizationConfig(startup_trials=1)
    opt = hpoviz.Optimizer(stripes, trials=3, run_dir=run_dir, config=config, **settings)
    opt.compare_with({"learning_rate": 0.004})
    opt.compare_with({"learning_rate": 0.1})
    opt.run()
    assert opt.results["state"].tolist() == ["finished", "finished", "pruned"]


def test_a_plan_survives_a_stop(stripes, run_dir):
    opt = hpoviz.Optimizer(stripes, trials=1, run_dir=run_dir, **SETTINGS)
    opt.compare_with({"filters": 4})
    opt.warm_start({"learning_rate": 0.002})
    opt.run()
    again = hpoviz.open_run(run_dir, data=stripes)
    again.compare_with({"filters": 5})
    again.run(more_trials=4)
    assert again.results["origin"].tolist() == [BASELINE, WARM_START, DEFAULTS, BASELINE, SEARCH]
    assert again.results["params_filters"].tolist() == [4, 8, 8, 5, 8]


@pytest.mark.parametrize("as_folder", [True, False])
def test_a_warm_start_takes_the_best_trials_of_an_earlier_run(stripes, run_dir, earlier, as_folder):
    best = earlier.results.sort_values("score", ascending=False, kind="stable").head(2)
    opt = hpoviz.Optimizer(stripes, trials=2, run_dir=run_dir, **SETTINGS)
    opt.warm_start(str(earlier.run_dir) if as_folder else earlier, top=2)
    opt.run()
    assert opt.results["origin"].tolist() == [WARM_START, WARM_START]
    assert opt.results["params_learning_rate"].tolist() == best["params_learning_rate"].tolist()


def test_a_warm_start_is_moved_into_the_space(stripes, run_dir):
    opt = hpoviz.Optimizer(stripes, trials=1, run_dir=run_dir, **SETTINGS)
    opt.warm_start({"learning_rate": 0.5, "filters": 64})
    opt.run()
    assert (opt.best_params["learning_rate"], opt.best_params["filters"]) == (1e-2, 8)


def test_a_function_is_asked_with_the_values_of_a_warm_start(stripes, run_dir):
    def space(trial):
        rate = trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True)
        return SMALL_SPACE | {"learning_rate": rate, "epochs": 1}

    opt = hpoviz.Optimizer(stripes, trials=2, run_dir=run_dir, seed=0, workers=1, search_space=space)
    opt.warm_start({"learning_rate": 0.0123})
    opt.compare_with({"learning_rate": 0.3, "filters": 4})
    opt.run()
    assert opt.results["params_learning_rate"].tolist() == [0.3, 0.0123]
    assert opt.results["params_filters"].tolist() == [4, 8]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"filter": 8}, "CnnConfig has no parameter 'filter'. Did you mean 'filters'?"),
        ({"filters": -1}, "filters must be a whole number from 1"),
        ({"kernel_size": 7, "num_layers_conv": 8}, "These parameters make no model for this data"),
        (["filters"], "params must be a dictionary of parameters"),
    ],
)
def test_wrong_parameters_of_a_baseline_are_refused(stripes, run_dir, params, message):
    opt = hpoviz.Optimizer(stripes, run_dir=run_dir, **SETTINGS)
    with pytest.raises(ConfigError) as refused:
        opt.compare_with(params)
    assert message in str(refused.value)


def test_a_wrong_source_of_a_warm_start_is_refused(stripes, run_dir, earlier, tmp_path):
    opt = hpoviz.Optimizer(stripes, run_dir=run_dir, **SETTINGS)
    with pytest.raises(ConfigError, match=r"top must be a whole number, at least 1. Got 0"):
        opt.warm_start(earlier, top=0)
    with pytest.raises(ConfigError, match=r"source must be parameters, an Optimizer or the folder of a run. Got 3"):
        opt.warm_start(3)
    with pytest.raises(StoreError, match="is no run of hpoviz"):
        opt.warm_start(tmp_path / "nothing")
    with pytest.raises(ConfigError, match="has no finished trial"):
        opt.warm_start(hpoviz.Optimizer(stripes, **SETTINGS))
    texts = hpoviz.Optimizer(hpoviz.Dataset.from_arrays(["good day", "bad luck"] * 10, [0, 1] * 10))
    with pytest.raises(ConfigError, match="searched the architecture 'cnn', this one 'lstm'"):
        texts.warm_start(earlier)
