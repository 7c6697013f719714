import os
import signal
import time

import pytest

import hpoviz
from hpoviz.backends import local
from hpoviz.backends.local import LocalBackend, available_cores, default_workers
from hpoviz.errors import BackendUnavailable, ConfigError
from hpoviz.events import EpochEnded, SlotChanged, TerminalEvent, TrialCancelled, TrialFinished, WorkerLost
from hpoviz.testing.backend_contract import BackendContract, tiny_spec
from tests.processes import preloaders_of, wait_until_gone, workers_of

# A worker that prints to standard output once the protocol has claimed it.
PRINT_THEN = """from hpoviz.backends import local_worker
claim = local_worker._claim_stdout
local_worker._claim_stdout = lambda: (claim(), print("printed by the user"))[0]
"""


def wait_for_workers(harness):
    """Wait until every worker of a backend that was just opened waits for a trial."""
    for _ in range(harness.backend.slots):
        while harness.events_until(SlotChanged)[-1].phase != "waiting":
            pass


def kill_preloaders():
    """End this process' preloader, so that the next worker waits for TensorFlow."""
    for process in preloaders_of(os.getpid()):
        process.kill()
        process.wait()


class TestLocalBackend(BackendContract):
    def make_backend(self):
        return LocalBackend(workers=2)

    def test_a_killed_worker_is_told_and_replaced(self, harness):
        harness.backend.submit(tiny_spec(0, epochs=1000), slot=0)
        harness.events_until(EpochEnded)
        for worker in workers_of(os.getpid()):
            worker.send_signal(signal.SIGKILL)
        lost = harness.events_until(WorkerLost)[-1]
        assert (lost.trial, lost.attempt) == (0, 1)
        assert "SIGKILL" in lost.reason
        harness.backend.submit(tiny_spec(1, epochs=1), slot=0)
        assert isinstance(harness.events_until(TerminalEvent)[-1], TrialFinished)

    def test_a_worker_that_is_killed_while_it_starts_is_replaced(self, harness):
        harness.backend.close()
        kill_preloaders()
        harness.backend.open(harness.context)
        harness.backend.submit(tiny_spec(0, epochs=1), slot=0)
        for starting in workers_of(os.getpid()) + preloaders_of(os.getpid()):
            starting.kill()
        assert "SIGKILL" in harness.events_until(WorkerLost)[-1].reason
        harness.backend.submit(tiny_spec(0, epochs=1), slot=0)
        assert isinstance(harness.events_until(TerminalEvent)[-1], TrialFinished)

    def test_a_trial_is_cancelled_within_two_seconds_even_while_tensorflow_is_imported(self, harness):
        harness.backend.close()
        kill_preloaders()
        harness.backend.open(harness.context)
        harness.backend.submit(tiny_spec(0), slot=0)
        began = time.monotonic()
        harness.backend.cancel(0, grace_s=1.0)
        ended = harness.events_until(TerminalEvent)[-1]
        assert isinstance(ended, TrialCancelled)
        assert time.monotonic() - began < 5  # 1 s of grace, and room for a busy machine

    def test_the_workers_say_that_they_start_and_that_they_wait(self, harness):
        phases = {(e.slot, e.phase) for _ in range(4) for e in harness.events_until(SlotChanged)}
        assert phases == {(0, "starting TensorFlow"), (1, "starting TensorFlow"), (0, "waiting"), (1, "waiting")}

    def test_close_leaves_no_worker_and_no_shared_data(self, harness):
        wait_for_workers(harness)
        workers = workers_of(os.getpid())
        assert len(workers) == 2
        assert (harness.folder / "data" / "search" / "x_train.npy").is_file()
        harness.backend.close()
        assert wait_until_gone(workers, 5)
        assert not (harness.folder / "data").exists()

    def test_a_worker_that_has_grown_is_replaced_before_its_next_trial(self, harness, monkeypatch):
        pids = []
        for trial, most_growth in enumerate((0.5e9, 0.5e9, -1e12)):
            monkeypatch.setattr(local, "MOST_GROWTH", most_growth)
            harness.backend.submit(tiny_spec(trial, epochs=1), slot=0)
            assert isinstance(harness.events_until(TerminalEvent)[-1], TrialFinished)
            pids.append({worker.pid for worker in workers_of(os.getpid())})
        assert pids[0] == pids[1]
        assert len(pids[1] & pids[2]) == 1  # the other slot's
        assert any("has grown by" in line for line in harness.log)


@pytest.mark.slow
class TestLocalBackendWithoutPreloading(BackendContract):
    def make_backend(self):
        return LocalBackend(workers=2, preload=False)

    def test_its_workers_import_for_themselves(self, harness):
        harness.backend.submit(tiny_spec(0, epochs=1), slot=0)
        assert isinstance(harness.events_until(TerminalEvent)[-1], TrialFinished)
        assert {worker.ppid() for worker in workers_of(os.getpid())} == {os.getpid()}

    def test_a_worker_that_cannot_start_is_an_error_with_its_last_words(self, harness, monkeypatch):
        harness.backend.close()
        monkeypatch.setattr("hpoviz.backends.local.BOOT", "raise SystemExit('no TensorFlow here')")
        harness.backend.open(harness.context)
        harness.backend.submit(tiny_spec(0), slot=0)
        harness.events_until(WorkerLost)
        with pytest.raises(
            BackendUnavailable,
            match=r"slot 0 cannot start: .* exit code 1\..*\n.*no TensorFlow here",
        ):
            harness.backend.submit(tiny_spec(0), slot=0)

    def test_what_a_worker_prints_goes_to_the_log(self, harness, monkeypatch):
        harness.backend.close()
        monkeypatch.setattr("hpoviz.backends.local.BOOT", local.BOOT.replace("main(sys", PRINT_THEN + "main(sys"))
        harness.backend.open(harness.context)
        harness.backend.submit(tiny_spec(0, epochs=1), slot=0)
        assert isinstance(harness.events_until(TerminalEvent)[-1], TrialFinished)
        assert any("printed by the user" in line for line in harness.log)


@pytest.mark.parametrize("workers", [0, -1, 1.5, "two", True])
def test_wrong_numbers_of_workers_are_refused(workers):
    with pytest.raises(ConfigError, match="workers must be a whole number, at least 1"):
        LocalBackend(workers=workers)


def test_far_more_workers_than_cores_are_warned_of(monkeypatch):
    monkeypatch.setattr("hpoviz.backends.local.available_cores", lambda: 2)
    with pytest.warns(UserWarning, match="workers=50 on 2 core.s.: they take turns, .* Leave workers out to have [12]"):
        assert LocalBackend(workers=50).slots == 50
    assert LocalBackend(workers=4).slots == 4  # without a warning, which would be an error here


def test_the_default_is_at_most_a_worker_a_core():
    assert 1 <= default_workers() <= available_cores()


def test_a_gpu_gets_one_worker(monkeypatch):
    monkeypatch.setattr("hpoviz.backends.local.Path.exists", lambda path: str(path) == "/dev/nvidia0")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert default_workers() == 1


def test_a_worker_that_uses_more_memory_than_it_may_ends_with_that_reason(stripes, run_dir):
    backend = LocalBackend(workers=1, worker_memory_gb=0.1, preload=False)  # its own TensorFlow alone needs more
    opt = hpoviz.Optimizer(stripes, trials=1, seed=0, backend=backend, run_dir=run_dir)
    with pytest.raises(BackendUnavailable, match=r"more than the 0\.1 GB of memory .*worker_memory_gb"):
        opt.run()


@pytest.mark.parametrize("value", [0, -1, "much", True])
def test_a_wrong_memory_limit_is_refused(value):
    with pytest.raises(ConfigError, match="worker_memory_gb must be a number above 0"):
        LocalBackend(worker_memory_gb=value)
