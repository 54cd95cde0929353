"""SIFT features [1]_ by OpenCV, with RootSIFT descriptors [2]_ and COLMAP's conventions.

OpenCV always doubles the image first, which takes most of the time and finds the finest features. Of an
image with more features than wanted those of the largest scale are taken: they are found in more other
images. So the image is halved first, and only where that gives too few, looked at in full.

References
----------
.. [1] Lowe, Distinctive Image Features from Scale-Invariant Keypoints, IJCV 2004.
.. [2] Arandjelović and Zisserman, Three Things Everyone Should Know to Improve Object Retrieval, CVPR 2012.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Features = tuple[NDArray[np.float32], NDArray[np.uint8]]

#: Contrast of the weakest feature, as COLMAP has it (times OpenCV's three layers of an octave).
_CONTRAST = 0.02


def detect_sift(
    gray: NDArray[np.uint8],
    max_image_size: int,
    max_features: int,
    first_octave: int | Literal["auto"],
    visible: Callable[[NDArray[np.float32]], NDArray[np.bool_]] | None = None,
) -> Features:
    """Find the features of the largest scale.

    Parameters
    ----------
    gray : ndarray of uint8, shape (H, W)
    max_image_size : int
        Longer side at which features are looked for.
    max_features : int
    first_octave : int or "auto"
        -1 doubles the image first. ``auto`` does so where it gives fewer than `max_features` otherwise.
    visible : callable, optional
        Tells which pixels, shape (N, 2), may have features.

    Returns
    -------
    keypoints : ndarray of float32, shape (N, 6)
        x, y, with 0.5 at the middle of the first pixel, and the affine shape; the largest first.
    descriptors : ndarray of uint8, shape (N, 128)
    """
    octaves = (0, -1) if first_octave == "auto" else (first_octave,)
    for octave in octaves:
        size = max_image_size if octave == -1 else min(max_image_size, max(gray.shape)) * 0.5 ** (octave + 1)
        image = _at_size(gray, size)
        detector = cv2.SIFT.create(contrastThreshold=_CONTRAST, enable_precise_upscale=True)
        found = list(detector.detect(image, None))
        keypoints = _keypoints(found, gray.shape[1] / image.shape[1], gray.shape[0] / image.shape[0])
        usable = np.arange(len(found)) if visible is None else np.flatnonzero(visible(keypoints[:, :2]))
        if len(usable) >= max_features:
            break
    scales = np.array([found[index].size for index in usable])
    chosen = usable[np.argsort(-scales, kind="stable")[:max_features]]
    if not len(chosen):
        return np.zeros((0, 6), np.float32), np.zeros((0, 128), np.uint8)
    # OpenCV returns them in the order given, and leaves none out.
    _, descriptors = detector.compute(image, [found[index] for index in chosen])
    return keypoints[chosen], _root(np.asarray(descriptors, np.float32))


def _at_size(gray: NDArray[np.uint8], size: float) -> NDArray[np.uint8]:
    scale = min(1.0, size / max(gray.shape))
    if scale == 1.0:
        return gray
    height, width = (max(1, round(side * scale)) for side in gray.shape)
    return np.asarray(cv2.resize(gray, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _keypoints(found: list[Any], sx: float, sy: float) -> NDArray[np.float32]:
    rows = np.array([(*k.pt, k.size, k.angle) for k in found], np.float64).reshape(-1, 4)
    x, y, size, angle = rows.T
    # OpenCV's size is a diameter of twice the scale, and 0 is the middle of its first pixel.
    cosine, sine = (size / 2 * turn(np.radians(angle)) for turn in (np.cos, np.sin))
    columns = ((x + 0.5) * sx, (y + 0.5) * sy, cosine * sx, -sine * sx, sine * sy, cosine * sy)
    return np.column_stack(columns).astype(np.float32)


def _root(descriptors: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Descriptors whose Euclidean distances are Hellinger's; of the length 512."""
    shares = descriptors / np.maximum(descriptors.sum(axis=1, keepdims=True), 1e-6)
    return np.asarray(np.clip(np.rint(512 * np.sqrt(shares)), 0, 255), np.uint8)
