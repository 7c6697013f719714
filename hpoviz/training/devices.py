"""Several devices for one trial: what each of them takes of a batch, and what is scaled.

A copy of the model on each device takes its share of every batch, their gradients are added, and all copies take the
same step (TensorFlow's MirroredStrategy). How batches are shared out is ours: Keras would leave devices without samples
in an uneven last batch, where batch normalisation gives NaN, and would weigh the shares alike whatever their size.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from hpoviz.errors import BackendError, ConfigError
from hpoviz.models.model_config import ModelConfig
from hpoviz.models.trial_model import TrialModel

__all__ = ["Devices"]

# Earlier ones add the losses of the devices where they should be averaged (keras-team/keras pull request 20609).
FIRST_KERAS = (3, 8)
VALIDATION_BATCH = 256
MOST_ROWS = 20_000_000  # of all orders of the samples together, 80 MB; in longer trainings they come again


@dataclasses.dataclass(frozen=True)
class Devices:
    """The devices that a trial is trained on, the first of this machine.

    Attributes
    ----------
    count : int
        How many, at least 1.
    scale_batch : bool
        Whether each device takes a whole ``batch_size``, and the learning rate is raised (`rate_factor`). Otherwise
        they share it, and what comes out is that of one device.

    Examples
    --------
    >>> Devices(1).shares(10, batch_size=4)
    [[4], [4], [2]]
    >>> Devices(2).shares(11, batch_size=4)
    [[2, 2], [2, 2], [2, 1]]
    """

    count: int = 1
    scale_batch: bool = False

    @property
    def several(self) -> bool:
        """Whether there are more than one."""
        return self.count > 1

    def scope(self) -> contextlib.AbstractContextManager[Any]:
        """Return the context in which a model must be built and compiled, and in which nothing else need be.

        Raises
        ------
        BackendError
            There are not so many devices, or Keras cannot do it.
        """
        return _strategy(self.count).scope() if self.several else contextlib.nullcontext()

    def rate_factor(self, config: TrialModel) -> float:
        """Return what a trial's learning rate is multiplied by when its batch is scaled.

        The number of devices k for SGD: k batches of the old size then move the weights as far as one of the new size
        [1]_. Its square root for optimizers that divide each gradient by its own size, Adam, AdamW and RMSprop: there
        the noise of a step must keep its share [2]_. The rules do not hold where the loss changes quickly, in the first
        epochs of a large learning rate, for which [1]_ begins lower (we do not), and not for batches of thousands.

        References
        ----------
        .. [1] P. Goyal et al.: Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour. arXiv:1706.02677, 2017.
        .. [2] S. Malladi et al.: On the SDEs and Scaling Rules for Adaptive Gradient Algorithms. NeurIPS 2022. Their
           rule also changes the optimizer's own averages (its beta and epsilon); ours leaves them as they are.

        Examples
        --------
        >>> from hpoviz.models.cnn import CnnConfig
        >>> four = Devices(4, scale_batch=True)
        >>> four.rate_factor(CnnConfig(optimizer="sgd")), four.rate_factor(CnnConfig(optimizer="adam"))
        (4.0, 2.0)
        """
        if not self.several or not self.scale_batch:
            return 1.0
        return float(self.count if getattr(config, "optimizer", None) == "sgd" else math.sqrt(self.count))

    def scaled(self, config: TrialModel) -> TrialModel:
        """Return the config to train with: that of the trial, or one with its batch and its learning rate scaled.

        Raises
        ------
        ConfigError
            It has no learning rate that could be scaled.
        """
        if not self.several or not self.scale_batch:
            return config
        if not isinstance(config, ModelConfig):
            raise ConfigError(
                "scale_batch scales batch_size and learning_rate of a model family, and a model of your own sets its "
                "learning rate itself. Use scale_batch=False, or multiply batch_size and learning rate yourself."
            )
        rate, size = config.learning_rate * self.rate_factor(config), config.batch_size * self.count
        return dataclasses.replace(config, learning_rate=rate, batch_size=size)

    def described(self, config: TrialModel) -> str:
        """Say in brackets how a batch of the config that is trained is shared out; nothing for one device."""
        if not self.several:
            return ""
        size = self._whole(config.batch_size)
        rate = f", learning rate times {self.rate_factor(config):.3g}" if self.scale_batch else ""
        return f" ({size} samples a step, {size // self.count} on each{rate})"

    def shares(self, samples: int, *, batch_size: int) -> list[list[int]]:
        """Return how many samples each device takes in each step of an epoch.

        All steps but the last take as many samples as can be shared evenly; what is left is shared as evenly as it can
        be. Of fewer samples than there are devices, every device takes all.
        """
        size = min(self._whole(batch_size), max(self._whole(samples), 1))
        steps = [[size // self.count] * self.count] * (samples // size)
        left = samples % size
        if left >= self.count:
            steps.append([left // self.count + (device < left % self.count) for device in range(self.count)])
        elif left:
            steps.append([left] * self.count)
        return steps

    def fit_arguments(
        self,
        train: tuple[np.ndarray, np.ndarray],
        validation: tuple[np.ndarray, np.ndarray] | None,
        *,
        batch_size: int,
        epochs: int,
        seed: int,
        class_weights: np.ndarray | None,
    ) -> dict[str, Any]:
        """Return the data and their settings as ``Model.fit`` takes them.

        For several devices the samples come in the order of the compiled loop with the same seed; every device has some
        in every step, and each counts the same in the gradient of its batch, whatever the share that it is in.

        Parameters
        ----------
        train : (x, y)
        validation : (x, y), optional
        batch_size : int
            Of all devices together.
        epochs, seed : int
        class_weights : ndarray, (classes,), optional
        """
        if not self.several:
            by_class = None if class_weights is None else dict(enumerate(class_weights.tolist()))
            whole = {"x": train[0], "y": train[1], "validation_data": validation, "class_weight": by_class}
            return {**whole, "batch_size": batch_size, "epochs": epochs}
        shared = self._training(train, batch_size, epochs, seed, class_weights)
        if validation is not None:
            shared |= self._validation(validation)
        return {**shared, "epochs": epochs, "shuffle": False}

    def _training(
        self,
        train: tuple[np.ndarray, np.ndarray],
        batch_size: int,
        epochs: int,
        seed: int,
        class_weights: np.ndarray | None,
    ) -> dict[str, Any]:
        samples, order = len(train[0]), np.random.default_rng(seed)
        steps = self.shares(samples, batch_size=batch_size)
        orders = min(epochs, max(1, MOST_ROWS // samples))
        rows = [self._rows(order.permutation(samples), steps) for _ in range(orders)]
        weights = np.ones(int(train[1].max()) + 1) if class_weights is None else class_weights
        return {"x": self._distributed(train, rows, steps, weights), "steps_per_epoch": len(steps)}

    def _validation(self, validation: tuple[np.ndarray, np.ndarray]) -> dict[str, Any]:
        times, size = self._validation_batch(len(validation[0]))
        rows = np.tile(np.arange(len(validation[0])), times)
        steps = self.shares(len(rows), batch_size=size)
        return {"validation_data": self._distributed(validation, [rows], steps, None), "validation_steps": len(steps)}

    @contextlib.contextmanager
    def joined(self, model: keras.Model) -> Iterator[None]:
        """Have batch normalisation normalise by the samples of all devices while a model is trained.

        Else each copy would keep running averages of its own, and one of them be saved.
        """
        layers = model._flatten_layers() if self.several else []
        apart = [one for one in layers if isinstance(one, keras.layers.BatchNormalization) and not one.synchronized]
        for layer in apart:
            layer.synchronized = True
        try:
            yield
        finally:
            for layer in apart:
                layer.synchronized = False

    def _whole(self, size: int) -> int:
        """Return the largest number of samples up to `size` that can be shared evenly, at least one a device."""
        return max(self.count, size - size % self.count)

    def _validation_batch(self, samples: int) -> tuple[int, int]:
        """Return how often all samples are taken, and how many in a step, so that all count the same."""
        sizes = range(self._whole(VALIDATION_BATCH), self.count - 1, -self.count)
        fit = (size for size in sizes if size <= samples and (samples % size == 0 or samples % size >= self.count))
        size = next(fit, None)
        return (self.count, self.count * samples) if size is None else (1, size)

    def _rows(self, order: np.ndarray, steps: list[list[int]]) -> np.ndarray:
        """Return the samples of one epoch in the order in which the devices take them."""
        before = sum(map(sum, steps[:-1]))
        last = order[before:]
        return order if len(last) == sum(steps[-1]) else np.concatenate([order[:before], np.tile(last, self.count)])

    def _distributed(
        self,
        data: tuple[np.ndarray, np.ndarray],
        rows: list[np.ndarray],
        steps: list[list[int]],
        class_weights: np.ndarray | None,
    ) -> Any:
        """Return the data as `Model.fit` takes them from a strategy: share after share, epoch after epoch, for ever.

        Keras averages the mean losses of the devices; the weights of the samples make that the mean of the batch.
        """
        sizes = np.array([size for step in steps for size in step] * len(rows))
        weights = np.array([self.count * size / sum(step) for step in steps for size in step] * len(rows), np.float32)
        ends = np.cumsum(sizes)
        with tf.device("CPU:0"):  # a GPU need not hold all of it
            x, y = tf.convert_to_tensor(data[0]), tf.convert_to_tensor(data[1], tf.int32)
            order = tf.convert_to_tensor(np.concatenate(rows), tf.int32)
            of_class = None if class_weights is None else tf.convert_to_tensor(class_weights, tf.float32)

        def share(start: Any, end: Any, weight: Any) -> tuple[Any, ...]:
            chosen = order[start:end]
            labels = tf.gather(y, chosen)
            taken = tf.gather(x, chosen), labels
            return taken if of_class is None else (*taken, weight * tf.gather(of_class, labels))

        def pipeline(_: Any) -> Any:
            shares = tf.data.Dataset.from_tensor_slices((ends - sizes, ends, weights)).repeat()
            return shares.map(share, num_parallel_calls=2).prefetch(2 * self.count)

        return _strategy(self.count).distribute_datasets_from_function(pipeline)


@functools.cache
def _strategy(count: int) -> Any:
    """Return the strategy for the first devices: one a process, as each keeps threads and buffers of its own."""
    if tuple(map(int, keras.__version__.split(".")[:2])) < FIRST_KERAS:
        raise BackendError(
            f"Training on several devices needs Keras {FIRST_KERAS[0]}.{FIRST_KERAS[1]} or later. Got Keras "
            f"{keras.__version__}. Install a later one on the worker, or train on one device."
        )
    kind = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
    devices = tf.config.list_logical_devices(kind)
    if len(devices) < count:
        found = f"{len(devices)} {kind}{'s' if len(devices) > 1 else ''}" if kind == "GPU" else "no GPU"
        raise BackendError(
            f"The trial is to train on {count} GPUs, and its worker has {found}. Give the workers {count} GPUs each "
            "(on RunPod: GPUs per worker, on the endpoint's page), or set gpus_per_worker to what they have."
        )
    return tf.distribute.MirroredStrategy([device.name for device in devices[:count]])
