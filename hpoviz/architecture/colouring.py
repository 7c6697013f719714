"""What colours say in the views of a graph: the type of a layer, or a number on a scale."""

from __future__ import annotations

import functools
import math
from typing import Literal

from hpoviz.architecture.model_graph import ModelGraph, Node
from hpoviz.architecture.palette import THEMES, LayerKind, layer_kind, scale_colour

__all__ = ["COLOURINGS", "Coloring", "Colouring", "Theme"]

Theme = Literal["light", "dark"]
Coloring = Literal["type", "parameters", "performance", "health"]
COLOURINGS: tuple[Coloring, ...] = ("type", "parameters", "performance", "health")


class Colouring:
    """The colours of a graph's nodes.

    Parameters
    ----------
    graph : ModelGraph
    says : {"type", "parameters", "performance", "health"}
    performance : float or None
        A score of the model in [0, 1].
    """

    def __init__(self, graph: ModelGraph, says: Coloring, performance: float | None = None) -> None:
        self._graph, self._says, self._performance = graph, says, performance

    @functools.cached_property
    def _most(self) -> int:
        return max((self._graph.layers[node.layer].parameters for node in self._graph.nodes), default=0)

    def kind(self, node: Node) -> LayerKind:
        """Return what kind of layer a node calls."""
        return layer_kind(self._graph.layers[node.layer], node.kind)

    def share(self, node: Node) -> float | None:
        """Return what a colour of the scale stands for, in [0, 1]; None where there is nothing to say."""
        info = self._graph.layers[node.layer]
        if self._says == "performance":
            return self._performance
        if self._says == "health":
            return self._graph.health.get(node.layer)
        if self._says == "type" or not info.parameters or node.kind == "output":
            return None
        return math.log1p(info.parameters) / math.log1p(self._most)

    def colour(self, node: Node, theme: Theme) -> tuple[str, str]:
        """Return the name of a node's colour in a palette, and the colour as ``#rrggbb``."""
        if self._says == "type":
            kind = self.kind(node)
            return f"kind-{kind.name}", kind.light if theme == "light" else kind.dark
        share = self.share(node)
        if share is None:
            return "unknown", THEMES[theme]["unknown"]
        colour = scale_colour(share)
        return f"scale-{colour[1:]}", colour

    @property
    def ends(self) -> tuple[str, str, str] | None:
        """What the scale begins and ends with, and what it is of; None where colours are of types."""
        if self._says == "type":
            return None
        if self._says == "parameters":
            return "0", f"{self._most:,}", "parameters"
        return "0", "1", "score of the model" if self._says == "performance" else "health of the layer"
