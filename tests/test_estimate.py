"""What a search will take, measured before it starts and corrected while it runs."""

import tempfile
from pathlib import Path

import keras
import pytest

import hpoviz
from hpoviz.errors import ConfigError
from hpoviz.events import RunFinished, RunStarted, TrialFinished, TrialStarted
from hpoviz.progress import seconds_left
from hpoviz.results import RunStatus
from hpoviz.store.run_state import RunState, Slot
from tests.conftest import SMALL_SPACE

SETTINGS = {"seed": 0, "workers": 1, "search_space": SMALL_SPACE, "pruner": None}


@pytest.mark.slow
def test_an_estimate_is_near_what_the_search_takes(stripes, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    config = hpoviz.OptimizationConfig(early_stopping_patience=None)
    opt = hpoviz.Optimizer(stripes, trials=6, epochs=40, run_dir=tmp_path / "run", config=config, **SETTINGS)
    assert "takes: estimate() measures it in some seconds" in repr(opt)
    estimate = opt.estimate()
    assert not list(tmp_path.iterdir())
    assert estimate.trials == 6
    assert estimate.models == 4
    assert repr(estimate) in repr(opt)
    opt.run()
    assert 1 / 3 < opt.status().elapsed_s / estimate.seconds < 3  # wide, as other work may come between
    used = sum(path.stat().st_size for path in opt.run_dir.glob("trials/*/model.keras"))
    assert used == pytest.approx(estimate.bytes, rel=0.1)
    assert "of models on disk" in opt._takes()


def test_more_epochs_and_samples_are_estimated_to_take_longer(stripes):
    trials = {}
    for epochs in (10, 1000):
        opt = hpoviz.Optimizer(stripes, trials=3, epochs=epochs, **SETTINGS | {"workers": None}, backend="inline")
        trials[epochs] = opt.estimate().seconds
    assert trials[1000] > 5 * trials[10]


def test_no_estimate_where_no_model_can_be_trained(stripes):
    class Refuses(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            raise RuntimeError("not today")

    opt = hpoviz.Optimizer(stripes, trials=3, seed=0, backend="inline", callbacks=[Refuses()])
    with pytest.raises(ConfigError, match=r"No estimate: none of the 4 models .* failed: RuntimeError: not today"):
        opt.estimate()
    assert not Path(opt.run_dir).exists()


def test_time_left_takes_running_trials_and_slots_into_account():
    def trial(event_type, index, **fields):
        return event_type(run="r", trial=index, **fields)

    started = {"params": {}, "suggested": {}, "seed": 0}
    ended = {"score": 0.5, "accuracy": 0.5, "loss": 1.0, "best_epoch": 1, "epochs": 1, "model_sha256": ""}
    state = RunState([RunStarted(run="r", trials=10, slots=2, objective="accuracy")])
    assert seconds_left(state) is None
    for index, seconds in enumerate((10.0, 30.0)):
        state.apply(trial(TrialStarted, index, slot=0, **started))
        state.apply(trial(TrialFinished, index, number=index, seconds=seconds, **ended))
    assert seconds_left(state) == pytest.approx(20 * 8 / 2)
    state.apply(trial(TrialStarted, 2, slot=1, **started))
    state.slots[1] = Slot(trial_id=2, epoch=3, epochs=4, batch=5, batches=10)  # 2.5 of 4 epochs
    assert seconds_left(state) == pytest.approx(20 * (8 - 2.5 / 4) / 2)
    state.apply(RunFinished(run="r", reason="stopped", seconds=40.0))
    assert seconds_left(state) is None


def test_the_status_says_what_is_left():
    counts = dict.fromkeys(("finished", "running", "pruned", "failed", "infeasible", "cancelled"), 1)
    status = RunStatus(
        phase="running", wanted=9, best_score=None, best_number=None, elapsed_s=12.0, left_s=34.0, **counts
    )
    assert repr(status).endswith("of 9; 12 s, about 34 s left")
