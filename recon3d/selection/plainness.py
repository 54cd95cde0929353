"""Why an image shows nothing that can be recognised."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from recon3d.selection.sharpness import SHARPNESS_SIZE, shrink

Plainness = Literal["dark", "overexposed", "blurred", "plain"]

#: Grey levels that the brightest part of a dark image, and the darkest of an overexposed one, do not pass.
_DARK, _BRIGHT = 36.0, 235.0
#: Standard deviation, in grey levels, of large shapes that blur leaves.
_SHAPES = 3.0
#: Detail of a sharp image, as a share of its large shapes.
_DETAIL = 0.35


def plainness(gray: NDArray[np.uint8]) -> Plainness:
    """Tell why an image has few features.

    Large shapes without detail are blurred; neither shapes nor detail is a plain surface.

    Parameters
    ----------
    gray : ndarray of uint8, shape (H, W)

    Returns
    -------
    {"dark", "overexposed", "blurred", "plain"}
    """
    small = shrink(gray, SHARPNESS_SIZE).astype(np.float32)
    if np.percentile(small, 98) < _DARK:
        return "dark"
    if np.percentile(small, 2) > _BRIGHT:
        return "overexposed"
    side = max(small.shape)
    detail, shapes = (_band(small, side / width) for width in (530, 66))
    return "blurred" if shapes > _SHAPES and detail < _DETAIL * shapes else "plain"


def _band(gray: NDArray[np.float32], size: float) -> float:
    """Standard deviation of what is about `size` pixels large."""
    return float((cv2.GaussianBlur(gray, (0, 0), size) - cv2.GaussianBlur(gray, (0, 0), 4 * size)).std())
