"""Where a run stands, computed once for every way to show it, and drawn as plain text."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence
from typing import Any

from hpoviz.results import PLANNED, SEARCH, TrialResult, dollars
from hpoviz.store.run_state import RunState, Slot

__all__ = [
    "ProgressView",
    "SlotView",
    "TrialTable",
    "cost_text",
    "differing_params",
    "duration",
    "health_text",
    "notice_text",
    "progress_lines",
    "score_text",
    "seconds_left",
    "size",
    "slot_fraction",
    "table_lines",
    "trial_line",
    "value_text",
]

STATES = ("finished", "pruned", "failed", "infeasible", "cancelled")
# Shown first where they differ, as they tell most about a model; the others follow in their own order.
TELLING = ("learning_rate", "optimizer", "num_layers_conv", "filters", "activation")
COLUMNS_ALWAYS = ("number", "state", "score", "weights", "epochs", "seconds")


@dataclasses.dataclass(frozen=True)
class SlotView:
    """One slot: what it does, and how far it is (0 to 1)."""

    title: str
    phase: str
    fraction: float
    figures: str


@dataclasses.dataclass(frozen=True)
class ProgressView:
    """Where a run stands, in words and numbers.

    Attributes
    ----------
    ended, wanted : int
        Trials; cancelled ones are not counted.
    counts : tuple of (str, int)
        States that occur, with their numbers.
    best : str
        The best trial in words, or an empty string.
    time : str
        Time gone, and an estimate of the time left.
    cost : str
        What it has cost, by estimate; empty where nothing is known of costs.
    notice : str
        That trials run elsewhere than they were to run, and why; mostly empty.
    slots : tuple of SlotView
    ending : str
        How the run ended; empty while it goes on.
    """

    ended: int
    wanted: int
    counts: tuple[tuple[str, int], ...]
    best: str
    time: str
    slots: tuple[SlotView, ...]
    ending: str
    cost: str = ""
    notice: str = ""

    @classmethod
    def of(cls, state: RunState) -> ProgressView:
        """Compute the view of a state."""
        counts = state.counts
        best = state.best if state.kind is None else None  # of a job's trials none is chosen
        return cls(
            ended=state.counted,
            wanted=state.wanted,
            counts=tuple((name, counts[name]) for name in STATES if counts[name]),
            best="" if best is None else f"best {score_text(best)} (trial {best.number})",
            time=_time(state),
            slots=tuple(_slot_view(index, slot) for index, slot in sorted(state.slots.items())),
            ending=state.finished_reason or "",
            cost=cost_text(state),
            notice=notice_text(state),
        )


@dataclasses.dataclass(frozen=True)
class TrialTable:
    """Ended trials, best first, as text cells.

    Attributes
    ----------
    header : tuple of str
    rows : tuple of tuple of str
    left_out : int
        Trials that are not among the rows.
    best_row : int or None
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left_out: int
    best_row: int | None

    @classmethod
    def of(cls, state: RunState, *, most: int = 12, params: int = 4) -> TrialTable:
        """Choose and format up to `most` trials and the `params` most telling parameters that differ between them.

        Health has a column where it was measured, with its coverage where some metrics are not known.
        """
        order = {"finished": 0, "pruned": 1, "infeasible": 2, "failed": 2, "cancelled": 3}
        trials = sorted(state.numbered, key=lambda t: (order[t.state], -(t.score or 0), t.number))
        shown = trials[:most]
        names = differing_params(shown)[:params]
        health = any(trial.health is not None for trial in shown)
        rows = tuple(
            (*_cells(trial, health), *(value_text(trial.params.get(name)) for name in names)) for trial in shown
        )
        best = state.best if state.kind is None else None
        best_row = next((i for i, trial in enumerate(shown) if best and trial.trial_id == best.trial_id), None)
        header = (*COLUMNS_ALWAYS[:3], *(["health"] if health else []), *COLUMNS_ALWAYS[3:])
        return cls((*header, *names), rows, len(trials) - len(shown), best_row)


def progress_lines(view: ProgressView, width: int) -> list[str]:
    """Draw a view as lines of text of at most `width` characters: one for the run, one a slot.

    Examples
    --------
    >>> view = ProgressView(1, 4, (("finished", 1),), "", "3 s", (), "")
    >>> progress_lines(view, 80)
    ['[█████···············] 1/4 trials · 1 finished · 3 s']
    """
    share = view.ended / view.wanted if view.wanted else 0.0
    counts = ", ".join(f"{count} {name}" for name, count in view.counts)
    parts = [f"{_bar(share, 20)} {view.ended}/{view.wanted} trials", counts, view.best, view.time, view.cost]
    lines = [" · ".join(part for part in parts if part)]
    if view.notice:
        lines.append(f"  {view.notice}")
    for slot in view.slots:
        bar = f"{_bar(slot.fraction, 12)} " if slot.fraction else ""
        lines.append(f"  {slot.title:<22} {bar}{slot.phase:<22} {slot.figures}".rstrip())
    return [line if len(line) <= width else line[: width - 1] + "…" for line in lines]


def table_lines(table: TrialTable) -> list[str]:
    """Draw a table as aligned lines of text; the best trial is marked with a star."""
    widths = [max(len(row[column]) for row in (table.header, *table.rows)) for column in range(len(table.header))]
    lines = ["  " + "  ".join(cell.ljust(w) for cell, w in zip(table.header, widths, strict=True)).rstrip()]
    lines.append("  " + "  ".join("─" * width for width in widths))
    for index, row in enumerate(table.rows):
        mark = "★ " if index == table.best_row else "  "
        lines.append(mark + "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip())
    if table.left_out:
        lines.append(f"  … and {table.left_out} more: see opt.results")
    return lines


def trial_line(trial: TrialResult) -> str:
    """Say in one line how a trial ended; its id too where it had begun in another place than it ended.

    Examples
    --------
    >>> trial_line(TrialResult(trial_id=0, number=1, state="failed", origin="defaults", params={}, seed=0))
    'trial 1 (id 0, defaults): failed'
    """
    title = f"trial {trial.number}"
    notes = [f"id {trial.trial_id}"] if trial.trial_id != trial.number else []
    if trial.origin in (SEARCH, *PLANNED):
        notes += [trial.origin] if trial.origin in PLANNED else []
        title += f" ({', '.join(notes)})" if notes else ""
    else:  # a job's training says what it repeats
        title = trial.origin
    parts = [f"{title}: {trial.state}"]
    if trial.score is not None:
        parts.append(score_text(trial))
    if trial.parameters is not None:
        parts.append(f"{trial.parameters:,} weights")
    if trial.seconds is not None:
        parts.append(f"{trial.seconds:.1f} s")
    if trial.cost is not None:
        parts.append(f"about {dollars(trial.cost)}")
    if trial.reason:
        parts.append(trial.reason.splitlines()[0])
    return ", ".join(parts)


def score_text(trial: TrialResult) -> str:
    """Say the score of a trial: its accuracy, or beside it what a score of accuracy and health is made of.

    Examples
    --------
    >>> options = {"trial_id": 0, "params": {}, "seed": 0}
    >>> score_text(TrialResult(score=0.9, accuracy=0.9, health=0.5, **options))
    'accuracy 0.9000'
    >>> score_text(TrialResult(score=0.78, accuracy=0.9, health=0.5, **options))
    'score 0.7800 (accuracy 0.9000, health 0.50)'
    """
    if trial.accuracy is None or trial.health is None or trial.score == trial.accuracy:
        return f"accuracy {trial.score:.4f}"
    return f"score {trial.score:.4f} (accuracy {trial.accuracy:.4f}, health {health_text(trial)})"


def health_text(trial: TrialResult) -> str:
    """Say the overall health of a trial, and of how many metrics it is made where some are not known.

    Examples
    --------
    >>> options = {"trial_id": 0, "params": {}, "seed": 0}
    >>> some = {"a": 0.9, "b": 0.8, "c": None, "d": 0.85, "e": None, "f": None}
    >>> health_text(TrialResult(health=0.85, metrics=some, **options))
    '0.85 (3 of 6)'
    >>> health_text(TrialResult(health=0.85, metrics=dict.fromkeys(some, 0.85), **options)), health_text(
    ...     TrialResult(**options))
    ('0.85', '')
    """
    if trial.health is None:
        return ""
    known = sum(value is not None for value in trial.metrics.values())
    return f"{trial.health:.2f}" + (f" ({known} of {len(trial.metrics)})" if known < len(trial.metrics) else "")


def slot_fraction(slot: Slot) -> float:
    """Return how far the trial of a slot is, from 0 to 1."""
    done = max(slot.epoch - 1, 0) + (slot.batch / slot.batches if slot.batches else 0)
    return min(done / slot.epochs, 1.0) if slot.epochs else 0.0


def _slot_view(index: int, slot: Slot) -> SlotView:
    if slot.trial_id is None:
        return SlotView(f"slot {index}", slot.phase, 0.0, "")
    fraction = slot_fraction(slot)
    figures = []
    if slot.epochs:
        figures.append(f"epoch {slot.epoch}/{slot.epochs}")
    if slot.batches:
        figures.append(f"batch {slot.batch}/{slot.batches}")
    if slot.accuracy is not None:
        figures.append(f"accuracy {slot.accuracy:.3f}")
    if slot.val_accuracy is not None:
        figures.append(f"validation {slot.val_accuracy:.3f}")
    return SlotView(f"slot {index} (trial id {slot.trial_id})", slot.phase, fraction, "  ".join(figures))


def seconds_left(state: RunState) -> float | None:
    """Return how long a running run will still take, from the trials that have ended; None where that is not known.

    The trials left, less what the running ones have done, take the mean time of the ended ones, slot by slot.
    """
    took = [trial.seconds for trial in state.numbered if trial.state != "cancelled" and trial.seconds is not None]
    if state.finished_reason is not None or not took or not state.slots:
        return None
    done = sum(slot_fraction(slot) for slot in state.slots.values() if slot.trial_id is not None)
    return statistics.mean(took) * max(0.0, state.wanted - len(took) - done) / len(state.slots)


def _time(state: RunState) -> str:
    left = seconds_left(state)
    return duration(state.seconds()) + (f", about {duration(left)} left" if left else "")


def cost_text(state: RunState) -> str:
    """Say what a run has cost, and what all its trials will have cost if they go on like that."""
    spent = state.cost
    if spent is None:
        return ""
    ended = state.counted
    expected = spent * state.wanted / ended if ended and state.finished_reason is None else spent
    return f"about {dollars(spent)}" + (f" of {dollars(expected)}" if expected > spent else "")


def notice_text(state: RunState) -> str:
    """Say where trials run instead of where they were to run; an empty text if they run there."""
    moved = state.fell_back
    return "" if moved is None else f"Trials run on: {moved.now}. {moved.reason}"


def size(count: float) -> str:
    """Say how many bytes, in decimal units.

    Examples
    --------
    >>> size(950), size(2_345_000)
    ('950 B', '2.3 MB')
    """
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5 or unit == "GB":
            break
        count /= 1000
    return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"


def duration(seconds: float) -> str:
    """Say a time span in words.

    Examples
    --------
    >>> duration(42.3), duration(192), duration(7300)
    ('42 s', '3 min 12 s', '2 h 1 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _cells(trial: TrialResult, health: bool) -> tuple[str, ...]:
    return (
        str(trial.number) if trial.origin in (SEARCH, *PLANNED) else trial.origin,
        f"{trial.state} ({trial.origin})" if trial.origin in PLANNED else trial.state,
        "" if trial.score is None else f"{trial.score:.4f}",
        *([health_text(trial)] if health else []),
        "" if trial.parameters is None else f"{trial.parameters:,}",
        str(len(trial.history) or ""),
        "" if trial.seconds is None else f"{trial.seconds:.1f}",
    )


def differing_params(trials: Sequence[TrialResult]) -> list[str]:
    """Return the names of the parameters that differ between trials, the most telling first."""
    trials = [trial for trial in trials if trial.params]
    names = dict.fromkeys(name for trial in trials for name in trial.params)
    differing = [name for name in names if len({str(trial.params.get(name)) for trial in trials}) > 1]
    return sorted(differing, key=lambda name: TELLING.index(name) if name in TELLING else len(TELLING))


def value_text(value: Any) -> str:
    """Say a parameter's value: yes or no, three digits of a fraction, nothing for None."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3g}" if isinstance(value, float) else "" if value is None else str(value)


def _bar(share: float, width: int) -> str:
    full = round(share * width)
    return "[" + "█" * full + "·" * (width - full) + "]"
