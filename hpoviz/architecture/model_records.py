"""What other programs take of a graph: Cytoscape elements, and a record for each layer and for the whole model."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from hpoviz.architecture.folding import BLOCK
from hpoviz.architecture.layout import Layout
from hpoviz.architecture.model_graph import LayerInfo, ModelGraph, Node, shape_text
from hpoviz.architecture.palette import THEMES, layer_kind, scale_colour

__all__ = ["ArchitectureVisualization", "LayerVisualization", "architecture_record", "box_of", "cytoscape"]

VERSION = 1
OUTPUT = LayerInfo(id="", name="output", type="Output")
UNKNOWN = THEMES["light"]["unknown"]
# Sizes in a 3D view: a side of 0.24·√length between 0.12 and 4, a thickness that grows with the logarithm of the
# channels, and for vectors a bar whose height grows with the logarithm of its length.
SIDE, THINNEST_SIDE, LONGEST_SIDE = 0.24, 0.12, 4.0
THICKNESS, THICKNESS_POWER, THINNEST, THICKEST = 0.10, 1.15, 0.08, 1.6
BAR = 0.30


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerVisualization:
    """One call of a layer, as something with a size and a place.

    Attributes
    ----------
    layer_id, layer_type : str
        The id of the node in the graph; the class of the layer.
    position_z : float
        Its place along the model: the longest way to it from an input, in calls.
    width, height, depth : float
        A box for what it gives out: the two sides, and the thickness along the model.
    parameters : int
    filters, units : int or None
    kernel_size : list of int or None
    color_intensity : float
        Its parameters on a logarithmic scale, from 0 to 1 for the layer with the most.
    opacity : float
        0.95 where something is trained, 0.7 where weights are fixed, 0.45 where there are none.
    """

    layer_id: str
    layer_type: str
    position_z: float
    width: float
    height: float
    depth: float
    parameters: int
    filters: int | None
    kernel_size: list[int] | None
    units: int | None
    color_intensity: float
    opacity: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class ArchitectureVisualization:
    """A model as something with sizes, places and two scores.

    Attributes
    ----------
    architecture_type : str
        The class of the model.
    layers : list of LayerVisualization
    total_parameters, model_depth : int
        `model_depth` is the longest way through the model, in calls.
    max_layer_width, max_layer_height : float
    performance_score, health_score : float or None
        In [0, 1].
    performance_color, health_color : str
        ``#rrggbb``, grey where there is no score.
    """

    architecture_type: str
    layers: list[LayerVisualization]
    total_parameters: int
    model_depth: int
    max_layer_width: float
    max_layer_height: float
    performance_score: float | None
    health_score: float | None
    performance_color: str
    health_color: str

    def to_dict(self) -> dict[str, Any]:
        """Return the record as JSON values."""
        return dataclasses.asdict(self)


def architecture_record(
    graph: ModelGraph, *, performance_score: float | None = None, health_score: float | None = None
) -> ArchitectureVisualization:
    """Return the record of a model.

    Examples
    --------
    >>> import keras
    >>> from hpoviz.architecture.keras_adapter import graph_of
    >>> record = architecture_record(graph_of(keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="d")])))
    >>> record.model_depth, record.layers[1].layer_id, record.layers[1].parameters, record.health_color
    (2, 'd', 15, '#8c959f')
    """
    depths = graph.depths
    most = max((layer.parameters for layer in graph.layers.values()), default=0)
    shown = [node for node in graph.nodes if node.kind in ("input", "layer", "operation")]
    layers = [_layer_record(graph, node, depths[node.id], most) for node in shown]
    return ArchitectureVisualization(
        architecture_type=graph.type,
        layers=layers,
        total_parameters=graph.parameters,
        model_depth=1 + max((depths[node.id] for node in shown), default=-1),
        max_layer_width=max((layer.width for layer in layers), default=0.0),
        max_layer_height=max((layer.height for layer in layers), default=0.0),
        performance_score=performance_score,
        health_score=health_score,
        performance_color=UNKNOWN if performance_score is None else scale_colour(performance_score),
        health_color=UNKNOWN if health_score is None else scale_colour(health_score),
    )


def cytoscape(graph: ModelGraph, layout: Layout | None = None) -> dict[str, Any]:
    """Return a graph as Cytoscape JSON.

    Parameters
    ----------
    graph : ModelGraph
    layout : Layout, optional
        Of its nodes; gives each its position.

    Returns
    -------
    dict
        ``{"elements": {"nodes": […], "edges": […]}, "version": 1}``. All texts are data, none is markup.
    """
    nodes = []
    for node in graph.nodes:
        info = OUTPUT if node.kind == "output" else graph.layers[node.layer]
        kind = "Block" if info.type == BLOCK else info.type
        data: dict[str, Any] = {
            "id": node.id,
            "label": kind,
            "name": info.name,
            "type": kind,
            "kind": node.kind,
            "family": layer_kind(info, node.kind).name,
            "call": node.call,
            "calls": graph.calls[node.layer],
            "parameters": graph.parameters_of(node.id),
            "trainable_parameters": graph.parameters_of(node.id, trainable=True),
            "shapes": [shape_text(tensor.shape) for tensor in node.outputs],
            "settings": {name.lstrip("/"): value for name, value in info.settings.items()},
        }
        if node.parent is not None:
            data["parent"] = node.parent
        if node.layer in graph.health:
            data["health"] = graph.health[node.layer]
        element: dict[str, Any] = {"data": data}
        if layout and node.kind != "container":
            box = layout.boxes[node.id]
            element["position"] = {"x": round(box.x, 2), "y": round(box.y, 2)}
        nodes.append(element)
    edges = [
        {
            "data": {
                "id": f"edge-{number}",
                "source": edge.source,
                "target": edge.target,
                "port": edge.port,
                "slot": edge.slot,
                "label": shape_text(edge.tensor.shape),
                "dtype": edge.tensor.dtype,
            }
        }
        for number, edge in enumerate(graph.edges)
    ]
    return {"elements": {"nodes": nodes, "edges": edges}, "version": VERSION}


def _layer_record(graph: ModelGraph, node: Node, depth: int, most: int) -> LayerVisualization:
    info = graph.layers[node.layer]
    shape = node.outputs[0].shape if node.outputs else None
    width, height, thickness = box_of(shape)
    trained = 0.95 if info.trainable_parameters else 0.7
    return LayerVisualization(
        layer_id=node.id,
        layer_type=info.type,
        position_z=float(depth),
        width=width,
        height=height,
        depth=thickness,
        parameters=info.parameters,
        filters=_whole(info.settings.get("filters")),
        kernel_size=_whole_list(info.settings.get("kernel_size")),
        units=_whole(info.settings.get("units")),
        color_intensity=math.log1p(info.parameters) / math.log1p(most) if most else 0.0,
        opacity=trained if info.parameters else 0.45,
    )


def box_of(shape: tuple[int | None, ...] | None) -> tuple[float, float, float]:
    """Return width, height and thickness for the shape of a tensor, channels last.

    Examples
    --------
    >>> [round(side, 2) for side in box_of((28, 28, 1))], [round(side, 2) for side in box_of((10,))]
    ([1.27, 1.27, 0.1], [0.12, 1.04, 0.12])
    """
    lengths = [length or 1 for length in shape or ()]
    if len(lengths) <= 1:
        return THINNEST_SIDE, BAR * math.log2(1 + (lengths[0] if lengths else 1)), THINNEST_SIDE
    rows, columns, channels = lengths[0], lengths[1] if len(lengths) > 2 else 1, lengths[-1]
    thickness = THICKNESS * math.log2(1 + channels) ** THICKNESS_POWER
    return _side(columns), _side(rows), min(max(thickness, THINNEST), THICKEST)


def _side(length: int) -> float:
    return min(max(SIDE * math.sqrt(length), THINNEST_SIDE), LONGEST_SIDE)


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _whole_list(value: Any) -> list[int] | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return [value]
    return list(value) if isinstance(value, list) and all(isinstance(one, int) for one in value) else None
