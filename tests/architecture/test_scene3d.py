"""The model in three dimensions: sizes, places, colours and steps of the figure."""

import copy
import itertools
import json
import pickle

import keras
import numpy as np
import plotly.graph_objects as go
import pytest

import hpoviz
from hpoviz.architecture.animation import tensor_of
from hpoviz.architecture.keras_adapter import graph_of
from hpoviz.architecture.overview import overview
from hpoviz.architecture.solids import FOLD_FROM, corners_of, solids
from hpoviz.errors import ConfigError, DatasetError
from tests.architecture import models
from tests.architecture.test_graph_scene import images

CASES = [models.cnn, models.siamese, models.states, models.nested_twice, models.text]


@pytest.fixture(scope="module")
def resnet():
    return keras.applications.ResNet50(weights=None, input_shape=(64, 64, 3), classes=10)


def names(figure):
    return [one.text for one in figure.layout.scene.annotations]


def apart(a, b):
    return any(abs(a.at[axis] - b.at[axis]) >= (a.size[axis] + b.size[axis]) / 2 - 1e-6 for axis in range(3))


@pytest.mark.parametrize("make", CASES)
def test_boxes_do_not_overlap_and_follow_the_model(make):
    graph = overview(graph_of(make()))
    found = solids(graph)
    for one, other in itertools.combinations(found, 2):
        assert apart(one, other), (one, other)
    at = {one.node: one.at[0] for one in found}
    assert all(at[edge.source] < at[edge.target] for edge in graph.edges)


def test_a_deep_model_is_folded(resnet):
    whole = graph_of(resnet)
    found = solids(overview(whole, collapse=False))
    assert {one.towards for one in found} == {1, -1}
    long = max(one.at[0] for one in found) - min(one.at[0] for one in found)
    wide = max(one.at[1] for one in found) - min(one.at[1] for one in found)
    assert FOLD_FROM / 2 < long < 4 * wide
    for one, other in itertools.combinations(found, 2):
        assert apart(one, other)


def test_the_figure_has_a_box_for_each_node_and_says_true_shapes():
    view = hpoviz.ModelVisualizer(models.cnn())
    figure = view.scene3d()
    boxes = next(trace for trace in figure.data if trace.name == "layers")
    assert len(boxes.x) == 8 * len(overview(view.model_graph).nodes)
    assert len(boxes.facecolor) == 12 * len(overview(view.model_graph).nodes)
    assert any("10×10×4 float32" in text for text in boxes.text)
    assert {"C convolution", "D dense", "Y output"} <= {trace.name for trace in figure.data}
    assert not figure.frames
    assert figure.layout.scene.camera.projection.type == "orthographic"


def test_frames_hold_the_recordings_numbers():
    model = models.cnn()
    view = hpoviz.ModelVisualizer(model, data=images())
    figure = view.scene3d(sample=3)
    played = view._played(3)
    steps = len({view.model_graph.depths[node.id] for node in view.model_graph.nodes})
    assert [frame.name for frame in figure.frames] == [
        *(f"forward {number + 1}" for number in range(steps)),
        *(f"backward {number + 1}" for number in range(steps)),
    ]
    second = figure.frames[1]
    assert list(second.data[1].text) == [tensor_of(played, ("conv", 0))["forward"]]
    assert len(second.data[0].x) == 8
    last = figure.frames[-1]
    assert list(last.data[1].text) == [tensor_of(played, ("image", 0))["backward"]]
    assert "label 0" in figure.layout.title.text


def test_hostile_texts_are_no_markup():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="b <b>x")], name="<a href='x'>m")
    figure = hpoviz.ModelVisualizer(model).scene3d()
    assert "<a" not in figure.layout.title.text
    boxes = next(trace for trace in figure.data if trace.name == "layers")
    assert all("<b>" not in text for text in (*boxes.text, *names(figure)))


@pytest.mark.parametrize("color", ["type", "parameters", "health", "performance"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours(color, theme):
    view = hpoviz.ModelVisualizer(models.cnn(), health={"conv": 0.1}, performance=0.9)
    figure = view.scene3d(color=color, theme=theme)
    boxes = next(trace for trace in figure.data if trace.name == "layers")
    assert len(set(boxes.facecolor)) > 1 or color == "performance"
    figure.to_json()


def test_a_narrow_screen():
    view = hpoviz.ModelVisualizer(models.cnn())
    wide, narrow = view.scene3d().layout, view.scene3d(width=440).layout
    assert narrow.width == 440
    named = [names(view.scene3d(width=width)) for width in (440, 900)]
    assert len(named[0]) == 2 < len(named[1])  # else they would lie over each other
    assert narrow.scene.aspectratio.x == pytest.approx(wide.scene.aspectratio.x / 2)
    with pytest.raises(ConfigError, match=r"at least 200\. Got 20"):
        view.scene3d(width=20)


def test_bad_input():
    view = hpoviz.ModelVisualizer(models.cnn())
    with pytest.raises(ConfigError, match=r"theme must be one of 'light', 'dark'"):
        view.scene3d(theme="grey")
    with pytest.raises(ConfigError, match="no samples to send"):
        view.scene3d(sample=0)
    with pytest.raises(DatasetError, match="from 0 to 19"):
        hpoviz.ModelVisualizer(models.cnn(), data=images()).scene3d(sample=20)


def test_corners_are_those_of_the_box():
    one = solids(overview(graph_of(models.cnn())))[1]
    corners = np.array(corners_of(one))
    assert np.allclose(corners.max(0) - corners.min(0), one.size)
    assert np.allclose(corners.mean(0), one.at)


def test_a_figure_for_a_notebook_is_plotlys_and_knows_how_to_fit(resnet):
    view = hpoviz.ModelVisualizer(resnet)
    figure, narrow = view.scene3d(), view.scene3d(width=300)
    assert isinstance(figure, go.Figure)
    assert not hasattr(narrow, "close")
    fit = figure._fit
    assert names(figure) == [one["text"] for one in fit["all"]]
    assert names(narrow) == [one["text"] for one in fit["few"]]
    assert len(fit["few"]) == 2 < len(fit["all"])
    share = 300 / fit["wide"]
    assert narrow.layout.scene.aspectratio.x == pytest.approx(share * fit["ratio"]["x"])
    json.dumps(fit, allow_nan=False)
    assert "application/vnd.jupyter.widget-view+json" not in figure._repr_mimebundle_()  # not in a notebook
    for copied in (copy.deepcopy(figure), pickle.loads(pickle.dumps(figure))):
        assert copied.to_json() == figure.to_json()
        assert copied._fit == fit
    figure.close()
