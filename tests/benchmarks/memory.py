"""Run many tiny trials and print the memory of parent and workers over time::

    python -m tests.benchmarks.memory --trials 300
    python -m tests.benchmarks.memory --trials 50 --random --workers 1

At the end no worker, thread or file handle of the search may be left (the process that has imported TensorFlow stays),
and memory must be in a band: the parent may grow by `PARENT_BAND` MB after the first tenth of the trials, and a worker
may have the least that one had, plus the growth at which it is replaced, plus `WORKER_BAND` MB. The exit status is 1
where it was otherwise.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

import hpoviz
from hpoviz.backends.local import MOST_GROWTH
from tests.processes import workers_of

PARENT_BAND, WORKER_BAND = 60.0, 150.0  # MB
ROWS = 10
SPACE = {"filters": (4, 8), "epochs": 1, "batch_size": 128, "num_layers_conv": (1, 2), "num_layers_dense": 0}


def memory_mb(process: psutil.Process) -> float:
    """Return the memory that a process has for itself, in MB; 0 once it is gone."""
    try:
        return float(process.memory_full_info().uss) / 1e6
    except psutil.Error:
        return 0.0


def main() -> None:
    """Run the trials and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--random", action="store_true", help="random models of the whole space in place of tiny ones")
    options = parser.parse_args()
    me = psutil.Process()
    data = hpoviz.load_dataset("digits")
    with tempfile.TemporaryDirectory() as folder:
        opt = hpoviz.Optimizer(
            data,
            trials=options.trials,
            seed=0,
            workers=options.workers,
            sampler="random" if options.random else "tpe",
            search_space={"epochs": 1} if options.random else SPACE,
            run_dir=Path(folder) / "run",
            pruner=None,
        )
        handles, threads = me.num_fds(), threading.active_count()
        began, rows, worker_peak, pids = time.monotonic(), [], 0.0, set()
        next_row = options.trials / ROWS
        opt.start()
        while not opt.wait(0.5):
            processes = workers_of(me.pid)
            workers = [memory_mb(worker) for worker in processes]
            pids |= {worker.pid for worker in processes}
            worker_peak = max(worker_peak, *workers, 0.0)
            ended = len(opt.trials)
            if ended >= next_row:
                rows.append((ended, time.monotonic() - began, memory_mb(me), sorted(workers), me.num_fds()))
                next_row += options.trials / ROWS
        last = memory_mb(me)
        log = (opt.run_dir / "hpoviz.log").read_text()
        counts = opt.status()
        children, left_handles, left_threads = workers_of(me.pid), me.num_fds(), threading.active_count()
    print("\n| trials | seconds | parent MB | workers MB | open files of the parent |\n|---|---|---|---|---|")
    for ended, seconds, parent, workers, files in rows:
        print(f"| {ended} | {seconds:.0f} | {parent:.0f} | {', '.join(f'{mb:.0f}' for mb in workers)} | {files} |")
    growth = last - rows[0][2]
    first = min(mb for row in rows for mb in row[3] if mb)
    band = first + MOST_GROWTH / 1e6 + WORKER_BAND
    print(f"\n{counts}")
    print(f"parent: {growth:+.0f} MB since {rows[0][0]} trials (allowed {PARENT_BAND:.0f})")
    print(f"workers: at most {worker_peak:.0f} MB (allowed {band:.0f}); {len(pids)} processes, ", end="")
    print(f"{log.count('has grown by')} replaced as they had grown")
    grown = worker_peak - first
    print(f"a worker had at most {grown:.0f} MB more than the least, {grown / options.trials:.1f} MB a trial of all")
    print(f"left: {len(children)} workers, {left_threads - threads} threads, {left_handles - handles} open files")
    kept = growth <= PARENT_BAND and worker_peak <= band and not children
    sys.exit(0 if kept and left_threads <= threads and left_handles <= handles else 1)


if __name__ == "__main__":
    main()
