"""TrialSpec: everything a worker needs to know about one trial, as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from hpoviz.errors import BackendProtocol

__all__ = ["SEARCH_DATA", "TrialSpec"]

SPEC_VERSION = 1
SEARCH_DATA = "search"


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrialSpec:
    """One trial as it travels to a worker; the data travels apart, once.

    Attributes
    ----------
    run : str
        Identifier of the run.
    trial : int
        Order of asking, from 0: names the trial's folder.
    attempt : int
        1, or more when the trial is repeated after its worker died.
    seed : int
        Seed of Python, NumPy and TensorFlow in this trial.
    architecture : str
        Name of a model family (entry point group ``hpoviz.architectures``).
    params : mapping
        Every hyperparameter of the family by name, defaults included; JSON values.
    data : str
        Which of the run's data: "search", a fold, or all.
    learning_rates : sequence of float or None
        That of each epoch, instead of the architecture's schedule; for the ``batch_size`` of the parameters.
    early_stopping_patience : int or None
        Epochs without a better validation accuracy before training ends; None trains to the end.
    max_parameters : int or None
        A larger model is not trained.
    max_trial_minutes : float or None
        A trial that takes longer, building included, is stopped.
    health_every : int
        The hidden layers are looked at after every so many epochs, and the health is measured; 0 for neither.
    record_layers : bool
        Whether what its figures are drawn from is kept, in ``arrays.npz``.
    give_up : bool
        Whether the trial is ended when its model is dead and at chance.
    devices : int
        How many GPUs the trial is trained on, together.
    scale_batch : bool
        Whether each of them takes a whole ``batch_size`` in a step, at a higher learning rate.
    scoring : mapping or None
        The fields of `Scoring`, by which the score is made of accuracy and health. None: the score is the accuracy.

    Examples
    --------
    >>> spec = TrialSpec(run="r", trial=0, seed=1, architecture="cnn", params={"filters": 8})
    >>> TrialSpec.from_json(spec.to_json()) == spec
    True
    """

    run: str
    trial: int
    attempt: int = 1
    seed: int
    architecture: str
    params: Mapping[str, Any]
    data: str = SEARCH_DATA
    learning_rates: Sequence[float] | None = None
    early_stopping_patience: int | None = None
    max_parameters: int | None = None
    max_trial_minutes: float | None = None
    health_every: int = 0
    record_layers: bool = False
    give_up: bool = True
    devices: int = 1
    scale_batch: bool = False
    scoring: Mapping[str, Any] | None = None

    def to_json(self) -> str:
        """Return the spec as one line of JSON."""
        return json.dumps({"version": SPEC_VERSION, **dataclasses.asdict(self)}, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> TrialSpec:
        """Rebuild a spec from `to_json`'s text; BackendProtocol if it is not one."""
        try:
            record = json.loads(text)
            version = record.pop("version")
            if version != SPEC_VERSION:
                raise ValueError(f"version {version!r}")
            return cls(**record)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise BackendProtocol(
                f"A trial spec must be a JSON object of version {SPEC_VERSION}. Got {text[:200]!r} ({error}). "
                "Run the same version of hpoviz here and on the worker."
            ) from error
