"""ValidationSamples: the samples that trials are compared on, as they came."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["ValidationSamples"]


@dataclasses.dataclass(frozen=True, eq=False)
class ValidationSamples:
    """The validation samples of a search as they came: pictures or texts.

    Attributes
    ----------
    x : ndarray
        All samples but the test set's.
    y : ndarray of int
    rows : ndarray of int
        Which of them trials are compared on.
    class_names : sequence of str
    """

    x: np.ndarray
    y: np.ndarray
    rows: np.ndarray
    class_names: Sequence[str]

    def at(self, row: int) -> Any:
        """Return one sample by its place among the validation samples."""
        return self.x[self.rows[row]]

    def name(self, code: int) -> str:
        """Return the name of a class."""
        return str(self.class_names[code]) if code < len(self.class_names) else str(code)
