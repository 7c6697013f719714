"""Every data set that is downloaded, through its real loader, offline::

    python -m tests.benchmarks.loaders

Fashion-MNIST is the real one, whole (Debian's package dataset-fashion-mnist); the others are small files in the
genuine formats (`tests/data/stand_ins.py`). Imports are left out of the times. The first load goes through Keras; the
second one, in another process, reads what was kept. Then: the memory of local workers that train on all of
Fashion-MNIST, by their number.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import psutil

import hpoviz
from hpoviz.backends.local import LocalBackend
from tests.data import stand_ins
from tests.processes import workers_of

SECOND = stand_ins.LOAD.replace("from keras.src.utils import file_utils\n", "").replace("file_utils.validate", "#")


def loads(home: Path) -> None:
    """Load each data set twice, and print a row each."""
    print("| data set | training samples | test samples | classes | first load s | second load s |")
    print("|---|---|---|---|---|---|")
    names = (*(["fashion_mnist"] if stand_ins.FASHION.is_dir() else []), *stand_ins.NAMES)
    for name in names:
        (first,) = stand_ins.load_in_fresh_process(home, name)
        (second,) = stand_ins.load_in_fresh_process(home, name, code=SECOND)
        assert first["sha256"] == second["sha256"]
        shape = "×".join(map(str, first["shape"][1:])) or "texts"
        title = "fashion_mnist (whole)" if name == "fashion_mnist" else name
        print(
            f"| {title} | {first['shape'][0]:,} {shape} | {first['test'][0]:,} | {first['classes']} "
            f"| {first['seconds']:.2f} | {second['seconds']:.2f} |",
            flush=True,
        )


def memory(most: int) -> None:
    """Print the memory of workers in the second epoch on 48,000 images."""
    print("\n| workers | own memory of each, MB (USS) | together, with their share of what is shared, MB (PSS) |")
    print("|---|---|---|")
    data = hpoviz.load_dataset("fashion_mnist")
    space = {"filters": 8, "num_layers_conv": 1, "num_layers_dense": 0, "epochs": 1000, "batch_size": 128}
    for count in range(1, most + 1):
        with tempfile.TemporaryDirectory() as folder:
            opt = hpoviz.Optimizer(
                data,
                trials=count,
                seed=0,
                backend=LocalBackend(workers=count),
                search_space=space,
                pruner=None,
                run_dir=Path(folder) / "run",
            )
            opt.start()
            events = opt.run_dir / "events.jsonl"
            while events.read_text().count('"EpochEnded"') < 2 * count:
                time.sleep(0.5)
            found = [worker.memory_full_info() for worker in workers_of(psutil.Process().pid)]
            opt.stop()
        each = ", ".join(f"{info.uss / 1e6:.0f}" for info in found)
        print(f"| {count} | {each} | {sum(info.pss for info in found) / 1e6:.0f} |", flush=True)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        stand_ins.write_all(home)
        if stand_ins.FASHION.is_dir():
            stand_ins.link_fashion(home)
        loads(home)
        if stand_ins.FASHION.is_dir():
            os.environ["KERAS_HOME"] = folder
            memory(options.workers)


if __name__ == "__main__":
    main()
