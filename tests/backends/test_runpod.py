"""RunPodBackend on RunPod's own client and worker loop, over a service on this machine: its contract, and faults."""

import dataclasses
import json
import signal
import subprocess
import sys
import time

import keras
import pytest

import hpoviz
from hpoviz.backends import runpod, runpod_client, runpod_messages
from hpoviz.backends.runpod import RunPodBackend
from hpoviz.data.data_recipe import DataRecipe
from hpoviz.errors import BackendUnavailable, ConfigError
from hpoviz.events import (
    EpochEnded,
    PhaseChanged,
    TerminalEvent,
    TrialCancelled,
    TrialFailed,
    TrialFinished,
    WorkerLost,
)
from hpoviz.testing.backend_contract import BackendContract, Harness, tiny_spec
from tests.conftest import SMALL_SPACE
from tests.runpod_service import Service, kill

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

LONG = {"epochs": 5000}
FINISHED = TrialFinished(
    run="r", trial=0, seconds=1.0, score=0.5, accuracy=0.5, loss=1.0, best_epoch=1, epochs=1, model_sha256="0" * 64
)


def _chain(error):
    """Everything that can be read from an error and from what it came of."""
    while error is not None:
        yield f"{error!r} {vars(error)}"
        request = getattr(error, "request", None)
        yield str(getattr(request, "headers", ""))
        error = error.__cause__ or error.__context__


def backend_of(service, **settings):
    known = {"workers": 2, "api_key": service.key, "base_url": service.base_url, "poll_s": 0.2}
    return RunPodBackend("ep", **known | settings)


@pytest.fixture
def harness(calm, tmp_path):
    harness = Harness(backend_of(calm), hpoviz.load_dataset("digits").split(), tmp_path)
    yield harness
    harness.backend.close()


class TestContract(BackendContract):
    """What every backend must do."""

    @pytest.fixture(autouse=True)
    def _service(self, calm):
        self.service = calm

    def make_backend(self):
        return backend_of(self.service)


def test_a_search_gives_what_it_gives_on_this_machine(calm, stripes, tmp_path):
    options = {"trials": 6, "epochs": 2, "seed": 3, "search_space": SMALL_SPACE | {"l2": (1e-5, 1e-2)}}
    here = hpoviz.Optimizer(stripes, workers=2, run_dir=tmp_path / "here", **options)
    here.run()
    there = hpoviz.Optimizer(stripes, backend=backend_of(calm), run_dir=tmp_path / "there", **options)
    there.run()
    assert there.results["state"].tolist() == ["finished"] * 6

    def curves(opt):
        found = {trial.result.trial_id: trial.history.drop(columns="seconds") for trial in opt.trials}
        return [found[trial_id] for trial_id in sorted(found)]

    for one, other in zip(curves(here), curves(there), strict=True):
        losses = ["loss", "val_loss"]
        assert one[losses].to_numpy(float) == pytest.approx(other[losses].to_numpy(float), rel=1e-3)
        assert one["learning_rate"].tolist() == other["learning_rate"].tolist()
    assert there.best_trial.health.to_dict()["metrics"].keys() == here.best_trial.health.to_dict()["metrics"].keys()
    sure = [opt.best_trial.record.predictions.confidence for opt in (here, there)]
    assert sure[0] == pytest.approx(sure[1], rel=1e-2)
    assert there.best_model.predict(stripes.x[:2], verbose=0).shape == (2, 2)
    assert len(calm.calls) > 12


def test_the_last_event_comes_after_the_files(harness, calm):
    harness.backend.submit(tiny_spec(), slot=0)
    events = harness.events_until(TerminalEvent)
    assert isinstance(events[-1], TrialFinished)
    assert {path.name for path in harness.trial_folder(0).iterdir()} == {"model.keras", "history.csv"}
    assert not (harness.folder / "runpod_jobs.json").exists()


def test_jobs_have_limits_and_are_on_disk_before_they_are_waited_for(harness, calm):
    harness.backend.submit(tiny_spec(0, **LONG), slot=0)
    calm.wait(lambda: (harness.folder / "runpod_jobs.json").exists())
    (job,) = calm.running
    assert json.loads((harness.folder / "runpod_jobs.json").read_text()) == {"endpoint": "ep", "jobs": [job.id]}
    assert job.policy == {"executionTimeout": 3_600_000, "ttl": 5_400_000}
    harness.backend.cancel(0, grace_s=1)
    assert isinstance(harness.events_until(TerminalEvent)[-1], TrialCancelled)


@pytest.mark.parametrize(
    ("pattern", "status", "times"),
    [
        ("POST /v2/ep/run", 429, 2),
        ("POST /v2/ep/run", 500, 1),
        ("POST /v2/ep/run", "drop", 1),
        ("GET /v2/ep/stream", 502, 2),
        ("GET /v2/ep/stream", "drop", 1),
        ("GET /v2/ep/stream", 500, 3),
    ],
    ids=["run 429", "run 500", "run cut", "stream 502", "stream cut", "stream 500"],
)
def test_a_service_that_falters(harness, calm, pattern, status, times):
    calm.fail(pattern, status, times)
    harness.backend.submit(tiny_spec(), slot=0)
    events = harness.events_until(TerminalEvent)
    assert isinstance(events[-1], TrialFinished)
    assert [event.epoch for event in events if isinstance(event, EpochEnded)] == [1, 2]
    assert (harness.trial_folder(0) / "model.keras").exists()


@pytest.mark.parametrize("fault", ["messages", "answers", "status"])
def test_what_is_lost_on_the_way_comes_again_with_the_result(harness, calm, fault):
    if fault != "answers":
        calm.tamper = lambda message: {**message, "n": 10_000 + message["n"]} if message["n"] % 3 == 1 else message
    if fault == "status":
        calm.fail("GET /v2/ep/status", 500, 6)  # more than the client asks again for by itself
    harness.backend.submit(tiny_spec(), slot=0)
    if fault == "answers":
        calm.wait(lambda: calm.jobs and list(calm.jobs.values())[-1].stream)
        calm.fail("GET /v2/ep/stream", "lose", 1)
    events = harness.events_until(TerminalEvent)
    assert isinstance(events[-1], TrialFinished)
    assert [event.epoch for event in events if isinstance(event, EpochEnded)] == [1, 2]


def test_a_job_that_is_not_known_any_more_is_a_lost_worker(harness, calm):
    harness.backend.submit(tiny_spec(0, **LONG), slot=0)
    harness.events_until(EpochEnded)
    (job,) = calm.running
    calm.fail("GET /v2/ep/stream", 404)
    lost = harness.events_until(WorkerLost)[-1]
    assert "does not know job" in lost.reason
    assert job.status == "CANCELLED"  # it may have been there all the same


@pytest.mark.parametrize(
    ("status", "error", "kind", "said"),
    [
        ("CANCELLED", None, TrialCancelled, "its job was cancelled on RunPod"),
        ("TIMED_OUT", "executionTimeout exceeded", TrialFailed, "max_job_minutes=60"),
        ("FAILED", "the container is out of memory", WorkerLost, "the container is out of memory"),
    ],
)
def test_a_job_that_is_ended_from_outside(harness, calm, status, error, kind, said):
    harness.backend.submit(tiny_spec(0, **LONG), slot=0)
    harness.events_until(EpochEnded)
    calm.end(calm.running[0], status, error)
    assert said in harness.events_until(kind)[-1].reason


def test_a_file_that_comes_damaged_is_not_taken(harness, calm):
    calm.tamper = lambda message: (
        {**message, "content": "AAAA" + message["content"][4:]} if "content" in message else message
    )
    harness.backend.submit(tiny_spec(), slot=0)
    assert "has come damaged" in harness.events_until(WorkerLost)[-1].reason
    assert not (harness.trial_folder(0) / "model.keras").exists()


@pytest.mark.parametrize(
    "message",
    [
        "nothing",
        {"n": "1"},
        {"n": 0, "event": {"event": "RunStarted"}},
        {"n": 0, "event": json.loads(PhaseChanged(run="r", trial=7, phase="building").to_json())},
        {"n": 0, "event": json.loads(PhaseChanged(run="r", trial=0, attempt=2, phase="building").to_json())},
        {"n": 0, "event": json.loads(WorkerLost(run="r", trial=0, reason="so it says").to_json())},
        {"n": 0, "event": json.loads(dataclasses.replace(FINISHED, score="much").to_json())},
        {"n": 50_000, "event": {}},
        {"n": 0, "file": "../x", "part": 0, "parts": 1, "content": ""},
    ],
)
def test_a_worker_that_talks_nonsense(harness, calm, message):
    calm.tamper = lambda _: message
    harness.backend.submit(tiny_spec(0, **LONG), slot=0)
    lost = harness.events_until(WorkerLost)[-1]
    assert not lost.reason.endswith("so it says")
    assert list(harness.trial_folder(0).iterdir()) == []


def test_a_result_without_its_model_is_not_taken(harness, calm):
    calm.tamper = lambda message: {"n": message["n"], "boot": "b", "event": json.loads(FINISHED.to_json())}
    harness.backend.submit(tiny_spec(0, **LONG), slot=0)
    assert "is not the one that was trained" in harness.events_until(WorkerLost)[-1].reason


def test_a_silent_worker_is_given_up(calm, tmp_path):
    harness = Harness(backend_of(calm, silence_minutes=0.05), hpoviz.load_dataset("digits").split(), tmp_path)
    calm.fail("POST /v2/ep/job-stream", 200, 100_000)  # nothing that a worker says arrives
    harness.backend.submit(tiny_spec(0, **LONG), slot=0)
    try:
        assert "said nothing for" in harness.events_until(WorkerLost)[-1].reason
    finally:
        calm.calm_down()
        harness.backend.close()


def test_a_worker_that_is_killed(tmp_path):
    """The service gives its job to another worker; we take that as lost, and repeat the trial ourselves, once."""
    with Service() as service:
        first = service.start_worker("first")
        service.wait_for_workers(1)
        service.fail("POST /v2/ep/job-done/first", 500, 10_000)  # it shall not end before it is killed
        opt = hpoviz.Optimizer(
            "digits", trials=1, seed=0, search_space={"filters": 8, "epochs": 40}, run_dir=tmp_path / "run",
            backend=backend_of(service, workers=1), config=hpoviz.OptimizationConfig(early_stopping_patience=None),
        )  # fmt: skip
        opt.start()
        service.wait(lambda: (tmp_path / "run" / "events.jsonl").read_text().count("EpochEnded") >= 2)
        kill(first)
        service.start_worker("second")
        service.give_back(service.running[0])
        assert opt.wait(240)
        assert opt.results["state"].tolist() == ["finished"]
        assert opt.best_trial.history.index.tolist() == list(range(1, 41))  # nothing of the first attempt
        assert service.running == []
        assert [job.status for job in service.jobs.values()] == ["CANCELLED", "COMPLETED"]


def test_no_workers(tmp_path, stripes):
    with Service() as service:
        backend = backend_of(service, queue_minutes=0.03)
        opt = hpoviz.Optimizer(stripes, trials=2, seed=0, backend=backend, run_dir=tmp_path / "run")
        with pytest.raises(BackendUnavailable, match=r"No RunPod worker took trial \d.*The endpoint: workers: none"):
            opt.run()
        assert service.running == []


@pytest.mark.parametrize("endpoint", ["ep", "other"])
def test_a_wrong_key_and_a_wrong_endpoint(calm, stripes, tmp_path, endpoint):
    key = "rpa_WRONG_KEY" if endpoint == "ep" else calm.key
    backend = RunPodBackend(endpoint, workers=1, api_key=key, base_url=calm.base_url)
    said = "refuses the API key" if endpoint == "ep" else "knows no endpoint 'other'"
    with pytest.raises(BackendUnavailable, match=said) as caught:
        backend.check()
    assert not [text for text in _chain(caught.value) if key in text]
    opt = hpoviz.Optimizer(stripes, trials=2, seed=0, backend=backend, run_dir=tmp_path / "run")
    with pytest.raises(BackendUnavailable, match=said):
        opt.run()


def test_a_killed_notebook_leaves_nothing_running(calm, tmp_path):
    script = f"""
import hpoviz
backend = hpoviz.RunPodBackend("ep", workers=2, api_key={calm.key!r}, base_url={calm.base_url!r}, poll_s=0.2)
opt = hpoviz.Optimizer("digits", trials=2, seed=0, backend=backend, run_dir={str(tmp_path / "run")!r}, pruner=None,
                       epochs=3000, search_space={{"filters": 8}},
                       config=hpoviz.OptimizationConfig(early_stopping_patience=None))
opt.run()
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        calm.wait(lambda: len([job for job in calm.running if job.worker]) == 2)
        calm.wait(lambda: "EpochEnded" in (tmp_path / "run" / "events.jsonl").read_text())
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert len(calm.running) == 2
    again = hpoviz.open_run(tmp_path / "run", backend=backend_of(calm))
    left = list(calm.running)
    again.start()
    calm.wait(lambda: all(job.status == "CANCELLED" for job in left))
    again.stop()
    again.wait(60)
    assert not (tmp_path / "run" / "runpod_jobs.json").exists()


def test_the_key_is_nowhere(calm, stripes, tmp_path, caplog):
    backend = backend_of(calm)
    with caplog.at_level("DEBUG"):
        opt = hpoviz.Optimizer(
            stripes, trials=2, epochs=1, seed=0, backend=backend, search_space=SMALL_SPACE, run_dir=tmp_path / "run"
        )
        opt.run()
    said = [repr(backend), repr(backend._client), opt.summary(), repr(opt), caplog.text, backend.describe()]
    said += [calm.log_of("one"), calm.log_of("two")]
    said += [path.read_bytes().decode("latin-1") for path in tmp_path.rglob("*") if path.is_file()]
    assert not [text for text in said if calm.key in text]
    assert calm.key in str(vars(backend._client._http))  # it would be found


def test_own_code_does_not_travel(calm, stripes, tmp_path):
    opt = hpoviz.Optimizer(
        stripes, trials=1, seed=0, backend=backend_of(calm), run_dir=tmp_path / "run",
        callbacks=[keras.callbacks.TerminateOnNaN()],
    )  # fmt: skip
    with pytest.raises(ConfigError, match="run on this machine only"):
        opt.run()


def test_data_that_are_too_large(calm, tmp_path):
    import numpy as np

    noise = np.random.default_rng(0).integers(0, 255, (900, 64, 64, 3), dtype=np.uint8)
    data = hpoviz.Dataset.from_arrays(noise, np.arange(900) % 2)
    opt = hpoviz.Optimizer(data, trials=1, seed=0, backend=backend_of(calm), run_dir=tmp_path / "run")
    with pytest.raises(ConfigError, match=r"4 MB can be sent with a trial"):
        opt.run()


def test_a_data_set_by_name_is_loaded_by_the_worker(calm, tmp_path, monkeypatch):
    monkeypatch.setattr(runpod_messages, "MOST_INLINE", 100)
    opt = hpoviz.Optimizer(
        "digits", trials=1, epochs=1, seed=0, backend=backend_of(calm), search_space=SMALL_SPACE, run_dir=tmp_path / "a"
    )
    opt.run()
    job = list(calm.jobs.values())[-1]
    assert list(job.input["data"]) == ["recipe"]
    assert job.input["data"]["recipe"]["dataset"] == "digits"
    here = hpoviz.Optimizer(
        "digits", trials=1, epochs=1, seed=0, workers=1, search_space=SMALL_SPACE, run_dir=tmp_path / "b"
    )
    here.run()
    assert opt.results["loss"].tolist() == pytest.approx(here.results["loss"].tolist(), rel=1e-4)


def test_another_data_set_of_that_name_is_refused(harness, calm):
    recipe = DataRecipe("digits", "0" * 64, 0.2, 0)
    harness.backend._data["search"] = {"recipe": recipe.to_dict()}
    harness.backend.submit(tiny_spec(), slot=0)
    failed = harness.events_until(TerminalEvent)[-1]
    assert isinstance(failed, TrialFailed)
    assert "is another one on this machine" in failed.reason


def test_a_worker_of_another_version(calm, stripes, tmp_path, monkeypatch):
    monkeypatch.setattr(runpod, "version", lambda _: "9.9.0")
    opt = hpoviz.Optimizer(stripes, trials=3, seed=0, backend=backend_of(calm), run_dir=tmp_path / "run")
    with pytest.raises(BackendUnavailable, match=r"The worker has hpoviz 0\.1\.0, and the job is of hpoviz 9\.9\.0"):
        opt.run()


def test_stopping_a_search_frees_the_workers(calm, tmp_path):
    opt = hpoviz.Optimizer(
        "digits", trials=50, seed=0, backend=backend_of(calm), run_dir=tmp_path / "run", pruner=None,
        search_space={"filters": 8}, epochs=3000, config=hpoviz.OptimizationConfig(early_stopping_patience=None),
    )  # fmt: skip
    opt.start()
    calm.wait(lambda: "EpochEnded" in (tmp_path / "run" / "events.jsonl").read_text())
    began = time.monotonic()
    opt.stop()
    opt.wait(30)
    assert time.monotonic() - began < 20
    assert calm.running == []


def test_the_root_logger_is_left_alone():
    script = """
import logging
logging.getLogger().setLevel(37)
from hpoviz.backends.runpod_client import RunPodClient
RunPodClient("ep", "key")
print(logging.getLogger().level, logging.getLogger().handlers)
"""
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert said.split() == ["37", "[]"]


def test_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "runpod", None)
    with pytest.raises(BackendUnavailable, match=r'pip install "hpoviz\[runpod\]"'):
        RunPodBackend("ep", api_key="key")


def test_where_the_key_is_found(monkeypatch, tmp_path):
    monkeypatch.setattr(runpod_client, "KEY_FILE", str(tmp_path / "config.toml"))
    monkeypatch.delenv("RUNPOD_API_KEY", raising=False)
    with pytest.raises(ConfigError, match="RunPod wants an API key"):
        runpod_client.find_key(None)
    (tmp_path / "config.toml").write_text('[default]\napi_key = "of the file"\n')
    assert runpod_client.find_key(None) == "of the file"
    monkeypatch.setenv("RUNPOD_API_KEY", "of the environment")
    assert runpod_client.find_key(None) == "of the environment"
    assert runpod_client.find_key("given") == "given"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"endpoint_id": "a/../b"}, "endpoint_id must be"),
        ({"workers": 0}, "workers must be a whole number from 1 to 64"),
        ({"poll_s": 0.01}, "poll_s must be"),
        ({"queue_minutes": -1}, "queue_minutes must be a positive number"),
        ({"base_url": "http://example.org/v2"}, "base_url must begin with https://"),
        ({"base_url": "ftp://127.0.0.1"}, "base_url must begin with https://"),
    ],
)
def test_settings_that_cannot_work(settings, said):
    with pytest.raises(ConfigError, match=said):
        RunPodBackend(**{"endpoint_id": "ep", "api_key": "key"} | settings)


def _diverges(params, data):
    model = keras.Sequential(
        [
            keras.layers.Input(data.input_shape),
            keras.layers.Flatten(),
            keras.layers.Dense(data.num_classes, "softmax"),
        ]
    )
    rate = 1e38  # after one step the outputs are infinite, and the loss is no number
    model.compile(keras.optimizers.SGD(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def test_numbers_that_are_none(calm, tmp_path):
    """A loss that is NaN is no JSON: it ends as a reason here as it does in a worker on this machine."""
    space = {"units": [1], "epochs": 2}
    here, there = (
        hpoviz.Optimizer(
            "digits", trials=1, seed=0, build_model=_diverges, search_space=space, backend=backend,
            run_dir=tmp_path / name,
        )
        for name, backend in (("here", "inline"), ("there", backend_of(calm, workers=1)))
    )  # fmt: skip
    for opt in (here, there):
        opt.run()
    assert there.results[["state", "reason"]].values.tolist() == here.results[["state", "reason"]].values.tolist()
    assert there.results["state"].tolist() == ["failed"]
    assert "NaN" not in (tmp_path / "there" / "events.jsonl").read_text()
