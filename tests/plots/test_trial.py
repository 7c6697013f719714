"""Figures of a trial: their numbers are the recorded ones, and what is missing is said."""

import dataclasses
import json
import re

import numpy as np
import pytest

import hpoviz
from hpoviz.errors import ConfigError, StoreError
from hpoviz.health.observation import LayerLook, Observation, Snapshot
from hpoviz.plots.trial import TRIAL_PLOTS, trial_figure
from hpoviz.plots.trial_predictions import calibration_error
from hpoviz.results import Epoch
from tests.conftest import SMALL_SPACE
from tests.made_up_record import HOSTILE, made_up_facts, made_up_record, made_up_result, made_up_samples

SHOWN = "&lt;b&gt;bad&lt;/b&gt;"
DRAWN = [name for name in TRIAL_PLOTS if name not in ("architecture", "health")]


def traces(name, facts=None):
    return [trace for trace in trial_figure(name, facts or made_up_facts()).data if trace.x is None or len(trace.x)]


def texts_of(figure):
    """Return everything that is written in a figure, in one line and without marks."""
    said = " ".join([figure.layout.title.text or "", *(one.text for one in figure.layout.annotations)])
    return " ".join(re.sub(r"<br>|</?b>|</?span[^>]*>", " ", said).split())


def test_training():
    train, check, train_accuracy, check_accuracy, gap, rate, kept = traces("training")
    assert (list(train.y), list(check.y)) == ([1.0, 0.5], [1.5, 0.75])
    assert (list(train_accuracy.y), list(check_accuracy.y)) == ([0.4, 0.8], [0.3, 0.6])
    assert list(gap.y) == pytest.approx([0.1, 0.2])
    assert list(rate.y) == [0.01, 0.005]
    assert kept.name == "kept: epoch 2"


def test_gradient_flow_joins_the_weights_of_a_layer():
    first, second, last, _ = traces("gradient_flow")
    assert list(first.x) == ["conv", SHOWN]
    assert list(first.y) == pytest.approx([5, 1])
    assert list(second.y) == pytest.approx([0.5, 0.1])
    assert last.y[0] == pytest.approx(1e-12)  # the bottom of the axis, for 0
    assert last.y[1] is None  # not a number


def test_distributions_are_the_recorded_histograms():
    record = made_up_record()
    curves = traces("gradient_distributions")
    assert [curve.name for curve in curves] == ["epoch 0", "epoch 1", "epoch 2"] * 2  # two kernels, no bias
    middles, density = record.gradients.density(1, 2)
    assert list(curves[4].x) == pytest.approx(middles, rel=1e-3)
    assert list(curves[4].y) == pytest.approx(density / density.max(), rel=1e-3)
    weights = trial_figure("weights_biases", made_up_facts())
    assert [one.text for one in weights.layout.annotations] == ["conv: kernel", "conv: bias", f"{SHOWN}: kernel"]


def test_dead_neurons():
    conv, quiet = traces("dead_neurons")
    assert (conv.name, list(conv.x), list(conv.y)) == ("conv", [0, 1, 2], [0.0, 0.25, 0.5])
    assert quiet.name == "no unit was ever silent in 2 of the 3 layers"


def test_activation_summary():
    first, last, zeros, silent = traces("activation_summary")
    assert list(first.x) == ["conv", "pool", SHOWN]
    assert list(last.y) == pytest.approx([2.1, 2.2, 2.3])
    assert list(last.error_y.array) == [3, 4, 5]
    assert list(zeros.y) == [0.5, 0.0, 0.25]
    assert list(silent.y) == [0.5, 0.0, 0.0]


def test_activation_maps():
    conv, vector = traces("activation_maps")
    strip = np.array(conv.z, dtype=float)
    maps = made_up_record().maps[0][2] / 100
    assert strip[:, :4] == pytest.approx(maps[0], rel=0.01)
    assert np.isnan(strip[:, 4]).all()
    assert strip[:, 5:] == pytest.approx(maps[1], rel=0.01)
    assert np.shape(vector.z) == (1, 5)
    assert "Sample 2 of class cat; after epoch 2" in texts_of(trial_figure("activation_maps", made_up_facts()))


def test_activation_progression():
    conv, vector = traces("activation_progression")
    assert np.shape(conv.z) == (4, 3 * 4 + 2)
    assert np.shape(vector.z) == (3, 5)  # vectors lie below each other
    assert np.array(vector.z, float) == pytest.approx(made_up_record().maps[1][:, 0, 0] / 100, rel=0.01)


def test_sequences_have_their_time_to_the_right():
    maps = [np.arange(3 * 6 * 2, dtype=np.uint8).reshape(3, 1, 6, 2), made_up_record().maps[1]]
    facts = made_up_facts(record=dataclasses.replace(made_up_record(), maps=maps, kinds=("sequence", "vector")))
    assert np.shape(traces("activation_maps", facts)[0].z) == (2, 6)
    assert np.shape(traces("activation_progression", facts)[0].z) == (2, 3 * 6 + 2)


def test_confusion_matrix():
    (fields,) = traces("confusion_matrix")
    assert list(fields.x) == ["cat", SHOWN, "x"]
    assert [list(row) for row in fields.customdata] == [[2, 1, 0], [0, 2, 1], [1, 0, 1]]
    assert [list(row) for row in fields.z] == [
        pytest.approx([2 / 3, 1 / 3, 0], abs=1e-4), pytest.approx([0, 2 / 3, 1 / 3], abs=1e-4), [0.5, 0, 0.5],
    ]  # fmt: skip


def test_very_many_classes_give_the_commonest_confusions():
    record = made_up_record()
    said = dataclasses.replace(record.predictions, labels=record.predictions.labels + 60)
    facts = made_up_facts(record=dataclasses.replace(record, predictions=said), samples=None)
    (bars,) = traces("confusion_matrix", facts)
    assert sum(bars.x) == 8
    assert "60 → 0" in bars.y


def test_mistakes_are_the_surest_first():
    figure = trial_figure("mistakes", made_up_facts())
    assert [one.text for one in figure.layout.annotations] == [
        f"{SHOWN} → x, 99%",
        "x → cat, 75%",
        f"cat → {SHOWN}, 65%",
    ]
    assert [trace.source[:22] for trace in figure.data] == ["data:image/png;base64,"] * 3


def test_mistakes_of_texts():
    (table,) = trial_figure("mistakes", made_up_facts(samples=made_up_samples(texts=True))).data
    texts, said = table.cells["values"]
    assert texts[0].startswith("text 10 &lt;b&gt;bad&lt;/b&gt; word")
    assert texts[0].endswith(" …")
    assert said[0] == f"{SHOWN} →<br>x, 99%"


def test_calibration():
    _, model, bars = traces("calibration")
    assert list(model.x) == pytest.approx([0.45, 0.55, 0.65, 0.75, 0.85, (0.95 + 0.95 + 0.99) / 3])
    assert list(model.y) == pytest.approx([1, 1, 0, 0, 1, 2 / 3])
    assert list(bars.y) == [0, 0, 0, 0, 1, 1, 1, 1, 1, 3]
    by_hand = (0.55 + 0.45 + 0.65 + 0.75 + 0.15 + abs(2.89 / 3 - 2 / 3) * 3) / 8
    assert calibration_error(made_up_record().predictions) == pytest.approx(by_hand)
    assert f"error {by_hand:.3f}" in texts_of(trial_figure("calibration", made_up_facts()))


def test_health_of_each_epoch_is_that_of_its_own_look():
    """The look at the best epoch is kept last, whichever it was."""

    def look(epoch, active):
        layer = LayerLook(layer="d", activation="relu", units=10, active=active, finite=1.0, gradient_norm=1.0)
        return Snapshot(epoch=epoch, layers=(layer,))

    labels = [0, 1] * 100
    seen = Observation(
        model="m", epoch=2, class_counts=[100, 100], labels=labels, predicted=labels,
        snapshots=(look(0, 10), look(1, 9), look(3, 4), look(4, 2), look(2, 8)),
        history={"loss": [0.9, 0.8, 0.7, 0.6]},
    )  # fmt: skip
    figure = trial_figure("health", made_up_facts(health=seen))
    (active,) = (trace for trace in figure.data if trace.name == "neuron utilization")
    assert list(active.x) == [1, 2, 3, 4]
    assert list(active.y) == pytest.approx([0.9, 0.8, 0.4, 0.2])


@pytest.mark.parametrize("name", DRAWN)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_figure_is_json_with_a_title_and_says_how_to_read_it(name, theme):
    figure = trial_figure(name, made_up_facts(), theme)
    json.loads(figure.to_json())
    assert TRIAL_PLOTS[name].title in figure.layout.title.text
    assert len(TRIAL_PLOTS[name].how) > 60
    assert HOSTILE not in figure.to_json()
    assert len(figure.to_json()) < 100_000


@pytest.mark.parametrize("name", [name for name in DRAWN if name != "training"])
def test_what_is_missing_is_said(name):
    facts = made_up_facts(record=None, no_record="Nothing was recorded.")
    assert "Nothing was recorded." in texts_of(trial_figure(name, facts))
    broken = dataclasses.replace(
        made_up_record(), problem="a layer of yours failed", predictions=None, epochs=np.zeros(0, int)
    )
    assert "a layer of yours failed" in texts_of(trial_figure(name, made_up_facts(record=broken)))


@pytest.mark.parametrize("name", ["confusion_matrix", "mistakes", "calibration"])
def test_a_pruned_trial_has_no_predictions(name):
    pruned = made_up_result(state="pruned", reason="others were ahead")
    facts = made_up_facts(result=pruned, record=dataclasses.replace(made_up_record(), predictions=None))
    assert "the trial is pruned" in texts_of(trial_figure(name, facts))


def test_a_pruned_trial_is_drawn_as_far_as_it_counts():
    facts = made_up_facts(result=made_up_result(state="pruned", history=made_up_result().history[:1]))
    assert [trace.name for trace in traces("dead_neurons", facts)] == [
        "conv",
        "no unit was ever silent in 2 of the 3 layers",
    ]
    assert list(traces("dead_neurons", facts)[0].x) == [0, 1]


def test_no_epoch():
    facts = made_up_facts(result=made_up_result(history=()))
    assert "before its first epoch" in texts_of(trial_figure("training", facts))
    assert "no health here" in texts_of(trial_figure("health", facts))


def test_figures_that_are_not_numbers():
    epoch = Epoch(epoch=1, loss=None, accuracy=None, val_loss=None, val_accuracy=None, learning_rate=0.0, seconds=1.0)
    facts = made_up_facts(result=made_up_result(history=(epoch,), best_epoch=None))
    json.loads(trial_figure("training", facts).to_json())


def test_trials_of_a_real_search(stripes, run_dir):
    opt = hpoviz.Optimizer(
        stripes, trials=2, epochs=2, seed=0, backend="inline", search_space=SMALL_SPACE, run_dir=run_dir, pruner=None
    )
    opt.run()
    trial = opt.best_trial
    record = trial.record
    said = record.predictions
    assert (said.labels == said.predicted).mean() == pytest.approx(trial.accuracy)
    assert said.labels.tolist() == opt._problem.split.y_val.tolist()
    assert record.epochs.tolist() == [0, 1, 2]
    for name in trial.plots()["name"]:
        figure = trial.plot(name)
        json.loads(figure.to_json())
        assert len(figure.data) > 0 or name == "mistakes", name  # there may be none
    reopened = hpoviz.open_run(run_dir, data=stripes).best_trial
    assert reopened.plot("calibration").to_json() == trial.plot("calibration").to_json()
    with pytest.raises(ConfigError, match=r"A trial has no figure 'confusion'. Did you mean 'confusion_matrix'\?"):
        trial.plot("confusion")
    with pytest.raises(ConfigError, match="theme must be one of"):
        trial.plot("training", theme="blue")


def test_a_search_that_records_nothing(stripes, run_dir):
    config = hpoviz.OptimizationConfig(record_layers=False)
    opt = hpoviz.Optimizer(
        stripes, trials=1, epochs=1, seed=0, backend="inline", search_space=SMALL_SPACE, run_dir=run_dir, config=config
    )
    opt.run()
    assert not (run_dir / "trials" / "0" / "arrays.npz").exists()
    with pytest.raises(StoreError, match=r"Searches keep it with record_layers=True"):
        _ = opt.best_trial.record
    assert "arrays.npz is not there" in texts_of(opt.best_trial.plot("gradient_flow"))
