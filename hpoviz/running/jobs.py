"""Cross-validation and final training: what they train, and what comes out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from hpoviz import _html
from hpoviz.data.data_recipe import fold_makers, whole_maker
from hpoviz.data.dataset import Dataset
from hpoviz.errors import StoreError
from hpoviz.models.model_config import ModelConfig
from hpoviz.models.saved_model import load_model
from hpoviz.models.trial_model import ModelFamily
from hpoviz.results import FINISHED, TrialResult
from hpoviz.running.job_runner import Job
from hpoviz.running.trial_runner import trial_seed
from hpoviz.store.run_state import RunState
from hpoviz.store.run_store import copy_model
from hpoviz.trial_spec import TrialSpec

if TYPE_CHECKING:
    import keras

__all__ = ["CROSS_VALIDATION", "FINAL_TRAINING", "CrossValidation", "FinalModel", "cross_validation", "final_training"]

CROSS_VALIDATION, FINAL_TRAINING = "cross_validation", "final_training"
ALL_DATA = "all"


def cross_validation(
    trials: Sequence[TrialResult],
    data: Dataset,
    folds: int,
    *,
    seed: int,
    run: str,
    architecture: str,
    patience: int | None,
) -> Job:
    """Return the job that trains each trial's parameters anew on every fold.

    Raises
    ------
    DatasetError
        More folds than a class has samples or groups.
    """
    makers = fold_makers(data, folds, seed)
    pairs = [(trial, fold) for trial in trials for fold in range(folds)]
    specs = [
        TrialSpec(
            run=run,
            trial=index,
            seed=trial_seed(seed, trial.trial_id, fold + 1),
            architecture=architecture,
            params=trial.params,
            data=f"fold-{fold}",
            early_stopping_patience=patience,
        )
        for index, (trial, fold) in enumerate(pairs)
    ]
    return Job(
        kind=CROSS_VALIDATION,
        steps=[{"number": _number(trial), "fold": fold} for trial, fold in pairs],
        titles=[f"trial {trial.number}, fold {fold + 1} of {folds}" for trial, fold in pairs],
        specs=specs,
        data={f"fold-{fold}": make for fold, make in enumerate(makers)},
        keep_models=False,
    )


def final_training(
    best: TrialResult, data: Dataset, epochs: int | None, *, family: ModelFamily, run: str, architecture: str
) -> Job:
    """Return the job that trains the best trial's parameters on training and validation data together.

    Without `epochs` it trains as many as were best, with the learning rates of then: there is no validation data by
    which to stop, or by which a schedule could go.
    """
    config = family.from_dict(best.params)
    chosen = epochs or best.best_epoch or config.epochs
    spec = TrialSpec(
        run=run,
        trial=0,
        seed=best.seed,
        architecture=architecture,
        params={**best.params, "epochs": chosen},
        data=ALL_DATA,
        learning_rates=_rates(best, config, epochs, chosen) if isinstance(config, ModelConfig) else None,
    )
    return Job(
        kind=FINAL_TRAINING,
        steps=[{"number": _number(best)}],
        titles=[f"trial {best.number} on all data"],
        specs=[spec],
        data={ALL_DATA: whole_maker(data)},
        keep_models=True,
    )


def _rates(best: TrialResult, config: ModelConfig, epochs: int | None, chosen: int) -> list[float]:
    recorded = [epoch.learning_rate / best.rate_factor for epoch in best.history]  # its worker multiplies again
    if epochs is None or config.learning_rate_schedule == "reduce_on_plateau":
        return (recorded + recorded[-1:] * chosen)[:chosen]
    longer = dataclasses.replace(config, epochs=chosen)
    return [longer.learning_rate_at(epoch) for epoch in range(chosen)]


@dataclasses.dataclass(frozen=True)
class CrossValidation:
    """How steadily trials do when other samples are their validation data.

    Attributes
    ----------
    table : pandas.DataFrame
        One row a trial, the best mean first: number, searched (its accuracy in the search), mean, std (of the sample,
        over folds), min, max, and ``fold_1`` … with the validation accuracy of each fold; NaN where there is none.
    folds : int
    reason : str
        completed, or how it ended early.
    problems : tuple of str
        Trainings that gave no model, with their reasons.
    """

    table: pd.DataFrame
    folds: int
    reason: str
    problems: tuple[str, ...]

    @classmethod
    def of(cls, state: RunState, trials: Sequence[TrialResult], folds: int) -> CrossValidation:
        """Compute it from the state of the job."""
        scores = {
            (step["number"], step["fold"]): state.trials[index].accuracy
            for index, step in enumerate(state.steps)
            if index in state.trials
        }
        rows = []
        for trial in trials:
            values = pd.Series([scores.get((_number(trial), fold)) for fold in range(folds)], dtype="float64")
            figures = {"mean": values.mean(), "std": values.std(), "min": values.min(), "max": values.max()}
            by_fold = {f"fold_{fold + 1}": value for fold, value in enumerate(values)}
            rows.append({"number": trial.number, "searched": trial.accuracy, **figures, **by_fold})
        table = pd.DataFrame(rows).sort_values("mean", ascending=False, kind="stable", ignore_index=True)
        problems = [
            f"{trial.origin}: {trial.state}, {trial.reason}" for trial in state.numbered if trial.state != FINISHED
        ]
        return cls(table, folds, state.finished_reason or "interrupted", tuple(problems))

    def __repr__(self) -> str:
        lines = [self._title()]
        for row in self.table.to_dict("records"):
            lines.append(
                f"  trial {row['number']}: {row['mean']:.4f} ± {row['std']:.4f} "
                f"({row['min']:.4f} to {row['max']:.4f}), {row['searched']:.4f} in the search"
            )
        return "\n".join([*lines, *(f"  {problem}" for problem in self.problems)])

    def _repr_html_(self) -> str:
        names = ("number", "searched", "mean", "std", "min", "max")
        rows = [
            [str(row["number"]), *(f"{row[name]:.4f}" for name in names[1:])] for row in self.table.to_dict("records")
        ]
        problems = "".join(map(_html.paragraph, self.problems))
        return _html.page(_html.paragraph(self._title(), strong=True) + _html.table(names, rows) + problems)

    def _title(self) -> str:
        ended = "" if self.reason == "completed" else f" ({self.reason})"
        return f"validation accuracy over {self.folds} folds, mean ± standard deviation{ended}"


@dataclasses.dataclass(frozen=True)
class FinalModel:
    """A model with the parameters of the best trial, trained on training and validation data together.

    Attributes
    ----------
    number : int
        The trial whose parameters it has.
    params : mapping
        Every hyperparameter; ``epochs`` is how many it was trained for.
    path : Path
        The saved model.
    accuracy, loss : float
        On the training data, after the last epoch: there is no other data left but the test set.
    seconds : float
    """

    number: int
    params: Mapping[str, Any]
    path: Path
    accuracy: float
    loss: float
    seconds: float

    @classmethod
    def of(cls, state: RunState, folder: Path) -> FinalModel:
        """Make it of the state of the job.

        Raises
        ------
        StoreError
            The training did not end with a model.
        """
        trial = state.trials.get(0)
        if trial is None or trial.state != FINISHED:
            why = state.finished_reason if trial is None else f"{trial.state}, {trial.reason}"
            raise StoreError(f"The final training gave no model: {why}.")
        last = trial.history[-1]
        return cls(
            number=state.steps[0]["number"],
            params=trial.params,
            path=folder / "model.keras",
            accuracy=last.accuracy or 0.0,
            loss=last.loss or 0.0,
            seconds=trial.seconds or 0.0,
        )

    @property
    def model(self) -> keras.Model:
        """The Keras model, loaded anew at each call."""
        return load_model(self.path)

    def save(self, path: str | Path) -> Path:
        """Copy the model to a path that ends in ``.keras``; ConfigError for another suffix, StoreError if it fails."""
        return copy_model(self.path, path)

    def __repr__(self) -> str:
        return (
            f"<FinalModel: parameters of trial {self.number}, {self.params['epochs']} epochs on all but the test set, "
            f"training accuracy {self.accuracy:.4f}, {self.seconds:.1f} s, {self.path}>"
        )


def _number(trial: TrialResult) -> int:
    assert trial.number is not None  # it has ended
    return trial.number
