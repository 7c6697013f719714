"""A model in three dimensions: a box for what each layer gives out, on a path that is folded where it is long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from hpoviz.architecture.animation import tensor_of
from hpoviz.architecture.colouring import Coloring, Colouring, Theme
from hpoviz.architecture.graph_scene import steps_of, tensors_shown
from hpoviz.architecture.model_graph import ModelGraph, shape_text
from hpoviz.architecture.node_text import node_texts, node_tip
from hpoviz.architecture.palette import KINDS, THEMES, scale_colour
from hpoviz.architecture.solids import (
    CORNERS,
    GAP,
    RIDGES,
    TRIANGLES,
    Point3,
    Solid,
    corners_of,
    grown,
    path_between,
    solids,
)

__all__ = ["scene_figure", "scene_fit"]

MOST_LABELS, LABEL_SIZE = 24, 11
HEIGHT = 600
UNDER, OVER = -0.35, 0.15  # where numbers are written below boxes, and names above them
# What is seen of the orthographic view at this height and these margins, in plotly's unit: measured.
WIDE_ENOUGH, NARROW = 880, 560  # pixels
SEEN_WIDE, SEEN_UP, SEEN_DOWN = 3.4, 0.82, 0.78
CAMERA: dict[str, Any] = {
    "projection": {"type": "orthographic"},
    "eye": {"x": -0.9, "y": -1.7, "z": 1.1},
    "center": {"x": 0, "y": 0, "z": -0.05},
}
STEP_MS = 700


def scene_figure(
    graph: ModelGraph,
    *,
    theme: Theme = "light",
    color: Coloring = "type",
    performance: float | None = None,
    played: Mapping[str, Any] | None = None,
    width: int | None = None,
) -> go.Figure:
    """Return a graph as a figure that can be turned, and played where there is a recording.

    Parameters
    ----------
    graph : ModelGraph
        What of the model is shown.
    theme : {"light", "dark"}
    color : {"type", "parameters", "performance", "health"}
    performance : float, optional
    played : mapping, optional
        What `SampleRecorder.played` returns.
    width : int, optional
        Pixels; by default all that there are, and at least 880 are needed to show all of the model at first.
    """
    labels = 2 if width is not None and width < NARROW else MOST_LABELS
    figure = _Sculptor(graph, theme, Colouring(graph, color, performance), labels).figure(played)
    if width is not None:
        share, ratio = min(width / WIDE_ENOUGH, 1.0), figure.layout.scene.aspectratio
        figure.update_layout(width=width, scene_aspectratio={name: share * ratio[name] for name in "xyz"})
    return figure


def scene_fit(figure: go.Figure, graph: ModelGraph, theme: Theme = "light") -> dict[str, Any]:
    """Return what fits a figure of `scene_figure` to a screen in the browser (scene_view.js), as JSON values.

    ``wide`` and ``narrow`` are pixels: from where on all of it is seen, and up to where only the ends have names;
    ``ratio`` is of the scene's sides; ``all`` and ``few`` are the names, as annotations of the scene.
    """
    layout = figure.layout
    few = _Sculptor(graph, theme, Colouring(graph, "type", None), 2).labels()
    return {
        "wide": WIDE_ENOUGH,
        "narrow": NARROW,
        "ratio": layout.scene.aspectratio.to_plotly_json(),
        "all": [one.to_plotly_json() for one in layout.scene.annotations],
        "few": few,
    }


class _Sculptor:
    def __init__(self, graph: ModelGraph, theme: Theme, colouring: Colouring, labels: int) -> None:
        self._graph, self._theme, self._colouring, self._most_labels = graph, theme, colouring, labels
        self._palette = THEMES[theme]
        self._solids = {one.node: one for one in solids(graph)}
        self._entering: dict[str, list[Any]] = {}
        for edge in graph.edges:
            self._entering.setdefault(edge.target, []).append(edge)

    def figure(self, played: Mapping[str, Any] | None) -> go.Figure:
        still = [self._lines(), self._boxes(), self._ridges()]
        keys = self._legend()
        moving = [_mesh([], [], name="step"), self._notes([], [])] if played else []
        figure = go.Figure([*still, *moving, *keys])
        if played:
            figure.frames = self._frames(played, first=len(still))
        self._lay_out(figure, played)
        return figure

    def _boxes(self) -> go.Mesh3d:
        nodes = [self._graph.by_id[name] for name in self._solids]
        colours = [self._colouring.colour(node, self._theme)[1] for node in nodes]
        tips = [
            _breakable(node_tip(self._graph, node, self._entering.get(node.id, []))) for node in nodes for _ in CORNERS
        ]
        mesh = _mesh(list(self._solids.values()), colours, name="layers")
        mesh.update(text=tips, hovertemplate="%{text}<extra></extra>")
        return mesh

    def _ridges(self) -> go.Scatter3d:
        points: list[Point3 | None] = []
        for solid in self._solids.values():
            corners = corners_of(solid)
            for begin, end in RIDGES:
                points += [corners[begin], corners[end], None]
        return _line(points, self._palette["muted"], 1.2)

    def _lines(self) -> go.Scatter3d:
        points: list[Point3 | None] = []
        for edge in self._graph.edges:
            if edge.source in self._solids and edge.target in self._solids:
                points += [*path_between(self._solids[edge.source], self._solids[edge.target]), None]
        return _line(points, self._palette["line"], 3.0)

    def labels(self) -> list[dict[str, Any]]:
        """Return the names and shapes of layers as annotations, which no box hides."""
        found = []
        for name in filter(self._told, self._solids):
            node, place = self._graph.by_id[name], self._solids[name]
            title = node_texts(self._graph, node, 1)[0].partition(" (call")[0]
            shape = shape_text(node.outputs[0].shape) if node.outputs else ""
            found.append(
                {
                    "x": place.at[0], "y": place.at[1], "z": place.size[2] + OVER,
                    "text": f"{_plain(title)}<br>{_plain(shape)}" if shape else _plain(title),
                    "showarrow": False, "yshift": 4, "yanchor": "bottom", "align": "center", "borderpad": 1,
                    "bgcolor": _see_through(self._palette["paper"]),
                    "font": {"size": LABEL_SIZE, "color": self._palette["text"]},
                }
            )  # fmt: skip
        return found

    def _told(self, name: str) -> bool:
        """Tell whether a node has a label: all where there are few, else the ends and what stands for several."""
        kinds = ("input", "output", "container") if self._most_labels == MOST_LABELS else ("input", "output")
        return len(self._solids) <= self._most_labels or self._graph.by_id[name].kind in kinds

    def _notes(self, names: Sequence[str], texts: Sequence[str]) -> go.Scatter3d:
        places = [self._solids[name] for name in names]
        return go.Scatter3d(
            x=[one.at[0] for one in places],
            y=[one.at[1] for one in places],
            z=[UNDER] * len(places),
            mode="text",
            text=[_unmarked(text) for text in texts],
            textposition="bottom center",
            textfont={"size": 12, "color": self._palette["text"]},
            hoverinfo="skip",
            showlegend=False,
        )

    def _legend(self) -> list[go.Scatter3d]:
        """Return an entry for each kind of layer that is there, or the scale."""
        nothing = {"x": [None], "y": [None], "z": [None], "mode": "markers", "hoverinfo": "skip"}
        if self._colouring.ends:
            low, high, title = self._colouring.ends
            scale = [[step / 8, scale_colour(step / 8)] for step in range(9)]
            bar = {
                "title": {"text": title, "side": "right"},
                "tickvals": [0, 1],
                "ticktext": [low, high],
                "len": 0.6,
                "thickness": 12,
                "tickfont": {"color": self._palette["text"]},
            }
            marker = {"color": [0.0], "cmin": 0, "cmax": 1, "colorscale": scale, "colorbar": bar, "showscale": True}
            return [go.Scatter3d(**nothing, marker=marker, showlegend=False)]
        present = {self._colouring.kind(self._graph.by_id[name]).name for name in self._solids}
        return [
            go.Scatter3d(
                **nothing,
                name=f"{kind.letter} {kind.name}",
                marker={"color": kind.light if self._theme == "light" else kind.dark, "symbol": "square", "size": 8},
            )
            for kind in KINDS.values()
            if kind.name in present
        ]

    def _frames(self, played: Mapping[str, Any], first: int) -> list[go.Frame]:
        """Return a frame a step: boxes around what is reached, in the colours of the numbers that are written there."""
        tensors = tensors_shown(self._graph)
        steps = steps_of(self._graph)
        ways = [("forward", steps)] + ([("backward", steps[::-1])] if played["backward"] else [])
        frames = []
        for way, ordered in ways:
            for number, names in enumerate(ordered):
                seen = [(name, said) for name in names if (said := tensor_of(played, tensors.get(name)))]
                colours = [said["colour" if way == "forward" else "line"] or self._palette["line"] for _, said in seen]
                larger = [grown(self._solids[name]) for name, _ in seen]
                data = [
                    _mesh(larger, colours, name="step"),
                    self._notes([n for n, _ in seen], [s[way] for _, s in seen]),
                ]
                frames.append(go.Frame(name=f"{way} {number + 1}", data=data, traces=[first, first + 1]))
        return frames

    def _lay_out(self, figure: go.Figure, played: Mapping[str, Any] | None) -> None:
        ranges, ratio = _view(list(self._solids.values()))
        axes = {f"{name}axis": {"visible": False, "showspikes": False, "range": ends} for name, ends in ranges.items()}
        figure.update_layout(
            height=HEIGHT,
            margin={"l": 0, "r": 0, "t": 140 if played else 64, "b": 0},
            paper_bgcolor=self._palette["paper"],
            font={"color": self._palette["text"], "size": 12},
            title={
                "text": _breakable(self._title(played)),
                "font": {"size": 13},
                "x": 0.02,
                "xanchor": "left",
                "y": 0.98,
            },
            legend={
                "orientation": "h",
                "x": 0,
                "y": 0,
                "yanchor": "bottom",
                "itemclick": False,
                "itemdoubleclick": False,
            },
            scene={
                **axes,
                "aspectmode": "manual",
                "aspectratio": ratio,
                "camera": CAMERA,
                "dragmode": "orbit",
                "annotations": self.labels(),
            },
        )
        if played:
            figure.update_layout(updatemenus=[self._buttons(figure)], sliders=[self._slider(figure)])

    def _title(self, played: Mapping[str, Any] | None) -> str:
        text = f"{self._graph.name}: {self._graph.parameters:,} parameters"
        if not played:
            return text
        said = played["caption"]
        text += f"\nsample {said['index']}"
        text += f", label {said['label']}" if said["label"] is not None else ""
        text += f", the model says {said['predicted']}" if said["predicted"] is not None else ""
        return text

    def _buttons(self, figure: go.Figure) -> dict[str, Any]:
        def play(way: str) -> list[Any]:
            names = [frame.name for frame in figure.frames if frame.name.startswith(way)]
            move = {"frame": {"duration": STEP_MS, "redraw": True}, "transition": {"duration": 0}, "mode": "immediate"}
            return [names, move]

        stop = [[None], {"frame": {"duration": 0}, "mode": "immediate", "transition": {"duration": 0}}]
        buttons = [{"label": "▶ Forward", "method": "animate", "args": play("forward")}]
        if any(frame.name.startswith("backward") for frame in figure.frames):
            buttons.append({"label": "◀ Backward", "method": "animate", "args": play("backward")})
        buttons.append({"label": "❚❚ Pause", "method": "animate", "args": stop})
        return {
            "type": "buttons", "direction": "right", "showactive": False, "x": 0.02, "xanchor": "left", "y": 1.0,
            "yanchor": "bottom", "pad": {"b": 56}, "buttons": buttons, "bgcolor": self._palette["paper"],
            "bordercolor": self._palette["line"], "font": {"color": self._palette["text"]},
        }  # fmt: skip

    def _slider(self, figure: go.Figure) -> dict[str, Any]:
        move = {"frame": {"duration": 0, "redraw": True}, "mode": "immediate", "transition": {"duration": 0}}
        steps = [{"label": frame.name, "method": "animate", "args": [[frame.name], move]} for frame in figure.frames]
        return {
            "steps": steps, "x": 0.02, "len": 0.96, "y": 1.0, "yanchor": "bottom", "pad": {"t": 0, "b": 0},
            "ticklen": 0, "minorticklen": 0,
            "currentvalue": {"xanchor": "right", "font": {"size": 12, "color": self._palette["text"]}},
            "font": {"color": "rgba(0,0,0,0)", "size": 1},
            "bgcolor": self._palette["line"], "borderwidth": 0,
        }  # fmt: skip


def _mesh(boxes: Sequence[Solid], colours: Sequence[str], *, name: str) -> go.Mesh3d:
    points = [corner for box in boxes for corner in corners_of(box)]
    sides = [tuple(8 * number + corner for corner in side) for number in range(len(boxes)) for side in TRIANGLES]
    x, y, z = zip(*points, strict=True) if points else ((), (), ())
    i, j, k = zip(*sides, strict=True) if sides else ((), (), ())
    return go.Mesh3d(
        x=x, y=y, z=z, i=i, j=j, k=k, name=name, flatshading=True, showlegend=False, showscale=False,
        facecolor=[colour for colour in colours for _ in TRIANGLES], hoverinfo="skip" if name == "step" else "text",
        lighting={"ambient": 0.75, "diffuse": 0.5, "specular": 0.05, "roughness": 0.9},
    )  # fmt: skip


def _line(points: Sequence[Point3 | None], colour: str, width: float) -> go.Scatter3d:
    x, y, z = zip(*[point or (None, None, None) for point in points], strict=True) if points else ((), (), ())
    line = {"color": colour, "width": width}
    return go.Scatter3d(x=x, y=y, z=z, mode="lines", line=line, hoverinfo="skip", showlegend=False, connectgaps=False)


def _view(boxes: Sequence[Solid]) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Return the ranges of the axes, with room for texts, and the sides of the scene in the same proportion."""
    corners = [corner for box in boxes for corner in corners_of(box)] or [(0.0, 0.0, 0.0)]
    room = ((GAP, GAP), (GAP, GAP), (-UNDER + 0.2, OVER + 0.6))
    ranges = {
        name: [min(one[axis] for one in corners) - low, max(one[axis] for one in corners) + high]
        for axis, (name, (low, high)) in enumerate(zip("xyz", room, strict=True))
    }
    sides = np.array([high - low for low, high in ranges.values()])
    lows = np.array([low for low, _ in ranges.values()])
    placed = (np.array(corners) - lows) - sides / 2
    right, up = _directions()
    across, above = placed @ right, placed @ up
    scale = min(
        SEEN_WIDE / max(np.ptp(across), 1e-6),
        SEEN_UP / max(above.max(), 1e-6),
        SEEN_DOWN / max(-above.min(), 1e-6),
    )
    return ranges, {name: float(scale * side) for name, side in zip("xyz", sides, strict=True)}


def _directions() -> tuple[np.ndarray, np.ndarray]:
    """Return which way right and up on the screen are in the scene."""
    ahead = -np.array([CAMERA["eye"][name] for name in "xyz"])
    ahead /= np.linalg.norm(ahead)
    right = np.cross(ahead, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    return right, np.cross(right, ahead)


def _see_through(colour: str) -> str:
    """Return a colour (#rrggbb) through which what lies behind a text is still seen."""
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.72)"


def _unmarked(text: str) -> str:
    """Return a text for the 3D view, where plotly reads some tags but no entities."""
    return text.replace("<", "‹").replace(">", "›")


def _plain(text: str) -> str:
    """Return a text that plotly shows as it is: it reads some tags."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _breakable(text: str) -> str:
    return _plain(text).replace("\n", "<br>")
