"""Telling interlaced pictures, whose lines are of two moments in turn, by their combs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: White noise, which has no structure, reaches 1; pictures of real things stay below 0.8.
_COMBED = 1.08
_COLUMNS = 8


def is_combed(gray: NDArray[np.uint8]) -> bool:
    """Tell whether neighbouring lines of a picture differ more than lines two apart.

    Parameters
    ----------
    gray : ndarray of uint8, shape (H, W)
        Brightness, with the lines as they were stored.

    Returns
    -------
    bool
    """
    some = gray[:, ::_COLUMNS].astype(np.int16)
    near = float(np.abs(some[1:-1] - some[:-2]).mean())
    far = float(np.abs(some[2:] - some[:-2]).mean())
    return far > 1.0 and near > _COMBED * far
