"""A RunPod worker whose trials sleep instead of training: everything else is that of the real one (bench_remote)."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hpoviz.backends import runpod_worker
from hpoviz.events import Event, TrialFinished
from hpoviz.training import trial
from hpoviz.trial_spec import TrialSpec

MODEL = b"a file in the place of a model"


def sleep_through(
    spec: TrialSpec, data: Any, emit: Callable[[Event], None], should_stop: Callable[[], bool], folder: Path, code: Any
) -> None:
    """Sleep for as long as this trial is to take, and end it."""
    seconds = json.loads(os.environ["SLEEPING_SECONDS"])[spec.trial]
    time.sleep(seconds)
    (folder / "model.keras").write_bytes(MODEL)
    score = ((spec.trial * 37) % 101) / 101
    emit(
        TrialFinished(
            run=spec.run, trial=spec.trial, attempt=spec.attempt, seconds=seconds, score=score,
            accuracy=score, loss=1.0, best_epoch=1, epochs=1, model_sha256=hashlib.sha256(MODEL).hexdigest(),
        )
    )  # fmt: skip


if __name__ == "__main__":
    trial.run_trial = sleep_through
    runpod_worker.main()
