"""Estimate: how long a search will take and how much disk, from a short calibration where its trials will run."""

from __future__ import annotations

import dataclasses
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hpoviz.backends.backend import Backend
from hpoviz.data.data_split import DataSplit
from hpoviz.errors import ConfigError
from hpoviz.progress import duration, size
from hpoviz.results import FINISHED, TrialResult
from hpoviz.running.job_runner import Job, JobRunner
from hpoviz.running.search_problem import SearchProblem
from hpoviz.running.trial_runner import trial_seed
from hpoviz.search.sampler import try_space
from hpoviz.store.run_log import RunLog
from hpoviz.store.run_store import RECORD_KEYS, RunStore, trial_path
from hpoviz.trial_spec import TrialSpec

__all__ = ["Estimate", "calibrate"]

SAMPLE_ROWS = 2048
EPOCHS = 2  # the first compiles, the second is what every later one takes
LEAST_MODELS = 4
MOST_MINUTES = 1.0


@dataclasses.dataclass(frozen=True)
class Estimate:
    """What a search takes if every trial trains all its epochs: pruning and early stopping make it shorter.

    Attributes
    ----------
    trials : int
    seconds : float
        Wall time.
    bytes : float
        Disk for the models, if all are kept.
    models : int
        How many models were trained to find out.
    """

    trials: int
    seconds: float
    bytes: float
    models: int

    def __repr__(self) -> str:
        return (
            f"about {duration(self.seconds)} and {size(self.bytes)} of models, if all {self.trials} trials train all "
            f"their epochs (measured with {self.models} models)"
        )


def calibrate(
    problem: SearchProblem, backend: Backend, *, trials: int, seed: int, watch: Callable[[JobRunner, RunLog], None]
) -> Estimate:
    """Train a few models of the space for two epochs on a part of the data, and compute from them.

    All slots are busy meanwhile, as they will be in the search. Nothing stays on disk.

    Parameters
    ----------
    problem : SearchProblem
    backend : Backend
        Closed; it is opened and closed here.
    trials : int
        Of the search.
    seed : int
    watch : callable
        Called with the running JobRunner and its log; returns when it has ended.

    Raises
    ------
    ConfigError
        None of the models could be trained.
    """
    chosen = _choose(problem, seed, max(LEAST_MODELS, 2 * backend.slots))
    part = _part(problem.split)
    with tempfile.TemporaryDirectory(prefix="hpoviz-estimate-") as folder:
        store = RunStore.create(Path(folder) / "calibration", dict.fromkeys(RECORD_KEYS))
        log = RunLog("calibration", store)
        job = _job(problem, chosen, part, seed)
        runner = JobRunner(job, log=log, code=problem.code, backend=backend, retries=0)
        began = time.monotonic()
        runner.start()
        watch(runner, log)
        wall_s = time.monotonic() - began
        if runner.error is not None:
            raise runner.error
        with log.reading() as state:
            ended = [trial for trial in state.numbered if trial.state == FINISHED]
            reasons = [f"{trial.state}: {trial.reason}" for trial in state.numbered if trial.state != FINISHED]
        if not ended:
            raise ConfigError(
                f"No estimate: none of the {len(chosen)} models could be trained on {len(part.x_train)} samples. "
                f"{reasons[0] if reasons else 'It was stopped.'}"
            )
        model_bytes = statistics.mean(
            (trial_path(store.folder, trial.trial_id) / "model.keras").stat().st_size for trial in ended
        )
    scale = len(problem.split.x_train) / len(part.x_train)
    trial_s = statistics.mean(_full_seconds(trial, chosen[trial.trial_id]["epochs"], scale) for trial in ended)
    start_s = max(0.0, wall_s - sum(trial.seconds or 0.0 for trial in ended) / backend.slots)
    seconds = start_s + trials / backend.slots * trial_s
    return Estimate(trials=trials, seconds=seconds, bytes=trials * model_bytes, models=len(ended))


def _choose(problem: SearchProblem, seed: int, count: int) -> list[dict[str, Any]]:
    """Return the parameters of models to train: the defaults, where there are any, and some at random."""
    defaults = problem.defaults()
    known = [] if defaults is None else [defaults]
    return known + [try_space(problem.space, trial_seed(seed, index)) for index in range(count - len(known))]


def _part(split: DataSplit) -> DataSplit:
    """Return the first rows of both parts, which are in random order of class."""
    share = min(1.0, SAMPLE_ROWS / len(split.x_train))
    train, val = round(share * len(split.x_train)), max(1, round(share * len(split.x_val)))
    return dataclasses.replace(
        split,
        x_train=split.x_train[:train],
        y_train=split.y_train[:train],
        x_val=split.x_val[:val],
        y_val=split.y_val[:val],
    )


def _job(problem: SearchProblem, chosen: Sequence[dict[str, Any]], part: DataSplit, seed: int) -> Job:
    request = problem.request
    specs = [
        TrialSpec(
            run="calibration",
            trial=index,
            seed=trial_seed(seed, index),
            architecture=problem.architecture,
            params={**params, "epochs": EPOCHS},
            data="part",
            max_trial_minutes=MOST_MINUTES,
            health_every=request.config.health_monitoring_frequency,
            record_layers=request.config.record_layers,
            scoring=dataclasses.asdict(request.scoring),
        )
        for index, params in enumerate(chosen)
    ]
    return Job(
        kind="calibration",
        steps=[{"number": index} for index in range(len(specs))],
        titles=[f"model {index + 1} of {len(specs)}" for index in range(len(specs))],
        specs=specs,
        data={"part": lambda: part},
        keep_models=True,
    )


def _full_seconds(trial: TrialResult, epochs: int, scale: float) -> float:
    """Return how long a trial takes with all its epochs and samples: what is done once, and every epoch."""
    epoch_s = trial.history[-1].seconds
    once_s = max(0.0, (trial.seconds or 0.0) - EPOCHS * epoch_s)
    return once_s + epochs * scale * epoch_s
