"""What is told of an error that ends a trial."""

from __future__ import annotations

import traceback
from typing import Any

import tensorflow as tf

from hpoviz.errors import HpovizError

__all__ = ["failure_of"]

OUT_OF_MEMORY = "out of memory: the model or its batch is too large. Search smaller models or set max_parameters."


def failure_of(error: BaseException) -> dict[str, Any]:
    """Return the kind, the reason and the details of the TrialFailed that an error makes.

    Examples
    --------
    >>> failure_of(MemoryError())["kind"]
    'out_of_memory'
    """
    if isinstance(error, tf.errors.ResourceExhaustedError | MemoryError):
        return {"kind": "out_of_memory", "reason": OUT_OF_MEMORY, "details": str(error)}
    if isinstance(error, HpovizError):
        return {"kind": "error", "reason": str(error), "details": None}
    told = "".join(traceback.format_exception(error))
    return {"kind": "error", "reason": f"{type(error).__name__}: {error}", "details": told}
