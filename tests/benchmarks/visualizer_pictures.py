"""Pictures of the visualiser in a real JupyterLab, at three sizes and in both themes; the best for the documentation::

python -m tests.benchmarks.visualizer_pictures /tmp/pictures
python -m tests.benchmarks.visualizer_pictures /tmp/pictures --keep     # and write docs/images
"""

from __future__ import annotations

import argparse
import re
import shutil
import tempfile
import time
from pathlib import Path

from playwright.sync_api import Locator

from tests.lab import Lab, Notebook

IMAGES = Path(__file__).parents[2] / "docs" / "images"
SIZES = {"desktop": (1440, 900), "tablet": (820, 1180), "phone": (390, 844)}
KEPT = {
    "cnn-flight-light-desktop": "graph",
    "cnn3d-light-desktop": "scene3d",
    "resnet3d-light-desktop": "scene3d_resnet50",
}
SETUP = """
import keras, numpy as np, hpoviz
from keras import layers
data = hpoviz.load_dataset("digits")
split = data.split(seed=0)
keras.utils.set_random_seed(0)
model = keras.Sequential([
    keras.Input((8, 8, 1), name="image"), layers.Rescaling(1 / 16, name="scale"),
    layers.Conv2D(16, 3, padding="same", activation="relu", name="edges"), layers.MaxPooling2D(name="pool"),
    layers.Conv2D(32, 3, activation="relu", name="parts"), layers.Flatten(name="flat"),
    layers.Dropout(0.2, name="drop"), layers.Dense(10, activation="softmax", name="digit")], name="digits_cnn")
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
history = model.fit(split.x_train, split.y_train, epochs=12, validation_data=(split.x_val, split.y_val), verbose=0)
view = hpoviz.ModelVisualizer(model, health=hpoviz.diagnose(model, data, history), data=data)
texts = (np.random.default_rng(0).integers(1, 200, (60, 20)), np.arange(60) % 4)
reader = keras.Sequential([
    keras.Input((20,), dtype="int32", name="words"), layers.Embedding(200, 16, mask_zero=True, name="embed"),
    layers.Bidirectional(layers.LSTM(12, return_sequences=True), name="read"),
    layers.GlobalMaxPooling1D(name="strongest"), layers.Dense(4, activation="softmax", name="topic")], name="reader")
resnet = keras.applications.ResNet50(weights=None, input_shape=(64, 64, 3), classes=10)
noise = (np.random.default_rng(0).random((8, 64, 64, 3)).astype("float32"), np.arange(8))
deep = hpoviz.ModelVisualizer(resnet, data=noise)
"""
CELLS = [
    SETUP,
    "view.graph()",
    "view.scene3d()",
    "hpoviz.ModelVisualizer(reader, data=texts).graph()",
    "deep.graph()",
    "deep.scene3d()",
    "view.scene3d(theme='dark')",
    "deep.scene3d(theme='dark')",
]
CNN, CNN_3D, TEXT, RESNET, RESNET_3D, CNN_3D_DARK, RESNET_3D_DARK = range(1, 8)


def main() -> None:
    """Take all pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--keep", action="store_true", help="copy the best into docs/images")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with tempfile.TemporaryDirectory() as place, Lab(Path(place), chromium) as lab:
        notebook = lab.open("pictures.ipynb", CELLS)
        for cell in range(len(CELLS)):
            began = notebook.run(cell)
            if cell in (CNN, TEXT, RESNET):
                graph_of(notebook, cell).wait_for(timeout=60_000)
                print(f"cell {cell}: {time.perf_counter() - began:.2f} s until the graph is on screen")
        for theme in ("light", "dark"):
            notebook.theme(theme)
            for size, (width, height) in SIZES.items():
                notebook.page.set_viewport_size({"width": width, "height": height})
                notebook.page.wait_for_timeout(400)
                take(notebook, options.folder, f"{theme}-{size}")
        print(f"errors in the page: {notebook.errors}")
        if options.keep:
            for name, kept in KEPT.items():
                shutil.copy(options.folder / f"{name}.png", IMAGES / f"{kept}.png")
            print(notebook.execute(f"print(view.export({str(IMAGES / 'flow.gif')!r}))"))


def graph_of(notebook: Notebook, cell: int) -> Locator:
    """Return the graph in a cell's output, once it can be used."""
    return notebook.output(cell).locator(".hpoviz-graph[data-ready]").first


def take(notebook: Notebook, folder: Path, name: str) -> None:
    """Take the pictures of one size and theme."""
    for cell, kind, chosen, step in ((CNN, "cnn", "parts", 4), (TEXT, "text", "read", 2), (RESNET, "resnet", None, 8)):
        graph = graph_of(notebook, cell)
        graph.evaluate(
            "root => { root.hpovizView.clear(); root.hpovizView.select(null); root.hpovizView.face.start(); }"
        )
        graph.locator(".hpoviz-caption", has_text=re.compile(r"^Sample \d")).wait_for(timeout=60_000)
        shoot(notebook, graph, folder / f"{kind}-graph-{name}.png")
        chosen = chosen or graph.evaluate("root => root.hpovizView.scene.closed[0]")
        graph.evaluate("(root, id) => root.hpovizView.select(id)", chosen)
        shoot(notebook, graph, folder / f"{kind}-details-{name}.png")
        graph.evaluate("(root, step) => root.hpovizView.go(step)", step)
        shoot(notebook, graph, folder / f"{kind}-flight-{name}.png")
        graph.evaluate("root => { root.hpovizView.way = 'backward'; root.hpovizView.go(1); }")
        shoot(notebook, graph, folder / f"{kind}-back-{name}.png")
    dark = name.startswith("dark")
    for cell, kind in ((CNN_3D_DARK if dark else CNN_3D, "cnn3d"), (RESNET_3D_DARK if dark else RESNET_3D, "resnet3d")):
        shoot(notebook, notebook.output(cell), folder / f"{kind}-{name}.png", wait=1500)


def shoot(notebook: Notebook, element: Locator, path: Path, wait: int = 500) -> None:
    """Take a picture of an element."""
    element.scroll_into_view_if_needed()
    notebook.page.wait_for_timeout(wait)
    element.screenshot(path=path)


if __name__ == "__main__":
    main()
