"""StudyRunner: asks, submits, listens and tells, asynchronously over the slots of a backend."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from hpoviz.backends.backend import Backend
from hpoviz.config import OptimizationRequest
from hpoviz.events import (
    BestChanged,
    EpochEnded,
    ProposalRepeated,
    RunStarted,
    TerminalEvent,
    TrialEvent,
    TrialFailed,
    TrialFinished,
    TrialPruned,
    TrialStarted,
    WorkerLost,
)
from hpoviz.health.weights import PARETO
from hpoviz.results import BASELINE, CANCELLED, SEARCH
from hpoviz.running.search_problem import SearchProblem
from hpoviz.running.trial_runner import TrialRunner, trial_seed
from hpoviz.search.sampler import Proposal, Study
from hpoviz.store.best_record import best_record
from hpoviz.store.run_log import RunLog
from hpoviz.trial_spec import SEARCH_DATA, TrialSpec

__all__ = ["StudyRunner"]

MOST_REPEATS = 100  # in a row; then the space is taken to have nothing new
REPEATS_BEFORE_RANDOM = 10  # in a row: a sampler that has settled would repeat itself for ever
PRUNE_GRACE_S = 60.0  # a pruned trial ends by itself after its batch; its worker is worth waiting for


class StudyRunner(TrialRunner):
    """Runs the search of one run; the study belongs to its thread.

    Parameters
    ----------
    request : OptimizationRequest
    problem : SearchProblem
    seed : int
        The run's seed.
    record : mapping
        What ``run.json`` says.
    log : RunLog
        Its past events are carried on: the study is rebuilt from them, and trials that had not ended run again.
    backend : Backend
    """

    def __init__(
        self,
        request: OptimizationRequest,
        problem: SearchProblem,
        *,
        seed: int,
        record: Mapping[str, Any],
        log: RunLog,
        backend: Backend,
    ) -> None:
        super().__init__(
            log=log,
            data={SEARCH_DATA: problem.data_maker()},
            code=problem.code,
            backend=backend,
            retries=request.config.retries,
        )
        self._request, self._problem, self._seed, self._record = request, problem, seed, record
        asked = len(self._state.trials)
        self._study = Study(
            sampler=request.sampler,
            pruner=request.pruner,
            seed=trial_seed(seed, asked) if asked else seed,  # the run's seed again would repeat its first proposals
            startup_trials=request.config.startup_trials,
            several=request.objective == PARETO,
        )
        self._unfinished = self._study.restore(log.past)
        self._pruned: dict[int, TrialPruned] = {}  # decided, waiting for the worker to let go
        self._wanted, self._exhausted = 0, False
        self._known = {_key(trial.params): trial.trial_id for trial in self._state.trials.values()}

    def start(self, trials: int) -> None:
        """Run until there are `trials` in all, those that were cancelled not counted; returns at once.

        Raises
        ------
        StoreError
            Somebody else writes the run, or it cannot be written.
        """
        self._wanted, self._exhausted, self._completed = trials, False, "completed"
        request = self._request
        self._start(
            RunStarted,
            trials=trials,
            objective=request.objective,
            select=request.select,
            validation_rows=len(self._problem.split.y_val),
            timeout_hours=request.config.timeout_hours,
        )

    def importances(self) -> dict[str, float]:
        """Return `Study.importances`; empty while the search runs, as the study belongs to its thread."""
        return {} if self.running else self._study.importances()

    def _begin_next(self, slot: int) -> bool:
        while self._unfinished and not self._stopping.is_set():
            if self._resume(self._unfinished.pop(0), slot):
                return True
        while self._counting_trials() < self._wanted and not self._stopping.is_set():
            proposal, origin = self._ask()
            if proposal is None:
                return False
            if self._begin(proposal, origin, slot):
                return True
        return False

    def _ask(self) -> tuple[Proposal | None, str]:
        """Return the next proposal that is no repetition, with its origin; None if there seem to be no more."""
        for repeats in range(0 if self._exhausted else MOST_REPEATS):
            planned = self._state.planned[0] if self._state.planned else None
            origin = SEARCH if planned is None else planned.origin
            proposal = self._study.ask(self._problem.space, planned, at_random=repeats >= REPEATS_BEFORE_RANDOM)
            earlier = None if proposal.params is None else self._known.get(_key(proposal.params))
            if earlier is None or origin == BASELINE or self._state.trials[earlier].state == CANCELLED:
                return proposal, origin
            self._log.record(
                ProposalRepeated,
                proposal=proposal.trial,
                of=earlier,
                suggested=proposal.suggested,
                origin=origin,
            )
            self._study.tell_failed(proposal.trial)
        self._exhausted = True
        self._completed = f"completed: nothing new in the search space ({MOST_REPEATS} proposals were repetitions)"
        return None, SEARCH

    def _counting_trials(self) -> int:
        return sum(trial.state != CANCELLED for trial in self._state.trials.values())

    def _begin(self, proposal: Proposal, origin: str, slot: int) -> bool:
        """Submit a proposed trial; False if the space's function failed and the slot is still free."""
        seed = trial_seed(self._seed, proposal.trial)
        self._log.record(
            TrialStarted,
            trial=proposal.trial,
            slot=slot,
            params=proposal.params or {},
            suggested=proposal.suggested,
            seed=seed,
            origin=origin,
        )
        if proposal.params is None:
            reason = f"the search_space function failed: {type(proposal.error).__name__}: {proposal.error}"
            self._end(TrialFailed(**self._identity(proposal.trial), kind="search_space", reason=reason, seconds=0.0))
            return False
        self._known[_key(proposal.params)] = proposal.trial
        self._submit(self._spec(proposal.trial, proposal.params, seed, origin), slot)
        return True

    def _resume(self, trial_id: int, slot: int) -> bool:
        """Run a trial again that had not ended when the run was interrupted: same parameters, next attempt.

        False if it never had parameters, as the space's function had failed: the slot is still free.
        """
        trial, attempt = self._state.trials[trial_id], self._state.attempts[trial_id]
        if not trial.params:
            reason = "the search_space function failed just before the run was interrupted"
            self._end(TrialFailed(**self._identity(trial_id), kind="search_space", reason=reason, seconds=0.0))
            return False
        lost = WorkerLost(
            **self._identity(trial_id), attempt=attempt, reason="the run was interrupted", will_retry=True
        )
        self._log.take(lost)
        spec = self._spec(trial_id, trial.params, trial.seed, trial.origin)
        self._begin_again(dataclasses.replace(spec, attempt=attempt + 1), slot)
        return True

    def _spec(self, trial_id: int, params: Mapping[str, Any], seed: int, origin: str) -> TrialSpec:
        return TrialSpec(
            run=self._log.run,
            trial=trial_id,
            seed=seed,
            architecture=self._record["architecture"],
            params=params,
            early_stopping_patience=self._request.config.early_stopping_patience,
            max_parameters=self._request.max_parameters,
            max_trial_minutes=self._request.max_trial_minutes,
            health_every=self._request.config.health_monitoring_frequency,
            record_layers=self._request.config.record_layers,
            give_up=origin != BASELINE,
            scoring=dataclasses.asdict(self._request.scoring),
        )

    def _on_epoch(self, event: TrialEvent) -> None:
        if event.trial in self._pruned:
            return  # what a pruned trial still does counts no more
        super()._on_epoch(event)
        if isinstance(event, EpochEnded):
            self._report(event)

    def _report(self, event: EpochEnded) -> None:
        if event.val_accuracy is None or event.epoch >= event.epochs:
            return
        trial = self._state.trials[event.trial]
        if self._study.report(event.trial, event.epoch, event.val_accuracy) and trial.origin != BASELINE:
            self._pruned[event.trial] = TrialPruned(
                **self._identity(event.trial),
                score=max(epoch.val_accuracy or 0.0 for epoch in trial.history),
                epochs=event.epoch,
                seconds=sum(epoch.seconds for epoch in trial.history),
                reason=f"others were ahead after epoch {event.epoch}",
            )
            self._backend.cancel(event.trial, grace_s=PRUNE_GRACE_S)

    def _on_worker_lost(self, event: WorkerLost) -> None:
        if event.trial in self._pruned:
            self._end(self._pruned[event.trial])
        else:
            super()._on_worker_lost(event)

    def _move(self, spec: TrialSpec, reason: str) -> None:
        if spec.trial in self._pruned:
            self._end(self._pruned[spec.trial])
        else:
            super()._move(spec, reason)

    def _end(self, event: TerminalEvent) -> None:
        super()._end(self._pruned.pop(event.trial, event))

    def _on_end(self, event: TerminalEvent) -> None:
        """Store and tell the end of a trial."""
        best_before = self._state.best
        super()._on_end(event)
        self._study.tell(event)
        best = self._state.best
        if best is not None and best is not best_before:
            self._log.record(BestChanged, number=best.number, score=best.score)
            self._log.store.write_best(best_record(best, self._record))
        if isinstance(event, TrialFinished) and self._request.config.keep_models == "best":
            worse = best_before if best is not best_before else self._state.trials[event.trial]
            if worse is not None:
                self._log.store.drop_model(worse.trial_id)


def _key(params: Mapping[str, Any]) -> str:
    """Return a text that is equal for equal parameters."""
    return json.dumps(params, sort_keys=True, default=repr)
