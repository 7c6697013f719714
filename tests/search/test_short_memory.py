import itertools
import warnings

import optuna
import pytest

from hpoviz.models.cnn import CnnConfig
from hpoviz.search.sampler import VIOLATION, Study
from hpoviz.search.short_memory import ALL_UP_TO, OTHERS, ShortMemory, _remembered, good_ones
from hpoviz.search.space import SearchSpace
from tests.search.test_sampler import WIDE, only, proposals, score, study


class Watched(optuna.samplers.RandomSampler):
    """A sampler that keeps the trials it was shown."""

    def infer_relative_search_space(self, study, trial):
        self.seen = study.get_trials(deepcopy=True)
        self.asked_for = trial.number
        return super().infer_relative_search_space(study, trial)


def watched_study():
    short, watched = ShortMemory(seed=0), Watched(seed=0)
    short._sampler = watched
    return watched, Study(sampler=short, pruner=None, seed=0, startup_trials=4)


def test_a_short_study_is_asked_as_it_is():
    watched, one = watched_study()
    proposals(one, only("filters"), ALL_UP_TO)
    one.ask(only("filters"))
    assert [trial.number for trial in watched.seen] == list(range(ALL_UP_TO + 1))


def test_proposals_of_a_short_study_are_those_of_the_sampler_alone():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        bare = optuna.samplers.TPESampler(
            n_startup_trials=4, n_ei_candidates=24, multivariate=True, group=True, constant_liar=True, seed=0
        )
    assert proposals(study(sampler=bare), WIDE, 30) == proposals(study(), WIDE, 30)


def test_a_long_study_shows_the_best_some_others_and_the_running_ones():
    watched, one = watched_study()
    space, told = only("filters", "learning_rate"), {}
    for number in range(ALL_UP_TO + 40):
        told[number] = (number * 37) % 191 / 191
        one.ask(space)
        one.tell_finished(number, told[number])
    running = one.ask(space)
    one.ask(space)
    values = [trial.value for trial in watched.seen if trial.state.is_finished()]
    order = {value: number for number, value in told.items()}
    good = good_ones(ALL_UP_TO + 40)
    assert len(values) == len(set(values)) == good + OTHERS
    assert set(values) >= set(sorted(told.values())[-good:])
    assert [order[value] for value in values] == sorted(order[value] for value in values)
    assert [trial.params for trial in watched.seen if not trial.state.is_finished() and trial.params] == [
        {name: running.params[name] for name in ("filters", "learning_rate")}
    ]


def test_the_others_come_from_all_the_length_and_hold_the_latest():
    trials = [optuna.trial.create_trial(state=optuna.trial.TrialState.PRUNED) for _ in range(500)]
    for number, trial in enumerate(trials):
        trial.number = number
    numbers = [trial.number for trial in _remembered(trials)]
    gaps = [after - before for before, after in itertools.pairwise(numbers)]
    assert (numbers[0], numbers[-1], len(numbers)) == (0, 499, OTHERS)
    assert max(gaps) - min(gaps) <= 1


def test_infeasible_trials_stay_infeasible_in_the_small_study():
    watched, one = watched_study()
    for number in range(ALL_UP_TO + 5):
        one.ask(only("filters"))
        if number % 2:
            one.tell_infeasible(number, 0.25)
        else:
            one.tell_finished(number, 0.5)
    one.ask(only("filters"))
    marks = [
        getattr(trial, "constraints", {}).get(VIOLATION, trial.user_attrs.get(VIOLATION)) for trial in watched.seen
    ]
    assert OTHERS / 3 < marks.count(0.25) < OTHERS


@pytest.mark.parametrize("seed", [0, 1])
def test_equal_seeds_give_equal_long_studies(seed):
    first, second = (proposals(study(seed=seed), only("filters", "learning_rate"), ALL_UP_TO + 15) for _ in range(2))
    assert first == second


def test_every_kind_of_parameter_is_asked_for_in_a_long_study():
    one = study()
    asked = proposals(one, WIDE, ALL_UP_TO + 10)[-5:]
    kinds = {type(value) for params in asked for value in params.values()}
    assert {int, float, bool, str} <= kinds
    assert all(list(params) == list(CnnConfig.parameters()) for params in asked)


def test_a_long_study_goes_on_learning():
    space = only("learning_rate", "filters")
    asked = proposals(study(), space, ALL_UP_TO + 60)
    chance = proposals(study(sampler="random"), space, 200)
    assert sum(map(score, asked[-60:])) / 60 > 1.2 * sum(map(score, chance)) / 200


def test_a_distribution_that_was_never_asked_for_is_sampled():
    one = study()
    proposals(one, only("filters"), ALL_UP_TO + 2)
    new = SearchSpace(CnnConfig.parameters(), {"filters": 8})
    assert one.ask(new).params["filters"] == 8
