"""InlineBackend: trials one after another in this process, in a thread. Slow to stop, easy to debug."""

from __future__ import annotations

import functools
import queue
import random
import threading

import numpy as np

from hpoviz.backends.backend import Backend, RunContext
from hpoviz.errors import ConfigError
from hpoviz.models.user_code import UserCode
from hpoviz.training.trial import run_trial
from hpoviz.trial_spec import TrialSpec

__all__ = ["InlineBackend"]


class InlineBackend(Backend):
    """Runs trials one at a time in this process: no second process, so a debugger and print work.

    Trials run on one thread of the backend's own, which takes specs from a queue. A trial can be stopped between
    two batches only. Python's and NumPy's global random states are restored after each trial; TensorFlow's is not.

    Parameters
    ----------
    workers : int, optional
        Only 1, or None.

    Raises
    ------
    ConfigError
        For more than one worker.
    """

    def __init__(self, workers: int | None = None) -> None:
        if workers not in (None, 1):
            raise ConfigError(f"backend='inline' has one worker. Got workers={workers!r}. Use backend='local'.")
        self._specs: queue.Queue[TrialSpec | None] = queue.Queue()
        self._cancelled: set[int] = set()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def slots(self) -> int:
        """One."""
        return 1

    def open(self, context: RunContext) -> None:
        """Start the thread."""
        self._cancelled.clear()
        self._closing.clear()
        work = (context, UserCode.unpack(context.code))
        self._thread = threading.Thread(target=self._work, args=work, name="hpoviz-inline", daemon=True)
        self._thread.start()

    def submit(self, spec: TrialSpec, slot: int) -> None:
        """Queue a trial."""
        self._specs.put(spec)

    def cancel(self, trial: int, *, grace_s: float) -> None:
        """Have the trial stop after its present batch; a thread cannot be ended, so there is no grace."""
        self._cancelled.add(trial)

    def close(self) -> None:
        """End the thread after the trial that runs has stopped."""
        if self._thread is not None:
            self._closing.set()
            self._specs.put(None)
            self._thread.join()
            self._thread = None

    def describe(self) -> str:
        """Say that trials run here."""
        return "inline, in this process"

    def _work(self, context: RunContext, code: UserCode) -> None:
        data_of = functools.lru_cache(maxsize=1)(lambda name: context.data[name]())
        while (spec := self._specs.get()) is not None:
            python_state, numpy_state = random.getstate(), np.random.get_state()
            try:
                run_trial(
                    spec,
                    data_of(spec.data),
                    context.emit,
                    functools.partial(self._should_stop, spec.trial),
                    context.trial_folder(spec.trial),
                    code,
                )
            finally:
                random.setstate(python_state)
                np.random.set_state(numpy_state)

    def _should_stop(self, trial: int) -> bool:
        return trial in self._cancelled or self._closing.is_set()
