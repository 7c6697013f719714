"""Trial: one ended trial as the user holds it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import pandas as pd

from hpoviz import _html
from hpoviz.data.validation_samples import ValidationSamples
from hpoviz.errors import ConfigError, StoreError, nearest
from hpoviz.health.assessment import assess
from hpoviz.health.observation import Observation
from hpoviz.health.report import HealthReport
from hpoviz.health.weights import CLASSIC_WEIGHTS
from hpoviz.models.saved_model import load_model
from hpoviz.plots.catalogue import TRIAL_FIGURES, figure_table
from hpoviz.progress import trial_line
from hpoviz.results import FINISHED, Epoch, TrialResult, dollars
from hpoviz.training_record import RECORD_FILE, TrainingRecord

if TYPE_CHECKING:
    import keras
    import plotly.graph_objects as go

    from hpoviz.plots.trial_facts import TrialFacts

__all__ = ["Trial", "TrialList"]


class Trial:
    """One ended trial; ``opt.trials[number]`` gives it.

    Attributes
    ----------
    result : TrialResult
        All that is known of it: origin, loss, parameters, seconds, seed, best_epoch… Number, state, score, accuracy,
        params and reason are attributes of the trial too.
    """

    def __init__(
        self,
        result: TrialResult,
        folder: Path,
        weights: Mapping[str, float] = CLASSIC_WEIGHTS,
        samples: Callable[[], ValidationSamples] | None = None,
    ) -> None:
        self.result = result
        self._folder, self._weights, self._samples = folder, weights, samples

    @property
    def number(self) -> int:
        """Order of finishing, from 0."""
        assert self.result.number is not None  # only ended trials are handed out
        return self.result.number

    @property
    def state(self) -> str:
        """finished, pruned, failed, infeasible or cancelled."""
        return self.result.state

    @property
    def score(self) -> float | None:
        """What the search maximises; None without a trained model."""
        return self.result.score

    @property
    def accuracy(self) -> float | None:
        """Accuracy on validation data, in [0, 1]; None without a trained model."""
        return self.result.accuracy

    @property
    def params(self) -> Mapping[str, Any]:
        """Every hyperparameter by name, defaults included."""
        return self.result.params

    @property
    def reason(self) -> str | None:
        """Why it did not finish."""
        return self.result.reason

    @property
    def health(self) -> HealthReport:
        """The health of its model: six metrics, findings by layer, what to do.

        Raises
        ------
        StoreError
            It was not measured, or its file is gone or damaged.
        """
        return assess(self._observation(), weights=self._weights, seconds=0.0)

    @property
    def record(self) -> TrainingRecord:
        """What was seen of its layers by epoch, and its predictions: the numbers of its figures.

        Raises
        ------
        StoreError
            Nothing was recorded, or its file is gone or damaged.
        """
        path = self._folder / RECORD_FILE
        if not path.is_file():
            why = "it ended before it was trained" if not self.result.history else f"{RECORD_FILE} is not there"
            raise StoreError(
                f"Nothing was recorded of the layers of trial {self.number}: {why}. Searches keep it with "
                "record_layers=True, the default."
            )
        return TrainingRecord.load(path)

    def plots(self) -> pd.DataFrame:
        """Return the figures that `plot` draws: name, what each shows, how to read it."""
        return figure_table(TRIAL_FIGURES)

    def plot(self, name: str = "training", *, theme: str = "light") -> go.Figure:
        """Return a figure of the trial, drawn from its recorded numbers.

        Parameters
        ----------
        name : str
            One of `plots`: architecture, training, gradient_flow, gradient_distributions, dead_neurons, weights_biases,
            activation_maps, activation_summary, activation_progression, confusion_matrix, mistakes, calibration,
            health.
        theme : {"light", "dark"}

        Returns
        -------
        plotly.graph_objects.Figure
            With a sentence on how to read it; where there is nothing to draw, it says what is missing.

        Raises
        ------
        ConfigError
            There is no such figure or theme.
        """
        if name not in TRIAL_FIGURES:
            names = ", ".join(TRIAL_FIGURES)
            raise ConfigError(f"A trial has no figure {name!r}.{nearest(str(name), TRIAL_FIGURES)} Figures: {names}.")
        from hpoviz.plots.trial import trial_figure

        return trial_figure(name, self._facts(), theme)

    def _facts(self) -> TrialFacts:
        from hpoviz.plots.trial_facts import TrialFacts

        record, health, no_record, no_health = None, None, "", ""
        try:
            record = self.record
        except StoreError as error:
            no_record = str(error)
        try:
            health = self._observation()
        except StoreError as error:
            no_health = str(error)
        return TrialFacts(
            result=self.result,
            record=record,
            no_record=no_record,
            health=health,
            no_health=no_health,
            samples=self._samples() if self._samples is not None else None,
            load=lambda: self.model,
        )

    def _observation(self) -> Observation:
        path = self._folder / "health.json"
        if not path.is_file():
            why = self.result.no_health or (
                f"the trial is {self.state}" if self.state != FINISHED else "it was not measured"
            )
            raise StoreError(f"Trial {self.number} has no health: {why}.")
        try:
            return Observation.from_dict(json.loads(path.read_text("utf-8")))
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{str(path)!r} cannot be read: {type(error).__name__}: {error}.") from error

    @property
    def history(self) -> pd.DataFrame:
        """One row an epoch: loss, accuracy, val_loss, val_accuracy, learning_rate, seconds."""
        columns = [field.name for field in dataclasses.fields(Epoch) if field.name != "gradient_norms"]
        rows = [{name: getattr(epoch, name) for name in columns} for epoch in self.result.history]
        return pd.DataFrame(rows, columns=columns).set_index("epoch")

    @property
    def gradient_norms(self) -> pd.DataFrame:
        """One row an epoch, one column a layer: root mean square, over the steps, of the norm of its gradient.

        Empty where the model was trained by ``Model.fit``; ``trial.result.trained_by`` says why.
        """
        history = self.result.history
        epochs = pd.Index([epoch.epoch for epoch in history], name="epoch")
        return pd.DataFrame([dict(epoch.gradient_norms or {}) for epoch in history], index=epochs)

    @property
    def model_path(self) -> Path:
        """The saved model.

        Raises
        ------
        StoreError
            The trial did not finish, or its file was not kept.
        """
        path = self._folder / "model.keras"
        if self.state != FINISHED:
            raise StoreError(f"Trial {self.number} has no model: it is {self.state} ({self.reason}).")
        if not path.is_file():
            raise StoreError(
                f"The model of trial {self.number} is not in {str(self._folder)!r}. With keep_models='best' only the "
                "best is kept; else the file was deleted."
            )
        return path

    @property
    def model(self) -> keras.Model:
        """The trained Keras model with the weights of its best epoch, loaded anew at each call."""
        return load_model(self.model_path)

    def __repr__(self) -> str:
        return f"<{trial_line(self.result)}>"

    def _repr_html_(self) -> str:
        facts = [
            (name, _cell(getattr(self.result, name))) for name in ("state", "score", "loss", "health", "best_epoch")
        ]
        facts += [("weights", _cell(self.result.parameters)), ("seconds", _cell(self.result.seconds))]
        facts += [] if self.result.cost is None else [("cost", dollars(self.result.cost))]
        facts += [("reason", self.reason)] if self.reason else []
        facts += [(name, _cell(value)) for name, value in self.params.items()]
        return _html.page(f"<p><strong>trial {self.number}</strong></p>{_html.table(('', ''), facts)}")


class TrialList(Sequence[Trial]):
    """The ended trials by number."""

    def __init__(self, trials: Sequence[Trial]) -> None:
        self._trials = list(trials)

    @overload
    def __getitem__(self, index: int) -> Trial: ...

    @overload
    def __getitem__(self, index: slice) -> list[Trial]: ...

    def __getitem__(self, index: int | slice) -> Trial | list[Trial]:
        try:
            return self._trials[index]
        except IndexError:
            count = len(self._trials)
            known = f"numbers 0 to {count - 1} have ended" if count else "no trial has ended yet"
            raise IndexError(f"There is no trial {index}: {known}.") from None

    def __len__(self) -> int:
        return len(self._trials)

    def __repr__(self) -> str:
        return "\n".join(map(repr, self._trials)) or "no trial has ended yet"


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}" if type(value) is int else str(value)
