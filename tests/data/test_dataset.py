import dataclasses
import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpoviz.data.catalog import load_dataset
from hpoviz.data.data_split import DataSplit
from hpoviz.data.dataset import Dataset
from hpoviz.data.info import DataInfo
from hpoviz.errors import DatasetError

X = np.random.default_rng(0).random((40, 4, 4)).astype(np.float32)
Y = np.arange(40) % 2


def spoilt(row):
    x = X.copy()
    x[row, 2, 1] = np.nan
    return x


def counted(counts):
    """Return images of which each holds its own number, and shuffled labels with so many samples a class."""
    y = np.random.default_rng(1).permutation(np.repeat(np.arange(len(counts)), counts))
    x = np.arange(len(y), dtype=np.int32)[:, None, None] * np.ones((1, 2, 3), np.int32)
    return x, y


def numbers(images):
    return images[:, 0, 0, 0].astype(int).tolist()


SHARE = "test must be a pair (x, y) or a share in (0, 0.9]. Got "
BAD = {
    "one sample too few": (X[:39], Y, {}, "x and y must have the same length. Got 39 samples and 40 labels."),
    "no samples": (X[:0], Y[:0], {}, "x is empty: its shape is (0, 4, 4)."),
    "a table": (X.reshape(40, 16), Y, {}, "x must be images of shape"),
    "NaN": (spoilt(7), Y, {}, "x must be finite. Got NaN or infinity, first in sample 7"),
    "no labels": (X, None, {}, "y must be one label a sample"),
    "fractions": (X, Y + 0.5, {}, "y must be class labels: whole numbers or strings. Got 0.5."),
    "one class": (X, Y * 0, {}, "A classifier needs at least two classes. Got 1: ['0']."),
    "a class of three": (X, np.repeat([0, 1], [37, 3]), {}, "Every class needs at least 4 samples"),
    "blank label": (X, np.array(["", "b"])[Y], {}, "Got a blank label in sample 0."),
    "share 0": (X, Y, {"test": 0}, SHARE + "0."),
    "share 0.0": (X, Y, {"test": 0.0}, SHARE + "0.0."),
    "share below 0": (X, Y, {"test": -0.2}, SHARE + "-0.2."),
    "share above 0.9": (X, Y, {"test": 0.91}, SHARE + "0.91."),
    "whole number": (X, Y, {"test": 10}, SHARE + "10."),
    "NaN share": (X, Y, {"test": np.nan}, SHARE + "nan."),
    "infinite share": (X, Y, {"test": np.inf}, SHARE + "inf."),
    "True": (X, Y, {"test": True}, SHARE + "True."),
    "None": (X, Y, {"test": None}, SHARE + "None."),
    "text share": (X, Y, {"test": "0.2"}, SHARE + "'0.2'."),
    "list for a pair": (X, Y, {"test": [1, 2]}, SHARE + "[1, 2]."),
    "empty tuple": (X, Y, {"test": ()}, "test must be a pair (x, y) or a share in (0, 0.9]. Got a tuple of 0."),
    "three in the tuple": (X, Y, {"test": (X, Y, Y)}, "Got a tuple of 3."),
    "too small a share": (X, Y, {"test": 0.01}, "test=0.01 leaves a class without samples in one part (40 samples, 2"),
    "test of unequal length": (
        X,
        Y,
        {"test": (X[:3], Y[:4])},
        "x and y of test must have the same length. Got 3 samples",
    ),
    "test of another size": (
        X,
        Y,
        {"test": (X[:, :3], Y)},
        "x of test must have samples of shape (4, 4, 1). Got (3, 4, 1).",
    ),
    "test with more channels": (X, Y, {"test": (np.zeros((4, 4, 4, 3)), Y[:4])}, "Got (4, 4, 3)."),
    "test with a new class": (X, Y, {"test": (X[:3], [0, 1, 2])}, "y of test has classes that y lacks: ['2']."),
    "test with strings": (X, Y, {"test": (X[:2], ["a", "b"])}, "y of test has classes that y lacks: ['a', 'b']."),
    "empty test": (X, Y, {"test": (X[:0], Y[:0])}, "x of test is empty"),
    "test with NaN": (X, Y, {"test": (X[:2] * np.nan, Y[:2])}, "x of test must be finite."),
    "test without labels": (X, Y, {"test": (X[:2], None)}, "y of test must be one label a sample"),
    "test as text": (X, Y, {"test": ("abc", Y)}, "x of test must hold numbers."),
    "one class name": (
        X,
        Y,
        {"class_names": ("a",)},
        "class_names must name the 2 classes in y, each once. Got ['a'].",
    ),
    "three class names": (
        X,
        Y,
        {"class_names": ("a", "b", "c")},
        "class_names must name the 2 classes in y, each once. Got ['a', 'b', 'c'].",
    ),
}


@pytest.mark.parametrize(("x", "y", "options", "message"), BAD.values(), ids=BAD)
def test_bad_arrays(x, y, options, message):
    with pytest.raises(DatasetError) as caught:
        Dataset.from_arrays(x, y, **options)
    assert message in str(caught.value)


@pytest.mark.parametrize("fraction", [0, 1, -0.5, 1.5, 0.99, float("nan"), float("inf")])
def test_bad_validation_fraction(fraction):
    with pytest.raises(DatasetError, match=r"validation_fraction must be a share in \(0, 0.9\]. Got "):
        Dataset.from_arrays(X, Y).split(fraction)


def test_validation_fraction_that_leaves_a_class_out():
    with pytest.raises(DatasetError, match="leaves a class without samples in one part"):
        Dataset.from_arrays(X, Y).split(0.01)


@pytest.mark.parametrize("fraction", ["0.2", None])
def test_validation_fraction_that_is_no_number(fraction):
    with pytest.raises(DatasetError, match="validation_fraction"):
        Dataset.from_arrays(X, Y).split(fraction)


def test_constant_images():
    data = Dataset.from_arrays(np.full((40, 4, 4), 7.0), Y)
    with pytest.raises(DatasetError, match=r"All values of x are 7: there is nothing to learn\. Check how"):
        data.split()


def in_every_part(counts, share):
    """Return the classes that are in each part of a data set with so many samples a class, or the error."""
    try:
        data = Dataset.from_arrays(*counted(counts), test=share)
        split = data.split(share)
    except DatasetError as error:
        return str(error)
    return [set(part.tolist()) for part in (data.y_test, split.y_train, split.y_val)]


@pytest.mark.parametrize("share", [0.05, 0.1, 0.2, 0.9])
def test_rare_class_is_in_every_part_or_reported(share):
    found = in_every_part([4, 396], share)
    assert found == [{0, 1}] * 3 or "leaves a class without samples" in found


def test_parts_of_equal_classes_have_every_class():
    assert in_every_part([20, 20, 20], 0.2) == [{0, 1, 2}] * 3


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(20, 60), min_size=2, max_size=5),
    st.floats(0.1, 0.5),
    st.floats(0.1, 0.5),
    st.integers(0, 2**32 - 1),
)
def test_parts_are_stratified_disjoint_and_complete(counts, test_share, validation_share, seed):
    x, y = counted(counts)
    data = Dataset.from_arrays(x, y, test=test_share, seed=seed)
    split = data.split(validation_share, seed)
    parts = [numbers(images) for images in (data.x_test, split.x_train, split.x_val)]
    assert sorted(itertools.chain(*parts)) == list(range(len(y)))
    for images, labels in ((data.x_test, data.y_test), (split.x_train, split.y_train), (split.x_val, split.y_val)):
        assert y[numbers(images)].tolist() == labels.tolist()
    for whole, part in ((y, data.y_test), (data.y, split.y_val)):
        for label in range(len(counts)):
            expected = len(part) * (whole == label).mean()
            assert abs((part == label).sum() - expected) < 1
    assert len(data.y_test) == pytest.approx(test_share * len(y), abs=1)
    assert len(split.y_val) == pytest.approx(validation_share * len(data.y), abs=1)


def test_parts_keep_the_order_of_the_samples():
    data = Dataset.from_arrays(*counted([30, 30]))
    split = data.split()
    for images in (data.x, data.x_test, split.x_train, split.x_val):
        assert numbers(images) == sorted(numbers(images))


def test_equal_seeds_give_equal_parts_and_others_do_not():
    x, y = counted([50, 50])
    tests = [numbers(Dataset.from_arrays(x, y, seed=seed).x_test) for seed in (3, 3, 4)]
    assert tests[0] == tests[1] != tests[2]
    data = Dataset.from_arrays(x, y)
    validations = [numbers(data.split(seed=seed).x_val) for seed in (3, 3, 4)]
    assert validations[0] == validations[1] != validations[2]


def test_the_validation_seed_leaves_the_test_set_alone():
    data = Dataset.from_arrays(*counted([50, 50]))
    before = numbers(data.x_test)
    data.split(seed=9)
    assert numbers(data.x_test) == before
    assert not set(before) & set(numbers(data.split(seed=9).x_val))


def test_given_test_set_is_taken_as_it_is():
    data = Dataset.from_arrays(X, np.array(["b", "a"])[Y], test=(X[:3] + 1, ["a", "b", "a"]))
    assert len(data.x) == 40
    assert np.array_equal(data.x_test[..., 0], X[:3] + 1)
    assert data.y_test.tolist() == [0, 1, 0]
    assert data.y_test.dtype == np.int64
    assert data.test_origin == "given with the data"


def test_origin_of_a_test_set_that_was_set_apart():
    assert Dataset.from_arrays(X, Y, test=0.25, seed=7).test_origin == "25% of the samples, set apart by class (seed 7)"


def test_mean_and_deviation_are_those_of_the_training_samples_only():
    x, y = counted([25, 25])
    split = Dataset.from_arrays(x, y).split()
    trained = np.array(numbers(split.x_train), float)
    assert split.info.mean == pytest.approx(trained.mean())
    assert split.info.std == pytest.approx(trained.std())
    assert split.info.mean != pytest.approx(x.mean())


def test_changing_validation_and_test_samples_leaves_mean_and_deviation_alone():
    x, y = counted([25, 25])
    data = Dataset.from_arrays(x, y)
    before = data.split()
    x = x.copy()
    x[numbers(before.x_val) + numbers(data.x_test)] += 1000
    after = Dataset.from_arrays(x, y).split()
    assert after.x_val.mean() > before.x_val.mean() + 900
    assert (after.info.mean, after.info.std) == (before.info.mean, before.info.std)


def test_mean_of_small_integers_does_not_overflow():
    x = np.full((40, 8, 8), 250, np.uint8)
    x[::2] = 255
    info = Dataset.from_arrays(x, np.arange(40) // 2 % 2).split().info
    assert 250 < info.mean < 255
    assert 0 < info.std <= 2.5


def test_info_of_a_split():
    info = Dataset.from_arrays(X, Y, name="mine", class_names=("left", "right")).split().info
    assert (info.name, info.kind, info.input_shape) == ("mine", "image", (4, 4, 1))
    assert (info.class_names, info.num_classes) == (("left", "right"), 2)


def test_info_survives_json():
    info = Dataset.from_arrays(X, Y).split().info
    assert DataInfo.from_dict(json.loads(json.dumps(info.to_dict()))) == info


def test_class_names_are_the_sorted_labels():
    assert Dataset.from_arrays(X, np.array(["dog", "cat"])[Y]).class_names == ("cat", "dog")
    assert Dataset.from_arrays(X, Y, class_names=[1, 2]).class_names == ("1", "2")


def test_saved_split_is_loaded_whole(tmp_path):
    split = Dataset.from_arrays((X * 255).astype(np.uint8), Y, name="mine").split()
    split.save(tmp_path)
    loaded = DataSplit.load(tmp_path)
    assert loaded.info == split.info
    for name in ("x_train", "y_train", "x_val", "y_val"):
        kept, found = getattr(split, name), getattr(loaded, name)
        assert found.dtype == kept.dtype
        assert np.array_equal(found, kept)


def test_loaded_arrays_stay_on_disk_and_cannot_be_changed(tmp_path):
    Dataset.from_arrays(X, Y).split().save(tmp_path)
    loaded = DataSplit.load(tmp_path)
    assert isinstance(loaded.x_train, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        loaded.x_train[0] = 0


def test_saved_files(tmp_path):
    Dataset.from_arrays(X, Y).split().save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "info.json",
        "x_train.npy",
        "x_val.npy",
        "y_train.npy",
        "y_val.npy",
    ]


def changed(name, change):
    array = getattr(BASE, name).copy()
    return dataclasses.replace(BASE, **{name: change(array)})


def bumped(array):
    array.flat[0] += 1
    return array


BASE = Dataset.from_arrays((X * 255).astype(np.uint8), Y)
CHANGES = {
    **{f"one value of {name}": changed(name, bumped) for name in ("x", "y", "x_test", "y_test")},
    **{f"one sample less in {name}": changed(name, lambda a: a[:-1]) for name in ("x", "y", "x_test", "y_test")},
    **{f"another order of {name}": changed(name, lambda a: a[::-1]) for name in ("x", "y", "x_test", "y_test")},
    "another type": changed("x", lambda a: a.astype(np.int8)),
    "another shape": changed("x", lambda a: a.reshape(-1, 2, 8, 1)),
    "a sample moved to the test set": dataclasses.replace(
        BASE, x=BASE.x[:-1], y=BASE.y[:-1], x_test=np.concatenate([BASE.x[-1:], BASE.x_test]), y_test=BASE.y_test
    ),
}


@pytest.mark.parametrize("other", CHANGES.values(), ids=CHANGES)
def test_hash_sees_every_change(other):
    assert other.sha256 != BASE.sha256


def test_hash_depends_on_nothing_but_the_data():
    again = Dataset.from_arrays((X * 255).astype(np.uint8), Y, name="another", class_names=("a", "b"))
    assert again.sha256 == BASE.sha256
    assert len(BASE.sha256) == 64


def test_hash_of_arrays_that_are_not_contiguous():
    turned = dataclasses.replace(BASE, x=np.asfortranarray(BASE.x))
    assert turned.sha256 == BASE.sha256


def test_repr():
    assert repr(Dataset.from_arrays(X, Y, name="mine")) == (
        "<Dataset mine: 32 images of 4×4×1 in 2 classes, and 8 test samples "
        "(20% of the samples, set apart by class (seed 0))>"
    )


def test_data_set_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        BASE.name = "another"


def test_digits():
    data = load_dataset("digits")
    assert (data.name, data.x.dtype, len(data.x) + len(data.x_test)) == ("digits", np.uint8, 1797)
    assert data.class_names == tuple("0123456789")
    assert (data.x.min(), data.x.max()) == (0, 16)
    assert data.sha256 == load_dataset("digits").sha256


def test_unknown_data_set():
    with pytest.raises(DatasetError, match=r"Unknown data set 'digit'. Did you mean 'digits'\? Known: "):
        load_dataset("digit")


def test_a_path_in_the_place_of_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("pictures", "run"):
        (tmp_path / name).mkdir()
    for name in ("run/run.json", "table.csv", "images.npz"):
        (tmp_path / name).touch()
    for name, message in (
        ("pictures/", "'pictures/' is a folder, no data set's name: hpoviz.Dataset.from_folder('pictures/') reads it."),
        (str(tmp_path / "pictures"), "from_folder"),
        ("run", "hpoviz.open_run('run') reads it."),
        ("table.csv", "is a file, no data set's name: hpoviz.Dataset.from_csv('table.csv', text=…, label=…) reads it."),
        ("images.npz", "hpoviz.Dataset.from_arrays takes what you read from it. Names: cifar10, "),
        ("gone/pictures", "and there is no file or folder of that name"),
        ("gone.csv", "and there is no file or folder of that name"),
        ("", "Unknown data set ''"),
    ):
        with pytest.raises(DatasetError) as caught:
            load_dataset(name)
        assert message in str(caught.value), name
    (tmp_path / "digits").mkdir()
    assert load_dataset("digits").name == "digits"


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5])
def test_seed_that_scikit_learn_refuses(seed):
    with pytest.raises(DatasetError, match="seed"):
        Dataset.from_arrays(X, Y, seed=seed)


def test_class_names_that_are_no_sequence():
    with pytest.raises(DatasetError, match="class_names"):
        Dataset.from_arrays(X, Y, class_names=5)


def test_class_names_that_repeat():
    with pytest.raises(DatasetError, match="class_names"):
        Dataset.from_arrays(X, Y, class_names=("a", "a"))
