"""Pictures of the dashboard in a real JupyterLab, at three sizes and in both themes; the best for the documentation::

python -m tests.benchmarks.dashboard_pictures /tmp/pictures
python -m tests.benchmarks.dashboard_pictures /tmp/pictures --keep     # and write docs/images
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Locator

from tests.lab import Lab, Notebook

IMAGES = Path(__file__).parents[2] / "docs" / "images"
SIZES = {"desktop": (1440, 900), "tablet": (820, 1180), "phone": (390, 844)}
WHOLE = (1240, 1420)  # a window that shows all of it
DASH = ".hpoviz-dash[data-ready]"
CELLS = [
    "import hpoviz",
    "hpoviz.Dashboard()",
    """
running = hpoviz.Optimizer("digits", trials=60, epochs=(20, 30), workers=2, seed=1, pruner=None)
running.start()
""",
    'finished = hpoviz.Optimizer("digits", trials=24, epochs=(6, 12), workers=2, seed=0); finished.run()',
    """
def build_model(params, info):
    import sys, keras
    if params["activation"] == "relu" and "ipykernel" not in sys.modules:  # it works here and fails in the workers
        raise ValueError("An error in your own build_model, for all to see.")
    layers = [keras.Input(info.input_shape), keras.layers.Flatten()]
    layers += [keras.layers.Dense(params["units"], activation=params["activation"])]
    model = keras.Sequential([*layers, keras.layers.Dense(info.num_classes, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model

failed = hpoviz.Optimizer("digits", build_model=build_model, trials=8, workers=2, seed=0,
                          search_space={"units": (8, 64), "activation": ["relu", "tanh"], "epochs": 4})
failed.run()
""",
    """
health = hpoviz.Optimizer("digits", trials=10, epochs=(6, 10), workers=2, seed=0, objective="health")
health
""",
    "health.run()",
]
EMPTY, RUNNING, FINISHED, FAILED, HEALTH_FORM, HEALTH = range(1, 7)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--keep", action="store_true", help="write the best into docs/images")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("no Chromium: install it (apt-get install chromium)")
    with tempfile.TemporaryDirectory() as name, Lab(Path(name), chromium) as lab:
        notebook = lab.open("pictures.ipynb", CELLS)
        take(notebook, options.folder)
        notebook.close()
    if options.keep:
        for state in ("running", "finished", "details", "compare"):
            shutil.copy(options.folder / f"{state}-light-whole.png", IMAGES / f"dashboard_{state}.png")
        shutil.copy(options.folder / "figures-confusion_matrix-light-desktop.png", IMAGES / "dashboard_figures.png")
        shutil.copy(options.folder / "finished-dark-phone.png", IMAGES / "dashboard_phone.png")


def take(notebook: Notebook, folder: Path) -> None:
    """Run the cells, and take a picture of every state at every size and in both themes."""
    for cell in (0, EMPTY, HEALTH_FORM):  # this one is shown before it begins
        notebook.run(cell)
    shots(notebook, folder, "empty", EMPTY)
    shots(notebook, folder, "health-form", HEALTH_FORM)
    notebook.run(RUNNING)
    dash = shown(notebook, RUNNING)
    dash.page.wait_for_function(
        "e => e.querySelectorAll('.hp-tile[data-state=finished]').length >= 2",
        arg=dash.element_handle(),
        timeout=180_000,
    )
    shots(notebook, folder, "running", RUNNING)
    notebook.execute("running.stop()")
    for cell in (FINISHED, FAILED, HEALTH):
        notebook.run(cell)
    shots(notebook, folder, "finished", FINISHED)
    shots(notebook, folder, "failed", FAILED)
    shown(notebook, HEALTH).get_by_text("what health is made of").click()
    shots(notebook, folder, "health", HEALTH)
    dash = shown(notebook, FINISHED)
    figures(notebook, dash, folder)

    def details() -> None:
        dash.locator(".hp-tile").first.get_by_role("button", name="View details").click()
        dash.locator("dialog").get_by_role("heading", name="Parameters").wait_for()

    shots(notebook, folder, "details", FINISHED, details)
    for place in range(3):
        dash.locator(".hp-tile .hp-tick input").nth(place).check()
    shots(notebook, folder, "compare", FINISHED, lambda: dash.get_by_role("button", name="Compare 3").click())
    print("\n".join(notebook.errors) or "no errors on the page")


def figures(notebook: Notebook, dash: Locator, folder: Path) -> None:
    """Take pictures of some figures in their tabs, with what can be taken away."""
    for tab in ("confusion_matrix", "activation_maps", "architecture", "study"):
        dash.locator(f'[data-tab="{tab}"]').click()
        for size, (width, height) in {"desktop": (1240, 1200), "phone": (390, 1200)}.items():
            notebook.page.set_viewport_size({"width": width, "height": height})
            for theme in ("light", "dark"):
                notebook.theme(theme)
                dash.locator(".hp-panel[data-shown]").wait_for(timeout=120_000)
                notebook.page.wait_for_timeout(1000)
                dash.locator(".hp-panel[data-shown]").wait_for(timeout=120_000)
                dash.locator(".hp-figures-of").screenshot(path=folder / f"figures-{tab}-{theme}-{size}.png")
    notebook.page.set_viewport_size({"width": 1440, "height": 900})
    notebook.theme("light")


def shown(notebook: Notebook, cell: int) -> Locator:
    """Return a cell's dashboard."""
    dash = notebook.output(cell).locator(DASH).first
    dash.wait_for(timeout=180_000)
    return dash


def shots(notebook: Notebook, folder: Path, name: str, cell: int, before: Callable[[], None] = lambda: None) -> None:
    """Take the pictures of one state: what a window of each size shows, and all of it."""
    page, dash = notebook.page, shown(notebook, cell)
    for size, (width, height) in {**SIZES, "whole": WHOLE}.items():
        page.set_viewport_size({"width": width, "height": height})
        for theme in ("light", "dark"):
            notebook.theme(theme)
            page.wait_for_timeout(500)
            dash.evaluate("e => e.scrollIntoView({block: 'start'})")
            before()
            page.wait_for_timeout(500)
            target = folder / f"{name}-{theme}-{size}.png"
            if size == "whole":
                (dash.locator("dialog") if dash.locator("dialog[open]").count() else dash).screenshot(path=target)
            else:
                page.screenshot(path=target)
            page.keyboard.press("Escape")
    page.set_viewport_size({"width": 1440, "height": 900})
    notebook.theme("light")


if __name__ == "__main__":
    main()
