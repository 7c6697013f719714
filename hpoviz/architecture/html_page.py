"""A model as one page that works without a network: the graph, which plays, and the 3D view."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from hpoviz.architecture.colouring import Coloring, Theme
from hpoviz.architecture.palette import THEMES
from hpoviz.assets import asset

__all__ = ["html_page"]


def html_page(
    name: str,
    description: str,
    scenes: Sequence[Mapping[str, Any]],
    recordings: Mapping[str, Mapping[str, Any]],
    figure: go.Figure,
    fit: Mapping[str, Any],
    *,
    theme: Theme,
    color: Coloring,
) -> str:
    """Return the page.

    Parameters
    ----------
    name, description : str
        Of the model.
    scenes : sequence of mapping
        As `graph_scene` makes them: blocks closed, and, where there are any, all open.
    recordings : mapping
        By sample, as `SampleRecorder.played` returns them; the first is shown first.
    figure : plotly Figure
    fit : mapping
        What `hpoviz.architecture.scene3d.scene_fit` returns.
    theme : {"light", "dark"}
    color : {"type", "parameters", "performance", "health"}
        What colours say at first.
    """
    page = {
        "scenes": list(scenes),
        "recordings": dict(recordings),
        "choices": [recording["caption"] for recording in recordings.values()],
        "count": len(recordings),
        "sample": next((recording["caption"]["index"] for recording in recordings.values()), None),
        "mode": color if color in scenes[0]["modes"] else "type",
        "status": "",
        "description": description,
        "fit": dict(fit),
    }
    solid = figure.to_html(
        full_html=False,
        include_plotlyjs=True,
        auto_play=False,
        config={"responsive": True, "displaylogo": False},
    )
    colours = THEMES[theme]
    title = html.escape(name)
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
<script type="application/json" id="model">{_json(page)}</script>
<script type="module">
{asset("elements.js")}
{asset("graph_faces.js")}
{asset("graph_view.js")}
{asset("scene_view.js")}
const page = JSON.parse(document.getElementById("model").textContent);
mountPage(document.getElementById("graph"), page);
for (const solid of document.querySelectorAll(".plotly-graph-div")) {{
  new ResizeObserver(() => requestAnimationFrame(() => fitScene(Plotly, solid, page.fit))).observe(solid);
}}
</script>
</body>
</html>
"""


def _json(value: Any) -> str:
    """Return JSON that a script element can hold, whatever the texts in it say."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
