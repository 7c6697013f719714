"""Searches that measure health and maximise it: real trials in this process and in workers, and what is refused."""

import dataclasses
import json

import keras
import numpy as np
import optuna
import pytest
from keras import layers

import hpoviz
from hpoviz.errors import ConfigError, StoreError
from hpoviz.events import HealthMeasured, TrialFailed, TrialFinished
from hpoviz.health.metric import METRICS
from hpoviz.health.weights import CLASSIC_WEIGHTS, Scoring
from hpoviz.search.sampler import Study

pytestmark = pytest.mark.slow
TINY = {"filters": 8, "num_layers_conv": 1, "dense_units": 16, "num_layers_dense": 1, "batch_size": 64}


class OneOnly(optuna.samplers.RandomSampler):
    """As Optuna's CmaEsSampler: for one objective."""

    def infer_relative_search_space(self, study, trial):
        self._raise_error_if_multi_objective(study)
        return {}


def search(folder, **settings):
    options = {"trials": 3, "seed": 0, "epochs": (5, 6), "search_space": TINY, "backend": "inline"} | settings
    opt = hpoviz.Optimizer("digits", run_dir=folder / "run", **options)
    opt.run()
    return opt


def events(opt, kind):
    return [event for event in opt._log.store.events() if isinstance(event, kind)]


@pytest.fixture(scope="module")
def healthy(tmp_path_factory):
    return search(tmp_path_factory.mktemp("health"), objective="health")


def test_the_score_is_the_weighted_mean(healthy):
    table = healthy.results
    assert (table["state"] == "finished").all()
    overall = sum(CLASSIC_WEIGHTS[name] * table[f"health_{name}"] for name in METRICS)
    np.testing.assert_allclose(table["health"], overall)
    np.testing.assert_allclose(table["score"], 0.7 * table["accuracy"] + 0.3 * overall)
    assert healthy.best_trial.score == table["score"].max()


def test_a_trial_has_the_report_of_its_model(healthy):
    trial = healthy.trials[0]
    report = trial.health
    assert report.overall == pytest.approx(trial.result.health)
    assert {name: metric.value for name, metric in report.metrics.items()} == pytest.approx(trial.result.metrics)
    assert report.coverage == "6/6"
    assert trial.result.metrics["accuracy_consistency"] is not None


def test_looks_are_told_by_events_from_before_training_to_its_end(healthy):
    trial = healthy.trials[0]
    looks = [event for event in events(healthy, HealthMeasured) if event.trial == trial.result.trial_id]
    assert [look.epoch for look in looks] == list(range(len(trial.history) + 1))
    assert {layer["layer"] for layer in looks[0].layers} == {layer["layer"] for layer in looks[-1].layers}
    assert all(layer["gradient_norm"] > 0 for look in looks for layer in look.layers)
    seen = json.loads((healthy.run_dir / "trials" / str(trial.result.trial_id) / "health.json").read_text())
    assert [one["epoch"] for one in seen["snapshots"]] == [look.epoch for look in looks]


def test_what_counts_is_shown(healthy):
    assert "objective: health: 0.7 accuracy + 0.3 health (0.25 neuron utilization" in repr(healthy)
    assert "a score of" in healthy.summary()
    assert "health" in healthy._repr_html_()
    assert f"health {healthy.best_trial.result.health:.2f}" in repr(healthy.best_trial)


def test_a_run_on_disk_knows_its_weights_and_goes_on(tmp_path):
    opt = search(tmp_path, objective="health", weights={"accuracy": 0.5, "health": 0.5, "training_stability": 2})
    again = hpoviz.open_run(opt.run_dir)
    assert again.request.scoring == opt.request.scoring
    assert again.best_trial.score == opt.best_trial.score
    assert again.best_trial.health.overall == pytest.approx(again.best_trial.result.health)
    again.run(more_trials=1)
    row = again.results.iloc[-1]
    assert row["score"] == pytest.approx(0.5 * row["accuracy"] + 0.5 * row["health_training_stability"])


def test_worker_processes_and_this_process_agree(tmp_path, healthy):
    other = search(tmp_path, objective="health", backend="local", workers=1)
    columns = ["score", "accuracy", "health", *(f"health_{name}" for name in METRICS)]
    np.testing.assert_allclose(other.results[columns], healthy.results[columns], atol=2e-3)


def test_health_can_be_left_out(tmp_path):
    opt = search(tmp_path, trials=1, config=hpoviz.OptimizationConfig(health_monitoring_frequency=0))
    assert opt.results["health"].isna().all()
    assert not events(opt, HealthMeasured)
    assert "not measured" in repr(opt)
    with pytest.raises(StoreError, match=r"Trial 0 has no health: it was not measured\."):
        opt.trials[0].health  # noqa: B018
    with pytest.raises(ConfigError, match="no health to compare"):
        opt.pareto_front()


def test_looking_changes_nothing_of_the_training(tmp_path, healthy):
    """The same trials without a look have the same curves."""
    plain = search(tmp_path, config=hpoviz.OptimizationConfig(health_monitoring_frequency=0))
    for one, two in zip(plain.trials, healthy.trials, strict=True):
        assert one.params == two.params
        np.testing.assert_allclose(one.history["val_loss"], two.history["val_loss"], rtol=1e-4)


def test_the_pareto_front(tmp_path):
    opt = search(tmp_path, trials=6, objective="pareto", search_space={**TINY, "filters": (4, 16)})
    ended = events(opt, TrialFinished)
    assert all(len(event.objectives) == 3 for event in ended)
    assert opt.results["score"].equals(opt.results["accuracy"])
    front = opt.pareto_front()
    assert list(front["accuracy"]) == sorted(front["accuracy"], reverse=True)
    best = opt.results
    for _, row in front.iterrows():
        better = (
            (best["accuracy"] >= row["accuracy"])
            & (best["health"] >= row["health"])
            & (best["parameters"] <= row["parameters"])
        )
        same = (best[["accuracy", "health", "parameters"]] == row[["accuracy", "health", "parameters"]]).all(axis=1)
        assert (better & ~same).sum() == 0
    again = hpoviz.open_run(opt.run_dir)
    again.run(more_trials=1)
    assert len(again.results) == 7


def test_size_is_compared_with_the_smallest_that_is_as_good(healthy):
    table, front = healthy.results, healthy.pareto_front()
    best, rows = table["accuracy"].max(), len(healthy._problem.split.y_val)
    near = table[table["accuracy"] >= best - np.sqrt(best * (1 - best) / rows)]
    smallest = near["parameters"].min()
    expected = np.minimum(1, np.log(smallest) / np.log(front["parameters"].astype(float)))
    np.testing.assert_allclose(front["size_efficiency"], expected)


def test_the_healthiest_within_the_error_is_selected(tmp_path):
    opt = search(tmp_path, trials=4, select="one_se_healthiest", search_space={**TINY, "learning_rate": (1e-3, 2e-2)})
    table = opt.results
    best, rows = table["accuracy"].max(), len(opt._problem.split.y_val)
    near = table[table["accuracy"] >= best - np.sqrt(best * (1 - best) / rows)]
    assert opt.best_trial.result.health == near["health"].max()
    assert hpoviz.open_run(opt.run_dir).best_trial.number == opt.best_trial.number
    assert "one se healthiest" in repr(opt)


def dead(params, data):
    model = keras.Sequential(
        [
            keras.Input(data.input_shape),
            layers.Flatten(),
            layers.Dense(
                8,
                "relu",
                kernel_initializer="zeros",
                bias_initializer=keras.initializers.Constant(-1.0),
                name="hidden",
            ),
            layers.Dense(data.num_classes, "softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def test_a_hopeless_trial_is_given_up(tmp_path):
    opt = search(tmp_path, trials=1, epochs=20, build_model=dead, search_space={"units": (8, 9)})
    (failed,) = events(opt, TrialFailed)
    assert failed.kind == "hopeless"
    assert "no unit of hidden changes from sample to sample" in failed.reason
    assert "given up after epoch 3" in failed.reason
    assert len(opt.trials[0].history) == 3


def test_a_metric_that_cannot_be_known_fails_the_trial_by_name(tmp_path):
    def flat(params, data):
        model = keras.Sequential(
            [keras.Input(data.input_shape), layers.Flatten(), layers.Dense(data.num_classes, "softmax")]
        )
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model

    opt = search(tmp_path, trials=1, epochs=5, objective="health", build_model=flat, search_space={"units": (8, 9)})
    (trial,) = opt.trials
    assert trial.state == "failed"
    assert "neuron_utilization: The model has no hidden layer" in trial.reason
    accuracy = search(tmp_path / "other", trials=1, epochs=5, build_model=flat, search_space={"units": (8, 9)})
    assert accuracy.trials[0].state == "finished"
    assert accuracy.trials[0].health.neuron_utilization.value is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"objective": "helth"}, r"objective must be one of 'accuracy', 'health', 'pareto'. Got 'helth'."),
        ({"objective": "health", "weights": {"accurcy": 1}}, r"no health metric 'accurcy'. Did you mean 'accuracy'"),
        ({"objective": "health", "weights": {"health": -1}}, r"weight of health must be a number of at least 0"),
        ({"objective": "health", "weights": {"accuracy": 0, "health": 0}}, r"cannot both have weight 0"),
        ({"objective": "health", "weights": 3}, r"weights must be a dictionary"),
        ({"weights": {"accuracy": 1}}, r"weights belong to objective='health' or 'pareto'"),
        ({"objective": "health", "epochs": (2, 6)}, r"needs trials of at least 5 epochs.* Got epochs from 2 on"),
        ({"objective": "health", "config": hpoviz.OptimizationConfig(health_monitoring_frequency=0)}, r"at least 1"),
        ({"objective": "health", "config": hpoviz.OptimizationConfig(early_stopping_patience=2)}, r"at least 4"),
        ({"select": "worst"}, r"select must be one of 'best', 'one_se_healthiest'. Got 'worst'."),
        (
            {"select": "one_se_healthiest", "config": hpoviz.OptimizationConfig(keep_models="best")},
            r"keep_models must be 'all'",
        ),
        ({"objective": "health", "validation_fraction": 0.05}, r"Health is known from 100 validation samples on"),
    ],
)
def test_what_is_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        hpoviz.Optimizer("digits", **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"objective": "health", "weights": {"gradient_health": 0}}, r"At least one health metric must have a weight"),
        (
            {"objective": "pareto", "weights": {"accuracy": 1}},
            r"nothing is weighed against accuracy: leave accuracy out",
        ),
        (
            {"objective": "pareto", "config": hpoviz.OptimizationConfig(keep_models="best")},
            r"keep_models must be 'all'",
        ),
        ({"objective": "pareto", "sampler": OneOnly()}, r"OneOnly cannot search for several objectives"),
    ],
)
def test_what_several_objectives_refuse(settings, message):
    with pytest.raises(ConfigError, match=message):
        hpoviz.Optimizer("digits", **settings)


def test_short_trials_have_health_where_stability_does_not_count():
    weights = {"neuron_utilization": 1, "gradient_health": 1}
    opt = hpoviz.Optimizer("digits", objective="health", weights=weights, epochs=2)
    assert opt.request.scoring.metrics["training_stability"] == 0


def test_what_matters_is_the_same_for_one_objective_and_for_several():
    found = []
    for several in (False, True):
        study = Study(sampler="random", pruner=None, seed=0, startup_trials=5, several=several)
        chance = np.random.default_rng(0)
        for _ in range(80):
            trial = study._study.ask()
            good, bad = trial.suggest_float("good", 0, 1), trial.suggest_float("bad", 0, 1)
            score = float(good > 0.8) + 0.01 * chance.random() - float(bad > 0.95) * 0.02
            study._study.tell(trial, [score, 0.5, 0.5] if several else score)
        found.append(study.importances())
    assert found[0] == pytest.approx(found[1])
    assert found[0]["good"] > found[0]["bad"]


def test_scoring_in_words():
    assert Scoring().describe() == "validation accuracy"
    assert Scoring.of("pareto", None).describe().startswith("validation accuracy, health (0.25 neuron utilization")
    assert Scoring(**json.loads(json.dumps(dataclasses.asdict(Scoring.of("health", None))))).health == 0.3
