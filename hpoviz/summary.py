"""Three sentences about a search: what won, why, and what to try next. Only from recorded numbers."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from hpoviz.plots.catalogue import LEAST_TRIALS
from hpoviz.progress import value_text
from hpoviz.results import BASELINE, FAILED, FINISHED, INFEASIBLE, TrialResult
from hpoviz.search.space import CustomSpace, Domain, SearchSpace

__all__ = ["summarize"]

GAP = 0.05  # training accuracy above validation accuracy by so much is called overfitting
EDGE = 0.1  # share of a range, at either end, that counts as its edge
MOST_OWN_PARAMS = 8
MAIN_PARAMS = (
    *("num_layers_conv", "filters", "kernel_size"),
    *("num_layers_lstm", "lstm_units", "bidirectional", "embedding_size"),
    *("activation", "optimizer", "learning_rate", "batch_size"),
)


def summarize(
    trials: Sequence[TrialResult],
    best: TrialResult | None,
    importances: Mapping[str, float],
    space: SearchSpace | CustomSpace,
) -> str:
    """Return three sentences, one a line.

    Parameters
    ----------
    trials : sequence of TrialResult
        The ended trials.
    best : TrialResult or None
    importances : mapping
        Parameter to its share in the differences of the score, in [0, 1]; empty where there are too few trials.
    space : SearchSpace or CustomSpace
    """
    if best is None:
        reasons = [trial.reason for trial in trials if trial.reason]
        return f"No trial has finished yet.{f' The latest reason: {reasons[-1]}' if reasons else ''}"
    return "\n".join((_what_won(trials, best), _why(trials, importances), _what_next(trials, best, space)))


def _what_won(trials: Sequence[TrialResult], best: TrialResult) -> str:
    main = [name for name in MAIN_PARAMS if name in best.params]
    names = main if "activation" in main else [*best.params][:MOST_OWN_PARAMS]  # else a model of the user's own
    shown = ", ".join(f"{name} {value_text(best.params[name])}" for name in names)
    scores = [trial.score for trial in trials if trial.state == FINISHED and trial.score is not None]
    baselines = [trial for trial in trials if trial.origin == BASELINE and trial.score is not None]
    beside = "" if not baselines else f", {_beside(best, max(baselines, key=lambda trial: trial.score or 0))}"
    return (
        f"Trial {best.number} won with {_what_of(best)} (median of {len(scores)} finished: "
        f"{statistics.median(scores):.4f}{beside}) and {best.parameters or 0:,} weights: {shown}."
    )


def _what_of(best: TrialResult) -> str:
    if best.health is None or best.score == best.accuracy:
        return f"a validation accuracy of {best.score:.4f}"
    return f"a score of {best.score:.4f}, validation accuracy {best.accuracy or 0:.4f} and health {best.health:.2f}"


def _beside(best: TrialResult, baseline: TrialResult) -> str:
    """Say how the best trial does beside the user's baseline."""
    if best.trial_id == baseline.trial_id:
        return "it is your baseline"
    return f"{(best.score or 0) - (baseline.score or 0):+.4f} beside your baseline, trial {baseline.number}"


def _why(trials: Sequence[TrialResult], importances: Mapping[str, float]) -> str:
    finished = sum(trial.state == FINISHED for trial in trials)
    ranked = sorted(importances.items(), key=lambda item: -item[1])[:3]
    if finished < LEAST_TRIALS or not ranked:
        return f"Why is open: {finished} finished trials are too few to tell which parameter mattered."
    names = ", ".join(f"{name} ({share:.0%})" for name, share in ranked)
    return f"Over {finished} finished trials the score went most with {names} (PED-ANOVA importance, shares of one)."


def _what_next(trials: Sequence[TrialResult], best: TrialResult, space: SearchSpace | CustomSpace) -> str:
    advice = [
        *_advice_on_fit(best),
        *(_advice_on_edges(best, space) if isinstance(space, SearchSpace) else []),
        *_advice_on_failures(trials),
    ]
    return (
        "Next: "
        + ("; ".join(advice[:3]) if advice else "more trials, as nothing in the best trial asks for a change")
        + "."
    )


def _advice_on_fit(best: TrialResult) -> list[str]:
    if not best.history or best.best_epoch is None:
        return []
    epoch = best.history[best.best_epoch - 1]
    advice = []
    if best.best_epoch == len(best.history) == best.params.get("epochs"):
        advice.append(f"more epochs, as its last ({best.best_epoch}) was its best")
    if epoch.accuracy is not None and epoch.val_accuracy is not None and epoch.accuracy - epoch.val_accuracy > GAP:
        gap = epoch.accuracy - epoch.val_accuracy
        advice.append(f"more dropout, L2 or data, as training accuracy is {gap:.3f} above validation")
    return advice


def _advice_on_edges(best: TrialResult, space: SearchSpace) -> list[str]:
    advice = []
    for name, domain in space.domains.items():
        item, value = space.parameters[name], best.params.get(name)
        if domain.choices is not None or not isinstance(value, (int, float)):
            continue
        if name == "epochs" or not item.active(best.params):
            continue
        limits = item.valid if item.valid != item.search else None  # equal: the user's own, and nobody set a limit
        end = _edge(value, domain, limits or (0.0, math.inf))
        if end is not None:
            advice.append(f"{name} {end}, as its best value {value_text(value)} is near the end of its range")
    return advice


def _edge(value: float, domain: Domain, valid: tuple[float, float]) -> str | None:
    """Say beyond which end of its range a value asks to look, if there is more to allow; at 0 there is not."""
    low, high, at = domain.low, domain.high, value
    if domain.log:
        low, high, at = math.log(low), math.log(high), math.log(value)
    if at >= high - EDGE * (high - low) and domain.high < valid[1]:
        return f"above {domain.high:g}"
    if at <= low + EDGE * (high - low) and domain.low > max(0.0, valid[0]):
        return f"below {domain.low:g}"
    return None


def _advice_on_failures(trials: Sequence[TrialResult]) -> list[str]:
    lost = [trial for trial in trials if trial.state in (FAILED, INFEASIBLE)]
    if len(lost) * 4 < len(trials) or not lost:
        return []
    return [f"a narrower space, as {len(lost)} of {len(trials)} trials gave no model (the latest: {lost[-1].reason})"]
