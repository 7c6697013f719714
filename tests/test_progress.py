import dataclasses
import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpoviz._display import _LogFile
from hpoviz.events import (
    BatchProgress,
    EpochEnded,
    ModelBuilt,
    PhaseChanged,
    RunFinished,
    RunStarted,
    SlotChanged,
    TrialCancelled,
    TrialFailed,
    TrialFinished,
    TrialPruned,
    TrialStarted,
)
from hpoviz.progress import ProgressView, SlotView, TrialTable, duration, progress_lines, table_lines, trial_line
from hpoviz.results import Epoch, TrialResult
from hpoviz.store.run_state import RunState


def started(trials=4, slots=1, **more):
    return RunStarted(run="r", trials=trials, slots=slots, objective="accuracy", **more)


def began(trial, slot=0, **params):
    return TrialStarted(run="r", trial=trial, slot=slot, params=params, suggested={}, seed=0)


def finished(trial, number, score, seconds=1.0):
    return TrialFinished(
        run="r",
        trial=trial,
        number=number,
        seconds=seconds,
        score=score,
        accuracy=score,
        loss=0.1,
        best_epoch=1,
        epochs=1,
        model_sha256="",
    )


def batch(trial, epoch, number):
    return BatchProgress(run="r", trial=trial, epoch=epoch, epochs=4, batch=number, batches=10, loss=1, accuracy=0.5)


def epoch_ended(trial, epoch):
    return EpochEnded(
        run="r",
        trial=trial,
        epoch=epoch,
        epochs=4,
        loss=1.0,
        accuracy=0.5,
        val_loss=1.0,
        val_accuracy=0.25,
        learning_rate=0.1,
        seconds=1.0,
    )


OVER = RunFinished(run="r", reason="completed", seconds=75.0)
ENDS = [
    (finished(0, 0, 0.5), "finished", True),
    (TrialPruned(run="r", trial=0, number=0, seconds=1.0, score=0.4, epochs=3), "pruned", True),
    (TrialFailed(run="r", trial=0, number=0, seconds=1.0, kind="error", reason="boom"), "failed", True),
    (TrialFailed(run="r", trial=0, number=0, seconds=1.0, kind="too_large", violation=0.5), "infeasible", True),
    (TrialCancelled(run="r", trial=0, number=0, seconds=1.0), "cancelled", False),
]


@pytest.mark.parametrize(("end", "state", "counted"), ENDS, ids=[state for _, state, _ in ENDS])
def test_view_counts_every_end_but_cancelled_ones_as_done(end, state, counted):
    view = ProgressView.of(RunState([started(), began(0), end, OVER]))
    assert view.counts == ((state, 1),)
    assert (view.ended, view.wanted) == (int(counted), 4)


def test_view_of_nothing():
    view = ProgressView.of(RunState())
    assert view == ProgressView(0, 0, (), "", "0 s", (), "")


def test_view_of_a_finished_run():
    view = ProgressView.of(RunState([started(), began(0), finished(0, 0, 0.87654), OVER]))
    assert view.best == "best accuracy 0.8765 (trial 0)"
    assert (view.time, view.ending, view.slots) == ("1 min 15 s", "completed", ())


def test_time_left_is_estimated_from_ended_trials():
    two_hours_ago = (datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=2)).isoformat()
    events = [started(trials=3, time=two_hours_ago), began(0), finished(0, 0, 0.5, seconds=7200.0), began(1)]
    assert ProgressView.of(RunState(events)).time == "2 h 0 min, about 4 h 0 min left"
    assert ProgressView.of(RunState(events[:2])).time == "2 h 0 min"


def test_slots_from_waiting_to_training():
    state = RunState([started(slots=2), SlotChanged(run="r", slot=1, phase="starting TensorFlow"), began(0)])
    assert ProgressView.of(state).slots == (
        SlotView("slot 0 (trial id 0)", "waiting for a worker", 0.0, ""),
        SlotView("slot 1", "starting TensorFlow", 0.0, ""),
    )
    state.apply(PhaseChanged(run="r", trial=0, phase="training"))
    state.apply(batch(0, 3, 5))
    (slot, _) = ProgressView.of(state).slots
    assert slot.fraction == (2 + 5 / 10) / 4
    assert slot.figures == "epoch 3/4  batch 5/10  accuracy 0.500"


def test_slot_after_an_epoch_is_full_by_that_epoch():
    state = RunState([started(), began(0), batch(0, 4, 10), epoch_ended(0, 4)])
    (slot,) = ProgressView.of(state).slots
    assert slot.fraction == 1.0
    assert slot.figures.endswith("accuracy 0.500  validation 0.250")


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 4), st.integers(1, 10))
def test_slot_fraction_never_leaves_its_range_nor_falls(epoch, number):
    fractions = []
    for event in [batch(0, epoch, number), batch(0, epoch, 10), epoch_ended(0, epoch)]:
        state = RunState([started(), began(0), event])
        fractions.append(ProgressView.of(state).slots[0].fraction)
    assert 0 < fractions[0] <= fractions[1] <= 1
    assert fractions[1] == epoch / 4


def test_progress_lines():
    slots = (SlotView("slot 0 (trial id 7)", "training", 0.5, "epoch 2/4"), SlotView("slot 1", "waiting", 0.0, ""))
    view = ProgressView(2, 4, (("finished", 1), ("failed", 1)), "best accuracy 0.5000 (trial 0)", "9 s", slots, "")
    assert progress_lines(view, 200) == [
        "[██████████··········] 2/4 trials · 1 finished, 1 failed · best accuracy 0.5000 (trial 0) · 9 s",
        "  slot 0 (trial id 7)    [██████······] training               epoch 2/4",
        "  slot 1                 waiting",
    ]


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 120), st.text(max_size=100), st.text(max_size=100))
def test_progress_lines_are_never_too_wide(width, best, phase):
    view = ProgressView(0, 0, (), best, "", (SlotView("slot 0", phase, 0.3, "figures"),), "")
    lines = progress_lines(view, width)
    assert len(lines) == 2
    assert all(len(line) <= width for line in lines)


def run_of(*ends, **params):
    """Return the state of a run of trials that ended in the given ways; params holds one value a trial."""
    events = [started(trials=len(ends))]
    for trial, end in enumerate(ends):
        own = {name: values[trial] for name, values in params.items()}
        events += [began(trial, **own), dataclasses.replace(end, trial=trial, number=trial)]
    return RunState([*events, OVER])


def test_table_is_sorted_best_first():
    ends = [end for end, _, _ in reversed(ENDS)]
    table = TrialTable.of(run_of(*ends, finished(0, 0, 0.9)))
    assert [row[:2] for row in table.rows] == [
        ("5", "finished"),
        ("4", "finished"),
        ("3", "pruned"),
        ("1", "infeasible"),
        ("2", "failed"),
        ("0", "cancelled"),
    ]
    assert (table.best_row, table.left_out) == (0, 0)


def test_table_of_equals_is_sorted_by_number():
    table = TrialTable.of(run_of(finished(0, 0, 0.5), finished(0, 0, 0.5)))
    assert [row[0] for row in table.rows] == ["0", "1"]
    assert table.best_row == 0


def test_table_cells():
    state = RunState([started(), began(0), ModelBuilt(run="r", trial=0, parameters=1234567), epoch_ended(0, 1)])
    state.apply(finished(0, 0, 0.98765, seconds=3.25))
    table = TrialTable.of(state)
    assert table.header == ("number", "state", "score", "weights", "epochs", "seconds")
    assert table.rows == (("0", "finished", "0.9877", "1,234,567", "1", "3.2"),)


def test_health_has_a_column_where_it_was_measured():
    state = run_of(finished(0, 0, 0.9), finished(0, 0, 0.8))
    state.trials[0] = dataclasses.replace(state.trials[0], health=0.876)
    table = TrialTable.of(state)
    assert table.header[:5] == ("number", "state", "score", "health", "weights")
    assert [row[3] for row in table.rows] == ["0.88", ""]
    some = dict(zip("abcdef", (0.9, 0.9, 0.8, None, None, None), strict=True))
    state.trials[0] = dataclasses.replace(state.trials[0], metrics=some)
    assert [row[3] for row in TrialTable.of(state).rows] == ["0.88 (3 of 6)", ""]
    state.trials[0] = dataclasses.replace(state.trials[0], metrics=dict.fromkeys(some, 0.9))
    assert [row[3] for row in TrialTable.of(state).rows] == ["0.88", ""]


def test_table_leaves_cells_empty_where_nothing_is_known():
    end = TrialFailed(run="r", trial=0, number=0, seconds=0.0, kind="error")
    assert TrialTable.of(run_of(end)).rows == (("0", "failed", "", "", "", "0.0"),)


def test_table_shows_at_most_so_many_trials():
    state = run_of(*[finished(0, 0, score / 10) for score in range(5)])
    table = TrialTable.of(state, most=2)
    assert [row[0] for row in table.rows] == ["4", "3"]
    assert table.left_out == 3


def test_table_shows_the_first_parameters_that_differ():
    state = run_of(
        finished(0, 0, 0.9),
        finished(0, 0, 0.8),
        same=[1, 1],
        rate=[0.00123456, 0.5],
        normalize=[True, False],
        name=["relu", "tanh"],
    )
    table = TrialTable.of(state, params=2)
    assert table.header[6:] == ("rate", "normalize")
    assert [row[6:] for row in table.rows] == [("0.00123", "yes"), ("0.5", "no")]


def test_a_trial_without_parameters_makes_none_of_them_differ():
    ends = [finished(0, 0, 0.9), TrialFailed(run="r", trial=1, number=1, seconds=0.0, kind="search_space")]
    state = RunState([started(2), began(0, same=1), ends[0], began(1), ends[1]])
    assert "same" not in TrialTable.of(state).header


def test_table_lines_are_aligned_and_the_best_is_marked():
    table = TrialTable(("number", "x"), (("0", "long value"), ("12", "y")), 3, 1)
    assert table_lines(table) == [
        "  number  x",
        "  ──────  ──────────",
        "  0       long value",
        "★ 12      y",
        "  … and 3 more: see opt.results",
    ]


def test_table_lines_of_no_trials():
    assert table_lines(TrialTable(("number",), (), 0, None)) == ["  number", "  ──────"]


def test_trial_line_of_a_finished_trial():
    trial = TrialResult(
        trial_id=3, number=2, state="finished", params={}, seed=0, score=0.5, parameters=12345, seconds=2.04
    )
    assert trial_line(trial) == "trial 2 (id 3): finished, accuracy 0.5000, 12,345 weights, 2.0 s"


@pytest.mark.parametrize(
    ("trial_id", "origin", "title"),
    [
        (2, "search", "trial 2: finished"),
        (2, "defaults", "trial 2 (defaults): finished"),
        (0, "defaults", "trial 2 (id 0, defaults): finished"),
        (0, "trial 5 on fold 1", "trial 5 on fold 1: finished"),
    ],
)
def test_trial_line_names_the_id_where_a_trial_began_in_another_place_than_it_ended(trial_id, origin, title):
    trial = TrialResult(trial_id=trial_id, number=2, state="finished", params={}, seed=0, origin=origin)
    assert trial_line(trial) == title


def stopped_and_gone_on():
    """Return the events of a run of two trials: one ends, one is cancelled by Ctrl-C and replaced."""
    stop = [
        TrialCancelled(run="r", trial=1, number=1, seconds=1.0),
        RunFinished(run="r", reason="stopped", seconds=2.0),
    ]
    first = [started(trials=2), began(0), finished(0, 0, 0.5), began(1), *stop]
    return [*first, started(trials=2), began(2), finished(2, 2, 0.75), OVER]


def test_trials_that_others_replace_are_never_counted(capsys):
    screen, state = _LogFile("title", told=0), RunState()
    for event in stopped_and_gone_on():
        state.apply(event)
        screen.update(state)
    shown = [line.split(":")[0] for line in capsys.readouterr().out.splitlines() if line.startswith("[")]
    assert shown == ["[1/2] trial 0", "[1/2] trial 1", "[2/2] trial 2"]
    assert ProgressView.of(state).ended == state.counted == 2


def test_a_later_start_counts_on_from_what_counts(capsys):
    events = stopped_and_gone_on()
    screen = _LogFile("title", told=2)
    screen.update(RunState(events))
    assert "[2/2] trial 2: finished" in capsys.readouterr().out


def test_trial_line_gives_the_first_line_of_the_reason():
    trial = TrialResult(trial_id=0, number=0, state="failed", params={}, seed=0, reason="boom\nand more")
    assert trial_line(trial) == "trial 0: failed, boom"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (61, "1 min 1 s"),
        (3599.4, "59 min 59 s"),
        (3599.6, "1 h 0 min"),
        (7325, "2 h 2 min"),
        (90_000, "25 h 0 min"),
    ],
)
def test_duration(seconds, text):
    assert duration(seconds) == text


def test_an_epoch_of_a_trial_is_counted_in_the_table():
    one = Epoch(epoch=1, loss=1, accuracy=0.5, val_loss=1, val_accuracy=0.5, learning_rate=0.1, seconds=1)
    state = RunState([started(), began(0), finished(0, 0, 0.5)])
    state.trials[0] = dataclasses.replace(state.trials[0], history=(one, one, one))
    assert TrialTable.of(state).rows[0][4] == "3"
