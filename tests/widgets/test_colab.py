"""What Colab must be told to show widgets that are not its own, with a stand-in for its module: not tried there."""

import sys
from types import SimpleNamespace

import keras
import pytest

import hpoviz
from hpoviz import run_display
from hpoviz.architecture import scene_figure

MIME = "application/vnd.jupyter.widget-view+json"
URL = "https://example.org/widgets"
TOLD = {MIME: {"colab": {"custom_widget_manager": {"url": URL}}}}


@pytest.fixture
def _colab(monkeypatch):
    output = SimpleNamespace(enable_custom_widget_manager=lambda: None, _widgets=SimpleNamespace(_installed_url=URL))
    monkeypatch.setitem(sys.modules, "google.colab.output", output)
    monkeypatch.setattr(run_display, "in_notebook", lambda: True)
    monkeypatch.setattr(scene_figure, "in_notebook", lambda: True)


@pytest.mark.usefixtures("_colab")
def test_everything_that_is_shown_says_where_widgets_come_from():
    model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(2, "softmax")])
    view = hpoviz.ModelVisualizer(model)
    for thing in (hpoviz.Optimizer("digits", seed=0), view.graph(), view.scene3d()):
        data, metadata = thing._repr_mimebundle_()
        assert MIME in data
        assert metadata == TOLD
