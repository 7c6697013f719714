"""Kill a search again and again, reopen it each time, and count what is left::

    python -m tests.benchmarks.soak --kills 60 --trials 40

Kills hit the process of the search and its workers in turn, with SIGKILL, at random moments after a worker is there;
the trials are long enough that the search does not end before. At the end there must be exactly as many trials as were
asked for: none lost, none twice, none renumbered, every model loads, every event parses.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil

from hpoviz.events import TerminalEvent, TrialFinished, event_from_json
from tests.processes import workers_of

WORKERS_WAIT_S = 60.0
LONGEST_WAIT_S = 8.0
SEARCH = """
import sys, hpoviz
from pathlib import Path
folder, trials, epochs = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
config = hpoviz.OptimizationConfig(retries=1000, early_stopping_patience=None)
space = {"filters": (4, 8), "epochs": epochs, "batch_size": 32, "num_layers_dense": 0}
if (folder / "events.jsonl").exists():
    opt = hpoviz.open_run(folder)
else:
    opt = hpoviz.Optimizer(
        "digits", trials=trials, seed=0, workers=2, pruner=None, run_dir=folder, search_space=space, config=config
    )
opt.run()
print(opt.status(), flush=True)
"""


def start(folder: Path, trials: int, epochs: int) -> subprocess.Popen[bytes]:
    """Start, or reopen, the search in a process of its own."""
    command = [sys.executable, "-c", SEARCH, str(folder), str(trials), str(epochs)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def numbers_of(folder: Path) -> dict[int, int]:
    """Return trial id to number of every trial that has ended so far."""
    path = folder / "events.jsonl"
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    events = [event_from_json(line.decode()) for line in lines]
    return {
        event.trial: event.number for event in events if isinstance(event, TerminalEvent) and event.number is not None
    }


def wait_for_workers(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Wait for the workers of a search, and return them."""
    give_up = time.monotonic() + WORKERS_WAIT_S
    while time.monotonic() < give_up:
        assert process.poll() is None, "the search has ended: " + process.stderr.read().decode()[-2000:]
        if workers := workers_of(process.pid):
            return workers
        time.sleep(0.1)
    raise AssertionError(f"no worker within {WORKERS_WAIT_S} s")


def soak(
    folder: Path, *, kills: int, trials: int, epochs: int, longest_wait_s: float, seed: int = 0
) -> dict[str, object]:
    """Kill and reopen, then let the search end, and return the counts."""
    chance, seen, done = random.Random(seed), {}, Counter[str]()
    process = start(folder, trials, epochs)
    for kill in range(kills):
        wait_for_workers(process)
        time.sleep(chance.uniform(0.2, longest_wait_s))
        workers = wait_for_workers(process)
        if kill % 2:
            chance.choice(workers).send_signal(signal.SIGKILL)
            done["worker"] += 1
        else:
            process.kill()
            process.wait()
            psutil.wait_procs(workers, timeout=10)  # they hold the run's folder open no longer
            done["parent"] += 1
            process = start(folder, trials, epochs)
        now = numbers_of(folder)
        assert all(now[trial] == number for trial, number in seen.items()), "a trial was lost or renumbered"
        seen = now
    _, errors = process.communicate(timeout=900)
    assert process.returncode == 0, errors.decode()[-2000:]
    return {"kills": dict(done), **examine(folder)}


def examine(folder: Path) -> dict[str, object]:
    """Return what the folder of the run holds; an event that does not parse or a model that does not load raises."""
    import keras

    events = [event_from_json(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    ended = [event for event in events if isinstance(event, TerminalEvent)]
    finished = [event for event in ended if isinstance(event, TrialFinished)]
    for event in finished:
        keras.saving.load_model(folder / "trials" / str(event.trial) / "model.keras", compile=False, safe_mode=True)
    return {
        "events": len(events),
        "ended": len(ended),
        "finished": len(finished),
        "distinct trials": len({event.trial for event in ended}),
        "numbers in order": [event.number for event in ended] == list(range(len(ended))),
        "models that load": len(finished),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--epochs", type=int, default=450, help="of each trial: so many that all kills hit the search")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        counts = soak(
            Path(folder) / "run",
            kills=options.kills,
            trials=options.trials,
            epochs=options.epochs,
            longest_wait_s=LONGEST_WAIT_S,
            seed=options.seed,
        )
    print(json.dumps({**counts, "seconds": round(time.monotonic() - began)}, indent=2))
