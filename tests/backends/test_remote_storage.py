"""Data and models by way of a storage, and jobs, on RunPod: its own client and worker, boto3 and an S3 server."""

import asyncio
import hashlib
import io
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading

import boto3
import numpy as np
import pytest
from moto.server import ThreadedMotoServer

import hpoviz
from hpoviz.backends import runpod_messages
from hpoviz.backends.backend import RunContext
from hpoviz.backends.remote_storage import RemoteStorage, TransferStopped
from hpoviz.backends.runpod import RunPodBackend
from hpoviz.backends.runpod_messages import job_input
from hpoviz.backends.runpod_worker import handler
from hpoviz.backends.stored_files import RECORD, StoredFiles, open_stored
from hpoviz.errors import BackendProtocol, BackendUnavailable, ConfigError, StoreError
from hpoviz.events import EpochEnded, SlotChanged, TerminalEvent, TrialFailed, TrialFinished, WorkerLost
from hpoviz.testing.backend_contract import Harness, tiny_spec
from tests.conftest import SMALL_SPACE
from tests.runpod_service import Service

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SECRET = "wJalrXUtnFEMI0SECRET0bPxRfiCYEXAMPLEKEY"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
LARGE = {"num_layers_dense": 2, "dense_units": 1600, "dense_decay": 1.0, "epochs": 1}  # a model of 10.6 MB


class Storage:
    """An S3 server on this machine with one bucket, and what it was asked for."""

    def __init__(self):
        self.requests = []
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        self._server.start()
        host, port = self._server.get_host_and_port()
        self.url = f"http://{host}:{port}"
        self._log = logging.getLogger("werkzeug")
        self._handler = logging.Handler()
        self._handler.emit = lambda record: self.requests.append(record.getMessage())
        self._log.addHandler(self._handler)
        self.client = boto3.session.Session().client("s3", endpoint_url=self.url)
        self.client.create_bucket(Bucket="bucket")

    def keys(self, prefix=""):
        """The keys of what is there."""
        return [one["Key"] for one in self.client.list_objects_v2(Bucket="bucket", Prefix=prefix).get("Contents", [])]

    def puts(self):
        """How often something was uploaded."""
        return len([line for line in self.requests if '"PUT /bucket/' in line])

    def close(self):
        self._log.removeHandler(self._handler)
        self._server.stop()


@pytest.fixture(scope="module")
def credentials():
    """Credentials in the environment, as boto3 looks for them; the user's own are out of the way."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def storage(credentials):
    storage = Storage()
    yield storage
    storage.close()


@pytest.fixture(scope="module")
def service(storage, tmp_path_factory):
    """The service with one worker, which has the credentials in its own environment."""
    with Service() as service:
        service.start_worker("one", **CREDENTIALS, TMPDIR=str(tmp_path_factory.mktemp("worker")))
        service.wait_for_workers(1)
        yield service


@pytest.fixture
def calm(service, storage):
    """Both, without faults; at the end nothing runs and nothing is left in the storage."""
    service.calm_down()
    service.jobs.clear()
    storage.requests.clear()
    yield service
    service.calm_down()
    service.wait(lambda: not service.running, 30, "the end of all jobs")
    left = storage.keys()
    for key in left:
        storage.client.delete_object(Bucket="bucket", Key=key)
    assert not [key for key in left if "kept" not in key]


def backend_of(service, s3, **settings):
    known = {"workers": 1, "api_key": service.key, "base_url": service.base_url, "poll_s": 0.2}
    place = {"storage": "s3://bucket/of/mine", "storage_url": s3.url}
    return RunPodBackend("ep", **known | place | settings)


def harness_of(service, s3, folder, split=None, **settings):
    return Harness(backend_of(service, s3, **settings), split or hpoviz.load_dataset("digits").split(), folder)


def few_digits():
    """A split with 144 training samples."""
    return hpoviz.load_dataset("digits").split(0.9)


@pytest.fixture
def all_by_storage(monkeypatch):
    """Data of whatever size go by way of the storage, or by name."""
    monkeypatch.setattr(runpod_messages, "MOST_INLINE", 100)


@pytest.fixture(scope="module")
def large():
    """600 images that take 6 MB, packed: noise, and a bright half that says the class."""
    rng = np.random.default_rng(0)
    labels = np.arange(750) % 2
    images = rng.integers(0, 200, (750, 100, 100), dtype=np.uint8)
    images[labels == 1, :50] += 50
    return hpoviz.Dataset.from_arrays(images, np.array(["dim", "bright"])[labels], name="halves")


# --- data ---------------------------------------------------------------------------------------------------------


def test_large_data_give_what_they_give_on_this_machine(calm, storage, large, tmp_path, caplog):
    space = SMALL_SPACE | {"filters": 4, "activation": "relu"}
    options = {"trials": 2, "epochs": 1, "seed": 0, "search_space": space}
    here = hpoviz.Optimizer(large, workers=1, run_dir=tmp_path / "here", **options)
    here.run()
    backend = backend_of(calm, storage)
    with caplog.at_level("DEBUG"):
        there = hpoviz.Optimizer(large, backend=backend, run_dir=tmp_path / "there", **options)
        there.run()
    by_id = [sorted(opt.trials, key=lambda trial: trial.result.trial_id) for opt in (here, there)]
    for one, other in zip(*by_id, strict=True):
        curves = [trial.history[["loss", "val_loss"]].to_numpy(float) for trial in (one, other)]
        assert curves[0] == pytest.approx(curves[1], rel=1e-3)
    records = [job.input["data"] for job in calm.jobs.values()]
    assert len(records) == 2
    assert records[0] == records[1]
    assert records[0]["stored"] == f"of/mine/data/{records[0]['sha256']}.npz"
    assert 5.5e6 < records[0]["size"] < 6.5e6
    assert len(json.dumps(records[0])) < 2000
    assert storage.puts() == 1  # for both trials
    assert storage.keys() == []  # and it is gone
    said = (tmp_path / "there" / "events.jsonl").read_text() + (tmp_path / "there" / "hpoviz.log").read_text()
    megabytes = f"uploading {records[0]['size'] / 1e6:.1f} MB of data"
    assert f'"phase": "{megabytes}"' in said
    assert f"{megabytes} to s3://bucket/{records[0]['stored']}; they are deleted at the end" in said
    assert not list((tmp_path / "there").glob("runpod_*"))
    found = [repr(backend), repr(backend._storage), caplog.text, there.summary(), repr(there), calm.log_of("one")]
    found += [json.dumps(job.input) for job in calm.jobs.values()]
    found += [path.read_bytes().decode("latin-1") for path in tmp_path.rglob("*") if path.is_file()]
    assert not [text for text in found if SECRET in text]
    assert backend._storage._client()._request_signer._credentials.secret_key == SECRET  # it would be found


def test_data_that_are_kept_are_uploaded_once_for_all_searches(calm, storage, tmp_path, all_by_storage):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        harness = harness_of(
            calm, storage, tmp_path / name, storage="s3://bucket/kept", keep_data=name == "first"
        )  # the second would delete what is its own
        harness.backend.submit(tiny_spec(epochs=1), slot=0)
        assert isinstance(harness.events_until(TerminalEvent)[-1], TrialFinished)
        harness.backend.close()
        (key,) = storage.keys()
        assert key.startswith("kept/data/")
    assert storage.puts() == 1


def test_a_damaged_object_is_not_taken_for_the_data(calm, storage, tmp_path, all_by_storage):
    other = hpoviz.load_dataset("digits").split(0.3)  # not those that the worker has already
    harness = harness_of(calm, storage, tmp_path, other, storage="s3://bucket/kept")
    record = harness.backend._data["search"]
    storage.client.put_object(Bucket="bucket", Key=record["stored"], Body=b"x" * record["size"])
    harness.backend.submit(tiny_spec(), slot=0)
    failed = harness.events_until(TerminalEvent)[-1]
    harness.backend.close()
    assert isinstance(failed, TrialFailed)
    assert f"s3://bucket/{record['stored']} is damaged: its hash is another one" in failed.reason


def test_a_worker_without_credentials(calm, storage, tmp_path, all_by_storage, monkeypatch):
    harness = harness_of(calm, storage, tmp_path)
    content = job_input(tiny_spec(), harness.backend._data["search"], hpoviz.__version__)
    harness.backend.close()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))

    async def carried_out():
        return [message async for message in handler({"input": content})]

    (message,) = asyncio.run(carried_out())
    assert message["event"]["event"] == "TrialFailed"
    assert "no credentials (NoCredentialsError). Set AWS_ACCESS_KEY_ID" in message["event"]["reason"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"storage_url": "http://127.0.0.1:9"}, r"reach s3://bucket/of/mine: it does not answer"),
        ({"storage": "s3://another"}, r"reach s3://another: there is no such bucket"),
        ({}, r"reach s3://bucket/of/mine: no credentials"),
    ],
    ids=["no server", "no bucket", "no credentials"],
)
def test_a_storage_that_cannot_be_used_is_told_before_the_search(calm, storage, tmp_path, monkeypatch, settings, said):
    if not settings:
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.setenv("HOME", str(tmp_path))
    opt = hpoviz.Optimizer(
        "digits", trials=1, seed=0, backend=backend_of(calm, storage, **settings), run_dir=tmp_path / "run"
    )
    with pytest.raises(BackendUnavailable, match=said) as caught:
        opt.run()
    assert SECRET not in f"{caught.value!r} {caught.value.__context__!r} {vars(caught.value)}"
    assert calm.jobs == {}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"storage": "bucket/prefix"}, "storage must be s3://bucket"),
        ({"storage": "s3://name:secret@bucket"}, "storage must be s3://bucket"),
        ({"storage": "s3://bucket/../other"}, "storage must be s3://bucket"),
        ({"storage": "s3://bucket", "storage_url": "http://example.org"}, "storage_url must begin with https://"),
        ({"storage": "s3://bucket", "storage_url": "https://a:b@example.org"}, "no name and no password"),
        ({"storage_url": "https://example.org"}, "of storage=, which is missing"),
        ({"storage": "s3://bucket", "keep_data": "yes"}, "keep_data must be True or False"),
    ],
)
def test_addresses_that_are_none(settings, said):
    with pytest.raises(ConfigError, match=said):
        RunPodBackend("ep", api_key="key", **settings)


def test_a_killed_notebook_leaves_nothing_in_the_storage(calm, storage, large, tmp_path):
    np.savez(tmp_path / "data.npz", x=large.x, y=large.y)
    script = f"""
import hpoviz, numpy
file = numpy.load({str(tmp_path / "data.npz")!r})
backend = hpoviz.RunPodBackend("ep", workers=1, api_key={calm.key!r}, base_url={calm.base_url!r}, poll_s=0.2,
                               storage="s3://bucket/of/mine", storage_url={storage.url!r})
data = hpoviz.Dataset.from_arrays(file["x"], file["y"])
hpoviz.Optimizer(data, trials=1, seed=0, backend=backend, run_dir={str(tmp_path / "run")!r}, pruner=None, epochs=3000,
                 search_space={{"filters": 8}}, config=hpoviz.OptimizationConfig(early_stopping_patience=None)).run()
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        calm.wait(lambda: [job for job in calm.running if job.worker])
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    (key,) = storage.keys()
    (record,) = json.loads((tmp_path / "run" / RECORD).read_text())
    assert record["data"] == [key]
    left = f"of/mine/results/{record['results'][0]}/0-1/model.keras"  # of a worker that went on
    storage.client.put_object(Bucket="bucket", Key=left, Body=b"x")
    stranger = "kept/model.keras"
    storage.client.put_object(Bucket="bucket", Key=stranger, Body=b"x")
    data = hpoviz.Dataset.from_arrays(large.x, large.y)
    again = hpoviz.open_run(tmp_path / "run", data=data, backend=backend_of(calm, storage))
    again.start()
    calm.wait(lambda: len([job for job in calm.jobs.values() if job.worker]) == 2)
    assert storage.keys() == sorted([key, stranger])  # the data are needed again
    again.stop()
    again.wait(60)
    assert storage.keys() == [stranger]
    assert storage.puts() == 3  # the data once
    assert not (tmp_path / "run" / RECORD).exists()


# --- what this side keeps track of --------------------------------------------------------------------------------


def stored_files(storage, folder, address="s3://bucket/of/mine", keep=False):
    said = []
    files = StoredFiles(RemoteStorage(address, storage.url), folder, "run", keep_data=keep, log=said.append)
    return files, said


def test_an_upload_that_is_stopped(storage, tmp_path):
    files, _ = stored_files(storage, tmp_path)
    record = files.take_data(io.BytesIO(bytes(20_000_000)))
    stopped = threading.Event()

    def say(text):
        stopped.set()

    with pytest.raises(TransferStopped):
        files.ready(record, say, stopped.is_set)
    assert storage.keys() == []
    assert json.loads((tmp_path / RECORD).read_text())[0]["data"] == [record["stored"]]
    files.close()
    assert not (tmp_path / RECORD).exists()
    assert "Uploads" not in storage.client.list_multipart_uploads(Bucket="bucket")


def test_what_cannot_be_deleted_is_said_and_stays_on_record(storage, tmp_path, capsys):
    storage.client.create_bucket(Bucket="going")
    files, said = stored_files(storage, tmp_path, "s3://going")
    record = files.take_data(io.BytesIO(b"data"))
    files.ready(record, print, lambda: False)
    storage.client.delete_object(Bucket="going", Key=record["stored"])
    storage.client.delete_bucket(Bucket="going")
    files.close()
    expected = f"delete s3://going/{record['stored']}: there is no such bucket"
    assert expected in capsys.readouterr().out
    assert expected in "\n".join(said)
    assert json.loads((tmp_path / RECORD).read_text())[0]["data"] == [record["stored"]]
    context = RunContext(
        run="run", data={}, folder=tmp_path, trial_folder=tmp_path.joinpath, emit=print, log=said.append
    )
    assert open_stored(None, context, keep_data=False) is None
    assert "storage='s3://going'" in said[-1]
    other, _ = stored_files(storage, tmp_path)  # the record of the first stays
    other.close()
    assert [one["address"] for one in json.loads((tmp_path / RECORD).read_text())] == ["s3://going"]


def test_a_record_names_no_keys_but_ours(storage, tmp_path):
    for key in ("mine.npz", "of/mine/data/mine.npz"):
        storage.client.put_object(Bucket="bucket", Key=key, Body=b"x")
    record = {"address": "s3://bucket/of/mine", "url": storage.url, "results": ["", "..", "x/y"]}
    (tmp_path / RECORD).write_text(json.dumps([record | {"data": ["mine.npz", "of/mine/data/mine.npz", 7]}]))
    files, _ = stored_files(storage, tmp_path)
    files.drop_left()
    files.close()
    left = storage.keys()
    assert left == ["mine.npz", "of/mine/data/mine.npz"]
    for key in left:
        storage.client.delete_object(Bucket="bucket", Key=key)
    (tmp_path / RECORD).write_text("{")
    with pytest.raises(StoreError, match="there may be objects of this run in your storage"):
        stored_files(storage, tmp_path)


# --- models -------------------------------------------------------------------------------------------------------


def test_a_large_model_comes_by_way_of_the_storage(calm, storage, tmp_path):
    import keras

    harness = harness_of(calm, storage, tmp_path, few_digits())
    harness.backend.submit(tiny_spec(**LARGE), slot=0)
    finished = harness.events_until(TerminalEvent)[-1]
    assert isinstance(finished, TrialFinished)
    path = harness.trial_folder(0) / "model.keras"
    assert path.stat().st_size > runpod_messages.MOST_BYTES
    assert {one.name for one in path.parent.iterdir()} == {"model.keras", "history.csv"}
    assert storage.keys() == []  # it is deleted as soon as it is here
    (job,) = calm.jobs.values()
    (message,) = [one for one in job.output if "stored" in one]
    assert message["stored"] == f"{job.input['results']['prefix']}/model.keras"
    data = harness.context.data["search"]()
    model = keras.saving.load_model(path, compile=False)
    accuracy = (model.predict(data.x_val, verbose=0).argmax(1) == data.y_val).mean()
    assert accuracy == pytest.approx(finished.accuracy, abs=1e-6)
    harness.backend.close()


def test_a_worker_that_names_another_file(calm, storage, tmp_path):
    storage.client.put_object(Bucket="bucket", Key="kept/model.keras", Body=b"not yours")
    calm.tamper = lambda message: message | {"stored": "kept/model.keras"} if "stored" in message else message
    harness = harness_of(calm, storage, tmp_path, few_digits())
    harness.backend.submit(tiny_spec(**LARGE), slot=0)
    reason = harness.events_until(WorkerLost)[-1].reason
    assert "names 'kept/model.keras', which is not the place of this trial's model.keras" in reason
    assert not (harness.trial_folder(0) / "model.keras").exists()
    assert len(storage.keys()) == 2
    harness.backend.close()
    assert storage.keys() == ["kept/model.keras"]  # what the worker had put there is gone


@pytest.mark.parametrize(
    ("forged", "said"),
    [
        ({"sha256": "0" * 64}, "model.keras is damaged: its hash is another one"),
        ({"size": 7}, "has 5 bytes instead of 7"),
        ({"size": 10**12}, "without its size and its hash"),
        ({"sha256": None}, "without its size and its hash"),
    ],
)
def test_a_file_that_is_not_what_the_worker_says(storage, tmp_path, forged, said):
    files, _ = stored_files(storage, tmp_path)
    job = files.for_job(tiny_spec(), {})
    key = f"{job.place['prefix']}/model.keras"
    storage.client.put_object(Bucket="bucket", Key=key, Body=b"model")
    honest = {"file": "model.keras", "stored": key, "size": 5, "sha256": hashlib.sha256(b"model").hexdigest()}
    with pytest.raises(BackendProtocol, match=said):
        job.fetch(honest | forged, tmp_path / "model.keras")
    assert not list(tmp_path.glob("*model*"))
    assert job.fetch(honest, tmp_path / "model.keras") == honest["sha256"]
    assert (tmp_path / "model.keras").read_bytes() == b"model"
    assert storage.keys() == []
    files.close()


def test_without_a_storage_a_large_model_and_large_data_say_so(calm, large, tmp_path):
    backend = RunPodBackend("ep", workers=1, api_key=calm.key, base_url=calm.base_url, poll_s=0.2)
    (tmp_path / "a").mkdir()
    harness = Harness(backend, few_digits(), tmp_path / "a")
    harness.backend.submit(tiny_spec(**LARGE), slot=0)
    failed = harness.events_until(TerminalEvent)[-1]
    assert failed.kind == "too_large"
    assert failed.violation > 0
    assert "RunPodBackend(…, storage='s3://bucket/prefix')" in failed.reason
    harness.backend.close()
    opt = hpoviz.Optimizer(large, trials=1, seed=0, backend=backend, run_dir=tmp_path / "b")
    with pytest.raises(ConfigError, match=r"storage='s3://bucket/prefix'"):
        opt.run()


# --- jobs beside a search -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """The folder of a search of a data set by name on this machine."""
    folder = tmp_path_factory.mktemp("runs") / "searched"
    hpoviz.Optimizer("digits", trials=1, epochs=2, seed=0, search_space=SMALL_SPACE, workers=1, run_dir=folder).run()
    return folder


@pytest.fixture
def there(calm, searched, tmp_path, all_by_storage):
    """A copy of that search, opened with RunPod as its backend; its data go by name."""
    backend = RunPodBackend("ep", workers=1, api_key=calm.key, base_url=calm.base_url, poll_s=0.2)
    return hpoviz.open_run(shutil.copytree(searched, tmp_path / "there"), backend=backend)


def test_jobs_give_what_they_give_on_this_machine(calm, searched, there, tmp_path):
    here = hpoviz.open_run(shutil.copytree(searched, tmp_path / "here"))
    tables = [opt.cross_validate(top=1, folds=2).table[["fold_1", "fold_2"]].to_numpy(float) for opt in (here, there)]
    assert tables[0] == pytest.approx(tables[1], abs=3e-3)
    finals = [opt.train_final() for opt in (here, there)]
    assert finals[0].loss == pytest.approx(finals[1].loss, rel=1e-3)
    assert finals[0].model.count_params() == finals[1].model.count_params()
    data = [job.input["data"]["recipe"] for job in calm.jobs.values()]  # and no arrays
    assert [(one["part"], one["fold"]) for one in data] == [("fold", 0), ("fold", 1), ("whole", 0)]


def test_a_job_that_is_interrupted_leaves_nothing_running(calm, there):
    events = there.run_dir / "events.jsonl"

    def interrupt():
        calm.wait(lambda: "EpochEnded" in events.read_text().partition("JobStarted")[2])
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(StoreError, match="The final training gave no model"):
        there.train_final(epochs=5000)
    assert calm.running == []
    assert [job.status for job in calm.jobs.values()] == ["CANCELLED"]


def test_the_upload_is_shown_while_it_goes_on(calm, storage, tmp_path, all_by_storage):
    harness = harness_of(calm, storage, tmp_path)
    harness.backend.submit(tiny_spec(epochs=1), slot=0)
    events = harness.events_until(EpochEnded)
    phases = [event.phase for event in events if isinstance(event, SlotChanged)]
    assert phases[0].startswith("uploading 0.")
    harness.events_until(TerminalEvent)
    harness.backend.close()
