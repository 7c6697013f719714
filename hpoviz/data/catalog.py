"""Data sets by name: the entry points of group ``hpoviz.datasets``."""

from __future__ import annotations

import gzip
import json
from importlib.resources import files
from typing import Any

from sklearn.datasets import load_digits

from hpoviz.data.dataset import Dataset
from hpoviz.plugins import load_plugin

__all__ = ["digits", "docstrings", "load_dataset"]


def load_dataset(name: str, **options: Any) -> Dataset:
    """Load a data set by name.

    Parameters
    ----------
    name : str
        ``"digits"`` (images) or ``"docstrings"`` (texts); both are embedded: no download.
    **options
        Passed to the loader.

    Raises
    ------
    DatasetError
        Unknown name; the nearest known one is offered.

    Examples
    --------
    >>> load_dataset("digits").x.shape
    (1437, 8, 8, 1)
    """
    loader = load_plugin("hpoviz.datasets", name)
    data: Dataset = loader(**options)
    return data


def digits() -> Dataset:
    """Return scikit-learn's handwritten digits: 1,797 images of 8×8 pixels, values 0 to 16, 10 classes."""
    bunch = load_digits()
    return Dataset.from_arrays(bunch.images.astype("uint8"), bunch.target, name="digits")


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
