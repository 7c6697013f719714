"""Figures of a search: their numbers are the recorded ones, and what is missing is said."""

import dataclasses
import json
import math

import pytest

import hpoviz
from hpoviz.errors import ConfigError
from hpoviz.plots.look import whole_ticks
from hpoviz.plots.study import STUDY_PLOTS, study_figure
from hpoviz.plots.study_facts import StudyFacts
from hpoviz.results import Epoch, TrialResult
from hpoviz.search.space import Domain
from tests.conftest import SMALL_SPACE
from tests.made_up_run import made_up_run

BAD = "<b>bad</b>"


def trial(number, score, state="finished", **more):
    epochs = tuple(
        Epoch(epoch=at, loss=1.0, accuracy=0.5, val_loss=1.0, val_accuracy=0.1 * at, learning_rate=0.1, seconds=1.0)
        for at in (1, 2)
    )
    options = {"parameters": 100 * (number + 1), "seconds": 2.0, "history": epochs, "accuracy": score, "seed": 0}
    params = {"rate": 10.0 ** -(number + 1), "kind": ["a", BAD][number % 2], "same": 1}
    return TrialResult(trial_id=number, number=number, state=state, score=score, params=params, **(options | more))


TRIALS = [
    trial(0, 0.5, health=0.9),
    trial(1, 0.7, health=0.4),
    trial(2, 0.6, state="pruned", accuracy=None),
    trial(3, None, state="failed", history=(), parameters=None),
    trial(4, 0.9, health=0.6),
]
FACTS = StudyFacts(
    trials=TRIALS,
    best=TRIALS[4],
    score="validation accuracy",
    importances={"kind": 0.25, "rate": 0.75},
    domains={"rate": Domain(low=1e-5, high=0.1, log=True), "kind": Domain(choices=("a", BAD))},
    begun={number: (f"2026-01-01T00:00:{10 + 3 * number:02d}.000+00:00", number % 2) for number in range(5)},
)
NOTHING = StudyFacts(trials=[], best=None, score="score", importances={}, domains={}, begun={})


def traces(name, facts=FACTS):
    return {trace.name: trace for trace in study_figure(name, facts).data}


def points(trace):
    return list(zip(trace.x, trace.y, strict=True))


def test_history():
    found = traces("history")
    assert points(found["finished"]) == [(0, 0.5), (1, 0.7), (4, 0.9)]
    assert points(found["pruned"]) == [(2, 0.6)]
    assert points(found["failed"]) == [(3, 0.5)]  # at the bottom, as it has no score
    assert points(found["best so far"]) == [(0, 0.5), (1, 0.7), (4, 0.9)]


def test_importance():
    more = [trial(number, 0.1 * number) for number in range(8)]
    (bar,) = study_figure("importance", dataclasses.replace(FACTS, trials=more)).data
    assert dict(zip(bar.y, bar.x, strict=True)) == {"rate": 0.75, "kind": 0.25}
    assert list(bar.text) == ["25%", "75%"]


def test_too_few_trials_have_no_importance_and_no_order_by_it():
    seven = dataclasses.replace(FACTS, trials=[trial(number, 0.1 * number) for number in range(7)])
    figure = study_figure("importance", seven)
    assert not figure.data
    said = figure.layout.annotations[0].text.replace("<br>", " ")
    assert said == "7 finished trials are too few to tell which parameter mattered: 8 are needed."
    first = dataclasses.replace(seven, importances={"kind": 1.0, "rate": 0.0})
    assert first.ranked == ["rate", "kind"]
    assert dataclasses.replace(first, trials=[*first.trials, trial(7, 0.7)]).ranked == ["kind", "rate"]


def test_trials_and_epochs_and_whole_parameters_have_ticks_at_whole_numbers():
    trials = [dataclasses.replace(trial(number, 0.5), params={"layers": 1 + number % 2}) for number in range(3)]
    facts = dataclasses.replace(FACTS, trials=trials, best=None, domains={"layers": Domain(low=1, high=2)})
    for name in ("history", "learning_curves", "slice"):
        axis = study_figure(name, facts).layout.xaxis
        assert (axis.tick0, axis.dtick) == (0, 1), name
    assert study_figure("slice", facts).data[0].marker.colorbar.dtick == 1
    layers, _ = study_figure("parallel_coordinates", facts).data[0].dimensions
    assert (list(layers.tickvals), list(layers.ticktext)) == ([1, 2], ["1", "2"])


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([3], [3]),
        ([1, 4], [1, 2, 3, 4]),
        ([10, 26], [10, 12, 14, 16, 18, 20, 22, 24, 26]),
        ([0, 100], [0, 20, 40, 60, 80, 100]),
    ],
)
def test_whole_ticks(values, ticks):
    assert whole_ticks(values) == ticks


def test_parallel_coordinates():
    (lines,) = study_figure("parallel_coordinates", FACTS).data
    rate, kind, score = lines.dimensions
    assert (rate.label, kind.label, score.label) == ("rate", "kind", "validation accuracy")
    assert list(score["values"]) == [0.5, 0.7, 0.6, 0.9]
    assert list(rate["values"]) == pytest.approx([-1, -2, -3, -5])  # by orders of magnitude
    assert [kind.ticktext[place] for place in kind["values"]] == ["a", "&lt;b&gt;bad&lt;/b&gt;", "a", "a"]


def test_slices():
    figure = study_figure("slice", FACTS)
    assert [one.text for one in figure.layout.annotations] == ["rate", "kind"]
    assert list(figure.data[0].x) == pytest.approx([0.1, 0.01, 0.001, 1e-5])
    assert list(figure.data[0].y) == [0.5, 0.7, 0.6, 0.9]
    assert (figure.layout.xaxis.type, figure.layout.xaxis2.type) == ("log", "category")


def test_contour():
    fields, dots = study_figure("contour", FACTS).data
    assert list(dots.x) == pytest.approx([-1, -2, -3, -5])
    known = [value for row in fields.z for value in row if value is not None]
    assert sum(known) == pytest.approx(0.5 + 0.7 + 0.6 + 0.9)  # one trial in each field that was tried


def test_pareto():
    found = traces("pareto")
    assert points(found["finished"]) == [(100, 0.5), (200, 0.7), (500, 0.9)]
    assert list(found["finished"].marker.color) == [0.9, 0.4, 0.6]
    assert points(found["beaten by none"]) == [(100, 0.5), (200, 0.7), (500, 0.9)]


def test_pareto_with_a_trial_without_health():
    marker = traces("pareto", dataclasses.replace(FACTS, trials=[*TRIALS, trial(5, 0.8)]))["finished"].marker
    assert list(marker.color[:3]) == [0.9, 0.4, 0.6]
    assert math.isnan(marker.color[3])


def test_timeline():
    found = traces("timeline")
    assert list(found["finished"].base) == [0.0, 3.0, 12.0]
    assert list(found["finished"].x) == [2.0, 2.0, 2.0]
    assert list(found["finished"].y) == ["slot 1", "slot 2", "slot 1"]
    assert list(found["failed"].text) == ["3"]


def test_learning_curves():
    found = traces("learning_curves")
    assert list(found["best: trial 4"].y) == [0.1, 0.2]
    assert list(found["finished"].y) == [0.1, 0.2, None, 0.1, 0.2, None]
    assert "failed" not in found


def test_accuracy_against_health():
    found = traces("accuracy_health")
    assert points(found["finished"]) == [(0.9, 0.5), (0.4, 0.7), (0.6, 0.9)]
    assert points(found["best: trial 4"]) == [(0.6, 0.9)]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", STUDY_PLOTS)
def test_every_figure_says_how_to_read_it_and_what_is_missing(name, theme):
    more = [*TRIALS, *(trial(number, 0.5) for number in range(5, 10))]
    figure = study_figure(name, dataclasses.replace(FACTS, trials=more), theme)
    plot = STUDY_PLOTS[name]
    assert plot.title in figure.layout.title.text
    assert plot.how.split()[-1] in figure.layout.title.text
    assert BAD not in figure.to_json()
    assert figure.layout.paper_bgcolor == {"light": "#ffffff", "dark": "#111418"}[theme]
    nothing = study_figure(name, NOTHING, theme)
    assert not nothing.data
    assert len(nothing.layout.annotations[0].text) > 10


@pytest.mark.parametrize("name", STUDY_PLOTS)
def test_a_thousand_trials_make_no_large_figure(name, thousand):
    text = thousand.plot(name).to_json()
    assert len(text) < 2e6
    json.loads(text)


@pytest.fixture(scope="module")
def thousand(tmp_path_factory):
    opt = hpoviz.open_run(made_up_run(tmp_path_factory.mktemp("runs") / "run", 1_000, 20))
    opt._importances = lambda: {"learning_rate": 0.6, "optimizer": 0.4}  # a sampler's memory cannot be made up
    return opt


def test_a_real_search_draws_all(stripes, run_dir):
    opt = hpoviz.Optimizer(
        stripes, trials=5, epochs=2, seed=0, workers=1, search_space=SMALL_SPACE, run_dir=run_dir, pruner=None
    )
    assert opt.plots()["name"].tolist() == list(STUDY_PLOTS)
    assert not opt.plot("history").data
    opt.run()
    for name in STUDY_PLOTS:
        figure = opt.plot(name)
        if name == "accuracy_health":  # there are too few validation samples to know it
            assert "No trial has a health" in figure.layout.annotations[0].text
        elif name == "importance":
            assert "are too few to tell" in figure.layout.annotations[0].text
        else:
            assert figure.data, name
    bar = opt.plot("timeline").data[0]
    assert list(bar.x) == opt.results["seconds"].tolist()
    scores = {trace.name: trace for trace in opt.plot("history").data}["finished"]
    assert list(scores.y) == opt.results["score"].tolist()


def test_bad_names_are_said():
    opt = hpoviz.Optimizer("digits")
    with pytest.raises(ConfigError, match=r"There is no figure 'histroy'\. Did you mean 'history'"):
        opt.plot("histroy")
    with pytest.raises(ConfigError, match=r"theme must be one of 'light', 'dark'\. Got 'grey'"):
        opt.plot("history", theme="grey")
