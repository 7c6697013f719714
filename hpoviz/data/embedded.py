"""The data sets that need no download: scikit-learn's digits, and paragraphs of documentation."""

from __future__ import annotations

import gzip
import json
from importlib.resources import files

from sklearn.datasets import load_digits

from hpoviz.data.dataset import Dataset
from hpoviz.data.dataset_source import DatasetSource

__all__ = ["DIGITS", "DOCSTRINGS"]


def digits() -> Dataset:
    """Return scikit-learn's handwritten digits: 1,797 images of 8×8 pixels, values 0 to 16, 10 classes."""
    bunch = load_digits()
    return Dataset.from_arrays(bunch.images.astype("uint8"), bunch.target, name="digits", flippable=False)


def docstrings() -> Dataset:
    """Return 7,500 paragraphs from the documentation of five Python libraries; the class is the library.

    Names of the libraries are taken out. The test set is made of whole modules: no module is on both sides. The
    paragraphs were frozen once, so they do not change with installed versions.
    """
    packed = files("hpoviz.data").joinpath("docstrings.json.gz").read_bytes()
    samples = json.loads(gzip.decompress(packed))["samples"]
    train = [sample for sample in samples if sample["part"] == "train"]
    test = [sample for sample in samples if sample["part"] == "test"]
    return Dataset.from_arrays(
        [sample["text"] for sample in train],
        [sample["label"] for sample in train],
        test=([sample["text"] for sample in test], [sample["label"] for sample in test]),
        groups=[sample["source"] for sample in train],
        name="docstrings",
    )


DIGITS = DatasetSource(
    name="digits",
    kind="image",
    classes=10,
    shape="8×8 grey",
    train=1437,
    test=360,
    licence="CC BY 4.0",
    good_for="a first search in a minute; embedded",
    link="https://scikit-learn.org/stable/modules/generated/sklearn.datasets.load_digits.html",
    load=digits,
)
DOCSTRINGS = DatasetSource(
    name="docstrings",
    kind="text",
    classes=5,
    shape="12 to 80 words",
    train=5965,
    test=1535,
    licence="BSD and Apache 2.0",
    good_for="a first search over texts; embedded",
    link="https://docs.python.org/3/glossary.html#term-docstring",
    load=docstrings,
)
