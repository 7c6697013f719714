"""DataSplit: the training and validation data of a trial, in memory or shared on disk."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np

from hpoviz.data.info import DataInfo

__all__ = ["DataSplit"]

ARRAYS = ("x_train", "y_train", "x_val", "y_val")


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
