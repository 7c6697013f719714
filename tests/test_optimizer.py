"""The main job as a user does it, with real worker processes."""

import json
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import optuna
import pytest
import yaml

import hpoviz
from hpoviz.errors import ConfigError, DatasetError, HpovizError, StoreError
from hpoviz.events import TestEvaluated, event_from_json
from tests.conftest import SMALL_SPACE


@pytest.fixture(scope="module")
def search(stripes, tmp_path_factory):
    """A finished search of four trials on two workers."""
    opt = hpoviz.Optimizer(
        stripes,
        trials=4,
        epochs=3,
        seed=1,
        workers=2,
        search_space=SMALL_SPACE,
        run_dir=tmp_path_factory.mktemp("runs") / "search",
    )
    opt.run()
    return opt


def test_a_search_ends_with_a_trained_model(search):
    assert repr(search.status()).startswith("completed: 4 finished of 4; best score")
    assert search.best_trial.accuracy > 0.95
    assert search.results["score"].max() == search.best_trial.score


def test_results_have_a_row_a_trial_and_every_parameter(search):
    frame = search.results
    assert frame["number"].tolist() == [0, 1, 2, 3]
    assert set(frame["state"]) == {"finished"}
    assert {f"params_{name}" for name in hpoviz.CnnConfig.parameters()} <= set(frame.columns)
    assert (frame["params_filters"] == 8).all()
    assert frame["params_learning_rate"].between(1e-3, 1e-2).all()


def test_trials_are_indexed_by_number(search):
    assert [trial.number for trial in search.trials] == [0, 1, 2, 3]
    assert search.trials[-1].number == 3
    with pytest.raises(IndexError, match="There is no trial 9: numbers 0 to 3 have ended"):
        search.trials[9]


def test_history_has_a_row_an_epoch_and_equals_the_file(search):
    history = search.best_trial.history
    assert history.index.tolist() == [1, 2, 3]
    text = (search.run_dir / "trials" / str(search.best_trial.result.trial_id) / "history.csv").read_text()
    assert text.splitlines()[0] == "epoch,loss,accuracy,val_loss,val_accuracy,learning_rate,seconds"
    assert [float(line.split(",")[4]) for line in text.splitlines()[1:]] == history["val_accuracy"].tolist()


def test_the_saved_file_loads_in_plain_keras_and_scores_what_the_table_says(search, stripes, tmp_path):
    path = search.save_model(tmp_path / "best.keras")
    np.savez(tmp_path / "val.npz", x=search._problem.split.x_val, y=search._problem.split.y_val)
    code = (
        "import sys, keras, numpy as np\n"
        "data = np.load(sys.argv[2])\n"
        "model = keras.saving.load_model(sys.argv[1])\n"
        "print('accuracy', (model.predict(data['x'], verbose=0).argmax(1) == data['y']).mean())\n"
        "assert 'hpoviz' not in sys.modules\n"
    )
    out = subprocess.run(
        [sys.executable, "-c", code, path, tmp_path / "val.npz"], capture_output=True, text=True, check=True
    )
    assert float(out.stdout.split()[-1]) == pytest.approx(search.best_trial.accuracy, abs=1e-6)
    assert (tmp_path / "best_hyperparameters.yaml").is_file()


def test_the_yaml_beside_a_model_is_named_after_it_so_that_none_is_lost(search, tmp_path):
    (tmp_path / "best_hyperparameters.yaml").write_text("another run's")
    search.save_model(tmp_path / "second.keras")
    assert (tmp_path / "best_hyperparameters.yaml").read_text() == "another run's"
    record = yaml.safe_load((tmp_path / "second_hyperparameters.yaml").read_text())
    assert record["trial"]["number"] == search.best_trial.number
    assert record == yaml.safe_load((search.run_dir / "best_hyperparameters.yaml").read_text())


def test_best_hyperparameters_say_all_that_is_needed(search):
    record = yaml.safe_load((search.run_dir / "best_hyperparameters.yaml").read_text())
    names = list(record["hyperparameters"])
    assert names[names.index("use_global_pooling") + 1] == "use_flattening"
    assert record["hyperparameters"]["use_flattening"] is not record["hyperparameters"]["use_global_pooling"]
    assert set(hpoviz.CnnConfig.parameters()) <= set(names)
    assert record["scores"]["validation_accuracy"] == search.best_trial.accuracy
    assert record["data"]["sha256"] == search.data.sha256
    assert (record["seed"], record["objective"], record["weights"]) == (1, "accuracy", {"accuracy": 1.0})
    assert record["execution"]["backend"] == "local, 2 worker processes"
    assert record["versions"]["keras"] == keras.__version__


def test_to_code_builds_the_same_model_in_a_fresh_interpreter_without_hpoviz(search, tmp_path):
    (tmp_path / "best_model.py").write_text(search.to_code())
    code = (
        "import sys, json; sys.modules['hpoviz'] = None; sys.path.insert(0, sys.argv[1])\n"
        "import best_model; model = best_model.build_model()\n"
        "print(json.dumps([model.count_params(), [[type(l).__name__, l.name] for l in model.layers]]))"
    )
    out = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True)
    count, layers = json.loads(out.stdout.splitlines()[-1])
    model = search.best_model
    assert count == model.count_params()
    assert layers == [[type(layer).__name__, layer.name] for layer in model.layers]


def test_the_source_trains_too(search, stripes):
    namespace = {"__name__": "best_model"}
    exec(search.to_code(), namespace)
    split = search._problem.split
    model = namespace["build_model"]()
    history = namespace["train"](model, split.x_train, split.y_train, split.x_val, split.y_val)
    assert history.history["loss"][-1] < history.history["loss"][0]


def test_best_model_is_compiled_and_agrees_with_evaluate(search, stripes):
    score = search.evaluate()
    loss, accuracy = search.best_model.evaluate(stripes.x_test, stripes.y_test, verbose=0)
    assert score.accuracy == pytest.approx(accuracy, abs=1e-6)
    assert score.loss == pytest.approx(loss, abs=1e-4)
    again = search.evaluate()
    assert again.looks == score.looks + 1
    assert "the first one is the honest one" in repr(again)
    events = [event_from_json(line) for line in (search.run_dir / "events.jsonl").read_text().splitlines()]
    assert sum(isinstance(event, TestEvaluated) for event in events) == again.looks


def test_summary_is_three_sentences_from_recorded_numbers(search):
    won, why, then = search.summary().splitlines()
    assert won.startswith(
        f"Trial {search.best_trial.number} won with a validation accuracy of {search.best_trial.score:.4f}"
    )
    assert "4 finished trials are too few" in why
    assert then.startswith("Next: ")


def test_no_model_file_holds_optimizer_state(search):
    model = keras.saving.load_model(search.best_trial.model_path)
    assert getattr(model, "optimizer", None) is None


def test_the_log_is_readable_and_the_shared_data_is_gone(search):
    log = (search.run_dir / "hpoviz.log").read_text()
    assert "RunStarted: trials=4, slots=2" in log
    assert "TrialFinished" in log
    assert not (search.run_dir / "data").exists()


def test_more_trials_go_on_in_the_same_run(stripes, run_dir, capsys):
    opt = hpoviz.Optimizer(stripes, trials=1, epochs=1, seed=0, workers=1, search_space=SMALL_SPACE, run_dir=run_dir)
    opt.start()
    with pytest.raises(StoreError, match=r"No trial has finished yet, .*: the search is running \(.+\)\. Call wait"):
        _ = opt.best_model
    opt.wait()
    opt.run(more_trials=1)
    assert opt.results["number"].tolist() == [0, 1]
    assert opt.status().phase == "completed"
    assert "No trial is left" not in capsys.readouterr().out
    opt.run()
    assert "No trial is left of 2: run(more_trials=10) goes on with ten more." in capsys.readouterr().out
    assert opt.results["number"].tolist() == [0, 1]


def test_equal_seeds_give_equal_results_on_one_worker(stripes, tmp_path):
    frames = []
    for name in ("a", "b"):
        opt = hpoviz.Optimizer(
            stripes, trials=3, epochs=2, seed=5, workers=1, search_space=SMALL_SPACE, run_dir=tmp_path / name
        )
        opt.run()
        frames.append(opt.results.drop(columns="seconds"))
    assert frames[0].equals(frames[1])


def test_trials_that_go_wrong_are_rows_with_reasons_and_the_study_goes_on(stripes, run_dir):
    calls = iter(range(100))

    def space(trial):
        kind = next(calls)  # 0 is the trial run before the search
        base = {name: value for name, value in SMALL_SPACE.items() if name != "learning_rate"} | {"epochs": 2}
        return base | {
            1: {"optimizer": "sgd", "learning_rate": 1e5, "activation": "elu", "use_batch_normalization": False},
            2: {"kernel_size": 7, "num_layers_conv": 2},
            3: {"filters": 64, "num_layers_conv": 3, "pooling": "none"},
            4: {"filters": 4, "epochs": 100_000},
        }.get(kind, {"learning_rate": 0.005})

    opt = hpoviz.Optimizer(
        stripes,
        trials=5,
        seed=0,
        workers=1,
        pruner=None,
        search_space=space,
        max_parameters=20_000,
        max_trial_minutes=0.1,
        run_dir=run_dir,
        config=hpoviz.OptimizationConfig(early_stopping_patience=None),
    )
    opt.run()
    frame = opt.results.set_index("number")
    assert frame["state"].tolist() == ["failed", "failed", "infeasible", "infeasible", "finished"]
    assert "diverged" in frame["reason"][0]
    assert "feature map" in frame["reason"][1]
    assert "more than max_parameters=20,000" in frame["reason"][2]
    assert "max_trial_minutes=0.1" in frame["reason"][3]
    assert opt.best_trial.number == 4
    with pytest.raises(StoreError, match="Trial 0 has no model: it is failed"):
        _ = opt.trials[0].model


def test_a_space_function_that_fails_later_is_a_failed_row(stripes, run_dir):
    calls = iter(range(100))

    def space(trial):
        if next(calls) == 1:
            raise RuntimeError("no idea")
        return {**SMALL_SPACE, "epochs": 1, "learning_rate": 0.003}

    opt = hpoviz.Optimizer(stripes, trials=2, seed=0, workers=1, search_space=space, run_dir=run_dir)
    opt.run()
    assert opt.results["state"].tolist() == ["failed", "finished"]
    assert "RuntimeError: no idea" in opt.trials[0].reason


def test_stop_in_mid_epoch_comes_back_and_keeps_what_has_ended(stripes, run_dir):
    def space(trial):
        return {**SMALL_SPACE, "learning_rate": 0.003, "epochs": 1 if trial.number == 0 else 100_000}

    opt = hpoviz.Optimizer(
        stripes,
        trials=3,
        seed=0,
        workers=1,
        pruner=None,
        search_space=space,
        run_dir=run_dir,
        config=hpoviz.OptimizationConfig(early_stopping_patience=None),
    )
    opt.start()
    give_up = time.monotonic() + 60
    while opt.status().finished < 1 or not opt.status().running:
        assert time.monotonic() < give_up
        time.sleep(0.1)
    time.sleep(1)
    with pytest.raises(ConfigError, match="running already"):
        opt.start()
    assert opt.wait(0.1) is False
    began = time.monotonic()
    opt.stop()
    assert time.monotonic() - began < 6  # aim 3 s; a busy machine is not a defect
    assert opt.status().phase == "stopped"
    assert (opt.status().finished, opt.status().cancelled) == (1, 1)
    assert opt.best_trial.model_path.is_file()


def test_timeout_ends_a_search_with_what_it_has(stripes, run_dir):
    config = hpoviz.OptimizationConfig(timeout_hours=8 / 3600, early_stopping_patience=None)
    opt = hpoviz.Optimizer(
        stripes, trials=1, epochs=100_000, seed=0, workers=1, search_space=SMALL_SPACE, run_dir=run_dir, config=config
    )
    opt.run()
    assert opt.status().phase.startswith("timeout_hours=")
    assert opt.status().cancelled == 1


def test_keep_models_best_keeps_one_file(stripes, run_dir):
    config = hpoviz.OptimizationConfig(keep_models="best")
    opt = hpoviz.Optimizer(
        stripes, trials=3, epochs=1, seed=0, workers=1, search_space=SMALL_SPACE, run_dir=run_dir, config=config
    )
    opt.run()
    assert [path.parent.name for path in run_dir.glob("trials/*/model.keras")] == [str(opt.best_trial.result.trial_id)]
    worse = next(trial for trial in opt.trials if trial.number != opt.best_trial.number)
    with pytest.raises(StoreError, match="keep_models='best'"):
        _ = worse.model


def test_inline_runs_the_same_trials(stripes, tmp_path):
    losses = []
    for backend in ("inline", "local"):
        opt = hpoviz.Optimizer(
            stripes,
            trials=1,
            epochs=1,
            seed=2,
            workers=1,
            backend=backend,
            search_space=SMALL_SPACE,
            run_dir=tmp_path / backend,
        )
        opt.run()
        losses.append(opt.best_trial.result.loss)
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_samplers_and_pruners_of_the_users_own(stripes, run_dir):
    opt = hpoviz.Optimizer(
        stripes,
        trials=2,
        epochs=2,
        workers=1,
        search_space=SMALL_SPACE,
        sampler=optuna.samplers.QMCSampler(seed=0),
        pruner=optuna.pruners.ThresholdPruner(lower=1.01),
        run_dir=run_dir,
        config=hpoviz.OptimizationConfig(startup_trials=1),
    )
    opt.run()
    assert opt.results["state"].tolist()[0] in ("finished", "pruned")
    assert opt.status().phase == "completed"


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"data": "digit"}, DatasetError, "Unknown data set 'digit'. Did you mean 'digits'"),
        ({"data": 3}, ConfigError, "data must be an hpoviz.Dataset or the name of one"),
        ({"trials": 0}, ConfigError, "trials must be a whole number, at least 1. Got 0"),
        ({"trials": "many"}, ConfigError, "Got 'many'"),
        ({"trails": 5}, ConfigError, "no setting 'trails'. Did you mean 'trials'"),
        ({"objective": "accuarcy"}, ConfigError, "Did you mean 'accuracy'"),
        ({"search_space": {"fliters": 8}}, ConfigError, "unknown parameter 'fliters'. Did you mean 'filters'"),
        ({"search_space": {"filters": (64, 8)}}, ConfigError, "upside down"),
        ({"search_space": {"filters": "many"}}, ConfigError, "filters must be a whole number from 1 to 4096"),
        ({"search_space": 7}, ConfigError, "search_space must be a dictionary or a function"),
        ({"search_space": lambda trial: 3}, ConfigError, "must return a dictionary"),
        ({"search_space": lambda trial: 1 / 0}, ConfigError, "ZeroDivisionError"),
        ({"search_space": {"num_layers_conv": 4, "kernel_size": 7}}, ConfigError, "must fit the 4×4 feature map"),
        ({"epochs": (9, 3)}, ConfigError, "epochs is upside down"),
        ({"epochs": 3, "search_space": {"epochs": 4}}, ConfigError, "epochs is given twice"),
        ({"architecture": "cnnn"}, ConfigError, "Unknown architecture 'cnnn'. Did you mean 'cnn'"),
        ({"backend": "locl"}, HpovizError, "Unknown backend 'locl'. Did you mean 'local'"),
        ({"sampler": "tpee"}, ConfigError, "Did you mean 'tpe'"),
        ({"pruner": "halve"}, ConfigError, "pruner must be 'halving'"),
        ({"run_dir": 5}, ConfigError, "run_dir must be a path"),
    ],
)
def test_bad_input_is_a_clear_error_and_creates_nothing(settings, error, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error) as caught:
        hpoviz.Optimizer(**settings)
    assert message in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_run_directory_is_refused(tmp_path):
    with pytest.raises(StoreError, match="exists already"):
        hpoviz.Optimizer(run_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_run_directory_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="is no writable directory"):
        hpoviz.Optimizer(run_dir=tmp_path / "file" / "run")


def test_nothing_is_on_disk_before_the_start(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    opt = hpoviz.Optimizer()
    assert "not started" in repr(opt)
    assert opt.results.empty
    with pytest.raises(StoreError, match=r"No trial has finished, .*: the search was not started. Call run"):
        _ = opt.best_model
    assert list(tmp_path.iterdir()) == []


def test_shift_tab_shows_the_settings():
    import inspect

    names = list(inspect.signature(hpoviz.Optimizer).parameters)
    assert names[:4] == ["data", "trials", "objective", "weights"]


def test_a_failing_disk_is_an_error_and_leaves_what_was_written(stripes, run_dir):
    opt = hpoviz.Optimizer(stripes, trials=1, epochs=1, seed=0, workers=1, search_space=SMALL_SPACE, run_dir=run_dir)
    opt.run()
    opt.start(more_trials=1)
    with Path("/dev/full").open("w") as full_disk:
        with opt._log.store._lock:  # between two events
            opt._log.store._files.events = full_disk  # every write fails from here on
        with pytest.raises(StoreError, match=r"cannot be written: .*No space left"):
            opt.wait()
    assert opt.status().phase.startswith("failed: ")
    assert (run_dir / "events.jsonl").read_text().count("TrialFinished") == 1
    again = hpoviz.open_run(run_dir, data=stripes)
    assert again.status().finished == 1
    assert again.best_trial.model_path.is_file()


def test_a_disk_that_is_full_at_the_start_is_an_error_of_start(stripes, run_dir):
    opt = hpoviz.Optimizer(stripes, trials=1, epochs=1, seed=0, workers=1, search_space=SMALL_SPACE, run_dir=run_dir)
    opt.run()
    events = (run_dir / "events.jsonl").read_text()
    (run_dir / "events.jsonl").rename(run_dir / "kept.jsonl")
    (run_dir / "events.jsonl").symlink_to("/dev/full")
    opt._log.store._known = 0
    with pytest.raises(StoreError, match=r"cannot be written: .*No space left"):
        opt.start(more_trials=1)
    assert opt.status().phase == "completed"
    assert opt.status().wanted == 1
    assert opt._log.store.writer() is None
    assert (run_dir / "kept.jsonl").read_text() == events
