"""Which rungs successive halving should have: real curves, replayed under other rungs::

    python -m tests.benchmarks.tune_halving --trials 80

Trains random models of the default CNN space for 27 epochs without pruning, on two data sets, and keeps their curves,
seconds and fixed costs. Then it replays searches over them: two slots, the trials in another random order each time,
the real pruner of hpoviz' study with other settings. Two figures matter: the share of the full time in which a search
comes within half a point of the best validation accuracy of all curves, and how often it never does, as it has pruned
them.
"""

from __future__ import annotations

import argparse
import dataclasses
import heapq
import math
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import optuna

import hpoviz
from hpoviz.search.sampler import FIRST_RUNG, REDUCTION_FACTOR, Study
from tests.benchmarks.search_contenders import large_digits

SLOTS, STARTUP, EPOCHS = 2, 8, 27
NEAR = 0.005  # of the best accuracy


@dataclasses.dataclass(frozen=True)
class Curve:
    """One trained model: validation accuracy and seconds by epoch, and the seconds that it takes beside its epochs."""

    accuracy: list[float]
    seconds: list[float]
    fixed_s: float


class NoSpace:
    """A space in which there is nothing to choose: the curves are given."""

    def suggest(self, trial: Any) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def near(self, params: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return nothing."""
        return {}, {}


def record(data: hpoviz.Dataset, trials: int, seed: int) -> list[Curve]:
    """Train random models and return their curves."""
    with tempfile.TemporaryDirectory() as folder:
        config = hpoviz.OptimizationConfig(
            early_stopping_patience=None, health_monitoring_frequency=0, record_layers=False
        )
        opt = hpoviz.Optimizer(
            data,
            trials=trials,
            epochs=EPOCHS,
            seed=seed,
            workers=SLOTS,
            sampler="random",
            pruner=None,
            run_dir=Path(folder) / "run",
            config=config,
        )
        opt.run()
        results = [trial.result for trial in opt.trials if trial.result.state == "finished"]
    curves = []
    for result in results:
        seconds = [epoch.seconds for epoch in result.history]
        later = statistics.median(seconds[1:])
        fixed_s = (result.seconds or 0.0) - later * len(seconds)
        curves.append(Curve([epoch.val_accuracy or 0.0 for epoch in result.history], [later] * len(seconds), fixed_s))
    return curves


def replay(curves: list[Curve], order: np.ndarray, pruner: Any) -> float:
    """Return when a search over curves in that order has a finished trial near the best of all; infinite if never."""
    target = max(max(curve.accuracy) for curve in curves) - NEAR
    study = Study(sampler="random", pruner=pruner, seed=0, startup_trials=STARTUP)
    waiting, running = list(order), []
    now = 0.0
    while waiting or running:
        while waiting and len(running) < SLOTS:
            curve = curves[waiting.pop(0)]
            trial = study.ask(NoSpace()).trial
            heapq.heappush(running, (now + curve.fixed_s + curve.seconds[0], trial, 1, curve))
        now, trial, epoch, curve = heapq.heappop(running)
        if epoch == len(curve.accuracy):
            study.tell_finished(trial, max(curve.accuracy))
            if max(curve.accuracy) >= target:
                return now
        elif study.report(trial, epoch, curve.accuracy[epoch - 1]):
            study.tell_pruned(trial)
        else:
            heapq.heappush(running, (now + curve.seconds[epoch], trial, epoch + 1, curve))
    return math.inf


def main() -> None:
    """Record, replay and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=80)
    parser.add_argument("--orders", type=int, default=100)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    recorded = {
        "digits 8×8": record(hpoviz.load_dataset("digits"), options.trials, seed=0),
        "digits 16×16": record(large_digits(), options.trials, seed=1),
    }
    settings: list[tuple[int, int] | None] = [
        None,
        (1, 2),
        (1, 3),
        (1, 4),
        (2, 2),
        (2, 3),
        (3, 2),
        (3, 3),
        (3, 4),
        (5, 3),
    ]
    print(f"\n{options.orders} orders; times as shares of what training every curve to its end takes on {SLOTS} slots")
    print("\n| data | first rung, factor | median share of the time | 90% quantile | never |\n|---|---|---|---|---|")
    for title, curves in recorded.items():
        full_s = sum(curve.fixed_s + sum(curve.seconds) for curve in curves) / SLOTS
        orders = [np.random.default_rng(seed).permutation(len(curves)) for seed in range(options.orders)]
        for setting in settings:
            shares = []
            for order in orders:
                pruner = None
                if setting is not None:
                    pruner = optuna.pruners.SuccessiveHalvingPruner(
                        min_resource=setting[0], reduction_factor=setting[1], min_early_stopping_rate=0
                    )
                shares.append(replay(curves, order, pruner) / full_s)
            mark = " (hpoviz)" if setting == (FIRST_RUNG, REDUCTION_FACTOR) else ""
            name = "no pruning" if setting is None else f"{setting[0]}, {setting[1]}{mark}"
            never = sum(share == math.inf for share in shares)
            quantile = float(np.quantile(shares, 0.9, method="higher"))
            print(f"| {title} | {name} | {statistics.median(shares):.3f} | {quantile:.3f} | {never} |", flush=True)


if __name__ == "__main__":
    main()
