"""Whether neighbouring frames of a video can be matched, and where more frames are needed."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from recon3d.matching.small_images import SMALL_SIZE, Described, describe_small, match_small
from recon3d.selection.sharpness import shrink

#: Matches below which a link is weak, and below which it is no link: chance gives up to 15.
WEAK, BROKEN = 50, 20
_FEATURES = 800
#: Matches that define an epipolar geometry.
_FEWEST = 8
#: Frames put into a weak gap in one round, at most.
_INSERTED = 3

Indices = NDArray[np.int64]


def describe_frame(gray: NDArray[np.uint8]) -> Described:
    """Find SIFT features of a frame at `SMALL_SIZE`.

    Parameters
    ----------
    gray : ndarray of uint8, shape (H, W)

    Returns
    -------
    points : ndarray of float32, shape (N, 2)
    descriptors : ndarray of float32, shape (N, 128)
    """
    return describe_small(shrink(gray, SMALL_SIZE), _FEATURES)


def link_strength(first: Described, second: Described) -> int:
    """Count the matches of two frames that agree on an epipolar geometry.

    Parameters
    ----------
    first, second : (ndarray of shape (N, 2), ndarray of shape (N, 128))
        See `describe_frame`.

    Returns
    -------
    int
    """
    pairs = match_small(first[1], second[1], mutual=False)
    if len(pairs) < _FEWEST:
        return 0
    i, j = pairs.T
    cv2.setRNGSeed(0)
    _, inliers = cv2.findFundamentalMat(first[0][i], second[0][j], cv2.FM_RANSAC, 1.5, 0.99)
    return 0 if inliers is None else int(inliers.sum())


def fill_weak_gaps(
    chosen: Indices,
    strengths: Sequence[int],
    blur: NDArray[np.float64],
    usable: NDArray[np.bool_],
    room: int,
) -> Indices:
    """Add frames between neighbours that hardly match, the weakest gaps first.

    Parameters
    ----------
    chosen : ndarray of int64, shape (K,)
        Indices of the chosen frames, increasing.
    strengths : sequence of int
        `link_strength` of each pair of neighbours.
    blur : ndarray of float64, shape (N,)
        Of every frame; see `recon3d.selection.sharpness.blur`.
    usable : ndarray of bool, shape (N,)
        Frames that may be chosen.
    room : int
        Frames that may be added.

    Returns
    -------
    ndarray of int64, shape (L,)
        The chosen frames with those added, increasing.
    """
    added: list[int] = []
    for gap in np.argsort(strengths, kind="stable"):
        if strengths[gap] >= WEAK:
            break
        between = np.arange(chosen[gap] + 1, chosen[gap + 1])
        between = between[usable[between]]
        count = min(_INSERTED, len(between), room - len(added))
        if count <= 0:
            continue
        # The sharpest frame of each of `count` equal parts.
        parts = np.array_split(between, count)
        added += [int(part[np.argmin(blur[part])]) for part in parts]
    return np.union1d(chosen, np.array(added, np.int64))
