"""All figures as pictures, how long they take and how large they are, of two real searches and of 1,000 trials::

    python -m tests.benchmarks.figure_pictures /tmp/pictures
    python -m tests.benchmarks.figure_pictures /tmp/pictures --keep     # and write docs/images

Searches with a CNN on the embedded digits and with an LSTM on the embedded docstrings; every figure of the search and
of its best trial is drawn at 720 and at 390 pixels, light and dark, by plotly.js in Chromium, and written as PNG.
Figures of a search are then timed at 1,000 trials that are made up; the first of a process, which imports plotly, is
left out.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright
from plotly.offline import get_plotlyjs

import hpoviz
from hpoviz.plots.catalogue import STUDY_FIGURES, TRIAL_FIGURES
from tests.benchmarks.bench_search import machine
from tests.lab import FLAGS
from tests.made_up_run import made_up_run

IMAGES = Path(__file__).parents[2] / "docs" / "images"
KEPT = ("gradient_flow", "mistakes")
LOOKS = (("light", 720), ("light", 390), ("dark", 720), ("dark", 390))
DRAW = """async ([figure, width]) => {
    const { data, layout } = JSON.parse(figure);
    Plotly.purge('figure');
    await Plotly.newPlot('figure', data, { ...layout, width });
}"""


def main() -> None:
    """Write the pictures and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--keep", action="store_true", help="write some into docs/images")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    print(machine())
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        page = playwright.chromium.launch(args=FLAGS, executable_path="/usr/bin/chromium").new_page()
        page.set_content("<body style='margin: 0'><div id=figure></div></body>")
        page.add_script_tag(content=get_plotlyjs())
        print("\n| figure | of a CNN, ms | kB | of an LSTM, ms | kB |\n|---|---|---|---|---|")
        searches = [
            hpoviz.Optimizer("digits", trials=4, epochs=8, seed=0, run_dir=f"{folder}/cnn"),
            hpoviz.Optimizer("docstrings", trials=2, epochs=4, seed=0, run_dir=f"{folder}/lstm"),
        ]
        for opt in searches:
            opt.run()
        for kind, names in (("search", STUDY_FIGURES), ("trial", TRIAL_FIGURES)):
            for name in names:
                row = []
                for opt in searches:
                    plot = opt.plot if kind == "search" else opt.best_trial.plot
                    for theme, width in LOOKS:
                        page.set_viewport_size({"width": width, "height": 900})
                        page.evaluate(DRAW, [plot(name, theme=theme).to_json(), width])
                        target = options.folder / f"{opt.run_dir.name}_{kind}_{name}_{theme}_{width}.png"
                        page.locator("#figure").screenshot(path=target)
                    row += timed(lambda plot=plot, name=name: plot(name))
                print(f"| {kind}: {name} | {' | '.join(row)} |", flush=True)
        if options.keep:
            for name in KEPT:
                shutil.copyfile(options.folder / f"cnn_trial_{name}_light_720.png", IMAGES / f"figure_{name}.png")
        print("\n| figure of 1,000 trials | ms | MB of JSON |\n|---|---|---|")
        thousand = hpoviz.open_run(made_up_run(Path(folder) / "thousand", 1_000, 3))
        thousand.plot("importance")  # imports Optuna's evaluators
        for name in STUDY_FIGURES:
            took, size = timed(lambda name=name: thousand.plot(name))
            print(f"| {name} | {took} | {float(size) / 1000:.2f} |", flush=True)


def timed(draw: Callable[[], Any]) -> list[str]:
    """Return the median of five times in ms, JSON included, and the size of the JSON in kB."""
    times, text = [], ""
    for _ in range(5):
        began = time.perf_counter()
        text = draw().to_json()
        times.append(time.perf_counter() - began)
    return [f"{1e3 * statistics.median(times):.0f}", f"{len(text) / 1e3:.0f}"]


if __name__ == "__main__":
    main()
