"""A configuration that was trained is not trained again."""

import pytest

import hpoviz
from hpoviz.events import ProposalRepeated, TrialStarted, event_from_json
from hpoviz.store.run_state import RunState

pytestmark = pytest.mark.slow

FIXED = {
    "num_layers_conv": 1,
    "num_layers_dense": 0,
    "kernel_size": 3,
    "pooling": "max",
    "filters": 4,
    "use_batch_normalization": False,
    "dropout_conv": 0.0,
    "use_global_pooling": False,
    "activation": "relu",
    "kernel_initializer": "he_normal",
    "optimizer": "adam",
    "learning_rate": 0.01,
    "learning_rate_schedule": "constant",
    "batch_size": 64,
    "l2": 0.0,
    "epochs": 1,
}


def events_of(run_dir):
    return list(map(event_from_json, (run_dir / "events.jsonl").read_text().splitlines()))


@pytest.fixture
def search(stripes, run_dir):
    def make(trials, **choices):
        return hpoviz.Optimizer(
            stripes,
            trials=trials,
            seed=0,
            workers=1,
            pruner=None,
            run_dir=run_dir,
            search_space={**FIXED, **choices},
        )

    return make


def test_a_space_of_four_configurations_is_searched_once_and_the_end_says_so(search, run_dir):
    opt = search(10, activation=["relu", "tanh"], filters=[4, 6])
    opt.run()
    assert opt.status().phase == "completed: nothing new in the search space (100 proposals were repetitions)"
    tried = {(params["activation"], params["filters"]) for params in (trial.params for trial in opt.trials)}
    assert len(tried) == len(opt.trials) == 4
    repeated = [event for event in events_of(run_dir) if isinstance(event, ProposalRepeated)]
    assert len(repeated) >= 100
    assert {event.of for event in repeated} <= {trial.result.trial_id for trial in opt.trials}


def test_a_reopened_run_goes_on_after_repetitions(search, stripes, run_dir):
    search(3, activation=["relu", "tanh"], filters=[4, 6], batch_size=[32, 64]).run()
    opt = hpoviz.open_run(run_dir, data=stripes)
    opt.run(more_trials=5)
    assert len(opt.trials) == 8
    assert len({str(trial.params) for trial in opt.trials}) == 8
    asked = [event for event in events_of(run_dir) if isinstance(event, TrialStarted | ProposalRepeated)]
    ids = [event.trial if isinstance(event, TrialStarted) else event.proposal for event in asked]
    assert ids == list(range(len(ids)))
    assert any(isinstance(event, ProposalRepeated) for event in asked)
    again = hpoviz.open_run(run_dir, data=stripes)
    again.run(more_trials=1)
    assert len(again.trials) == 8
    assert again.status().phase.startswith("completed: nothing new")


def test_the_defaults_are_not_trained_after_a_baseline_that_equals_them(search, run_dir):
    opt = search(2, activation=["relu", "tanh"])
    opt.compare_with({})
    opt.run()
    assert sorted(trial.result.origin for trial in opt.trials) == ["baseline", "search"]
    assert not RunState(events_of(run_dir)).planned


def test_a_baseline_is_trained_though_the_search_has_had_it(search):
    opt = search(1, activation=["relu", "tanh"])
    opt.run()
    opt.compare_with(opt.best_params)
    opt.run(more_trials=1)
    assert [trial.result.origin for trial in opt.trials] == ["defaults", "baseline"]
    assert opt.trials[0].params == opt.trials[1].params
