"""TensorBoard on request: what its files hold, number by number, and the real program."""

import contextlib
import dataclasses
import http.client
import json
import shutil
import signal
import subprocess
import sys
import time
import urllib.request

import numpy as np
import psutil
import pytest
from tensorboard.backend.event_processing.event_accumulator import TENSORS, EventAccumulator
from tensorboard.plugins.hparams import api_pb2, metadata
from tensorboard.util.tensor_util import make_ndarray

import hpoviz
from hpoviz import tensorboard_view
from hpoviz.errors import ConfigError, ExportError, StoreError
from hpoviz.search.parameter import Parameter
from hpoviz.search.space import CustomSpace, Domain
from hpoviz.tensorboard_logs import CURVES, LogFolder, LoggedSearch
from hpoviz.tensorboard_view import TensorBoard
from hpoviz.training_record import RECORD_FILE
from tests.conftest import SMALL_SPACE
from tests.made_up_record import HOSTILE, made_up_record, made_up_result
from tests.processes import wait_until_gone

pytestmark = pytest.mark.slow

CREATED = "2026-01-02T03:04:05+00:00"
COLUMNS = {"train": "{}", "validation": "val_{}"}


@pytest.fixture(scope="module")
def ended(stripes, tmp_path_factory):
    """A search of two trials that has ended."""
    opt = hpoviz.Optimizer(
        stripes, trials=2, epochs=2, seed=1, backend="inline", search_space=SMALL_SPACE,
        run_dir=tmp_path_factory.mktemp("runs") / "ended",
    )  # fmt: skip
    opt.run()
    assert [trial.state for trial in opt.trials] == ["finished", "finished"]
    return opt


@pytest.fixture(scope="module")
def logs(ended, tmp_path_factory):
    """The folder of its event files."""
    folder = tmp_path_factory.mktemp("logs")
    write(folder, search_of(ended), ended)
    return folder


@pytest.fixture
def copy(ended, stripes, tmp_path):
    """A copy of the run, to be damaged."""
    shutil.copytree(ended.run_dir, tmp_path / "copy", ignore=shutil.ignore_patterns("tensorboard"))
    return hpoviz.open_run(tmp_path / "copy", data=stripes)


@pytest.fixture
def no_program(monkeypatch):
    """Write files only."""
    monkeypatch.setattr(tensorboard_view, "TensorBoard", FakeTensorBoard)


class FakeTensorBoard:
    def __init__(self, log_dir, title):
        self.log_dir, self.running = log_dir, False

    def wait_for(self, runs):
        return True


def search_of(opt):
    with opt._reading() as state:
        return LoggedSearch.of(opt.run_dir, opt._problem.space, state.numbered, state.begun)


def write(folder, search, opt):
    log = LogFolder(folder, search)
    log.write_search()
    for trial in log.missing():
        log.write_trial(trial, opt.trials[trial.number].record)


def made_up(trials, **fields):
    fields = {"parameters": {}, "domains": {}, "began": {}} | fields
    return LoggedSearch(run="made up", created=CREATED, trials=trials, **fields)


def read(folder):
    """Return what is in an event file as TensorBoard reads it: (step, time, array) by tag, and what HPARAMS gets."""
    found = EventAccumulator(str(folder), size_guidance={TENSORS: 0}).Reload()
    tags = {
        tag: [(event.step, event.wall_time, make_ndarray(event.tensor_proto)) for event in found.Tensors(tag)]
        for tag in found.Tags()[TENSORS]
    }
    return tags, {tag: found.SummaryMetadata(tag).plugin_data.content for tag in tags if tag.startswith("_hparams")}


def points(tags, tag):
    return [(step, float(value)) for step, _, value in tags[tag]]


def as_written(steps, values):
    return [(step, float(np.float32(value))) for step, value in zip(steps, values, strict=True)]


def value_of(hparam):
    return getattr(hparam, hparam.WhichOneof("kind"))


# --- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, 1])
def test_curves_are_those_of_the_history(ended, logs, number):
    tags, _ = read(logs / f"trial_00{number}")
    history = ended.trials[number].history
    assert list(history.index) == [1, 2]
    for name in ("loss", "accuracy"):
        for part, column in COLUMNS.items():
            expected = as_written(history.index, history[column.format(name)])
            assert points(tags, f"epoch_{name}/{part}") == expected
    for name in ("learning_rate", "seconds"):
        assert points(tags, f"epoch_{name}") == as_written(history.index, history[name])
    times = [time for _, time, _ in tags["epoch_seconds"]]
    assert times[1] - times[0] == pytest.approx(history["seconds"][2], abs=1e-5)


def test_results_are_those_of_the_trial(ended, logs):
    tags, _ = read(logs / "trial_001")
    trial = ended.trials[1].result
    for name in ("score", "accuracy", "loss"):
        assert points(tags, f"result/{name}") == as_written([trial.best_epoch], [getattr(trial, name)])
    assert trial.health is None, trial.no_health
    assert "result/health" not in tags


def test_histograms_are_those_of_the_record_bin_by_bin(ended, logs):
    tags, _ = read(logs / "trial_000")
    record = ended.trials[0].record
    names = [f"{layer}/{name}" for layer, name in record.tensors]
    parts = {"weights": names, "gradients": names, "activations": record.layers}
    assert record.epochs.tolist() == [0, 1, 2]
    for part, of in parts.items():
        spread = getattr(record, part)
        for at, name in enumerate(of):
            events = tags[f"layer_{part}/{name}"]
            assert [step for step, _, _ in events] == [0, 1, 2]
            for look, (_, _, bins) in enumerate(events):
                assert (bins.shape, bins.dtype) == ((32, 3), np.float64)
                assert bins[:, 2].tolist() == spread.counts[look, at].tolist()
                assert (bins[0, 0], bins[-1, 1]) == (spread.low[look, at], spread.high[look, at])
                assert (bins[1:, 0] == bins[:-1, 1]).all()
                np.testing.assert_allclose(bins[:, 1] - bins[:, 0], (bins[-1, 1] - bins[0, 0]) / 32, rtol=1e-6)
    assert {tag.split("/")[0] for tag in tags if len(tags[tag][0][2].shape) == 2} == {f"layer_{part}" for part in parts}


def test_layers_are_those_of_history_and_record(ended, logs):
    tags, _ = read(logs / "trial_000")
    trial = ended.trials[0]
    record, norms = trial.record, trial.gradient_norms
    assert len(norms.columns) > 1
    for layer in norms:
        assert points(tags, f"layer_gradient_norm/{layer}") == as_written(norms.index, norms[layer])
    for at, layer in enumerate(record.layers):
        shares = record.silent[:, at] / record.units[at]
        assert points(tags, f"layer_silent_share/{layer}") == as_written(record.epochs, shares)
    for layer in {layer for layer, _ in record.tensors}:
        own = [at for at, (owner, _) in enumerate(record.tensors) if owner == layer]
        expected = np.linalg.norm(record.gradient_norms[:, own].astype(float), axis=1)
        seen = points(tags, f"layer_gradient_norm_of_samples/{layer}")
        np.testing.assert_allclose([value for _, value in seen], expected, rtol=1e-6)


def test_hparams_of_a_trial(ended, logs):
    _, found = read(logs / "trial_001")
    trial = ended.trials[1]
    start = metadata.parse_session_start_info_plugin_data(found[metadata.SESSION_START_INFO_TAG])
    assert {name: value_of(value) for name, value in start.hparams.items()} == dict(trial.params)
    assert isinstance(value_of(start.hparams["optimizer"]), str)
    assert value_of(start.hparams["use_batch_normalization"]) is trial.params["use_batch_normalization"]
    end = metadata.parse_session_end_info_plugin_data(found[metadata.SESSION_END_INFO_TAG])
    assert (start.group_name, end.status) == ("trial_001", api_pb2.STATUS_SUCCESS)
    assert end.end_time_secs - start.start_time_secs == pytest.approx(trial.result.seconds, abs=1e-5)


def test_hparams_of_the_search(ended, logs):
    tags, found = read(logs)
    experiment = metadata.parse_experiment_plugin_data(found[metadata.EXPERIMENT_TAG])
    assert list(tags) == [metadata.EXPERIMENT_TAG]
    infos = {info.name: info for info in experiment.hparam_infos}
    assert set(infos) == set(ended.trials[0].params)
    rate = infos["learning_rate"]
    assert (rate.domain_interval.min_value, rate.domain_interval.max_value, rate.differs) == (1e-3, 1e-2, True)
    assert [value_of(value) for value in infos["filters"].domain_discrete.values] == [8]
    assert (infos["filters"].type, infos["filters"].differs) == (api_pb2.DATA_TYPE_FLOAT64, False)
    assert infos["optimizer"].type == api_pb2.DATA_TYPE_STRING
    assert [metric.name.tag for metric in experiment.metric_infos] == [
        f"result/{name}" for name in ("score", "accuracy", "loss", "health")
    ]


def test_a_pruned_trial_ends_with_its_last_epoch_and_what_is_not_finite_is_nan(tmp_path):
    whole = made_up_result()
    first = dataclasses.replace(whole.history[0], val_loss=None)
    trial = dataclasses.replace(whole, number=7, state="pruned", health=0.25, best_epoch=None, history=(first,))
    LogFolder(tmp_path, made_up([trial])).write_trial(trial, made_up_record())
    tags, found = read(tmp_path / "trial_007")
    assert [step for step, _, _ in tags[f"layer_activations/{HOSTILE}"]] == [0, 1]
    assert np.isnan(tags["epoch_loss/validation"][0][2])
    assert points(tags, "result/health") == [(1, 0.25)]
    end = metadata.parse_session_end_info_plugin_data(found[metadata.SESSION_END_INFO_TAG])
    assert end.status == api_pb2.STATUS_UNKNOWN


def test_a_trial_that_was_not_trained(tmp_path):
    trial = dataclasses.replace(made_up_result(), number=0, state="infeasible", history=(), best_epoch=None)
    trial = dataclasses.replace(trial, score=None, accuracy=None, loss=None, health=None)
    LogFolder(tmp_path, made_up([trial])).write_trial(trial, None)
    tags, found = read(tmp_path / "trial_000")
    assert set(tags) == set(found) == {metadata.SESSION_START_INFO_TAG, metadata.SESSION_END_INFO_TAG}
    end = metadata.parse_session_end_info_plugin_data(found[metadata.SESSION_END_INFO_TAG])
    assert end.status == api_pb2.STATUS_FAILURE


def test_parameters_of_every_type(tmp_path):
    """Choices that differ in type are texts, values outside of the choices are choices too, and None is no number."""
    params = {"mixed": None, "number": 7, "flag": True, "own": 0.5, "empty": None}
    trial = dataclasses.replace(made_up_result(), number=0, params=params)
    domains = {
        "mixed": Domain(choices=(None, 2)), "number": Domain(choices=(1, 2)), "flag": Domain(choices=(False,)),
        "empty": Domain(low=1, high=4),
    }  # fmt: skip
    parameters = {"flag": Parameter(name="flag", default=False, help="a flag")}
    log = LogFolder(tmp_path, made_up([trial], domains=domains, parameters=parameters))
    log.write_search()
    log.write_trial(trial, None)
    _, found = read(tmp_path / "trial_000")
    start = metadata.parse_session_start_info_plugin_data(found[metadata.SESSION_START_INFO_TAG])
    given = {name: value_of(value) for name, value in start.hparams.items()}
    assert given == {"mixed": "None", "number": 7, "flag": True, "own": 0.5}
    assert given["flag"] is True
    _, found = read(tmp_path)
    infos = metadata.parse_experiment_plugin_data(found[metadata.EXPERIMENT_TAG]).hparam_infos
    choices = {info.name: [value_of(value) for value in info.domain_discrete.values] for info in infos}
    assert choices == {"mixed": ["None", "2"], "number": [1, 2, 7], "flag": [False, True], "own": [], "empty": []}
    assert {info.name: info.description for info in infos}["flag"] == "a flag"


def test_only_what_is_missing_is_written_and_nothing_is_deleted(ended, tmp_path):
    search = search_of(ended)
    (tmp_path / "trial_000").mkdir()
    notes = tmp_path / "trial_000" / "notes.txt"
    notes.write_text("mine")
    write(tmp_path, dataclasses.replace(search, trials=search.trials[:1]), ended)
    assert not (tmp_path / "trial_001").exists()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("trial_000/*")}
    log = LogFolder(tmp_path, search)
    assert not log.write_search()
    assert [trial.number for trial in log.missing()] == [1]
    write(tmp_path, search, ended)
    assert LogFolder(tmp_path, search).missing() == []
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("trial_000/*")} == before
    assert notes.read_text() == "mine"
    assert not list(tmp_path.rglob("*.tmp"))


def test_the_folder_of_another_search(ended, tmp_path):
    LogFolder(tmp_path, made_up([]))
    with pytest.raises(ConfigError, match="holds the trials of another search"):
        ended.tensorboard(tmp_path)
    (tmp_path / "hpoviz.json").write_text("{")
    with pytest.raises(StoreError, match="cannot be read"):
        ended.tensorboard(tmp_path)


def test_a_folder_that_cannot_be_written(ended, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="Name another log_dir"):
        ended.tensorboard(tmp_path / "file" / "logs")


def test_a_search_without_ended_trials(stripes, run_dir):
    with pytest.raises(StoreError, match="no trial has ended"):
        hpoviz.Optimizer(stripes, backend="inline", run_dir=run_dir).tensorboard()
    assert not run_dir.exists()


@pytest.mark.usefixtures("no_program")
def test_a_trial_without_a_record(copy, capsys):
    (copy._trial_folder(copy.trials[0].result) / RECORD_FILE).unlink()
    shown = copy.tensorboard()
    assert shown.log_dir == copy.run_dir / "tensorboard"
    tags, _ = read(shown.log_dir / "trial_000")
    assert {tag for tag in tags if tag.startswith("epoch_")} == set(CURVES)
    assert {tag.split("/")[0] for tag in tags if tag.startswith("layer_")} == {"layer_gradient_norm"}
    assert "layer_weights/probabilities/kernel" in read(shown.log_dir / "trial_001")[0]
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("no_program")
@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_a_damaged_record_is_said_in_one_line(copy, capsys, damage):
    path = copy._trial_folder(copy.trials[1].result) / RECORD_FILE
    content = bytearray(path.read_bytes())
    if damage == "cut":
        del content[len(content) // 2 :]
    else:
        content[300:340] = bytes(40)
    path.write_bytes(content)
    shown = copy.tensorboard()
    said = capsys.readouterr().out
    assert said.startswith("Trial 1 is shown without its layers: ")
    assert said.count("\n") == 1
    assert points(read(shown.log_dir / "trial_001")[0], "epoch_loss/train")


def test_without_the_package(ended, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "tensorboard"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ExportError, match=r'pip install "hpoviz\[lab\]"'):
        ended.tensorboard(tmp_path / "logs")
    assert not (tmp_path / "logs").exists()


# --- the program -----------------------------------------------------------------------------------------------------


def fetch(shown, path):
    with urllib.request.urlopen(shown.url + path, timeout=10) as answer:
        return json.load(answer)


def test_the_program_shows_the_trials_until_it_is_closed(ended, tmp_path):
    search = search_of(ended)
    write(tmp_path, dataclasses.replace(search, trials=search.trials[:1]), ended)
    shown = tensorboard_view.show_tensorboard(
        tmp_path, dataclasses.replace(search, trials=search.trials[:1]), ended._trial_folder
    )
    try:
        assert fetch(shown, "data/runs") == [".", "trial_000"]
        process = psutil.Process(shown._process.pid)
        listening = [it.laddr for it in process.net_connections() if it.status == psutil.CONN_LISTEN]
        assert [address.ip for address in listening] == ["127.0.0.1"]
        processes = [process, *process.children(recursive=True)]
        assert shown.url == f"http://127.0.0.1:{listening[0].port}/"

        again = ended.tensorboard(tmp_path)  # the other trial has ended meanwhile
        assert again is shown
        assert fetch(shown, "data/runs") == [".", "trial_000", "trial_001"]
        history = ended.trials[1].history
        query = "data/plugin/scalars/scalars?run=trial_001&tag=epoch_loss%2Fvalidation"
        wanted = as_written([1, 2], history["val_loss"])
        assert eventually(lambda: [(step, value) for _, step, value in fetch(shown, query)] == wanted)
        assert set(fetch(shown, "data/plugin/histograms/tags")) == {"trial_000", "trial_001"}

        assert shown.url in repr(shown)
        assert "close()" in repr(shown)
        page = shown._repr_html_()
        assert f'<iframe src="{shown.url}" title="TensorBoard of ended" width="100%" height="800"' in page
        assert f'<a href="{shown.url}"' in page
    finally:
        shown.close()
    shown.close()
    assert wait_until_gone(processes, 5)
    with pytest.raises(ConnectionRefusedError):
        http.client.HTTPConnection("127.0.0.1", listening[0].port, timeout=5).connect()
    assert "closed" in repr(shown)
    assert "<iframe" not in shown._repr_html_()
    assert (tmp_path / "trial_001").is_dir()


SCRIPT = """
import sys
import time
from pathlib import Path
from hpoviz.tensorboard_events import builders
from hpoviz.tensorboard_view import TensorBoard
builders()
shown = TensorBoard(Path(sys.argv[1]), "made up")
print(shown._process.pid, "tensorflow" in sys.modules, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("end", ["ends", "is killed"])
def test_the_program_ends_when_its_parent(tmp_path, end):
    """And nothing of it needs TensorFlow."""
    parent = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    pid, tensorflow = parent.stdout.readline().split()
    assert tensorflow == "False"
    process = psutil.Process(int(pid))
    processes = [process, *process.children(recursive=True)]
    if end == "is killed":
        parent.send_signal(signal.SIGKILL)
    parent.communicate(timeout=30)
    assert wait_until_gone(processes, 10)
    assert parent.returncode == (-signal.SIGKILL if end == "is killed" else 0)


def eventually(condition, timeout_s=60.0):
    """Ask again and again, as the program reads files when it comes to it."""
    give_up = time.monotonic() + timeout_s
    while time.monotonic() < give_up:
        with contextlib.suppress(OSError):  # it does not know the run yet
            if condition():
                return True
        time.sleep(0.2)
    return False


def test_a_program_that_ends_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(tensorboard_view, "BOOT", "print('no luck <today>'); raise SystemExit(3)")
    with pytest.raises(ExportError, match=r"ended with exit code 3\. It printed:\nno luck <today>"):
        TensorBoard(tmp_path, "made up")


def test_a_program_that_does_not_answer(tmp_path, monkeypatch):
    monkeypatch.setattr(tensorboard_view, "BOOT", "print('wait', flush=True); import time; time.sleep(60)")
    monkeypatch.setattr(tensorboard_view, "STARTING_S", 5.0)
    before = set(psutil.Process().children())
    with pytest.raises(ExportError, match=r"has not answered within 5 s\. It printed:\n"):
        TensorBoard(tmp_path, "made up")
    assert set(psutil.Process().children()) <= before


def test_in_colab_it_says_where_it_is(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "google.colab", object())
    shown = TensorBoard(tmp_path, "<made up>")
    try:
        page = shown._repr_html_()
    finally:
        shown.close()
    assert "<iframe" not in page
    assert "<made up>" not in page
    assert shown.url in page
    assert f"notebook.display(port={shown._port}, height=800)" in page


def test_a_function_of_the_users_as_space(ended):
    with ended._reading() as state:
        search = LoggedSearch.of(ended.run_dir, CustomSpace({}, dict), state.numbered, state.begun)
    assert search.domains == {}
    assert search.kinds()["learning_rate"] == "number"
