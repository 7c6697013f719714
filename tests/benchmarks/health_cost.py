"""What looking into a model costs: one analysis beside an epoch, and watching a training beside the training::

    python -m tests.benchmarks.health_cost

A small CNN on Fashion-MNIST (Debian's dataset-fashion-mnist): 5,000 pictures, then all 60,000, a sixth of them for
validation. One training of 30 epochs by `Model.fit` with `HealthCallback`, which looks before it and after each epoch;
CPU seconds of the process, tracing included. Then `HealthAnalyzer.analyze` of the trained model, which traces anew.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import keras
from keras import layers

from hpoviz.health.health_analyzer import HealthAnalyzer
from hpoviz.health.health_callback import HealthCallback
from tests.benchmarks.bench_search import machine
from tests.benchmarks.zoo_models import fashion_arrays


class Timed(HealthCallback):
    """A HealthCallback that knows what it took, and when epochs ended."""

    def __init__(self, data: Any) -> None:
        super().__init__(data)
        self.cpu_s = 0.0
        self.ends: list[float] = []

    def on_train_begin(self, logs: Any = None) -> None:
        """Look, and note what it took."""
        began = time.process_time()
        super().on_train_begin(logs)
        self.cpu_s += time.process_time() - began

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Look, and note what it took."""
        began = time.process_time()
        super().on_epoch_end(epoch, logs)
        self.cpu_s += time.process_time() - began
        self.ends.append(time.perf_counter())


def main() -> None:
    """Print a row for each number of pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--rows", default="5000,60000")
    options = parser.parse_args()
    print(machine())
    print("| pictures | epoch, s | one analysis, s | epochs' worth | watching, CPU s | training, CPU s | share |")
    print("|---|---|---|---|---|---|---|", flush=True)
    x, y = fashion_arrays()
    for rows in map(int, options.rows.split(",")):
        keras.utils.set_random_seed(0)
        keras.backend.clear_session()
        cut = rows // 6 * 5
        parts = ((x[:cut], y[:cut]), (x[cut:rows], y[cut:rows]))
        model = keras.Sequential(
            [
                keras.Input((28, 28, 1)),
                layers.Rescaling(1 / 255),
                layers.Conv2D(16, 3, activation="relu"),
                layers.MaxPooling2D(),
                layers.Conv2D(32, 3, activation="relu"),
                layers.MaxPooling2D(),
                layers.Flatten(),
                layers.Dense(64, activation="relu"),
                layers.Dense(10, activation="softmax"),
            ]
        )
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        watch, began = Timed(parts), time.process_time()
        model.fit(*parts[0], batch_size=64, epochs=options.epochs, verbose=0, callbacks=[watch])
        trained = time.process_time() - began
        epoch = statistics.median(b - a for a, b in zip(watch.ends, watch.ends[1:], strict=False))
        analysis = HealthAnalyzer().analyze(model, parts, watch).seconds
        print(
            f"| {cut:,} | {epoch:.2f} | {analysis:.2f} | {analysis / epoch:.2f} | {watch.cpu_s:.2f} | {trained:.1f} | "
            f"{watch.cpu_s / trained:.2%} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
