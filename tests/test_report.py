"""The page of a run: what is in it, what it says where something is missing, and that texts stay texts."""

import html
import json
import re
import shutil
from html.parser import HTMLParser

import keras
import numpy as np
import plotly.graph_objects as go
import pytest
import yaml
from plotly.offline import get_plotlyjs

import hpoviz
from hpoviz.config import OptimizationConfig
from hpoviz.errors import ConfigError, ExportError, StoreError
from hpoviz.events import EpochEnded, RunFinished, RunStarted, TrialPruned, TrialStarted
from hpoviz.plots.study import STUDY_PLOTS
from hpoviz.plots.trial import TRIAL_PLOTS
from hpoviz.report_page import Report, Tile, report_page
from hpoviz.results import TrialResult
from hpoviz.search_code import search_code
from tests.conftest import SMALL_SPACE

pytestmark = pytest.mark.slow

BAD = '</script><img src=x onerror="window.hacked=1">\'&'
SECTIONS = ["study", "best", "trials", "model", "health", "settings"]
SETTINGS = {"seed": 0, "backend": "inline", "pruner": None, "epochs": 2}


class Outline(HTMLParser):
    """What a page is made of: headings, ids, addresses, scripts, and its texts."""

    def __init__(self, text):
        super().__init__()
        self.headings, self.ids, self.links, self.tags, self.data, self.said = [], [], [], [], {}, []
        self._in = None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append((tag, attrs))
        self.ids += [attrs["id"]] if "id" in attrs else []
        self.links += [attrs[name] for name in ("src", "href") if name in attrs]
        self.headings += [int(tag[1])] if re.fullmatch(r"h\d", tag) else []
        self._in = tag if tag in ("script", "style") else self._in

    def handle_endtag(self, tag):
        self._in = None if tag == self._in else self._in

    def handle_data(self, data):
        if self._in == "script" and self.tags[-1][1].get("type") == "application/json":
            self.data[self.tags[-1][1].get("id") or f"after {self.ids[-1]}"] = json.loads(data)
        elif self._in is None:
            self.said.append(data)

    @property
    def words(self):
        return " ".join(" ".join(self.said).split())

    def count(self, tag, **attrs):
        return sum(name == tag and attrs.items() <= found.items() for name, found in self.tags)


@pytest.fixture(scope="module")
def search(stripes, tmp_path_factory):
    """A finished search of three trials."""
    place = tmp_path_factory.mktemp("runs") / "search"
    opt = hpoviz.Optimizer(stripes, trials=3, search_space=SMALL_SPACE, run_dir=place, **SETTINGS | {"epochs": 5})
    opt.run()
    return opt


@pytest.fixture(scope="module")
def page(search, tmp_path_factory):
    place = tmp_path_factory.mktemp("pages") / "run.html"
    assert search.report(place) == place
    return place.read_text()


@pytest.fixture(scope="module")
def outline(page):
    return Outline(page)


def copied(search, stripes, tmp_path, **given):
    """Return the search as somebody else opens it, whose files may be changed."""
    return hpoviz.open_run(shutil.copytree(search.run_dir, tmp_path / "copy"), data=stripes, **given)


def read(opt, tmp_path):
    return Outline(opt.report(tmp_path / "page.htm").read_text())


def test_everything_is_there_in_its_order(search, outline):
    assert [name for name in outline.ids if name in SECTIONS] == SECTIONS
    assert [link for link in outline.links if link.startswith("#")] == [f"#{name}" for name in SECTIONS]
    for line in search.summary().splitlines():
        assert line in outline.words
    best = search.best_trial
    for said in ("stripes · cnn", f"{best.accuracy:.4f}", f"{best.result.health:.2f}", f"{best.result.parameters:,}"):
        assert said in outline.words
    drawn = [name for name in outline.ids if name.startswith(("study-", "best-")) and not name.endswith("-title")]
    names = [f"study-{name}" for name in STUDY_PLOTS]
    assert drawn == [*names, *(f"best-{name}" for name in TRIAL_PLOTS if name != "architecture")]


def test_the_figures_are_those_of_the_library(search, outline):
    drawn = outline.data["after study-history-title"]
    wanted = json.loads(search.plot("history").to_json())
    assert drawn["data"] == wanted["data"]
    assert "title" not in drawn["layout"]
    assert STUDY_PLOTS["history"].how in outline.words
    assert outline.data["rp-template"]["layout"]
    spare = wanted["layout"]["height"] - drawn["layout"]["height"]
    assert spare == wanted["layout"]["margin"]["t"] - drawn["layout"]["margin"]["t"] > 40
    assert TRIAL_PLOTS["calibration"].title in outline.words


def test_the_model_plays_validation_samples_by_the_names_of_their_classes(search, stripes, outline):
    data = outline.data["model-data"]
    caption = next(iter(data["recordings"].values()))["caption"]
    rows = stripes.split_rows(search.request.validation_fraction, search.seed)[1]
    assert caption["label"] == stripes.class_names[stripes.y[rows[caption["index"]]]]
    assert caption["classes"] == ["across", "down"]
    assert "health" in data["scenes"][0]["modes"]


def test_it_is_one_file_that_asks_for_nothing(page, outline):
    assert page.count(get_plotlyjs()[:500]) == 1
    assert all(link.startswith(("#", "data:")) for link in outline.links)
    assert "@import" not in page.replace(get_plotlyjs(), "")
    assert len(page.encode()) < 7e6
    assert "pytest-of-" not in page  # where the run lies is not told to the world


def test_it_can_be_read_by_all(outline):
    assert outline.headings[0] == 1
    assert outline.headings.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(outline.headings, outline.headings[1:], strict=False))
    assert len(set(outline.ids)) == len(outline.ids)
    named = {attrs["aria-labelledby"] for _, attrs in outline.tags if "aria-labelledby" in attrs}
    assert named <= set(outline.ids)
    assert all(attrs.get("aria-label") for tag, attrs in outline.tags if attrs.get("role") == "img" and tag == "div")
    assert outline.count("html", lang="en", theme="light") == 1


def test_the_table_has_a_row_a_trial(search, outline, page):
    rows = re.findall(r"<tr[^>]*><th scope=\"row\" data-value=\"\d+\">.*?</tr>", page)
    assert len(rows) == 3
    best = search.best_trial
    assert rows[0].startswith("<tr class=rp-best>")
    assert f'data-value="{best.accuracy!r}" class=rp-number>{best.accuracy:.4f}</td>' in rows[0]
    assert all('<span aria-hidden="true">●</span> finished' in row for row in rows)
    assert "learning_rate" in outline.words  # which differs
    assert ">l2</button>" not in page  # which does not


def test_the_search_can_be_repeated(search, stripes, page):
    code, record = (html.unescape(found) for found in re.findall(r"<pre[^>]*>(.*?)</pre>", page, re.DOTALL))
    assert yaml.safe_load(record)["hyperparameters"]["filters"] == search.best_params["filters"]
    assert "# data: a Dataset of yours" in code
    names = {"data": stripes}
    exec(code.replace("opt.run()", ""), names)
    made, known = names["opt"].request.keywords(), search.request.keywords() | {"run_dir": None}
    assert made == known


def test_the_test_set_is_shown_only_where_it_was_looked_at(search, stripes, tmp_path):
    opt = copied(search, stripes, tmp_path)
    assert "test accuracy" not in read(opt, tmp_path).words
    with opt._reading() as state:
        assert state.looks == 0
    first = opt.evaluate()
    opt.evaluate()
    words = read(opt, tmp_path).words
    assert f"test accuracy {first.accuracy:.4f}" in words
    assert "the first of 2 looks, which is the honest one" in words
    with opt._reading() as state:
        assert state.looks == 2
    opt.run(more_trials=1)  # and it can still be written
    assert len(opt.trials) == 4


def test_what_an_old_run_lacks_is_said(search, stripes, tmp_path):
    opt = copied(search, stripes, tmp_path)
    for name in ("arrays.npz", "health.json", "model.keras"):
        for path in opt.run_dir.glob(f"trials/*/{name}"):
            path.unlink()
    outline = read(opt, tmp_path)
    assert "Gradient flow The flow of gradients cannot be drawn: Nothing was recorded" in outline.words
    assert re.search(r"Health of the best model Trial \d has no health: it was not measured\.", outline.words)
    assert re.search(r"best model The model of trial \d is not in 'copy/trials/\d'\. With keep_models", outline.words)
    assert "graph" not in outline.ids
    assert outline.data["after best-training-title"]["data"]


def test_a_model_whose_layers_are_gone(search, stripes, tmp_path):
    @keras.saving.register_keras_serializable("report")
    class Twice(keras.layers.Layer):
        def call(self, x):
            return 2 * x

    def build(params, data):
        model = keras.Sequential(
            [keras.Input(data.input_shape), keras.layers.Flatten(), Twice(), keras.layers.Dense(2, "softmax")]
        )
        model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
        return model

    run_dir = tmp_path / "own"
    own = {"build_model": build, "search_space": {"units": [BAD, "b"], "batch_size": 64}}
    opt = hpoviz.Optimizer(stripes, trials=2, run_dir=run_dir, **own, **SETTINGS)
    opt.run()
    assert "graph" in read(opt, tmp_path).ids
    del keras.saving.get_custom_objects()["report>Twice"]
    opt = hpoviz.open_run(run_dir, data=stripes)  # without the function
    outline = read(opt, tmp_path)
    assert "The model in 'own/" in outline.words
    assert "cannot be loaded" in outline.words
    assert "build_model: yours, test_a_model_whose_layers_are_gone.<locals>.build" in outline.words
    assert "graph" not in outline.ids
    assert BAD in outline.words  # the value of a parameter, as a text
    assert outline.count("img", src="x") == 0


def test_hostile_classes_stay_texts(tmp_path, run_dir):
    chance = np.random.default_rng(0)
    labels = np.array([BAD, "b"])[np.arange(120) % 2]
    data = hpoviz.Dataset.from_arrays(chance.random((120, 8, 8)), labels, name=BAD)
    opt = hpoviz.Optimizer(data, trials=1, search_space=SMALL_SPACE, run_dir=run_dir, **SETTINGS)
    opt.run()
    outline = read(opt, tmp_path)
    assert outline.count("img", src="x") == 0
    assert outline.data["model-data"]["recordings"]
    assert f"{BAD} · cnn" in outline.words


def an_empty_run(stripes, run_dir, events):
    opt = hpoviz.Optimizer(stripes, trials=1, run_dir=run_dir, search_space=SMALL_SPACE, **SETTINGS)
    opt._create()
    (run_dir / "events.jsonl").write_text("".join(f"{event.to_json()}\n" for event in events))
    return hpoviz.open_run(run_dir, data=stripes)


def test_a_run_of_pruned_trials_has_no_best_one(stripes, run_dir, tmp_path):
    of = {"run": "r", "trial": 0}
    epoch = {"loss": 1.0, "accuracy": 0.5, "val_loss": 1.0, "val_accuracy": 0.5, "learning_rate": 0.1, "seconds": 0.1}
    events = [
        RunStarted(run="r", trials=1, slots=1, objective="accuracy"),
        TrialStarted(**of, slot=0, params={"filters": 8}, suggested={}, seed=0),
        EpochEnded(**of, epoch=1, epochs=2, **epoch),
        TrialPruned(**of, number=0, seconds=0.3, score=0.5, epochs=1, reason=BAD),
        RunFinished(run="r", reason="completed", seconds=1.0),
    ]
    outline = read(an_empty_run(stripes, run_dir, events), tmp_path)
    assert "The best trial No trial has finished, so there is no best one: 1 pruned." in outline.words
    assert outline.words.count("so there is no best one") == 4  # figures, architecture, health, hyperparameters
    assert "No trial has finished yet." in outline.words
    assert f"◆ pruned 0.5000 0.3 {BAD}" in outline.words
    assert outline.count("img", src="x") == 0
    assert outline.data["after study-learning_curves-title"]["data"]


def test_a_run_without_an_ended_trial(stripes, run_dir, tmp_path):
    events = [RunStarted(run="r", trials=1, slots=1, objective="accuracy")]
    words = read(an_empty_run(stripes, run_dir, events), tmp_path).words
    assert "All trials No trial has ended yet." in words
    assert "interrupted" in words


def test_a_search_that_has_not_begun(stripes, run_dir, tmp_path):
    opt = hpoviz.Optimizer(stripes, trials=1, run_dir=run_dir, search_space=SMALL_SPACE, **SETTINGS)
    with pytest.raises(StoreError, match=r"has not begun, so there is nothing to report. Call run\(\) or start\(\)"):
        opt.report(tmp_path / "run.html")
    opt._create()
    with pytest.raises(StoreError, match="has not begun"):
        hpoviz.open_run(run_dir, data=stripes).report(tmp_path / "run.html")


def test_what_cannot_be_written(search, tmp_path):
    with pytest.raises(ExportError, match=r"'run.pdf' must end in .html or .htm"):
        search.report(tmp_path / "run.pdf")
    with pytest.raises(ConfigError, match=r"theme must be one of 'light', 'dark'. Got 'drak'. Did you mean 'dark'\?"):
        search.report(tmp_path / "run.html", theme="drak")
    with pytest.raises(ExportError, match=r"cannot be written: there is no such folder. Name a folder that exists"):
        search.report(tmp_path / "nowhere" / "run.html")
    (tmp_path / "taken.html").mkdir()
    with pytest.raises(ExportError, match=r"taken.html' cannot be written"):
        search.report(tmp_path / "taken.html")
    assert [path.name for path in tmp_path.iterdir()] == ["taken.html"]  # nothing is left behind


def a_report(**fields):
    """A page of no search at all."""
    known = {
        "title": BAD, "subtitle": BAD, "summary": f"{BAD}\nnext", "tiles": [Tile(BAD, BAD, BAD)], "study": [],
        "trial": [], "trials": [], "best": None, "no_best": BAD, "model": None, "no_model": BAD, "health": "",
        "no_health": BAD, "facts": [(BAD, BAD)], "versions": {"hpoviz": BAD}, "yaml": "", "code": BAD, "theme": "dark",
        "space": [dict.fromkeys(("name", "searched", "default", "when", "help"), BAD)],
    }  # fmt: skip
    return Report(**known | fields)


def test_every_text_is_escaped():
    figure = go.Figure(
        go.Scatter(x=[BAD], y=[1], name=BAD), {"title": {"text": f"<b>x</b><br><span>{html.escape(BAD)}</span>"}}
    )
    figure.update_layout(margin={"t": 75}, height=400)
    texts = go.Figure(go.Table(header={"values": [BAD]}, cells={"values": [[html.escape(BAD)]]}))
    params = {"a": BAD, "b": 1}
    trials = [
        TrialResult(trial_id=0, number=0, state="failed", params=params, seed=0, reason=BAD, origin="baseline"),
        TrialResult(trial_id=1, number=1, state="finished", params={"a": "x", "b": None}, seed=0, score=0.5),
    ]
    study = [("one", BAD, figure), ("two", BAD, texts)]
    outline = Outline(report_page(a_report(study=study, trials=trials)))
    assert outline.count("img") == 0
    assert outline.data["after study-one-title"]["data"][0]["name"] == BAD
    assert outline.words.count(BAD) > 20
    assert outline.count("html", theme="dark") == 1


def test_a_thousand_rows_are_enough():
    trials = [
        TrialResult(trial_id=at, number=at, state="finished", params={"a": at}, seed=0, score=at / 1100)
        for at in range(1100)
    ]
    outline = Outline(report_page(a_report(trials=trials)))
    assert outline.count("th", scope="row") - 3 == 1000  # settings have two rows, the search space one
    assert "1,000 of 1,100 trials are shown, those that rank first; opt.results has all." in outline.words
    first = next(attrs["data-value"] for tag, attrs in outline.tags if tag == "th" and attrs.get("scope") == "row")
    assert first == "1099"


def test_code_of_every_kind_of_setting():
    record = {
        "seed": 7,
        "request": {
            "trials": 5, "objective": "health", "weights": {"parameters": {"accuracy": 0.5, "health": 0.5}},
            "search_space": {"parameters": {"filters": {"range": [8, 16]}, "activation": ["relu", "elu"], "l2": 0.0}},
            "sampler": {"object": "Mine\nimport os"}, "callbacks": [], "pruner": None, "seed": None,
            "config": OptimizationConfig(keep_models="best", timeout_hours=2).__dict__,
        },
    }  # fmt: skip
    planned = [TrialResult(trial_id=0, params={"filters": 8}, seed=0, origin="baseline")]
    planned += [TrialResult(trial_id=1, params={"filters": 9}, seed=0, origin="warm start")]
    assert search_code("digits", record, 9, planned).splitlines() == [
        "import hpoviz",
        "",
        "# sampler: yours, Mine import os",
        "opt = hpoviz.Optimizer(",
        '    "digits",',
        "    trials=9,",
        "    seed=7,",
        "    objective='health',",
        "    weights={'accuracy': 0.5, 'health': 0.5},",
        "    search_space={'filters': (8, 16), 'activation': ['relu', 'elu'], 'l2': 0.0},",
        "    sampler=sampler,",
        "    pruner=None,",
        "    config=hpoviz.OptimizationConfig(timeout_hours=2, keep_models='best'),",
        ")",
        "opt.compare_with({'filters': 8})",
        "opt.warm_start({'filters': 9})",
        "opt.run()",
    ]
