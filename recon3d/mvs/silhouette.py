"""Where a depth map reaches over the outline of a thing.

A patch at an outline holds the thing and what is behind it. Where that has less texture, as the sky,
the thing's depth wins outside of the outline as well, in all views alike, so that comparing depth
maps does not find it. The colours do.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from recon3d.types import Bytes, Floats32

#: Relative step of depth between a thing and what is behind it.
_STEP = 0.03
#: A depth beyond any.
_FAR = 1e30
#: Levels of colour, of 255, by which both must differ.
_CONTRAST = 24.0
#: Share of the pixels around that must belong to either for its colour to count.
_LEAST = 0.04


def beyond_outlines(depth: Floats32, rgb: Bytes, radius: int) -> NDArray[np.bool_]:
    """Pixels that have a thing's depth and the colour of what is behind it.

    Parameters
    ----------
    depth : ndarray of float32, shape (H, W)
        0 where unknown, which counts as far away.
    rgb : ndarray of uint8, shape (H, W, 3)
    radius : int
        Pixels that a depth may reach over an outline: about half a patch.

    Returns
    -------
    ndarray of bool, shape (H, W)
        Pixels at most `radius` from much farther ones whose colour is nearer to the mean colour of
        what is farther around them than to that of the thing's inside.
    """
    known = depth > 0
    colors = rgb.astype(np.float32)
    # Before what has no depth, and before what is known to be farther.
    far = np.where(known, depth, np.float32(_FAR))
    nearest = cv2.erode(far, _square(2 * radius))
    front = known & (depth <= (1 + _STEP) * nearest)
    farther = cv2.dilate(np.where(known, depth, np.float32(0)), _square(radius)) > (1 + _STEP) * depth
    before_nothing = _like_the_rest(known, known, colors, radius)
    return before_nothing | _like_the_rest(front, front & farther, colors, radius)


def _like_the_rest(
    thing: NDArray[np.bool_], candidates: NDArray[np.bool_], colors: Floats32, radius: int
) -> NDArray[np.bool_]:
    """Candidates near the border of `thing` whose colour is rather that of the pixels outside of it."""
    inward = cv2.distanceTransform(thing.astype(np.uint8), cv2.DIST_C, 3)
    own, enough = _mean(colors, inward > radius, 4 * radius + 1)
    rest, enough_rest = _mean(colors, ~thing, 4 * radius + 1)
    like_rest = _distance(colors, rest) < _distance(colors, own)
    different = _distance(own, rest) > _CONTRAST
    chosen: NDArray[np.bool_] = candidates & (inward <= radius) & enough & enough_rest & different & like_rest
    return chosen


def _square(radius: int) -> Bytes:
    return np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)


def _mean(colors: Floats32, mask: NDArray[np.bool_], window: int) -> tuple[Floats32, NDArray[np.bool_]]:
    """Mean colour of the pixels of a mask in a window around each pixel; whether there are enough."""
    weight = mask.astype(np.float32)
    size = (window, window)
    share = np.asarray(cv2.blur(weight, size, borderType=cv2.BORDER_CONSTANT), np.float32)
    total = np.asarray(cv2.blur(colors * weight[..., None], size, borderType=cv2.BORDER_CONSTANT), np.float32)
    mean = np.asarray(total / np.maximum(share, np.float32(1e-6))[..., None], np.float32)
    return mean, share >= _LEAST


def _distance(a: Floats32, b: Floats32) -> Floats32:
    distance: Floats32 = np.sqrt(((a - b) ** 2).sum(axis=-1))
    return distance
