"""Where a depth map reaches over the outline of a thing.

A patch at an outline holds the thing and what is behind it. Where that has less texture, as the sky,
the thing's depth wins outside of the outline as well, in all views alike, so that comparing depth
maps does not find it. The colours do.
"""

from __future__ import annotations

from typing import Any

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
#: Holes in a thing's depths up to twice as wide are closed, in pixels.
_HOLE = 1
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
    # Before what has no depth, and before what is known to be farther.
    far = np.where(known, depth, np.float32(_FAR))
    nearest = cv2.erode(far, _square(2 * radius))
    front = known & (depth <= (1 + _STEP) * nearest)
    farther = cv2.dilate(depth, _square(radius)) > (1 + _STEP) * depth
    # A fourth channel of ones counts the pixels of a mask while their colours are summed.
    counted = np.dstack([rgb, np.ones(known.shape, np.uint8)])
    beyond = np.zeros(known.shape, np.bool_)
    for mask, candidates in ((known, known), (front, front & farther)):
        # A hole of a pixel or two is a missing depth, not what is behind.
        thing = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, _square(_HOLE))
        inside = cv2.erode(thing, _square(radius))
        where = np.flatnonzero(candidates & (inside == 0))
        own, enough = _mean(counted, inside, radius, where)
        rest, enough_rest = _mean(counted, 1 - thing, radius, where)
        colors = rgb.reshape(-1, 3)[where].astype(np.float32)
        like_rest = _distance(colors, rest) < _distance(colors, own)
        different = _distance(own, rest) > _CONTRAST
        beyond.ravel()[where[enough & enough_rest & different & like_rest]] = True
    return beyond


def _square(radius: int) -> Bytes:
    return np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)


def _mean(
    counted: Bytes, mask: NDArray[Any], radius: int, where: NDArray[np.intp]
) -> tuple[Floats32, NDArray[np.bool_]]:
    """Mean colour of the mask's pixels around the pixels `where`; whether there are enough of them."""
    side = 4 * radius + 1
    masked = cv2.bitwise_and(counted, counted, mask=mask)
    sums = cv2.boxFilter(masked, cv2.CV_32F, (side, side), normalize=False, borderType=cv2.BORDER_CONSTANT)
    chosen = np.asarray(sums, np.float32).reshape(-1, 4)[where]
    mean: Floats32 = np.divide(chosen[:, :3], np.maximum(chosen[:, 3:], 1), dtype=np.float32)
    return mean, chosen[:, 3] >= _LEAST * side**2


def _distance(a: Floats32, b: Floats32) -> Floats32:
    distance: Floats32 = np.sqrt(((a - b) ** 2).sum(axis=1))
    return distance
