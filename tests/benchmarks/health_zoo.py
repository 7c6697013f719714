"""How well health metrics tell healthy models from faulty ones: recall, false alarms, AUC, right type::

    python -m tests.benchmarks.health_zoo --keep zoo.jsonl --processes 2
    python -m tests.benchmarks.health_zoo --keep zoo.jsonl --report

Healthy models and faults are those of `zoo_models.py`. Each run trains one model for real and analyses it; what was run
is kept, a line each, and not run again. Three tables: (1) by fault and strength, in how many runs something right was
found, in how many anything was, and in how many the right finding came first, on the architectures that thresholds were
not fitted to and on all; (2) by metric, how well its value tells its own faults (medium and severe) from healthy runs
(AUC with a bootstrapped interval); (3) findings on healthy runs, with Wilson's interval.
"""

from __future__ import annotations

import argparse
import collections
import json
import multiprocessing
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
from sklearn.metrics import roc_auc_score

from hpoviz.health.health_analyzer import HealthAnalyzer
from hpoviz.health.metrics import METRICS, wilson
from tests.benchmarks.bench_search import machine
from tests.benchmarks.zoo_models import ARCHITECTURES, DATA, FAULTS, HELD_OUT, STRENGTHS, Recipe

HEALTHY = "healthy"
Key = tuple[str, str, str, str, int]  # fault, strength, architecture, data, seed


def plan(healthy_seeds: int, faulty_runs: int) -> Iterator[Key]:
    """Yield the runs: every healthy model on each of its data sets, and each fault and strength on some of them."""
    for architecture, what in ARCHITECTURES.items():
        for data in what.data:
            for seed in range(healthy_seeds):
                yield HEALTHY, "", architecture, data, seed
    for fault, what in FAULTS.items():
        places = [
            (architecture, data)
            for architecture in what.only
            for data in ARCHITECTURES[architecture].data
            if not (what.pictures and data == "docstrings")
        ]
        for strength in STRENGTHS:
            order = np.random.default_rng(len(fault) + STRENGTHS.index(strength)).permutation(len(places))
            for number in range(faulty_runs):
                architecture, data = places[order[number % len(places)]]
                yield fault, strength, architecture, data, 100 + number


def run(key: Key) -> dict[str, Any]:
    """Train and analyse one model."""
    fault, strength, architecture, data, seed = key
    recipe = Recipe() if fault == HEALTHY else FAULTS[fault].recipes[STRENGTHS.index(strength)]
    keras.utils.set_random_seed(seed)
    keras.backend.clear_session()
    samples = DATA[data](seed)
    changed = recipe.change(samples, np.random.default_rng(seed))
    what = ARCHITECTURES[architecture]
    model = what.build(recipe, changed)
    epochs = max(2, round(what.epochs * recipe.epochs))
    began = time.perf_counter()
    fit = model.fit(
        changed.x, changed.y, validation_data=(changed.x_val, changed.y_val), epochs=epochs,
        batch_size=recipe.batch_size, verbose=0,
    )  # fmt: skip
    trained = time.perf_counter() - began
    parts = ((changed.x, changed.y), (changed.x_val, changed.y_val))
    report = HealthAnalyzer(seed=seed).analyze(model, parts, fit)
    return {
        "key": list(key),
        "accuracy": fit.history["val_accuracy"][-1],
        "values": {metric.name: metric.value for metric in report.metrics.values()},
        "findings": [[finding.fault, finding.layer] for finding in report.findings],
        "train_s": round(trained, 2),
        "analyze_s": round(report.seconds, 2),
    }


def run_all(keys: list[Key], keep: Path, processes: int) -> None:
    """Run what is not kept yet, and keep each the moment it ends."""
    known = {tuple(item["key"]) for item in kept(keep)}
    left = [key for key in keys if key not in known]
    print(f"{len(known)} runs are kept, {len(left)} are left.", flush=True)
    with multiprocessing.get_context("spawn").Pool(processes, maxtasksperchild=25) as pool, keep.open("a") as file:
        for number, result in enumerate(pool.imap_unordered(run, left), start=1):
            file.write(json.dumps(result) + "\n")
            file.flush()
            if number % 25 == 0:
                print(f"{number} of {len(left)}", flush=True)


def kept(path: Path) -> list[dict[str, Any]]:
    """Return the runs that were kept."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def report(results: list[dict[str, Any]]) -> None:
    """Print the tables."""
    print(machine())
    healthy = [item for item in results if item["key"][0] == HEALTHY]
    faulty = [item for item in results if item["key"][0] != HEALTHY]
    held_out = [item for item in faulty if item["key"][2] in HELD_OUT]
    for title, chosen in (("held-out architectures", held_out), ("all architectures", faulty)):
        print(f"\n(1) {title}: share of runs with a right finding / with any / with the right one first (runs)\n")
        print("| fault | " + " | ".join(STRENGTHS) + " |\n|---|---|---|---|")
        for fault in FAULTS:
            cells = [_shares(fault, [one for one in chosen if one["key"][:2] == [fault, s]]) for s in STRENGTHS]
            print(f"| {fault} | {' | '.join(cells)} |")
        hard = [item for item in chosen if item["key"][1] != STRENGTHS[0]]
        right, some = _mean_recall(hard), _mean_recall(hard, any_=True)
        print(f"\nMean over faults, medium and severe: {right:.3f} right, {some:.3f} any.")
    print("\n(2) AUC of each metric on its own faults, medium and severe, against healthy runs\n")
    print("| metric | AUC | 95% | faulty runs | healthy runs |\n|---|---|---|---|---|")
    for metric in METRICS:
        print(_auc_row(metric, faulty, healthy))
    print("\n(3) findings on healthy runs\n\n| architectures | runs | with a finding | 95% | which |")
    print("|---|---|---|---|---|")
    for title, chosen in (("held out", [h for h in healthy if h["key"][2] in HELD_OUT]), ("all", healthy)):
        alarmed = [item for item in chosen if item["findings"]]
        which = collections.Counter(finding for item in alarmed for finding, _ in item["findings"])
        low, high = wilson(len(alarmed), len(chosen)) if chosen else (0.0, 1.0)
        names = ", ".join(f"{name} {count}" for name, count in which.most_common())
        print(f"| {title} | {len(chosen)} | {len(alarmed)} | {low:.3f}–{high:.3f} | {names} |")
    seconds = [item["analyze_s"] for item in results]
    accuracies = [item["accuracy"] for item in healthy]
    print(
        f"\nOne analysis with pruning: median {np.median(seconds):.2f} s. Validation accuracy of healthy runs: median "
        f"{np.median(accuracies):.3f}, least {min(accuracies):.3f}."
    )


def _shares(fault: str, runs: list[dict[str, Any]]) -> str:
    if not runs:
        return "–"
    right = [_is_right(fault, item) for item in runs]
    some = [bool(item["findings"]) for item in runs]
    first = [bool(item["findings"]) and item["findings"][0][0] in FAULTS[fault].findings for item in runs]
    return f"{np.mean(right):.2f} / {np.mean(some):.2f} / {np.mean(first):.2f} ({len(runs)})"


def _is_right(fault: str, item: dict[str, Any]) -> bool:
    return any(found in FAULTS[fault].findings for found, _ in item["findings"])


def _mean_recall(runs: list[dict[str, Any]], *, any_: bool = False) -> float:
    by_fault: dict[str, list[bool]] = {}
    for item in runs:
        fault = item["key"][0]
        by_fault.setdefault(fault, []).append(bool(item["findings"]) if any_ else _is_right(fault, item))
    return float(np.mean([np.mean(hits) for hits in by_fault.values()])) if by_fault else float("nan")


def _auc_row(metric: str, faulty: list[dict[str, Any]], healthy: list[dict[str, Any]]) -> str:
    own = [item for item in faulty if FAULTS[item["key"][0]].metric == metric and item["key"][1] != STRENGTHS[0]]
    bad = np.array([item["values"][metric] for item in own if item["values"][metric] is not None])
    good = np.array([item["values"][metric] for item in healthy if item["values"][metric] is not None])
    if len(bad) < 2 or len(good) < 2:
        return f"| {metric} | – | – | {len(bad)} | {len(good)} |"
    chance = np.random.default_rng(0)
    drawn = [_auc(chance.choice(good, len(good)), chance.choice(bad, len(bad))) for _ in range(500)]
    low, high = np.quantile(drawn, (0.025, 0.975))
    return f"| {metric} | {_auc(good, bad):.3f} | {low:.3f}–{high:.3f} | {len(bad)} | {len(good)} |"


def _auc(good: np.ndarray, bad: np.ndarray) -> float:
    return float(roc_auc_score(np.r_[np.ones(len(good)), np.zeros(len(bad))], np.r_[good, bad]))


def main() -> None:
    """Run the zoo, or report on what was run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, required=True, help="a file of JSON lines")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--healthy-seeds", type=int, default=4)
    parser.add_argument("--faulty-runs", type=int, default=5, help="of each fault in each strength")
    parser.add_argument("--report", action="store_true", help="only print what is kept")
    options = parser.parse_args()
    if not options.report:
        run_all(list(plan(options.healthy_seeds, options.faulty_runs)), options.keep, options.processes)
    report(kept(options.keep))


if __name__ == "__main__":
    main()
