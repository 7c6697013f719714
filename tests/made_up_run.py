"""A search that never was: its events, and a folder that `hpoviz.open_run` opens, to test and time screens with."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Iterator
from pathlib import Path

from optuna.distributions import CategoricalDistribution, FloatDistribution, distribution_to_json

import hpoviz
from hpoviz.events import (
    BatchProgress,
    EpochEnded,
    Event,
    ModelBuilt,
    PhaseChanged,
    RunFinished,
    RunStarted,
    TrialFailed,
    TrialFinished,
    TrialPruned,
    TrialStarted,
)
from hpoviz.health.metric import METRICS

BATCHES = 18
SPACE = {
    "filters": CategoricalDistribution((8, 16, 32)),
    "activation": CategoricalDistribution(("relu", "gelu", "tanh")),
    "learning_rate": FloatDistribution(1e-4, 10**-1.5, log=True),
    "optimizer": CategoricalDistribution(("adam", "sgd")),
    "use_batch_normalization": CategoricalDistribution((True, False)),
}


def made_up_events(
    trials: int, epochs: int, *, slots: int = 4, seed: int = 0, batches: int = 2, reason: str = "nothing to speak of"
) -> Iterator[Event]:
    """Yield what a search of so many trials tells, in the order of time, with some trials pruned and some failed."""
    chance, number = random.Random(seed), 0
    yield RunStarted(run="r", trials=trials, slots=slots, objective="accuracy")
    waiting, running = iter(range(trials)), {}
    for slot in range(min(slots, trials)):
        running[slot] = _trial(next(waiting), slot, epochs, batches, chance, reason)
        yield next(running[slot])  # trials are asked for in the order of their ids
    while running:
        slot = chance.choice(sorted(running))
        event = next(running[slot])
        if isinstance(event, TrialFinished | TrialPruned | TrialFailed):
            yield _numbered(event, number)
            number += 1
            if (trial := next(waiting, None)) is None:
                del running[slot]
            else:
                running[slot] = _trial(trial, slot, epochs, batches, chance, reason)
                yield next(running[slot])
        else:
            yield event
    yield RunFinished(run="r", reason="completed", seconds=2.5 * trials)


def made_up_run(folder: Path, trials: int, epochs: int, **options: object) -> Path:
    """Write such a search of the embedded digits to disk, and return its folder."""
    opt = hpoviz.Optimizer("digits", trials=trials, seed=0, workers=1, run_dir=folder)
    opt._create()
    events = [event.to_json() for event in made_up_events(trials, epochs, **options)]
    (folder / "events.jsonl").write_text("".join(f"{line}\n" for line in events if '"BatchProgress"' not in line))
    return folder


def _trial(trial: int, slot: int, epochs: int, batches: int, chance: random.Random, reason: str) -> Iterator[Event]:
    of = {"run": "r", "trial": trial}
    params = {
        "filters": chance.choice(SPACE["filters"].choices),
        "activation": chance.choice(SPACE["activation"].choices),
        "learning_rate": 10 ** chance.uniform(-4, -1.5),
        "optimizer": chance.choice(("adam", "sgd")),
        "use_batch_normalization": chance.random() < 0.5,
        "epochs": epochs,
    }
    suggested = {
        name: {"value": params[name], "distribution": json.loads(distribution_to_json(distribution))}
        for name, distribution in SPACE.items()
    }
    yield TrialStarted(**of, slot=slot, params=params, suggested=suggested, seed=trial)
    yield PhaseChanged(**of, phase="building")
    yield ModelBuilt(**of, parameters=chance.randint(1_000, 90_000))
    yield PhaseChanged(**of, phase="training")
    if chance.random() < 0.05:
        yield TrialFailed(**of, number=0, seconds=0.5, kind="error", reason=reason, details=f"Traceback\n{reason}")
        return
    top, stops = chance.uniform(0.5, 0.98), 3 if chance.random() < 0.3 else None
    for epoch in range(1, epochs + 1):
        accuracy = top * (1 - 0.6**epoch)
        for part in range(1, batches + 1):
            batch = part * BATCHES // batches
            yield BatchProgress(
                **of, epoch=epoch, epochs=epochs, batch=batch, batches=BATCHES, loss=1.0, accuracy=accuracy
            )
        yield EpochEnded(
            **of,
            epoch=epoch,
            epochs=epochs,
            loss=2 - accuracy,
            accuracy=accuracy,
            val_loss=2.1 - accuracy,
            val_accuracy=accuracy * 0.98,
            learning_rate=0.001,
            seconds=0.1,
        )
        if epoch == stops:
            yield TrialPruned(**of, number=0, seconds=0.3, score=accuracy, epochs=epoch, reason="others were ahead")
            return
    yield TrialFinished(
        **of,
        number=0,
        seconds=epochs * 0.1,
        score=accuracy,
        accuracy=accuracy,
        loss=2 - accuracy,
        best_epoch=epochs,
        epochs=epochs,
        model_sha256="0",
        health=chance.uniform(0.4, 0.95),
        metrics={name: chance.random() for name in METRICS},
    )


def _numbered(event: Event, number: int) -> Event:
    return dataclasses.replace(event, number=number)
