"""LayerWatch: looks at every layer while a trial trains, and at the predictions at its end, for its figures."""

from __future__ import annotations

import contextlib
import math
import traceback
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from hpoviz.architecture.keras_adapter import graph_with_weights, replay
from hpoviz.architecture.palette import layer_kind
from hpoviz.data.inputs import as_tensors, rows_of
from hpoviz.errors import DatasetError, HpovizError
from hpoviz.health.layer_metrics import active_units
from hpoviz.health.probe import MOST_NUMBERS, numbers_a_sample
from hpoviz.instrument import MAP_SIDE, SEQUENCE_SIDE, shrunk, unchanged
from hpoviz.models.user_model import as_probabilities
from hpoviz.store.run_store import write_atomically
from hpoviz.training.gradient_norm import squared_norm
from hpoviz.training.graph_optimiser import graph_optimiser
from hpoviz.training_record import RECORD_FILE, Histograms, Predictions, TrainingRecord, evenly, histograms

__all__ = ["LayerWatch"]

ROWS = 64
MOST_LOOKS = 32  # after epochs: with more epochs only each second, third, … is looked at
MOST_LAYERS, MOST_PICTURES, CHANNELS = 48, 12, 8
MOST_VALUES = 8192  # of a tensor that are counted
MOST_PREDICTIONS = 100_000
BATCH = 256
KINDS_OF = {0: "vector", 1: "vector", 2: "sequence", 3: "image"}  # by the rank of what a layer gives for a sample
SILENT_KINDS = ("input", "preprocessing", "regularization", "reshaping")  # they say nothing of their own


class LayerWatch(keras.callbacks.Callback):  # type: ignore[misc]
    """A Keras callback that keeps a TrainingRecord.

    What goes wrong while it looks is not the trial's fault: it is trained all the same, and the record says why
    something is missing.

    Parameters
    ----------
    x, y : ndarray
        Validation samples and their labels, as the model takes them.
    epochs : int
        How many are planned.
    seed : int
        Of the choice of samples.

    Examples
    --------
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, "softmax", name="d")])
    >>> model.compile("adam", "sparse_categorical_crossentropy")
    >>> x, y = np.random.default_rng(0).normal(size=(90, 4)).astype("float32"), np.arange(90) % 3
    >>> watch = LayerWatch(x, y, epochs=2, seed=0)
    >>> _ = model.fit(x, y, epochs=2, verbose=0, callbacks=[watch])
    >>> watch.predict()
    >>> watch.record.epochs.tolist(), watch.record.layers, watch.record.predictions.labels.shape
    ([0, 1, 2], ['d'], (90,))
    """

    def __init__(self, x: np.ndarray, y: np.ndarray, *, epochs: int, seed: int) -> None:
        super().__init__()
        self._x, self._y, self._every = x, y, -(-epochs // MOST_LOOKS)
        self._last, self._seed = epochs, seed
        self._looks: list[tuple[int, Any]] = []
        self._predictions: Predictions | None = None
        self.problem: str | None = None

    def on_train_begin(self, logs: Any = None) -> None:
        """Look at the model before it is trained."""
        self._guarded(self._begin)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Look at the model, if it is time."""
        if (epoch + 1) % self._every == 0 or epoch + 1 == self._last:
            self._guarded(lambda: self._look(epoch + 1))

    def predict(self) -> None:
        """Keep what the model, with its weights as they are now, says of the validation samples."""
        self._guarded(self._predict)

    @property
    def record(self) -> TrainingRecord:
        """What was seen so far."""
        looks = [seen for _, seen in self._looks]
        layers, pictures = (self._layers, self._pictures) if looks else ([], [])
        tensors = self._tensors if looks else []

        def column(name: str, dtype: type) -> np.ndarray:
            return np.array([seen[name] for seen in looks], dtype).reshape(
                len(looks), len(looks[0][name]) if looks else 0
            )

        def joined(name: str) -> Histograms:
            return Histograms.joined([seen[name] for seen in looks])

        return TrainingRecord(
            epochs=np.array([epoch for epoch, _ in self._looks], np.int32),
            rows=self._rows if looks else 0,
            layers=layers,
            activations=joined("activations"),
            mean=column("mean", np.float32),
            std=column("std", np.float32),
            zeros=column("zeros", np.float32),
            silent=column("silent", np.int32),
            units=np.array(looks[0]["units"] if looks else [], np.int32),
            tensors=tensors,
            weights=joined("weights"),
            gradients=joined("gradients"),
            gradient_norms=column("gradient_norms", np.float32),
            pictures=pictures,
            kinds=[KINDS_OF[rank] for rank in looks[0]["ranks"]] if looks else [],
            sample=self._sample if looks else 0,
            maps=[np.stack([seen["maps"][at] for seen in looks]) for at in range(len(pictures))],
            map_low=column("map_low", np.float32),
            map_high=column("map_high", np.float32),
            predictions=self._predictions,
            problem=self.problem,
        )

    def save(self, folder: Path) -> None:
        """Write the record into the trial's folder; one that cannot be made, or written, is no reason to fail."""
        for _ in range(2):  # the second time it says only why there is nothing
            try:
                write_atomically(folder / RECORD_FILE, self.record.to_bytes())
                return
            except Exception as error:
                self.problem = f"it could not be kept: {type(error).__name__}: {error}"
                self._looks, self._predictions = [], None
                traceback.print_exc()

    def _begin(self) -> None:
        rows = self._chosen(ROWS)
        graph, owned = graph_with_weights(self.model, as_tensors(rows_of(self._x, rows[:1])))
        rows = rows[: max(1, MOST_NUMBERS // max(numbers_a_sample(graph), 1))]
        self._rows, self._sample = len(rows), int(rows[0])
        rows = np.resize(rows, self._fixed_batch() or len(rows))
        self._some = as_tensors(rows_of(self._x, rows)), tf.constant(self._y[rows], tf.int32)
        trained = [(layer, weight) for layer, weight in owned if weight.trainable and weight.dtype != "string"]
        self._owned = [trained[at] for at in evenly(len(trained), 2 * MOST_LAYERS)]
        self._tensors = [(layer, str(weight.name)) for layer, weight in self._owned]
        kinds = {node.id: layer_kind(graph.layers[node.layer], node.kind).name for node in graph.nodes}
        wanted = [node for node in graph.nodes if node.kind == "layer" and kinds[node.id] not in SILENT_KINDS]
        calls = [node.layer for node in wanted]
        named = {node.id: node.layer if calls.count(node.layer) == 1 else node.id for node in wanted}
        self._nodes = {wanted[at].id: named[wanted[at].id] for at in evenly(len(wanted), MOST_LAYERS)}
        drawn = [node.id for node in wanted if node.id in self._nodes and kinds[node.id] != "normalization"]
        self._drawn = {drawn[at] for at in evenly(len(drawn), MOST_PICTURES)}
        self._compiled = None if self.model.run_eagerly else tf.function(self._run, autograph=False)
        self._look(0)

    def _look(self, epoch: int) -> None:
        with graph_optimiser(False), unchanged(self.model):
            layers, maps, gradients = (self._compiled or self._run)(*self._some)
        self._looks.append((epoch, self._seen(layers, maps, gradients)))

    def _run(self, x: Any, y: Any) -> Any:
        """Send samples through the model, and the gradient of their loss back."""
        found: dict[str, Any] = {}
        values = [weight.value for _, weight in self._owned]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(values)

            def watch(node: str, outputs: list[Any]) -> list[Any]:
                if node in self._nodes and outputs[0].dtype.is_floating:
                    found[node] = outputs[0]
                return outputs

            outputs = replay(self.model, x, watch=watch)
            if len(outputs) != 1 or len(outputs[0].shape) != 2:
                raise DatasetError(f"{self.model.name!r} is no classifier with one output.")
            loss = self.model.compute_loss(x=x, y=y, y_pred=outputs[0], training=False)
            scale = self.model.optimizer.scale_loss(tf.constant(1.0))  # as in training: 16 bits hold no small gradients
            scaled = loss * tf.cast(scale, loss.dtype)
        gradients = tape.gradient(scaled, values)
        self._layers = [self._nodes[node] for node in found]
        self._pictures = [self._nodes[node] for node in found if node in self._drawn]
        return (
            [_of_layer(tensor) for tensor in found.values()],
            [_of_sample(tensor) for node, tensor in found.items() if node in self._drawn],
            [_of_gradient(gradient, scale) for gradient in gradients],
        )

    def _seen(self, layers: Any, maps: Any, gradients: Any) -> dict[str, Any]:
        """Return what one look keeps: numbers and small arrays."""
        pictures = [_picture(tensor.numpy()) for tensor in maps]
        units = [(mean.numpy(), std.numpy()) for _, _, mean, std in layers]
        return {
            "activations": histograms([[some.numpy() for some, *_ in layers]]),
            "mean": [float(mean.mean()) for mean, _ in units],
            "std": [float(np.sqrt(np.square(std).mean() + mean.var())) for mean, std in units],
            "zeros": [float(zeros) for _, zeros, *_ in layers],
            "units": [len(mean) for mean, _ in units],
            "silent": [int((~active_units(mean, std)).sum()) for mean, std in units],
            "weights": histograms([[_some_of(np.asarray(weight.value, np.float32)) for _, weight in self._owned]]),
            "gradients": histograms([[some.numpy() for some, _ in gradients]]),
            "gradient_norms": [float(norm) for _, norm in gradients],
            "ranks": [min(len(tensor.shape), 3) for tensor in maps],
            "maps": [picture for picture, _, _ in pictures],
            "map_low": [low for _, low, _ in pictures],
            "map_high": [high for _, _, high in pictures],
        }

    def _predict(self) -> None:
        """Predict in batches; by a graph where there is much to do, or a recurrent layer, which is slow without."""
        rows, model = self._chosen(MOST_PREDICTIONS), self.model

        def call(x: Any) -> Any:
            return model(x, training=False)

        recurrent = any(isinstance(layer, keras.layers.RNN) for layer in model._flatten_layers())
        by_graph = (recurrent or len(rows) > 16 * BATCH) and not model.run_eagerly
        fixed = self._fixed_batch()
        step, outputs, tolerance = fixed or BATCH, [], 1e-3
        run = tf.function(call, autograph=False, reduce_retracing=True) if by_graph else call
        with graph_optimiser(False), unchanged(model):
            for start in range(0, len(rows), step):
                part = rows[start : start + step]
                batch = as_tensors(rows_of(self._x, np.resize(part, step) if fixed else part))
                found = run(batch)
                tolerance = 1e-3 if found.dtype.size > 2 else 2e-2
                outputs.append(np.asarray(found, np.float64)[: len(part)])
        shares = as_probabilities(np.concatenate(outputs), tolerance)
        labels, predicted = np.asarray(self._y)[rows].astype(np.int32), shares.argmax(1).astype(np.int32)
        if not np.isfinite(shares).all():
            raise DatasetError("the model gives probabilities that are not finite.")
        at = np.arange(len(rows))
        self._predictions = Predictions(
            rows=rows.astype(np.int32),
            labels=labels,
            predicted=predicted,
            confidence=shares[at, predicted].astype(np.float32),
            of_label=shares[at, labels].astype(np.float32),
        )

    def _fixed_batch(self) -> int | None:
        """Return how many samples the model must be given at a time; None where any number will do."""
        inputs = getattr(self.model, "inputs", None)
        return inputs[0].shape[0] if inputs else None

    def _chosen(self, most: int) -> np.ndarray:
        """Return the rows of all samples, or of so many by chance, in their order."""
        count = len(self._y)
        return (
            np.arange(count) if count <= most else np.sort(np.random.default_rng(self._seed).permutation(count)[:most])
        )

    def _guarded(self, look: Any) -> None:
        if self.problem is not None:
            return
        try:
            look()
        except HpovizError as error:
            self.problem = str(error)
        except Exception as error:  # whatever a user's own layers raise in another graph than that of their training
            self.problem = f"{type(error).__name__}: {error}"
            with contextlib.suppress(ValueError):  # standard error may be closed
                traceback.print_exc()


def _some_of(values: Any) -> Any:
    """Return at most `MOST_VALUES` of the values of an array or a tensor, evenly chosen.

    The step has no factor in common with the size, and so with no axis: else it would always meet the same channels.
    """
    size = math.prod(length or 1 for length in values.shape)
    step = max(1, -(-size // MOST_VALUES))
    while math.gcd(step, size) > 1:
        step += 1
    flat = values.reshape(-1) if isinstance(values, np.ndarray) else tf.reshape(values, [-1])
    return flat[::step]


def _of_layer(tensor: Any) -> list[Any]:
    """Return some values, the share of zeros, and the mean and the standard deviation of each unit."""
    values = tf.cast(tensor, tf.float32)
    if len(values.shape) > 3 and keras.backend.image_data_format() == "channels_first":
        values = keras.ops.moveaxis(values, 1, -1)
    finite = tf.where(tf.math.is_finite(values), values, 0.0)
    mean, variance = tf.nn.moments(tf.reshape(finite, [-1, finite.shape[-1]]), [0])
    return [_some_of(values), tf.reduce_mean(tf.cast(values == 0, tf.float32)), mean, tf.sqrt(variance)]


def _of_sample(tensor: Any) -> Any:
    """Return what a layer says of the first sample, with few channels: (height, width, channels), (steps, units) or …

    … (units,).
    """
    sample = tf.cast(tensor[0], tf.float32)
    if len(sample.shape) == 3 and keras.backend.image_data_format() == "channels_first":
        sample = keras.ops.moveaxis(sample, 0, -1)
    if len(sample.shape) > 3:
        sample = tf.reshape(sample, [sample.shape[0], -1, sample.shape[-1]])
    if len(sample.shape) == 3:
        sample = tf.gather(sample, evenly(sample.shape[-1], CHANNELS), axis=-1)
    return sample


def _picture(sample: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Return pictures of 8 bits, (channels, height, width), and the values that 0 and 255 stand for."""
    values = np.nan_to_num(sample.astype(np.float64), posinf=0.0, neginf=0.0)
    if values.ndim == 3:
        pictures = shrunk(np.moveaxis(values, -1, 0), MAP_SIDE)
    else:
        pictures = shrunk(values.reshape(1, -1, values.shape[-1] if values.ndim else 1), SEQUENCE_SIDE)
    low, high = float(pictures.min()), float(pictures.max())
    scaled = (pictures - low) / (high - low if high > low else 1.0)
    return np.round(255 * scaled).astype(np.uint8), low, high


def _of_gradient(gradient: Any, scale: Any) -> list[Any]:
    """Return some values and the norm; of an embedding the values of the words that there were."""
    if gradient is None:
        return [tf.zeros([1]), tf.constant(0.0)]
    values = gradient.values if isinstance(gradient, tf.IndexedSlices) else gradient
    return [_some_of(tf.cast(values, tf.float32)) / scale, tf.sqrt(squared_norm(gradient)) / scale]
