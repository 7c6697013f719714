"""The graph of a model on the screen: ipycytoscape, and beside it a toolbar that plays what flows through."""

from __future__ import annotations

import dataclasses
from typing import Any

import anywidget
import ipycytoscape
import ipywidgets
import traitlets

from hpoviz.architecture.graph_state import GraphState
from hpoviz.assets import asset
from hpoviz.errors import ConfigError, HpovizError

__all__ = ["GraphView"]

LOWEST, HIGHEST = 260, 620  # pixels
WIDGET_MIME = "application/vnd.jupyter.widget-view+json"


class GraphTools(anywidget.AnyWidget):
    """Toolbar, caption, legend and details; all of it runs in the browser."""

    _esm = asset("elements.js") + asset("graph_faces.js") + asset("graph_view.js")
    _css = asset("graph_view.css")
    scene = traitlets.Dict().tag(sync=True)
    recordings = traitlets.Dict().tag(sync=True)
    choices: Any = traitlets.List().tag(sync=True)
    sample = traitlets.Int(None, allow_none=True).tag(sync=True)
    count = traitlets.Int(0).tag(sync=True)
    status = traitlets.Unicode("").tag(sync=True)


class _Canvas(ipycytoscape.CytoscapeWidget):  # type: ignore[misc]  # ipycytoscape is not typed
    """An ipycytoscape view of a scene, which can be closed without anything left.

    Structural changes of a graph that is on screen break it, so each scene has a canvas of its own.
    """

    @traitlets.default("graph")
    def _first_graph(self) -> ipycytoscape.Graph:
        self._unused = ipycytoscape.Graph()  # the base class makes another one right after
        return self._unused

    def __init__(self, scene: dict[str, Any]) -> None:
        height = min(max(scene["height"] + 40, LOWEST), HIGHEST)
        super().__init__(
            cytoscape_layout={"name": "preset", "fit": True, "padding": 12},
            cytoscape_style=STYLE,
            auto_ungrabify=True,
            layout={"height": f"{height:.0f}px", "width": "auto"},
        )
        self._unused.close()
        self.add_class("hpoviz-graph-canvas")
        self.add_class(f"hpoviz-canvas-{scene['serial']}")
        with self.graph.hold_sync():
            self.graph.add_nodes([_node(node) for node in scene["nodes"]])
            self.graph.add_edges([_edge(edge) for edge in scene["edges"]], directed=True, multiple_edges=True)

    def close(self) -> None:
        for part in (*self.graph.nodes, *self.graph.edges, self.graph, self.layout):
            part.close()
        super().close()


# What is seen until the toolbar has drawn it in the colours of the page, and where it cannot run.
STYLE = [
    {
        "selector": "node",
        "style": {
            "shape": "round-rectangle",
            "label": "data(label)",
            "font-size": 11,
            "text-wrap": "wrap",
            "text-valign": "center",
            "text-halign": "center",
            "background-color": "data(colour)",
            "background-opacity": 0.13,
            "border-width": 1.4,
            "border-color": "data(colour)",
            "color": "#57606a",
        },
    },
    {"selector": "node[width]", "style": {"width": "data(width)", "height": "data(height)"}},
    {"selector": ":parent", "style": {"text-valign": "top", "border-style": "dashed"}},
    {
        "selector": "edge",
        "style": {
            "width": 1.2,
            "line-color": "#7b8794",
            "curve-style": "bezier",
            "target-arrow-shape": "triangle",
            "target-arrow-color": "#7b8794",
        },
    },
]


def _node(node: dict[str, Any]) -> ipycytoscape.Node:
    label = "\n".join(part for part in (node["title"], node["facts"]) if part)
    data = {"id": node["id"], "label": label, "colour": node["colours"]["type"][0]}
    if node["parent"] is not None:
        data["parent"] = node["parent"]
    if node["container"] == "open":
        return ipycytoscape.Node(data=data)
    data |= {"width": node["width"], "height": node["height"]}
    return ipycytoscape.Node(data=data, position={"x": node["x"], "y": node["y"]}, grabbable=False)


def _edge(edge: dict[str, Any]) -> ipycytoscape.Edge:
    return ipycytoscape.Edge(data={name: edge[name] for name in ("id", "source", "target")})


class GraphView(ipywidgets.VBox):  # type: ignore[misc]  # ipywidgets is not typed
    """The graph of a model as a widget; made by `ModelVisualizer.graph`.

    It belongs to the thread of the kernel that handles widgets. `close` gives back everything that it holds; a view
    that is no longer on screen holds it until then.

    Parameters
    ----------
    state : GraphState
    static : mapping of str to str
        What is shown where widgets are not, by MIME type.
    sample : int, optional
        The sample to begin with; by default the first of those that are offered.
    """

    _ipython_display_ = None  # of ipywidgets 7, which would show nothing but the widget

    def __init__(self, state: GraphState, static: dict[str, str], sample: int | None = None) -> None:
        self._state, self._static = state, static
        self._canvas: _Canvas | None = _Canvas(state.scene)
        recorder = state.recorder
        self._tools = GraphTools(scene=state.scene, count=len(recorder) if recorder else 0)
        self._tools.sample = None if sample is None else int(sample)
        self._tools.on_msg(self._told)
        super().__init__([self._tools, self._canvas])
        self.add_class("hpoviz-graph")

    @property
    def scene(self) -> dict[str, Any]:
        """What is shown, as JSON values: nodes with their places, edges with their routes, steps."""
        return self._state.scene

    @property
    def recordings(self) -> dict[str, dict[str, Any]]:
        """What is played, by sample: the numbers of `hpoviz.instrument.record` with the colours they stand for."""
        return self._state.recordings

    @property
    def choices(self) -> list[dict[str, Any]]:
        """The samples that are offered, once `offer` was called: what a `SampleChoice` holds."""
        return list(self._tools.choices)

    def record(self, sample: int) -> None:
        """Send a sample through the model and show it.

        Raises
        ------
        ConfigError
            No data were given.
        DatasetError
            There is no such sample.
        """
        self._record(sample)
        self._tools.sample = int(sample)

    def offer(self) -> None:
        """Find samples that the model is right and wrong of, offer them, and record the first that it is right of.

        Raises
        ------
        ConfigError
            No data were given.
        """
        recorder = self._state.recorder
        choices = recorder.choices() if recorder else ()
        if self._tools.sample is None:
            self._tools.sample = next((one.index for one in choices if one.right), choices[0].index if choices else 0)
        self._record(self._tools.sample)
        self._tools.choices = [dataclasses.asdict(choice) for choice in choices]

    def toggle(self, node: str) -> None:
        """Open a closed block, or close an open one, by its id in `scene`."""
        if self._canvas is None:
            raise ConfigError("This graph is closed. Make another one: ModelVisualizer(model).graph().")
        self._state.toggle(node)
        self._redraw()

    def close(self) -> None:
        """Take the graph from the screen and give back all that it holds."""
        if self._canvas is not None:
            self._canvas.close()
            self._tools.layout.close()
            self._tools.close()
            self.layout.close()
            self._canvas = None
        super().close()

    def _record(self, sample: int) -> None:
        self._state.record(sample)
        self._tools.recordings = self._state.recordings

    def _told(self, _widget: Any, message: Any, _buffers: Any) -> None:
        """Do what the toolbar asks for; what goes wrong is said there."""
        kind = message.get("kind") if isinstance(message, dict) else None
        try:
            self._tools.status = ""
            if kind == "begin":  # the graph is on screen: now there is time to send samples through the model
                self.offer()
            elif kind == "record":
                self._record(message.get("sample"))
            elif kind == "toggle":
                self.toggle(str(message.get("node")))
            elif kind in ("open", "close"):
                (self._state.open_all if kind == "open" else self._state.close_all)()
                self._redraw()
            elif kind == "direction":
                self._state.turn(str(message.get("direction")))
                self._redraw()
        except HpovizError as error:
            self._tools.status = str(error)
        except Exception as error:
            self._tools.status = f"That did not work. {type(error).__name__}: {error}"
            raise

    def _redraw(self) -> None:
        old, self._canvas = self._canvas, _Canvas(self._state.scene)
        self.children = [self._tools, self._canvas]
        self._tools.scene = self._state.scene
        if old is not None:
            old.close()

    def _repr_mimebundle_(self, **_options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        widget = {"version_major": 2, "version_minor": 0, "model_id": self.model_id}
        shown = (
            self._tools._repr_mimebundle_()
        )  # whose metadata tell Colab where widgets that are not its own come from
        return {**self._static, WIDGET_MIME: widget}, shown[1] if isinstance(shown, tuple) else {}
