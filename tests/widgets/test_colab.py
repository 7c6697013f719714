"""What Colab must be told to show widgets that are not its own, with a stand-in for its module: not tried there."""

import sys
from types import SimpleNamespace

import keras
import pytest

import hpoviz
from hpoviz import _display, run_display
from hpoviz.architecture import scene_figure
from tests.conftest import SMALL_SPACE

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


@pytest.mark.slow
@pytest.mark.usefixtures("_colab")
def test_a_search_that_is_started_says_it_too(stripes, run_dir, monkeypatch):
    shown = []

    class Handle:
        def update(self, data, **options):
            shown.append((data, options))

    def display(data, **options):
        shown.append((data, options))
        return Handle()

    monkeypatch.setattr(_display, "in_notebook", lambda: True)
    monkeypatch.setattr("IPython.display.display", display)
    opt = hpoviz.Optimizer(stripes, trials=1, epochs=1, seed=0, workers=1, search_space=SMALL_SPACE, run_dir=run_dir)
    opt.start()
    opt.wait()
    assert [options["metadata"] for _, options in shown] == [TOLD, TOLD]
    assert all(MIME in data for data, _ in shown)
