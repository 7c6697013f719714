"""The data sets that Keras downloads, with their official split of training and test data."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hpoviz.data.array_cache import cached_arrays, keras_home
from hpoviz.data.dataset import Dataset
from hpoviz.data.dataset_source import DatasetSource, class_names
from hpoviz.errors import DatasetError

__all__ = ["CIFAR10", "CIFAR100", "FASHION_MNIST", "IMDB", "MNIST", "REUTERS"]

# What Keras calls the files in its folder, and where each comes from.
GOOGLE = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
FASHION_FILES = [f"{part}-{what}-ubyte.gz" for part in ("train", "t10k") for what in ("labels-idx1", "images-idx3")]
FILES: dict[str, dict[str, str]] = {
    "mnist": {"mnist.npz": GOOGLE + "mnist.npz"},
    "fashion_mnist": {f"fashion-mnist/{name}": GOOGLE + name for name in FASHION_FILES},
    "cifar10": {
        "cifar-10-batches-py-target_archive": "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
    },
    "cifar100": {"cifar-100-python-target_archive": "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz"},
    "imdb": {name: GOOGLE + name for name in ("imdb.npz", "imdb_word_index.json")},
    "reuters": {name: GOOGLE + name for name in ("reuters.npz", "reuters_word_index.json")},
}
ALL_WORDS = 2**31 - 1  # with None Keras takes the rarest word for an unknown one
FIRST_WORD = 3  # token numbers below it are padding, start and unknown words
UNKNOWN_WORD = "[UNK]"  # as Keras' TextVectorization calls it


def images(name: str, *, called: str | None = None, **options: Any) -> Dataset:
    """Return a data set of images, through Keras the first time; `called` where the options make it another one."""
    called = called or name
    arrays = cached_arrays(called, lambda: _download(name, **options))
    return Dataset.from_arrays(
        arrays["x"],
        arrays["y"],
        test=(arrays["x_test"], arrays["y_test"]),
        name=called,
        class_names=class_names(called),
        flippable=name != "mnist",
    )


def cifar100(labels: str = "fine") -> Dataset:
    """Return CIFAR-100 with its 100 classes, or with the 20 groups of them."""
    if labels not in ("fine", "coarse"):
        raise DatasetError(f"labels must be 'fine' (100 classes) or 'coarse' (20). Got {labels!r}.")
    return images("cifar100", called="cifar100" if labels == "fine" else "cifar100_coarse", label_mode=labels)


def texts(name: str) -> Dataset:
    """Return a data set of texts, put together from Keras' token numbers: the whole vocabulary, nothing cut off."""
    found = cached_arrays(name, lambda: _download_texts(name))
    return Dataset.from_arrays(
        found["x"],
        found["y"],
        test=(found["x_test"], found["y_test"]),
        name=name,
        class_names=found["class_names"],
    )


def _download(name: str, **options: Any) -> Mapping[str, np.ndarray]:
    module = importlib.import_module(f"keras.datasets.{name}")
    with _explained(name):
        (x, y), (x_test, y_test) = module.load_data(**options)
    return {"x": x, "y": y.ravel(), "x_test": x_test, "y_test": y_test.ravel()}


def _download_texts(name: str) -> Mapping[str, Any]:
    module = importlib.import_module(f"keras.datasets.{name}")
    with _explained(name):
        (x, y), (x_test, y_test) = module.load_data(num_words=ALL_WORDS)
        index = module.get_word_index()
        names = class_names(name) or [str(topic) for topic in module.get_label_names()]
    words = {number + FIRST_WORD: word for word, number in index.items()}
    return {
        "x": _as_texts(x, words),
        "y": np.asarray(y, np.int64),
        "x_test": _as_texts(x_test, words),
        "y_test": np.asarray(y_test, np.int64),
        "class_names": names,
    }


def _as_texts(rows: Sequence[Sequence[int]], words: Mapping[int, str]) -> list[str]:
    """Put texts together; the mark of the start is left out, and unknown words are one word."""
    return [
        " ".join(words.get(int(number), UNKNOWN_WORD) for number in row if number not in (0, 1)) or UNKNOWN_WORD
        for row in rows
    ]


@contextlib.contextmanager
def _explained(name: str) -> Iterator[None]:
    """Keep the user's files whatever Keras does to them, and say what to do where it fails."""
    home = keras_home() / "datasets"
    with _kept([home / file for file in FILES[name]]):
        try:
            yield
        except Exception as error:
            files = "\n".join(f"  {home / file}  from {url}" for file, url in FILES[name].items())
            raise DatasetError(
                f"The data set {name!r} cannot be loaded: {type(error).__name__}: {error}\nWithout a network, put its "
                f"files in place by hand, under these names:\n{files}"
            ) from error


@contextlib.contextmanager
def _kept(files: Sequence[Path]) -> Iterator[None]:
    """Put files back that were deleted: Keras deletes one of the wrong hash when it cannot download another."""
    copies = {file: file.with_name(f".{file.name}.hpoviz") for file in files if file.is_file()}
    for file, copy in copies.items():
        copy.unlink(missing_ok=True)
        copy.hardlink_to(file)  # a second name of the same content: no copy
    try:
        yield
    finally:
        for file, copy in copies.items():
            if file.exists():
                copy.unlink(missing_ok=True)
            else:
                copy.rename(file)


MNIST = DatasetSource(
    name="mnist",
    kind="image",
    classes=10,
    shape="28×28 grey",
    train=60_000,
    test=10_000,
    licence="CC BY-SA 3.0",
    good_for="handwritten digits 0–9: the classic first task",
    link="https://keras.io/api/datasets/mnist/",
    load=lambda: images("mnist"),
)
FASHION_MNIST = DatasetSource(
    name="fashion_mnist",
    kind="image",
    classes=10,
    shape="28×28 grey",
    train=60_000,
    test=10_000,
    licence="MIT",
    good_for="greyscale images of clothes: as easy to use as MNIST, harder to learn",
    link="https://keras.io/api/datasets/fashion_mnist/",
    load=lambda: images("fashion_mnist"),
)
CIFAR10 = DatasetSource(
    name="cifar10",
    kind="image",
    classes=10,
    shape="32×32 colour",
    train=50_000,
    test=10_000,
    licence="free for research, please cite",
    good_for="colour images of animals and vehicles: where convolutions begin to matter",
    link="https://keras.io/api/datasets/cifar10/",
    load=lambda: images("cifar10"),
)
CIFAR100 = DatasetSource(
    name="cifar100",
    kind="image",
    classes=100,
    shape="32×32 colour",
    train=50_000,
    test=10_000,
    licence="free for research, please cite",
    good_for="colour images in many classes of few samples; labels='coarse' for 20 groups",
    link="https://keras.io/api/datasets/cifar100/",
    load=cifar100,
)
IMDB = DatasetSource(
    name="imdb",
    kind="text",
    classes=2,
    shape="about 230 words",
    train=25_000,
    test=25_000,
    licence="free for research, please cite",
    good_for="text: film reviews, positive or negative",
    link="https://keras.io/api/datasets/imdb/",
    load=lambda: texts("imdb"),
)
REUTERS = DatasetSource(
    name="reuters",
    kind="text",
    classes=46,
    shape="about 145 words",
    train=8982,
    test=2246,
    licence="free for research, please cite",
    good_for="text: news by topic, with very rare classes",
    link="https://keras.io/api/datasets/reuters/",
    load=lambda: texts("reuters"),
)
