"""RunResults: what a run has found, and ways to take it away."""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from hpoviz.config import OptimizationRequest
from hpoviz.data.dataset import Dataset
from hpoviz.data.recorded_data import RecordedData
from hpoviz.errors import ConfigError, ExportError, StoreError
from hpoviz.events import TestEvaluated
from hpoviz.health.metric import METRICS
from hpoviz.models.model_config import ModelConfig
from hpoviz.models.saved_model import load_model
from hpoviz.models.trial_model import TrialModel
from hpoviz.models.user_model import as_probabilities
from hpoviz.results import TestScore, TrialResult
from hpoviz.running.jobs import FinalModel
from hpoviz.running.search_problem import SearchProblem
from hpoviz.selection import pareto_front, size_efficiency
from hpoviz.store.best_record import best_record
from hpoviz.store.run_log import RunLog
from hpoviz.store.run_state import RunState
from hpoviz.store.run_store import copy_model, to_yaml, trial_path, write_atomically
from hpoviz.store.take_away import model_zip, zip_run
from hpoviz.summary import summarize
from hpoviz.trial import Trial, TrialList

if TYPE_CHECKING:
    import keras

__all__ = ["RunResults"]

RESULT_COLUMNS = (
    "number",
    "state",
    "origin",
    "score",
    "accuracy",
    "loss",
    "health",
    "parameters",
    "best_epoch",
    "seconds",
    "cost",
    "reason",
)


class RunResults(abc.ABC):
    """What a run has found: the half of `hpoviz.Optimizer` that reads.

    The other half fills these in.

    Attributes
    ----------
    request : OptimizationRequest
    data : Dataset
    """

    request: OptimizationRequest
    data: Dataset
    _problem: SearchProblem
    _folder: Path
    _record: dict[str, Any]
    _log: RunLog | None

    @property
    def run_dir(self) -> Path:
        """The folder of this run; it exists once the search was started."""
        return self._folder

    @property
    def results(self) -> pd.DataFrame:
        """One row an ended trial, by number.

        Columns: number, state, origin (search, defaults, baseline or warm start), score, accuracy and loss (on
        validation data, of the weights kept), health (overall), parameters (how many weights), best_epoch, seconds,
        cost (US dollars, by estimate; only where trials cost something), reason, ``health_…`` for each health metric,
        and ``params_…`` for every hyperparameter.
        """
        ended = self._ended()
        paid = any(trial.cost is not None for trial in ended)
        plain = [name for name in RESULT_COLUMNS if name != "cost" or paid]
        rows = [
            {name: getattr(trial, name) for name in plain}
            | {f"health_{name}": trial.metrics.get(name) for name in METRICS}
            | {f"params_{name}": value for name, value in trial.params.items()}
            for trial in ended
        ]
        params = dict.fromkeys([*self._problem.space.parameters, *(name for trial in ended for name in trial.params)])
        measured = [f"health_{name}" for name in METRICS]
        columns = [*plain, *measured, *(f"params_{name}" for name in params)]
        frame = pd.DataFrame(rows, columns=columns)
        numbers = dict.fromkeys(
            ("score", "accuracy", "loss", "health", "seconds", *(["cost"] if paid else []), *measured), "float64"
        )
        return frame.astype(numbers | {"parameters": "Int64", "best_epoch": "Int64", "number": "int64"})

    @property
    def trials(self) -> TrialList:
        """The ended trials; ``opt.trials[3]`` is the one with number 3."""
        return TrialList([self._trial(result) for result in self._ended()])

    @property
    def best_trial(self) -> Trial:
        """The finished trial that `select` chooses, by default the highest score; StoreError if none has finished."""
        return self._trial(self._best())

    def pareto_front(self) -> pd.DataFrame:
        """Return the rows of `results` that no other trial beats in accuracy, health and number of weights at once.

        The most accurate comes first. One column more than in `results`: ``size_efficiency``, 1 for a model as small as
        the smallest of the search that is as accurate as can be told; by logarithms of the numbers of weights.

        Raises
        ------
        ConfigError
            Health was not measured.
        """
        if not self.request.config.health_monitoring_frequency:
            raise ConfigError("There is no health to compare: it needs health_monitoring_frequency of at least 1.")
        ended = self._ended()
        numbers = [trial.number for trial in pareto_front(ended)]
        front = self.results.set_index("number", drop=False).loc[numbers].reset_index(drop=True)
        return front.assign(size_efficiency=front["number"].map(size_efficiency(ended, len(self._problem.split.y_val))))

    @property
    def best_params(self) -> dict[str, Any]:
        """Every hyperparameter of the best trial, defaults included."""
        return dict(self._best().params)

    @property
    def best_model(self) -> keras.Model:
        """The best trial's own model with the weights of its best epoch, compiled, loaded anew at each call."""
        model = load_model(self.best_trial.model_path, compiled=True)
        if not model.compiled:  # the user's own models are saved compiled
            self._best_config().compile(model)
        return model

    def evaluate(self, final: FinalModel | None = None) -> TestScore:
        """Look at the test set with the best model: the one honest figure, as nothing was chosen by it.

        Every look is recorded; from the second on the result says so.

        Parameters
        ----------
        final : FinalModel, optional
            What `train_final` returned, to look at the test set with that model instead.

        Raises
        ------
        StoreError
            No trial has finished.
        ConfigError
            The run was opened without its data.
        """
        best = self.best_trial
        self._check_data()
        import keras

        model = best.model if final is None else final.model
        probabilities = as_probabilities(model.predict(self.data.x_test, verbose=0))
        losses = keras.ops.sparse_categorical_crossentropy(self.data.y_test, probabilities)
        assert self._log is not None  # there is a best trial
        event = TestEvaluated(
            **self._log.identity(),
            number=best.number if final is None else final.number,
            accuracy=float((probabilities.argmax(axis=1) == self.data.y_test).mean()),
            loss=float(np.mean(losses)),
            samples=len(self.data.y_test),
            final=final is not None,
        )
        self._log.take(event)
        with self._reading() as state:
            looks = state.looks
        return TestScore(
            accuracy=event.accuracy,
            loss=event.loss,
            samples=event.samples,
            number=event.number,
            final=event.final,
            looks=looks,
        )

    def save_model(self, path: str | Path) -> Path:
        """Copy the best model to `path`, and its hyperparameters beside it: a YAML file that is named after the model.

        Parameters
        ----------
        path : str or path
            ``best.keras`` comes with ``best_hyperparameters.yaml``, ``second.keras`` with
            ``second_hyperparameters.yaml``. Ending in ``.zip``: model and YAML are in it.

        Raises
        ------
        ConfigError
            Another suffix.
        StoreError
            No trial has finished, or the folder cannot be written.
        """
        model = self.best_trial.model_path
        if Path(path).suffix not in (".keras", ".zip"):
            raise ConfigError(f"A model is saved as Keras' .keras file, or packed as .zip. Got {str(path)!r}.")
        if Path(path).suffix == ".zip":
            return _write(Path(path), self._best_model_zip())
        target = copy_model(model, path)
        record = best_record(self._best(), self._record)
        _write(target.with_name(f"{target.stem}_hyperparameters.yaml"), to_yaml(record))
        return target

    def save_run(self, path: str | Path) -> Path:
        """Pack the folder of the run into one zip file; unpacked elsewhere, `hpoviz.open_run` opens it.

        Raises
        ------
        ConfigError
            `path` does not end in ``.zip``.
        StoreError
            The search has not begun, or the file cannot be written.
        """
        target = Path(path)
        if target.suffix != ".zip":
            raise ConfigError(f"A run is packed as a zip file: the path must end in .zip. Got {str(path)!r}.")
        self._check_begun()
        building = target.with_name(f".{target.name}.tmp")  # the run's own folder may be the place
        try:
            with building.open("wb") as file:
                zip_run(self._folder, file, but=target)
            building.replace(target)
        except OSError as error:
            raise StoreError(f"{str(path)!r} cannot be written: {error}. Name another path.") from error
        finally:
            with contextlib.suppress(OSError):
                building.unlink(missing_ok=True)
        return target

    def _pack(self, file: IO[bytes]) -> None:
        self._check_begun()
        zip_run(self._folder, file)

    def _check_begun(self) -> None:
        if self._log is None:
            raise StoreError("The search has not begun, so there is nothing to take away. Call run() or start().")

    def _best_model_zip(self) -> bytes:
        best = self._best()
        return model_zip(self._trial(best).model_path, best_record(best, self._record))

    def summary(self) -> str:
        """Return three sentences: what won, why, and what to try next."""
        if self._log is None:
            return "The search was not started yet. Call run() or start()."
        with self._reading() as state:
            ended, best = state.numbered, state.best
        return summarize(ended, best, self._importances(), self._problem.space)

    def to_code(self) -> str:
        """Return the best model as plain Keras source that builds, compiles and trains it without hpoviz."""
        from hpoviz.architecture.source import keras_source

        config = self._best_config()
        if not isinstance(config, ModelConfig):
            raise ExportError(
                "to_code writes the models that hpoviz builds; this one is built by your own build_model, which is its "
                "source. Call it with opt.best_params."
            )
        best = self.best_trial
        title = f"A classifier of {self.data.name}: validation accuracy {best.accuracy:.4f} when hpoviz found it."
        patience = self.request.config.early_stopping_patience
        return keras_source(best.model, config, title=title, patience=patience)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[RunState]:
        if self._log is None:
            yield RunState()
        else:
            with self._log.reading() as state:
                yield state

    @abc.abstractmethod
    def _open_phase(self) -> str:
        """Say where a run is that has not ended."""

    @abc.abstractmethod
    def _importances(self) -> dict[str, float]:
        """Return each parameter's share in the differences of the score; empty where it is not known."""

    def _ended(self) -> list[TrialResult]:
        with self._reading() as state:
            return state.numbered

    def _best(self) -> TrialResult:
        with self._reading() as state:
            best = state.best
            counts = ", ".join(f"{count} {name}" for name, count in state.counts.items())
        if best is None:
            raise StoreError(self._no_best(counts))
        return best

    def _no_best(self, counts: str) -> str:
        """Say why there is no best trial, and what to do where it is known."""
        if self._log is None:
            return "No trial has finished, so there is no best one: the search was not started. Call run() or start()."
        if self._open_phase() == "running":
            return (
                "No trial has finished yet, so there is no best one: the search is running "
                f"({counts or 'its workers start'}). Call wait(), or look later."
            )
        return f"No trial has finished, so there is no best one: {counts or 'no trial was begun'}."

    def _check_data(self) -> None:
        """Raise ConfigError if the run was opened without its data."""
        if isinstance(self.data, RecordedData):
            raise ConfigError(self.data.refusal)

    def _best_config(self) -> TrialModel:
        return self._problem.family.from_dict(self._best().params)

    def _trial(self, result: TrialResult) -> Trial:
        problem = self._problem
        return Trial(
            result, self._trial_folder(result), self.request.scoring.metrics, lambda: problem.validation_samples
        )

    def _trial_folder(self, result: TrialResult) -> Path:
        return trial_path(self._folder, result.trial_id)


def _write(path: Path, content: bytes) -> Path:
    try:
        write_atomically(path, content)
    except OSError as error:
        raise StoreError(f"{str(path)!r} cannot be written: {error}. Name another path.") from error
    return path
