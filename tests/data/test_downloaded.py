"""The real loaders of downloaded data sets, offline, on small files in the genuine formats; Fashion-MNIST whole."""

import json

import numpy as np
import pytest

import hpoviz
from hpoviz.data.array_cache import cached_arrays
from hpoviz.data.keras_datasets import FASHION_MNIST
from hpoviz.errors import DatasetError
from hpoviz.testing.dataset_contract import DatasetContract
from tests.data import stand_ins

pytestmark = pytest.mark.slow

# What a download does without a network, at once.
FAIL = """
import sys, urllib.error
from keras.src.utils import file_utils
def refuse(*arguments, **options):
    raise urllib.error.URLError("no network here")
file_utils.urlretrieve = refuse
import hpoviz, json
try:
    hpoviz.load_dataset(sys.argv[1])
except hpoviz.DatasetError as error:
    print(json.dumps({"said": str(error)}))
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A Keras folder with all stand-ins, from which every data set was loaded once."""
    home = tmp_path_factory.mktemp("keras")
    stand_ins.write_all(home)
    home.joinpath("loaded.json").write_text(json.dumps(stand_ins.load_in_fresh_process(home, *stand_ins.NAMES)))
    return home


@pytest.fixture
def load(home, monkeypatch):
    """Load a data set from what was kept the first time; Keras itself would look elsewhere."""
    monkeypatch.setenv("KERAS_HOME", str(home))
    return hpoviz.load_dataset


def test_the_first_load_reads_every_file_and_keeps_the_official_split(home):
    loaded = {facts["name"]: facts for facts in json.loads((home / "loaded.json").read_text())}
    assert {name: facts["shape"] for name, facts in loaded.items()} == {
        "mnist": [1500, 28, 28, 1],
        "cifar10": [50_000, 32, 32, 3],
        "cifar100": [600, 32, 32, 3],
        "imdb": [300],
        "reuters": [480],
        "gtsrb": [774, 32, 32, 3],
    }
    assert {name: facts["test"][0] for name, facts in loaded.items()} == {
        "mnist": 297,
        "cifar10": 1000,
        "cifar100": 200,
        "imdb": 300,
        "reuters": 120,
        "gtsrb": 86,
    }
    assert {name: facts["classes"] for name, facts in loaded.items()} == {
        "mnist": 10,
        "cifar10": 10,
        "cifar100": 100,
        "imdb": 2,
        "reuters": 46,
        "gtsrb": 43,
    }
    assert {facts["origin"] for facts in loaded.values()} == {"given with the data"}


def test_the_second_load_is_the_same_without_keras(home):
    first = {facts["name"]: facts["sha256"] for facts in json.loads((home / "loaded.json").read_text())}
    code = stand_ins.LOAD.replace("from keras.src.utils import file_utils\n", "").replace("file_utils.validate", "#")
    code += "assert 'keras' not in sys.modules"
    again = stand_ins.load_in_fresh_process(home, *stand_ins.NAMES, code=code)
    assert {facts["name"]: facts["sha256"] for facts in again} == first


def test_images_are_those_of_the_files(load):
    x, y = stand_ins.digits_of_mnist()
    data = load("mnist")
    np.testing.assert_array_equal(data.x[..., 0], x[:1500])
    np.testing.assert_array_equal(data.y_test, y[1500:])
    patches = stand_ins.patches(400, seed=0).reshape(400, 3, 32, 32).transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(load("cifar10").x[:400], patches)
    assert load("cifar10").class_names[9] == "truck"


def test_cifar100_has_its_twenty_groups_too(home):
    (facts,) = stand_ins.load_in_fresh_process(
        home, "cifar100", code=stand_ins.LOAD.replace("load_dataset(name)", "load_dataset(name, labels='coarse')")
    )
    assert facts["classes"] == 20


def test_wrong_options_are_refused(load):
    with pytest.raises(DatasetError, match="labels must be 'fine'"):
        load("cifar100", labels="medium")
    with pytest.raises(DatasetError, match="'mnist' has no such option"):
        load("mnist", labels="fine")


def test_texts_are_put_together_whole(load):
    texts = [" ".join(stand_ins.words(text)) for text in hpoviz.load_dataset("docstrings").x[:600]]
    for name in ("imdb", "reuters"):
        data = load(name)
        assert sorted([*data.x, *data.x_test]) == sorted(texts)
    assert load("imdb").class_names == ("negative", "positive")
    assert load("reuters").class_names[:4] == ("cocoa", "grain", "veg-oil", "earn")


def test_signs_are_cut_out_and_split_by_track(load):
    data = load("gtsrb")
    assert data.class_names[14] == "stop"
    for images, labels in ((data.x, data.y), (data.x_test, data.y_test)):
        assert (images[..., 1] == 100).all()  # nothing of the black margin
        np.testing.assert_array_equal(images[:, 0, 0, 0], 5 * labels + 20)
    split = data.split()
    assert len(np.unique(data.groups)) == 43 * 6
    assert len(split.x_val) == pytest.approx(0.2 * len(data.x), rel=0.3)


def test_what_was_kept_is_made_anew_where_it_is_damaged(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    make = lambda: {"x": np.arange(1000), "words": ["a", "b"]}  # noqa: E731
    cached_arrays("some", make)
    (kept,) = (tmp_path / "datasets" / "hpoviz").iterdir()
    for file in ("x.npy", "names.json", "words.json"):
        (kept / file).write_bytes((kept / file).read_bytes()[:20])
        again = cached_arrays("some", make)
        assert again["x"].tolist() == list(range(1000))
        assert again["words"] == ["a", "b"]
    assert not list((tmp_path / "datasets" / "hpoviz").glob(".*"))


@pytest.mark.parametrize(
    ("name", "file", "source"),
    [
        ("mnist", "mnist.npz", "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"),
        ("fashion_mnist", "fashion-mnist/train-labels-idx1-ubyte.gz", "train-labels-idx1-ubyte.gz"),
        ("gtsrb", "gtsrb", "GTSRB_Final_Test_GT.zip  (MD5 fe31e9c9270bbcd7b84b7f21a9d9d9e5)"),
    ],
)
def test_a_failed_download_says_what_to_do(tmp_path, name, file, source):
    (said,) = stand_ins.load_in_fresh_process(tmp_path, name, code=FAIL)
    assert f"The data set {name!r} cannot be loaded" in said["said"]
    assert "no network here" in said["said"]
    assert str(tmp_path / "datasets" / file) in said["said"]
    assert source in said["said"]


def test_a_file_of_the_users_stays_though_keras_would_delete_it(tmp_path):
    mine = tmp_path / "datasets" / "mnist.npz"
    mine.parent.mkdir()
    mine.write_bytes(b"half of a download")
    (said,) = stand_ins.load_in_fresh_process(tmp_path, "mnist", code=FAIL)
    assert "no network here" in said["said"]
    assert mine.read_bytes() == b"half of a download"
    assert list(mine.parent.iterdir()) == [mine]


@pytest.fixture(scope="class")
def fashion_home(tmp_path_factory):
    """The Keras folder from here on; it has the whole Fashion-MNIST."""
    if not stand_ins.FASHION.is_dir():
        pytest.skip("no Fashion-MNIST: install it (apt-get install dataset-fashion-mnist) for its tests")
    home = tmp_path_factory.mktemp("fashion")
    stand_ins.link_fashion(home)
    stand_ins.load_in_fresh_process(home, "fashion_mnist")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_HOME", str(home))
        yield


@pytest.mark.usefixtures("fashion_home")
class TestFashionMnist(DatasetContract):
    """The whole data set, from the four files that Keras downloads."""

    def make_source(self):
        return FASHION_MNIST
