"""How much of six workers a search uses when trials are of unequal length::

    python -m tests.benchmarks.bench_remote

Trials sleep for log-normally distributed times, so nothing is computed, and the figures are those of the scheduler and
of what carries the trials. The greedy bound hands the same trials in the same order to the worker that is free first,
at no cost. Two tables: an ideal backend in this process, with trials of one second and more; and RunPod's own client
and worker loops over a service on this machine, with trials of about ten seconds. Each is repeated, and the median is
given.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import hpoviz
from hpoviz.backends.backend import Backend
from tests.benchmarks.bench_scheduler import SLOTS, Sleeping, greedy_bound
from tests.runpod_service import Service

CLAIM = 5.5  # times one worker's speed on six, the claim that is to be beaten


def measure(backend: Backend, trials: int, seed: int) -> float:
    """Return for how many seconds a search of so many trials runs."""
    with tempfile.TemporaryDirectory() as folder:
        config = hpoviz.OptimizationConfig(display="none")
        opt = hpoviz.Optimizer(
            "digits", trials=trials, seed=seed, backend=backend, pruner=None, run_dir=Path(folder) / "run",
            config=config,
        )  # fmt: skip
        began = time.perf_counter()
        opt.start()
        while not opt.wait(0.02):
            pass
        took = time.perf_counter() - began
        states = opt.results["state"].value_counts().to_dict()
        assert states == {"finished": trials}, states
    return took


def table(title: str, repeats: int, once: Callable[[int], tuple[list[float], float]]) -> None:
    """Print what each repetition took beside its bound, and the medians."""
    print(f"\n| {title} | mean trial, s | greedy bound, s | hpoviz, s | share of the bound | times one worker |")
    print("|---|---|---|---|---|---|")
    shares, speeds = [], []
    for seed in range(repeats):
        seconds, took = once(seed)
        bound = greedy_bound(seconds)
        shares.append(bound / took)
        speeds.append(sum(seconds) / took)
        row = f"| {len(seconds)} trials, seed {seed} | {statistics.mean(seconds):.2f} | {bound:.2f} | {took:.2f} |"
        print(f"{row} {shares[-1]:.3f} | {speeds[-1]:.2f} |", flush=True)
    print(f"| **median** | | | | **{statistics.median(shares):.3f}** | **{statistics.median(speeds):.2f}** |")
    print(f"\nThe claim to beat: {CLAIM} times one worker on {SLOTS}.")


def ideal(seed: int, trials: int) -> tuple[list[float], float]:
    """Measure the scheduler on a backend that costs nothing."""
    seconds = (1.0 + np.random.default_rng(seed).lognormal(-0.4, 0.6, trials + SLOTS)).tolist()
    return seconds[:trials], measure(Sleeping(seconds), trials, seed)


def remote(seed: int, trials: int) -> tuple[list[float], float]:
    """Measure a search over RunPod's own client and worker loops; starting the workers is left out."""
    seconds = (5.0 + np.random.default_rng(seed).lognormal(1.5, 0.5, trials)).round(3).tolist()
    with Service() as service:
        for index in range(SLOTS):
            service.start_worker(
                f"w{index}", module="tests.benchmarks.sleeping_worker", SLEEPING_SECONDS=json.dumps(seconds)
            )
        service.wait_for_workers(SLOTS, 600)
        backend = hpoviz.RunPodBackend(
            "ep", workers=SLOTS, api_key=service.key, base_url=service.base_url, poll_s=0.5
        )  # fmt: skip
        return seconds, measure(backend, trials, seed)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--remote-trials", type=int, default=60)
    options = parser.parse_args()
    table(f"{SLOTS} slots, ideal backend", options.repeats, lambda seed: ideal(seed, options.trials))
    table(f"{SLOTS} RunPod workers here", options.repeats, lambda seed: remote(seed, options.remote_trials))


if __name__ == "__main__":
    main()
