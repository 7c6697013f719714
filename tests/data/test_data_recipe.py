"""Recipes: another machine makes the same data of a data set by its name."""

import json

import numpy as np
import pytest

import hpoviz
from hpoviz.data.data_recipe import DataRecipe, KnownData, fold_makers, search_maker, whole_maker
from hpoviz.errors import DatasetError


@pytest.fixture(scope="module")
def digits():
    return hpoviz.load_dataset("digits")


def carried_over(maker):
    """What another machine makes of a recipe that came as JSON."""
    return DataRecipe.from_dict(json.loads(json.dumps(maker.recipe().to_dict()))).make()


def same(one, other):
    names = ("x_train", "y_train", "x_val", "y_val")
    return one.info == other.info and all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)


def test_every_part_is_made_anew(digits):
    makers = [search_maker(digits, digits.split(0.3, 5), 0.3, 5), *fold_makers(digits, 3, 5), whole_maker(digits)]
    assert all(same(carried_over(maker), maker()) for maker in makers)
    assert not same(carried_over(makers[1]), carried_over(makers[2]))
    assert len(carried_over(makers[-1]).y_val) == 0


def test_a_fold_of_texts_has_the_words_of_its_own_training_part():
    texts = hpoviz.load_dataset("docstrings")
    maker = fold_makers(texts, 4, 1)[2]
    assert same(carried_over(maker), maker())
    assert maker().info.vocabulary != whole_maker(texts)().info.vocabulary


def test_data_of_ones_own_have_no_recipe(stripes):
    makers = [search_maker(stripes, stripes.split(), 0.2, 0), *fold_makers(stripes, 2, 0), whole_maker(stripes)]
    assert not [maker for maker in makers if isinstance(maker, KnownData)]
    assert len(makers[-1]().y_train) == len(stripes.y)


def test_another_data_set_of_that_name(digits):
    for recipe in (DataRecipe("digits", "0" * 64), DataRecipe("digits", "0" * 64, part="fold", folds=2)):
        with pytest.raises(DatasetError, match="is another one on this machine"):
            recipe.make()


@pytest.mark.parametrize(
    "wrong", [{"part": "test"}, {"fold": 3, "folds": 3}, {"fold": -1}, {"fold": "0"}, {"folds": True}, {"more": 1}]
)
def test_what_is_no_recipe(wrong):
    with pytest.raises((TypeError, ValueError)):
        DataRecipe.from_dict({"dataset": "digits", "sha256": "0" * 64} | wrong)
