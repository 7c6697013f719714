"""HealthWatch: the health of a trial's model while it is trained and at its end."""

from __future__ import annotations

import dataclasses
import json
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from hpoviz.errors import HpovizError
from hpoviz.events import HealthMeasured
from hpoviz.health.health_callback import HealthCallback
from hpoviz.health.metric import wilson
from hpoviz.health.observation import Observation, Snapshot
from hpoviz.store.run_store import write_atomically
from hpoviz.training.recorder import TrialStopped

__all__ = ["HEALTH_FILE", "HealthWatch"]

HEALTH_FILE = "health.json"
EARLIEST_STOP = 3  # epochs after which a model that is dead and at chance is given up


class HealthWatch(HealthCallback):
    """A HealthCallback that tells what it sees by events, and ends trials that are hopeless.

    What cannot be looked into (a model with several outputs, say) is trained all the same: `problem` says why it has
    no health.

    Parameters
    ----------
    say : callable
        Takes an event class and its fields.
    data : ((x_train, y_train), (x_val, y_val))
    every, seed : int
        As for `HealthCallback`.
    give_up : bool
        Whether hopeless trials are ended.
    """

    def __init__(self, say: Callable[..., None], data: Any, *, every: int, seed: int, give_up: bool) -> None:
        super().__init__(data, every=every, seed=seed)
        self._say, self._give_up = say, give_up
        labels = np.asarray(data[1][1])
        self._rows, self._chance = len(labels), float(np.bincount(labels).max() / len(labels))
        self.problem: str | None = None

    def on_train_begin(self, logs: Any = None) -> None:
        """Look at the model before it is trained."""
        self._guarded(lambda: HealthCallback.on_train_begin(self, logs))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Look at the model if it is time, and give it up if it is hopeless."""
        if self.problem is None:
            self._guarded(lambda: HealthCallback.on_epoch_end(self, epoch, logs))
            self._check(epoch + 1, (logs or {}).get("val_accuracy"))

    def measure(self, folder: Path, epoch: int) -> Observation | None:
        """Observe the model with its weights of an epoch, and keep what was seen as ``health.json``.

        None where it cannot be looked into.
        """
        found: list[Observation] = []
        self._guarded(lambda: found.append(self.observe(epoch)))
        if not found:
            return None
        record = json.dumps(found[0].to_dict(), allow_nan=False)
        write_atomically(folder / HEALTH_FILE, record.encode())
        return found[0]

    def _look(self, epoch: int) -> None:
        super()._look(epoch)
        layers = [dataclasses.asdict(layer) for layer in self.snapshots[-1].layers]
        self._say(HealthMeasured, epoch=epoch, layers=layers)

    def _guarded(self, look: Callable[[], None]) -> None:
        """Look if nothing has gone wrong so far; a look that fails is not the trial's fault."""
        if self.problem is not None:
            return
        try:
            look()
        except HpovizError as error:
            self.problem = str(error)
        except Exception as error:  # whatever a user's own layers raise in another graph than that of their training
            self.problem = f"{type(error).__name__}: {error}"
            traceback.print_exc()

    def _check(self, epoch: int, accuracy: float | None) -> None:
        """Raise TrialStopped for a model at chance through which nothing passes, in the third epoch or later."""
        if not self._give_up or self.problem is not None or accuracy is None or epoch < EARLIEST_STOP:
            return
        if not self.snapshots or self.snapshots[-1].epoch != epoch:
            return
        reason = _deadness(self.snapshots[-1])
        if reason is not None and wilson(accuracy * self._rows, self._rows)[0] <= self._chance:
            raise TrialStopped("hopeless", f"hopeless: {reason} and it is at chance; given up after epoch {epoch}.")


def _deadness(snapshot: Snapshot) -> str | None:
    """Say what keeps a model from learning for good; None if nothing does."""
    for look in snapshot.layers:
        if look.finite < 1:
            return f"{look.layer} gives out values that are not finite"
    dead = [look.layer for look in snapshot.layers if look.active == 0]
    if dead and snapshot.layers[-1].active == 0:
        return f"no unit of {dead[0]} changes from sample to sample, so the model says the same of all,"
    return None
