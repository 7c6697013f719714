"""What was seen of one pass through a model: numbers by node and by weight, and maps of some channels."""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["ChannelMaps", "Recording", "TensorRecord", "WeightRecord", "merged"]

VERSION = 1


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TensorRecord:
    """One output of one node, over all samples and positions; figures are of its finite values.

    Attributes
    ----------
    node, port : str, int
        Where it leaves the graph's node.
    shape : tuple of int
        With the samples first.
    mean, std, mean_abs, minimum, maximum : float
    zeros, finite : float
        Shares of its values, in [0, 1].
    gradient_norm : float or None
        Of the loss, by this tensor; None where the loss does not depend on it or there was none.
    unit_mean, unit_std, unit_peak : ndarray of float32, (units,)
        By channel or unit: mean, standard deviation, largest absolute value.
    """

    node: str
    port: int
    shape: tuple[int, ...]
    mean: float
    std: float
    mean_abs: float
    minimum: float
    maximum: float
    zeros: float
    finite: float
    gradient_norm: float | None
    unit_mean: np.ndarray
    unit_std: np.ndarray
    unit_peak: np.ndarray

    @property
    def silent(self) -> np.ndarray:
        """Which units gave nothing, as bool, (units,): at most a millionth of the largest value of all."""
        return np.asarray(self.unit_peak <= 1e-6 * self.unit_peak.max(initial=0.0))


@dataclasses.dataclass(frozen=True, kw_only=True)
class WeightRecord:
    """One weight of a layer.

    Attributes
    ----------
    layer, name : str
    shape : tuple of int
    norm : float
        Euclidean.
    gradient_norm : float or None
        None for weights that are not trained or that the loss does not depend on.
    """

    layer: str
    name: str
    shape: tuple[int, ...]
    norm: float
    gradient_norm: float | None


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ChannelMaps:
    """What some channels of a node's first output look like for the first sample.

    Attributes
    ----------
    node : str
    kind : {"image", "sequence", "vector"}
        Images are one map a channel, rows by columns; a sequence is one map, time by unit; a vector is one row.
    channels : tuple of int
        Those with the largest mean absolute value, the largest first; all units for sequences and vectors.
    values : ndarray of uint8, (maps, rows, columns)
        0 stands for `low` and 255 for `high`. Larger maps are averaged down to 32 by 32, longer sequences to 64.
    low, high : float
    """

    node: str
    kind: str
    channels: tuple[int, ...]
    values: np.ndarray
    low: float
    high: float


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Recording:
    """One pass through a model, forward and, where there was a loss, backward.

    Attributes
    ----------
    samples : int
    training : bool
        Whether layers behaved as in training.
    loss : float or None
    outputs : tuple of tuple of float
        What the model gave for the first sample, by output: its first 1,000 numbers.
    tensors : tuple of TensorRecord
        In the order of the pass. Nodes that give out words or flags are left out.
    weights : tuple of WeightRecord
    maps : tuple of ChannelMaps
    seconds : float
        How long it took.
    """

    samples: int
    training: bool
    loss: float | None
    outputs: tuple[tuple[float, ...], ...]
    tensors: tuple[TensorRecord, ...]
    weights: tuple[WeightRecord, ...]
    maps: tuple[ChannelMaps, ...]
    seconds: float

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Recording) and self.to_dict() == other.to_dict()

    def to_dict(self) -> dict[str, Any]:
        """Return the recording as JSON values: arrays as base64 of their bytes, numbers that are not finite as None."""
        return {
            "version": VERSION,
            "samples": self.samples,
            "training": self.training,
            "loss": _number(self.loss),
            "outputs": [[_number(value) for value in output] for output in self.outputs],
            "tensors": [_values(item) for item in self.tensors],
            "weights": [_values(item) for item in self.weights],
            "maps": [_values(item) for item in self.maps],
            "seconds": self.seconds,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Recording:
        """Return the recording of `to_dict`'s values; numbers that were not finite are NaN.

        Raises
        ------
        KeyError, TypeError, ValueError
            Values that are no recording of this version.
        """
        if values["version"] != VERSION:
            raise ValueError(f"the recording is of version {values['version']!r}, not {VERSION}")
        return cls(
            samples=int(values["samples"]),
            training=bool(values["training"]),
            loss=_float_or_none(values["loss"]),
            outputs=tuple(tuple(_float(value) for value in output) for output in values["outputs"]),
            tensors=tuple(_of(TensorRecord, item) for item in values["tensors"]),
            weights=tuple(_of(WeightRecord, item) for item in values["weights"]),
            maps=tuple(_of(ChannelMaps, item) for item in values["maps"]),
            seconds=float(values["seconds"]),
        )


def merged(parts: Sequence[TensorRecord]) -> TensorRecord:
    """Return the record of a tensor whose samples were seen in parts, for a loss that is a sum over samples."""
    counts = np.array([part.shape[0] for part in parts], dtype=float)
    share = counts / counts.sum()
    means = np.stack([part.unit_mean for part in parts]).astype(float)
    mean = share @ means
    variance = share @ (np.stack([part.unit_std for part in parts]).astype(float) ** 2 + (means - mean) ** 2)
    whole = share @ np.array([part.mean for part in parts])
    spread = share @ np.array([part.std**2 + (part.mean - whole) ** 2 for part in parts])
    norms = [part.gradient_norm for part in parts]
    known = [norm for norm in norms if norm is not None]
    return TensorRecord(
        node=parts[0].node,
        port=parts[0].port,
        shape=(int(counts.sum()), *parts[0].shape[1:]),
        mean=float(whole),
        std=float(np.sqrt(spread)),
        mean_abs=float(share @ np.array([part.mean_abs for part in parts])),
        minimum=min(part.minimum for part in parts),
        maximum=max(part.maximum for part in parts),
        zeros=float(share @ np.array([part.zeros for part in parts])),
        finite=float(share @ np.array([part.finite for part in parts])),
        gradient_norm=float(np.sqrt(np.sum(np.square(known)))) if len(known) == len(norms) else None,
        unit_mean=mean.astype(np.float32),
        unit_std=np.sqrt(variance).astype(np.float32),
        unit_peak=np.max([part.unit_peak for part in parts], axis=0),
    )


def _of(kind: Any, values: Mapping[str, Any]) -> Any:
    """Return one record of its JSON values."""
    readers: dict[str, Callable[[Any], Any]] = {
        "str": str,
        "int": int,
        "float": _float,
        "float | None": _float_or_none,
        "tuple[int, ...]": lambda value: tuple(int(item) for item in value),
        "np.ndarray": _array,
    }
    return kind(**{field.name: readers[str(field.type)](values[field.name]) for field in dataclasses.fields(kind)})


def _array(values: Mapping[str, Any]) -> np.ndarray:
    if values["dtype"] not in ("float32", "uint8"):
        raise ValueError(f"an array is of dtype {values['dtype']!r}")
    flat = np.frombuffer(base64.b64decode(values["base64"], validate=True), np.dtype(values["dtype"]).newbyteorder("<"))
    return flat.reshape([int(length) for length in values["shape"]]).astype(values["dtype"])


def _float(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _float_or_none(value: float | None) -> float | None:
    return None if value is None else float(value)


def _values(item: Any) -> dict[str, Any]:
    return {field.name: _json(getattr(item, field.name)) for field in dataclasses.fields(item)}


def _json(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        array = np.ascontiguousarray(value.astype(value.dtype.newbyteorder("<"), copy=False))
        data = base64.b64encode(array.tobytes()).decode()
        return {"dtype": str(value.dtype), "shape": list(value.shape), "base64": data}
    if isinstance(value, float):
        return _number(value)
    return list(value) if isinstance(value, tuple) else value


def _number(value: float | None) -> float | None:
    return float(value) if value is not None and np.isfinite(value) else None
