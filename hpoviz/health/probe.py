"""Probe: one compiled look into a model, forward with samples and back from the logits with a random signal."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import tree

from hpoviz.architecture.keras_adapter import graph_with_weights, replay
from hpoviz.architecture.model_graph import ModelGraph
from hpoviz.architecture.palette import layer_kind
from hpoviz.data.inputs import as_tensors, rows_of, sample_count
from hpoviz.errors import DatasetError, ModelBuildError
from hpoviz.health.layer_metrics import active_units
from hpoviz.health.losses import REGRESSIONS, loss_name
from hpoviz.health.observation import LayerLook
from hpoviz.health.sites import SATURATING, hidden_sites
from hpoviz.instrument import are_shares, unchanged
from hpoviz.training.graph_optimiser import graph_optimiser

__all__ = ["MOST_NUMBERS", "Look", "Probe", "numbers_a_sample"]

BATCH = 256
MOST_NUMBERS = 60_000_000  # activations that are held at a time, and as many gradients
FLAT = 0.02  # share of its largest derivative below which a unit is saturated
MOST_OF_RANK = 512  # samples and positions that the rank of a layer's output is found from


@dataclasses.dataclass(frozen=True, eq=False)
class Look:
    """What a probe saw: of each hidden layer, and the model's outputs, (n, classes)."""

    layers: tuple[LayerLook, ...]
    outputs: np.ndarray
    finite: bool  # of all that was looked at
    largest_input: float | None


class Probe:
    """Looks into a classifier as often as it is asked; its weights may change between looks.

    Parameters
    ----------
    model : keras.Model
        Built, with one output of (n, classes).
    x : ndarray, or list, tuple or dict of ndarray
        Samples, some of which are sent through the model at once to see what it gives.
    seed : int
        Of the signal that is sent back.

    Raises
    ------
    ModelBuildError
        As `graph_of`, and for samples that the model does not take.
    DatasetError
        The model gives something else than (n, classes), or was compiled for a regression.

    Attributes
    ----------
    outputs : int
        How many numbers the model gives for each sample.

    Examples
    --------
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, "relu", name="d"), keras.layers.Dense(2)])
    >>> x = np.random.default_rng(0).normal(size=(200, 4)).astype("float32")
    >>> look = Probe(model, x).look(x)
    >>> look.outputs.shape, [layer.layer for layer in look.layers]
    ((200, 2), ['d'])
    """

    def __init__(self, model: keras.Model, x: Any, *, seed: int = 0) -> None:
        self.model, self._seed = model, seed
        self.graph, owned = graph_with_weights(model, as_tensors(rows_of(x, slice(1))))
        self.owners = {id(weight): layer for layer, weight in owned}  # by weight, the id of the layer that holds it
        self.sites = hidden_sites(self.graph)
        self._fixed = _batch_size(model)
        some = _padded(rows_of(x, slice(self._fixed or 64)), self._fixed)
        with unchanged(model):
            outputs = replay(model, as_tensors(some), watch=lambda node, tensors: tensors)
        if len(outputs) != 1 or len(outputs[0].shape) != 2:
            shapes = ", ".join(str(tuple(output.shape)) for output in outputs)
            raise DatasetError(
                f"{model.name!r} is no classifier with one output: it gives {shapes} for {sample_count(some)} samples, "
                f"and ({sample_count(some)}, classes) is needed."
            )
        self.outputs = int(outputs[0].shape[1])
        self.tolerance = 1e-3 if outputs[0].dtype.size > 2 else 2e-2  # of the sum of shares
        self._shares = are_shares(outputs[0].numpy().astype(float), self.tolerance)
        _refuse_regression(model, self.outputs, self._shares)
        self.first_layer, self._entry = first_with_weights(self.graph)
        self.takes_words = _takes_words(self.graph)
        self._keeps_states = any(getattr(layer, "stateful", False) for layer in model._flatten_layers())
        self._traced = True
        sample = tree.map_structure(
            lambda array: tf.TensorSpec(
                [self._fixed, *array.shape[1:]], tf.string if array.dtype.kind in "OUS" else tf.as_dtype(array.dtype)
            ),
            x,
        )
        signal = tf.TensorSpec([self._fixed, self.outputs], tf.float32)
        self._pass = tf.function(self._run, input_signature=[sample, signal], autograph=False)
        self._step = self._fixed or int(np.clip(MOST_NUMBERS // max(numbers_a_sample(self.graph), 1), 1, BATCH))

    @property
    def classes(self) -> int:
        """How many classes the model tells apart; with one output two."""
        return max(self.outputs, 2)

    def look(self, x: Any) -> Look:
        """Send samples through the model, and a signal back.

        Parameters
        ----------
        x : ndarray, (n, …), or a structure of them
            As the probe was made with.
        """
        chance = np.random.default_rng(self._seed)
        parts = []
        with contextlib.ExitStack() as around:
            around.enter_context(graph_optimiser(False))
            if not self._keeps_states:
                around.enter_context(unchanged(self.model))
            for start in range(0, sample_count(x), self._step):
                some = _padded(rows_of(x, slice(start, start + self._step)), self._fixed)
                count = sample_count(some)
                signal = chance.standard_normal((count, self.outputs))
                if self.outputs > 1:
                    signal -= signal.mean(1, keepdims=True)  # so that it passes a logarithm of shares unchanged
                parts.append([count, *self._look_at(as_tensors(some), tf.constant(signal, tf.float32))])
        counts = np.array([part[0] for part in parts], dtype=float)
        outputs = np.concatenate([part[1] for part in parts])[: sample_count(x)]
        layers = tuple(
            self._layer(number, counts, [part[2][number] for part in parts]) for number in range(len(self._seen))
        )
        largest = max(float(part[3]) for part in parts) if self._entry is not None else None
        finite = bool(np.isfinite(outputs).all()) and all(layer.finite == 1 for layer in layers)
        return Look(layers, outputs, finite, largest)

    def _look_at(self, x: Any, signal: Any) -> list[Any]:
        """Look at a batch, in a graph if the model can be traced."""
        with unchanged(self.model) if self._keeps_states else contextlib.nullcontext():
            if self._traced:
                try:
                    return [_arrays(one) for one in self._pass(x, signal)]
                except ModelBuildError:
                    if not self.model.run_eagerly:
                        raise
                    self._traced = False  # what it computes depends on values
            return [_arrays(one) for one in self._run(x, signal)]

    def _run(self, x: Any, signal: Any) -> Any:
        """Look at a batch."""
        wanted = {site.node for site in self.sites}
        found: dict[str, Any] = {}
        entry: list[Any] = []
        with tf.GradientTape(watch_accessed_variables=False) as tape:

            def watch(node: str, outputs: list[Any]) -> list[Any]:
                if node in wanted and outputs[0].dtype.is_floating:
                    tape.watch(outputs[0])
                    found[node] = outputs[0]
                if self._entry is not None and node == self._entry[0]:
                    entry.append(outputs[self._entry[1]])
                return outputs

            (outputs,) = replay(self.model, x, watch=watch)
            logits = getattr(outputs, "_keras_logits", None)  # what Keras' own loss takes after a softmax or a sigmoid
            if logits is None:
                several = self._shares and self.outputs > 1
                logits = tf.math.log(tf.maximum(outputs, 1e-30)) if several else outputs
            value = tf.reduce_sum(tf.cast(signal, logits.dtype) * logits)
        self._seen = [site for site in self.sites if site.node in found]
        tensors = [found[site.node] for site in self._seen]
        gradients = tape.gradient(value, tensors)
        layers = [
            _of_layer(tensor, gradient, SATURATING.get(site.activation))
            for site, tensor, gradient in zip(self._seen, tensors, gradients, strict=True)
        ]
        largest = tf.reduce_max(tf.abs(tf.cast(entry[0], tf.float32))) if entry else tf.constant(0.0)
        return outputs, layers, largest

    def _layer(self, number: int, counts: np.ndarray, parts: list[list[np.ndarray]]) -> LayerLook:
        """Put together what was seen of a layer in several batches."""
        site = self._seen[number]
        scales = np.array([part[2] for part in parts])[:, None]
        means = scales * np.array([part[0] for part in parts])
        variances = scales**2 * np.array([part[1] for part in parts])
        shares = (counts / counts.sum())[:, None]
        mean = (shares * means).sum(0)
        std = np.sqrt((shares * (variances + (means - mean) ** 2)).sum(0))
        bad = float(sum(part[3] for part in parts))
        flat = float((shares[:, 0] * [part[4] for part in parts]).sum())
        total = float(sum(part[7] for part in parts))
        finite = 1.0 if bad == 0 else 1 - bad / total
        return LayerLook(
            layer=site.layer,
            activation=site.activation,
            units=len(mean),
            active=int(active_units(mean, std).sum()),
            finite=finite,
            gradient_norm=float(np.sqrt(np.sum([part[5] for part in parts]))),
            saturated=flat if finite == 1 and site.activation in SATURATING else None,
            effective_units=float(parts[0][6]) if finite == 1 and counts[0] > 1 else None,
        )


def _refuse_regression(model: keras.Model, outputs: int, shares: bool) -> None:
    """Raise DatasetError for one number a sample that is no share of a class, with the loss of a regression."""
    activation = getattr(model.layers[-1], "activation", None) if model.layers else None
    if outputs > 1 or loss_name(model) not in REGRESSIONS or (shares and activation is not keras.activations.linear):
        return
    raise DatasetError(
        f"{model.name!r} is no classifier: it gives one number a sample and was compiled with the loss "
        f"{loss_name(model)}, which is for a regression. Health is for models that end with an output for each class, "
        "or with one output and a loss such as binary_crossentropy."
    )


def numbers_a_sample(graph: ModelGraph) -> int:
    """Return how many numbers all nodes of a graph give out for one sample."""
    return sum(
        math.prod(length or 1 for length in tensor.shape or ()) for node in graph.nodes for tensor in node.outputs
    )


def _batch_size(model: keras.Model) -> int | None:
    """Return the number of samples that a model must be given at a time; None where any will do."""
    inputs = getattr(model, "inputs", None)
    return inputs[0].shape[0] if inputs and len(inputs[0].shape) else None


def _padded(x: Any, size: int | None) -> Any:
    """Return samples, the last repeated, so that there are as many as a model takes."""
    count = sample_count(x)
    return x if size is None or count == size else rows_of(x, np.minimum(np.arange(size), count - 1))


def _takes_words(graph: ModelGraph) -> bool:
    """Tell whether numbers of words enter a model, which know no small noise."""
    kinds = {node.id: layer_kind(graph.layers[node.layer], node.kind).name for node in graph.nodes}
    return any(graph.by_id[edge.source].kind == "input" and kinds[edge.target] == "embedding" for edge in graph.edges)


def first_with_weights(graph: ModelGraph) -> tuple[str | None, tuple[str, int] | None]:
    """Return the first layer that has weights and multiplies by them, and the node and port that enter it.

    Nothing, where something before it scales, or where numbers of words enter.
    """
    for edge in graph.edges:
        info = graph.layers[graph.by_id[edge.target].layer]
        kind = layer_kind(info, graph.by_id[edge.target].kind).name
        if kind in ("normalization", "embedding", "preprocessing") and info.parameters:
            return None, None
        if kind in ("dense", "convolution", "recurrent") and info.parameters:
            return info.id, (edge.source, edge.port)
    return None, None


def _of_layer(tensor: Any, gradient: Any, ends: str | None) -> list[Any]:
    """Return what is kept of a layer: units' means, variances and scale, values not finite, share flat, …

    … the squared gradient, the rank and the number of values. `ends` is "tanh" or "sigmoid" for an activation that is
    flat at its ends.
    """
    values = tf.cast(tensor, tf.float32)
    if len(values.shape) > 3 and keras.backend.image_data_format() == "channels_first":
        values = keras.ops.moveaxis(values, 1, -1)
    good = tf.math.is_finite(values)
    bad = tf.reduce_sum(tf.cast(tf.logical_not(good), tf.float32))
    values = tf.where(good, values, 0.0)
    flat = tf.constant(0.0)
    if ends is not None:
        slope = 1 - tf.square(values) if ends == "tanh" else 4 * values * (1 - values)
        flat = tf.reduce_mean(tf.cast(slope < FLAT, tf.float32))
    squared = tf.constant(0.0) if gradient is None else tf.reduce_sum(tf.square(tf.cast(gradient, tf.float32)))
    scale = tf.maximum(tf.reduce_max(tf.abs(values)), 1e-30)  # so that squares neither overflow nor vanish
    units = tf.reshape(values / scale, [-1, values.shape[-1]])
    mean, variance = tf.nn.moments(units, [0])
    some = units[:: tf.shape(units)[0] // MOST_OF_RANK + 1] - mean
    products = tf.matmul(some, some, transpose_b=True)
    rank = tf.math.divide_no_nan(tf.square(tf.linalg.trace(products)), tf.reduce_sum(tf.square(products)))
    return [mean, variance, scale, bad, flat, squared, rank, tf.cast(tf.size(values), tf.float32)]


def _arrays(value: Any) -> Any:
    return tf.nest.map_structure(lambda tensor: tensor.numpy().astype(np.float64), value)
