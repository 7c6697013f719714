"""TrainingRecord: what was seen of a model's layers while it was trained, and of its predictions at the end."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hpoviz.errors import StoreError

__all__ = ["BINS", "RECORD_FILE", "Histograms", "Predictions", "TrainingRecord", "evenly", "histograms"]

RECORD_FILE = "arrays.npz"
VERSION = 1
BINS = 32
ABOUT = "about"  # the array that holds the names, as JSON
PARTS = ("activations", "weights", "gradients")


@dataclasses.dataclass(frozen=True, eq=False)
class Histograms:
    """Histograms of several tensors at several looks, each with `BINS` bins of equal width.

    Attributes
    ----------
    counts : ndarray of uint32, (looks, tensors, BINS)
    low, high : ndarray of float32, (looks, tensors)
        The ends of each; NaN where nothing finite was seen.
    """

    counts: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def joined(cls, looks: Sequence[Histograms]) -> Histograms:
        """Return those of several looks at the same tensors as one."""
        if not looks:
            return histograms([])
        return cls(*(np.concatenate([getattr(one, name) for one in looks]) for name in ("counts", "low", "high")))

    def density(self, look: int, tensor: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the middles of the bins, and how much of all lies in each per unit of width; both (BINS,)."""
        low, high = float(self.low[look, tensor]), float(self.high[look, tensor])
        edges = np.linspace(low, high, BINS + 1)
        total, width = max(int(self.counts[look, tensor].sum()), 1), (high - low) / BINS
        return (edges[:-1] + edges[1:]) / 2, self.counts[look, tensor] / total / width


def evenly(count: int, most: int) -> list[int]:
    """Return at most so many places of `count`, evenly spaced, the first and the last among them.

    Examples
    --------
    >>> evenly(3, 8), evenly(9, 3)
    ([0, 1, 2], [0, 4, 8])
    """
    return [int(at) for at in np.unique(np.linspace(0, count - 1, min(count, most)).round())] if count else []


def histograms(looks: Sequence[Sequence[np.ndarray]]) -> Histograms:
    """Count the finite values of tensors, by look and by tensor.

    Examples
    --------
    >>> found = histograms([[np.array([0.0, 1.0, 1.0, np.nan])]])
    >>> found.counts.shape, int(found.counts.sum()), float(found.high[0, 0])
    ((1, 1, 32), 3, 1.0)
    """
    shape = len(looks), len(looks[0]) if looks else 0
    counts = np.zeros((*shape, BINS), np.uint32)
    low, high = np.full(shape, np.nan, np.float32), np.full(shape, np.nan, np.float32)
    for at in np.ndindex(*shape):
        values = np.ravel(looks[at[0]][at[1]]).astype(np.float64)
        values = values[np.isfinite(values)]
        if not len(values):
            continue
        ends = float(values.min()), float(values.max())
        if ends[1] - ends[0] <= 1e-6 * max(abs(ends[0]), abs(ends[1]), 1e-30):  # a constant
            room = max(abs(ends[0]) * 1e-3, 1e-12)
            ends = ends[0] - room, ends[1] + room
        counts[at], (low[at], high[at]) = np.histogram(values, BINS, ends)[0], ends
    return Histograms(counts, low, high)


@dataclasses.dataclass(frozen=True, eq=False)
class Predictions:
    """What the trained model says of the validation samples.

    Attributes
    ----------
    rows : ndarray of int32, (n,)
        Which validation samples: all, or some of very many.
    labels, predicted : ndarray of int32, (n,)
    confidence : ndarray of float32, (n,)
        The probability of the predicted class, in [0, 1].
    of_label : ndarray of float32, (n,)
        The probability of the sample's own class.
    """

    rows: np.ndarray
    labels: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray
    of_label: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class TrainingRecord:
    """What was seen of a model while it was trained, in a few hundred kilobytes.

    Layers are looked at with the same few validation samples every time, as they behave in use.

    Attributes
    ----------
    epochs : ndarray of int32, (looks,)
        After how many epochs; 0 is before training.
    rows : int
        How many samples were looked at.
    layers : sequence of str
        The layers whose outputs were looked at, from the first to the last.
    activations : Histograms
        Of their outputs.
    mean, std, zeros : ndarray of float32, (looks, layers)
        Of their outputs; zeros is the share that is exactly 0.
    silent : ndarray of int32, (looks, layers)
        Units that say the same of all samples.
    units : ndarray of int32, (layers,)
    tensors : sequence of (str, str)
        Layer and name of every weight that is trained.
    weights, gradients : Histograms
        Of them, and of the gradients of the loss by them.
    gradient_norms : ndarray of float32, (looks, tensors)
    pictures : sequence of str
        The layers whose outputs for one sample are kept as pictures.
    sample : int
        Which validation sample.
    kinds : sequence of str
        What each of those gives for one sample: "image", "sequence" or "vector".
    maps : sequence of ndarray of uint8, (looks, channels, height, width)
        The pictures of each of those layers: 0 is `map_low`, 255 `map_high`. Of a layer of vectors one of (1, units),
        of one of sequences one of (steps, units).
    map_low, map_high : ndarray of float32, (looks, pictures)
    predictions : Predictions or None
        Of the weights that were kept.
    problem : str or None
        Why something is missing.
    """

    epochs: np.ndarray
    rows: int
    layers: Sequence[str]
    activations: Histograms
    mean: np.ndarray
    std: np.ndarray
    zeros: np.ndarray
    silent: np.ndarray
    units: np.ndarray
    tensors: Sequence[tuple[str, str]]
    weights: Histograms
    gradients: Histograms
    gradient_norms: np.ndarray
    pictures: Sequence[str]
    kinds: Sequence[str]
    sample: int
    maps: Sequence[np.ndarray]
    map_low: np.ndarray
    map_high: np.ndarray
    predictions: Predictions | None = None
    problem: str | None = None

    def to_bytes(self) -> bytes:
        """Return it as a compressed ``.npz`` file, without anything pickled."""
        about = {
            "version": VERSION,
            "rows": self.rows,
            "sample": self.sample,
            "problem": self.problem,
            **{name: list(getattr(self, name)) for name in NAMES},
        }
        arrays = {ABOUT: np.frombuffer(json.dumps(about).encode(), np.uint8)}
        arrays |= {name: getattr(self, name) for name in ARRAYS}
        for part in PARTS:
            arrays |= _fields(part, getattr(self, part))
        if self.predictions is not None:
            arrays |= _fields("predictions", self.predictions)
        arrays |= {f"maps.{at}": maps for at, maps in enumerate(self.maps)}
        content = io.BytesIO()
        np.savez_compressed(content, **arrays)  # type: ignore[arg-type]
        return content.getvalue()

    @classmethod
    def load(cls, path: Path) -> TrainingRecord:
        """Read what `to_bytes` made.

        Raises
        ------
        StoreError
            There is no such file, or it is damaged or of another version.
        """
        shown = f"{path.parent.name}/{path.name}"
        try:
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            about = json.loads(arrays[ABOUT].tobytes())
            if about.pop("version") != VERSION:
                raise ValueError("it is of another version of hpoviz")
            parts: dict[str, Any] = {part: Histograms(**_part(part, arrays)) for part in PARTS}
            said = _part("predictions", arrays)
            return cls(
                **about | {"tensors": [tuple(pair) for pair in about["tensors"]]},
                **{name: arrays[name] for name in ARRAYS},
                **parts,
                maps=[arrays[f"maps.{at}"] for at in range(len(about["pictures"]))],
                predictions=Predictions(**said) if said else None,
            )
        except FileNotFoundError:
            raise StoreError(f"{shown!r} does not exist.") from None
        except Exception as error:  # zipfile, zlib and NumPy have a dozen names for bytes that are damaged
            raise StoreError(f"{shown!r} cannot be read: {type(error).__name__}: {error}.") from error


NAMES = ("layers", "tensors", "pictures", "kinds")
ARRAYS = ("epochs", "mean", "std", "zeros", "silent", "units", "gradient_norms", "map_low", "map_high")


def _fields(name: str, part: Any) -> dict[str, np.ndarray]:
    return {f"{name}.{field.name}": getattr(part, field.name) for field in dataclasses.fields(part)}


def _part(name: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {key.split(".", 1)[1]: array for key, array in arrays.items() if key.startswith(f"{name}.")}
