"""A search from wherever people start one, and what becomes of its processes when it is interrupted or killed."""

import re
import signal
import subprocess
import sys
import time

import psutil
import pytest
from jupyter_client.manager import start_new_kernel

from tests.processes import preloaders_of, wait_until_gone, workers_of

pytestmark = pytest.mark.slow

# No guard, as people write scripts; endless unless trials say otherwise.
SCRIPT = """
import sys, hpoviz
epochs = int(sys.argv[2])
opt = hpoviz.Optimizer(
    "digits", trials=2, seed=0, workers=2, pruner=None, run_dir=sys.argv[1],
    search_space={"filters": 4, "epochs": epochs, "batch_size": 128, "num_layers_dense": 0},
    config=hpoviz.OptimizationConfig(early_stopping_patience=None),
)
opt.run()
print("status:", opt.status(), flush=True)
"""


def start(folder, epochs, *, stdin=False):
    """Start the script in a fresh interpreter: as a file, or on standard input."""
    script = folder / "search.py"
    script.write_text(SCRIPT)
    command = [sys.executable, "-" if stdin else str(script), str(folder / "run"), str(epochs)]
    return subprocess.Popen(
        command,
        stdin=script.open() if stdin else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
    )


def wait_for_epoch(folder, timeout_s=90):
    """Wait until a trial of the run has ended an epoch."""
    events, give_up = folder / "run" / "events.jsonl", time.monotonic() + timeout_s
    while not (events.exists() and '"EpochEnded"' in events.read_text()):
        assert time.monotonic() < give_up, "no epoch in time"
        time.sleep(0.1)


@pytest.mark.parametrize("stdin", [False, True], ids=["script", "standard input"])
def test_an_unguarded_script_runs_a_search(tmp_path, stdin):
    process = start(tmp_path, epochs=2, stdin=stdin)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0, out
    assert re.search(r"status: completed: 2 finished of 2; best score 0\.\d+", out)
    assert len(list((tmp_path / "run" / "trials").glob("*/model.keras"))) == 2


def test_a_module_in_the_current_folder_does_not_shadow_the_standard_library(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "queue.py").write_text("raise ImportError('the wrong queue')")
    script = tmp_path / "search.py"
    script.write_text(SCRIPT)
    out = subprocess.run(
        [sys.executable, script, tmp_path / "run", "1"],
        capture_output=True,
        text=True,
        cwd=tmp_path / "sub",
        timeout=120,
    ).stdout
    assert "status: completed: 2 finished" in out


def test_ctrl_c_stops_cleanly(tmp_path):
    process = start(tmp_path, epochs=100_000)
    wait_for_epoch(tmp_path)
    workers = workers_of(process.pid)
    assert len(workers) == 2
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert time.monotonic() - began < 8  # aim 3 s; a busy machine is not a defect
    assert process.returncode == 0
    assert "Interrupted: stopped cleanly." in out
    assert "status: stopped: " in out
    assert "Traceback" not in out
    assert wait_until_gone(workers, 5)


def test_no_worker_outlives_a_killed_parent(tmp_path):
    process = start(tmp_path, epochs=100_000)
    wait_for_epoch(tmp_path)
    workers = workers_of(process.pid)
    assert len(workers) == 2
    process.kill()
    process.wait()
    assert wait_until_gone(workers, 5)


def test_no_worker_outlives_a_parent_whose_pipe_another_process_holds(tmp_path):
    """A child forked by the user keeps copies of the pipes open: the workers must notice all the same."""
    forking = SCRIPT.replace(
        "opt.run()",
        "opt.start()\n"
        "import os, time\n"
        "while not opt.status().running or 'EpochEnded' not in (opt.run_dir / 'events.jsonl').read_text():\n"
        "    time.sleep(0.1)\n"
        "if os.fork() == 0:\n    time.sleep(60)\n    os._exit(0)\n"
        "opt.wait()",
    )
    (tmp_path / "forking.py").write_text(forking)
    process = subprocess.Popen(
        [sys.executable, "forking.py", "run", "100000"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_for_epoch(tmp_path)
    time.sleep(1.5)
    workers = workers_of(process.pid)
    ours = preloaders_of(process.pid)
    (forked,) = [child for child in psutil.Process(process.pid).children() if child not in ours]
    try:
        process.kill()
        process.wait()
        assert wait_until_gone(workers, 5)
    finally:
        forked.kill()


def test_interrupting_a_notebook_kernel_stops_cleanly(tmp_path):
    manager, client = start_new_kernel(cwd=str(tmp_path))
    try:
        code = SCRIPT.replace("sys.argv[1]", "'run'").replace("sys.argv[2]", "100_000")
        client.execute(code)
        wait_for_epoch(tmp_path)
        manager.interrupt_kernel()
        reply = client.execute_interactive("opt.status().phase, opt.status().cancelled", timeout=60, store_history=True)
        assert reply["content"]["status"] == "ok"
        reply = client.execute_interactive(
            "", user_expressions={"phase": "opt.status().phase", "cancelled": "opt.status().cancelled"}, timeout=60
        )
        values = reply["content"]["user_expressions"]
        assert values["phase"]["data"]["text/plain"] == "'stopped'"
        assert values["cancelled"]["data"]["text/plain"] == "2"
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
