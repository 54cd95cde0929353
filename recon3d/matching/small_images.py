"""SIFT features of small images and their matches: quick looks before the stages, not for models."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

#: Longer side of the images at which the limits of those who use this were set.
SMALL_SIZE = 640
#: Lowe's ratio of the distances to the nearest and the second nearest feature.
_RATIO = 0.8

Floats = NDArray[np.float32]
#: Points of shape (N, 2) and descriptors of shape (N, 128), strongest first.
Described = tuple[Floats, Floats]


def describe_small(gray: NDArray[np.uint8], most: int) -> Described:
    """Find SIFT features.

    Parameters
    ----------
    gray : ndarray of uint8, shape (H, W)
        An image of about `SMALL_SIZE`.
    most : int
        Features that are kept, the strongest.

    Returns
    -------
    points : ndarray of float32, shape (N, 2)
    descriptors : ndarray of float32, shape (N, 128)
    """
    keypoints, descriptors = cv2.SIFT.create(nfeatures=most).detectAndCompute(gray, None)
    if not keypoints:
        return np.zeros((0, 2), np.float32), np.zeros((0, 128), np.float32)
    order = np.argsort([-k.response for k in keypoints], kind="stable")
    points = np.array([keypoints[i].pt for i in order], np.float32)
    return points, np.asarray(descriptors, np.float32)[order]


def as_roots(descriptors: Floats) -> Floats:
    """Take the roots of normalized descriptors: they compare as Hellinger's distance does (RootSIFT).

    Parameters
    ----------
    descriptors : ndarray of float32, shape (N, 128)

    Returns
    -------
    ndarray of float32, shape (N, 128)
        Rows of length one.
    """
    total = np.maximum(descriptors.sum(axis=1, keepdims=True), 1e-6)
    return np.asarray(np.sqrt(descriptors / total), np.float32)


def match_small(first: Floats, second: Floats, *, mutual: bool) -> NDArray[np.int64]:
    """Match descriptors whose nearest one is nearer by far than the second nearest.

    Parameters
    ----------
    first, second : ndarray of float32, shape (N, 128) and (M, 128)
    mutual : bool
        Whether both must be each other's nearest.

    Returns
    -------
    ndarray of int64, shape (K, 2)
        Rows of the first and the second.
    """
    if not len(first) or len(second) < 2:
        return np.zeros((0, 2), np.int64)
    squares = (first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1)
    distance = np.maximum(squares - 2 * (first @ second.T), 0)
    rows, nearest = np.arange(len(first)), distance.argmin(axis=1)
    back = distance.argmin(axis=0)
    best = distance[rows, nearest].copy()
    distance[rows, nearest] = np.inf
    kept = best < _RATIO**2 * distance.min(axis=1)
    if mutual:
        kept &= back[nearest] == rows
    return np.column_stack([rows[kept], nearest[kept]])
