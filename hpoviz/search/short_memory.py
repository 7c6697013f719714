"""A sampler for long studies: it learns from the best trials and some of the others, so that asking stays quick."""

from __future__ import annotations

import math
import warnings
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from hpoviz.search.quiet_study import quiet_study

__all__ = ["ShortMemory"]

ALL_UP_TO = 150  # trials that are all looked at: asking takes some 25 ms there, 80 ms with 1,000 (bench_scheduler)
OTHERS = 45  # beyond: the good ones, of which TPE never takes more than 25, and so many of the others


def good_ones(trials: int) -> int:
    """Return how many of the ended trials TPE takes for good ones: a tenth, 25 at most (Optuna's own rule)."""
    return min(math.ceil(0.1 * trials), 25)


class ShortMemory(optuna.samplers.BaseSampler):
    """TPE, given some trials of a long study instead of all.

    With at most 150 ended trials it is TPE. Beyond, each proposal is asked of a small study that holds the good trials,
    45 others from all its length, and those that are running. For one score, maximised.

    Parameters
    ----------
    **options
        Those of TPESampler, less `gamma`.

    Examples
    --------
    >>> study = optuna.create_study(direction="maximize", sampler=ShortMemory(seed=0))
    >>> study.ask().suggest_float("rate", 0, 1)
    0.5488135039273248
    """

    def __init__(self, **options: Any) -> None:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`gamma`", FutureWarning)  # Optuna 5 will keep it, 6 will not
            self._sampler: optuna.samplers.BaseSampler = optuna.samplers.TPESampler(gamma=self._gamma, **options)
        self._shadow: optuna.Trial | None = None  # the asked trial in the small study
        self._ended = 0  # trials of the study, not of the small one

    def _gamma(self, _: int) -> int:
        return good_ones(self._ended)

    def reseed_rng(self) -> None:
        """See Optuna."""
        self._sampler.reseed_rng()

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Choose what to look at for this trial; see Optuna."""
        trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
        self._shadow, self._ended = None, len(trials)
        if len(trials) <= ALL_UP_TO:
            return self._sampler.infer_relative_search_space(study, trial)
        running = [
            one
            for one in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
            if one.number != trial.number and one.params
        ]
        small = quiet_study(self._sampler, optuna.pruners.NopPruner())
        small.add_trials([_Remembered.of(one) for one in (*_remembered(trials), *running)])
        self._shadow = small.ask()
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """See Optuna."""
        return {} if self._shadow else self._sampler.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """See Optuna."""
        if self._shadow is None:
            return self._sampler.sample_independent(study, trial, param_name, param_distribution)
        match param_distribution:
            case FloatDistribution(low=low, high=high, log=log, step=step):
                return self._shadow.suggest_float(param_name, low, high, log=log, step=step)
            case IntDistribution(low=low, high=high, log=log, step=step):
                return self._shadow.suggest_int(param_name, low, high, log=log, step=step)
            case CategoricalDistribution(choices=choices):
                return self._shadow.suggest_categorical(param_name, choices)
        raise TypeError(f"There is no way to ask for a {type(param_distribution).__name__}.")

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """See Optuna."""
        self._sampler.before_trial(study, trial)

    def after_trial(self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Any) -> None:
        """See Optuna."""
        self._sampler.after_trial(study, trial, state, values)


class _Remembered(FrozenTrial):
    """A trial that a study takes in without copying all that is in it, which took half of the time to ask."""

    @classmethod
    def of(cls, trial: FrozenTrial) -> _Remembered:
        """Return a shallow copy of a trial: the small study changes nothing in it but its number."""
        made = cls.__new__(cls)
        made.__dict__.update(trial.__dict__)
        return made

    def __deepcopy__(self, memo: dict[int, Any]) -> _Remembered:
        return self.of(self)


def _remembered(trials: list[FrozenTrial]) -> list[FrozenTrial]:
    """Return the good ones of the ended trials and others at even distances, in their order."""
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    ranked = sorted(complete, key=lambda trial: trial.value if trial.value is not None else 0.0, reverse=True)
    good = {trial.number for trial in ranked[: good_ones(len(trials))]}
    others = [trial for trial in trials if trial.number not in good]
    chosen = {others[-1 - round(step * (len(others) - 1) / (OTHERS - 1))].number for step in range(OTHERS)}
    return [trial for trial in trials if trial.number in good | chosen]
