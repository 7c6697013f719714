"""Samples of the user's data, sent through a model one at a time: which there are, and what the model says."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import tree

from hpoviz.architecture.animation import frames
from hpoviz.architecture.drawing import plain_text
from hpoviz.architecture.model_graph import ModelGraph
from hpoviz.architecture.recording import Recording
from hpoviz.data.dataset import Dataset
from hpoviz.data.inputs import as_tensors, leaves, rows_of, sample_count
from hpoviz.data.preview import picture_of
from hpoviz.errors import ConfigError, DatasetError
from hpoviz.instrument import are_shares, record, unchanged

__all__ = ["MANY_NODES", "SampleChoice", "SampleRecorder", "given"]

LOOKED_AT, LOOKING_S, AT_ONCE = 256, 2.0, 16  # to find right and wrong ones: samples, seconds, samples a pass
OFFERED = 6  # right ones, and as many wrong ones
MANY_NODES, CHANNELS, FEW_CHANNELS = 100, 8, 4
LONGEST_TEXT = 600
SUM_TOLERANCE = 2e-2  # of the sum of probabilities, also of 16 bits


@dataclasses.dataclass(frozen=True, kw_only=True)
class SampleChoice:
    """A sample that somebody can choose, with what the model says of it.

    Attributes
    ----------
    index : int
        Its row.
    label, predicted : str or None
        Classes; None where there are none.
    share : float or None
        The probability that the model gives the predicted class.
    right : bool or None
    """

    index: int
    label: str | None
    predicted: str | None = None
    share: float | None = None
    right: bool | None = None


def given(recorder: SampleRecorder | None) -> SampleRecorder:
    """Return a recorder that is there.

    Raises
    ------
    ConfigError
        No samples were given.
    """
    if recorder is None:
        raise ConfigError(
            "There are no samples to send through the model. Pass some: ModelVisualizer(model, data=data), with a "
            "Dataset or (x, y)."
        )
    return recorder


class SampleRecorder:
    """Sends samples of data through a model.

    Parameters
    ----------
    model : keras.Model
    graph : ModelGraph
        Of that model.
    data : Dataset, (x, y), ((x_train, y_train), (x_val, y_val)), or x alone
        Of a Dataset the validation samples, of two pairs the second. Without labels there is no loss, and nothing goes
        back.

    Raises
    ------
    DatasetError
        No samples, not as many labels, or samples of a shape that the model does not take.

    Examples
    --------
    >>> from hpoviz.architecture.keras_adapter import graph_of
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, "softmax", name="d")])
    >>> recorder = SampleRecorder(model, graph_of(model), (np.ones((20, 4), "float32"), np.arange(20) % 3))
    >>> len(recorder), recorder.choices()[0].label, len(recorder.record(7).tensors)
    (20, '0', 2)
    """

    def __init__(self, model: keras.Model, graph: ModelGraph, data: Any) -> None:
        self._model, self._graph = model, graph
        self._names: Sequence[str] | None = None
        self._are_shares: bool | None = None  # what the model gives; decided once, by the first samples
        if isinstance(data, Dataset):
            _, rows = data.split_rows()
            self._x, self._y, self._names = data.x[rows], data.y[rows], data.class_names
        else:
            self._x, self._y = _pair(data)
        self._count = sample_count(self._x)
        if self._y is not None:
            labels = {len(array) for array in leaves(self._y)}
            if labels != {self._count}:
                raise DatasetError(f"data must hold a label for each sample: {self._count}. Got {sorted(labels)}.")
        _check_shapes(model, self._x)

    def __len__(self) -> int:
        return self._count

    def choices(self) -> tuple[SampleChoice, ...]:
        """Return some samples by row: the first that the model is right of, and the first that it is wrong of."""
        found: list[SampleChoice] = []
        began = time.perf_counter()
        for start in range(0, min(self._count, LOOKED_AT), AT_ONCE):
            found += self._said_of(np.arange(start, min(start + AT_ONCE, self._count)))
            enough = sum(one.right is False for one in found) >= OFFERED and len(found) >= 2 * OFFERED
            if enough or all(one.right is None for one in found) or time.perf_counter() - began > LOOKING_S:
                break
        right, wrong = ([one for one in found if one.right is flag][:OFFERED] for flag in (True, False))
        chosen = right + wrong if right or wrong else found[:OFFERED]
        return tuple(sorted(chosen, key=lambda one: one.index))

    def choice(self, index: int) -> SampleChoice:
        """Return a sample with what the model says of it.

        Raises
        ------
        DatasetError
            There is no such sample.
        """
        self.check(index)
        return self._said_of(np.array([index]))[0]

    def check(self, index: int) -> None:
        """Raise DatasetError where there is no sample of this number."""
        if isinstance(index, bool) or not isinstance(index, int | np.integer) or not 0 <= index < self._count:
            raise DatasetError(f"sample must be a whole number from 0 to {self._count - 1}. Got {index!r}.")

    def record(self, index: int) -> Recording:
        """Send a sample through the model, forward and, where it has a label, back.

        Raises
        ------
        DatasetError
            There is no such sample.
        """
        self.check(index)
        row = slice(int(index), int(index) + 1)
        labels = None if self._y is None else rows_of(self._y, row)
        if not getattr(self._model, "compiled", False) and isinstance(labels, np.ndarray) and labels.ndim == 2:
            labels = _codes(labels)  # one-hot, which the usual loss does not take
        maps = [node.id for node in self._graph.nodes if node.kind in ("input", "layer", "operation")]
        return record(
            self._model,
            rows_of(self._x, row),
            labels,
            maps=maps,
            channels=FEW_CHANNELS if len(maps) > MANY_NODES else CHANNELS,
        )

    def played(self, index: int) -> dict[str, Any]:
        """Return `frames` of a sample's recording, with a ``caption`` and the ``shares`` of the classes, or None.

        The caption holds what a `SampleChoice` holds, the class names, and a picture or the text of the sample.
        """
        recording = self.record(index)
        said, shares = self.choice(index), self._shares_of(np.array([index]))
        caption = {**dataclasses.asdict(said), **self._preview(index), "classes": list(self._names or ())}
        known = shares[0].tolist() if shares is not None and said.predicted is not None else None
        return {**frames(recording), "caption": caption, "shares": known}

    def _preview(self, index: int) -> dict[str, str]:
        if not isinstance(self._x, np.ndarray):
            return {}
        sample = self._x[index]
        if isinstance(sample, str | bytes):
            text = sample if isinstance(sample, str) else sample.decode(errors="replace")
            return {"text": plain_text(text)[:LONGEST_TEXT]}
        if sample.ndim in (2, 3) and sample.dtype.kind in "fiub":
            picture = np.nan_to_num(sample.reshape(*sample.shape[:2], -1), posinf=0.0, neginf=0.0)
            return {"picture": picture_of(picture, float(picture.min()), float(picture.max()))}
        return {}

    def _said_of(self, rows: np.ndarray) -> list[SampleChoice]:
        """Return what a model with one output says of samples, where that is a class."""
        labels = None if self._y is None or isinstance(self._y, list | tuple | dict) else np.asarray(self._y)[rows]
        codes, shares = _codes(labels), self._shares_of(rows)
        if shares is None or (labels is not None and codes is None):
            return [SampleChoice(index=int(row), label=_text(labels, at)) for at, row in enumerate(rows)]
        found = []
        for at, row in enumerate(rows):
            label = None if codes is None else self._class(int(codes[at]))
            if not np.isfinite(shares[at]).all():
                found.append(SampleChoice(index=int(row), label=label))
                continue
            best = int(shares[at].argmax())
            right = None if codes is None else bool(best == codes[at])
            share = float(shares[at, best])
            found.append(
                SampleChoice(index=int(row), label=label, predicted=self._class(best), share=share, right=right)
            )
        return found

    def _shares_of(self, rows: np.ndarray) -> np.ndarray | None:
        """Return the probabilities of the classes, (n, classes), NaN where there are none; None for no classifier."""
        with unchanged(self._model):
            outputs = tree.flatten(self._model(as_tensors(rows_of(self._x, rows)), training=False))
        if len(outputs) != 1 or len(outputs[0].shape) != 2:
            return None
        values = np.asarray(outputs[0], dtype=np.float64)
        if self._are_shares is None:
            self._are_shares = are_shares(values[np.isfinite(values).all(1)], SUM_TOLERANCE)
        if values.shape[1] == 1:
            one = values[:, 0] if self._are_shares else 1 / (1 + np.exp(-values[:, 0]))
            return np.stack([1 - one, one], 1)
        if self._are_shares:
            return values
        powers = np.exp(values - values.max(1, keepdims=True))
        return np.asarray(powers / powers.sum(1, keepdims=True))

    def _class(self, code: int) -> str:
        return plain_text(self._names[code]) if self._names and code < len(self._names) else str(code)


def _pair(data: Any) -> tuple[Any, Any]:
    """Return samples and labels, or None, of what a user gives."""
    if isinstance(data, np.ndarray) or hasattr(data, "to_numpy"):
        return np.asarray(data), None
    if isinstance(data, dict):
        return _arrays(data), None
    try:
        first, second = data
    except (TypeError, ValueError):
        raise DatasetError(
            "data must be a Dataset, (x, y), ((x_train, y_train), (x_val, y_val)) or an array of samples. "
            f"Got {type(data).__name__}."
        ) from None
    if isinstance(first, tuple) and isinstance(second, tuple) and len(first) == len(second) == 2:
        first, second = second
    return _arrays(first), None if second is None else _arrays(second)


def _arrays(value: Any) -> Any:
    """Return an array, or a structure of arrays where there is one; lists of numbers are arrays."""
    inner = value if isinstance(value, list | tuple) else ()
    if inner and not any(isinstance(one, np.ndarray) or hasattr(one, "to_numpy") for one in inner):
        return np.asarray(value)
    return tree.map_structure(np.asarray, value)


def _check_shapes(model: keras.Model, x: Any) -> None:
    """Raise DatasetError for one array of samples whose shape a model with one input does not take."""
    inputs = tree.flatten(getattr(model, "inputs", None) or [])
    arrays = tree.flatten(x)
    if not inputs:
        return
    if len(arrays) != len(inputs):
        raise DatasetError(f"{model.name!r} has {len(inputs)} inputs. Got samples for {len(arrays)}.")
    if isinstance(x, dict):
        return  # in whatever order: Keras says it when it runs
    for tensor, array in zip(inputs, arrays, strict=True):
        wanted, got = tuple(tensor.shape[1:]), np.shape(array)[1:]
        if len(got) == len(wanted) - 1 and wanted[-1] == 1:
            got = (*got, 1)  # Keras adds the axis
        fits = len(wanted) == len(got) and all(a in (None, b) for a, b in zip(wanted, got, strict=True))
        if not fits and not (wanted == () and got == (1,)):
            shown = "×".join("?" if one is None else str(one) for one in wanted) or "one value"
            raise DatasetError(
                f"{model.name!r} takes samples of shape {shown}. Got {'×'.join(map(str, got)) or 'one value'} each."
            )


def _codes(labels: np.ndarray | None) -> np.ndarray | None:
    """Return labels as whole numbers; those of one-hot rows, and None where they are no classes."""
    if labels is None or labels.dtype.kind not in "iufb":
        return None
    if labels.ndim == 2 and labels.shape[1] > 1:
        return np.asarray(labels.argmax(1))
    flat = labels.reshape(len(labels), -1)
    if flat.shape[1] != 1 or (flat != np.floor(flat)).any() or (flat < 0).any():
        return None
    return np.asarray(flat[:, 0].astype(np.int64))


def _text(labels: np.ndarray | None, at: int) -> str | None:
    return None if labels is None else plain_text(str(np.squeeze(labels[at])))[:60]
