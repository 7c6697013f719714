"""A record and a trial made by hand, whose figures can be checked number by number."""

import numpy as np

from hpoviz.data.validation_samples import ValidationSamples
from hpoviz.plots.trial_facts import TrialFacts
from hpoviz.results import Epoch, TrialResult
from hpoviz.training_record import Histograms, Predictions, TrainingRecord, histograms

HOSTILE = "<b>bad</b>"
LAYERS = ("conv", "pool", HOSTILE)
TENSORS = (("conv", "kernel"), ("conv", "bias"), (HOSTILE, "kernel"))
EPOCHS = (0, 1, 2)


def _spread(tensors: int) -> Histograms:
    return histograms([[np.linspace(-1 - look, 2 + tensor, 64) for tensor in range(tensors)] for look in range(3)])


def made_up_record() -> TrainingRecord:
    """Three looks at three layers; 8 predictions, of which 3 are wrong."""
    chance = np.random.default_rng(0)
    looks = np.arange(3, dtype=np.float32)[:, None]
    return TrainingRecord(
        epochs=np.array(EPOCHS, np.int32),
        rows=8,
        layers=LAYERS,
        activations=_spread(3),
        mean=looks + np.array([[0.1, 0.2, 0.3]], np.float32),
        std=looks + np.array([[1, 2, 3]], np.float32),
        zeros=np.array([[0.5, 0.0, 0.25]] * 3, np.float32),
        silent=np.array([[0, 0, 0], [1, 0, 0], [2, 0, 0]], np.int32),
        units=np.array([4, 4, 5], np.int32),
        tensors=TENSORS,
        weights=_spread(3),
        gradients=_spread(3),
        gradient_norms=np.array([[3, 4, 1], [0.3, 0.4, 0.1], [0, 0, np.nan]], np.float32),
        pictures=("conv", HOSTILE),
        kinds=("image", "vector"),
        sample=2,
        maps=[chance.integers(0, 256, (3, 2, 4, 4), np.uint8), chance.integers(0, 256, (3, 1, 1, 5), np.uint8)],
        map_low=np.zeros((3, 2), np.float32),
        map_high=np.full((3, 2), 2.55, np.float32),
        predictions=Predictions(
            rows=np.arange(8, dtype=np.int32),
            labels=np.array([0, 0, 0, 1, 1, 1, 2, 2], np.int32),
            predicted=np.array([0, 0, 1, 1, 1, 2, 2, 0], np.int32),
            confidence=np.array([0.95, 0.55, 0.65, 0.95, 0.85, 0.99, 0.45, 0.75], np.float32),
            of_label=np.array([0.95, 0.55, 0.2, 0.95, 0.85, 0.01, 0.45, 0.1], np.float32),
        ),
    )


def made_up_result(**fields) -> TrialResult:
    """A finished trial of two epochs."""
    history = tuple(
        Epoch(
            epoch=at, loss=1 / at, accuracy=0.4 * at, val_loss=1.5 / at, val_accuracy=0.3 * at, seconds=1.0,
            learning_rate=0.01 / at,
        )
        for at in (1, 2)
    )  # fmt: skip
    known = {"state": "finished", "history": history, "best_epoch": 2, "accuracy": 0.625, "score": 0.625}
    return TrialResult(**{"trial_id": 4, "number": 3, "params": {"filters": 8}, "seed": 0, **known, **fields})


def made_up_samples(texts: bool = False) -> ValidationSamples:
    """Sixteen samples, of which every other one is a validation sample."""
    x = np.arange(16 * 9, dtype=np.float32).reshape(16, 3, 3, 1)
    words = np.array([f"text {at} {HOSTILE} " + "word " * 60 for at in range(16)], dtype=object)
    labels = np.repeat([0, 0, 0, 1, 1, 1, 2, 2], 2)
    return ValidationSamples(
        x=words if texts else x, y=labels, rows=np.arange(0, 16, 2), class_names=("cat", HOSTILE, "x")
    )


def made_up_facts(**fields) -> TrialFacts:
    """Everything that a figure of the trial may want, but a model."""
    known = {
        "result": made_up_result(), "record": made_up_record(), "no_record": "", "health": None,
        "no_health": "no health here", "samples": made_up_samples(), "load": lambda: None,
    }  # fmt: skip
    return TrialFacts(**known | fields)
