"""ModelVisualizer: the pictures of one model."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpoviz.architecture.graph_drawing import COLOURINGS, Look, draw_graph, overview
from hpoviz.architecture.keras_adapter import graph_of
from hpoviz.architecture.layout import layered_layout
from hpoviz.architecture.model_graph import ModelGraph
from hpoviz.architecture.model_records import ArchitectureVisualization, architecture_record, cytoscape
from hpoviz.architecture.raster import pdf_bytes, png_bytes
from hpoviz.architecture.svg import inline_svg, svg
from hpoviz.errors import ConfigError, ExportError, nearest
from hpoviz.health.report import HealthReport
from hpoviz.store.run_store import write_atomically

if TYPE_CHECKING:
    import keras

    from hpoviz.architecture.drawing import Drawing

__all__ = ["ModelVisualizer"]

SUFFIXES = (".svg", ".pdf", ".png", ".json")
CHOICES = {"theme": ("light", "dark"), "color": COLOURINGS, "direction": ("down", "right")}
CYTOSCAPE_NODE = (170.0, 44.0)


class ModelVisualizer:
    """The pictures of a Keras 3 model: a graph of its layers, as a file or inline in a notebook.

    Parameters
    ----------
    model : keras.Model
        Sequential, functional, or with a `call` of its own; built.
    health : HealthReport or mapping of str to float, optional
        What `hpoviz.diagnose` says of the model; or the health of layers in [0, 1], by the ids in `model_graph.layers`.
    performance : float, optional
        A score of the model in [0, 1], as its accuracy.
    inputs : array, or list, tuple or dict of arrays, optional
        Samples, for a model with a `call` of its own that does not know the shape of its input.

    Raises
    ------
    ModelBuildError
        Not a Keras model, or one that has not been built.
    ConfigError
        A score outside [0, 1].

    Examples
    --------
    >>> import keras
    >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(4, 3), keras.layers.Flatten()])
    >>> view = ModelVisualizer(model)
    >>> view.model_graph.parameters
    40
    >>> path = view.export("model.svg")  # doctest: +SKIP
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        health: HealthReport | Mapping[str, float] | None = None,
        performance: float | None = None,
        inputs: Any = None,
    ) -> None:
        of_layers = health.layer_health if isinstance(health, HealthReport) else dict(health or {})
        self._overall = health.overall if isinstance(health, HealthReport) else None
        self._graph = dataclasses.replace(graph_of(model, inputs=inputs), health=of_layers)
        self._performance = performance
        scores: dict[str, float | None] = {"performance": performance}
        scores |= {f"health[{name!r}]": value for name, value in self._graph.health.items()}
        for name, value in scores.items():
            if name == "performance" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
                raise ConfigError(f"{name} must be between 0 and 1. Got {value!r}.")
        if unknown := next((name for name in self._graph.health if name not in self._graph.layers), None):
            known = [name for name in self._graph.layers if name]
            raise ConfigError(
                f"health names a layer that the model has not: {unknown!r}.{nearest(unknown, known)} "
                f"Layers: {', '.join(known[:20])}{', …' if len(known) > 20 else ''}."
            )

    @property
    def model_graph(self) -> ModelGraph:
        """The model as nodes, edges and layers."""
        return self._graph

    def drawing(self, **look: Any) -> Drawing:
        """Return the graph as a drawing; the arguments are those of `export`."""
        return draw_graph(self._graph, _checked(look), performance=self._performance)

    def export(self, path: str | os.PathLike[str], *, scale: float = 2.0, **look: Any) -> Path:
        """Write the graph to a file; the suffix says in which form.

        Parameters
        ----------
        path : str or Path
            Ends in ``.svg``, ``.pdf`` or ``.png`` (pictures), or in ``.json`` (all of the graph, for other programs).
            An existing file is replaced, in one step.
        scale : float
            Pixels of a PNG for each unit of the drawing, in [0.1, 10]; fewer where a side would pass 30,000 pixels.
        theme : {"light", "dark"}
        color : {"type", "parameters", "performance", "health"}
            What colours say.
        direction : {"down", "right"}
        collapse : bool
            Whether repeated blocks are drawn as one node; True by default.
        fold : collection of str
            Classes of layers to tell of in the layer before them, as ``{"BatchNormalization", "Dropout"}``.

        Returns
        -------
        Path
            Where it lies.

        Raises
        ------
        ConfigError
            An argument that is not allowed.
        ExportError
            Another suffix, or a place where nothing can be written.
        """
        place = Path(path).expanduser()
        if place.suffix.lower() not in SUFFIXES:
            raise ExportError(
                f"{place.name!r} must end in one of {', '.join(SUFFIXES)}, which says in which form to write."
            )
        if not 0.1 <= scale <= 10:
            raise ConfigError(f"scale must be between 0.1 and 10. Got {scale!r}.")
        _checked(look)
        _write(place, self._content(place.suffix.lower(), scale, look))
        return place

    def to_cytoscape(self, *, collapse: bool = False) -> dict[str, Any]:
        """Return the graph as Cytoscape JSON, with positions.

        Returns
        -------
        dict
            ``{"elements": {"nodes": […], "edges": […]}, "version": 1}``
        """
        graph = overview(self._graph, Look(collapse=collapse))
        layout = layered_layout(
            {node.id: CYTOSCAPE_NODE for node in graph.nodes},
            [(edge.source, edge.target) for edge in graph.edges],
            parents={node.id: node.parent for node in graph.nodes if node.parent is not None},
        )
        return cytoscape(graph, layout)

    def architecture(self, *, health_score: float | None = None) -> ArchitectureVisualization:
        """Return sizes, places and scores of the model and its layers, as JSON-serialisable records.

        The health of the model is that of the report that was given, unless another is named.
        """
        overall = self._overall if health_score is None else health_score
        return architecture_record(self._graph, performance_score=self._performance, health_score=overall)

    def _content(self, suffix: str, scale: float, look: Mapping[str, Any]) -> bytes:
        if suffix == ".json":
            return self._graph.to_json().encode()
        drawing = self.drawing(**look)
        if suffix == ".svg":
            return svg(drawing).encode()
        return pdf_bytes(drawing) if suffix == ".pdf" else png_bytes(drawing, scale=scale)

    def __repr__(self) -> str:
        return f"ModelVisualizer of {self._graph.name!r}: {self._graph.parameters:,} parameters"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        light = self.drawing()
        inline = inline_svg(light, self.drawing(theme="dark"))
        return {
            "text/plain": repr(self),
            "text/html": f'<div style="max-width:100%;overflow-x:auto">{inline}</div>',
            "image/svg+xml": svg(light),
        }


def _checked(look: Mapping[str, Any]) -> Look:
    names = [field.name for field in dataclasses.fields(Look)]
    for name, value in look.items():
        if name not in names:
            raise ConfigError(f"There is no argument {name!r}.{nearest(name, names)} Arguments: {', '.join(names)}.")
        choices = CHOICES.get(name)
        if choices and value not in choices:
            allowed = ", ".join(map(repr, choices))
            raise ConfigError(f"{name} must be one of {allowed}. Got {value!r}.{nearest(value, choices)}")
    fold = look.get("fold", ())
    if isinstance(fold, str) or not isinstance(fold, Collection) or not all(isinstance(name, str) for name in fold):
        raise ConfigError(f'fold must be a collection of class names, as {{"Dropout"}}. Got {fold!r}.')
    return Look(**look)


def _write(path: Path, content: bytes) -> None:
    try:
        write_atomically(path, content)
    except OSError as error:
        raise ExportError(
            f"{str(path)!r} cannot be written: {error.strerror or error}. Name a folder that exists and that you may "
            "write to."
        ) from error
