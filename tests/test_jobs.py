"""Cross-validation and final training: jobs on the search's own backend."""

import shutil
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import hpoviz
from hpoviz.errors import ConfigError, DatasetError, StoreError
from tests.conftest import SMALL_SPACE

pytestmark = pytest.mark.slow

SETTINGS = {"epochs": 3, "seed": 0, "workers": 2, "search_space": SMALL_SPACE, "pruner": None}


@pytest.fixture(scope="module")
def searched(stripes, tmp_path_factory):
    """The folder of a search of three trials."""
    folder = tmp_path_factory.mktemp("runs") / "searched"
    hpoviz.Optimizer(stripes, trials=3, run_dir=folder, **SETTINGS).run()
    return folder


@pytest.fixture
def opt(searched, stripes, tmp_path):
    """A reopened copy of that search."""
    shutil.copytree(searched, tmp_path / "copy")
    return hpoviz.open_run(tmp_path / "copy", data=stripes)


def test_cross_validation_gives_every_fold_of_the_best_trials(opt, stripes, capsys):
    result = opt.cross_validate(top=2, folds=3)
    best = opt.results.sort_values("score", ascending=False, kind="stable")["number"].tolist()[:2]
    table = result.table.set_index("number")
    assert set(table.index) == set(best)
    folds = table[["fold_1", "fold_2", "fold_3"]]
    assert folds.notna().all(axis=None)
    assert table["mean"].tolist() == pytest.approx(folds.mean(axis=1).tolist())
    assert table["std"].tolist() == pytest.approx(folds.std(axis=1, ddof=1).tolist())
    assert table["mean"].is_monotonic_decreasing
    assert table.loc[best[0], "searched"] == opt.best_trial.accuracy
    assert result.reason == "completed"
    assert f"trial {best[0]}: {table.loc[best[0], 'mean']:.4f} ± " in repr(result)
    assert "<table>" in result._repr_html_()
    shown = capsys.readouterr().out
    assert f"[6/6] trial {best[1]}, fold " in shown
    assert not list(opt.run_dir.rglob("jobs/**/model.keras"))  # nobody asks for the models of folds
    assert len(list(opt.run_dir.rglob("jobs/**/history.csv"))) == 6


def test_a_fold_is_what_a_plain_training_on_it_gives(opt, stripes):
    """The accuracy of fold 1 is that of the same parameters and seed on that fold, trained by themselves."""
    import keras

    from hpoviz.models.cnn import CnnConfig
    from hpoviz.running.trial_runner import trial_seed

    result = opt.cross_validate(top=1, folds=2)
    best = opt.best_trial.result
    split = stripes.folds(2, opt.seed)[0]()
    config = CnnConfig.from_dict(best.params)
    keras.utils.set_random_seed(trial_seed(opt.seed, best.trial_id, 1))
    model = config.build(split.info)
    config.compile(model)
    fitted = model.fit(
        split.x_train,
        split.y_train,
        validation_data=(split.x_val, split.y_val),
        batch_size=config.batch_size,
        epochs=config.epochs,
        verbose=0,
    )
    assert result.table["fold_1"][0] == pytest.approx(max(fitted.history["val_accuracy"]), abs=0.02)


def test_jobs_leave_the_search_as_it_was_and_survive_reopening(opt, stripes):
    results, summary = opt.results, opt.summary()
    opt.cross_validate(top=1, folds=2)
    opt.train_final(epochs=1)
    for view in (opt, hpoviz.open_run(opt.run_dir, data=stripes)):
        assert view.results.equals(results)
        assert view.summary() == summary
        assert view.status().phase == "completed"
        with view._reading() as state:
            assert [job.finished_reason for job in state.jobs.values()] == ["completed", "completed"]
    again = hpoviz.open_run(opt.run_dir, data=stripes)
    again.run(more_trials=1)
    assert again.results["number"].tolist() == [0, 1, 2, 3]


def test_the_final_model_is_trained_on_all_but_the_test_set_as_long_as_was_best(opt, stripes):
    final = opt.train_final()
    best = opt.best_trial.result
    with opt._reading() as state:
        job = state.jobs["final_training-1"]
    (trial,) = job.trials.values()
    assert len(trial.history) == best.best_epoch == final.params["epochs"]
    rates = [epoch.learning_rate for epoch in best.history[: best.best_epoch]]
    assert [epoch.learning_rate for epoch in trial.history] == pytest.approx(rates)
    assert all(epoch.val_accuracy is None for epoch in trial.history)
    assert final.model.count_params() == best.parameters
    standardise = final.model.layers[0].get_config()
    mean = -standardise["offset"] / standardise["scale"]
    assert mean == pytest.approx(stripes.x.mean())  # of all samples, not of the training part
    assert final.accuracy > 0.8
    assert final.path.is_relative_to(opt.run_dir)


def test_the_final_model_is_saved_and_evaluated(opt, stripes, tmp_path):
    final = opt.train_final(epochs=4)
    assert final.params["epochs"] == 4
    score = opt.evaluate(final)
    predicted = final.model.predict(stripes.x_test, verbose=0).argmax(axis=1)
    assert score.accuracy == pytest.approx(np.mean(predicted == stripes.y_test))
    assert (score.final, score.looks) == (True, 1)
    assert "final training of trial" in repr(score)
    assert opt.evaluate().looks == 2
    assert final.save(tmp_path / "final.keras").read_bytes() == final.path.read_bytes()
    with pytest.raises(ConfigError, match=r"must end in \.keras"):
        final.save(tmp_path / "final.h5")
    assert f"parameters of trial {final.number}, 4 epochs" in repr(final)


@pytest.mark.parametrize("schedule", ["cosine", "exponential", "reduce_on_plateau", "constant"])
def test_a_longer_final_training_stretches_the_schedule(stripes, run_dir, schedule):
    space = SMALL_SPACE | {"learning_rate_schedule": schedule, "learning_rate": 0.01, "learning_rate_decay": 0.5}
    opt = hpoviz.Optimizer(
        stripes, trials=1, backend="inline", epochs=2, seed=0, run_dir=run_dir, search_space=space, pruner=None
    )
    opt.run()
    opt.train_final(epochs=4)
    with opt._reading() as state:
        (trial,) = state.jobs["final_training-1"].trials.values()
    rates = {
        "cosine": [0.01, 0.00853553, 0.005, 0.00146447],
        "exponential": [0.01, 0.005, 0.0025, 0.00125],
        "reduce_on_plateau": [0.01] * 4,
        "constant": [0.01] * 4,
    }
    assert [epoch.learning_rate for epoch in trial.history] == pytest.approx(rates[schedule], rel=1e-4)


def test_a_training_that_fails_is_told_and_the_others_go_on(stripes, run_dir):
    import keras

    class FailsOnLaterFolds(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            if len(list(run_dir.rglob("jobs/cross_validation-1/*"))) > 1:
                raise RuntimeError("no more")

    opt = hpoviz.Optimizer(
        stripes, trials=1, run_dir=run_dir, callbacks=[FailsOnLaterFolds()], **SETTINGS | {"workers": 1}
    )
    opt.run()
    result = opt.cross_validate(top=1, folds=3)
    assert result.table.loc[0, ["fold_1", "fold_2", "fold_3"]].notna().tolist() == [True, False, False]
    assert result.problems == tuple(f"trial 0, fold {fold} of 3: failed, RuntimeError: no more" for fold in (2, 3))
    with pytest.raises(StoreError, match="The final training gave no model: failed, RuntimeError: no more"):
        opt.train_final()


def test_wrong_requests_are_refused_before_anything_runs(opt, stripes, run_dir):
    with pytest.raises(ConfigError, match="folds must be a whole number, at least 2"):
        opt.cross_validate(folds=1)
    with pytest.raises(ConfigError, match="top must be a whole number, at least 1"):
        opt.cross_validate(top=0)
    with pytest.raises(ConfigError, match="epochs must be a whole number, at least 1"):
        opt.train_final(epochs=0)
    with pytest.raises(DatasetError, match="500 folds need 500 samples of every class"):
        opt.cross_validate(folds=500)
    with pytest.raises(StoreError, match="No trial has finished"):
        hpoviz.Optimizer(stripes, run_dir=run_dir).cross_validate()
    with pytest.raises(StoreError, match="No trial has finished"):
        hpoviz.Optimizer(stripes, run_dir=run_dir).train_final()
    with opt._reading() as state:
        assert not state.jobs
    opt.start(more_trials=5)
    with pytest.raises(ConfigError, match="is running already"):
        opt.cross_validate()
    opt.stop()


JOB = """
import sys, hpoviz
opt = hpoviz.Optimizer(
    "digits", trials=1, epochs=1, seed=0, workers=2, run_dir=sys.argv[1],
    search_space={"filters": 4, "num_layers_conv": 1, "num_layers_dense": 0},
)
opt.run()
opt.request.config.__dict__["early_stopping_patience"] = None
trial = opt._log._state.trials[0]
trial.params["epochs"] = 3000  # long enough to be interrupted
print(opt.cross_validate(top=1, folds=2), flush=True)
opt._log._state.trials[0].params["epochs"] = 1
print(opt.cross_validate(top=1, folds=2), flush=True)
"""


@pytest.mark.slow
def test_ctrl_c_ends_a_job_cleanly_and_the_next_one_runs(run_dir):
    process = subprocess.Popen([sys.executable, "-c", JOB, run_dir], stdout=subprocess.PIPE, text=True)
    events, give_up = run_dir / "events.jsonl", time.monotonic() + 90
    while not (events.exists() and '"job": "cross_validation-1"' in (text := events.read_text()) and "3000" in text):
        assert time.monotonic() < give_up
        time.sleep(0.2)
    time.sleep(6)
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    assert "Interrupted: stopped cleanly." in printed
    assert "± standard deviation (stopped)" in printed
    assert "fold 1 of 2: cancelled" in printed
    assert printed.rstrip().splitlines()[-2].endswith("mean ± standard deviation")


def test_stop_from_another_thread_ends_a_job(opt):
    """As the dashboard's Stop does; the job has no model, and the next one runs."""

    def stop_once_it_trains():
        give_up = time.monotonic() + 90
        while "final_training-1" not in (events := (opt.run_dir / "events.jsonl").read_text()) or (
            '"EpochEnded"' not in events.split("final_training-1", 1)[1]
        ):
            assert time.monotonic() < give_up
            time.sleep(0.1)
        opt.stop()

    stopper = threading.Thread(target=stop_once_it_trains)
    stopper.start()
    with pytest.raises(StoreError, match="gave no model: cancelled"):
        opt.train_final(epochs=5000)
    stopper.join(10)
    assert not stopper.is_alive()
    assert opt.train_final(epochs=1).params["epochs"] == 1
