"""One recording of what flows through a model, forward and backward, for its health and for its pictures."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import tree

from hpoviz.architecture.keras_adapter import graph_with_weights, replay
from hpoviz.architecture.recording import ChannelMaps, Recording, TensorRecord, WeightRecord
from hpoviz.errors import ConfigError, DatasetError, nearest
from hpoviz.training.gradient_norm import squared_norm

__all__ = ["MAP_SIDE", "SEQUENCE_SIDE", "are_shares", "record", "shrunk", "unchanged"]

MAP_SIDE, SEQUENCE_SIDE = 32, 64
Loss = Callable[[Any, Any], Any]


def record(
    model: keras.Model,
    x: Any,
    y: Any = None,
    *,
    training: bool = False,
    loss: Loss | None = None,
    maps: Collection[str] = (),
    channels: int = 8,
) -> Recording:
    """Send samples through a model, and what the loss says back, and record what is seen at every node.

    Works on every model that `graph_of` reads; of a model that Keras cannot trace only the outputs and the weights
    are seen. Nothing is trained, and no metric is changed.

    Parameters
    ----------
    model : keras.Model
        Built.
    x : array, or list, tuple or dict of arrays
        Samples, the first axis counts them; one is enough.
    y : array, optional
        Labels, as the loss takes them. Without, nothing is sent back.
    training : bool
        Whether layers behave as in training (Dropout, BatchNormalization).
    loss : callable, optional
        ``loss(y, outputs)`` → scalar tensor. By default that which the model was compiled with; for one that was not,
        the cross-entropy of whole-number labels.
    maps : collection of str
        Ids of nodes whose channels shall be kept as pictures.
    channels : int
        How many channels of an image are kept, those with the largest mean absolute value.

    Returns
    -------
    Recording

    Raises
    ------
    ModelBuildError
        Not a Keras model, one that has not been built, or samples that it does not take.
    DatasetError
        No samples, or not as many labels.
    ConfigError
        A node in `maps` that does not exist.

    Examples
    --------
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, "relu", name="d"), keras.layers.Dense(2)])
    >>> seen = record(model, np.ones((5, 4), "float32"), np.zeros(5, int))
    >>> [tensor.shape for tensor in seen.tensors], len(seen.weights)
    ([(5, 4), (5, 3), (5, 2)], 4)
    """
    began = time.perf_counter()
    samples = _count(x, y)
    if channels < 1:
        raise ConfigError(f"channels must be at least 1. Got {channels!r}.")
    graph, owned = graph_with_weights(model, x)
    if unknown := next((name for name in maps if name not in graph.by_id), None):
        raise ConfigError(f"maps names a node that is not there: {unknown!r}.{nearest(unknown, graph.by_id)}")
    seen: list[tuple[str, int, Any]] = []
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        trained = [(layer, weight) for layer, weight in owned if weight.trainable and _is_real(weight.value)]
        tape.watch([weight.value for _, weight in trained])

        def watch(node: str, outputs: list[Any]) -> list[Any]:
            for port, tensor in enumerate(outputs):
                if _is_real(tensor):
                    tape.watch(tensor)
                seen.append((node, port, tensor))
            return outputs

        with unchanged(model):
            outputs = replay(model, x, training=training, watch=watch)
            value = None if y is None else _loss(model, loss, x, y, outputs)
    real = [item for item in seen if _is_real(item[2])]
    if value is None:
        gradients: list[Any] = [None] * (len(real) + len(trained))
    else:
        gradients = tape.gradient(value, [tensor for *_, tensor in real] + [weight.value for _, weight in trained])
        with unchanged(model):
            at_outputs = _gradients_at_outputs(model, loss, x, y, outputs)
        for number, (*_, tensor) in enumerate(real):
            if gradients[number] is None:
                gradients[number] = at_outputs.get(id(tensor))
    norms = _norms(gradients)
    of_tensor = {(node, port): norm for (node, port, _), norm in zip(real, norms, strict=False)}
    of_weight = {id(weight): norm for (_, weight), norm in zip(trained, norms[len(real) :], strict=True)}
    return Recording(
        samples=samples,
        training=training,
        loss=None if value is None else float(value),
        outputs=tuple(_first(output) for output in outputs),
        tensors=tuple(
            _tensor_record(node, port, _array(tensor), of_tensor.get((node, port)))
            for node, port, tensor in seen
            if _has_numbers(tensor)
        ),
        weights=tuple(_weight_record(layer, weight, of_weight.get(id(weight))) for layer, weight in owned),
        maps=tuple(
            _maps(node, _array(tensor), channels)
            for node, port, tensor in seen
            if node in maps and port == 0 and _has_numbers(tensor)
        ),
        seconds=time.perf_counter() - began,
    )


def _count(x: Any, y: Any) -> int:
    arrays = tree.flatten(x)
    counts = {len(array) for array in arrays}
    if len(counts) != 1 or counts == {0}:
        raise DatasetError(f"x must hold at least one sample, as many for each input. Got {sorted(counts)}.")
    (count,) = counts
    wrong = [len(array) for array in tree.flatten(y) if np.ndim(array) and len(array) != count] if y is not None else []
    if wrong:
        raise DatasetError(f"y must hold a label for each sample: {count}. Got {wrong[0]}.")
    return count


@contextlib.contextmanager
def unchanged(model: keras.Model) -> Iterator[None]:
    """Put back what a pass changes: running averages, seeds, states of recurrent layers, metrics."""
    kept = [layer.states for layer in model._flatten_layers() if getattr(layer, "stateful", False)]
    variables = [*model.non_trainable_variables, *model.metrics_variables, *tree.flatten(kept)]
    before = [(one, one.numpy()) for one in variables if one.dtype != "string"]
    try:
        yield
    finally:
        for variable, value in before:
            if not np.array_equal(variable.numpy(), value):
                variable.assign(value)


def _has_numbers(tensor: Any) -> bool:
    return bool((tensor.dtype.is_floating or tensor.dtype.is_integer) and all(tensor.shape))


def _is_real(tensor: Any) -> bool:
    return bool(tensor.dtype.is_floating)


def _loss(model: keras.Model, loss: Loss | None, x: Any, y: Any, outputs: Sequence[Any]) -> Any:
    given = outputs[0] if len(outputs) == 1 else list(outputs)
    if loss is not None:
        return tf.reduce_sum(loss(y, given))
    if model.compiled:
        return model.compute_loss(x=x, y=tree.map_structure(tf.convert_to_tensor, y), y_pred=given)
    if len(outputs) > 1:
        raise ConfigError(
            f"{model.name!r} has {len(outputs)} outputs and is not compiled: give loss=, or compile it with its losses."
        )
    if outputs[0].shape[-1] == 1:
        two = keras.losses.BinaryCrossentropy(from_logits=not are_shares(outputs[0].numpy()))
        return two(tf.reshape(tf.convert_to_tensor(y), (-1, 1)), given)
    entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=not are_shares(outputs[0].numpy()))
    return entropy(tf.convert_to_tensor(y), given)


def are_shares(outputs: np.ndarray, tolerance: float = 1e-3) -> bool:
    """Tell whether a classifier's outputs, (n, classes) or (n, 1), are probabilities.

    Parameters
    ----------
    outputs : ndarray
    tolerance : float
        How far from 1 their sum may be; larger for numbers of 16 bits.

    Examples
    --------
    >>> are_shares(np.array([[0.25, 0.75]])), are_shares(np.array([[0.25]])), are_shares(np.array([[0.25, 0.5]]))
    (True, True, False)
    """
    low, high = outputs.min(initial=0.0), outputs.max(initial=0.0)
    if outputs.shape[-1] == 1:
        return bool(low >= 0 and high <= 1)
    return bool(low >= 0 and (np.abs(outputs.sum(-1) - 1) < tolerance).all())


def _gradients_at_outputs(
    model: keras.Model, loss: Loss | None, x: Any, y: Any, outputs: Sequence[Any]
) -> dict[int, Any]:
    """Return the gradients of the loss by the model's own outputs.

    After a softmax, Keras' loss goes back past the probabilities to the logits, and a tape says nothing of the output.
    """
    free = [tf.identity(output) for output in outputs]
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch([output for output in free if _is_real(output)])
        value = _loss(model, loss, x, y, free)
    gradients = tape.gradient(value, free)
    return {id(output): gradient for output, gradient in zip(outputs, gradients, strict=True)}


def _norms(gradients: Sequence[Any]) -> list[float | None]:
    known = [squared_norm(gradient) for gradient in gradients if gradient is not None]
    values = iter(np.sqrt(tf.stack(known).numpy()).tolist() if known else [])
    return [None if gradient is None else next(values) for gradient in gradients]


def _array(tensor: Any) -> np.ndarray:
    array: np.ndarray = tensor.numpy()
    return array if array.dtype in (np.float32, np.float64) else array.astype(np.float32)


def _first(output: Any) -> tuple[float, ...]:
    return tuple(float(value) for value in np.ravel(_array(output)[0])[:1000]) if output.dtype.is_floating else ()


def _tensor_record(node: str, port: int, array: np.ndarray, gradient_norm: float | None) -> TensorRecord:
    finite = np.isfinite(array)
    share = float(finite.mean()) if array.size else 1.0
    if share < 1:
        array = np.where(finite, array, 0.0)
    units = array.reshape(-1, array.shape[-1]) if array.ndim > 1 else array.reshape(-1, 1)
    if _channels_first(array):
        units = np.moveaxis(array, 1, -1).reshape(-1, array.shape[1])
    mean, std = units.mean(0, dtype=np.float64), units.std(0, dtype=np.float64)
    size = np.abs(units)
    return TensorRecord(
        node=node,
        port=port,
        shape=tuple(array.shape),
        mean=float(mean.mean()),
        std=float(units.std(dtype=np.float64)),
        mean_abs=float(size.mean(dtype=np.float64)),
        minimum=float(units.min()),
        maximum=float(units.max()),
        zeros=float((units == 0).mean()),
        finite=share,
        gradient_norm=gradient_norm,
        unit_mean=mean.astype(np.float32),
        unit_std=std.astype(np.float32),
        unit_peak=size.max(0).astype(np.float32),
    )


def _channels_first(array: np.ndarray) -> bool:
    return array.ndim > 3 and keras.backend.image_data_format() == "channels_first"


def _weight_record(layer: str, weight: Any, gradient_norm: float | None) -> WeightRecord:
    values = np.asarray(weight.value, dtype=np.float64) if weight.dtype != "string" else np.zeros(0)
    norm = float(np.linalg.norm(values.ravel()))
    return WeightRecord(
        layer=layer, name=weight.name, shape=tuple(weight.shape), norm=norm, gradient_norm=gradient_norm
    )


def _maps(node: str, array: np.ndarray, channels: int) -> ChannelMaps:
    """Return pictures of the first sample."""
    sample = np.where(np.isfinite(array[0]), array[0], 0.0).astype(np.float64)  # sums may be too large for 32 bits
    if _channels_first(array):
        sample = np.moveaxis(sample, 0, -1)
    if sample.ndim >= 3:
        sample = sample.reshape(sample.shape[0], -1, sample.shape[-1])
        order = np.argsort(-np.abs(sample).mean((0, 1)), kind="stable")[:channels]
        kind, pictures = "image", shrunk(np.moveaxis(sample[..., order], -1, 0), MAP_SIDE)
    else:
        kind = "sequence" if sample.ndim == 2 else "vector"
        order = np.arange(sample.shape[-1] if sample.ndim else 1)
        pictures = shrunk(sample.reshape(1, -1, len(order)), SEQUENCE_SIDE)
    low, high = float(pictures.min()), float(pictures.max())
    scaled = (pictures - low) / (high - low if high > low else 1.0)
    return ChannelMaps(
        node=node,
        kind=kind,
        channels=tuple(int(channel) for channel in order),
        values=np.round(255 * scaled).astype(np.uint8),
        low=low,
        high=high,
    )


def shrunk(pictures: np.ndarray, side: int) -> np.ndarray:
    """Return pictures averaged down to at most `side` rows and columns."""
    for axis in (1, 2):
        length = pictures.shape[axis]
        if length > side:
            starts = np.linspace(0, length, side, endpoint=False).astype(int)
            counts = np.diff([*starts, length])
            shape = [1, 1, 1]
            shape[axis] = side
            pictures = np.add.reduceat(pictures, starts, axis) / counts.reshape(shape)
    return pictures
