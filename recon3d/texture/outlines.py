"""Pixels inside the outline of a mesh where a photo shows what is behind it.

A mesh is larger than the thing here and there: where it was closed without being seen, and by the errors of
poses and depths. Photos that see such a part at an outline show the sky there, or the wall behind.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from recon3d.types import Bytes, Floats32

#: Longer side, in pixels, of the picture that is judged.
_SIZE = 640
#: Pixels there from an outline that may show what is behind.
_REACH = 20
#: Pixels there that become one where colours are averaged.
_COARSE = 2
#: Pixels there beside an outline whose colour says nothing about what is behind.
_MARGIN = 2
#: What is behind is so much further away, relative to the depth, two pixels beside the outline.
_GAP = 0.15
#: A surface recedes by less from one pixel to the next.
_SLOPE = 0.02
#: Gray levels by which the colours before and behind must differ.
_APART = 24.0
#: A pixel is so many times closer to the colours behind than to those before.
_CLOSER = 2.0
#: Gray levels of noise in every photo.
_NOISE = 8.0


def shows_behind(nearest: Floats32, rgb: Bytes) -> NDArray[np.bool_]:
    """Find the pixels of a surface that show what is behind it.

    Around each pixel close to an outline, the mean and the spread of the colours are measured of the
    pixels beyond the outline, and of those of the surface. A pixel that is closer to the former, and
    linked to the outline by others like it, shows what is behind. Where both sides have the same
    colours, as at the end of a ground that was cut, nothing is found.

    Parameters
    ----------
    nearest : ndarray of float32, shape (H, W)
        Inverse depth of the surface at each pixel; 0 where there is none.
    rgb : ndarray of uint8, shape (H, W, 3)
        The photo.

    Returns
    -------
    ndarray of bool, shape (H, W)
    """
    height, width = nearest.shape
    shrink = min(1.0, _SIZE / max(height, width))
    size = max(1, round(width * shrink)), max(1, round(height * shrink))
    inverse = np.asarray(cv2.resize(nearest, size, interpolation=cv2.INTER_NEAREST), np.float32)
    color = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.float32)
    # Sky and surfaces behind have colours of their own.
    found = _showing(color, inverse > 0, inverse == 0)
    further = _further(inverse)
    found |= _showing(color, (inverse > 0) & ~further, further)
    return cv2.resize(found.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0


def _showing(color: Floats32, front: NDArray[np.bool_], behind: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels of the front that have the colours of what is behind."""
    near = front & (cv2.dilate(behind.astype(np.uint8), _disk(_REACH)) > 0)
    found = np.zeros_like(near)
    if not near.any():
        return found
    beyond = cv2.erode(behind.astype(np.uint8), _disk(_MARGIN), borderValue=1) > 0
    mean_behind, variance_behind, any_behind = _around(color, beyond, near)
    shown = color[near]
    to_behind = _distance(shown - mean_behind) / _deviation(variance_behind)
    # What is found first no longer counts to the front.
    for _ in range(2):
        mean, variance, any_front = _around(color, front & ~_grown(found), near)
        apart = _distance(mean - mean_behind)
        to_front = _distance(shown - mean) / _deviation(variance)
        found[near] = any_behind & any_front & (apart > _APART) & (_CLOSER * to_behind < to_front)
        found = _linked(found, behind)
    return _grown(found) & front


def _further(inverse: Floats32) -> NDArray[np.bool_]:
    """Pixels of surfaces far behind one whose outline is within reach."""
    surface = inverse > 0
    further = surface & (inverse < (1 - _GAP) * cv2.dilate(inverse, _disk(_MARGIN)))
    if further.any():
        for _ in range(_REACH):
            beside = cv2.dilate(np.where(further, inverse, 0).astype(np.float32), np.ones((3, 3), np.uint8))
            further |= surface & (inverse <= (1 + _SLOPE) * beside)
    return further


def _disk(radius: int) -> Bytes:
    return np.asarray(
        cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)), np.uint8
    )


def _grown(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """With the pixels around, which mix both sides."""
    return np.asarray(cv2.dilate(mask.astype(np.uint8), _disk(1)) > 0)


def _around(
    color: Floats32, mask: NDArray[np.bool_], near: NDArray[np.bool_]
) -> tuple[Floats32, Floats32, NDArray[np.bool_]]:
    """Mean and variance of the masked colours around the near pixels, and where there are any."""
    rows, columns = (places // _COARSE for places in np.nonzero(near))
    reduced = tuple(-(-side // _COARSE) for side in mask.shape)
    side = 4 * _REACH // _COARSE + 1

    def blurred(values: Floats32) -> Floats32:
        # Means over windows this wide need no finer pixels; the last ones are completed with zeros.
        edge = [_COARSE * n - m for n, m in zip(reduced, mask.shape, strict=True)]
        if any(edge):
            values = np.asarray(cv2.copyMakeBorder(values, 0, edge[0], 0, edge[1], cv2.BORDER_CONSTANT))
        small = cv2.resize(values, reduced[::-1], interpolation=cv2.INTER_AREA)
        summed = cv2.boxFilter(small, cv2.CV_32F, (side, side), borderType=cv2.BORDER_CONSTANT)
        return np.asarray(summed[rows, columns], np.float32)

    weight = mask.astype(np.float32)
    masked = np.asarray(cv2.copyTo(color, mask.astype(np.uint8)), np.float32)
    share = blurred(weight)
    known = share > 0.01
    share = np.maximum(share, 1e-6)
    mean = blurred(masked) / share[:, None]
    square = blurred(np.asarray(cv2.transform(masked * masked, np.ones((1, 3))), np.float32)) / share
    return mean, np.maximum(square - np.einsum("nc,nc->n", mean, mean), 0) / 3, known


def _distance(step: Floats32) -> Floats32:
    """Length of steps between colours, in gray levels."""
    length: Floats32 = np.sqrt(np.einsum("nc,nc->n", step, step))
    return length


def _deviation(variance: Floats32) -> Floats32:
    deviation: Floats32 = np.sqrt(variance + _NOISE**2)
    return deviation


def _linked(found: NDArray[np.bool_], behind: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Those of the pixels found that others link to what is behind."""
    _, label = cv2.connectedComponents((found | behind).astype(np.uint8), connectivity=4)
    reached = np.zeros(int(label.max()) + 1, bool)
    reached[label[behind]] = True
    linked: NDArray[np.bool_] = found & reached[label]
    return linked
