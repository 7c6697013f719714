import dataclasses

import pytest

from hpoviz.models.cnn import CnnConfig
from hpoviz.models.lstm import LstmConfig
from hpoviz.results import Epoch, TrialResult
from hpoviz.search.space import CustomSpace, SearchSpace, own_parameters
from hpoviz.summary import summarize

PARAMETERS = CnnConfig.parameters()
SPACE = SearchSpace(PARAMETERS)


def epoch(number, accuracy=0.8, val_accuracy=0.8):
    return Epoch(
        epoch=number,
        loss=0.5,
        accuracy=accuracy,
        val_loss=0.5,
        val_accuracy=val_accuracy,
        learning_rate=0.1,
        seconds=1.0,
    )


def trial(number=0, score=0.8, *, epochs=3, best_epoch=2, accuracy=0.8, **params):
    """Return a finished trial that gives no reason for advice, unless asked for."""
    return TrialResult(
        trial_id=number,
        number=number,
        state="finished",
        params=CnnConfig(**({"epochs": 20} | params)).to_dict(),
        seed=0,
        score=score,
        accuracy=score,
        loss=0.5,
        best_epoch=best_epoch,
        parameters=1234567,
        history=tuple(epoch(i, accuracy) for i in range(1, epochs + 1)),
    )


def lost(number, state, reason="boom"):
    return TrialResult(trial_id=number, number=number, state=state, params={}, seed=0, reason=reason)


def advice(best, trials=None, space=SPACE):
    text = summarize(trials or [best], best, {}, space)
    return text.splitlines()[2]


NO_ADVICE = "Next: more trials, as nothing in the best trial asks for a change."


def test_nothing_finished():
    assert summarize([], None, {}, SPACE) == "No trial has finished yet."


def test_nothing_finished_gives_the_latest_reason():
    trials = [lost(0, "failed", "first"), lost(1, "infeasible", "second"), lost(2, "cancelled", None)]
    assert summarize(trials, None, {}, SPACE) == "No trial has finished yet. The latest reason: second"


def test_three_sentences():
    text = summarize([trial()], trial(), {}, SPACE)
    assert len(text.splitlines()) == 3
    assert all(line.endswith(".") for line in text.splitlines())


def test_what_won():
    trials = [trial(0, 0.5), trial(1, 0.9, learning_rate=0.00123, filters=16), trial(2, 0.7), lost(3, "failed")]
    assert summarize(trials, trials[1], {}, SPACE).splitlines()[0] == (
        "Trial 1 won with a validation accuracy of 0.9000 (median of 3 finished: 0.7000) and 1,234,567 weights: "
        "num_layers_conv 2, filters 16, kernel_size 3, activation relu, optimizer adam, learning_rate 0.00123, "
        "batch_size 32."
    )


def test_median_of_an_even_number():
    trials = [trial(0, 0.5), trial(1, 0.9)]
    assert "median of 2 finished: 0.7000" in summarize(trials, trials[1], {}, SPACE)


def test_what_won_without_the_main_parameters():
    best = dataclasses.replace(trial(), params={"filters": 4})
    assert "weights: filters 4." in summarize([best], best, {}, SPACE)


@pytest.mark.parametrize(("count", "importances"), [(7, {"filters": 1.0}), (8, {}), (1, {})])
def test_why_is_open_with_too_few_trials(count, importances):
    trials = [trial(i) for i in range(count)]
    line = summarize(trials, trials[0], importances, SPACE).splitlines()[1]
    assert line == f"Why is open: {count} finished trials are too few to tell which parameter mattered."


def test_why_names_the_three_most_important():
    trials = [trial(i) for i in range(8)]
    shares = {"l2": 0.05, "filters": 0.2, "optimizer": 0.1, "learning_rate": 0.65}
    assert summarize(trials, trials[0], shares, SPACE).splitlines()[1] == (
        "Over 8 finished trials the score went most with learning_rate (65%), filters (20%), optimizer (10%) "
        "(PED-ANOVA importance, shares of one)."
    )


def test_only_finished_trials_count_for_the_why():
    trials = [trial(0), *(lost(i, "failed") for i in range(1, 9))]
    assert "1 finished trials" in summarize(trials, trials[0], {"l2": 1.0}, SPACE)


def test_nothing_to_advise():
    assert advice(trial()) == NO_ADVICE


def test_more_epochs_when_the_last_of_all_was_the_best():
    best = dataclasses.replace(trial(epochs=10, best_epoch=10), params=trial().params | {"epochs": 10})
    assert advice(best) == "Next: more epochs, as its last (10) was its best."


@pytest.mark.parametrize(("epochs", "best_epoch", "wanted"), [(10, 9, 10), (10, 10, 11)])
def test_no_more_epochs_when_training_ended_earlier_or_was_best_earlier(epochs, best_epoch, wanted):
    best = trial(epochs=epochs, best_epoch=best_epoch)
    best = dataclasses.replace(best, params=best.params | {"epochs": wanted})
    assert advice(best) == NO_ADVICE


def test_overfitting():
    line = "Next: more dropout, L2 or data, as training accuracy is 0.060 above validation."
    assert advice(trial(accuracy=0.86)) == line


@pytest.mark.parametrize("accuracy", [0.84, 0.5, None])
def test_no_overfitting(accuracy):
    assert advice(trial(accuracy=accuracy)) == NO_ADVICE


def test_fit_is_judged_at_the_best_epoch():
    best = trial()
    best = dataclasses.replace(best, history=(epoch(1), epoch(2), epoch(3, accuracy=1.0)))
    assert advice(best) == NO_ADVICE


def test_trial_without_history():
    assert advice(dataclasses.replace(trial(), history=())) == NO_ADVICE


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("num_layers_conv", 4, "num_layers_conv above 4, as its best value 4 is near the end of its range"),
        ("dropout_dense", 0.54, "dropout_dense above 0.6, as its best value 0.54 is near the end of its range"),
        ("dropout_conv", 0.4, "dropout_conv above 0.4, as its best value 0.4 is near the end of its range"),
        ("filters", 41, "filters above 48, as its best value 41 is near the end of its range"),
        ("learning_rate", 0.02, "learning_rate above 0.03, as its best value 0.02 is near the end of its range"),
    ],
)
def test_value_at_the_upper_end_of_its_range(name, value, line):
    assert advice(trial(**{name: value})) == f"Next: {line}."


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_layers_conv", 3),  # 10% below the end of 1 to 4 is 3.7
        ("dropout_dense", 0.53),
        ("filters", 40),  # by orders of magnitude: 48 (8/48)**0.1 is 40.1
        ("learning_rate", 0.016),  # 0.03 (1e-4/0.03)**0.1 is 0.01696
        ("batch_size", 128),  # a choice has no range
        ("epochs", 30),  # more epochs are advised by what happened in them
    ],
)
def test_value_inside_its_range(name, value):
    assert advice(trial(**{name: value})) == NO_ADVICE


def test_narrowed_range_counts():
    space = SearchSpace(PARAMETERS, {"filters": (8, 32)})
    assert "filters above 32" in advice(trial(filters=32), space=space)


def test_fixed_value_is_no_edge():
    space = SearchSpace(PARAMETERS, {"filters": 48})
    assert advice(trial(filters=48), space=space) == NO_ADVICE


def test_custom_space_has_no_edges():
    space = CustomSpace(PARAMETERS, lambda trial: {})
    assert advice(trial(filters=48), space=space) == NO_ADVICE


def test_parameter_without_effect_is_no_edge():
    space = SearchSpace(PARAMETERS, {"dense_units": (8, 16)})
    assert advice(trial(num_layers_dense=0, dense_units=64), space=space) == NO_ADVICE


def test_value_at_the_lower_end_of_its_range():
    assert "learning_rate below 0.0001" in advice(trial(learning_rate=0.00011))


def test_no_value_is_advised_that_is_refused():
    """A network has one LSTM layer at least: there is nothing below."""
    for family in (CnnConfig, LstmConfig):
        space = SearchSpace(family.parameters())
        for name, domain in space.domains.items():
            item = space.parameters[name]
            if domain.choices is not None or name == "epochs" or not item.active(family().to_dict()):
                continue
            lowest, highest = item.valid
            for value, wanted in ((domain.low, domain.low > max(0, lowest)), (domain.high, domain.high < highest)):
                said = advice(dataclasses.replace(trial(), params=family(**{name: value}).to_dict()), space=space)
                assert (f"{name} {'below' if value == domain.low else 'above'}" in said) == wanted, said


def test_the_ranges_of_the_users_own_parameters_can_be_left():
    space = SearchSpace(own_parameters({"units": (8, 64)}, {}))
    best = dataclasses.replace(trial(), params={"units": 64})
    assert "units above 64" in advice(best, space=space)


def test_many_failures():
    trials = [trial(0), trial(1), trial(2), lost(3, "infeasible", "too large")]
    line = "Next: a narrower space, as 1 of 4 trials gave no model (the latest: too large)."
    assert advice(trials[0], trials) == line


def test_latest_failure_is_named():
    trials = [trial(0), lost(1, "infeasible", "too large"), lost(2, "failed", "NaN")]
    assert "2 of 3 trials gave no model (the latest: NaN)" in advice(trials[0], trials)


def test_few_failures_and_pruned_trials_are_no_reason():
    trials = [*(trial(i) for i in range(4)), lost(4, "failed"), lost(5, "pruned"), lost(6, "cancelled")]
    assert advice(trials[0], trials) == NO_ADVICE


def test_at_most_three_pieces_of_advice_in_order():
    best = trial(epochs=10, best_epoch=10, accuracy=1.0, filters=48, num_layers_conv=4, dropout_dense=0.6)
    best = dataclasses.replace(best, params=best.params | {"epochs": 10})
    pieces = advice(best, [best, lost(1, "failed")]).removeprefix("Next: ").split("; ")
    assert [piece.split(",")[0] for piece in pieces] == ["more epochs", "more dropout", "num_layers_conv above 4"]
