"""Single samples as small pictures for the screen."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

__all__ = ["picture_of"]


def picture_of(image: np.ndarray, low: float, high: float) -> str:
    """Return an image as a PNG in a data URI.

    Parameters
    ----------
    image : ndarray, (height, width, channels)
        With 3 channels in colour; of any other number the first in grey.
    low, high : float
        Shown as black and as white.

    Examples
    --------
    >>> picture_of(np.zeros((2, 2, 1)), 0.0, 1.0)[:22]
    'data:image/png;base64,'
    """
    span = high - low or 1.0
    levels = ((image.astype(np.float64) - low) / span * 255).clip(0, 255).astype(np.uint8)
    packed = io.BytesIO()
    Image.fromarray(levels if image.shape[2] == 3 else levels[..., 0]).save(packed, "PNG")
    return f"data:image/png;base64,{base64.b64encode(packed.getvalue()).decode('ascii')}"
