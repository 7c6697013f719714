"""ModelVisualizer: the pictures of one model."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpoviz.architecture.colouring import COLOURINGS, Theme
from hpoviz.architecture.comparison import ModelComparison, compare_graphs
from hpoviz.architecture.gif import gif_bytes
from hpoviz.architecture.graph_drawing import Look, draw_graph
from hpoviz.architecture.graph_scene import LayerNotes
from hpoviz.architecture.graph_state import GraphState
from hpoviz.architecture.html_page import findings_by_layer, html_page, model_view, right_and_wrong
from hpoviz.architecture.keras_adapter import graph_of
from hpoviz.architecture.model_graph import ModelGraph
from hpoviz.architecture.model_records import ArchitectureVisualization, architecture_record, cytoscape
from hpoviz.architecture.overview import overview
from hpoviz.architecture.placement import place
from hpoviz.architecture.raster import pdf_bytes, png_bytes
from hpoviz.architecture.sample_recorder import SampleRecorder, given
from hpoviz.architecture.scene3d import scene_figure, scene_fit
from hpoviz.architecture.scene_figure import SceneFigure
from hpoviz.architecture.svg import inline_svg, svg
from hpoviz.architecture.weight_histograms import weight_histograms
from hpoviz.errors import ConfigError, ExportError, nearest
from hpoviz.health.report import HealthReport
from hpoviz.store.run_store import write_atomically

if TYPE_CHECKING:
    import keras
    import plotly.graph_objects as go

    from hpoviz.architecture.drawing import Drawing
    from hpoviz.widgets.graph_view import GraphView

__all__ = ["ModelVisualizer"]

SUFFIXES = (".svg", ".pdf", ".png", ".json", ".html", ".gif")
THEMES: tuple[Theme, ...] = ("light", "dark")
CHOICES = {"theme": THEMES, "color": COLOURINGS, "direction": ("down", "right")}


class ModelVisualizer:
    """The pictures of a Keras 3 model: its graph to explore, its layers in 3D, a sample on its way through, and files.

    Parameters
    ----------
    model : keras.Model
        Sequential, functional, or with a `call` of its own; built.
    health : HealthReport or mapping of str to float, optional
        What `hpoviz.diagnose` says of the model; or the health of layers in [0, 1], by the ids in `model_graph.layers`.
    performance : float, optional
        A score of the model in [0, 1], as its accuracy.
    data : Dataset, (x, y), ((x_train, y_train), (x_val, y_val)), or array of samples, optional
        Samples to send through the model: of a Dataset the validation samples, of two pairs the second. Without labels
        nothing flows back.
    inputs : array, or list, tuple or dict of arrays, optional
        Samples, for a model with a `call` of its own that does not know the shape of its input.

    Raises
    ------
    ModelBuildError
        Not a Keras model, or one that has not been built.
    ConfigError
        A score outside [0, 1].
    DatasetError
        Samples that the model does not take, or not as many labels.

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
        data: Any = None,
        inputs: Any = None,
    ) -> None:
        self._model, self._inputs = model, inputs
        of_layers = health.layer_health if isinstance(health, HealthReport) else dict(health or {})
        self._overall = health.overall if isinstance(health, HealthReport) else None
        self._graph = dataclasses.replace(graph_of(model, inputs=inputs), health=of_layers)
        self._performance = performance
        self._findings = findings_by_layer(health) if isinstance(health, HealthReport) else {}
        self._recorder = None if data is None else SampleRecorder(model, self._graph, data)
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

    def export(
        self, path: str | os.PathLike[str], *, scale: float = 2.0, sample: int | None = None, **look: Any
    ) -> Path:
        """Write the graph to a file; the suffix says in which form.

        Parameters
        ----------
        path : str or Path
            Ends in ``.svg``, ``.pdf`` or ``.png`` (pictures), in ``.html`` (a page that needs no network, with the
            graph to explore and the 3D view; samples flow through it where there are data), in ``.gif`` (a sample on
            its way), or in ``.json`` (all of the graph, with a recorded sample where there are data, for other
            programs). An existing file is replaced, in one step.
        scale : float
            Pixels of a PNG for each unit of the drawing, in [0.1, 10]; fewer where a side would pass 30,000 pixels.
        sample : int, optional
            Row of the sample that flows through; by default the first that the model is right of.
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
            An argument that is not allowed, or a GIF without data.
        DatasetError
            There is no such sample.
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
        _write(place, self._content(place.suffix.lower(), scale, sample, look))
        return place

    def graph(self, *, sample: int | None = None, direction: str = "down", collapse: bool = True) -> GraphView:
        """Return the graph as a widget: click, search, open and close blocks, and watch samples flow through.

        Parameters
        ----------
        sample : int, optional
            Row of the sample to begin with.
        direction : {"down", "right"}
            On narrow screens it is "down".
        collapse : bool
            Whether repeated blocks are closed at first.

        Returns
        -------
        GraphView
            An ipywidgets box; a drawing where widgets are not shown. Its `close` gives back all that it holds.

        Raises
        ------
        ConfigError
            An argument that is not allowed, or a sample without data.
        DatasetError
            There is no such sample.
        """
        from hpoviz.widgets.graph_view import GraphView

        _checked({"direction": direction, "collapse": collapse})
        if sample is not None:
            given(self._recorder).check(sample)
        state = self._state(direction=direction, collapse=collapse, histograms=True)
        return GraphView(state, self._static(), sample)

    def scene3d(
        self,
        *,
        sample: int | None = None,
        theme: str = "light",
        color: str = "type",
        collapse: bool = True,
        width: int | None = None,
    ) -> go.Figure:
        """Return the model in 3D: a box for what each layer gives out, on a path that is folded where it is long.

        Parameters
        ----------
        sample : int, optional
            Row of the sample that flows through; by default the first that the model is right of.
        theme, color, collapse
            As of `export`.
        width : int, optional
            Pixels, at least 200: for other programs that show it on screens of less than 880. None: a notebook shows it
            as wide as there is room.

        Returns
        -------
        plotly.graph_objects.Figure
            To be turned; with buttons that play where there are data. Its `close` gives back what a notebook holds.

        Raises
        ------
        ConfigError, DatasetError
            As of `graph`.
        """
        look = _checked({"theme": theme, "color": color, "collapse": collapse})
        if width is not None and (isinstance(width, bool) or not isinstance(width, int) or width < 200):
            raise ConfigError(f"width must be a whole number of pixels of at least 200. Got {width!r}.")
        played = self._played(sample) if self._recorder or sample is not None else None
        shown = overview(self._graph, collapse=collapse)
        figure = scene_figure(
            shown, theme=look.theme, color=look.color, performance=self._performance, played=played, width=width
        )
        return figure if width is not None else SceneFigure(figure, scene_fit(figure, shown, look.theme))

    def compare(self, other: ModelVisualizer | keras.Model) -> ModelComparison:
        """Return how another model differs: two drawings with marks, and a table of the differences.

        Examples
        --------
        >>> import keras
        >>> small, large = (
        ...     keras.Sequential([keras.Input((4,)), keras.layers.Dense(units, name="d")], name=f"of_{units}")
        ...     for units in (3, 5)
        ... )
        >>> ModelVisualizer(small).compare(large)
        of_3 (15 parameters) and of_5 (25): 1 difference
          ≠ d (Dense) units 3 → 5, gives 3 → 5, parameters 15 → 25
        """
        view = other if isinstance(other, ModelVisualizer) else ModelVisualizer(other)
        return compare_graphs(self._graph, view.model_graph)

    def to_cytoscape(self, *, collapse: bool = False) -> dict[str, Any]:
        """Return the graph as Cytoscape JSON, with positions.

        Returns
        -------
        dict
            ``{"elements": {"nodes": […], "edges": […]}, "version": 1}``
        """
        graph = overview(self._graph, collapse=collapse)
        return cytoscape(graph, place(graph).layout)

    def architecture(self, *, health_score: float | None = None) -> ArchitectureVisualization:
        """Return sizes, places and scores of the model and its layers, as JSON-serialisable records.

        The health of the model is that of the report that was given, unless another is named.
        """
        overall = self._overall if health_score is None else health_score
        return architecture_record(self._graph, performance_score=self._performance, health_score=overall)

    def _played(self, sample: int | None) -> dict[str, Any]:
        recorder = given(self._recorder)
        return recorder.played(right_and_wrong(recorder)[0] if sample is None else sample)

    def _state(self, *, direction: str = "down", collapse: bool = True, histograms: bool = False) -> GraphState:
        spread = weight_histograms(self._model, self._inputs) if histograms else {}
        return GraphState(
            self._graph,
            collapse=collapse,
            direction="right" if direction == "right" else "down",
            performance=self._performance,
            notes=LayerNotes(findings=self._findings, histograms=spread),
            recorder=self._recorder,
        )

    def _page(self, sample: int | None, look: Look) -> str:
        state = self._state(direction=look.direction, collapse=look.collapse, histograms=True)
        view = model_view(self._graph, state, look, sample=sample, performance=self._performance)
        return html_page(self._graph.name, view, theme=look.theme)

    def _content(self, suffix: str, scale: float, sample: int | None, look: Mapping[str, Any]) -> bytes:
        if sample is not None:
            given(self._recorder).check(sample)
        if suffix == ".json":
            recorder = self._recorder
            if recorder is None:
                return self._graph.to_json().encode()
            seen = recorder.record(right_and_wrong(recorder)[0] if sample is None else sample)
            return dataclasses.replace(self._graph, recording=seen).to_json().encode()
        if suffix == ".html":
            return self._page(sample, _checked(look)).encode()
        drawing = self.drawing(**look)
        if suffix == ".gif":
            checked = _checked(look)
            shown = overview(self._graph, collapse=checked.collapse, fold=checked.fold)
            return gif_bytes(shown, drawing, self._played(sample))
        if suffix == ".svg":
            return svg(drawing).encode()
        return pdf_bytes(drawing) if suffix == ".pdf" else png_bytes(drawing, scale=scale)

    def __repr__(self) -> str:
        return f"ModelVisualizer of {self._graph.name!r}: {self._graph.parameters:,} parameters"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return self._static()

    def _static(self) -> dict[str, str]:
        shown = overview(self._graph)
        placed = place(shown)
        light, dark = (
            draw_graph(self._graph, Look(theme=theme), performance=self._performance, shown=shown, placed=placed)
            for theme in THEMES
        )
        inline = inline_svg(light, dark)
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
