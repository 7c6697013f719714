"""LogFolder: the trials of a search as TensorBoard's event files, from what was recorded; nothing is trained again.

A trial is one run of TensorBoard's, so it has one colour in all charts. In the folder are::

    hpoviz.json     which search this is
    events.out…     its parameters and metrics
    trial_003/      events.out…: parameters, results, curves, gradients, silent units, histograms

Steps are epochs, counted from 1; 0 is before training.
"""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
import secrets
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hpoviz.errors import ConfigError, StoreError
from hpoviz.results import FAILED, FINISHED, INFEASIBLE, TrialResult
from hpoviz.search.parameter import Parameter
from hpoviz.search.space import CustomSpace, Domain, SearchSpace
from hpoviz.store.run_store import RunStore
from hpoviz.tensorboard_events import EventFile, builders
from hpoviz.training_record import TrainingRecord

__all__ = ["LogFolder", "LoggedSearch", "run_name"]

MARK = "hpoviz.json"
BOOL, NUMBER, TEXT = "bool", "number", "text"
METRICS = ("score", "accuracy", "loss", "health")
CURVES = {  # tags, and the fields of an epoch
    "epoch_loss/train": "loss",
    "epoch_loss/validation": "val_loss",
    "epoch_accuracy/train": "accuracy",
    "epoch_accuracy/validation": "val_accuracy",
    "epoch_learning_rate": "learning_rate",
    "epoch_seconds": "seconds",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoggedSearch:
    """What TensorBoard is told of a search.

    Attributes
    ----------
    run : str
        Its name.
    created : str
        When it was created, ISO 8601; name and time together say which search it is.
    parameters : mapping of str to Parameter
        The declared ones.
    domains : mapping of str to Domain
        Where each is searched; empty where a function of the user's decides.
    trials : sequence of TrialResult
        The ended ones.
    began : mapping of int to str
        When each began, ISO 8601, by trial_id.
    """

    run: str
    created: str
    parameters: Mapping[str, Parameter]
    domains: Mapping[str, Domain]
    trials: Sequence[TrialResult]
    began: Mapping[int, str]

    @classmethod
    def of(
        cls,
        folder: Path,
        space: SearchSpace | CustomSpace,
        trials: Sequence[TrialResult],
        begun: Mapping[int, tuple[str, int]],
    ) -> LoggedSearch:
        """Return what is known of the search in a run's folder; StoreError where no trial has ended."""
        if not trials:
            raise StoreError(
                "There is nothing to show in TensorBoard, as no trial has ended. Wait for the first to end."
            )
        record = RunStore.open(folder)[1]
        return cls(
            run=record["run"],
            created=record["created"],
            parameters=space.parameters,
            domains=space.domains if isinstance(space, SearchSpace) else {},
            trials=trials,
            began={trial: time for trial, (time, _) in begun.items()},
        )

    def kinds(self) -> dict[str, str]:
        """Return whether each parameter is bool, number or text."""
        names = dict.fromkeys([*self.parameters, *(name for trial in self.trials for name in trial.params)])
        return {name: _kind(self._values(name)) for name in names}

    def _values(self, name: str) -> Sequence[Any]:
        domain = self.domains.get(name)
        if domain is not None:
            return domain.choices or (domain.low, domain.high)
        if name in self.parameters:
            return (self.parameters[name].default,)
        return [trial.params[name] for trial in self.trials if trial.params.get(name) is not None]


class LogFolder:
    """A folder of event files that belongs to one search; nothing in it is ever deleted.

    Parameters
    ----------
    folder : Path
    search : LoggedSearch

    Raises
    ------
    ExportError
        The package tensorboard is missing.
    ConfigError
        The folder holds the trials of another search.
    StoreError
        It cannot be written.
    """

    def __init__(self, folder: Path, search: LoggedSearch) -> None:
        self.folder, self.search = folder, search
        self._tb, self._kinds = builders(), search.kinds()
        self._created_s = _seconds(search.created)
        self._claim()

    def missing(self) -> list[TrialResult]:
        """Return the trials that are not written yet."""
        return [trial for trial in self.search.trials if not self._path(trial).is_file()]

    def write_search(self) -> bool:
        """Write parameters and metrics, and return whether others had been written before."""
        path = self.folder / _file_name(self._created_s)
        content = _search_log(self._tb, self.search, self._kinds, self._created_s).to_bytes()
        known = path.read_bytes() if path.is_file() else None
        if content != known:
            self._write(path, content)
        return known is not None and content != known

    def write_trial(self, trial: TrialResult, record: TrainingRecord | None) -> None:
        """Write a trial: what is known of it, and what was seen of its layers, if it was recorded."""
        began_s = _seconds(self.search.began.get(trial.trial_id, self.search.created))
        log = _trial_log(self._tb, trial, began_s, self._kinds)
        if record is not None:
            _add_layers(log, record, len(trial.history))
        self._write(self._path(trial), log.to_bytes())

    def _path(self, trial: TrialResult) -> Path:
        return self.folder / run_name(trial) / _file_name(self._created_s)

    def _claim(self) -> None:
        """Make the folder this search's own."""
        own = {"run": self.search.run, "created": self.search.created}
        mark = self.folder / MARK
        try:
            known = json.loads(mark.read_text("utf-8")) if mark.is_file() else None
        except (OSError, ValueError) as error:
            raise StoreError(f"{str(mark)!r} cannot be read: {error}. Name another log_dir.") from error
        if known is None:
            self._write(mark, (json.dumps(own) + "\n").encode())
        elif known != own:
            raise ConfigError(f"log_dir {str(self.folder)!r} holds the trials of another search. Name another folder.")

    def _write(self, path: Path, content: bytes) -> None:
        """Write a file whole or not at all, under a name that TensorBoard passes over until it is whole."""
        temporary = path.with_name(f".{secrets.token_hex(4)}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                temporary.write_bytes(content)
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(
                f"TensorBoard's files cannot be written in {str(self.folder)!r}: {error}. Name another log_dir."
            ) from error


def run_name(trial: TrialResult) -> str:
    """Return what TensorBoard calls a trial.

    Examples
    --------
    >>> run_name(TrialResult(trial_id=0, number=3, params={}, seed=0))
    'trial_003'
    """
    return f"trial_{trial.number:03d}"


def _search_log(tb: Any, search: LoggedSearch, kinds: Mapping[str, str], created_s: float) -> EventFile:
    """Return what HPARAMS shows: parameters and metrics."""
    log = EventFile(tb, [created_s])
    metrics = [tb.hparams.Metric(f"result/{name}", display_name=name).as_proto() for name in METRICS]
    infos = [_hparam_info(tb, search, name, kind) for name, kind in kinds.items()]
    experiment = tb.api.Experiment(hparam_infos=infos, metric_infos=metrics, time_created_secs=created_s)
    log.hparams(tb.hparams_metadata.EXPERIMENT_TAG, experiment=experiment)
    return log


def _hparam_info(tb: Any, search: LoggedSearch, name: str, kind: str) -> Any:
    """Describe a parameter; TensorBoard hides trials whose value is not among the choices, so those found count too."""
    kinds = {BOOL: tb.api.DATA_TYPE_BOOL, NUMBER: tb.api.DATA_TYPE_FLOAT64, TEXT: tb.api.DATA_TYPE_STRING}
    about = search.parameters[name].help if name in search.parameters else ""
    info = tb.api.HParamInfo(name=name, type=kinds[kind], description=about)
    domain = search.domains.get(name)
    found = [_hparam(kind, trial.params[name]) for trial in search.trials if name in trial.params]
    choices = [_hparam(kind, value) for value in (domain.choices if domain is not None else None) or ()]
    known = [value for value in dict.fromkeys([*choices, *found]) if value is not None]
    if choices:
        info.domain_discrete.extend(known)
    elif domain is not None:
        info.domain_interval.min_value, info.domain_interval.max_value = domain.low, domain.high
    info.differs = len(known) > 1 or (domain is not None and not domain.fixed)  # these are shown first
    return info


def _trial_log(tb: Any, trial: TrialResult, began_s: float, kinds: Mapping[str, str]) -> EventFile:
    """Return parameters, results and curves."""
    log = EventFile(tb, [began_s, *(began_s + np.cumsum([epoch.seconds for epoch in trial.history])).tolist()])
    values = {name: _hparam(kinds[name], value) for name, value in trial.params.items()}
    given = {name: value for name, value in values.items() if value is not None}
    log.add(0, tb.hparams.hparams_pb(given, trial_id=run_name(trial), start_time_secs=began_s))
    known = {FINISHED: tb.api.STATUS_SUCCESS, FAILED: tb.api.STATUS_FAILURE, INFEASIBLE: tb.api.STATUS_FAILURE}
    status, ended_s = known.get(trial.state, tb.api.STATUS_UNKNOWN), began_s + (trial.seconds or 0.0)
    end = tb.SessionEnd(status=status, end_time_secs=ended_s)
    log.hparams(tb.hparams_metadata.SESSION_END_INFO_TAG, session_end_info=end)
    for name in METRICS:
        if getattr(trial, name) is not None:
            log.scalar(trial.best_epoch or len(trial.history), f"result/{name}", getattr(trial, name))
    for epoch in trial.history:
        for tag, field in CURVES.items():
            log.scalar(epoch.epoch, tag, getattr(epoch, field))
        for layer, norm in (epoch.gradient_norms or {}).items():
            log.scalar(epoch.epoch, f"layer_gradient_norm/{layer}", norm)
    return log


def _add_layers(log: EventFile, record: TrainingRecord, epochs: int) -> None:
    """Add what was seen of the layers, until the trial's last epoch: a pruned one may have gone on for a while."""
    owners = list(dict.fromkeys(layer for layer, _ in record.tensors))
    of = np.array([owners.index(layer) for layer, _ in record.tensors], np.int64)
    weights, layers = [f"{layer}/{name}" for layer, name in record.tensors], record.layers
    for look, step in enumerate(record.epochs.tolist()):
        if step > epochs:
            continue
        log.histograms(step, [f"layer_weights/{name}" for name in weights], record.weights, look)
        log.histograms(step, [f"layer_gradients/{name}" for name in weights], record.gradients, look)
        log.histograms(step, [f"layer_activations/{layer}" for layer in layers], record.activations, look)
        squares = np.bincount(of, np.square(record.gradient_norms[look].astype(np.float64)), len(owners))
        for layer, square in zip(owners, squares.tolist(), strict=True):
            log.scalar(step, f"layer_gradient_norm_of_samples/{layer}", math.sqrt(square))
        for at, layer in enumerate(layers):
            if record.units[at]:
                log.scalar(step, f"layer_silent_share/{layer}", record.silent[look, at] / record.units[at])


def _seconds(time: str) -> float:
    """Return seconds since 1970 of a time in ISO 8601."""
    return datetime.datetime.fromisoformat(time).timestamp()


def _file_name(created_s: float) -> str:
    return f"events.out.tfevents.{int(created_s):010d}.hpoviz"


def _kind(values: Iterable[Any]) -> str:
    """Return what all values are; text where they differ."""
    kinds = {bool: BOOL, int: NUMBER, float: NUMBER}
    found = {kinds.get(type(value), TEXT) for value in values}
    return found.pop() if len(found) == 1 else TEXT


def _hparam(kind: str, value: Any) -> bool | float | str | None:
    """Return a parameter's value as TensorBoard takes it; None where it has none."""
    if kind == TEXT:
        return str(value)
    return value if value is None or isinstance(value, bool | int | float) else str(value)
