"""What stands for data that were not passed again: all that is on record, and no sample."""

import numpy as np
import pytest

from hpoviz.config import OptimizationRequest
from hpoviz.data.catalog import load_dataset
from hpoviz.data.dataset import Dataset
from hpoviz.data.recorded_data import RecordedData
from hpoviz.errors import ConfigError
from hpoviz.run_record import data_record
from hpoviz.running.search_problem import SearchProblem

TEXTS = Dataset.from_arrays(["a good day", "such bad luck"] * 400, ["+", "-"] * 400, name="texts")


@pytest.fixture(params=["digits", "texts"])
def pair(request):
    """A data set, and what stands for it."""
    data = load_dataset("digits") if request.param == "digits" else TEXTS
    return data, RecordedData.of(data_record(data, data.split()), "Pass them again.")


def test_it_says_of_itself_what_the_data_say(pair):
    data, recorded = pair
    assert repr(recorded) == repr(data)
    assert (recorded.sha256, recorded.kind, recorded.class_names) == (data.sha256, data.kind, data.class_names)
    assert data_record(recorded, recorded.split()) == data_record(data, data.split())


def test_its_split_has_the_same_shapes(pair):
    whole, split = (data.split() for data in pair)
    for name in ("x_train", "y_train", "x_val", "y_val"):
        assert getattr(split, name).shape == getattr(whole, name).shape
    assert split.info.num_classes == whole.info.num_classes


@pytest.mark.parametrize("objective", ["accuracy", "health"])
def test_it_is_enough_for_the_space_of_a_search(pair, objective):
    request = OptimizationRequest(objective=objective, epochs=(8, 20))
    whole, problem = (SearchProblem(request, data, seed=0) for data in pair)
    assert problem.space.describe() == whole.space.describe()
    assert problem.architecture == whole.architecture
    assert len(problem.validation_samples.rows) == 0


@pytest.mark.parametrize(
    "ask",
    [
        lambda data: data.x[0],
        lambda data: np.asarray(data.y_test),
        lambda data: np.bincount(data.y),
        lambda data: data.x.mean(),
        lambda data: list(data.x),
        lambda data: data.folds(3),
        lambda data: data.whole(),
        lambda data: data.sample(4),
        lambda data: data.concerns,
        lambda data: data.split().x_train[:1],
    ],
)
def test_who_needs_a_sample_is_told_what_to_do(pair, ask):
    with pytest.raises(ConfigError, match=r"^Pass them again\.$"):
        ask(pair[1])


def test_a_notebook_shows_it_with_what_to_do(pair):
    assert "Pass them again." in pair[1]._repr_html_()
    assert "<p" in pair[1]._repr_html_()
