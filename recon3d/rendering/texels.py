"""Colours of places on a texture."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def nearest_texels(texture: NDArray[np.uint8], uv: NDArray[Any]) -> NDArray[np.uint8]:
    """Look up the nearest pixels of a texture.

    Parameters
    ----------
    texture : ndarray of uint8, shape (H, W, 3)
        Row 0 is the top.
    uv : ndarray, shape (N, 2)
        Texture coordinates; (0, 0) is the lower left corner.

    Returns
    -------
    ndarray of uint8, shape (N, 3)
    """
    height, width = texture.shape[:2]
    column = np.clip(uv[:, 0] * width, 0, width - 1).astype(np.intp)
    row = np.clip((1 - uv[:, 1]) * height, 0, height - 1).astype(np.intp)
    return np.asarray(texture[row, column])
