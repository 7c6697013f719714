"""What a recording says of every tensor, ready to be shown: numbers, the colours they stand for, and marks.

The numbers are the recording's own. Colours are of the whole model, so that layers can be compared, and stay the same
whatever of the graph is shown.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hpoviz.architecture.palette import scale_colour, two_sided_colour
from hpoviz.architecture.recording import ChannelMaps, Recording, TensorRecord

__all__ = ["FADING", "frames", "share_text", "short_number", "tensor_of"]

FADING = 1e-3  # of the median gradient norm; a thousandth is called vanishing, a thousand times exploding
THINNEST, THICKEST = 1.2, 7.0  # lines, by the logarithm of the gradient norm


def frames(recording: Recording) -> dict[str, Any]:
    """Return a recording as JSON values for the views that play it.

    Returns
    -------
    dict
        ``tensors``: by node id a list by port of mean absolute activation (``strength``), share of silent units
        (``silent``), ``mean``, ``std``, ``minimum``, ``maximum``, ``finite``, ``gradient`` (norm of the loss' gradient
        by the tensor, or None), with ``colour``, ``line`` (colour), ``width`` and ``mark`` ("", "vanishing",
        "exploding", "not finite"), and in short ``forward`` and ``backward``. ``maps``: by node id the heat maps.
        ``loss`` (None also where it is not finite), ``backward`` (whether something flowed back), ``training``,
        ``outputs``, ``range`` (smallest and largest strength), ``middle`` (median gradient norm).

    Examples
    --------
    >>> import keras, numpy as np
    >>> from hpoviz.instrument import record
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, "relu", name="d"), keras.layers.Dense(2)])
    >>> seen = record(model, np.ones((1, 4), "float32"), np.zeros(1, int))
    >>> shown = frames(seen)
    >>> shown["tensors"]["d"][0]["strength"] == seen.tensors[1].mean_abs
    True
    """
    low, high = _range([tensor.mean_abs for tensor in recording.tensors])
    norms = [tensor.gradient_norm for tensor in recording.tensors if tensor.gradient_norm is not None]
    least, most = _range(norms)
    positive = [norm for norm in norms if norm > 0 and math.isfinite(norm)]
    middle = float(np.median(positive)) if positive else None
    tensors: dict[str, list[dict[str, Any] | None]] = {}
    for tensor in recording.tensors:
        ports = tensors.setdefault(tensor.node, [])
        ports += [None] * (tensor.port + 1 - len(ports))
        ports[tensor.port] = {
            "strength": _finite(tensor.mean_abs),
            "silent": float(tensor.silent.mean()) if tensor.silent.size else 0.0,
            "mean": _finite(tensor.mean),
            "std": _finite(tensor.std),
            "minimum": _finite(tensor.minimum),
            "maximum": _finite(tensor.maximum),
            "finite": tensor.finite,
            "colour": scale_colour(_place(tensor.mean_abs, low, high)),
            "forward": _forward(tensor),
            **_gradient(tensor, least, most, middle),
        }
    return {
        "loss": _finite(recording.loss),
        "backward": recording.loss is not None,
        "training": recording.training,
        "outputs": [[_finite(value) for value in output] for output in recording.outputs],
        "range": [low, high],
        "middle": middle,
        "tensors": tensors,
        "maps": {item.node: _maps(item) for item in recording.maps},
    }


def tensor_of(played: Mapping[str, Any], place: tuple[str, int] | None) -> dict[str, Any] | None:
    """Return what `frames` says of a tensor, by the node that makes it and the port; None where that is not known."""
    ports = played["tensors"].get(place[0], ()) if place else ()
    found: dict[str, Any] | None = ports[place[1]] if place and place[1] < len(ports) else None
    return found


def _gradient(tensor: TensorRecord, least: float, most: float, middle: float | None) -> dict[str, Any]:
    """Return what is shown of the gradient by a tensor."""
    norm = tensor.gradient_norm
    if norm is None or middle is None:
        said = "no gradient" if norm is None else short_number(norm)
        return {"gradient": _finite(norm), "line": None, "width": None, "mark": "", "backward": said}
    if not math.isfinite(norm):
        mark, line = "not finite", two_sided_colour(1.0)
        return {"gradient": None, "line": line, "width": THICKEST, "mark": mark, "backward": mark}
    tone = math.log(norm / middle) / -math.log(FADING) if norm > 0 else -1.0
    mark = "vanishing" if norm < FADING * middle else "exploding" if norm * FADING > middle else ""
    width = THINNEST + (THICKEST - THINNEST) * _place(norm, least, most)
    return {
        "gradient": norm,
        "line": two_sided_colour(tone),
        "width": round(width, 2),
        "mark": mark,
        "backward": f"{short_number(norm)} {mark}".strip(),
    }


def _forward(tensor: TensorRecord) -> str:
    """Return in short what a tensor is like."""
    silent = float(tensor.silent.mean()) if tensor.silent.size else 0.0
    return short_number(tensor.mean_abs) + (f", {share_text(silent)} silent" if silent else "")


def short_number(value: float | None) -> str:
    """Return a number of three digits.

    Examples
    --------
    >>> short_number(0.01234), short_number(250.0), short_number(1.5e-7), short_number(float("nan"))
    ('0.0123', '250', '1.5e-07', 'not finite')
    """
    if value is None or not math.isfinite(value):
        return "not finite"
    return f"{value:.3g}" if value == 0 or 1e-3 <= abs(value) < 1e4 else f"{value:.1e}"


def share_text(share: float) -> str:
    """Return a share in [0, 1] in hundredths; nothing that is there is called 0%."""
    return "<1%" if 0 < share < 0.01 else f"{100 * share:.0f}%"


def _maps(item: ChannelMaps) -> dict[str, Any]:
    count, rows, columns = item.values.shape
    return {
        "kind": item.kind,
        "channels": list(item.channels) if item.kind == "image" else [],
        "shape": [count, rows, columns],
        "low": item.low,
        "high": item.high,
        "levels": base64.b64encode(item.values.tobytes()).decode("ascii"),
    }


def _range(values: Sequence[float]) -> tuple[float, float]:
    """Return the smallest and the largest of the values that a logarithm can be taken of."""
    usable = [value for value in values if value > 0 and math.isfinite(value)]
    return (min(usable), max(usable)) if usable else (1.0, 1.0)


def _place(value: float, low: float, high: float) -> float:
    """Return where a value lies on a logarithmic scale, from 0 to 1."""
    if not value > low:
        return 0.0
    return min(math.log(value / low) / math.log(high / low), 1.0) if high > low else 1.0


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
