import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

import hpoviz
from hpoviz.backends import local, preloader
from hpoviz.backends.local import LocalBackend
from hpoviz.backends.preloader import Preloader, shared_preloader
from hpoviz.errors import ConfigError
from hpoviz.events import EpochEnded, TerminalEvent, TrialFinished, WorkerLost, event_from_json
from hpoviz.testing.backend_contract import Harness, tiny_spec
from tests.backends.test_local import kill_preloaders, wait_for_workers
from tests.processes import preloaders_of, wait_until_gone, workers_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux can fork a process that has TensorFlow"),
]


@pytest.fixture
def opened(tmp_path, stripes):
    """Open backends on the stripes, and close them after the test."""
    harnesses = []

    def open_backend(**settings):
        folder = tmp_path / str(len(harnesses))
        folder.mkdir()
        harnesses.append(Harness(LocalBackend(**settings), stripes.split(), folder))
        return harnesses[-1]

    yield open_backend
    for harness in harnesses:
        harness.backend.close()


def test_two_backends_fork_their_workers_from_one_process_that_has_one_thread(opened):
    for harness in (opened(workers=2), opened(workers=1)):
        wait_for_workers(harness)
    (process,) = preloaders_of(os.getpid())
    assert process.num_threads() == 1  # forking more is unsafe
    assert [worker.ppid() for worker in workers_of(os.getpid())] == 3 * [process.pid]


def test_an_optimizer_has_tensorflow_imported_before_its_search_starts(stripes, run_dir):
    kill_preloaders()
    opt = hpoviz.Optimizer(stripes, trials=1, epochs=1, seed=0, workers=1, run_dir=run_dir)
    (process,) = preloaders_of(os.getpid())
    assert not run_dir.exists()
    opt.run()
    assert opt.status().finished == 1
    assert preloaders_of(os.getpid()) == [process]
    assert not workers_of(os.getpid())


def test_workers_have_the_environment_and_the_folder_of_the_moment(opened, monkeypatch, tmp_path):
    wait_for_workers(opened(workers=1))
    (process,) = preloaders_of(os.getpid())
    monkeypatch.setenv("SAID_LATER", "yes")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "said_later.py").write_text("WORD = 'imported'")
    harness = opened(workers=1)
    wait_for_workers(harness)
    newest = max(workers_of(os.getpid()), key=lambda worker: worker.create_time())
    assert newest.ppid() == process.pid
    assert newest.cwd() == str(tmp_path)


def test_what_tensorflow_reads_when_it_is_imported_makes_another_preloader(opened, monkeypatch):
    first = opened(workers=1)
    wait_for_workers(first)
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    second = opened(workers=1)
    wait_for_workers(second)
    assert len({worker.ppid() for worker in workers_of(os.getpid())}) == 2
    old = psutil.Process(workers_of(os.getpid())[0].ppid())
    first.backend.submit(tiny_spec(0, epochs=1), slot=0)  # the first one serves on until its workers have gone
    assert isinstance(first.events_until(TerminalEvent)[-1], TrialFinished)
    first.backend.close()
    second.backend.close()
    monkeypatch.undo()
    local.preloader()
    assert wait_until_gone([old], 5)


def test_a_search_goes_on_when_its_preloader_is_killed(stripes, run_dir):
    space = {"filters": 4, "num_layers_conv": 1, "num_layers_dense": 0, "epochs": 100_000}
    config = hpoviz.OptimizationConfig(early_stopping_patience=None)
    opt = hpoviz.Optimizer(
        stripes, trials=2, seed=0, workers=2, pruner=None, run_dir=run_dir, search_space=space, config=config
    )

    def wait_for_epoch_of_attempt(attempt):
        give_up = time.monotonic() + 60
        while not any(
            isinstance(event, EpochEnded) and event.attempt == attempt
            for event in map(event_from_json, (run_dir / "events.jsonl").read_text().splitlines()[:-1])
        ):
            assert time.monotonic() < give_up
            time.sleep(0.1)

    opt.start()
    wait_for_epoch_of_attempt(1)
    workers = workers_of(os.getpid())
    for process in preloaders_of(os.getpid()):
        process.send_signal(signal.SIGKILL)
    wait_for_epoch_of_attempt(2)
    assert wait_until_gone(workers, 5)
    opt.stop()
    assert opt.status().cancelled == 2


def test_where_nothing_can_be_preloaded_workers_say_why_and_import_for_themselves(opened, monkeypatch):
    def fail(*_):
        raise OSError("no more sockets")

    monkeypatch.setattr(local, "shared_preloader", fail)
    harness = opened(workers=1)
    harness.backend.submit(tiny_spec(0, epochs=1), slot=0)
    assert isinstance(harness.events_until(TerminalEvent)[-1], TrialFinished)
    assert any("imports TensorFlow for itself: no more sockets" in line for line in harness.log)


def test_where_tensorflow_cannot_be_imported_ahead_a_worker_imports_for_itself(opened, monkeypatch):
    monkeypatch.setattr(preloader, "_shared", preloader._Shared())
    monkeypatch.setattr(preloader, "BOOT", f"import sys\nsys.modules['hpoviz.training.trial'] = None\n{preloader.BOOT}")
    harness = opened(workers=1)
    harness.backend.submit(tiny_spec(0, epochs=1), slot=0)
    if isinstance(harness.events_until((TerminalEvent, WorkerLost))[-1], WorkerLost):  # it had been asked already
        harness.backend.submit(tiny_spec(0, epochs=1), slot=0)
        assert isinstance(harness.events_until(TerminalEvent)[-1], TrialFinished)
    assert any("imports TensorFlow for itself" in line for line in harness.log)


def test_it_ends_when_it_is_idle(monkeypatch):
    monkeypatch.setattr(preloader, "PRELOADED", ())
    boot = preloader.BOOT.replace("serve(int", "preloader.IDLE_EXIT_S, preloader.PRELOADED = 0.5, ()\nserve(int")
    monkeypatch.setattr(preloader, "BOOT", "from hpoviz.backends import preloader\n" + boot)
    process = Preloader(os.environ, local.folders())
    give_up = time.monotonic() + 20
    while process.alive and time.monotonic() < give_up:
        time.sleep(0.1)
    assert not process.alive
    with pytest.raises(OSError, match=r"pipe|reset"):
        process.spawn({"argv": [], "environment": {}, "folders": [], "cwd": "/"})


def test_a_new_one_is_started_in_place_of_one_that_has_ended():
    first = local.preloader()
    assert local.preloader() is first
    kill_preloaders()
    assert local.preloader() is not first
    assert local.preloader().alive


def test_none_outlives_its_parent():
    code = "import hpoviz, time; hpoviz.Optimizer('digits', trials=1); print('there', flush=True); time.sleep(60)"
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    parent.stdout.readline()
    processes = preloaders_of(parent.pid)
    assert len(processes) == 1
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert wait_until_gone(processes, 5)  # though it still imports


def test_preloading_is_refused_where_there_is_a_gpu(monkeypatch):
    monkeypatch.setattr(local, "has_gpu", lambda: True)
    with pytest.raises(ConfigError, match="preload must be None or False, or True on Linux without a GPU"):
        LocalBackend(workers=1, preload=True)


def test_a_fork_of_the_user_has_one_of_its_own():
    mine = shared_preloader(local.environment(1), local.folders())
    pid = os.fork()
    if pid == 0:
        theirs = shared_preloader(local.environment(1), local.folders())
        fine = theirs is not mine and theirs.alive
        theirs.kill()
        os._exit(0 if fine else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert mine.alive
