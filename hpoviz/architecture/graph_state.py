"""What an interactive view of a model shows at the moment: which blocks are open, and which samples were recorded."""

from __future__ import annotations

import itertools
from typing import Any, cast

from hpoviz.architecture.graph_scene import LayerNotes, graph_scene
from hpoviz.architecture.layout import Direction
from hpoviz.architecture.model_graph import ModelGraph
from hpoviz.architecture.overview import first_closed, with_blocks
from hpoviz.architecture.sample_recorder import SampleRecorder, given
from hpoviz.errors import ConfigError

__all__ = ["GraphState"]

MOST_RECORDINGS = 8
_serials = itertools.count(1)


class GraphState:
    """The state of one view; not to be shared between threads.

    Parameters
    ----------
    graph : ModelGraph
    collapse : bool
        Whether repeated blocks, and in very large graphs models inside the model, are closed at first.
    direction : {"down", "right"}
    performance : float, optional
    notes : LayerNotes, optional
    recorder : SampleRecorder, optional

    Attributes
    ----------
    scene : dict
        What is shown, with a ``serial`` that is new whenever it changes.
    recordings : dict
        By sample, as text; the last eight.
    """

    def __init__(
        self,
        graph: ModelGraph,
        *,
        collapse: bool = True,
        direction: Direction = "down",
        performance: float | None = None,
        notes: LayerNotes | None = None,
        recorder: SampleRecorder | None = None,
    ) -> None:
        self._graph = with_blocks(graph)
        self._containers = {node.parent for node in self._graph.nodes if node.parent is not None}
        self._closed = first_closed(self._graph) if collapse else set()
        self._direction = direction
        self._performance, self._notes = performance, notes
        self.recorder = recorder
        self.recordings: dict[str, dict[str, Any]] = {}
        self.scene = self._scene()

    def toggle(self, node: str) -> None:
        """Open a closed container, or close an open one."""
        if node not in self._containers:
            raise ConfigError(f"{node!r} is no block that could be opened or closed.")
        self._closed ^= {node}
        self.scene = self._scene()

    def open_all(self) -> None:
        """Show the inside of all containers."""
        self._closed = set()
        self.scene = self._scene()

    def close_all(self) -> None:
        """Close what is closed at first; where nothing is, all containers."""
        self._closed = first_closed(self._graph) or set(self._containers)
        self.scene = self._scene()

    def turn(self, direction: str) -> None:
        """Lay the graph out in another direction."""
        if direction not in ("down", "right"):
            raise ConfigError(f"direction must be 'down' or 'right'. Got {direction!r}.")
        self._direction = cast(Direction, direction)
        self.scene = self._scene()

    def record(self, sample: int) -> dict[str, Any]:
        """Send a sample through the model, if that was not done yet, and return what was seen.

        Raises
        ------
        ConfigError
            There are no samples.
        DatasetError
            There is no such sample.
        """
        recorder = given(self.recorder)
        recorder.check(sample)
        key = str(int(sample))
        played = self.recordings.get(key) or recorder.played(sample)
        kept = [(name, value) for name, value in self.recordings.items() if name != key]
        self.recordings = dict([*kept[1 - MOST_RECORDINGS :], (key, played)])
        return played

    def _scene(self) -> dict[str, Any]:
        scene = graph_scene(
            self._graph,
            self._closed,
            direction=self._direction,
            performance=self._performance,
            notes=self._notes,
        )
        return {**scene, "serial": next(_serials)}
