"""What the dashboard costs: time of the kernel, messages, memory, and the first paint in a real JupyterLab::

python -m tests.benchmarks.bench_dashboard

Kernel's time by a made-up search of 1,000 trials of 20 epochs, told event by event; the pump's by a real search.
"""

from __future__ import annotations

import gc
import json
import os
import shutil
import statistics
import tempfile
import threading
import time
import tracemalloc
from pathlib import Path

import ipywidgets

import hpoviz
from hpoviz.store.run_state import RunState
from hpoviz.widgets.dashboard import Dashboard
from tests.benchmarks.bench_search import machine
from tests.lab import Lab
from tests.made_up_run import made_up_events, made_up_run

TRIALS, EPOCHS, EVENTS_A_REFRESH = 1_000, 20, 25
REOPENED = 5
PAINTS, STOPS = 3, 5
DASH = ".hpoviz-dash[data-ready]"


def replay(folder: Path) -> list[str]:
    """Tell a dashboard of every event of a thousand trials, and time each refresh."""
    dashboard = Dashboard(hpoviz.open_run(made_up_run(folder / "one", 1, 1)))
    state, sizes, times = RunState(), [], []
    dashboard.send = lambda message, buffers=None: sizes.append(len(json.dumps(message)))
    for at, event in enumerate(made_up_events(TRIALS, EPOCHS)):
        state.apply(event)
        if at % EVENTS_A_REFRESH == 0:
            began = time.perf_counter()
            dashboard.refresh(state, running=True)
            times.append(1e3 * (time.perf_counter() - began))
    late, slowest = times[-len(times) // 10 :], statistics.quantiles(times, n=100)[98]
    return [
        f"| kernel's time for one of {len(times)} refreshes, ms: median | {statistics.median(times):.2f} | 5 |",
        f"| the same: 99% are faster than | {slowest:.2f} | 5 |",
        f"| the same: median of the last tenth | {statistics.median(late):.2f} | 5 |",
        f"| size of a refresh, kB: median / most | {statistics.median(sizes) / 1e3:.1f} / {max(sizes) / 1e3:.1f} | |",
    ]


def memory(folder: Path) -> list[str]:
    """Open and close a dashboard of a thousand trials five times."""
    opt = hpoviz.open_run(folder)
    widgets = ipywidgets.widgets.widget._instances
    Dashboard(opt).close()
    gc.collect()
    before = len(widgets)
    tracemalloc.start()
    size = tracemalloc.get_traced_memory()[0]
    for _ in range(REOPENED):
        Dashboard(opt).close()
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - size
    tracemalloc.stop()
    left = len(widgets) - before
    return [
        f"| widgets left after opening and closing {REOPENED} times | {left} | 0 |",
        f"| memory grown by it, MB | {grown / 1e6:.2f} | 20 |",
    ]


def real_search(folder: Path) -> list[str]:
    """Watch a real search of two workers: the pump thread's processor time, and messages a second."""
    opt = hpoviz.Optimizer(
        "digits", trials=16, epochs=(6, 10), seed=0, workers=2, pruner=None, run_dir=folder,
        search_space={"filters": (8, 16), "num_layers_conv": 2}, config=hpoviz.OptimizationConfig(display="none"),
    )  # fmt: skip
    dashboard, sent = Dashboard(opt), []
    dashboard.send = lambda message, buffers=None: sent.append(time.monotonic())
    began = time.monotonic()
    opt.start()
    pump = next(thread for thread in threading.enumerate() if thread.name == "hpoviz-progress")
    used = 0.0
    while opt._is_running():
        used = _seconds_of(pump) or used
        time.sleep(0.1)
    took = time.monotonic() - began
    opt.wait()
    most = max(sum(one <= other < one + 1 for other in sent) for one in sent)
    return [
        f"| pump's processor time in a real search of {took:.0f} s, share of a core | {used / took:.2%} | 3% |",
        f"| messages to the browser: in all / most in a second | {len(sent)} / {most} | 50 a second |",
    ]


def _seconds_of(thread: threading.Thread) -> float:
    """Return the processor time of a thread of this process, from Linux."""
    try:
        fields = Path(f"/proc/self/task/{thread.native_id}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def stopping(folder: Path) -> list[str]:
    """Stop searches of two workers in the middle of an epoch: from the message until all has stopped."""
    found = []
    for number in range(STOPS):
        opt = hpoviz.Optimizer(
            "digits", trials=1_000, epochs=500, seed=number, workers=2, pruner=None, run_dir=folder / str(number),
            config=hpoviz.OptimizationConfig(display="none", early_stopping_patience=None),
        )  # fmt: skip
        dashboard = Dashboard(opt)
        opt.start()
        while [slot["batch"] > 0 for slot in dashboard._feed._head["slots"]].count(True) < 2:
            time.sleep(0.05)
        began = time.monotonic()
        dashboard._told(dashboard, {"kind": "stop"}, None)
        while opt._is_running():
            time.sleep(0.01)
        found.append(time.monotonic() - began)
        opt.wait()
        dashboard.close()
    times = ", ".join(f"{one:.2f}" for one in found)
    return [f"| Stop in the middle of an epoch until all has stopped, s, {STOPS} times | {times} | 3 |"]


def first_paint(folder: Path, chromium: str) -> list[str]:
    """Show a finished search of a thousand trials in JupyterLab: from the cell's start until its tiles are there."""
    cells = [
        "import hpoviz, pandas, anywidget; import hpoviz.widgets.dashboard",
        "opt = hpoviz.open_run('thousand')",
        "opt",
    ]
    found = []
    with Lab(folder, chromium) as lab:
        for paint in range(PAINTS):
            notebook = lab.open(f"paint{paint}.ipynb", cells)
            notebook.run(0)
            notebook.run(1)
            began = notebook.run(2)
            notebook.output(2).locator(f"{DASH} .hp-tile").first.wait_for(timeout=60_000)
            found.append(time.perf_counter() - began)
            notebook.close()
    times = ", ".join(f"{one:.2f}" for one in found)
    return [f"| first paint of {TRIALS:,} finished trials, s, {PAINTS} times | {times} | 3 |"]


def main() -> None:
    print(machine())
    print("| what | measured | bar |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made_up_run(folder / "thousand", TRIALS, EPOCHS)
        lines = [*replay(folder), *memory(folder / "thousand"), *real_search(folder / "real")]
        lines += stopping(folder / "stopped")
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        lines += first_paint(folder, chromium) if chromium else ["| first paint | no Chromium here | 3 |"]
    print("\n".join(lines), flush=True)


if __name__ == "__main__":
    main()
