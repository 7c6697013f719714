"""run_trial: the only code that trains. Backends carry its spec there and its events back."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import hashlib
import io
import itertools
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from hpoviz.data.data_split import DataSplit
from hpoviz.events import Event, ModelBuilt, PhaseChanged, TrialCancelled, TrialEvent, TrialFailed, TrialFinished
from hpoviz.health.assessment import assess
from hpoviz.health.report import HealthReport
from hpoviz.health.weights import PARETO, Scoring
from hpoviz.models.model_config import load_family
from hpoviz.models.trial_model import TrialModel
from hpoviz.models.user_code import UserCode
from hpoviz.results import Epoch
from hpoviz.store.run_store import write_atomically
from hpoviz.training.devices import Devices
from hpoviz.training.failure import failure_of
from hpoviz.training.health_watch import HealthWatch
from hpoviz.training.layer_watch import LayerWatch
from hpoviz.training.loop import EpochLoop, why_fit
from hpoviz.training.recorder import Recorder, TrialStopped
from hpoviz.trial_spec import TrialSpec

__all__ = ["run_trial"]

MODEL_FILE, HISTORY_FILE = "model.keras", "history.csv"


def run_trial(
    spec: TrialSpec,
    data: DataSplit,
    emit: Callable[[Event], None],
    should_stop: Callable[[], bool],
    folder: Path,
    code: UserCode,
) -> None:
    """Build, train, record and save one model; tell everything by events, the last of them a TerminalEvent.

    No exception of the model's leaves this function: an error is a TrialFailed with its reason.

    Parameters
    ----------
    spec : TrialSpec
    data : DataSplit
    emit : callable
        Called with each event, from this thread.
    should_stop : callable
        Asked after every batch; True ends the trial as TrialCancelled.
    folder : Path
        Existing; receives ``model.keras`` (no optimizer state), ``history.csv`` and, where health is measured,
        ``health.json``, and ``arrays.npz`` where its layers are recorded.
    code : UserCode
        The user's own model and callbacks.
    """
    _Trial(spec, data, emit, should_stop, folder, code).run()


class _Trial:
    def __init__(
        self,
        spec: TrialSpec,
        data: DataSplit,
        emit: Callable[[Event], None],
        should_stop: Callable[[], bool],
        folder: Path,
        code: UserCode,
    ) -> None:
        self.spec, self.data, self.folder, self.code = spec, data, folder, code
        self._emit, self._should_stop = emit, should_stop
        self._scoring = Scoring(**spec.scoring) if spec.scoring else Scoring()
        self._devices = Devices(spec.devices, spec.scale_batch)
        self._sequence = itertools.count()
        self._began = time.monotonic()

    def run(self) -> None:
        try:
            self._train()
        except TrialStopped as stopped:
            self._tell_stopped(stopped)
        except (Exception, SystemExit) as error:  # a callback may call sys.exit: the worker has more to do
            self._say(TrialFailed, **failure_of(error), seconds=self._seconds())

    def _train(self) -> None:
        spec = self.spec
        self._say(PhaseChanged, phase="building")
        keras.utils.set_random_seed(spec.seed)
        family = self.code.family(spec.architecture) or load_family(spec.architecture)
        config = self._devices.scaled(family.from_dict(spec.params))
        with self._devices.scope():
            model = config.build(self.data.info)
            config.compile(model)
        callbacks = [*self._schedule(config), *self.code.fresh_callbacks()]
        x_train = config.prepare(self.data.x_train, self.data.info)
        reason = why_fit(model, callbacks, x_train)
        trained_by = "the compiled loop" if reason is None else f"Model.fit, as {reason}"
        self._check_size(model, trained_by + self._devices.described(config), self._devices.rate_factor(config))
        recorder = self._make_recorder(config)
        recorder.check()
        self._say(PhaseChanged, phase="compiling")
        train = self._loop if reason is None else self._fit
        watch, layers = self._make_watch(config, x_train), self._make_layer_watch(config)
        watches = [one for one in (layers, watch) if one is not None]
        with self._kept(layers):
            train(config, model, x_train, [*callbacks, recorder, *watches], recorder)
            best = recorder.restore_best()
            if layers is not None:
                layers.predict()
        health = self._measure(watch, best.epoch)
        scored = self._score(model, best, health, watch)
        self._say(PhaseChanged, phase="saving")
        digest = self._save(config, model, recorder.history)
        self._say(
            TrialFinished,
            **scored,
            accuracy=best.val_accuracy,
            loss=best.val_loss,
            best_epoch=best.epoch,
            epochs=len(recorder.history),
            model_sha256=digest,
            health=None if health is None else health.overall,
            metrics=None if health is None else {name: metric.value for name, metric in health.metrics.items()},
            no_health=watch.problem if watch else None,
            seconds=self._seconds(),
        )

    def _make_watch(self, config: TrialModel, x_train: np.ndarray) -> HealthWatch | None:
        """Return what looks into the model, where that is asked for and there are validation samples."""
        spec, data = self.spec, self.data
        if not spec.health_every or not len(data.y_val):
            return None
        parts = ((x_train, data.y_train), (config.prepare(data.x_val, data.info), data.y_val))
        return HealthWatch(self._say, parts, every=spec.health_every, seed=spec.seed, give_up=spec.give_up)

    def _make_layer_watch(self, config: TrialModel) -> LayerWatch | None:
        """Return what keeps the numbers of the trial's figures, where they are wanted."""
        spec, data = self.spec, self.data
        if not spec.record_layers or not len(data.y_val):
            return None
        x_val = config.prepare(data.x_val, data.info)
        return LayerWatch(x_val, data.y_val, epochs=config.epochs, seed=0)  # the same samples in every trial

    @contextlib.contextmanager
    def _kept(self, layers: LayerWatch | None) -> Iterator[None]:
        """Keep what was seen of the layers, also of a training that is ended early."""
        try:
            yield
        finally:
            if layers is not None:
                layers.save(self.folder)

    def _measure(self, watch: HealthWatch | None, epoch: int) -> HealthReport | None:
        """Return the health of the trained model, by the weights of the search."""
        if watch is None:
            return None
        self._say(PhaseChanged, phase="probing")
        began = time.monotonic()
        seen = watch.measure(self.folder, epoch)
        weights = self._scoring.metrics
        return None if seen is None else assess(seen, weights=weights, seconds=time.monotonic() - began)

    def _score(
        self, model: keras.Model, best: Epoch, health: HealthReport | None, watch: HealthWatch | None
    ) -> dict[str, Any]:
        """Return what the search maximises; TrialStopped if it needs a health that this model does not have."""
        accuracy, scoring = best.val_accuracy, self._scoring
        if accuracy is None or not scoring.needs_health:
            return {"score": accuracy}
        values = {} if health is None else {name: metric.value for name, metric in health.metrics.items()}
        missing = scoring.missing(values)
        if health is None or health.overall is None or missing:
            why = watch.problem if watch and watch.problem else "health was not measured"
            reasons = [f"{name}: {health.metrics[name].reason}" for name in missing] if health else [why]
            raise TrialStopped(
                "no_health", f"its health is not known, and the objective needs it ({'; '.join(reasons)})"
            )
        objectives = None
        if scoring.objective == PARETO:
            objectives = [accuracy, health.overall, -math.log10(max(model.count_params(), 1))]
        return {"score": scoring.score(accuracy, health.overall), "objectives": objectives}

    def _schedule(self, config: TrialModel) -> list[keras.callbacks.Callback]:
        rates, factor = self.spec.learning_rates, self._devices.rate_factor(config)
        if rates is None:
            return config.schedule_callbacks()
        return [keras.callbacks.LearningRateScheduler(lambda epoch: rates[epoch] * factor)]

    def _fit(
        self,
        config: TrialModel,
        model: keras.Model,
        x_train: np.ndarray,
        callbacks: list[keras.callbacks.Callback],
        recorder: Recorder,
    ) -> None:
        data, weights = self.data, config.class_weights(self.data.y_train)
        given = self._devices.fit_arguments(
            (x_train, data.y_train),
            (config.prepare(data.x_val, data.info), data.y_val) if len(data.y_val) else None,
            batch_size=config.batch_size,
            epochs=config.epochs,
            seed=self.spec.seed,
            class_weights=weights,
        )
        with self._devices.joined(model):
            model.fit(**given, callbacks=callbacks, verbose=0)

    def _loop(
        self,
        config: TrialModel,
        model: keras.Model,
        x_train: np.ndarray,
        callbacks: list[keras.callbacks.Callback],
        recorder: Recorder,
    ) -> None:
        data, model.stop_training = self.data, False
        x_val = config.prepare(data.x_val, data.info)
        loop = EpochLoop(
            model,
            x_train,
            data.y_train,
            batch_size=config.batch_size,
            seed=self.spec.seed,
            epochs=config.epochs,
            class_weights=config.class_weights(data.y_train),
        )
        told = keras.callbacks.CallbackList(callbacks, model=model, epochs=config.epochs, verbose=0)
        told.on_train_begin()
        for epoch in range(config.epochs):
            told.on_epoch_begin(epoch)
            figures = loop.train_epoch(recorder.look)
            recorder.gradient_norms = figures.gradient_norms
            logs = {"loss": figures.loss, "accuracy": figures.accuracy}
            if len(x_val):
                logs["val_loss"], logs["val_accuracy"] = loop.evaluate(x_val, data.y_val, recorder.check)
            told.on_epoch_end(epoch, logs)
            if model.stop_training:
                break
        told.on_train_end(logs)

    def _check_size(self, model: keras.Model, trained_by: str, rate_factor: float) -> None:
        parameters, limit = model.count_params(), self.spec.max_parameters
        self._say(ModelBuilt, parameters=parameters, trained_by=trained_by, rate_factor=rate_factor)
        if limit is not None and parameters > limit:
            raise TrialStopped(
                "too_large",
                f"has {parameters:,} parameters, more than max_parameters={limit:,}: not trained.",
                violation=parameters / limit - 1,
            )

    def _make_recorder(self, config: TrialModel) -> Recorder:
        minutes = self.spec.max_trial_minutes
        return Recorder(
            self._say,
            self._should_stop,
            epochs=config.epochs,
            patience=self.spec.early_stopping_patience,
            deadline_s=None if minutes is None else self._began + 60 * minutes,
            limit_minutes=minutes,
        )

    def _save(self, config: TrialModel, model: keras.Model, history: list[Epoch]) -> str:
        """Save the model and its history, and return the hash of the model's file."""
        temporary = self.folder / ".model.tmp.keras"
        with contextlib.ExitStack() as clean_up:
            clean_up.callback(temporary.unlink, missing_ok=True)
            config.export(model, self.data.info).save(temporary)
            content = temporary.read_bytes()
        write_atomically(self.folder / MODEL_FILE, content)
        write_atomically(self.folder / HISTORY_FILE, _history_csv(history))
        return hashlib.sha256(content).hexdigest()

    def _tell_stopped(self, stopped: TrialStopped) -> None:
        if stopped.kind == "cancelled":
            self._say(TrialCancelled, seconds=self._seconds(), reason=str(stopped))
        else:
            self._say(
                TrialFailed,
                kind=stopped.kind,
                reason=str(stopped),
                violation=stopped.violation,
                seconds=self._seconds(),
            )

    def _seconds(self) -> float:
        return time.monotonic() - self._began

    def _say(self, event_type: type[TrialEvent], **fields: object) -> None:
        spec = self.spec
        self._emit(
            event_type(
                run=spec.run,
                trial=spec.trial,
                attempt=spec.attempt,
                sequence=next(self._sequence),
                **fields,  # type: ignore[arg-type]
            )
        )


def _history_csv(history: list[Epoch]) -> bytes:
    text = io.StringIO(newline="")
    names = [field.name for field in dataclasses.fields(Epoch) if field.name != "gradient_norms"]
    writer = csv.DictWriter(text, names, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(dataclasses.asdict(epoch) for epoch in history)
    return text.getvalue().encode()
