"""The time until a search has a model as good as the one that KerasTuner's Hyperband ends with.

Hyperband (KerasTuner's own schedule, 9 epochs at most, factor 3) and hpoviz (its default sampler, pruner and number of
workers, 9 epochs at most) search the same space on the digits as 16×16 images. At any moment a search would select the
model of the best validation accuracy so far; the target is the **test** accuracy of the one that Hyperband selects in
the end. Both clocks stop at the first moment at which the model that would have been selected had it, which for
Hyperband may be before its end. They run without imports, as the warm times of `bench_search`; test accuracies are
computed when the search is over, from the models that were kept.
"""

from __future__ import annotations

import datetime
import itertools
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import hpoviz
from hpoviz.events import RunStarted, TrialFinished, event_from_json
from tests.benchmarks.search_contenders import VALIDATION_SHARE, Task, TunedModels

__all__ = ["TARGET_CONTENDERS", "TARGET_TASK", "print_target"]

HYPERBAND, HPOVIZ = "KerasTuner Hyperband", "hpoviz, default workers, pruning"
TARGET_TASK = {"row": "a", "trials": 40, "epochs": 9}
RESAMPLES = 10_000


def with_hyperband(task: Task) -> dict[str, Any]:
    """Search by KerasTuner's Hyperband, in this process."""
    import keras
    import keras_tuner

    split, ended = task.split(), []
    fit_arguments = task.fit_arguments(split)
    del fit_arguments["epochs"]  # Hyperband says how many
    keras.utils.set_random_seed(task.seed)

    class Timed(keras_tuner.Hyperband):  # type: ignore[misc]
        def on_trial_end(self, trial: Any) -> None:
            super().on_trial_end(trial)
            ended.append((time.perf_counter() - began, trial))

    began = time.perf_counter()
    tuner = Timed(
        TunedModels(task, split),
        objective="val_accuracy",
        max_epochs=task.epochs,
        factor=3,
        seed=task.seed,
        overwrite=True,
        directory=task.folder,
        project_name="tuner",
    )
    tuner.search(**fit_arguments)
    took = time.perf_counter() - began
    data = task.row.make()
    scored = [(moment, trial.score, trial) for moment, trial in ended if trial.score is not None]
    selected = bests(scored, lambda trial: accuracy(tuner.load_model(trial), data))
    return {"warm_s": took, "selected": selected, "finished": len(ended)}


def with_hpoviz_pruning(task: Task) -> dict[str, Any]:
    """Search by hpoviz as it is, without health, for 9 epochs at most."""
    opt = hpoviz.Optimizer(
        task.row.make(),
        trials=task.trials,
        seed=task.seed,
        search_space=task.narrowed,
        validation_fraction=VALIDATION_SHARE,
        run_dir=task.folder / "run",
        config=hpoviz.OptimizationConfig(health_monitoring_frequency=0, record_layers=False),
    )
    time.sleep(task.look_s)
    began = time.perf_counter()
    opt.run()
    took = time.perf_counter() - began
    events = list(map(event_from_json, (opt.run_dir / "events.jsonl").read_text(encoding="utf-8").splitlines()))
    start = next(moment(event) for event in events if isinstance(event, RunStarted))
    scored = [
        (moment(event) - start, event.score, event.number) for event in events if isinstance(event, TrialFinished)
    ]
    selected = bests(scored, lambda number: accuracy(opt.trials[number].model, opt.data))
    return {"warm_s": took, "selected": selected, "finished": opt.status().finished}


def moment(event: Any) -> float:
    """Return when an event happened, in seconds."""
    return datetime.datetime.fromisoformat(event.time).timestamp()


def bests(scored: Sequence[tuple[float, float, Any]], test: Callable[[Any], float]) -> list[tuple[float, float]]:
    """Return when another model would have been selected, and the test accuracy of each."""
    highest = list(itertools.accumulate((score for _, score, _ in scored), max))
    new = [index for index in range(len(scored)) if not index or highest[index] > highest[index - 1]]
    return [(scored[index][0], test(scored[index][2])) for index in new]


def accuracy(model: Any, data: hpoviz.Dataset) -> float:
    """Return the test accuracy of a model."""
    return float((model.predict(data.x_test, verbose=0).argmax(1) == data.y_test).mean())


TARGET_CONTENDERS = {HPOVIZ: with_hpoviz_pruning, HYPERBAND: with_hyperband}


def reached(selected: Sequence[Sequence[float]], target: float) -> float:
    """Return the first moment at which the selected model had the target; infinite if none had."""
    return next((seconds for seconds, test in selected if test >= target), math.inf)


def print_target(found: Sequence[dict[str, dict[str, Any]]]) -> None:
    """Print a row a seed, and the median ratio with its interval."""
    print(
        "\n(target) time to the test accuracy of the model that Hyperband selects, digits 16×16, 9 epochs at most\n\n"
        f"| seed | target test accuracy | {HYPERBAND} s (whole search) | {HPOVIZ} s (whole search) | ratio |\n"
        "|---|---|---|---|---|"
    )
    ratios = []
    for seed, pair in enumerate(found):
        hyperband, ours = pair[HYPERBAND], pair[HPOVIZ]
        target = hyperband["selected"][-1][1]
        theirs_s, ours_s = (reached(contender["selected"], target) for contender in (hyperband, ours))
        ratios.append(theirs_s / ours_s)
        print(
            f"| {seed} | {target:.4f} | {theirs_s:.1f} ({hyperband['warm_s']:.1f}) | "
            f"{ours_s:.1f} ({ours['warm_s']:.1f}) | {ratios[-1]:.2f} |"
        )
    chosen = np.random.default_rng(0).choice(ratios, (RESAMPLES, len(ratios)))
    low, high = np.quantile(np.median(chosen, axis=1), (0.025, 0.975))
    missed = sum(ratio == 0 for ratio in ratios)
    print(
        f"\nmedian ratio {np.median(ratios):.2f}, 95% interval of the median {low:.2f} to {high:.2f} (bootstrap over "
        f"{len(ratios)} seeds); hpoviz missed the target {missed} times (ratio 0)"
    )
    ends = [tuple(pair[name]["selected"][-1][1] for name in (HPOVIZ, HYPERBAND)) for pair in found]
    print(f"test accuracy at the end, medians: hpoviz {np.median(ends, axis=0)[0]:.4f}, Hyperband ", end="")
    print(f"{np.median(ends, axis=0)[1]:.4f}")
