"""The files that move: a page that works without a network, in a real browser, and GIFs."""

import io
import itertools
import re

import keras
import numpy as np
import pytest
from PIL import Image

import hpoviz
from hpoviz.architecture.animation import tensor_of
from hpoviz.architecture.model_graph import ModelGraph
from hpoviz.errors import ConfigError, DatasetError
from tests.architecture import models
from tests.architecture.test_graph_scene import images

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def resnet():
    model = keras.applications.ResNet50(weights=None, input_shape=(64, 64, 3), classes=10)
    pictures = np.random.default_rng(0).random((4, 64, 64, 3)).astype("float32"), np.arange(4)
    return hpoviz.ModelVisualizer(model, data=pictures)


def test_sizes_of_the_pages_and_gifs(resnet, tmp_path):
    small = hpoviz.ModelVisualizer(models.cnn(), data=images())
    sizes = {
        (name, suffix): view.export(tmp_path / f"{name}{suffix}").stat().st_size / 1e6
        for name, view in (("cnn", small), ("ResNet50", resnet))
        for suffix in (".html", ".gif")
    }
    print({" ".join(key): f"{size:.2f} MB" for key, size in sizes.items()})
    assert sizes["cnn", ".html"] < 6
    assert sizes["ResNet50", ".html"] < 7
    assert max(sizes["cnn", ".gif"], sizes["ResNet50", ".gif"]) < 3


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_page_plays_without_a_network(browser, theme, tmp_path):
    view = hpoviz.ModelVisualizer(models.cnn(), data=images())
    path = view.export(tmp_path / "model.html", theme=theme)
    context = browser.new_context(offline=True, viewport={"width": 1280, "height": 900})
    page = context.new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: errors.append(request.url) if request.url.startswith("http") else None)
    page.goto(path.as_uri())
    root = page.locator(".hpoviz-graph[data-ready]")
    root.wait_for()
    facts = page.locator("svg [data-key='conv'][data-role='facts']")
    rest = facts.text_content()
    root.get_by_role("button", name="Forward").click()
    page.locator(".hpoviz-graph[data-step='forward 3']").wait_for()
    played = view._played(root.evaluate("root => root.hpovizView.sample"))
    assert facts.text_content() != rest
    assert facts.text_content() == tensor_of(played, ("conv", 0))["forward"]
    root.get_by_role("button", name="Backward").click()
    page.locator("[data-step^='backward']").wait_for()
    page.locator("svg [data-key='conv'][data-role='box']").click(position={"x": 4, "y": 4})
    root.get_by_role("heading", name="conv").wait_for()
    assert page.locator(".plotly-graph-div canvas, .plotly-graph-div .gl-container").count() > 0
    assert errors == []
    context.close()


def test_a_page_opens_and_closes_blocks(browser, resnet, tmp_path):
    path = resnet.export(tmp_path / "deep.html")
    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.goto(path.as_uri())
    root = page.locator(".hpoviz-graph[data-ready]")
    root.wait_for()
    boxes = page.locator("svg [data-role='box']")
    closed = boxes.count()
    root.get_by_role("button", name=re.compile("Open all|Close blocks")).click()
    page.wait_for_function("() => document.querySelectorAll(\"svg [data-role='box']\").length > 170")
    root.get_by_role("button", name=re.compile("Open all|Close blocks")).click()
    page.wait_for_function("n => document.querySelectorAll(\"svg [data-role='box']\").length === n", arg=closed)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.close()


def test_hostile_names_are_text_in_the_page(browser, tmp_path):
    bad = '</script><img src=x onerror="window.hacked=1">'
    data = hpoviz.Dataset.from_arrays(
        np.random.default_rng(0).random((60, 6, 6)), np.array([bad, "b"])[np.arange(60) % 2]
    )
    model = keras.Sequential(
        [keras.Input((6, 6, 1)), keras.layers.Flatten(), keras.layers.Dense(2, "softmax")], name=bad.replace("/", "")
    )
    path = hpoviz.ModelVisualizer(model, data=data).export(tmp_path / "bad.html")
    page = browser.new_page()
    page.goto(path.as_uri())
    page.locator(".hpoviz-graph[data-ready]").wait_for()
    page.get_by_role("button", name="One step on").click()
    assert page.evaluate("window.hacked") is None
    page.close()


def test_a_gif_has_a_frame_a_step_and_moves(tmp_path):
    view = hpoviz.ModelVisualizer(models.cnn(), data=images())
    path = view.export(tmp_path / "model.gif", sample=2)
    with Image.open(path) as picture:
        assert picture.n_frames == 2 * len({view.model_graph.depths[one.id] for one in view.model_graph.nodes})
        seen = []
        for number in range(picture.n_frames):
            picture.seek(number)
            seen.append(np.asarray(picture.convert("RGB"), dtype=int))
    assert all(np.abs(a - b).max() > 60 for a, b in itertools.pairwise(seen))


def test_without_labels_a_gif_goes_forward_only():
    content = hpoviz.ModelVisualizer(models.cnn(), data=images()[0])._content(".gif", 1.0, None, {})
    with Image.open(io.BytesIO(content)) as picture:
        assert picture.n_frames == 8


def test_json_holds_the_recording(tmp_path):
    view = hpoviz.ModelVisualizer(models.cnn(), data=images())
    graph = ModelGraph.from_json(view.export(tmp_path / "model.json", sample=1).read_text())
    assert graph.recording is not None
    assert graph.recording.loss == pytest.approx(view._played(1)["loss"], rel=1e-5)


def test_what_cannot_be_exported(tmp_path):
    bare = hpoviz.ModelVisualizer(models.cnn())
    with pytest.raises(ConfigError, match=r"ModelVisualizer\(model, data=data\)"):
        bare.export(tmp_path / "model.gif")
    with pytest.raises(DatasetError, match="from 0 to 19"):
        hpoviz.ModelVisualizer(models.cnn(), data=images()).export(tmp_path / "model.html", sample=99)
    assert bare.export(tmp_path / "still.html").stat().st_size > 1e6
