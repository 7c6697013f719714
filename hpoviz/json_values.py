"""Values fit for strict JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

__all__ = ["json_value"]


def json_value(value: Any) -> Any:
    """Return a value with null for numbers that are not finite, texts for keys, and lists for sequences.

    Examples
    --------
    >>> json_value({1: (float("nan"), 2.0)})
    {'1': [None, 2.0]}
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): json_value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_value(item) for item in value]
    return value
