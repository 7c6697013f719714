import numpy as np
import pytest

import hpoviz
from hpoviz.data.concerns import concerns_of
from hpoviz.data.dataset import Dataset
from hpoviz.errors import DatasetError

CHANCE = np.random.default_rng(0)
X = CHANCE.random((60, 4, 4, 1))
Y = np.arange(60) % 2
NAMES = ("a", "b")


def concerns(x=X, y=Y, x_test=None, y_test=(0, 1), kind="image", names=NAMES):
    x_test = CHANCE.random((2, 4, 4, 1)) if x_test is None else x_test
    return concerns_of(kind, x, y, x_test, np.array(y_test), names)


def test_good_data_raise_none():
    assert concerns() == ()


def test_rare_classes():
    y = np.repeat([0, 1], [56, 4])
    assert concerns(y=y) == (
        "Class 'b' has 4 training samples, 'a' 56: accuracy says little of rare classes. Look at their recall.",
    )
    assert concerns(y=np.repeat([0, 1], [54, 6])) == ()  # a ninth


def test_classes_without_a_test_sample():
    assert concerns(y_test=(0, 0)) == ("Classes without a test sample: 1 (b). The test accuracy says nothing of them.",)


def test_samples_on_both_sides_of_the_split():
    found = concerns(x_test=np.stack([CHANCE.random((4, 4, 1)), X[7]]))
    assert found == (
        "Test samples that are training samples too: 1, first test sample 1. The test accuracy will be too high.",
    )


def test_equal_samples_with_one_label_and_with_two():
    once = X.copy()
    once[9] = once[7]
    assert concerns(x=once)[0].startswith("Training samples that equal an earlier one: 1. One copy")
    once[8] = once[7]
    assert concerns(x=once)[0].startswith(
        "Training samples that equal an earlier one of another class: 1, first samples 7 and 8"
    )


def test_values_that_a_model_of_ones_own_must_scale_and_outliers():
    assert concerns(x=255 * X, x_test=X[:2])[0].startswith("Values run from ")
    assert "a build_model of your own has to" in concerns(x=255 * X, x_test=X[:2])[0]
    far = X.copy()
    far[3, 0, 0, 0] = 1e6
    assert "look for outliers" in concerns(x=far)[0]


def test_flat_images():
    flat = X.copy()
    flat[[4, 9]] = [[[[0.5]]], [[[0.25]]]]
    assert concerns(x=flat) == ("Training images of one flat colour: 2, as sample 4, 9. Nothing can be seen in them.",)


def test_texts():
    texts = np.array([f"word {row}" for row in range(60)], dtype=object)
    test = np.array(["word 3", "another"], dtype=object)
    assert concerns(x=texts, x_test=test, kind="text")[0].startswith("Test samples that are training samples too: 1,")


def test_the_embedded_data_have_no_other_concern_than_their_scale():
    found = hpoviz.load_dataset("digits").concerns
    assert [text.split(":")[0] for text in found] == ["Values run from 0 to 16"]


def test_the_repr_shows_classes_samples_and_concerns_escaped():
    flat = X.copy()
    flat[:, :2] = 0
    data = Dataset.from_arrays(flat, np.array(["<b>cat</b>", "dog & co"])[Y], test=0.2, name="<i>pets</i>")
    html = data._repr_html_()
    assert html.count("data:image/png;base64,") == 16
    assert "<b>" not in html
    assert "<i>" not in html
    assert "&lt;b&gt;cat&lt;/b&gt;: 24 training, 6 test samples" in html
    texts = Dataset.from_arrays([f"<script>{row} {'long ' * 60}" for row in range(60)], Y)._repr_html_()
    assert "<script>" not in texts
    assert "long  …" in texts or "long …" in texts


@pytest.mark.parametrize("n", [0, 1, 61, 2.5, True, "ten"])
def test_a_sample_of_a_wrong_size_is_refused(n):
    data = Dataset.from_arrays(X, Y)
    with pytest.raises(DatasetError, match=r"n must be a whole number from 2 \(the classes\) to 48 \(the samples\)"):
        data.sample(n)


@pytest.mark.parametrize("n", [2, 10, 47, 48])
def test_a_sample_holds_every_class_in_proportion(n):
    x, y = Dataset.from_arrays(X, Y).sample(n)
    assert len(x) == len(y) == n
    assert abs(int((y == 0).sum()) - n / 2) <= 1
    assert len({row.tobytes() for row in x}) == n
