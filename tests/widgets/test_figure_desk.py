"""What the dashboard's figures and downloads are answered with: valid files, and a word where there is nothing."""

import io
import json
import zipfile

import keras
import numpy as np
import pandas as pd
import pytest
import yaml

import hpoviz
from hpoviz.errors import ConfigError, StoreError
from hpoviz.plots.catalogue import STUDY_FIGURES, TRIAL_FIGURES
from hpoviz.widgets import figure_desk
from tests.conftest import SMALL_SPACE


@pytest.fixture(scope="module")
def opt(stripes, tmp_path_factory):
    found = hpoviz.Optimizer(
        stripes, trials=2, epochs=2, seed=0, backend="inline", search_space=SMALL_SPACE, pruner=None,
        run_dir=tmp_path_factory.mktemp("runs") / "run",
    )  # fmt: skip
    found.run()
    return found


class Asked:
    """A dashboard that is asked as a browser asks, and what it answered."""

    def __init__(self, opt):
        self.dashboard = hpoviz.Dashboard(opt)
        self.heard = []
        self.dashboard.send = lambda message, buffers=None: self.heard.append(
            (json.loads(json.dumps(message, allow_nan=False)), buffers)
        )

    def __call__(self, kind, **content):
        self.heard.clear()
        desk = self.dashboard._desk
        action = {"library": desk.library, "figure": desk.draw, "file": desk.hand_out}[kind]
        self.dashboard._do(kind, action, {"kind": kind, "key": "k", **content})
        return list(self.heard)

    def file(self, what, **content):
        answers = self("file", what=what, **content)
        assert [answer["part"] for answer, _ in answers] == list(range(answers[0][0]["parts"])), answers
        return b"".join(buffers[0] for _, buffers in answers)


@pytest.fixture(scope="module")
def asked(opt):
    asked = Asked(opt)
    yield asked
    asked.dashboard.close()


def test_the_tabs_are_the_figures_that_there_are(asked):
    tabs = asked.dashboard.frame["figures"]
    assert [name for name, _ in tabs["trial"]] == list(TRIAL_FIGURES)
    assert [name for name, _ in tabs["study"]] == list(STUDY_FIGURES)


@pytest.mark.parametrize("name", STUDY_FIGURES)
def test_figures_of_the_search(asked, name):
    ((answer, _),) = asked("figure", name=name, id=None, dark=False)
    assert STUDY_FIGURES[name].title in json.loads(answer["figure"])["layout"]["title"]["text"]


@pytest.mark.parametrize("name", TRIAL_FIGURES)
def test_figures_of_a_trial(asked, opt, name):
    ((answer, _),) = asked("figure", name=name, id=opt.best_trial.result.trial_id, dark=True)
    assert answer["key"] == "k"
    assert (answer["fit"] is not None) == (name == "architecture")
    assert json.loads(answer["figure"])["data"] or name == "mistakes"  # there may be none


def test_plotly_comes_as_a_module(asked):
    ((_, buffers),) = asked("library")
    text = buffers[0].decode()
    assert text.startswith("const module")
    assert text.endswith("export default module.exports;")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"name": "nothing", "id": None}, "There is no figure 'nothing'"),
        ({"name": "nothing", "id": 0}, "A trial has no figure 'nothing'"),
        ({"name": "training", "id": 99}, "No trial with id 99"),
        ({"name": "training", "id": "../x"}, "No trial with id '../x'"),
    ],
)
def test_what_cannot_be_drawn_is_said(asked, content, said):
    ((answer, _),) = asked("figure", dark=False, **content)
    assert (answer["kind"], answer["key"]) == ("figure", "k")
    assert said in answer["problem"]


def test_the_best_model_comes_with_its_parameters(asked, opt, tmp_path):
    archive = zipfile.ZipFile(io.BytesIO(asked.file("best_model")))
    assert sorted(archive.namelist()) == ["best_hyperparameters.yaml", "model.keras"]
    archive.extractall(tmp_path)
    model = keras.saving.load_model(tmp_path / "model.keras")
    x = opt.data.x[:5]
    np.testing.assert_allclose(model.predict(x, verbose=0), opt.best_model.predict(x, verbose=0), rtol=1e-5)
    record = yaml.safe_load((tmp_path / "best_hyperparameters.yaml").read_text())
    assert record["hyperparameters"]["filters"] == 8


def test_results_come_as_csv(asked, opt):
    frame = pd.read_csv(io.BytesIO(asked.file("results")))
    assert frame["score"].tolist() == pytest.approx(opt.results["score"].tolist())
    assert list(frame.columns) == list(opt.results.columns)


def test_the_run_opens_elsewhere(asked, opt, stripes, tmp_path, monkeypatch):
    monkeypatch.setattr(figure_desk, "PART", 10_000)  # in many parts
    archive = zipfile.ZipFile(io.BytesIO(asked.file("run")))
    archive.extractall(tmp_path)
    again = hpoviz.open_run(tmp_path / "run", data=stripes)
    assert again.results["score"].tolist() == opt.results["score"].tolist()
    assert again.best_trial.record.epochs.tolist() == [0, 1, 2]
    assert not [name for name in archive.namelist() if name.endswith("run.lock")]


def test_a_figure_as_a_page(asked, opt):
    page = asked.file("figure", name="calibration", id=0, dark=False).decode()
    assert "plotly.js v" in page
    assert "Calibration" in page


@pytest.mark.parametrize(("suffix", "begins"), [("svg", b"<svg"), ("png", b"\x89PNG"), ("json", b"{")])
def test_a_drawing_of_the_model(asked, suffix, begins):
    assert asked.file("drawing", suffix=suffix, id=0, dark=False).lstrip().startswith(begins)


@pytest.mark.parametrize("content", [{"what": "../secret"}, {"what": "drawing", "suffix": "exe", "id": 0}])
def test_other_files_are_refused(asked, content):
    ((answer, _),) = asked("file", **content)
    assert answer["problem"]


def test_a_file_that_is_too_large_says_what_to_do(asked, monkeypatch):
    monkeypatch.setattr(figure_desk, "MOST_BYTES", 100)
    ((answer, _),) = asked("file", what="run")
    assert "opt.save_run('run.zip')" in answer["problem"]


def test_before_the_search_there_is_nothing(stripes, run_dir):
    asked = Asked(hpoviz.Optimizer(stripes, run_dir=run_dir, **{"trials": 1, "search_space": SMALL_SPACE}))
    for kind, content in (("figure", {"name": "history", "id": None}), ("file", {"what": "best_model"})):
        ((answer, _),) = asked(kind, **content)
        assert answer["problem"] == "The search has not begun. Press Start."


def test_saving_from_code(opt, stripes, tmp_path):
    packed = opt.save_model(tmp_path / "best.zip")
    assert sorted(zipfile.ZipFile(packed).namelist()) == ["best_hyperparameters.yaml", "model.keras"]
    opt.save_run(tmp_path / "all.zip")
    assert "run/events.jsonl" in zipfile.ZipFile(tmp_path / "all.zip").namelist()
    inside = opt.save_run(opt.run_dir / "all.zip")
    opt.save_run(inside)  # neither into itself nor with the earlier one
    assert "run/all.zip" not in zipfile.ZipFile(inside).namelist()
    inside.unlink()
    with pytest.raises(ConfigError, match=r"\.keras file, or packed as \.zip"):
        opt.save_model(tmp_path / "best.h5")
    with pytest.raises(ConfigError, match=r"must end in \.zip"):
        opt.save_run(tmp_path / "all.tar")
    with pytest.raises(StoreError, match="cannot be written"):
        opt.save_run(tmp_path / "nowhere" / "all.zip")
    with pytest.raises(StoreError, match="has not begun"):
        hpoviz.Optimizer(stripes, run_dir=tmp_path / "new").save_run(tmp_path / "none.zip")
    assert not (tmp_path / "none.zip").exists()
