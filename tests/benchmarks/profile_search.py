"""Where each second of a search goes: 12 trials × 3 epochs of the row a of `bench_search`, on one worker::

    python -m tests.benchmarks.profile_search

The first table is wall time as the events of a real search tell it. The second one takes the parts of a trial apart, in
this process with one thread: medians of the CPU time over the models of that search. The third one is what starting
costs, each in a fresh process.
"""

from __future__ import annotations

import argparse
import functools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.update(OMP_NUM_THREADS="1", TF_NUM_INTRAOP_THREADS="1", TF_NUM_INTEROP_THREADS="1")  # as for a worker of two

import hpoviz
from hpoviz.events import BatchProgress, EpochEnded, PhaseChanged, TrialFinished, event_from_json
from tests.benchmarks.search_contenders import EQUAL_WORK, ROWS, VALIDATION_SHARE, Task
from tests.benchmarks.time_to_target import moment

STARTS = {
    "import hpoviz": "import hpoviz",
    "import hpoviz and make an Optimizer": "import hpoviz; hpoviz.Optimizer('digits', workers=1)",
    "what a worker imports": "import hpoviz.backends.local_worker, hpoviz.training.trial",
}


def run_search(task: Task) -> list[dict[str, Any]]:
    """Run the search, print where its wall time went, and return the parameters of its trials."""
    opt = hpoviz.Optimizer(
        task.row.make(),
        trials=task.trials,
        seed=task.seed,
        workers=1,
        search_space=task.narrowed,
        validation_fraction=VALIDATION_SHARE,
        pruner=None,
        run_dir=task.folder / "run",
        config=EQUAL_WORK,
    )
    time.sleep(8)
    began = time.perf_counter()
    opt.run()
    wall = time.perf_counter() - began
    spent: dict[str, float] = defaultdict(float)
    phase, since = "start", None
    for line in (opt.run_dir / "events.jsonl").read_text(encoding="utf-8").splitlines():
        event = event_from_json(line)
        if isinstance(event, PhaseChanged | TrialFinished | EpochEnded) and not isinstance(event, BatchProgress):
            if since is not None:
                spent[phase] += moment(event) - since
            since = moment(event)
            phase = event.phase if isinstance(event, PhaseChanged) else phase
            if isinstance(event, TrialFinished):
                phase = "between trials: tell, ask, store"
            elif isinstance(event, EpochEnded) and event.epoch == 1:
                phase = "training, later epochs"
    print(
        f"\nA search of {task.trials} trials, one worker, warm: {wall:.1f} s\n\n"
        "| wall time | s | share |\n|---|---|---|"
    )
    names = {
        "building": "building the model",
        "compiling": "tracing and the first call",
        "training": "training, rest of the first epoch, with tracing the evaluation",
        "saving": "saving",
    }
    for name, seconds in spent.items():
        print(f"| {names.get(name, name)} | {seconds:.2f} | {seconds / wall:.0%} |")
    rest = wall - sum(spent.values())
    print(f"| starting the run, its worker, and the end | {rest:.2f} | {rest / wall:.0%} |")
    return [dict(trial.params) for trial in opt.trials]


def take_apart(task: Task, chosen: list[dict[str, Any]]) -> None:
    """Print the CPU time of the parts of a trial."""
    import keras

    from hpoviz.training.loop import EpochLoop

    split = task.split()
    parts: dict[str, list[float]] = defaultdict(list)

    def timed(name: str, function: Callable[..., Any], *arguments: Any) -> Any:
        began = time.process_time()
        result = function(*arguments)
        parts[name].append(time.process_time() - began)
        return result

    for params in [chosen[0], *chosen]:  # the first one carries what a process does once
        keras.utils.set_random_seed(0)
        config = task.family.from_dict(params)
        model = timed("build", config.build, split.info)
        timed("compile", config.compile, model)
        x, x_val = (config.prepare(part, split.info) for part in (split.x_train, split.x_val))
        epochs = config.epochs
        make_loop = functools.partial(EpochLoop, batch_size=config.batch_size, seed=0, epochs=epochs)
        loop = timed("loop: optimizer's variables, data as tensors", make_loop, model, x, split.y_train)
        timed("trace of the training step", loop._steps.get_concrete_function)
        for epoch in range(epochs):
            later = "first" if epoch == 0 else "later"
            timed(f"{later} epoch", loop.train_epoch, lambda *look: None)
            timed(f"{later} evaluation", loop.evaluate, x_val, split.y_val, lambda: None)
        exported = timed("model to save", config.export, model, split.info)
        timed("save", exported.save, task.folder / "model.keras")
    print("\n| part of a trial | CPU ms, median | times a trial | share |\n|---|---|---|---|")
    often = {name: len(values) // (len(chosen) + 1) for name, values in parts.items()}
    medians = {name: 1000 * statistics.median(values[often[name] :]) for name, values in parts.items()}
    total = sum(medians[name] * often[name] for name in parts)
    for name in parts:
        print(f"| {name} | {medians[name]:.0f} | {often[name]} | {medians[name] * often[name] / total:.0%} |")
    print(f"| together | {total:.0f} | | |")


def starts(repeats: int) -> None:
    """Print what starting costs."""
    print(f"\n| a fresh process | wall s, median of {repeats} |\n|---|---|")
    for title, code in STARTS.items():
        took = []
        for _ in range(repeats):
            began = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True, stderr=subprocess.DEVNULL)
            took.append(time.perf_counter() - began)
        print(f"| {title} | {statistics.median(took):.2f} |")


def main() -> None:
    """Print the three tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    row = ROWS["a"]
    with tempfile.TemporaryDirectory() as folder:
        task = Task(row, row.trials, row.epochs, 0, Path(folder))
        take_apart(task, run_search(task))
    starts(options.repeats)


if __name__ == "__main__":
    main()
