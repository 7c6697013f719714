"""The contract that every model family keeps: subclass `ArchitectureContract` in your own tests.

Examples
--------
In your ``tests/test_my_family.py``::

    from hpoviz.testing.architecture_contract import ArchitectureContract

    class TestMyFamily(ArchitectureContract):
        family = MyConfig           # what your entry point names
        def make_data(self):
            return hpoviz.load_dataset("digits")
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import ClassVar

import keras
import numpy as np
import pytest

from hpoviz.data.data_split import DataSplit
from hpoviz.data.dataset import Dataset
from hpoviz.models.model_config import ModelConfig
from hpoviz.models.saved_model import load_model
from hpoviz.search.sampler import try_space
from hpoviz.search.space import SearchSpace

__all__ = ["ArchitectureContract"]

ROWS = 64
PROPOSALS = 8


class ArchitectureContract:
    """Tests that any model family must pass; a subclass sets `family` and overrides `make_data`."""

    family: ClassVar[type[ModelConfig]]

    def make_data(self) -> Dataset:
        """Return a data set that the family is for."""
        pytest.fail("override make_data")

    @pytest.fixture
    def split(self) -> DataSplit:
        """Give a small part of the data."""
        whole = self.make_data().split()
        parts = {name: getattr(whole, name)[:ROWS] for name in ("x_train", "y_train", "x_val", "y_val")}
        return dataclasses.replace(whole, **parts)

    def space(self, split: DataSplit) -> SearchSpace:
        """Return the whole space of the family."""
        return SearchSpace(
            self.family.parameters(),
            structure=self.family.structure,
            misfit=lambda values: self.family.misfit(values, split.info),
        )

    def test_it_says_what_it_is_for_and_what_every_parameter_does(self) -> None:
        assert self.make_data().kind in self.family.data_kinds
        for name, parameter in self.family.parameters().items():
            assert len(parameter.help.split()) >= 5, f"{name} wants an explanation"

    def test_a_config_comes_back_from_its_own_values(self) -> None:
        config = self.family()
        assert self.family.from_dict(config.to_dict()) == config

    def test_the_defaults_build_a_model_that_learns(self, split: DataSplit) -> None:
        config = self.family()
        model = config.build(split.info)
        config.compile(model)
        x = config.prepare(split.x_train, split.info)
        before, _ = model.evaluate(x, split.y_train, verbose=0)
        model.fit(x, split.y_train, batch_size=16, epochs=5, verbose=0)
        after, _ = model.evaluate(x, split.y_train, verbose=0)
        assert after < before

    def test_what_the_space_proposes_can_be_built(self, split: DataSplit) -> None:
        space = self.space(split)
        for seed in range(PROPOSALS):
            config = self.family.from_dict(try_space(space, seed))
            model = config.build(split.info)
            outputs = np.asarray(model(config.prepare(split.x_val[:4], split.info)))
            assert outputs.shape == (4, split.info.num_classes)
            np.testing.assert_allclose(outputs.sum(axis=1), 1, atol=1e-3)

    def test_the_saved_model_loads_in_plain_keras_and_predicts_the_same(self, split: DataSplit, tmp_path: Path) -> None:
        config = self.family()
        model = config.build(split.info)
        expected = model.predict(config.prepare(split.x_val, split.info), verbose=0)
        exported = config.export(model, split.info)
        assert not exported.compiled, "a used optimizer makes the file larger"
        exported.save(tmp_path / "model.keras")
        loaded = keras.saving.load_model(tmp_path / "model.keras", compile=False, safe_mode=True)
        assert loaded.count_params() == model.count_params()
        if split.info.kind == "image":
            np.testing.assert_allclose(loaded.predict(split.x_val, verbose=0), expected, rtol=1e-3, atol=1e-5)
        assert load_model(tmp_path / "model.keras").count_params() == model.count_params()
