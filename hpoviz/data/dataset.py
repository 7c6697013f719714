"""Dataset: labelled samples with the test set apart, and its split into training and validation data."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hpoviz.data.info import DataInfo
from hpoviz.data.splitting import check_share, fold_rows, split_rows
from hpoviz.data.text import build_vocabulary, to_tokens
from hpoviz.data.validation import as_images, as_labels, as_texts, check_pair, encode_labels
from hpoviz.errors import DatasetError

__all__ = ["DataSplit", "Dataset"]

ARRAYS = ("x_train", "y_train", "x_val", "y_val")
CHECKS: dict[str, Callable[..., np.ndarray]] = {"image": as_images, "text": as_texts}


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataSplit:
    """Training and validation data of one search, of one fold, or of the final training, which has no validation data.

    Attributes
    ----------
    x_train, x_val : ndarray
        Images (n, height, width, channels), or the token numbers of texts, int32 (n, tokens).
    y_train, y_val : ndarray of int64, (n,)
    info : DataInfo
        Its mean, standard deviation and vocabulary are those of the training part.
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_val: np.ndarray
    y_val: np.ndarray
    info: DataInfo

    def save(self, folder: Path) -> None:
        """Write the arrays and ``info.json`` into an existing folder, for `load` in other processes."""
        for name in ARRAYS:
            np.save(folder / f"{name}.npy", getattr(self, name), allow_pickle=False)
        (folder / "info.json").write_text(json.dumps(self.info.to_dict()), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> DataSplit:
        """Read what `save` wrote; the arrays stay on disk and are shared by all processes that read them."""
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in ARRAYS}
        info = DataInfo.from_dict(json.loads((folder / "info.json").read_text(encoding="utf-8")))
        return cls(**arrays, info=info)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dataset:
    """Labelled samples of one kind; make one with `from_arrays` or `hpoviz.load_dataset`.

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

    @classmethod
    def from_arrays(
        cls,
        x: Any,
        y: Any,
        *,
        test: tuple[Any, Any] | float = 0.2,
        name: str = "arrays",
        class_names: tuple[str, ...] | None = None,
        groups: Any = None,
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
        kind = "text" if _holds_texts(x) else "image"
        samples, labels = CHECKS[kind](x), as_labels(y)
        check_pair(samples, labels)
        codes, names = encode_labels(labels)
        names = _checked_names(class_names, names)
        origins = _checked_groups(groups, len(samples))
        if isinstance(test, tuple):
            x_test, y_test = _given_test(test, kind, samples, labels)
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
        return self._parts(
            *split_rows(self.y, validation_fraction, seed, what="validation_fraction", groups=self.groups)
        )

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
            **fitted,
        )
        return DataSplit(x_train=x_train, y_train=y_train, x_val=x_val, y_val=y_val, info=info)

    def __repr__(self) -> str:
        shape = "×".join(map(str, self.x.shape[1:]))
        return (
            f"<Dataset {self.name}: {len(self.x)} {self.kind}s{f' of {shape}' if shape else ''} "
            f"in {len(self.class_names)} classes, "
            f"and {len(self.x_test)} test samples ({self.test_origin})>"
        )


def _holds_texts(x: Any) -> bool:
    """Tell whether there is a string among the first samples."""
    if isinstance(x, str):
        raise DatasetError(f"x must hold many samples. Got one text: {x[:60]!r}. Give a list of texts.")
    if isinstance(x, np.ndarray) and x.dtype.kind not in "OUT":
        return False
    return isinstance(x, Sequence | np.ndarray) and any(isinstance(sample, str) for sample in x[:10])


def _scale(x_train: np.ndarray) -> dict[str, float]:
    mean, std = float(x_train.mean(dtype=np.float64)), float(x_train.std(dtype=np.float64))
    if std == 0:
        raise DatasetError(f"All values of x are {mean:g}: there is nothing to learn. Check how x was loaded.")
    return {"mean": mean, "std": std}


def _checked_names(given: Any, found: tuple[str, ...]) -> tuple[str, ...]:
    if given is None:
        return found
    if isinstance(given, str) or not isinstance(given, Sequence | np.ndarray):
        raise DatasetError(f"class_names must be a list of the {len(found)} classes' names. Got {given!r}.")
    if len(given) != len(found) or len(set(map(str, given))) != len(found):
        raise DatasetError(f"class_names must name the {len(found)} classes in y, each once. Got {list(given)!r}.")
    return tuple(map(str, given))


def _checked_groups(groups: Any, samples: int) -> np.ndarray | None:
    if groups is None:
        return None
    array = np.asarray(groups)
    if array.shape != (samples,):
        raise DatasetError(f"groups must name the group of each of the {samples} samples. Got shape {array.shape}.")
    return np.asarray(np.unique(array, return_inverse=True)[1])


def _given_test(test: tuple[Any, ...], kind: str, x: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if len(test) != 2:
        raise DatasetError(f"test must be a pair (x, y) or a share in (0, 0.9]. Got a tuple of {len(test)}.")
    x_test, y_test = CHECKS[kind](test[0], "x of test"), as_labels(test[1], "y of test")
    check_pair(x_test, y_test, " of test")
    if x_test.shape[1:] != x.shape[1:]:
        raise DatasetError(f"x of test must have samples of shape {x.shape[1:]}. Got {x_test.shape[1:]}.")
    classes = np.unique(labels)
    unseen = np.setdiff1d(y_test, classes)
    if len(unseen):
        raise DatasetError(f"y of test has classes that y lacks: {[str(item) for item in unseen[:10]]}.")
    return x_test, np.searchsorted(classes, y_test).astype(np.int64)
