"""HealthAnalyzer: looks inside a trained classifier with one pass of data, and says how healthy it is."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from hpoviz.architecture.keras_adapter import graph_of, replay
from hpoviz.architecture.recording import Recording
from hpoviz.data.dataset import Dataset
from hpoviz.data.splitting import sample_rows, split_rows
from hpoviz.errors import ConfigError, DatasetError
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
from hpoviz.instrument import record

__all__ = ["HealthAnalyzer"]

BATCH = 256
VALIDATION = 0.2
NOISE = 0.1  # standard deviation of the noise, as a share of that of the data
FLAT = 0.02  # share of its largest derivative below which a unit is saturated
HISTORY = ("loss", "accuracy", "val_loss", "val_accuracy")


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
    >>> report.accuracy_consistency.value, report.training_stability.reason
    (0.0, 'There is no history of the training.')
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
        classes = self._check_outputs(model, samples)
        seen = record(model, _tensor(samples.x), samples.y, loss=_signal(len(samples.y), self._seed))
        losses = _history(history)
        trivial = trivial_loss(samples.labels)
        metrics = [
            neuron_utilization(list(_units(sites, seen)), len(samples.y)),
            self._efficiency(model, samples),
            training_stability(losses.get("loss"), trivial),
            gradient_health([_flow(sites, seen)], dict(_saturated(sites, seen))),
            convergence_quality(losses.get("loss"), trivial, losses.get("val_loss")),
            self._consistency(model, samples, classes),
        ]
        if "loss" not in losses and history is not None:
            reason = f"The history has no loss by epoch: it holds {', '.join(map(repr, losses)) or 'nothing'}."
            metrics = [dataclasses.replace(one, reason=reason) if one.name in OF_HISTORY else one for one in metrics]
        return HealthReport(
            model=model.name,
            metrics={metric.name: metric for metric in metrics},
            findings=(),
            weights=self._weights,
            rows=len(samples.y),
            seconds=time.perf_counter() - began,
        )

    def _samples(self, data: Any) -> _Samples:
        if isinstance(data, Dataset):
            train, val = split_rows(data.y, VALIDATION, self._seed, what="validation_fraction", groups=data.groups)
            parts: Any = ((data.x[train], data.y[train]), (data.x[val], data.y[val]))
        else:
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

    def _some(self, x: Any, y: Any) -> tuple[Any, np.ndarray]:
        labels = _labels(y)
        if not len(labels) or len(x) != len(labels):
            raise DatasetError(
                f"data must hold a label for each sample, and some. Got {len(x)} samples, {len(labels)} labels."
            )
        if len(labels) <= self._rows:
            return np.asarray(x), labels
        rows = np.sort(sample_rows(labels, self._rows, self._seed))
        return np.asarray(x)[rows], labels[rows]

    def _check_outputs(self, model: keras.Model, samples: _Samples) -> int:
        """Return the number of classes."""
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
        return classes

    def _consistency(self, model: keras.Model, samples: _Samples, classes: int) -> Metric:
        predicted = _predicted(model, samples.x)
        agreement = None
        if np.issubdtype(samples.x.dtype, np.floating) or samples.x.dtype == np.uint8:
            noise = np.random.default_rng(self._seed).standard_normal(samples.x.shape)
            noisy = samples.x + NOISE * float(np.std(samples.x)) * noise
            agreement = float((_predicted(model, noisy.astype(np.float32)) == predicted).mean())
        train = (
            None if samples.y_train is None else float((_predicted(model, samples.x_train) == samples.y_train).mean())
        )
        return accuracy_consistency(samples.y, predicted, agreement=agreement, train_accuracy=train, seed=self._seed)

    def _efficiency(self, model: keras.Model, samples: _Samples) -> Metric:
        """Prune the smallest weights, in place, and put them back."""
        before = model.get_weights()
        kernels = [weight for weight in model.trainable_weights if len(weight.shape) > 1]
        values = [np.asarray(weight.value) for weight in kernels]
        sizes = np.concatenate([np.abs(value).ravel() for value in values]) if values else np.zeros(0)
        counts = np.bincount(samples.y)

        def accuracy_at(share: float) -> float:
            edge = np.quantile(sizes, share)
            for weight, value in zip(kernels, values, strict=True):
                weight.assign(np.where(np.abs(value) <= edge, 0, value))
            return float((_predicted(model, samples.x) == samples.y).mean())

        try:
            accuracy = float((_predicted(model, samples.x) == samples.y).mean())
            return parameter_efficiency(accuracy_at, accuracy, len(samples.y), float(counts.max() / counts.sum()))
        finally:
            model.set_weights(before)


OF_HISTORY = ("training_stability", "convergence_quality")


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


def _predicted(model: keras.Model, x: np.ndarray) -> np.ndarray:
    """Return the class that a model names for each sample."""
    batches = (x[start : start + BATCH] for start in range(0, len(x), BATCH))
    parts = [np.asarray(model(_tensor(batch), training=False)) for batch in batches]
    outputs = np.concatenate(parts)
    if outputs.shape[1] == 1:
        return (outputs[:, 0] > 0.5).astype(np.int64)
    return np.asarray(np.nan_to_num(outputs, nan=-np.inf).argmax(1))


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
            total = tf.reduce_sum(outputs, -1)
            is_share = bool(tf.reduce_all(outputs >= 0)) and bool(tf.reduce_all(tf.abs(total - 1) < 1e-3))
            logits = tf.math.log(tf.maximum(outputs, 1e-30)) if is_share else outputs
        numbers = np.random.default_rng(seed).standard_normal((rows, logits.shape[-1]))
        if logits.shape[-1] > 1:
            numbers -= numbers.mean(1, keepdims=True)  # so that it passes a logarithm of shares unchanged
        return tf.reduce_sum(tf.cast(numbers, logits.dtype) * logits)

    return loss


def _units(sites: Sequence[Site], seen: Recording) -> Iterator[Units]:
    tensors = {tensor.node: tensor for tensor in seen.tensors if tensor.port == 0}
    for site in sites:
        tensor = tensors.get(site.node)
        if tensor is not None:
            yield Units(layer=site.layer, mean=tensor.unit_mean, std=tensor.unit_std, finite=tensor.finite)


def _flow(sites: Sequence[Site], seen: Recording) -> list[tuple[str, float]]:
    norms = {tensor.node: tensor.gradient_norm for tensor in seen.tensors if tensor.port == 0}
    return [(site.layer, norms.get(site.node) or 0.0) for site in sites if site.node in norms]


def _saturated(sites: Sequence[Site], seen: Recording) -> Iterator[tuple[str, float]]:
    """Yield, for layers with a saturating activation, the share of units whose derivative is next to nothing."""
    tensors = {tensor.node: tensor for tensor in seen.tensors if tensor.port == 0}
    for site in sites:
        kind, tensor = SATURATING.get(site.activation), tensors.get(site.node)
        if kind is None or tensor is None or tensor.finite < 1:
            continue
        square = tensor.unit_mean**2 + tensor.unit_std**2
        slope = 1 - square if kind == "tanh" else 4 * (tensor.unit_mean - square)
        yield site.layer, float((slope < FLAT).mean())


def _history(history: Any) -> dict[str, list[float]]:
    """Return the curves of a history by name."""
    if history is None:
        return {}
    values = getattr(history, "history", history)
    if not hasattr(values, "keys"):
        raise ConfigError(
            f"history must be what fit() returned, a mapping or a DataFrame. Got {type(history).__name__}."
        )
    found = {}
    for name in values.keys():  # noqa: SIM118  a DataFrame iterates over its columns too, a mapping over its keys
        curve = np.asarray(values[name], dtype=float)
        if curve.ndim != 1:
            raise ConfigError(f"history[{name!r}] must hold a number an epoch. Got shape {curve.shape}.")
        found[str(name)] = curve.tolist()
    return found
