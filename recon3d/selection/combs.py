"""Telling interlaced pictures, whose lines are of two moments in turn, by their combs."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

#: White noise, which has no structure, reaches 1; pictures of real things stay below 0.8.
_COMBED = 1.08
_COLUMNS = 8
#: Frames with combs, and their share of those that were looked at, above which a video is interlaced.
_COMBED_FRAMES, _COMBED_SHARE = 2, 0.2


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


def interlacing(marked: int, looked: int, combed: int) -> Literal["", "marked", "all"]:
    """Tell which frames of a video are interlaced; also of one that does not say so.

    Parameters
    ----------
    marked : int
        Frames that are marked as interlaced.
    looked, combed : int
        Frames that were looked at for combs, and those that have them.

    Returns
    -------
    {"", "marked", "all"}
    """
    if marked:
        return "marked"
    return "all" if combed >= max(_COMBED_FRAMES, _COMBED_SHARE * looked) else ""
