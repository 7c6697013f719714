"""Saved models, read back safely."""

from __future__ import annotations

import json
import warnings
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from hpoviz.errors import StoreError
from hpoviz.models.text_input import end_mask

if TYPE_CHECKING:
    import keras

__all__ = ["load_model"]

MASK_WARNING = ".* does not support masking"


def load_model(path: Path, *, compiled: bool = False) -> keras.Model:
    """Load a ``.keras`` file in safe mode.

    Parameters
    ----------
    path : Path
    compiled : bool
        Whether to compile the model as it was when it was saved, with a fresh optimizer; one that was saved uncompiled
        stays so.

    Raises
    ------
    StoreError
        The file is damaged, or holds layers, losses or metrics that this process does not know.
    """
    import keras

    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", MASK_WARNING, UserWarning)
            model = keras.saving.load_model(path, compile=False, safe_mode=True)
        for layer in model.layers:
            if isinstance(layer, keras.layers.GlobalMaxPooling1D):
                end_mask(layer)
        if compiled:
            with zipfile.ZipFile(path) as file:
                saved_as = json.loads(file.read("config.json")).get("compile_config")
            if saved_as:
                model.compile_from_config(saved_as)
    except Exception as error:
        raise StoreError(
            f"The model in {str(path)!r} cannot be loaded: {_reason(error)} Where it has layers, losses or metrics of "
            "your own, import or define them first, decorated with @keras.saving.register_keras_serializable(). "
            "Otherwise the file is damaged."
        ) from error
    return model


def _reason(error: Exception) -> str:
    """Return what an error says, less the configuration that Keras prints around the cause that it met."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or ["no reason given."]
    met = [line for line in lines if line.startswith("Exception encountered:")]
    return f"{type(error).__name__}: {(met or lines)[-1 if met else 0][:400]}"
