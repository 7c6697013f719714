"""A model as one page that works without a network: the graph, which plays, and the 3D view."""

from __future__ import annotations

import dataclasses
import html
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go

from hpoviz.architecture.colouring import Theme
from hpoviz.architecture.graph_drawing import Look, draw_graph
from hpoviz.architecture.graph_scene import LayerNotes
from hpoviz.architecture.graph_state import GraphState
from hpoviz.architecture.keras_adapter import graph_of
from hpoviz.architecture.model_graph import ModelGraph
from hpoviz.architecture.overview import overview
from hpoviz.architecture.palette import THEMES
from hpoviz.architecture.sample_recorder import MANY_NODES, SampleRecorder
from hpoviz.architecture.scene3d import scene_figure, scene_fit
from hpoviz.architecture.weight_histograms import weight_histograms
from hpoviz.assets import asset
from hpoviz.data.validation_samples import ValidationSamples
from hpoviz.health.report import HealthReport

if TYPE_CHECKING:
    import keras

__all__ = [
    "VIEW_SCRIPTS",
    "ModelView",
    "findings_by_layer",
    "html_page",
    "model_view",
    "right_and_wrong",
    "script_json",
    "trained_view",
]

VIEW_SCRIPTS = ("elements.js", "graph_faces.js", "graph_view.js", "scene_view.js")  # what plays a view, in this order


@dataclasses.dataclass(frozen=True)
class ModelView:
    """A model as pages show it.

    Attributes
    ----------
    page : mapping
        What `mountPage` of graph_view.js takes, and in ``fit`` what fits the figure to a screen; JSON values.
    figure : plotly Figure
        In three dimensions.
    """

    page: Mapping[str, Any]
    figure: go.Figure


def model_view(
    graph: ModelGraph,
    state: GraphState,
    look: Look | None = None,
    *,
    sample: int | None = None,
    performance: float | None = None,
) -> ModelView:
    """Return a model with all that a page may be asked to show of it.

    Where the state has a recorder, a sample is sent through the model; without a wish one that it is right of, and in
    graphs that are not very large another one that it is wrong of.

    Parameters
    ----------
    graph : ModelGraph
    state : GraphState
        Of that graph, as it was made; it is changed.
    look : Look, optional
    sample : int, optional
        Row of the sample.
    performance : float, optional
    """
    look = look or Look()
    if state.recorder:
        right, wrong = right_and_wrong(state.recorder)
        state.record(right if sample is None else sample)
        if sample is None and len(graph.nodes) <= MANY_NODES:
            state.record(wrong)
    scenes = [state.scene]
    if state.scene["closed"]:
        state.open_all()
        scenes.append(state.scene)
    elif state.scene["openable"]:
        state.close_all()
        scenes.append(state.scene)
    played = next(iter(state.recordings.values()), None)
    shown = overview(graph, collapse=look.collapse)
    figure = scene_figure(shown, theme=look.theme, color=look.color, performance=performance, played=played)
    captions = [recording["caption"] for recording in state.recordings.values()]
    page = {
        "scenes": scenes,
        "recordings": dict(state.recordings),
        "choices": captions,
        "count": len(captions),
        "sample": captions[0]["index"] if captions else None,
        "mode": look.color if look.color in scenes[0]["modes"] else "type",
        "status": "",
        "description": draw_graph(graph, Look(), performance=performance).description,
        "fit": scene_fit(figure, shown, look.theme),
    }
    return ModelView(page, figure)


def trained_view(
    model: keras.Model,
    samples: ValidationSamples,
    *,
    health: HealthReport | None = None,
    performance: float | None = None,
    theme: Theme = "light",
) -> ModelView:
    """Return a trial's model with validation samples, if there are any, on their way through it, and its health."""
    graph = graph_of(model)
    if health is not None:
        of_layers = {name: value for name, value in health.layer_health.items() if name in graph.layers}
        graph = dataclasses.replace(graph, health=of_layers)
    notes = LayerNotes(
        findings={} if health is None else findings_by_layer(health), histograms=weight_histograms(model)
    )
    recorder = _ValidationRecorder(model, graph, samples) if len(samples.rows) else None
    state = GraphState(graph, performance=performance, notes=notes, recorder=recorder)
    return model_view(graph, state, Look(theme=theme), performance=performance)


class _ValidationRecorder(SampleRecorder):
    """Sends the samples that trials were compared on through a model, under the names of their classes."""

    def __init__(self, model: keras.Model, graph: ModelGraph, samples: ValidationSamples) -> None:
        super().__init__(model, graph, (samples.x[samples.rows], samples.y[samples.rows]))
        self._names = samples.class_names


def html_page(name: str, view: ModelView, *, theme: Theme) -> str:
    """Return the page of a model.

    Parameters
    ----------
    name : str
        Of the model.
    view : ModelView
    theme : {"light", "dark"}
    """
    solid = view.figure.to_html(
        full_html=False,
        include_plotlyjs=True,
        auto_play=False,
        config={"responsive": True, "displaylogo": False, "showSendToCloud": False},
    )
    colours = THEMES[theme]
    title = html.escape(name)
    scripts = "\n".join(asset(script) for script in VIEW_SCRIPTS)
    return f"""<!doctype html>
<html lang="en" theme="{theme}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ background: {colours["paper"]}; color: {colours["text"]}; font: 15px/1.5 system-ui, sans-serif; margin: 0 auto;
  max-width: 1280px; padding: 12px; }}
h1, h2 {{ font-size: 1.15rem; margin: 0.4em 0; overflow-wrap: anywhere; }}
.hpoviz-graph-canvas {{ height: 560px; overflow: auto !important; }}
{asset("graph_view.css")}
</style>
</head>
<body>
<h1>{title}</h1>
<div class="hpoviz-graph" id="graph"></div>
<h2>In three dimensions</h2>
{solid}
<script type="application/json" id="model">{script_json(view.page)}</script>
<script type="module">
{scripts}
const page = JSON.parse(document.getElementById("model").textContent);
mountPage(document.getElementById("graph"), page);
for (const solid of document.querySelectorAll(".plotly-graph-div")) {{
  new ResizeObserver(() => requestAnimationFrame(() => fitScene(Plotly, solid, page.fit))).observe(solid);
}}
</script>
</body>
</html>
"""


def right_and_wrong(recorder: SampleRecorder) -> tuple[int, int]:
    """Return the first samples that the model is right and wrong of; the first of all where there is none."""
    choices = recorder.choices()
    right, wrong = (
        next((one.index for one in choices if one.right is flag), choices[0].index) for flag in (True, False)
    )
    return right, wrong


def findings_by_layer(report: HealthReport) -> dict[str, list[str]]:
    """Return what a report finds, by layer; what it finds of the whole model is at the model itself."""
    found: dict[str, list[str]] = {}
    for finding in report.findings:
        found.setdefault(finding.layer or "", []).append(str(finding))
    return found


def script_json(value: Any) -> str:
    """Return JSON that a script element can hold, whatever the texts in it say.

    Examples
    --------
    >>> script_json(["</script>"])
    '["\\\\u003c/script>"]'
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
