"""HealthAnalyzer: looks inside a trained classifier with one pass of data, and says how healthy it is."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from hpoviz.architecture.keras_adapter import graph_of, replay
from hpoviz.architecture.model_graph import ModelGraph
from hpoviz.architecture.palette import layer_kind
from hpoviz.architecture.recording import TensorRecord, merged
from hpoviz.data.dataset import Dataset
from hpoviz.data.splitting import sample_rows, split_rows
from hpoviz.errors import ConfigError, DatasetError
from hpoviz.health.diagnosis import Facts, diagnose
from hpoviz.health.metrics import (
    LEAST_ROWS,
    Metric,
    Units,
    accuracy_consistency,
    convergence_quality,
    gradient_health,
    neuron_utilization,
    parameter_efficiency,
    training_stability,
    trivial_loss,
)
from hpoviz.health.report import HealthReport, checked_weights
from hpoviz.health.sites import SATURATING, Site, hidden_sites
from hpoviz.instrument import are_shares, record

__all__ = ["HealthAnalyzer"]

BATCH = 256
VALIDATION = 0.2
NOISE = 0.1  # standard deviation of the noise, as a share of that of the data
FLAT = 0.02  # share of its largest derivative below which a unit is saturated
MOST_NUMBERS = 60_000_000  # activations that are held at a time, and as many gradients
CURVES = ("loss", "val_loss")
OF_HISTORY = ("training_stability", "convergence_quality")


@dataclasses.dataclass(frozen=True)
class _Samples:
    """What of the data is looked at: validation samples, and as many training samples where there are some."""

    x: Any
    y: np.ndarray
    x_train: Any
    y_train: np.ndarray | None
    labels: np.ndarray  # of all training data


class HealthAnalyzer:
    """Looks inside trained Keras classifiers.

    Parameters
    ----------
    weights : mapping of str to float, optional
        Of the six metrics in the overall health; by default the classic ones.
    rows : int
        How many validation samples are looked at, at least 100, and how many training samples.
    seed : int
        Of the samples, the signal that is sent back, and the noise.

    Raises
    ------
    ConfigError

    Examples
    --------
    >>> import hpoviz
    >>> data = hpoviz.load_dataset("digits")
    >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(16, "relu"),
    ...                           keras.layers.Dense(10, "softmax")])
    >>> report = HealthAnalyzer().analyze(model, data)
    >>> report.training_stability.value, report.training_stability.reason
    (None, 'There is no history of the training.')
    """

    def __init__(self, *, weights: Mapping[str, float] | None = None, rows: int = 512, seed: int = 0) -> None:
        if isinstance(rows, bool) or not isinstance(rows, int) or rows < LEAST_ROWS:
            raise ConfigError(f"rows must be a whole number of at least {LEAST_ROWS}. Got {rows!r}.")
        self._weights = checked_weights(weights)
        self._rows, self._seed = rows, seed

    def analyze(self, model: keras.Model, data: Any, history: Any = None) -> HealthReport:
        """Return the health of a model.

        Parameters
        ----------
        model : keras.Model
            A trained classifier with one output.
        data : Dataset, or (x, y), or ((x_train, y_train), (x_val, y_val))
            y holds whole numbers. With (x, y) alone, which should be data that the model was not trained on, there is
            no gap to training data.
        history : keras.callbacks.History, mapping or DataFrame, optional
            ``loss`` by epoch, and what else of ``val_loss``, ``accuracy`` and ``val_accuracy`` there is.

        Returns
        -------
        HealthReport

        Raises
        ------
        ModelBuildError
            Not a Keras model, not built, or samples that it does not take.
        DatasetError
            No samples, labels that are no classes of the model.
        ConfigError
            A history that is none.
        """
        began = time.perf_counter()
        samples = self._samples(data)
        graph = graph_of(model, inputs=_tensor(samples.x[:1]))
        sites = hidden_sites(graph)
        _check_outputs(model, samples)
        seen = self._seen(model, graph, samples.x)
        outputs = _outputs(model, samples.x)
        named = _Named.of(model, outputs)
        train_accuracy = None if samples.y_train is None else named.accuracy(samples.x_train, samples.y_train)
        losses = _history(history)
        trivial = trivial_loss(samples.labels)
        metrics = [
            neuron_utilization(list(_units(sites, seen)), len(samples.y)),
            self._efficiency(named, samples),
            training_stability(losses.get("loss"), trivial),
            gradient_health([_flow(sites, seen)], dict(_saturated(sites, seen))),
            convergence_quality(losses.get("loss"), trivial, losses.get("val_loss")),
            self._consistency(named, outputs, samples, train_accuracy),
        ]
        if "loss" not in losses and history is not None:
            reason = f"The history has no loss by epoch: it holds {', '.join(map(repr, losses)) or 'nothing'}."
            metrics = [dataclasses.replace(one, reason=reason) if one.name in OF_HISTORY else one for one in metrics]
        by_name = {metric.name: metric for metric in metrics}
        return HealthReport(
            model=model.name,
            metrics=by_name,
            findings=diagnose(by_name, _facts(named, graph, sites, seen, samples, train_accuracy)),
            weights=self._weights,
            rows=len(samples.y),
            seconds=time.perf_counter() - began,
        )

    def _samples(self, data: Any) -> _Samples:
        if isinstance(data, Dataset):
            train, val = split_rows(data.y, VALIDATION, self._seed, what="validation_fraction", groups=data.groups)
            x, y = self._some(data.x, data.y, val)
            return _Samples(x, y, *self._some(data.x, data.y, train), data.y[train])
        parts = data
        try:
            first, second = parts
        except (TypeError, ValueError):
            raise DatasetError(
                f"data must be a Dataset, (x, y), or ((x_train, y_train), (x_val, y_val)). Got {type(data).__name__}."
            ) from None
        if (
            isinstance(first, tuple | list)
            and len(first) == 2
            and isinstance(second, tuple | list)
            and len(second) == 2
        ):
            x, y = self._some(*second)
            x_train, y_train = self._some(*first)
            return _Samples(x, y, x_train, y_train, _labels(first[1]))
        x, y = self._some(first, second)
        return _Samples(x, y, None, None, y)

    def _some(self, x: Any, y: Any, among: np.ndarray | None = None) -> tuple[Any, np.ndarray]:
        """Return some samples with their labels, of all or of those in some rows."""
        labels = _labels(y)
        if isinstance(x, dict) or (isinstance(x, list | tuple) and len(x) != len(labels)):
            raise DatasetError("x must be one array: models with several inputs cannot be analysed yet.")
        if not len(labels) or len(x) != len(labels):
            raise DatasetError(
                f"data must hold a label for each sample, and some. Got {len(x)} samples, {len(labels)} labels."
            )
        rows = np.arange(len(labels)) if among is None else among
        if len(rows) > self._rows:
            rows = np.sort(rows[sample_rows(labels[rows], self._rows, self._seed)])
        return np.asarray(x)[rows], labels[rows]

    def _seen(self, model: keras.Model, graph: ModelGraph, x: np.ndarray) -> list[TensorRecord]:
        """Record all samples, so many at a time that what is held stays small."""
        per_sample = sum(
            math.prod(length or 1 for length in tensor.shape or ()) for node in graph.nodes for tensor in node.outputs
        )
        step = max(1, min(len(x), MOST_NUMBERS // max(per_sample, 1)))
        parts: dict[tuple[str, int], list[TensorRecord]] = {}
        for start in range(0, len(x), step):
            some = x[start : start + step]
            seen = record(model, _tensor(some), np.zeros(len(some)), loss=_signal(len(some), self._seed + start))
            for tensor in seen.tensors:
                parts.setdefault((tensor.node, tensor.port), []).append(tensor)
        return [merged(one) if len(one) > 1 else one[0] for one in parts.values()]

    def _consistency(
        self, named: _Named, outputs: np.ndarray, samples: _Samples, train_accuracy: float | None
    ) -> Metric:
        predicted = named.classes(outputs)
        agreement = None
        if np.issubdtype(samples.x.dtype, np.floating) or samples.x.dtype == np.uint8:
            noise = np.random.default_rng(self._seed).standard_normal(samples.x.shape)
            noisy = samples.x + NOISE * float(np.std(samples.x)) * noise
            agreement = float((named.predicted(noisy.astype(np.float32)) == predicted).mean())
        return accuracy_consistency(
            samples.y, predicted, agreement=agreement, train_accuracy=train_accuracy, seed=self._seed
        )

    def _efficiency(self, named: _Named, samples: _Samples) -> Metric:
        """Prune the smallest weights, in place, and put them back."""
        kernels = [weight for weight in named.model.weights if len(weight.shape) > 1]
        if not kernels:
            return Metric(name="parameter_efficiency", value=None, reason="The model has no weights to prune.")
        values = [keras.ops.convert_to_numpy(weight).copy() for weight in kernels]
        sizes = np.concatenate([np.abs(value).ravel() for value in values])
        counts = np.bincount(samples.y)

        def accuracy_at(share: float) -> float:
            edge = np.quantile(sizes, share)
            for weight, value in zip(kernels, values, strict=True):
                weight.assign(np.where(np.abs(value) <= edge, 0, value))
            return named.accuracy(samples.x, samples.y)

        try:
            accuracy = named.accuracy(samples.x, samples.y)
            return parameter_efficiency(accuracy_at, accuracy, len(samples.y), float(counts.max() / counts.sum()))
        finally:
            for weight, value in zip(kernels, values, strict=True):
                weight.assign(value)


@dataclasses.dataclass(frozen=True)
class _Named:
    """Which class a model names: by the largest output, or with one output by which side of `edge` it is on."""

    model: keras.Model
    edge: float
    shares: bool

    @classmethod
    def of(cls, model: keras.Model, outputs: np.ndarray) -> _Named:
        shares = are_shares(outputs)
        return cls(model, 0.5 if shares and not _takes_logits(model) else 0.0, shares)

    def classes(self, outputs: np.ndarray) -> np.ndarray:
        if outputs.shape[1] == 1:
            return (outputs[:, 0] > self.edge).astype(np.int64)
        return np.asarray(np.nan_to_num(outputs, nan=-np.inf).argmax(1))

    def predicted(self, x: np.ndarray) -> np.ndarray:
        return self.classes(_outputs(self.model, x))

    def accuracy(self, x: np.ndarray, y: np.ndarray) -> float:
        return float((self.predicted(x) == y).mean())


def _check_outputs(model: keras.Model, samples: _Samples) -> None:
    """Raise DatasetError for a model that is no classifier with one output, or labels that are none of its classes."""
    outputs = replay(model, _tensor(samples.x[:2]), watch=lambda node, tensors: tensors)
    if len(outputs) != 1 or len(outputs[0].shape) != 2:
        shapes = ", ".join(str(tuple(output.shape)) for output in outputs)
        raise DatasetError(
            f"{model.name!r} is no classifier with one output: it gives {shapes} for two samples, and (2, classes) "
            "is needed."
        )
    classes = max(int(outputs[0].shape[-1]), 2)
    largest = int(max(samples.y.max(), samples.labels.max()))
    if largest >= classes:
        raise DatasetError(
            f"Labels must be from 0 to {classes - 1}, as {model.name!r} has {classes} classes. Got {largest}."
        )


def _facts(
    named: _Named,
    graph: ModelGraph,
    sites: Sequence[Site],
    seen: Sequence[TensorRecord],
    samples: _Samples,
    train_accuracy: float | None,
) -> Facts:
    """Return what a diagnosis wants to know beside the metrics."""
    broken = [graph.by_id[tensor.node].layer for tensor in seen if tensor.finite < 1]
    first, largest = _first_with_weights(graph, seen)
    return Facts(
        activations={site.layer: site.activation for site in sites},
        not_finite=tuple(dict.fromkeys(broken)),
        largest_input=largest,
        first_layer=first,
        rows=len(samples.y),
        train_rows=0 if samples.y_train is None else len(samples.y_train),
        train_accuracy=train_accuracy,
        sums_to_one=named.shares,
        takes_logits=_takes_logits(named.model),
    )


def _labels(y: Any) -> np.ndarray:
    labels = np.asarray(y)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or not (np.issubdtype(labels.dtype, np.number) or labels.dtype == bool):
        raise DatasetError(
            f"Labels must be whole numbers from 0, one a sample. Got {labels.dtype} of shape {labels.shape}."
        )
    whole = labels.astype(np.int64)
    if (whole != labels).any() or (whole < 0).any():
        raise DatasetError(
            "Labels must be whole numbers from 0: this looks like a regression, and health is for classifiers."
        )
    return whole


def _outputs(model: keras.Model, x: np.ndarray) -> np.ndarray:
    """Return what a model gives for samples, (n, classes)."""
    batches = (x[start : start + BATCH] for start in range(0, len(x), BATCH))
    return np.concatenate([np.asarray(model(_tensor(batch), training=False)) for batch in batches])


def _tensor(x: np.ndarray) -> Any:
    """Return samples as a tensor; texts as one of strings."""
    return tf.constant(x.tolist(), tf.string) if x.dtype.kind in "OUS" else x


def _signal(rows: int, seed: int) -> Any:
    """Return a loss that sends random numbers back from the logits, whatever the labels and the loss's own value.

    A trained model has next to no loss; its gradient says nothing of whether a gradient could pass.
    """

    def loss(_: Any, outputs: Any) -> Any:
        logits = getattr(outputs, "_keras_logits", None)  # what Keras' own loss takes after a softmax or a sigmoid
        if logits is None:
            several = outputs.shape[-1] > 1 and are_shares(outputs.numpy())
            logits = tf.math.log(tf.maximum(outputs, 1e-30)) if several else outputs
        numbers = np.random.default_rng(seed).standard_normal((rows, logits.shape[-1]))
        if logits.shape[-1] > 1:
            numbers -= numbers.mean(1, keepdims=True)  # so that it passes a logarithm of shares unchanged
        return tf.reduce_sum(tf.cast(numbers, logits.dtype) * logits)

    return loss


def _first_with_weights(graph: ModelGraph, seen: Sequence[TensorRecord]) -> tuple[str | None, float | None]:
    """Return the first layer that has weights and multiplies by them, and the largest value that reaches it."""
    sizes = {(one.node, one.port): max(abs(one.minimum), abs(one.maximum)) for one in seen}
    for edge in graph.edges:
        info = graph.layers[graph.by_id[edge.target].layer]
        kind = layer_kind(info, graph.by_id[edge.target].kind).name
        if kind in ("normalization", "embedding", "preprocessing") and info.parameters:
            return None, None
        if kind in ("dense", "convolution", "recurrent") and info.parameters:
            return info.id, sizes.get((edge.source, edge.port))
    return None, None


def _takes_logits(model: keras.Model) -> bool | None:
    """Return whether the loss that a model was compiled with takes logits; None where that is not known."""
    loss = getattr(model, "loss", None)
    if loss in ("sparse_categorical_crossentropy", "categorical_crossentropy", "binary_crossentropy"):
        return False
    return getattr(loss, "from_logits", None)


def _units(sites: Sequence[Site], seen: Sequence[TensorRecord]) -> Iterator[Units]:
    tensors = {tensor.node: tensor for tensor in seen if tensor.port == 0}
    for site in sites:
        tensor = tensors.get(site.node)
        if tensor is not None:
            yield Units(layer=site.layer, mean=tensor.unit_mean, std=tensor.unit_std, finite=tensor.finite)


def _flow(sites: Sequence[Site], seen: Sequence[TensorRecord]) -> list[tuple[str, float]]:
    norms = {tensor.node: tensor.gradient_norm for tensor in seen if tensor.port == 0}
    return [(site.layer, norms.get(site.node) or 0.0) for site in sites if site.node in norms]


def _saturated(sites: Sequence[Site], seen: Sequence[TensorRecord]) -> Iterator[tuple[str, float]]:
    """Yield, for layers with a saturating activation, the share of units whose derivative is next to nothing."""
    tensors = {tensor.node: tensor for tensor in seen if tensor.port == 0}
    for site in sites:
        kind, tensor = SATURATING.get(site.activation), tensors.get(site.node)
        if kind is None or tensor is None or tensor.finite < 1:
            continue
        square = tensor.unit_mean**2 + tensor.unit_std**2
        slope = 1 - square if kind == "tanh" else 4 * (tensor.unit_mean - square)
        yield site.layer, float((slope < FLAT).mean())


def _history(history: Any) -> dict[str, list[float]]:
    """Return what a history holds, by name: the two curves that are looked at, and empty ones."""
    if history is None:
        return {}
    values = getattr(history, "history", history)
    if not hasattr(values, "keys"):
        raise ConfigError(
            f"history must be what fit() returned, a mapping or a DataFrame. Got {type(history).__name__}."
        )
    found: dict[str, list[float]] = {str(name): [] for name in values.keys()}  # noqa: SIM118  of a DataFrame too
    for name in CURVES:
        if name in found:
            try:
                curve = np.asarray(values[name], dtype=float)
            except (TypeError, ValueError):
                curve = np.zeros((0, 0))
            if curve.ndim != 1:
                raise ConfigError(f"history[{name!r}] must hold a number an epoch.")
            found[name] = curve.tolist()
    return found
