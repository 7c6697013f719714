"""Graphs of models beside Keras' plot_model and visualkeras: time, and what each makes of unusual models::

    apt-get install graphviz && pip install pydot visualkeras
    python -m tests.benchmarks.bench_graph

Four tables. (1) Milliseconds to read a model, to lay it out and to write it as SVG, all of its nodes shown, beside
`keras.utils.plot_model` to SVG with the same information (shapes, names, nested models); the two take turns. (2) The
same as PNG. (3) What the three make of small models whose calls and tensors can be counted: the number of boxes and
lines, or what they raise. (4) Milliseconds to record one pass forward and back of eight samples (of one for ResNet50).
Medians; the pictures are the whole model, not its repeated blocks.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

import hpoviz
from hpoviz.architecture.graph_drawing import Look, draw_graph
from hpoviz.architecture.keras_adapter import graph_of
from hpoviz.architecture.layout import layered_layout
from hpoviz.architecture.svg import svg
from hpoviz.instrument import record
from tests.architecture import models
from tests.benchmarks.bench_search import machine

WHOLE = Look(collapse=False)
APPLICATIONS = ("MobileNetV2", "ResNet50", "EfficientNetB0", "InceptionV3", "DenseNet121")
SMALL = (
    models.cnn, models.siamese, models.self_shared, models.nested_twice, models.multi_output, models.arithmetic,
    models.states, models.attention, models.text, models.subclassed, models.around_subclassed, models.branching,
)  # fmt: skip


def milliseconds(work: Callable[[], Any], repeats: int) -> float:
    """Return the median time of a call."""
    took = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        took.append(1000 * (time.perf_counter() - began))
    return statistics.median(took)


def plot(model: Any, path: Path) -> None:
    """Draw a model with Keras' own function, shapes and names on it as on ours.

    Having written an SVG, it fails to show it where IPython is installed; that is passed over.
    """
    path.unlink(missing_ok=True)
    try:
        keras.utils.plot_model(model, str(path), show_shapes=True, show_layer_names=True, expand_nested=True)
    except ValueError as error:
        if "Cannot embed" not in str(error) or not path.exists():
            raise


def attempt(work: Callable[[], Any]) -> str:
    """Return what a call gives, or what it raises, in a few words."""
    try:
        return str(work())
    except (Exception, SystemExit) as error:
        words = " ".join(str(error).split())[:60]
        return f"fails: {type(error).__name__}: {words}".replace("|", "/")


def timed(work: Callable[[], Any], repeats: int) -> float | str:
    """Return the median milliseconds of a call, or what it raises."""
    try:
        return milliseconds(work, repeats)
    except Exception as error:
        return f"fails: {type(error).__name__}"


def shown(value: float | str) -> str:
    """Return a table's cell."""
    return value if isinstance(value, str) else f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def ratio(theirs: float | str, ours: float) -> str:
    """Return how often ours goes into theirs."""
    return "" if isinstance(theirs, str) else f"{theirs / ours:.0f}×"


def times(repeats: int) -> None:
    """Print tables 1 and 2."""
    rows, pictures = [], []
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for name in APPLICATIONS:
            model = getattr(keras.applications, name)(weights=None)
            graph = graph_of(model)
            edges = [(edge.source, edge.target) for edge in graph.edges]
            sizes, labels = {node.id: (170.0, 40.0) for node in graph.nodes}, [(60.0, 15.0)] * len(edges)
            reading = milliseconds(lambda model=model: graph_of(model), 5 * repeats)
            laying = milliseconds(lambda s=sizes, e=edges, t=labels: layered_layout(s, e, labels=t), repeats)
            ours, theirs = [], []
            for _ in range(repeats):
                ours.append(milliseconds(lambda model=model: svg(draw_graph(graph_of(model), WHOLE)), 1))
                theirs.append(timed(lambda model=model: plot(model, place / "m.svg"), 1))
            svg_ours, svg_theirs = statistics.median(ours), middle(theirs)
            rows.append(
                f"| {name} | {len(graph.nodes)} | {len(edges)} | {reading:.1f} | {laying:.1f} | {svg_ours:.1f} "
                f"| {shown(svg_theirs)} | {ratio(svg_theirs, svg_ours)} |"
            )
            view, few = hpoviz.ModelVisualizer(model), max(repeats // 3, 1)
            png = milliseconds(lambda view=view: view.export(place / "o.png", collapse=False, scale=1), few)
            grouped = milliseconds(lambda view=view: view.export(place / "g.png", scale=1), few)
            keras_png = timed(lambda model=model: plot(model, place / "m.png"), few)
            pictures.append(f"| {name} | {png:,.0f} | {grouped:,.0f} | {shown(keras_png)} |")
    print("\n| model | nodes | edges | read ms | lay out ms | to SVG ms | plot_model SVG ms | ratio |")
    print("|---|---|---|---|---|---|---|---|")
    print("\n".join(rows))
    print("\n| model | PNG ms | PNG with blocks grouped ms | plot_model PNG ms |\n|---|---|---|---|")
    print("\n".join(pictures), flush=True)


def middle(values: list[float | str]) -> float | str:
    """Return the median, or the first that is no number."""
    numbers = [value for value in values if not isinstance(value, str)]
    return statistics.median(numbers) if len(numbers) == len(values) else next(v for v in values if isinstance(v, str))


def ours(model: Any) -> str:
    """Return how many calls and uses of tensors a drawing of ours shows."""
    graph = models.bare(graph_of(model))
    calls = sum(node.kind != "container" for node in graph.nodes)
    note = ", says what it cannot show" if graph.partial else ""
    return f"{calls} / {len(graph.edges)}{note}"


def plotted(model: Any) -> str:
    """Return how many boxes and lines Keras draws."""
    dot = keras.utils.model_to_dot(model, show_shapes=True, expand_nested=True)
    graphs, boxes, lines = [dot], 0, 0
    while graphs:
        graph = graphs.pop()
        boxes += sum(node.get_name() not in ("node", "edge", "graph") for node in graph.get_nodes())
        lines += len(graph.get_edges())
        graphs += graph.get_subgraphs()
    with tempfile.TemporaryDirectory() as folder:
        plot(model, Path(folder) / "m.svg")
    return f"{boxes} / {lines}"


def layered(model: Any) -> str:
    """Return the size of visualkeras' picture."""
    import visualkeras

    return "picture of {} by {}".format(*visualkeras.layered_view(model).size)


def unusual() -> None:
    """Print table 3."""
    peers = {"plot_model": plotted}
    if importlib.util.find_spec("visualkeras"):
        peers["visualkeras"] = layered
    print(f"\n| model | calls / tensor uses, hpoviz | {' | '.join(peers)} |\n|---|---|{'---|' * len(peers)}")
    for make in SMALL:
        model = make()
        cells = [attempt(lambda peer=peer, model=model: peer(model)) for peer in peers.values()]
        print(f"| {make.__name__} | {attempt(lambda model=model: ours(model))} | {' | '.join(cells)} |", flush=True)


def recording(repeats: int) -> None:
    """Print table 4."""
    chance = np.random.default_rng(0)
    print("\n| model | samples | forward and back, ms | forward only, ms |\n|---|---|---|---|")
    resnet = keras.applications.ResNet50(weights=None)
    cases = [(models.cnn(), (12, 12, 1), 8, 3), (resnet, (224, 224, 3), 1, 1000)]
    for model, shape, samples, classes in cases:
        x, y = chance.random((samples, *shape), "float32"), chance.integers(0, classes, samples)
        record(model, x, y)
        both = milliseconds(lambda model=model, x=x, y=y: record(model, x, y), repeats)
        forward = milliseconds(lambda model=model, x=x: record(model, x), repeats)
        print(f"| {model.name} | {samples} | {both:,.0f} | {forward:,.0f} |", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    print(machine())
    times(options.repeats)
    unusual()
    recording(options.repeats)


if __name__ == "__main__":
    main()
