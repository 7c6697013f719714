"""EpochLoop: trains a compiled Keras model in few calls of one TensorFlow graph.

``Model.fit`` builds a training and an evaluation graph, wraps the data in a pipeline and returns to Python after every
step. For the small models of a search that fixed cost is most of a trial. The loop compiles one function that carries
out many steps of gathering a batch, gradient and update, and returns to Python a few times a second, to look whether to
go on. It computes what ``fit`` computes, with the model's own loss and the optimizer's own update.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from hpoviz.training.gradient_norm import squared_norm
from hpoviz.training.graph_optimiser import graph_optimiser

__all__ = ["EpochFigures", "EpochLoop", "why_fit"]

CALL_S = 0.25  # so much work is asked of one call: the longest time until a stop is seen
FIRST_STEPS = 4
# TensorFlow's graph optimiser takes 0.1 to 0.2 s a model. Measured on 14 CNNs it then saves about 4% of a step of some
# milliseconds, which pays after about a thousand steps; on an LSTM, whose steps are loops in loops, it saves 20%.
FEW_STEPS = 1000
MOST_BYTES = 2e9  # the loop holds the training data in memory
VALIDATION_BATCH = 256
ACCURACIES = ("accuracy", "acc", "sparse_categorical_accuracy")
BATCH_HOOKS = ("on_train_batch_begin", "on_train_batch_end", "on_test_batch_begin", "on_test_batch_end")


@dataclasses.dataclass(frozen=True)
class EpochFigures:
    """What one epoch of training gave.

    Attributes
    ----------
    loss, accuracy : float
        Means over the samples, while the weights were changing.
    gradient_norms : dict of str to float
        By layer: root mean square, over the steps, of the norm of the gradient of its weights.
    """

    loss: float
    accuracy: float
    gradient_norms: dict[str, float]


def why_fit(model: keras.Model, callbacks: Sequence[keras.callbacks.Callback], x: np.ndarray) -> str | None:
    """Return why a model must be trained on `x` by ``Model.fit``, or None if the loop does the same.

    Where there is a GPU, Keras compiles by XLA on its own account: there only the loop's plain graph is used.

    Examples
    --------
    >>> model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(2, "softmax")])
    >>> model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    >>> why_fit(model, [], np.zeros((4, 2))) is None
    True
    >>> model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"], run_eagerly=True)
    >>> why_fit(model, [], np.zeros((4, 2)))
    'it runs eagerly'
    """
    on_cpu = not tf.config.list_physical_devices("GPU")
    outputs = getattr(model, "outputs", None)
    own = [name for name in ("train_step", "test_step", "compute_loss") if _overrides(model, name, keras.Model)]
    base = keras.callbacks.Callback
    hooks = [type(item).__name__ for item in callbacks for name in BATCH_HOOKS if _overrides(item, name, base)]
    metrics = [str(name) for name in _metric_names(model) if name not in ACCURACIES]
    devices = model.distribute_strategy.num_replicas_in_sync
    reasons = {
        f"it trains on {devices} devices": devices > 1,
        "it runs eagerly": model.run_eagerly,
        "it is compiled by XLA": model.jit_compile is True and on_cpu,
        "it has a strategy for several devices": tf.distribute.has_strategy() or keras.distribution.distribution(),
        "it has several outputs": isinstance(outputs, list) and len(outputs) != 1,
        f"it has a {own[0] if own else ''} of its own": own,
        f"callback {hooks[0] if hooks else ''} looks at batches": hooks,
        f"it reports {metrics[0] if metrics else ''}": metrics,
        "its loss is weighted": _is_weighted(model),
        f"its data take {x.nbytes / 1e9:.1f} GB": x.nbytes > MOST_BYTES,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


class EpochLoop:
    """Trains one model, epoch by epoch.

    Parameters
    ----------
    model : keras.Model
        Compiled, for integer labels, with its weights made; `why_fit` has nothing against it.
    x : ndarray, (n, …)
    y : ndarray of int, (n,)
    batch_size : int
    seed : int
        Of the order of the samples, which is another in every epoch.
    epochs : int
        How many are planned. Where that is little work for a model without recurrent layers, its graph is run as it is
        and not optimised first.
    class_weights : ndarray, (classes,), optional
        Of the samples' losses, as ``class_weight`` of ``Model.fit``. None: all equal.

    Examples
    --------
    >>> model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(2, "softmax")])
    >>> model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    >>> x = np.array([[0.0, 1.0], [1.0, 0.0]] * 8, "float32")
    >>> loop = EpochLoop(model, x, np.array([0, 1] * 8), batch_size=4, seed=0, epochs=1)
    >>> figures = loop.train_epoch(lambda step, steps, loss, accuracy: None)
    >>> 0 <= figures.accuracy <= 1, list(figures.gradient_norms) == [model.layers[0].name]
    (True, True)
    """

    def __init__(
        self,
        model: keras.Model,
        x: np.ndarray,
        y: np.ndarray,
        *,
        batch_size: int,
        seed: int,
        epochs: int,
        class_weights: np.ndarray | None = None,
    ) -> None:
        self._model, self._optimizer = model, model.optimizer
        self._optimizer.build(model.trainable_variables)
        self._layers = [_layer_name(variable, model) for variable in model.trainable_variables]
        self._x, self._y = tf.convert_to_tensor(x), tf.convert_to_tensor(y, tf.int32)
        self._class_weights = None if class_weights is None else tf.constant(class_weights, tf.float32)
        self._samples, self._batch_size, self._steps_an_epoch = len(x), batch_size, -(-len(x) // batch_size)
        recurrent = any(isinstance(layer, keras.layers.RNN) for layer in model._flatten_layers())
        self._optimise_graph = recurrent or epochs * self._steps_an_epoch >= FEW_STEPS
        self._order = np.random.default_rng(seed)
        self._pace = FIRST_STEPS
        whole = [tf.TensorSpec([None], tf.int32), tf.TensorSpec([], tf.int32), tf.TensorSpec([], tf.int32)]
        self._steps = tf.function(self._run_steps, input_signature=whole, autograph=False)
        self._evaluators: dict[int, Any] = {}

    def train_epoch(
        self, look: Callable[[int, int, float, float], None], order: np.ndarray | None = None
    ) -> EpochFigures:
        """Train one epoch.

        Parameters
        ----------
        look : callable
            Called as ``look(step, steps, loss, accuracy)`` a few times a second, with the means so far; what it raises
            ends the epoch. A loss that is not finite ends the call in which it came, and is shown to it.
        order : ndarray of int, (n,), optional
            The order of the samples. None: a random one.
        """
        chosen = self._order.permutation(self._samples) if order is None else order
        rows = tf.constant(chosen, tf.int32)
        steps = self._steps_an_epoch
        step, sums, squares = 0, np.zeros(3), np.zeros(len(self._layers))
        while step < steps:
            began, traced = time.perf_counter(), bool(self._steps.experimental_get_tracing_count())
            upto = min(steps, step + self._pace)
            with graph_optimiser(self._optimise_graph):
                reached, *figures, squared = self._steps(rows, tf.constant(step), tf.constant(upto))
            done = int(reached)
            sums += [float(figure) for figure in figures]
            squares += squared.numpy()
            if traced:
                took = max(time.perf_counter() - began, 1e-4)
                self._pace = int(np.clip((done - step) * CALL_S / took, 1, 4 * self._pace))
            step = done
            loss, accuracy = (sums[:2] / sums[2]).tolist()
            look(step, steps, loss, accuracy)
        return EpochFigures(loss, accuracy, self._norms(squares / steps))

    def evaluate(self, x: np.ndarray, y: np.ndarray, look: Callable[[], None]) -> tuple[float, float]:
        """Return mean loss and accuracy on other samples; `look` is called between calls."""
        loss = hits = 0.0
        for low in range(0, len(x), VALIDATION_BATCH):
            part = slice(low, low + VALIDATION_BATCH)
            size = len(x[part])
            with graph_optimiser(self._optimise_graph):
                sums = self._evaluator(x.dtype)(tf.convert_to_tensor(x[part]), tf.convert_to_tensor(y[part], tf.int32))
            loss, hits = loss + size * float(sums[0]), hits + float(sums[1])
            look()
        return loss / len(x), hits / len(x)

    def _evaluator(self, dtype: np.dtype[Any]) -> Any:
        key = hash(dtype)
        if key not in self._evaluators:
            samples = tf.TensorSpec([None, *self._x.shape[1:]], tf.as_dtype(dtype))
            signature = [samples, tf.TensorSpec([None], tf.int32)]
            self._evaluators[key] = tf.function(self._run_evaluation, input_signature=signature, autograph=False)
        return self._evaluators[key]

    def _run_steps(self, rows: Any, start: Any, stop: Any) -> Any:
        """Carry out steps `start` to `stop` of an epoch; in a graph."""
        model, batch_size = self._model, self._batch_size

        def step(index: Any, loss: Any, hits: Any, seen: Any, squares: Any) -> Any:
            batch = rows[index * batch_size : (index + 1) * batch_size]  # the last one is what is left
            x, y = tf.gather(self._x, batch), tf.gather(self._y, batch)
            weights = None if self._class_weights is None else tf.gather(self._class_weights, y)
            with tf.GradientTape() as tape:
                outputs = model(x, training=True)
                mean_loss = model.compute_loss(x=x, y=y, y_pred=outputs, sample_weight=weights, training=True)
                scaled = self._optimizer.scale_loss(mean_loss)
            gradients = tape.gradient(scaled, model.trainable_variables)
            self._optimizer.apply(gradients, model.trainable_variables)
            size = tf.cast(tf.size(batch), tf.float32)
            squares += tf.stack([squared_norm(gradient) for gradient in gradients])
            loss += size * tf.cast(mean_loss, tf.float32)
            return index + 1, loss, hits + _hits(y, outputs), seen + size, squares

        def go_on(index: Any, loss: Any, *_: Any) -> Any:
            return (index < stop) & tf.math.is_finite(loss)

        zeros = [tf.constant(0.0), tf.constant(0.0), tf.constant(0.0), tf.zeros([len(self._layers)])]
        return tf.while_loop(go_on, step, [start, *zeros], parallel_iterations=1)

    def _run_evaluation(self, x: Any, y: Any) -> Any:
        outputs = self._model(x, training=False)
        loss = self._model.compute_loss(x=x, y=y, y_pred=outputs, training=False)
        return tf.cast(loss, tf.float32), _hits(y, outputs)

    def _norms(self, squares: np.ndarray) -> dict[str, float]:
        """Return the root of the sum of each layer's mean squares."""
        sums: dict[str, float] = dict.fromkeys(self._layers, 0.0)
        for name, square in zip(self._layers, squares, strict=True):
            sums[name] += float(square)
        return {name: float(np.sqrt(total)) for name, total in sums.items()}


def _overrides(thing: Any, name: str, base: type) -> bool:
    """Tell whether an object has a method of its own in place of Keras'."""
    method = getattr(type(thing), name)
    return method is not getattr(base, name) and not method.__module__.startswith("keras.")


def _metric_names(model: keras.Model) -> list[Any]:
    compiled = model._compile_metrics
    return list(compiled._user_metrics or []) if compiled is not None else []


def _is_weighted(model: keras.Model) -> bool:
    compiled = model._compile_loss
    return compiled is not None and compiled._user_loss_weights is not None


def _layer_name(variable: keras.Variable, model: keras.Model) -> str:
    """Return the name of the layer that a weight belongs to, as ``conv_1`` of ``cnn/conv_1/kernel``."""
    return str(variable.path.removeprefix(f"{model.name}/").rsplit("/", 1)[0])


def _hits(y: Any, outputs: Any) -> Any:
    """Return how many samples have their largest output at their label."""
    right = tf.equal(tf.cast(y, tf.int64), tf.argmax(outputs, -1))
    return tf.reduce_sum(tf.cast(right, tf.float32))
