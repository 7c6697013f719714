"""Recorder: the Keras callback that watches a training run, tells of it, and ends it when it must end."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import keras

from hpoviz.events import BatchProgress, EpochEnded, PhaseChanged
from hpoviz.results import Epoch

__all__ = ["Recorder", "TrialStopped"]

PROGRESS_INTERVAL_S = 0.2


class TrialStopped(Exception):
    """Raised out of ``fit`` to end a trial at once.

    Attributes
    ----------
    kind : str
        cancelled, diverged, hopeless, too_large, too_slow or no_health.
    violation : float or None
        By how much a limit was passed, relative to the limit.
    """

    def __init__(self, kind: str, reason: str, violation: float | None = None) -> None:
        super().__init__(reason)
        self.kind, self.violation = kind, violation


class Recorder(keras.callbacks.Callback):  # type: ignore[misc]
    """Reports batches and epochs, keeps the best weights, and checks after every batch whether to go on.

    The best epoch is that of highest validation accuracy; of equals, that of lowest validation loss. Without validation
    data it is the last.

    Parameters
    ----------
    say : callable
        Takes an event class and its fields.
    should_stop : callable
        Tells whether the trial must stop now.
    epochs : int
    patience : int or None
        Epochs without a better one before training ends.
    deadline_s : float or None
        On the clock of ``time.monotonic``.
    limit_minutes : float or None
        The limit behind the deadline, for the message.
    """

    def __init__(
        self,
        say: Callable[..., None],
        should_stop: Callable[[], bool],
        *,
        epochs: int,
        patience: int | None,
        deadline_s: float | None,
        limit_minutes: float | None,
    ) -> None:
        super().__init__()
        self._say, self._should_stop = say, should_stop
        self._epochs, self._patience = epochs, patience
        self._deadline_s, self._limit_minutes = deadline_s, limit_minutes
        self._epoch = 0
        self._trains = False
        self._learning_rate = math.nan
        self._epoch_began = self._last_progress = time.monotonic()
        self._best_weights: list[Any] | None = None
        self.gradient_norms: dict[str, float] | None = None  # of the epoch that ends, set by who knows them
        self.best: Epoch | None = None
        self.history: list[Epoch] = []

    def check(self) -> None:
        """Raise TrialStopped if the trial must not go on."""
        if self._should_stop():
            raise TrialStopped(
                "cancelled", f"stopped in epoch {self._epoch}" if self._epoch else "stopped before training"
            )
        if self._deadline_s is not None and self._limit_minutes and time.monotonic() > self._deadline_s:
            over_s = time.monotonic() - self._deadline_s
            raise TrialStopped(
                "too_slow",
                f"took longer than max_trial_minutes={self._limit_minutes:g}: stopped in epoch {self._epoch} of "
                f"{self._epochs}. Allow more time, or search smaller models or fewer epochs.",
                violation=over_s / (60 * self._limit_minutes) + 1e-3,
            )

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Note when the epoch began and with which learning rate, after the schedule has set it."""
        self._epoch = epoch + 1
        self._epoch_began = time.monotonic()
        self._learning_rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Look whether to go on."""
        logs = logs or {}
        self.look(batch + 1, int(self.params["steps"] or 0), float(logs["loss"]), float(logs["accuracy"]))

    def look(self, batch: int, batches: int, loss: float, accuracy: float) -> None:
        """Check for stop and NaN after a batch (counted from 1), and report progress a few times a second."""
        self.check()
        if not math.isfinite(loss):
            self._diverged(f"the loss became {loss} in epoch {self._epoch}, batch {batch}")
        now = time.monotonic()
        first = not self._trains
        if first:
            self._trains = True
            self._say(PhaseChanged, phase="training")
        if first or now - self._last_progress >= PROGRESS_INTERVAL_S:
            self._last_progress = now
            self._say(
                BatchProgress,
                epoch=self._epoch,
                epochs=self._epochs,
                batch=batch,
                batches=batches,
                loss=loss,
                accuracy=accuracy,
            )

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        """Check for stop during validation too."""
        self.check()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Record the epoch, keep its weights if it is the best, and end training when patience is over."""
        names = ("loss", "accuracy", "val_loss", "val_accuracy")
        figures = {name: float(logs[name]) if logs and name in logs else None for name in names}
        validation_loss = figures["val_loss"]
        if validation_loss is not None and not math.isfinite(validation_loss):
            self._diverged(f"the validation loss became {validation_loss} in epoch {epoch + 1}")
        seconds = time.monotonic() - self._epoch_began
        rate, norms = self._learning_rate, self.gradient_norms
        record = Epoch(epoch=epoch + 1, learning_rate=rate, seconds=seconds, gradient_norms=norms, **figures)
        self.history.append(record)
        if self.best is None or validation_loss is None or _merit(record) > _merit(self.best):
            self.best, self._best_weights = record, self.model.get_weights()
        self._say(
            EpochEnded,
            epoch=epoch + 1,
            epochs=self._epochs,
            learning_rate=rate,
            seconds=seconds,
            gradient_norms=norms,
            **figures,
        )
        if self._patience is not None and epoch + 1 - self.best.epoch >= self._patience:
            self.model.stop_training = True

    def restore_best(self) -> Epoch:
        """Give the model the weights of its best epoch, and return that epoch."""
        assert self.best is not None  # `fit` has ended at least one epoch
        self.model.set_weights(self._best_weights)
        return self.best

    def _diverged(self, what: str) -> None:
        raise TrialStopped(
            "diverged", f"training diverged: {what}. Try a lower learning_rate ({self._learning_rate:g} was used)."
        )


def _merit(epoch: Epoch) -> tuple[float, float]:
    return (epoch.val_accuracy or 0.0, -(epoch.val_loss or 0.0))
