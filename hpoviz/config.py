"""The settings of a search (OptimizationRequest) and of the system that runs it (OptimizationConfig)."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hpoviz.errors import ConfigError, nearest
from hpoviz.health.metric import LEAST_EPOCHS, METRICS
from hpoviz.health.weights import OBJECTIVES, PARETO, Scoring, scoring_problems
from hpoviz.results import BEST, ONE_SE_HEALTHIEST

__all__ = ["DASHBOARD", "HTML", "NONE", "OptimizationConfig", "OptimizationRequest", "check_count"]

DISPLAYS = DASHBOARD, HTML, TEXT, NONE = "dashboard", "html", "text", "none"
SELECTIONS = (BEST, ONE_SE_HEALTHIEST)


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizationConfig:
    """How the system runs a search: what most people never touch.

    Parameters
    ----------
    timeout_hours : float, optional
        The whole search stops cleanly after so many hours. None: no limit.
    retries : int
        How often a trial is repeated on a fresh worker when its worker died.
    early_stopping_patience : int, optional
        A trial ends after so many epochs without a better validation accuracy. None: every epoch is trained.
    startup_trials : int
        So many trials are proposed at random, and none is pruned before as many have finished.
    keep_models : {"all", "best"}
        Which trials' ``.keras`` files stay on disk.
    health_monitoring_frequency : int
        A trial's hidden layers are looked at before training, after every so many epochs and at the end, when its
        health is measured. 0: never, and trials have no health.
    record_layers : bool
        Trials keep what their figures are drawn from: predictions, and by layer and epoch histograms, gradients, silent
        units and pictures of one sample; some hundred kilobytes a trial.
    display : {"dashboard", "html", "text", "none"}
        How a running search shows itself in a notebook: by the dashboard; by bars in HTML, where widgets cannot be had;
        by lines of text; not at all. Outside of notebooks it is text or nothing.

    Raises
    ------
    ConfigError
        With every problem at once.

    Examples
    --------
    >>> OptimizationConfig(timeout_hours=2).retries
    1
    """

    timeout_hours: float | None = None
    retries: int = 1
    early_stopping_patience: int | None = 6
    startup_trials: int = 8
    keep_models: str = "all"
    health_monitoring_frequency: int = 1
    record_layers: bool = True
    display: str = "dashboard"

    def __post_init__(self) -> None:
        _raise_all(self._problems())

    def _problems(self) -> Iterator[str]:
        yield from _positive("timeout_hours", self.timeout_hours, optional=True)
        yield from _whole("retries", self.retries, least=0)
        yield from _whole("early_stopping_patience", self.early_stopping_patience, least=1, optional=True)
        yield from _whole("startup_trials", self.startup_trials, least=1)
        yield from _one_of("keep_models", self.keep_models, ("all", "best"))
        yield from _whole("health_monitoring_frequency", self.health_monitoring_frequency, least=0)
        yield from _flag("record_layers", self.record_layers)
        yield from _one_of("display", self.display, DISPLAYS)


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizationRequest:
    """What a search is asked for: the keywords of `hpoviz.Optimizer`.

    Parameters
    ----------
    trials : int
        How many models to try.
    objective : {"accuracy", "health", "pareto"}
        What is maximised. ``"accuracy"``: the accuracy on validation data, in [0, 1]. ``"health"``: a weighted mean of
        it and the overall health. ``"pareto"``: accuracy and health, with as few weights as may be, none of them
        before the others; nothing is pruned, and `Optimizer.pareto_front` shows the trials that no other one beats.
    weights : mapping of str to float, optional
        For the health objective: of ``accuracy`` (0.7) and ``health`` (0.3), and of the six health metrics in it.
    select : {"best", "one_se_healthiest"}
        Which trial is the best one: that of highest score, or the healthiest of those whose accuracy is within one
        standard error of the highest.
    seed : int, optional
        Makes a search repeatable (exactly so with one worker). None draws one; it is recorded.
    epochs : int or (int, int), optional
        Epochs of every trial, or their range. None searches the range that the architecture declares.
    search_space : mapping or callable, optional
        Narrow or fix parameters: ``{"num_layers_conv": (1, 3), "activation": "relu", "kernel_size": [3, 5]}``;
        a tuple of two numbers is a range, a list a choice, anything else a fixed value. A function
        ``trial -> dict`` replaces the space; ``trial`` is an Optuna trial. With `build_model` all parameters are
        yours; ``batch_size`` and ``epochs`` are 32 and 20 where you do not name them.
    architecture : str, optional
        Name of a model family. None chooses by the kind of data.
    build_model : callable, optional
        ``build_model(params, data) -> compiled keras.Model``: a model of your own. ``params`` is a dictionary, ``data``
        an `hpoviz.DataInfo` with input_shape, num_classes and more. `search_space` then names your parameters.
    callbacks : list of keras.callbacks.Callback
        Every trial trains with fresh copies of them.
    backend : str or Backend
        Where trials run: ``"local"`` (worker processes), ``"inline"`` (this process), or a backend object.
    workers : int, optional
        Trials at the same time. None: one a core up to 4, as memory allows; one on a GPU.
    sampler : str or optuna.samplers.BaseSampler
        ``"tpe"``, ``"random"``, or an Optuna sampler of your own.
    pruner : str, None or optuna.pruners.BasePruner
        ``"halving"`` (asynchronous successive halving), None (train every trial to its end), or your own.
    validation_fraction : float
        Share of the training data that trials are compared on, in (0, 0.9]. Stratified, seeded.
    max_parameters : int, optional
        A larger model is not trained and counts as infeasible.
    max_trial_minutes : float, optional
        A slower trial is stopped and counts as infeasible.
    run_dir : str or path, optional
        This run's own folder; it must not exist yet. None: a new folder in ``hpoviz_runs/``.
    config : OptimizationConfig, optional
        Settings of the system.

    Raises
    ------
    ConfigError
        With every problem at once.

    Examples
    --------
    >>> OptimizationRequest(trials=10).objective
    'accuracy'
    >>> OptimizationRequest(trials="many")
    Traceback (most recent call last):
        ...
    hpoviz.errors.ConfigError: trials must be a whole number, at least 1. Got 'many'.
    """

    trials: int = 50
    objective: str = "accuracy"
    weights: Mapping[str, float] | None = None
    select: str = BEST
    seed: int | None = None
    epochs: int | tuple[int, int] | None = None
    search_space: Any = None
    architecture: str | None = None
    build_model: Any = None
    callbacks: Sequence[Any] = ()
    backend: Any = "local"
    workers: int | None = None
    sampler: Any = "tpe"
    pruner: Any = "halving"
    validation_fraction: float = 0.2
    max_parameters: int | None = None
    max_trial_minutes: float | None = None
    run_dir: str | os.PathLike[str] | None = None
    config: OptimizationConfig = dataclasses.field(default_factory=OptimizationConfig)

    def __post_init__(self) -> None:
        _raise_all(self._problems())

    @classmethod
    def from_keywords(cls, keywords: dict[str, Any]) -> OptimizationRequest:
        """Build a request from keywords; an unknown one is a ConfigError that offers the nearest name."""
        known = [field.name for field in dataclasses.fields(cls)]
        problems = [
            f"Optimizer has no setting '{name}'.{nearest(name, known)} Settings: {', '.join(known)}."
            for name in keywords
            if name not in known
        ]
        try:
            request = cls(**{name: value for name, value in keywords.items() if name in known})
        except ConfigError as error:
            problems.append(str(error))
        if problems:
            raise ConfigError("\n".join(problems))
        return request

    def keywords(self) -> dict[str, Any]:
        """Return the fields by name: what `from_keywords` takes."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def _problems(self) -> Iterator[str]:
        yield from _whole("trials", self.trials, least=1)
        yield from _one_of("objective", self.objective, OBJECTIVES)
        yield from scoring_problems(self.objective, self.weights)
        yield from self._health_problems()
        yield from _whole("seed", self.seed, least=0, most=2**32 - 1, optional=True)
        yield from self._epochs_problems()
        yield from self._model_problems()
        yield from _whole("workers", self.workers, least=1, optional=True)
        fraction = self.validation_fraction
        if not _is_number(fraction) or not 0 < fraction <= 0.9:
            yield f"validation_fraction must be a number in (0, 0.9]. Got {fraction!r}."
        yield from _whole("max_parameters", self.max_parameters, least=1, optional=True)
        yield from _positive("max_trial_minutes", self.max_trial_minutes, optional=True)
        yield from _instance("run_dir", self.run_dir, (str, os.PathLike, type(None)), "a path")
        yield from _instance("config", self.config, OptimizationConfig, "an hpoviz.OptimizationConfig")

    @property
    def scoring(self) -> Scoring:
        """What is maximised, with its weights."""
        return Scoring.of(self.objective, self.weights)

    @property
    def _needs_stability(self) -> bool:
        weights = self.weights if isinstance(self.weights, Mapping) else {}
        named = any(name in METRICS for name in weights)
        return self.objective != "accuracy" and (not named or bool(weights.get("training_stability")))

    def _health_problems(self) -> Iterator[str]:
        yield from _one_of("select", self.select, SELECTIONS)
        config: Any = self.config
        if not isinstance(config, OptimizationConfig):
            return
        if config.health_monitoring_frequency == 0 and (self.objective != "accuracy" or self.select != BEST):
            wish = f"objective={self.objective!r}" if self.objective != "accuracy" else f"select={self.select!r}"
            yield f"{wish} needs the health of trials: health_monitoring_frequency must be at least 1. Got 0."
        if self.select != BEST and config.keep_models == "best":
            yield f"select={self.select!r} may choose any trial, so keep_models must be 'all'. Got 'best'."
        if self.objective == PARETO and config.keep_models == "best":
            yield "objective='pareto' has no best trial alone, so keep_models must be 'all'. Got 'best'."
        patience = config.early_stopping_patience
        if self._needs_stability and isinstance(patience, int) and patience < LEAST_EPOCHS - 1:
            yield (
                f"objective={self.objective!r} needs trials of at least {LEAST_EPOCHS} epochs, as the stability of "
                f"shorter ones cannot be known: early_stopping_patience must be at least {LEAST_EPOCHS - 1} (or None). "
                f"Got {patience}."
            )

    def _model_problems(self) -> Iterator[str]:
        if self.build_model is not None:
            if not callable(self.build_model):
                yield f"build_model must be a function (params, data) -> keras.Model. Got {self.build_model!r}."
            if self.architecture is not None:
                yield "architecture and build_model exclude each other. Leave one of them out."
            if self.search_space is None:
                yield (
                    "build_model needs a search_space that says what to search, as {'units': (16, 128)} or a function "
                    "trial -> dict. Got None."
                )
        yield from _instance("callbacks", self.callbacks, (list, tuple), "a list of keras.callbacks.Callback")

    def _epochs_problems(self) -> Iterator[str]:
        if not isinstance(self.epochs, tuple):
            yield from _whole("epochs", self.epochs, least=1, optional=True)
        elif len(self.epochs) != 2 or not all(_is_whole(value, 1) for value in self.epochs):
            yield f"epochs must be a whole number or a range of two, as (5, 20). Got {self.epochs!r}."
        elif self.epochs[0] > self.epochs[1]:
            yield f"epochs is upside down: {self.epochs!r}. Write ({self.epochs[1]}, {self.epochs[0]})."


def check_count(name: str, value: Any, *, least: int) -> None:
    """Raise ConfigError unless `value` is a whole number of at least `least`."""
    _raise_all(_whole(name, value, least=least))


def _raise_all(problems: Iterator[str]) -> None:
    found = list(problems)
    if found:
        raise ConfigError("\n".join(found))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _whole(name: str, value: Any, *, least: int, most: int | None = None, optional: bool = False) -> Iterator[str]:
    if optional and value is None:
        return
    if not _is_whole(value, least) or (most is not None and value > most):
        limit = f"at least {least}" if most is None else f"from {least} to {most}"
        yield f"{name} must be a whole number, {limit}{' (or None)' if optional else ''}. Got {value!r}."


def _positive(name: str, value: Any, *, optional: bool = False) -> Iterator[str]:
    if not (optional and value is None) and not (_is_number(value) and value > 0):
        yield f"{name} must be a number above 0{' (or None)' if optional else ''}. Got {value!r}."


def _instance(name: str, value: Any, types: Any, allowed: str) -> Iterator[str]:
    if not isinstance(value, types):
        yield f"{name} must be {allowed}. Got {value!r}."


def _flag(name: str, value: Any) -> Iterator[str]:
    if not isinstance(value, bool):
        yield f"{name} must be True or False. Got {value!r}."


def _one_of(name: str, value: Any, allowed: tuple[str, ...]) -> Iterator[str]:
    if not isinstance(value, str) or value not in allowed:
        options = ", ".join(map(repr, allowed))
        yield f"{name} must be one of {options}. Got {value!r}.{nearest(value, allowed)}"
