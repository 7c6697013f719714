"""What recording costs: one trial that records everything, and how much of its CPU time the recording took::

    python -m tests.benchmarks.record_cost

A CNN of the default space on Fashion-MNIST (Debian's dataset-fashion-mnist): all 60,000 training pictures, of which a
fifth validates; then 5,000. CPU seconds of the process, from building to saving; while it looks, nothing else runs.
The same trial without recording is no good measure on a shared machine, where two equal trials differ by more. Also
printed: what `arrays.npz` takes on disk.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hpoviz
from hpoviz.data.data_split import DataSplit
from hpoviz.events import TrialFinished
from hpoviz.models.cnn import CnnConfig
from hpoviz.models.user_code import UserCode
from hpoviz.training.layer_watch import LayerWatch
from hpoviz.training.trial import run_trial
from hpoviz.training_record import RECORD_FILE
from hpoviz.trial_spec import TrialSpec
from tests.benchmarks.bench_search import machine
from tests.benchmarks.zoo_models import fashion_arrays

PARTS = ("on_train_begin", "on_epoch_end", "predict", "save")


def main() -> None:
    """Print a row for each number of pictures and of epochs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default="60000,5000")
    parser.add_argument("--epochs", default="5,20")
    options = parser.parse_args()
    spent = dict.fromkeys(PARTS, 0.0)
    for part in PARTS:
        setattr(LayerWatch, part, clocked(getattr(LayerWatch, part), spent, part))
    print(machine())
    print("| pictures | epochs | trial, CPU s | first look | other looks | predictions | saving | share | kB on disk |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    x, y = fashion_arrays()
    for rows in map(int, options.rows.split(",")):
        split = hpoviz.Dataset.from_arrays(x[:rows], y[:rows], name="fashion", test=(x[:100], y[:100])).split(0.2, 0)
        for epochs in map(int, options.epochs.split(",")):
            spent.update(dict.fromkeys(PARTS, 0.0))
            seconds, size = trained(split, epochs)
            share = sum(spent.values()) / seconds
            parts = " | ".join(f"{spent[part]:.2f}" for part in PARTS)
            print(f"| {rows:,} | {epochs} | {seconds:.1f} | {parts} | {share:.1%} | {size / 1e3:.0f} |", flush=True)


def clocked(action: Callable[..., Any], spent: dict[str, float], name: str) -> Callable[..., Any]:
    """Return a method that adds the CPU seconds that it takes."""

    def run(*arguments: Any, **options: Any) -> Any:
        began = time.process_time()
        try:
            return action(*arguments, **options)
        finally:
            spent[name] += time.process_time() - began

    return run


def trained(split: DataSplit, epochs: int) -> tuple[float, int]:
    """Train once; return CPU seconds and the bytes of what was recorded."""
    params = CnnConfig(epochs=epochs, batch_size=64).to_dict()
    spec = TrialSpec(run="bench", trial=0, seed=0, architecture="cnn", params=params, record_layers=True)
    with tempfile.TemporaryDirectory() as folder:
        events: list[object] = []
        began = time.process_time()
        run_trial(spec, split, events.append, lambda: False, Path(folder), UserCode())
        seconds = time.process_time() - began
        assert isinstance(events[-1], TrialFinished), events[-1]
        return seconds, (Path(folder) / RECORD_FILE).stat().st_size


if __name__ == "__main__":
    main()
