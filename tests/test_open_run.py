"""Runs that are reopened: finished, interrupted, killed, damaged, or being written by somebody else."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

import hpoviz
from hpoviz.errors import ConfigError, DatasetError, StoreError
from hpoviz.events import TrialStarted, event_from_json
from hpoviz.store import run_store
from hpoviz.widgets.figure_desk import FigureDesk
from tests.conftest import SMALL_SPACE
from tests.test_processes import start, wait_for_epoch

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def finished(stripes, tmp_path_factory):
    """The folder of a finished run, and its results."""
    folder = tmp_path_factory.mktemp("runs") / "finished"
    opt = hpoviz.Optimizer(
        stripes, trials=3, epochs=2, seed=1, workers=1, search_space=SMALL_SPACE, max_parameters=10_000, run_dir=folder
    )
    opt.run()
    return folder, opt.results


@pytest.fixture
def copy(finished, tmp_path):
    """A copy of the finished run, to be damaged."""
    folder = tmp_path / "copy"
    subprocess.run(["cp", "-r", finished[0], folder], check=True)
    return folder


def test_a_reopened_run_shows_what_it_showed(finished, stripes):
    folder, results = finished
    opt = hpoviz.open_run(folder, data=stripes)
    assert opt.results.equals(results)
    assert opt.status().phase == "completed"
    assert opt.best_trial.model.count_params() == opt.best_trial.result.parameters
    assert opt.request.search_space == SMALL_SPACE
    assert (opt.request.epochs, opt.request.max_parameters, opt.seed) == (2, 10_000, 1)
    assert opt.summary().startswith("Trial ")


def test_a_reopened_run_goes_on_with_the_next_numbers(copy, stripes):
    opt = hpoviz.open_run(copy, data=stripes)
    before = opt.results
    opt.run(more_trials=2)
    assert opt.results["number"].tolist() == [0, 1, 2, 3, 4]
    assert opt.results.head(3).equals(before)
    assert [trial.result.trial_id for trial in opt.trials] == [0, 1, 2, 3, 4]
    assert opt.results["params_learning_rate"].is_unique  # no proposal is made twice


def test_a_reopened_study_proposes_as_if_it_had_not_been_closed(stripes, tmp_path):
    """The sampler's memory is rebuilt: after random trials TPE proposes the same in both."""
    settings = {"search_space": SMALL_SPACE, "epochs": 1, "workers": 1, "pruner": None, "sampler": "random"}
    whole = hpoviz.Optimizer(stripes, trials=3, seed=4, run_dir=tmp_path / "whole", **settings)
    whole.run()
    opt = hpoviz.Optimizer(stripes, trials=3, seed=4, run_dir=tmp_path / "part", **settings)
    opt.run()
    again = hpoviz.open_run(tmp_path / "part", data=stripes)
    again._study_runner()
    rebuilt, live = again._runner._study._study.trials, whole._runner._study._study.trials
    assert [(t.params, t.values, t.state, t.intermediate_values) for t in rebuilt] == [
        (t.params, t.values, t.state, t.intermediate_values) for t in live
    ]


def test_a_killed_run_goes_on_and_repeats_what_was_running(tmp_path):
    process = start(tmp_path, epochs=300)
    wait_for_epoch(tmp_path)
    process.kill()
    process.wait()
    time.sleep(2.5)  # its workers end, and with them the last hand on the lock
    with (tmp_path / "run" / "events.jsonl").open("ab") as file:
        file.write(b'{"event": "EpochEn')  # as if killed in the middle of a line
    opt = hpoviz.open_run(tmp_path / "run")
    assert opt.status().phase == "interrupted"
    assert opt.status().running == 2
    started = {trial.trial_id: trial for trial in opt._log._state.trials.values()}
    opt._backend._slots = 2
    opt.start()
    give_up = time.monotonic() + 60
    while [slot.phase for slot in opt._log._state.slots.values()].count("training") < 2:
        assert time.monotonic() < give_up
        time.sleep(0.1)
    opt.stop()
    events = [event_from_json(line) for line in (tmp_path / "run" / "events.jsonl").read_text().splitlines()]
    again = [event for event in events if isinstance(event, TrialStarted) and event.attempt == 2]
    assert {event.trial for event in again} == set(started) == {0, 1}
    assert all(event.params == started[event.trial].params for event in again)
    assert all(event.seed == started[event.trial].seed for event in again)
    assert opt.results["number"].tolist() == [0, 1]


def test_a_run_that_was_killed_before_its_first_event_has_all_its_trials_before_it(copy, stripes):
    (copy / "events.jsonl").write_text("")
    opt = hpoviz.open_run(copy, data=stripes)
    assert (opt.status().wanted, opt.status().finished) == (3, 0)


def test_a_second_process_reads_and_says_who_writes(tmp_path):
    process = start(tmp_path, epochs=100_000)
    try:
        wait_for_epoch(tmp_path)
        opt = hpoviz.open_run(tmp_path / "run")
        assert f"written by process {process.pid} on " in opt.status().phase
        with pytest.raises(StoreError, match=f"is being written by process {process.pid} on"):
            opt.run(more_trials=1)
        assert opt.status().wanted == 2
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert hpoviz.open_run(tmp_path / "run").status().phase == "stopped"


def test_a_run_that_went_on_elsewhere_must_be_opened_again(copy, stripes):
    first, second = (hpoviz.open_run(copy, data=stripes) for _ in range(2))
    first.run(more_trials=1)
    with pytest.raises(StoreError, match="has gone on elsewhere since it was opened here"):
        second.run(more_trials=1)
    assert hpoviz.open_run(copy, data=stripes).status().finished == 4


def test_a_function_must_be_passed_again_to_go_on(stripes, run_dir):
    def space(trial):
        return {**SMALL_SPACE, "learning_rate": trial.suggest_float("learning_rate", 1e-3, 1e-2), "epochs": 1}

    opt = hpoviz.Optimizer(stripes, trials=1, seed=0, workers=1, search_space=space, run_dir=run_dir)
    opt.run()
    looking = hpoviz.open_run(run_dir, data=stripes)
    assert looking.results.equals(opt.results)
    with pytest.raises(ConfigError, match=r"search_space was .*space, which no file can hold. Pass it again"):
        looking.run(more_trials=1)
    again = hpoviz.open_run(run_dir, data=stripes, search_space=space)
    again.run(more_trials=1)
    assert again.results["state"].tolist() == ["finished", "finished"]


def test_a_run_is_looked_at_without_its_data(finished, stripes, tmp_path):
    folder, results = finished
    opt, whole = hpoviz.open_run(folder), hpoviz.open_run(folder, data=stripes)
    assert opt.results.equals(results)
    assert repr(opt) == repr(whole)
    assert (opt.summary(), opt.to_code(), opt.best_params) == (whole.summary(), whole.to_code(), whole.best_params)
    assert opt.pareto_front().equals(whole.pareto_front())
    assert opt.best_model.count_params() == opt.best_trial.result.parameters
    assert repr(opt.data) == repr(stripes)
    assert opt.save_model(tmp_path / "mine.keras").is_file()
    assert opt.save_run(tmp_path / "run.zip").stat().st_size > 10_000
    page = opt.report(tmp_path / "report.html").read_text()
    assert "The data of the search are not here." in page
    assert opt.best_trial.accuracy == results["accuracy"].max()


def test_figures_are_drawn_without_the_data_and_say_where_samples_are_missing(finished, stripes):
    opt, whole = hpoviz.open_run(finished[0]), hpoviz.open_run(finished[0], data=stripes)
    for name in opt.plots()["name"]:
        assert opt.plot(name).to_json() == whole.plot(name).to_json()
    drawn = {name: opt.best_trial.plot(name) for name in opt.best_trial.plots()["name"]}
    assert "are not here" in drawn["mistakes"].to_json()
    assert "must be passed again" in drawn["architecture"].to_json()
    for name in ("confusion_matrix", "calibration", "training", "gradient_flow", "health"):
        assert drawn[name].to_json() == whole.best_trial.plot(name).to_json()
    assert FigureDesk(print, lambda: opt, None).visualizer(opt.best_trial).scene3d().data


@pytest.mark.parametrize(
    "ask",
    [
        lambda opt: opt.run(),
        lambda opt: opt.run(more_trials=1),
        lambda opt: opt.start(1),
        lambda opt: opt.estimate(),
        lambda opt: opt.cross_validate(),
        lambda opt: opt.train_final(),
        lambda opt: opt.evaluate(),
        lambda opt: opt.compare_with({"filters": 16}),
        lambda opt: opt.data.sample(5),
        lambda opt: opt.data.concerns,
        lambda opt: hpoviz.Optimizer(opt.data).run(),
    ],
)
def test_what_needs_the_data_says_so_and_changes_nothing(copy, ask, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    opt, before = hpoviz.open_run(copy), (copy / "events.jsonl").read_bytes()
    with pytest.raises(ConfigError, match=r"^The data 'stripes' of this run must be passed again: open_run\(…, data"):
        ask(opt)
    assert (copy / "events.jsonl").read_bytes() == before
    assert opt.status().phase == "completed"


def test_own_data_that_bear_the_name_of_a_data_set_are_not_taken_for_it(copy):
    record = json.loads((copy / "run.json").read_text())
    change(copy, "data", record["data"] | {"name": "digits"})
    opt = hpoviz.open_run(copy)
    assert len(opt.results) == 3
    with pytest.raises(ConfigError, match=r"'digits' of this run must be passed again: .* its hash differs"):
        opt.run(more_trials=1)


def test_a_folder_of_runs_names_them_the_latest_first(finished, tmp_path):
    for place, name in enumerate(["b", "a", "c"]):
        shutil.copytree(finished[0], tmp_path / name)
        os.utime(tmp_path / name / "run.json", (1000 + place, 1000 + place))
    (tmp_path / "notes").mkdir()
    with pytest.raises(StoreError) as refused:
        hpoviz.open_run(tmp_path)
    names = ", ".join(repr(str(tmp_path / name)) for name in "cab")
    assert str(refused.value).endswith(f"no run.json. Name one of the runs in it, the latest first: {names}.")


def test_other_data_are_refused(finished):
    with pytest.raises(DatasetError, match="the hash of the samples differs"):
        hpoviz.open_run(finished[0], data=hpoviz.load_dataset("digits"))


def change(copy, name, value):
    record = json.loads((copy / "run.json").read_text())
    record[name] = value
    (copy / "run.json").write_text(json.dumps(record))


def test_a_newer_format_is_refused(copy, stripes):
    change(copy, "version", 99)
    with pytest.raises(StoreError, match=r"has format version 99; this hpoviz reads version 1"):
        hpoviz.open_run(copy, data=stripes)


@pytest.mark.parametrize("content", ["", "[]", "{}", "no json", '{"version": 1}'])
def test_a_damaged_run_json_is_refused(copy, stripes, content):
    (copy / "run.json").write_text(content)
    with pytest.raises(StoreError, match=r"run.json"):
        hpoviz.open_run(copy, data=stripes)


def test_an_edited_run_json_is_refused(copy, stripes):
    record = json.loads((copy / "run.json").read_text())
    change(copy, "request", record["request"] | {"trials": "many"})
    with pytest.raises(StoreError, match=r"settings that are not possible, so it was changed: trials must be"):
        hpoviz.open_run(copy, data=stripes)


def test_events_cut_off_between_two_lines_are_gone_on_from(copy, stripes):
    lines = (copy / "events.jsonl").read_text().splitlines(keepends=True)
    first_end = next(i for i, line in enumerate(lines) if '"TrialFinished"' in line)
    (copy / "events.jsonl").write_text("".join(lines[: first_end + 1]))
    opt = hpoviz.open_run(copy, data=stripes)
    assert opt.status().finished == 1
    opt.run()
    assert opt.status().finished == 3


def test_a_damaged_line_of_events_is_named(copy, stripes):
    lines = (copy / "events.jsonl").read_text().splitlines(keepends=True)
    lines[2] = lines[2][:30] + "\n"
    (copy / "events.jsonl").write_text("".join(lines))
    with pytest.raises(StoreError, match=r"Line 3 of .* is damaged"):
        hpoviz.open_run(copy, data=stripes)


def test_missing_events_are_named(copy, stripes):
    (copy / "events.jsonl").unlink()
    with pytest.raises(StoreError, match=r"has no events\.jsonl"):
        hpoviz.open_run(copy, data=stripes)
    assert not (copy / "events.jsonl").exists()


def test_a_missing_model_file_is_said_when_it_is_asked_for(copy, stripes):
    for path in copy.glob("trials/*/model.keras"):
        path.unlink()
    opt = hpoviz.open_run(copy, data=stripes)
    assert opt.status().finished == 3
    with pytest.raises(StoreError, match=r"The model of trial . is not in"):
        _ = opt.best_model


@pytest.mark.parametrize("kind", ["missing", "empty", "foreign"])
def test_a_foreign_folder_is_refused(tmp_path, kind):
    folder = tmp_path / "folder"
    if kind != "missing":
        folder.mkdir()
    if kind == "foreign":
        (folder / "notes.txt").write_text("mine")
    with pytest.raises(StoreError, match=r"is no run of hpoviz: it has no run.json"):
        hpoviz.open_run(folder)
    assert not (folder / "run.lock").exists()


LOOK = """
import os, sys
import hpoviz
from hpoviz.errors import StoreError
hpoviz.open_run(sys.argv[1]).results  # everything is imported now: the other user may not see this Python
os.setuid(65534)
opt = hpoviz.open_run(sys.argv[1])
print(opt.status(), len(opt.results), opt.best_trial.accuracy > 0.1)
try:
    opt.run(more_trials=1)
except StoreError as error:
    print(error)
"""


@pytest.mark.skipif(os.name != "posix", reason="needs a user who may not write")
def test_a_run_that_may_only_be_read_is_shown_and_refuses_to_go_on(tmp_path):
    folder = tmp_path / "run"
    opt = hpoviz.Optimizer("digits", trials=1, epochs=1, seed=0, workers=1, search_space=SMALL_SPACE, run_dir=folder)
    opt.run()
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with read_only(folder):
        code = LOOK if os.getuid() == 0 else LOOK.replace("os.setuid(65534)", "")
        done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, timeout=120)
    assert "completed: 1 finished of 1" in done.stdout
    assert done.stdout.count(" 1 True") == 1
    assert "cannot be written: " in done.stdout
    assert "Permission denied" in done.stdout
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@contextlib.contextmanager
def read_only(folder):
    """Take the right to write from everybody, and let everybody come as far as the folder."""
    for parent in [*folder.parents][:-2]:
        parent.chmod(0o755)
    paths = [folder, *folder.rglob("*")]
    for path in paths:
        path.chmod(0o555 if path.is_dir() else 0o444)
    yield
    for path in paths:
        path.chmod(0o755 if path.is_dir() else 0o644)


def test_a_disk_that_is_nearly_full_stops_the_search_with_everything_kept(copy, stripes, monkeypatch):
    opt = hpoviz.open_run(copy, data=stripes)
    free = shutil.disk_usage(copy).free
    monkeypatch.setattr(run_store, "LEAST_FREE", 2 * free)
    with pytest.raises(StoreError, match=r"MB are free in .* Free space"):
        opt.run(more_trials=2)
    assert opt.status().phase.startswith("failed: Only ")
    monkeypatch.undo()
    opt.run()
    assert len(opt.results) == 5
