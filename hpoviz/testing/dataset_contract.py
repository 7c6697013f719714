"""The contract that every data set with a name keeps: subclass `DatasetContract` in your own tests.

Examples
--------
In your ``tests/test_my_data.py``::

    from hpoviz.testing.dataset_contract import DatasetContract

    class TestMyData(DatasetContract):
        def make_source(self):
            return MY_DATA          # what your entry point names
"""

from __future__ import annotations

import numpy as np
import pytest

from hpoviz.data.dataset import Dataset
from hpoviz.data.dataset_source import DatasetSource

__all__ = ["DatasetContract"]

MOST_CHECKED = 500


class DatasetContract:
    """Tests that any data set must pass; a subclass overrides `make_source`."""

    def make_source(self) -> DatasetSource:
        """Return what the entry point names."""
        pytest.fail("override make_source")

    @pytest.fixture
    def data(self) -> Dataset:
        """Load the data."""
        return self.make_source().load()

    def test_what_is_said_of_it_is_true(self, data: Dataset) -> None:
        source = self.make_source()
        assert (data.name, data.kind) == (source.name, source.kind)
        assert len(data.class_names) == source.classes
        assert (len(data.x), len(data.x_test)) == (source.train, source.test)

    def test_it_says_what_people_want_to_know(self) -> None:
        source = self.make_source()
        for text in (source.name, source.shape, source.licence, source.good_for):
            assert text.strip()
        assert source.link.startswith("https://")

    def test_labels_fit_the_classes_and_every_class_is_there(self, data: Dataset) -> None:
        for labels in (data.y, data.y_test):
            assert labels.dtype == np.int64
            assert 0 <= labels.min() <= labels.max() < len(data.class_names)
        assert len(np.unique(data.y)) == len(data.class_names)

    def test_it_can_be_split_for_a_search(self, data: Dataset) -> None:
        split = data.split()
        assert len(split.x_train) + len(split.x_val) == len(data.x)
        assert split.info.num_classes == len(data.class_names)

    def test_training_and_test_samples_have_one_form(self, data: Dataset) -> None:
        assert data.x.shape[1:] == data.x_test.shape[1:]
        assert data.x.dtype == data.x_test.dtype

    def test_it_is_the_same_every_time(self, data: Dataset) -> None:
        again = self.make_source().load()
        assert again.x[:MOST_CHECKED].tolist() == data.x[:MOST_CHECKED].tolist()
        assert again.sha256 == data.sha256
