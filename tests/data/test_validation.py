import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hpoviz.data.validation import as_images, as_labels, check_pair, encode_labels
from hpoviz.errors import DatasetError


def spoilt(value, row):
    images = np.zeros((5, 2, 3), np.float64)
    images[row, 1, 2] = value
    return images


SHAPES = "x must be images of shape (samples, height, width) or (samples, height, width, channels). Got shape "
BAD_IMAGES = {
    "text": ("abc", "x must hold numbers. Got an array of dtype <U3."),
    "nothing": (None, "x must hold numbers. Got an array of dtype object."),
    "dictionary": ({"x": 1}, "x must hold numbers. Got an array of dtype object."),
    "strings": ([[["1"]]], "x must hold numbers. Got an array of dtype <U1."),
    "objects": (np.zeros((2, 2, 2), object), "x must hold numbers. Got an array of dtype object."),
    "complex": (np.zeros((2, 2, 2), complex), "x must hold numbers. Got an array of dtype complex128."),
    "dates": (np.zeros((2, 2, 2), "datetime64[s]"), "x must hold numbers. Got an array of dtype datetime64[s]."),
    "unequal rows": (
        [[1, 2], [3]],
        "x must be one array of images of equal size, or texts. Got samples of unequal size. Lists of token numbers",
    ),
    "channels first": (
        np.zeros((9, 3, 8, 8)),
        "x must have its channels last. Got shape (9, 3, 8, 8), with channels first",
    ),
    "unequal images": ([np.zeros((2, 2)), np.zeros((3, 3))], "x must be one array of images of equal size, or texts."),
    "one number": (3.0, SHAPES + "()."),
    "one axis": ([1, 2, 3], SHAPES + "(3,)."),
    "a table": (np.zeros((5, 64)), SHAPES + "(5, 64)."),
    "five axes": (np.zeros((2, 2, 2, 2, 2)), SHAPES + "(2, 2, 2, 2, 2)."),
    "empty list": ([], SHAPES + "(0,)."),
    "no samples": (
        np.zeros((0, 8, 8)),
        "x is empty: its shape is (0, 8, 8). Give at least some samples of two classes.",
    ),
    "no height": (np.zeros((4, 0, 8)), "x is empty: its shape is (4, 0, 8)."),
    "no channels": (np.zeros((4, 8, 8, 0)), "x is empty: its shape is (4, 8, 8, 0)."),
    "NaN": (spoilt(np.nan, 3), "x must be finite. Got NaN or infinity, first in sample 3: leave it out."),
    "infinity": (spoilt(np.inf, 0), "x must be finite. Got NaN or infinity, first in sample 0: leave it out."),
    "minus infinity": (spoilt(-np.inf, 4), "x must be finite. Got NaN or infinity, first in sample 4: leave it out."),
    "NaN in float16": (
        np.full((2, 2, 2, 1), np.nan, np.float16),
        "x must be finite. Got NaN or infinity, first in sample 0",
    ),
}
KINDS = "y must be all whole numbers or all strings. Got labels of type "
ONE_HOT = "y must be one label a sample, or one-hot rows. Got shape "
BAD_LABELS = {
    "nothing": (None, ONE_HOT + "()."),
    "text": ("abc", ONE_HOT + "()."),
    "one number": (3, ONE_HOT + "()."),
    "two columns": ([[1, 2], [3, 4]], ONE_HOT + "(2, 2)."),
    "two ones in a row": ([[1, 1], [0, 1]], ONE_HOT + "(2, 2)."),
    "no one in a row": ([[0, 0], [0, 1]], ONE_HOT + "(2, 2)."),
    "probabilities": ([[0.25, 0.75]], ONE_HOT + "(1, 2)."),
    "two columns of strings": ([["a", "b"]], ONE_HOT + "(1, 2)."),
    "three axes": ([[[0, 1]]], ONE_HOT + "(1, 1, 2)."),
    "fraction": ([0, 1, 1.5], "y must be class labels: whole numbers or strings. Got 1.5."),
    "NaN": ([0.0, np.nan], "y must be class labels: whole numbers or strings. Got nan."),
    "infinity": ([0.0, np.inf], "y must be class labels: whole numbers or strings. Got inf."),
    "complex": ([1j], "y must be whole numbers or strings. Got an array of dtype complex128."),
    "bytes": ([b"a", b"b"], "y must be whole numbers or strings. Got an array of dtype |S1."),
    "dates": (np.zeros(2, "datetime64[D]"), "y must be whole numbers or strings. Got an array of dtype datetime64[D]."),
    "missing number": ([1, None], KINDS + "NoneType, int."),
    "missing string": (["a", None], KINDS + "NoneType, str."),
    "missing in pandas": (pd.Series(["a", np.nan], dtype=object), KINDS + "float, str."),
    "missing in pandas integers": (
        pd.Series([1, None], dtype="Int64"),
        "y must be ",
    ),  # pandas gives NA or NaN, by release
    "mixed objects": (np.array([1, "a"], object), KINDS + "int, str."),
    "tuples": (pd.Series([(0, 1), (1, 0)]), KINDS + "tuple."),
    "blank": (["a", " ", "b"], "y must name a class for every sample. Got a blank label in sample 1."),
    "empty string": (np.array(["a", "b", ""], object), "Got a blank label in sample 2."),
    "ragged": pytest.param([1, [2, 3]], "y must be"),
    "mixed list": pytest.param(["a", 1], KINDS),
    "too large": pytest.param([10**30, 1], "y must be"),
    "too large a float": pytest.param([1e300, 1.0], "y must be"),
}


def cases(table):
    found = []
    for name, case in table.items():
        marked = hasattr(case, "marks")
        found.append(pytest.param(*(case.values if marked else case), id=name, marks=case.marks if marked else ()))
    return found


@pytest.mark.parametrize(("x", "message"), cases(BAD_IMAGES))
def test_bad_images(x, message):
    with pytest.raises(DatasetError) as caught:
        as_images(x)
    assert message in str(caught.value)


@pytest.mark.parametrize(("y", "message"), cases(BAD_LABELS))
def test_bad_labels(y, message):
    with pytest.raises(DatasetError) as caught:
        as_labels(y)
    assert message in str(caught.value)


def test_image_value_that_float32_cannot_hold():
    with pytest.raises(DatasetError, match="first in sample 2"):
        as_images(spoilt(1e39, 2))


def test_messages_carry_the_name():
    with pytest.raises(DatasetError, match=r"^x of test must hold numbers"):
        as_images("abc", "x of test")
    with pytest.raises(DatasetError, match=r"^y of test must be one label a sample"):
        as_labels(3, "y of test")


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int32", "int64", "uint16"])
def test_whole_number_images_keep_their_type(dtype):
    images = as_images(np.ones((2, 3, 4), dtype))
    assert images.dtype == dtype
    assert images.shape == (2, 3, 4, 1)


@pytest.mark.parametrize("dtype", ["bool", "float16", "float32", "float64"])
def test_other_images_become_float32(dtype):
    images = as_images(np.ones((2, 3, 4, 3), dtype))
    assert images.dtype == np.float32
    assert images.shape == (2, 3, 4, 3)


def test_lists_become_images():
    images = as_images([[[1, 2], [3, 4]], [[5, 6], [7, 8]]])
    assert images[..., 0].tolist() == [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]


@settings(max_examples=50, deadline=None)
@given(hnp.arrays(np.float32, hnp.array_shapes(min_dims=3, max_dims=4, max_side=4)))
def test_images_come_through_exactly_or_not_at_all(x):
    bad = [row for row, image in enumerate(x) if not np.isfinite(image).all()]
    if bad:
        with pytest.raises(DatasetError, match=f"first in sample {bad[0]}:"):
            as_images(x)
    else:
        assert np.array_equal(as_images(x).reshape(x.shape), x)
        assert as_images(x).ndim == 4


@pytest.mark.parametrize(
    ("y", "labels"),
    [
        ([3, 1, 2], [3, 1, 2]),
        ([[3], [1]], [3, 1]),
        ([2.0, -1.0], [2, -1]),
        (["b", "a"], ["b", "a"]),
        ([["b"], ["a"]], ["b", "a"]),
        ([True, False], [True, False]),
        ([[0, 1, 0], [1, 0, 0]], [1, 0]),
        ([[0.0, 1.0], [1.0, 0.0]], [1, 0]),
        ([[False, True], [True, False]], [1, 0]),
        (pd.Series(["b", "a"]), ["b", "a"]),
        (pd.Series(["b", "a"], dtype="category"), ["b", "a"]),
        (pd.Series([3, 1], dtype="Int64"), [3, 1]),
        (np.array(["b", "a"], object), ["b", "a"]),
        (np.array([3, True], object), [3, 1]),
        (np.array([3, 1], np.uint8), [3, 1]),
        pytest.param(
            np.array([np.int64(3), np.int64(1)], object),
            [3, 1],
            id="numpy numbers as objects",
        ),
    ],
)
def test_good_labels(y, labels):
    found = as_labels(y)
    assert found.ndim == 1
    assert found.tolist() == labels


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=20))
def test_one_hot_rows_say_what_the_numbers_say(codes):
    assert as_labels(np.eye(6)[codes]).tolist() == codes


def test_pair_of_equal_length():
    assert check_pair(np.zeros((3, 2, 2)), np.zeros(3)) is None


@pytest.mark.parametrize(("samples", "labels"), [(3, 2), (0, 1), (100, 101)])
def test_pair_of_unequal_length(samples, labels):
    with pytest.raises(DatasetError, match="x and y of test must have the same length") as caught:
        check_pair(np.zeros(samples), np.zeros(labels), " of test")
    assert f"Got {samples} samples and {labels} labels. Give one label a sample" in str(caught.value)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([1] * 9, r"A classifier needs at least two classes. Got 1: \['1'\]. Check that y holds the labels."),
        ([], r"A classifier needs at least two classes. Got 0: \[\]."),
        (["a"] * 4 + ["b"] * 3, r"at least 4 samples.*Too few in: b \(3\). Leave them out or merge them."),
        ([0] + [1, 2] * 4 + [3] * 2, r"Too few in: 0 \(1\), 3 \(2\)\."),
        (list(range(12)), r"9 \(1\) …\. Leave them out"),
    ],
)
def test_too_few_classes_or_samples(y, message):
    with pytest.raises(DatasetError, match=message):
        encode_labels(np.array(y))


@pytest.mark.parametrize(
    ("y", "codes", "names"),
    [
        ([30, 10] * 4, [1, 0] * 4, ("10", "30")),
        (["dog", "cat"] * 4, [1, 0] * 4, ("cat", "dog")),
        ([True, False] * 4, [1, 0] * 4, ("False", "True")),
        ([-1, 10, 9] * 4, [0, 2, 1] * 4, ("-1", "9", "10")),
    ],
)
def test_encoded_labels(y, codes, names):
    found, classes = encode_labels(np.array(y))
    assert (found.tolist(), found.dtype, classes) == (codes, np.int64, names)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-100, 100), min_size=2, max_size=6, unique=True), st.randoms())
def test_codes_name_the_label_again(classes, rng):
    y = classes * 4
    rng.shuffle(y)
    codes, names = encode_labels(np.array(y))
    assert [int(names[code]) for code in codes] == y
    assert sorted(classes) == [int(name) for name in names]
