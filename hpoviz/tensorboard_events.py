"""EventFile: the content of one event file, by the builders of the package tensorboard, without TensorFlow."""

from __future__ import annotations

import io
import math
import types
from collections.abc import Sequence
from typing import Any

import numpy as np

from hpoviz.errors import ExportError
from hpoviz.training_record import Histograms

__all__ = ["EventFile", "builders"]

ABOUT = {  # by the beginning of a tag; the epochs' figures come first, as tags are shown in the order of their names
    "epoch_seconds": "How long the epoch took.",
    "layer_activations": "What the layer makes of a few validation samples; step 0 is before training.",
    "layer_gradient_norm": "Norm of the gradient of the layer's weights: root mean square over the epoch's steps.",
    "layer_gradient_norm_of_samples": "Norm of the gradient of the loss of a few validation samples by its weights.",
    "layer_gradients": "The gradient of the loss of a few validation samples by these weights.",
    "layer_silent_share": "Share of the layer's units that say the same of all samples.",
    "layer_weights": "The weights after the epoch; step 0 is before training.",
    "result": "Of the whole trial.",
}


def builders() -> types.SimpleNamespace:
    """Return TensorBoard's own makers of events; none of them imports TensorFlow, as `hparams.api` would.

    Raises
    ------
    ExportError
        The package is missing, or cannot be imported.
    """
    try:
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.plugins.histogram.metadata import create_summary_metadata
        from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2, summary_v2
        from tensorboard.plugins.scalar.summary_v2 import scalar_pb
        from tensorboard.summary.writer.record_writer import RecordWriter
        from tensorboard.util.tensor_util import make_tensor_proto
    except ImportError as error:
        raise ExportError(
            f'TensorBoard needs the package tensorboard: {error}. Install it: pip install "hpoviz[lab]".'
        ) from error
    return types.SimpleNamespace(
        Event=event_pb2.Event,
        Summary=summary_pb2.Summary,
        RecordWriter=RecordWriter,
        scalar=scalar_pb,
        tensor=make_tensor_proto,
        histogram_metadata=create_summary_metadata,
        api=api_pb2,
        hparams=summary_v2,
        hparams_metadata=metadata,
        PluginData=plugin_data_pb2.HParamsPluginData,
        SessionEnd=plugin_data_pb2.SessionEndInfo,
    )


class EventFile:
    """The events of one run of TensorBoard's: one a step."""

    def __init__(self, tb: Any, times: Sequence[float]) -> None:
        self._tb, self._times = tb, times
        self._events: dict[int, Any] = {}
        self._described: set[str] = set()

    def add(self, step: int, summary: Any) -> None:
        """Add what a builder of TensorBoard's has made."""
        if step not in self._events:
            self._events[step] = self._tb.Event(wall_time=self._times[min(step, len(self._times) - 1)], step=step)
        self._events[step].summary.MergeFrom(summary)

    def scalar(self, step: int, tag: str, value: float | None) -> None:
        """Add a number; None is one that is not finite."""
        self.add(step, self._tb.scalar(tag, math.nan if value is None else float(value), self._about(tag)))

    def histograms(self, step: int, tags: Sequence[str], spread: Histograms, look: int) -> None:
        """Add the histograms of one look, bin by bin as they were counted; those that saw nothing are left out."""
        for at, tag in enumerate(tags):
            low, high = float(spread.low[look, at]), float(spread.high[look, at])
            if not (math.isfinite(low) and math.isfinite(high)):
                continue
            counts = spread.counts[look, at]
            edges = np.linspace(low, high, len(counts) + 1)
            bins = np.stack([edges[:-1], edges[1:], counts], axis=1)
            metadata = self._tb.histogram_metadata(display_name=None, description=self._about(tag))
            summary = self._tb.Summary()
            summary.value.add(tag=tag, metadata=metadata, tensor=self._tb.tensor(bins, dtype=np.float64))
            self.add(step, summary)

    def hparams(self, tag: str, **content: Any) -> None:
        """Add what the plug-in HParams reads, for which TensorBoard has no builder without TensorFlow."""
        known, summary = self._tb.hparams_metadata, self._tb.Summary()
        metadata = known.create_summary_metadata(self._tb.PluginData(**content))
        summary.value.add(tag=tag, metadata=metadata, tensor=known.NULL_TENSOR)
        self.add(0, summary)

    def to_bytes(self) -> bytes:
        """Return the content of an event file."""
        file = io.BytesIO()
        writer = self._tb.RecordWriter(file)
        writer.write(self._tb.Event(wall_time=self._times[0], file_version="brain.Event:2").SerializeToString())
        for step in sorted(self._events):
            writer.write(self._events[step].SerializeToString(deterministic=True))
        return file.getvalue()

    def _about(self, tag: str) -> str | None:
        """Describe a tag, the first time."""
        if tag in self._described:
            return None
        self._described.add(tag)
        return ABOUT.get(tag.partition("/")[0])
