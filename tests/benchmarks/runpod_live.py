"""A whole search on a real RunPod endpoint beside the same one here: time, cost, and whether they agree::

    RUNPOD_API_KEY=… RUNPOD_ENDPOINT_ID=… python -m tests.benchmarks.runpod_live --price 1.12

It costs money: the seconds of the endpoint's workers, for their start and for some short trials. When --most US dollars
are spent, no further trial is begun. Without the two variables it refuses to run. ``--rehearse`` runs it against
RunPod's own client and worker loop on this machine, for nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hpoviz
from hpoviz.backends.runpod_client import ENDPOINT_VARIABLE, KEY_VARIABLE
from hpoviz.results import dollars
from tests.runpod_service import Service

SPACE = {"num_layers_conv": (1, 2), "filters": (8, 32), "num_layers_dense": 0, "batch_size": 64}


@contextlib.contextmanager
def access(rehearse: bool, workers: int) -> Iterator[dict[str, Any]]:
    """Give what RunPodBackend must be told to reach the endpoint."""
    if not rehearse:
        if missing := [name for name in (KEY_VARIABLE, ENDPOINT_VARIABLE) if not os.environ.get(name)]:
            raise SystemExit(f"This runs on a real endpoint and is paid: set {' and '.join(missing)}, or --rehearse.")
        yield {}
        return
    with Service() as service:
        for index in range(workers):
            service.start_worker(f"w{index}")
        service.wait_for_workers(workers)
        yield {"endpoint_id": "ep", "api_key": service.key, "base_url": service.base_url, "poll_s": 0.2}
        assert service.running == []


def search(title: str, trials: int, folder: Path, **where: Any) -> hpoviz.Optimizer:
    """Run the search and print a row on it."""
    opt = hpoviz.Optimizer(
        "digits", trials=trials, seed=0, epochs=8, pruner=None, search_space=SPACE, run_dir=folder, sampler="random",
        config=hpoviz.OptimizationConfig(display="none"), **where,
    )  # fmt: skip
    began = time.perf_counter()
    opt.run()
    took, cost = time.perf_counter() - began, opt.status().cost
    states = opt.results["state"].value_counts().to_dict()
    paid = "nothing" if cost is None else dollars(cost)
    print(f"| {title} | {states} | {opt.best_trial.score:.4f} | {took:.1f} | {paid} |", flush=True)
    return opt


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--price", type=float, default=1.12, help="of one worker, US dollars an hour")
    parser.add_argument("--most", type=float, default=1.0)
    parser.add_argument("--trials", type=int, default=6)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rehearse", action="store_true")
    options = parser.parse_args()
    with access(options.rehearse, options.workers) as where, tempfile.TemporaryDirectory() as folder:
        backend = hpoviz.RunPodBackend(
            workers=options.workers, price_per_hour=options.price, max_cost=options.most, **where
        )
        print(
            backend.check(worker=True), "\n\n| | trials | best score | wall s | cost |\n|---|---|---|---|---|", sep=""
        )
        here = search("this machine", options.trials, Path(folder) / "here", workers=options.workers)
        there = search("RunPod", options.trials, Path(folder) / "there", backend=backend)
        best = {
            opt: [trial.score for trial in sorted(opt.trials, key=lambda trial: trial.result.trial_id)]
            for opt in (here, there)
        }
        gap = max(abs(one - other) for one, other in zip(*best.values(), strict=True))
        print(f"\nlargest difference of a trial's accuracy: {gap:.4f}")
        print(backend.check())


if __name__ == "__main__":
    main()
