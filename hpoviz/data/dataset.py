"""Dataset: labelled samples with the test set apart, and its split into training and validation data."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hpoviz import _html
from hpoviz.data.concerns import concerns_of
from hpoviz.data.data_split import DataSplit
from hpoviz.data.info import DataInfo
from hpoviz.data.preview import picture_of
from hpoviz.data.readers import DatasetReaders
from hpoviz.data.splitting import check_share, fold_rows, sample_rows, split_rows
from hpoviz.data.text import build_vocabulary, to_tokens
from hpoviz.data.validation import (
    CHECKS,
    as_labels,
    check_pair,
    checked_groups,
    checked_names,
    encode_labels,
    given_test,
    holds_texts,
)
from hpoviz.errors import DatasetError

__all__ = ["Dataset"]

MOST_SHOWN = 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dataset(DatasetReaders):
    """Labelled samples of one kind; make one with `hpoviz.load_dataset` or one of the ``from_…`` methods.

    Attributes
    ----------
    name : str
    kind : {"image", "text"}
    x, y : ndarray
        Samples, images (n, height, width, channels) or texts (n,), and labels (n,), to train and validate on.
    x_test, y_test : ndarray
        Looked at by `Optimizer.evaluate` only.
    class_names : tuple of str
    test_origin : str
        Where the test set came from, in words.
    groups : ndarray or None
        Of each training sample, what it comes from (a person, a document, a track): no group is split between
        training and validation data.
    notes : tuple of str
        What was done to the data when they were read.
    flippable : bool
        Whether an image mirrored from left to right still belongs to its class; not so for digits and signs.
    """

    name: str
    kind: str
    x: np.ndarray
    y: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    class_names: tuple[str, ...]
    test_origin: str
    groups: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    flippable: bool = True

    @classmethod
    def from_arrays(  # type: ignore[override]  # names the settings
        cls,
        x: Any,
        y: Any,
        *,
        test: tuple[Any, Any] | float = 0.2,
        name: str = "arrays",
        class_names: Sequence[str] | None = None,
        groups: Any = None,
        flippable: bool = True,
        seed: int = 0,
    ) -> Dataset:
        """Make a data set from images, or from texts, and labels.

        Parameters
        ----------
        x : array_like, (n, height, width) or (n, height, width, channels), or sequence of str
            Images of any scale, as every model standardises its input; or texts.
        y : array_like, (n,), (n, 1) or one-hot (n, classes)
            Whole numbers or strings.
        test : (x, y) or float
            The test set, or the stratified share of the samples to set apart as one, in (0, 0.9].
        name : str
            Shown in the results and in the name of the run's folder.
        class_names : sequence of str, optional
            In the order of the sorted labels. None uses the labels themselves.
        groups : array_like, (n,), optional
            What each sample comes from, where samples of one origin are alike: a person, a document, a track. No
            group is split between training, validation and test data.
        flippable : bool
            Whether an image mirrored from left to right still belongs to its class; if not, augmentation by flips is
            refused.
        seed : int
            Of the test set's choice, where `test` is a share.

        Raises
        ------
        DatasetError
            For data that no classifier can be trained on; the message names the sample.

        Examples
        --------
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> data = Dataset.from_arrays(rng.random((40, 6, 6)), [0, 1] * 20, test=0.25)
        >>> data.x.shape, len(data.x_test), data.class_names
        ((30, 6, 6, 1), 10, ('0', '1'))
        >>> Dataset.from_arrays(["good day", "bad luck"] * 10, ["+", "-"] * 10).kind
        'text'
        """
        x = x.to_numpy() if hasattr(x, "to_numpy") else x  # pandas
        kind = "text" if holds_texts(x) else "image"
        samples, labels = CHECKS[kind](x), as_labels(y)
        check_pair(samples, labels)
        codes, names = encode_labels(labels)
        names = checked_names(class_names, names)
        origins = checked_groups(groups, len(samples))
        if isinstance(test, tuple):
            x_test, y_test = given_test(test, kind, samples, labels)
            origin = "given with the data"
        else:
            check_share("test", test, "a pair (x, y) or a share in (0, 0.9]")
            kept, apart = split_rows(codes, test, seed, what="test", groups=origins)
            x_test, y_test, samples, codes = samples[apart], codes[apart], samples[kept], codes[kept]
            origins = None if origins is None else origins[kept]
            origin = f"{test:.0%} of the samples, set apart by class (seed {seed})"
        return cls(
            name=str(name),
            kind=kind,
            x=samples,
            y=codes,
            x_test=x_test,
            y_test=y_test,
            class_names=names,
            test_origin=origin,
            groups=origins,
            flippable=flippable,
        )

    @functools.cached_property
    def sha256(self) -> str:
        """Hash of all samples and labels, test set included."""
        digest = hashlib.sha256()
        for array in (self.x, self.y, self.x_test, self.y_test):
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            if array.dtype == object:
                digest.update(json.dumps(array.tolist()).encode())
            else:
                digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    def split(self, validation_fraction: float = 0.2, seed: int = 0) -> DataSplit:
        """Split into training and validation data, stratified by class, groups whole; the test set stays out.

        Raises
        ------
        DatasetError
            When the share leaves a class out of one part, or all training samples are one constant.

        Examples
        --------
        >>> import numpy as np
        >>> data = Dataset.from_arrays(np.random.default_rng(0).random((50, 4, 4)), [0, 1] * 25)
        >>> data.split(0.25).x_val.shape
        (10, 4, 4, 1)
        """
        check_share("validation_fraction", validation_fraction)
        return self._parts(*self.split_rows(validation_fraction, seed))

    def split_rows(self, validation_fraction: float = 0.2, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows of `x` that `split` trains on and those that it validates on."""
        return split_rows(self.y, validation_fraction, seed, what="validation_fraction", groups=self.groups)

    def folds(self, folds: int, seed: int = 0) -> list[Callable[[], DataSplit]]:
        """Return one function a fold that makes its DataSplit; the folds' validation data together are all samples.

        Raises
        ------
        DatasetError
            More folds than a class has samples or groups.
        """
        pairs = fold_rows(self.y, folds, seed, self.groups)
        return [functools.partial(self._parts, train, val) for train, val in pairs]

    def whole(self) -> DataSplit:
        """Return all samples but the test set as training data, with validation data of length 0."""
        return self._parts(np.arange(len(self.y)), np.arange(0))

    def _parts(self, train: np.ndarray, val: np.ndarray) -> DataSplit:
        """Return the DataSplit of these rows; everything that is fitted is fitted on the training rows."""
        x_train, x_val, y_train, y_val = self.x[train], self.x[val], self.y[train], self.y[val]
        if self.kind == "text":
            vocabulary = build_vocabulary(x_train)
            x_train = to_tokens(x_train, vocabulary)
            x_val = to_tokens(x_val, vocabulary, x_train.shape[1])
            fitted: dict[str, Any] = {"vocabulary": vocabulary}
        else:
            fitted = _scale(x_train)
        info = DataInfo(
            name=self.name,
            kind=self.kind,
            input_shape=tuple(x_train.shape[1:]),
            class_names=self.class_names,
            flippable=self.flippable,
            **fitted,
        )
        return DataSplit(x_train=x_train, y_train=y_train, x_val=x_val, y_val=y_val, info=info)

    @functools.cached_property
    def concerns(self) -> tuple[str, ...]:
        """What a person should look at before a search: rare classes, duplicates across the splits, outliers.

        What was done when the data were read, the `notes`, comes first.
        """
        done = [f"{note[:1].upper()}{note[1:]}." for note in self.notes]
        return (*done, *concerns_of(self.kind, self.x, self.y, self.x_test, self.y_test, self.class_names))

    def sample(self, n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Return `n` training samples and their labels, the classes in proportion, in random order.

        Raises
        ------
        DatasetError
            Fewer than the classes, or more than there are.

        Examples
        --------
        >>> import hpoviz
        >>> x, y = hpoviz.load_dataset("digits").sample(20)
        >>> x.shape, sorted(set(y.tolist()))
        ((20, 8, 8, 1), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
        """
        rows = sample_rows(self.y, n, seed)
        return self.x[rows], self.y[rows]

    def __repr__(self) -> str:
        return f"<{'; '.join([self._title(), *self.notes])}>"

    def _title(self) -> str:
        shape = "×".join(map(str, self.x.shape[1:]))
        return (
            f"Dataset {self.name}: {len(self.x)} {self.kind}s{f' of {shape}' if shape else ''} "
            f"in {len(self.class_names)} classes, "
            f"and {len(self.x_test)} test samples ({self.test_origin})"
        )

    def _repr_html_(self) -> str:
        shown, codes = self.sample(min(len(self.y), max(MOST_SHOWN, len(self.class_names))))
        names = [self.class_names[code] for code in codes[:MOST_SHOWN]]
        low, high = (0.0, 1.0) if self.kind == "text" else (float(self.x.min()), float(self.x.max()))
        samples = [
            (name, sample if self.kind == "text" else picture_of(sample, low, high))
            for name, sample in zip(names, shown, strict=False)
        ]
        counts = zip(
            self.class_names,
            *(np.bincount(y, minlength=len(self.class_names)) for y in (self.y, self.y_test)),
            strict=True,
        )
        return _html.dataset(self._title(), list(counts), samples, self.concerns[len(self.notes) :], self.notes)


def _scale(x_train: np.ndarray) -> dict[str, float]:
    mean, std = float(x_train.mean(dtype=np.float64)), float(x_train.std(dtype=np.float64))
    if std == 0:
        raise DatasetError(f"All values of x are {mean:g}: there is nothing to learn. Check how x was loaded.")
    return {"mean": mean, "std": std}
