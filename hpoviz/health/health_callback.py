"""HealthCallback: watches a model's layers while `fit` trains it."""

from __future__ import annotations

import time
from typing import Any

import keras
import numpy as np

from hpoviz.data.inputs import rows_of
from hpoviz.errors import ConfigError
from hpoviz.health.assessment import assess
from hpoviz.health.history import curves_of
from hpoviz.health.observation import Observation, Snapshot
from hpoviz.health.observing import observe
from hpoviz.health.probe import BATCH, Probe
from hpoviz.health.report import HealthReport
from hpoviz.health.samples import ROWS, samples_of
from hpoviz.health.weights import CLASSIC_WEIGHTS

__all__ = ["HealthCallback"]


class HealthCallback(keras.callbacks.Callback):  # type: ignore[misc]
    """A Keras callback that looks at the hidden layers before training and after epochs.

    What vanished in the first epochs is not seen in the trained model. `HealthAnalyzer.analyze` takes it into account
    when it is given the callback in place of the history.

    Parameters
    ----------
    data : Dataset, or (x, y), or ((x_train, y_train), (x_val, y_val))
        As for `HealthAnalyzer.analyze`.
    every : int
        Looks after every so many epochs, and after the last one.
    seed : int
        Of the samples and of the signal that is sent back.

    Attributes
    ----------
    snapshots : list of Snapshot
        One a look.
    history : dict of str to list of float
        As that of ``fit``.

    Raises
    ------
    ConfigError
        `every` is no whole number of at least 1.
    DatasetError
        Data that `HealthAnalyzer.analyze` would not take.

    Examples
    --------
    >>> import hpoviz
    >>> data = hpoviz.load_dataset("digits")
    >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(16, "relu"),
    ...                           keras.layers.Dense(10, "softmax")])
    >>> model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    >>> watch = HealthCallback(data)
    >>> _ = model.fit(data.x, data.y, epochs=2, verbose=0, callbacks=[watch])
    >>> [snapshot.epoch for snapshot in watch.snapshots]
    [0, 1, 2]
    """

    def __init__(self, data: Any, *, every: int = 1, seed: int = 0) -> None:
        super().__init__()
        if isinstance(every, bool) or not isinstance(every, int) or every < 1:
            raise ConfigError(f"every must be a whole number of at least 1. Got {every!r}.")
        self._samples = samples_of(data, ROWS, seed)
        self._every, self._seed = every, seed
        self._probe: Probe | None = None
        self.snapshots: list[Snapshot] = []
        self.history: dict[str, list[float]] = {}

    @property
    def report(self) -> HealthReport:
        """The health of the model as it is now, by the classic weights."""
        began = time.perf_counter()
        seen = self.observe()
        return assess(seen, weights=CLASSIC_WEIGHTS, seconds=time.perf_counter() - began)

    def observe(self, epoch: int | None = None) -> Observation:
        """Return what the health of the model as it is now is computed from: plain numbers that can be kept as JSON.

        Parameters
        ----------
        epoch : int, optional
            After how many epochs its weights were as they are; by default the last.
        """
        if self._probe is None:
            raise ConfigError("Nothing was trained yet: give this callback to model.fit(…, callbacks=[…]) first.")
        curves = curves_of(self.history)
        return observe(self._probe, self._samples, history=curves, earlier=self.snapshots, epoch=epoch, seed=self._seed)

    def on_train_begin(self, logs: Any = None) -> None:
        """Look at the model before it is trained."""
        self.snapshots.clear()
        self.history.clear()
        self._probe = Probe(self.model, self._samples.x, seed=self._seed)
        self._samples.check_classes(self.model.name, self._probe.classes, self._probe.outputs)
        self._look(0)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Keep the figures of the epoch, and look at the model if it is time."""
        for name, value in (logs or {}).items():
            if np.ndim(value) == 0:  # a metric may be a vector
                self.history.setdefault(name, []).append(float(value))
        if (epoch + 1) % self._every == 0:
            self._look(epoch + 1)

    def _look(self, epoch: int) -> None:
        assert self._probe is not None
        some = rows_of(self._samples.x, slice(None, None, -(-len(self._samples.y) // BATCH)))
        self.snapshots.append(Snapshot(epoch=epoch, layers=self._probe.look(some).layers))
