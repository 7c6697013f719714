"""What a search costs beside its training: asking and telling, free slots, and how many workers are best::

    python -m tests.benchmarks.bench_scheduler

Three tables. (1) Milliseconds to ask for a trial and to tell its end, with many trials in the study. (2) Six slots with
trials that only sleep, for log-normally distributed times of less than a second and of one to two: their time beside
that of the greedy bound, which hands the same trials in the same order to the slot that is free first, at no cost.
(3) Trials a minute by number of workers, for small models (digits) and larger ones (28×28 noise, 48 filters); the
default is one worker a core, up to four.
"""

from __future__ import annotations

import argparse
import heapq
import json
import statistics
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

import hpoviz
from hpoviz.backends.backend import Backend, RunContext
from hpoviz.backends.local import default_workers
from hpoviz.events import TrialFinished
from hpoviz.models.cnn import CnnConfig
from hpoviz.search.sampler import Study
from hpoviz.search.space import SearchSpace
from hpoviz.trial_spec import TrialSpec

SLOTS = 6


def ask_and_tell(sizes: list[int]) -> None:
    """Print the milliseconds of one trial's asking, reporting and telling in studies of these sizes."""
    print("\n| trials in the study | ask + 2 reports + tell, ms (median of 20) |\n|---|---|")
    space, chance = SearchSpace(CnnConfig.parameters()), np.random.default_rng(0)
    study, told = Study(sampler="tpe", pruner="halving", seed=0, startup_trials=8), 0
    for size in sizes:
        while told < size:
            proposal = study.ask(space)
            study.tell_finished(proposal.trial, float(chance.random()))
            told += 1
        took = []
        for _ in range(20):
            began = time.perf_counter()
            proposal = study.ask(space)
            for epoch in (1, 2):
                study.report(proposal.trial, epoch, 0.5)
            study.tell_finished(proposal.trial, float(chance.random()))
            took.append(1000 * (time.perf_counter() - began))
        told += len(took)
        print(f"| {size:,} | {statistics.median(took):.1f} |")


class Sleeping(Backend):
    """A backend whose trials sleep; each in a thread."""

    slots = SLOTS

    def __init__(self, seconds: list[float]) -> None:
        self._seconds = seconds

    def open(self, context: RunContext) -> None:
        """Keep where events go."""
        self._context = context

    def submit(self, spec: TrialSpec, slot: int) -> None:
        """Sleep in a thread."""
        threading.Timer(self._seconds[spec.trial], self._finish, [spec]).start()

    def _finish(self, spec: TrialSpec) -> None:
        score = float(np.random.default_rng(spec.trial).random())
        self._context.emit(
            TrialFinished(
                run=spec.run,
                trial=spec.trial,
                seconds=self._seconds[spec.trial],
                score=score,
                accuracy=score,
                loss=1.0,
                best_epoch=1,
                epochs=1,
                model_sha256="",
            )
        )

    def cancel(self, trial: int, *, grace_s: float) -> None:
        """Nothing to stop."""

    def close(self) -> None:
        """Nothing to free."""

    def describe(self) -> str:
        """Say what it is."""
        return f"{SLOTS} slots that sleep"


def greedy_bound(seconds: list[float]) -> float:
    """Return when the last trial ends if each starts the moment that a slot is free."""
    free = [0.0] * SLOTS
    for took in seconds:
        heapq.heappush(free, heapq.heappop(free) + took)
    return max(free)


def sleeping_trials(trials: int) -> None:
    """Print the time of trials that sleep, beside the bound: shorter than any real trial, and of a second or more."""
    print("\n| sleeping trials | mean s | greedy bound s | hpoviz s | share of the bound |\n|---|---|---|---|---|")
    for seed, least in ((seed, least) for least in (0.0, 1.0) for seed in range(3)):
        seconds = (least + np.random.default_rng(seed).lognormal(-0.4, 0.6, trials + SLOTS)).tolist()
        with tempfile.TemporaryDirectory() as folder:
            opt = hpoviz.Optimizer(
                "digits", trials=trials, seed=seed, backend=Sleeping(seconds), run_dir=Path(folder) / "run"
            )
            began = time.perf_counter()
            opt.start()
            while not opt.wait(0.02):
                pass
            took = time.perf_counter() - began
        bound = greedy_bound(seconds[:trials])
        mean = statistics.mean(seconds[:trials])
        print(f"| {trials}, seed {seed} | {mean:.2f} | {bound:.2f} | {took:.2f} | {bound / took:.3f} |")


def workers(trials: int) -> None:
    """Print trials a minute by number of workers; the workers' start is left out, as they are warm."""
    print(f"\n| models | workers | s for {trials} trials | trials a minute |\n|---|---|---|---|")
    chance = np.random.default_rng(0)
    noise = hpoviz.Dataset.from_arrays(chance.random((2500, 28, 28), "float32"), chance.integers(0, 10, 2500))
    small = {"filters": (8, 32), "num_layers_conv": (1, 3), "batch_size": 32, "epochs": 5}
    large = {"filters": 48, "num_layers_conv": 3, "kernel_size": [3, 5], "batch_size": 128, "epochs": 2}
    for title, data, space in (("small, digits", "digits", small), ("larger, 28×28", noise, large)):
        for count in (1, 2, 3, 4):
            with tempfile.TemporaryDirectory() as folder:
                config = hpoviz.OptimizationConfig(
                    early_stopping_patience=None, health_monitoring_frequency=0, record_layers=False
                )
                opt = hpoviz.Optimizer(
                    data,
                    trials=trials,
                    seed=0,
                    workers=count,
                    sampler="random",
                    pruner=None,
                    search_space=space,
                    run_dir=Path(folder) / "run",
                    config=config,
                )
                time.sleep(8)
                began = time.perf_counter()
                opt.run()
                took = time.perf_counter() - began
            mark = " (default)" if count == default_workers() else ""
            print(f"| {title} | {count}{mark} | {took:.1f} | {60 * trials / took:.1f} |", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=json.loads, default=[100, 500, 1000])
    parser.add_argument("--sleeping", type=int, default=60)
    parser.add_argument("--trials", type=int, default=16)
    options = parser.parse_args()
    ask_and_tell(options.sizes)
    sleeping_trials(options.sleeping)
    workers(options.trials)


if __name__ == "__main__":
    main()
