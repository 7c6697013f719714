"""How the weights of each layer are spread."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from hpoviz.architecture.keras_adapter import graph_with_weights

__all__ = ["weight_histograms"]

BINS = 24
MOST_VALUES = 10_000  # of each weight; larger ones are looked at in even steps


def weight_histograms(model: keras.Model, inputs: Any = None) -> dict[str, dict[str, Any]]:
    """Return by layer id a histogram of its weights, biases and all, as JSON values.

    Returns
    -------
    dict
        ``counts`` (24 bins from ``low`` to ``high``), ``mean``, ``std``, ``values`` (how many were looked at: at most
        10,000 of each weight), ``of`` (how many there are) and ``finite`` (their share that is). Numbers are of the
        finite ones.

    Examples
    --------
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="d")])
    >>> found = weight_histograms(model)["d"]
    >>> sum(found["counts"]), found["of"]
    (15, 15)
    """
    of_layer: dict[str, list[np.ndarray]] = {}
    sizes: dict[str, int] = {}
    for layer, weight in graph_with_weights(model, inputs)[1]:
        if weight.dtype == "string":
            continue
        values = np.asarray(weight.value).ravel()
        step = max(1, -(-values.size // MOST_VALUES))
        of_layer.setdefault(layer, []).append(values[::step].astype(np.float64))
        sizes[layer] = sizes.get(layer, 0) + values.size
    return {layer: _histogram(np.concatenate(parts), sizes[layer]) for layer, parts in of_layer.items() if sizes[layer]}


def _histogram(values: np.ndarray, size: int) -> dict[str, Any]:
    finite = values[np.isfinite(values)]
    counts, edges = np.histogram(finite, BINS) if finite.size else (np.zeros(BINS, int), np.zeros(2))
    return {
        "counts": counts.tolist(),
        "low": float(edges[0]),
        "high": float(edges[-1]),
        "mean": float(finite.mean()) if finite.size else None,
        "std": float(finite.std()) if finite.size else None,
        "values": int(values.size),
        "of": size,
        "finite": finite.size / values.size,
    }
