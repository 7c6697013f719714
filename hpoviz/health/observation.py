"""Observation: everything that health is computed from, as plain numbers that can be kept and sent."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from hpoviz.json_values import json_value

__all__ = ["LayerLook", "Observation", "Snapshot"]

VERSION = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerLook:
    """What was seen of one hidden layer.

    Attributes
    ----------
    layer : str
        Its id in the model's graph.
    activation : str
        As Keras names it.
    units, active : int
        How many there are, and how many change from sample to sample.
    finite : float
        Share of the values that are finite.
    gradient_norm : float
        Of the signal that was sent back from the logits.
    saturated : float or None
        How often, over units, samples and positions, a value sits where its activation is flat; None for activations
        without such an end.
    effective_units : float
        The participation ratio of the units' covariance: how many independent units would say as much.
    """

    layer: str
    activation: str
    units: int
    active: int
    finite: float
    gradient_norm: float
    saturated: float | None = None
    effective_units: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Snapshot:
    """What was seen of the hidden layers after `epoch` epochs; 0 is before training."""

    epoch: int
    layers: tuple[LayerLook, ...]

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Snapshot:
        """Read what ``dataclasses.asdict`` wrote; a norm that is not a number in JSON is not finite."""
        layers = (
            layer | {"gradient_norm": math.nan if layer["gradient_norm"] is None else layer["gradient_norm"]}
            for layer in record["layers"]
        )
        return cls(epoch=record["epoch"], layers=tuple(LayerLook(**layer) for layer in layers))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Observation:
    """What was seen of a model.

    Attributes
    ----------
    model : str
    epoch : int
        After how many epochs its weights were as they are; 0 where that is not known.
    class_counts : sequence of int
        Training samples of each class; validation samples where there are no others.
    labels, predicted : sequence of int
        Of the validation samples.
    train_rows : int
        Training samples that were looked at; 0 without.
    train_accuracy : float or None
        On them.
    suspicious : float or None
        Share of the training samples that the model is sure to be of another class.
    agreement : float or None
        Share of predictions that stay when noise is added to the samples.
    snapshots : sequence of Snapshot
        Those of its training, if it was watched; the last is the model as it is now.
    not_finite : sequence of str
        Layers that give out values that are not finite, in the order of the pass.
    untrained : sequence of str
        Layers whose weights are as they were made.
    normalizing : sequence of str
        Layers that normalise by averages over their training.
    largest_input : float or None
        The largest absolute value that reaches `first_layer`, the first with weights; None for words and the like.
    sums_to_one : bool
        Whether the outputs are shares.
    takes_logits : bool or None
        Whether the compiled loss says so; None where the model is not compiled.
    optimizer : str or None
        The class with which the model is compiled.
    learning_rate : float or None
        The largest with which it was trained; None where that is not known.
    penalty : float
        What weight penalties (L2 and the like) add to the loss; 0 without.
    history : mapping of str to sequence of float
        Curves by epoch: loss, accuracy, val_loss, val_accuracy, learning_rate, those that there are.
    """

    model: str
    epoch: int = 0
    class_counts: Sequence[int]
    labels: Sequence[int]
    predicted: Sequence[int]
    train_rows: int = 0
    train_accuracy: float | None = None
    suspicious: float | None = None
    agreement: float | None = None
    snapshots: Sequence[Snapshot]
    not_finite: Sequence[str] = ()
    untrained: Sequence[str] = ()
    normalizing: Sequence[str] = ()
    largest_input: float | None = None
    first_layer: str | None = None
    sums_to_one: bool = True
    takes_logits: bool | None = None
    optimizer: str | None = None
    learning_rate: float | None = None
    penalty: float = 0.0
    history: Mapping[str, Sequence[float]] = dataclasses.field(default_factory=dict)

    @property
    def rows(self) -> int:
        """How many validation samples were looked at."""
        return len(self.labels)

    @property
    def now(self) -> Snapshot:
        """The model as it is."""
        return self.snapshots[-1]

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values; null for numbers that are not finite."""
        record: dict[str, Any] = json_value({"version": VERSION, **dataclasses.asdict(self)})
        return record

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Observation:
        """Read what `to_dict` wrote; ValueError, KeyError or TypeError for anything else."""
        if record["version"] != VERSION:
            raise ValueError(f"an observation of version {record['version']!r}, and {VERSION} is known")
        fields = {name: value for name, value in record.items() if name != "version"}
        curves = record["history"].items()
        fields["history"] = {name: [math.nan if one is None else one for one in curve] for name, curve in curves}
        fields["snapshots"] = tuple(map(Snapshot.from_dict, record["snapshots"]))
        return cls(**fields)
