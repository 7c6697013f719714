"""The study: Optuna asked and told, in the parent process, for Optuna 4 and 5 alike.

Every argument of Optuna's sampler and pruner is given, as their defaults differ between the two releases.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import optuna

from hpoviz.errors import ConfigError, StoreError, nearest
from hpoviz.events import (
    EpochEnded,
    Event,
    ProposalRepeated,
    TerminalEvent,
    TrialFailed,
    TrialFinished,
    TrialPlanned,
    TrialPruned,
    TrialStarted,
)
from hpoviz.search.quiet_study import quiet_study
from hpoviz.search.short_memory import ShortMemory

__all__ = ["Proposal", "Space", "Study", "check_sampler", "make_pruner", "make_sampler", "try_space"]

SAMPLERS = ("tpe", "random")
PRUNERS = ("halving",)
# Rungs at epochs 3, 9, 27: the order of trials after 3 epochs agrees well with that at the end, after 1 it does not.
FIRST_RUNG, REDUCTION_FACTOR = 3, 3
VIOLATION = "hpoviz:violation"


class Space(Protocol):
    """What is asked for the parameters of a trial: a SearchSpace or a CustomSpace."""

    def suggest(self, trial: Any) -> dict[str, Any]: ...

    def near(self, params: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]: ...


@dataclasses.dataclass(frozen=True)
class Proposal:
    """A trial to be run.

    Attributes
    ----------
    trial : int
        Order of asking, from 0.
    params : dict or None
        Every hyperparameter; None if the user's space function failed.
    suggested : dict
        What Optuna chose: label to value and distribution, enough to rebuild the study.
    error : Exception or None
        What the user's space function raised.
    """

    trial: int
    params: dict[str, Any] | None
    suggested: dict[str, dict[str, Any]]
    error: Exception | None = None


class Study:
    """An Optuna study that is asked, reported to and told; the score is maximised.

    Not thread-safe: it belongs to the thread that runs the search.

    Parameters
    ----------
    sampler, pruner : str, None or Optuna object
        See `make_sampler` and `make_pruner`.
    seed : int
    startup_trials : int
        Random trials before the sampler learns; as many must have finished before one is pruned.
    several : bool
        Whether three objectives are maximised, none before the others; then nothing is pruned.

    Examples
    --------
    >>> from hpoviz.models.cnn import CnnConfig
    >>> from hpoviz.search.space import SearchSpace
    >>> study = Study(sampler="tpe", pruner=None, seed=0, startup_trials=5)
    >>> proposal = study.ask(SearchSpace(CnnConfig.parameters(), {"filters": 8}))
    >>> proposal.trial, proposal.params["filters"]
    (0, 8)
    >>> study.tell_finished(0, 0.9)
    """

    def __init__(self, *, sampler: Any, pruner: Any, seed: int, startup_trials: int, several: bool = False) -> None:
        self._startup_trials, self._several = startup_trials, several
        self._finished = 0
        self._open: dict[int, optuna.Trial] = {}
        self._sampler = make_sampler(sampler, seed, startup_trials, several=several)
        self._random = make_sampler("random", seed, 0)
        self._study = quiet_study(self._sampler, make_pruner(None if several else pruner), 3 if several else 1)

    def ask(self, space: Space, planned: TrialPlanned | None = None, *, at_random: bool = False) -> Proposal:
        """Propose the next trial, a planned one or one of the sampler's, or one at random.

        An exception of the user's space function is returned, not raised.
        """
        outside = planned is not None and planned.exact and not _contains(space, planned.params)
        if planned is not None and not outside:
            self._study.enqueue_trial(space.near(planned.params)[0])
        self._study.sampler = self._random if at_random else self._sampler
        trial = self._study.ask()
        self._open[trial.number] = trial
        params, failure = None, None
        try:
            params = dict(planned.params) if planned is not None and outside else space.suggest(trial)
        except Exception as error:
            failure = error
        suggested = {
            label: {
                "value": trial.params[label],
                "distribution": json.loads(optuna.distributions.distribution_to_json(distribution)),
            }
            for label, distribution in trial.distributions.items()
        }
        return Proposal(trial.number, params, suggested, failure)

    def restore(self, past: Iterable[Event]) -> list[int]:
        """Carry on what earlier processes recorded, in a study that has not been asked yet.

        Every trial is asked again with the values that were recorded, and every report and end is told again, so that
        sampler and pruner know what they knew.

        Returns
        -------
        list of int
            The trials that had not ended, in the order of asking: they are open now.
        """
        for event in past:
            if event.job is not None:
                continue
            if isinstance(event, TrialStarted) and event.trial not in self._open and event.attempt == 1:
                self._ask_again(event.trial, event.suggested)
            elif isinstance(event, ProposalRepeated):
                self._ask_again(event.proposal, event.suggested)
                self.tell_failed(event.proposal)
            elif isinstance(event, EpochEnded) and event.val_accuracy is not None and event.epoch < event.epochs:
                self.report(event.trial, event.epoch, event.val_accuracy)
            elif isinstance(event, TerminalEvent):
                self.tell(event)
        return sorted(self._open)

    def _ask_again(self, trial_id: int, suggested: Mapping[str, Mapping[str, Any]]) -> None:
        values = {label: item["value"] for label, item in suggested.items()}
        distributions = {
            label: optuna.distributions.json_to_distribution(json.dumps(item["distribution"]))
            for label, item in suggested.items()
        }
        self._study.enqueue_trial(values)
        trial = self._study.ask(fixed_distributions=distributions)
        if trial.number != trial_id:
            raise StoreError(f"The events of trial id {trial_id} are missing before those of trial id {trial.number}.")
        self._open[trial.number] = trial

    def tell(self, event: TerminalEvent) -> None:
        """Tell how a trial ended."""
        match event:
            case TrialFinished() if self._several and event.objectives:
                self.tell_finished(event.trial, event.objectives)
            case TrialFinished() if event.score is not None and not self._several:
                self.tell_finished(event.trial, event.score)
            case TrialFailed() if event.kind == "hopeless" and not self._several:
                self.tell_pruned(event.trial)  # so that the sampler keeps away from there
            case TrialPruned():
                self.tell_pruned(event.trial)
            case TrialFailed() if event.violation is not None:
                self.tell_infeasible(event.trial, event.violation)
            case _:
                self.tell_failed(event.trial)

    def report(self, trial_id: int, epoch: int, value: float) -> bool:
        """Report the score after an epoch (from 1) and return whether the trial should be pruned.

        An epoch that was reported before, by an attempt whose worker died, is passed over.
        """
        if self._several:
            return False
        trial = self._open[trial_id]
        frozen = self._study.get_trials(deepcopy=False)[trial_id]
        if frozen.last_step is not None and epoch <= frozen.last_step:
            return False
        trial.report(value, step=epoch)
        prune = trial.should_prune()  # asked even where the answer is not used: halving records its rungs here
        return prune and self._finished >= self._startup_trials

    def tell_finished(self, trial_id: int, score: float | Sequence[float]) -> None:
        """Tell the score of a trial that was trained to its end, or its objectives."""
        self._tell(trial_id, optuna.trial.TrialState.COMPLETE, score)
        self._finished += 1

    def tell_pruned(self, trial_id: int) -> None:
        """Tell that a trial was pruned; Optuna takes its last reported score."""
        self._tell(trial_id, optuna.trial.TrialState.PRUNED)

    def tell_infeasible(self, trial_id: int, violation: float) -> None:
        """Tell that a trial passed a limit; `violation` > 0 says by how much, relative to the limit."""
        trial = self._open[trial_id]
        if hasattr(trial, "set_constraint"):
            trial.set_constraint(VIOLATION, violation)
        else:
            trial.set_user_attr(VIOLATION, violation)
        self._tell(trial_id, optuna.trial.TrialState.FAIL if self._several else optuna.trial.TrialState.PRUNED)

    def tell_failed(self, trial_id: int) -> None:
        """Tell that a trial has no score: an error, cancelled, or a repetition."""
        self._tell(trial_id, optuna.trial.TrialState.FAIL)

    def importances(self) -> dict[str, float]:
        """Return each parameter's share in the differences of the score (PED-ANOVA, Watanabe et al. 2023).

        Parameters that not every finished trial was asked for are judged with Optuna 5, and left out with Optuna 4;
        empty with fewer than four trials, and where the trials have no parameter in common.
        """
        finished = self._study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
        asked = [trial for trial in finished if trial.params]  # a baseline from outside of the space was not
        if len(asked) < 4 or not set.intersection(*(set(trial.params) for trial in asked)):
            return {}
        study = quiet_study(optuna.samplers.RandomSampler(), optuna.pruners.NopPruner(), 3 if self._several else 1)
        study.add_trials(asked)
        # With a target of one's own, PED-ANOVA looks at what makes it low.
        accuracy = (lambda trial: -float(trial.values[0])) if self._several else None
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # experimental; and that few trials make it inaccurate, which is said in words
            evaluator = optuna.importance.PedAnovaImportanceEvaluator()
            shares = optuna.importance.get_param_importances(
                study, evaluator=evaluator, normalize=True, target=accuracy
            )
        names = {label: _name_of(label, item) for trial in asked for label, item in trial.distributions.items()}
        by_name: dict[str, float] = dict.fromkeys(map(names.__getitem__, shares), 0.0)
        for label, share in shares.items():
            by_name[names[label]] += share
        return by_name

    def _tell(
        self, trial_id: int, state: optuna.trial.TrialState, score: float | Sequence[float] | None = None
    ) -> None:
        self._study.tell(self._open.pop(trial_id), score, state=state)


def _name_of(label: str, domain: optuna.distributions.BaseDistribution) -> str:
    """Return whose domain it is: a reduced set of choices is asked for under a label of its own."""
    choices = getattr(domain, "choices", ())
    return label.removesuffix(f"[{','.join(map(str, choices))}]") if choices else label


def _contains(space: Space, params: Mapping[str, Any]) -> bool:
    """Tell whether a space can propose exactly these parameters."""
    study = quiet_study(optuna.samplers.RandomSampler(seed=0), optuna.pruners.NopPruner())
    study.enqueue_trial(space.near(params)[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a value is out of range: just that is asked
        try:
            return space.suggest(study.ask()) == dict(params)
        except Exception:  # the user's function cannot be asked now; `Study.ask` tells of it when it is
            return False


def try_space(space: Space, seed: int = 0) -> dict[str, Any]:
    """Ask a space for one random trial of a throw-away study, so that mistakes of a user's function show early."""
    return space.suggest(quiet_study(optuna.samplers.RandomSampler(seed=seed), optuna.pruners.NopPruner()).ask())


def check_sampler(sampler: optuna.samplers.BaseSampler, space: Space) -> None:
    """Raise ConfigError for a sampler that cannot search for several objectives."""
    study = quiet_study(copy.deepcopy(sampler), optuna.pruners.NopPruner(), 3)
    try:
        for _ in range(2):
            trial = study.ask()
            space.suggest(trial)
            study.tell(trial, [0.5, 0.5, 0.5])
    except ValueError as error:
        raise ConfigError(f"{type(sampler).__name__} cannot search for several objectives: {error}") from error


def make_sampler(sampler: Any, seed: int, startup_trials: int, *, several: bool = False) -> optuna.samplers.BaseSampler:
    """Return the Optuna sampler for ``"tpe"``, ``"random"`` or a sampler of the user's; else ConfigError."""
    if isinstance(sampler, optuna.samplers.BaseSampler):
        return sampler
    if sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    if sampler != "tpe":
        raise ConfigError(
            f"sampler must be one of {', '.join(map(repr, SAMPLERS))} or an Optuna sampler. "
            f"Got {sampler!r}.{nearest(sampler, SAMPLERS)}"
        )
    options: dict[str, Any] = {}
    if not hasattr(optuna.trial.Trial, "set_constraint"):  # Optuna 4
        options["constraints_func"] = lambda trial: (trial.user_attrs.get(VIOLATION, -1.0),)
    with warnings.catch_warnings():
        # Three of these are "experimental" in both releases, though KerasTuner-like spaces are what they are for.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return (optuna.samplers.TPESampler if several else ShortMemory)(
            n_startup_trials=startup_trials,
            n_ei_candidates=24,
            multivariate=True,
            group=True,
            constant_liar=True,
            seed=seed,
            **options,
        )


def make_pruner(pruner: Any) -> optuna.pruners.BasePruner:
    """Return the Optuna pruner for ``"halving"``, None or a pruner of the user's; else ConfigError."""
    if isinstance(pruner, optuna.pruners.BasePruner):
        return pruner
    if pruner is None:
        return optuna.pruners.NopPruner()
    if pruner == "halving":
        return optuna.pruners.SuccessiveHalvingPruner(
            min_resource=FIRST_RUNG, reduction_factor=REDUCTION_FACTOR, min_early_stopping_rate=0, bootstrap_count=0
        )
    raise ConfigError(f"pruner must be 'halving', None or an Optuna pruner. Got {pruner!r}.{nearest(pruner, PRUNERS)}")
