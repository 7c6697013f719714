"""What recording costs: the same trial with everything recorded and with nothing, side by side::

    python -m tests.benchmarks.record_cost

A CNN of the default space on Fashion-MNIST (Debian's dataset-fashion-mnist), all 60,000 training pictures, of which a
fifth validates; then the same on 5,000. Each row is one pair of trials with equal seeds, the order changing from pair
to pair; CPU seconds of the process, from building to saving. Also printed: what `arrays.npz` takes on disk.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import hpoviz
from hpoviz.data.data_split import DataSplit
from hpoviz.events import TrialFinished
from hpoviz.models.cnn import CnnConfig
from hpoviz.models.user_code import UserCode
from hpoviz.training.trial import run_trial
from hpoviz.training_record import RECORD_FILE
from hpoviz.trial_spec import TrialSpec
from tests.benchmarks.bench_search import machine
from tests.benchmarks.zoo_models import fashion_arrays


def main() -> None:
    """Print a row for each number of pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--rows", default="60000,5000")
    parser.add_argument("--epochs", type=int, default=8)
    options = parser.parse_args()
    print(machine())
    print("| pictures | epochs | nothing recorded, CPU s | everything, CPU s | more | layers alone | on disk, kB |")
    print("|---|---|---|---|---|---|---|", flush=True)
    x, y = fashion_arrays()
    for rows in map(int, options.rows.split(",")):
        split = hpoviz.Dataset.from_arrays(x[:rows], y[:rows], name="fashion", test=(x[:100], y[:100])).split(0.2, 0)
        kinds = [(False, 0), (True, 0), (True, 1)]
        disk = 0
        times: dict[tuple[bool, int], list[float]] = {kind: [] for kind in kinds}
        for pair in range(options.pairs):
            for kind in kinds if pair % 2 else reversed(kinds):
                seconds, size = trained(split, options.epochs, *kind)
                times[kind].append(seconds)
                disk = max(disk, size)
        nothing, layers, everything = (statistics.median(times[kind]) for kind in kinds)
        print(
            f"| {rows:,} | {options.epochs} | {nothing:.1f} | {everything:.1f} | {everything / nothing - 1:+.1%} | "
            f"{layers / nothing - 1:+.1%} | {disk / 1e3:.0f} |",
            flush=True,
        )


def trained(split: DataSplit, epochs: int, record_layers: bool, health_every: int) -> tuple[float, int]:
    """Train once; return CPU seconds and the bytes of what was recorded."""
    params = CnnConfig(epochs=epochs, batch_size=64).to_dict()
    spec = TrialSpec(
        run="bench", trial=0, seed=0, architecture="cnn", params=params,
        record_layers=record_layers, health_every=health_every,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        events: list[object] = []
        began = time.process_time()
        run_trial(spec, split, events.append, lambda: False, Path(folder), UserCode())
        seconds = time.process_time() - began
        assert isinstance(events[-1], TrialFinished), events[-1]
        path = Path(folder) / RECORD_FILE
        return seconds, path.stat().st_size if path.exists() else 0


if __name__ == "__main__":
    main()
