"""From a model and samples to an Observation: a probe of validation, training and changed samples."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import tree

from hpoviz.data.inputs import as_tensors, leaves, rows_of
from hpoviz.health.observation import Observation, Snapshot
from hpoviz.health.probe import Look, Probe
from hpoviz.health.rates import inner_optimizer, largest_rate
from hpoviz.health.samples import Samples
from hpoviz.instrument import are_shares, record
from hpoviz.models.user_model import takes_logits

__all__ = ["observe"]

NOISE = 0.1  # standard deviation of the noise, as a share of that of the data


def observe(
    probe: Probe,
    samples: Samples,
    *,
    history: Mapping[str, Sequence[float]],
    earlier: Sequence[Snapshot] = (),
    epoch: int | None = None,
    seed: int = 0,
) -> Observation:
    """Look at a model as it is.

    Parameters
    ----------
    probe : Probe
        Of the model, made with samples like these.
    samples : Samples
    history : mapping of str to sequence of float
        Curves by epoch.
    earlier : sequence of Snapshot
        Of the same model while it was trained.
    epoch : int, optional
        After how many epochs the weights were as they are; by default the last.
    seed : int
        Of the noise.
    """
    look = probe.look(samples.x)
    named = _Named.of(probe, look.outputs)
    predicted = named.classes(look.outputs)
    train = None if samples.x_train is None else probe.look(samples.x_train).outputs
    if epoch is None:
        epoch = max(len(history.get("loss", ())), earlier[-1].epoch if earlier else 0)
    before = [snapshot for snapshot in earlier if snapshot.epoch != epoch]
    return Observation(
        model=probe.model.name,
        epoch=epoch,
        class_counts=samples.class_counts.tolist(),
        labels=samples.y.tolist(),
        predicted=predicted.tolist(),
        train_rows=0 if samples.y_train is None else len(samples.y_train),
        train_accuracy=None if train is None else float((named.classes(train) == samples.y_train).mean()),
        suspicious=None if train is None or samples.y_train is None else _suspicious(named, train, samples.y_train),
        agreement=None if probe.takes_words else _agreement(named, samples.x, predicted, seed),
        snapshots=(*before, Snapshot(epoch=epoch, layers=look.layers)),
        not_finite=() if look.finite else _not_finite(probe, samples, look),
        untrained=_untrained(probe),
        normalizing=[info.id for info in probe.graph.layers.values() if info.type == "BatchNormalization"],
        largest_input=look.largest_input,
        first_layer=probe.first_layer,
        sums_to_one=named.shares,
        takes_logits=takes_logits(probe.model),
        optimizer=_optimizer(probe.model),
        learning_rate=largest_rate(probe.model, history),
        penalty=_penalty(probe.model),
        history=history,
    )


@dataclasses.dataclass(frozen=True)
class _Named:
    """Which class a model names: by the largest output, or with one output by which side of `edge` it is on."""

    probe: Probe
    edge: float
    shares: bool

    @classmethod
    def of(cls, probe: Probe, outputs: np.ndarray) -> _Named:
        shares, logits = are_shares(outputs, probe.tolerance), takes_logits(probe.model)
        if logits is not None and outputs.shape[1] == 1 and np.ptp(outputs) == 0:
            shares = not logits  # a number that is always the same does not tell which it is
        return cls(probe, 0.5 if shares and not logits else 0.0, shares)

    def classes(self, outputs: np.ndarray) -> np.ndarray:
        if outputs.shape[1] == 1:
            return (outputs[:, 0] > self.edge).astype(np.int64)
        return np.asarray(np.nan_to_num(outputs, nan=-np.inf).argmax(1))


def _optimizer(model: keras.Model) -> str | None:
    optimizer = inner_optimizer(model)
    return None if optimizer is None else type(optimizer).__name__


def _agreement(named: _Named, x: Any, predicted: np.ndarray, seed: int) -> float | None:
    if not any(_knows_noise(array) for array in leaves(x)):
        return None
    chance = np.random.default_rng(seed)
    noisy = tree.map_structure(lambda array: _noisy(array, chance) if _knows_noise(array) else array, x)
    return float((named.classes(named.probe.look(noisy).outputs) == predicted).mean())


def _knows_noise(x: np.ndarray) -> bool:
    """Tell whether samples can be changed a little; numbers of words and texts cannot."""
    return np.issubdtype(x.dtype, np.floating) or x.dtype == np.uint8


def _noisy(x: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    noisy = x + NOISE * float(np.std(x)) * chance.standard_normal(x.shape)
    return np.asarray((np.clip(np.round(noisy), 0, 255) if x.dtype == np.uint8 else noisy).astype(x.dtype))


def _suspicious(named: _Named, outputs: np.ndarray, y: np.ndarray) -> float | None:
    """Return the share of samples that a model is sure belong to another class (Northcutt et al. 2021).

    Sure of class j: its share is at least the mean share that samples labelled j are given for it.
    """
    if not named.shares or outputs.shape[1] == 1:
        return None
    mean = np.array([outputs[y == j, j].mean() if (y == j).any() else np.inf for j in range(outputs.shape[1])])
    sure = np.where(outputs >= mean, outputs, -1.0)
    best = sure.argmax(1)
    return float(((sure.max(1) > 0) & (best != y)).mean())


def _not_finite(probe: Probe, samples: Samples, look: Look) -> tuple[str, ...]:
    """Return the layers that give out values that are not finite, by an eager pass that looks at all of them."""
    for start in range(0, len(samples.y), 64):
        seen = record(probe.model, as_tensors(rows_of(samples.x, slice(start, start + 64))))
        broken = [probe.graph.by_id[one.node].layer for one in seen.tensors if one.finite < 1]
        if broken:
            return tuple(dict.fromkeys(broken))
    return tuple(layer.layer for layer in look.layers if layer.finite < 1)


def _penalty(model: keras.Model) -> float:
    """Return what the penalties of weights add to the loss."""
    regularized = [weight for weight in model.trainable_weights if getattr(weight, "regularizer", None) is not None]
    return float(sum(float(weight.regularizer(weight)) for weight in regularized))


def _untrained(probe: Probe) -> tuple[str, ...]:
    """Return the layers whose weights are as they were made: biases of exactly zero, kernels as they are drawn."""
    found = []
    for layer in probe.model._flatten_layers():
        kernel, bias = getattr(layer, "kernel", None), getattr(layer, "bias", None)
        drawn_by, started_as = getattr(layer, "kernel_initializer", None), getattr(layer, "bias_initializer", None)
        name = probe.owners.get(id(kernel))
        if name is None or bias is None or not isinstance(started_as, keras.initializers.Zeros):
            continue
        if not keras.ops.convert_to_numpy(bias).any() and _is_as_drawn(drawn_by, kernel):
            found.append(name)
    return tuple(found)


def _is_as_drawn(initializer: Any, kernel: Any) -> bool:
    """Tell whether a kernel's spread is within three standard errors of that with which its initializer draws."""
    if not isinstance(initializer, keras.initializers.Initializer):
        return False
    config = initializer.get_config()
    fresh = type(initializer).from_config(config | ({"seed": 0} if "seed" in config else {}))
    spread, expected = (float(keras.ops.convert_to_numpy(one).std()) for one in (kernel, fresh(kernel.shape)))
    return abs(spread - expected) <= 3 * expected / math.sqrt(2 * math.prod(kernel.shape)) + 1e-12
