"""DataInfo: what a model must know about the data it is built for."""

from __future__ import annotations

import dataclasses
from typing import Any

__all__ = ["DataInfo"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataInfo:
    """Shape, classes and scale of a classification data set.

    Attributes
    ----------
    name : str
    kind : {"image", "text"}
    input_shape : tuple of int
        Of one sample, batch axis left out: (height, width, channels), or (tokens,) of the longest text.
    class_names : tuple of str
        Label k stands for ``class_names[k]``.
    flippable : bool
        Whether an image mirrored from left to right still belongs to its class.
    mean, std : float
        Of all values of the training images: models begin with a layer that standardises by them.
    vocabulary : tuple of str
        Words of the training texts, the most frequent first: token k + 2 is ``vocabulary[k]``, 1 an unknown
        word, 0 the end of the text.

    Examples
    --------
    >>> info = DataInfo(name="d", kind="image", input_shape=(8, 8, 1), class_names=("a", "b"), mean=0.5, std=0.25)
    >>> info.num_classes
    2
    """

    name: str
    kind: str
    input_shape: tuple[int, ...]
    class_names: tuple[str, ...]
    flippable: bool = True
    mean: float = 0.0
    std: float = 1.0
    vocabulary: tuple[str, ...] = ()

    @property
    def num_classes(self) -> int:
        """How many classes there are."""
        return len(self.class_names)

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary of JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> DataInfo:
        """Rebuild what `to_dict` gave."""
        lists = {key: tuple(record[key]) for key in ("input_shape", "class_names", "vocabulary")}
        return cls(**{**record, **lists})
