"""Pixels inside the outline of a mesh where a photo shows what is behind it.

A mesh is larger than the thing here and there: where it was closed without being seen, and by the errors of
poses and depths. Photos that see such a part at an outline show the sky there, or the wall behind.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from recon3d.kernels import kernel
from recon3d.types import Bytes, Floats32, Ints

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

_compiled = kernel(_nrt=False)


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
    color = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
    # Sky and surfaces behind have colours of their own.
    found = _showing(color, inverse > 0, inverse == 0)
    further = _further(inverse)
    found |= _showing(color, (inverse > 0) & ~further, further)
    return cv2.resize(found.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0


def _showing(color: Bytes, front: NDArray[np.bool_], behind: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels of the front that have the colours of what is behind."""
    found = np.zeros_like(front)
    if not behind.any() or not front.any():
        return found
    near = front & (cv2.dilate(behind.view(np.uint8), _disk(_REACH)) > 0)
    rows, columns = np.divmod(np.flatnonzero(near), near.shape[1])
    if not len(rows):
        return found
    beyond = cv2.erode(behind.view(np.uint8), _disk(_MARGIN), borderValue=1) > 0
    mean_behind, variance_behind, any_behind = _around(color, beyond, rows, columns)
    shown = color[rows, columns].astype(np.float32)
    to_behind = _distance(shown - mean_behind) / _deviation(variance_behind)
    # What is found first no longer counts to the front.
    for _ in range(2):
        mean, variance, any_front = _around(color, front & ~_grown(found), rows, columns)
        apart = _distance(mean - mean_behind)
        to_front = _distance(shown - mean) / _deviation(variance)
        found[rows, columns] = any_behind & any_front & (apart > _APART) & (_CLOSER * to_behind < to_front)
        if not found.any():
            return found
        found = _linked(found, behind)
    return _grown(found) & front


def _further(inverse: Floats32) -> NDArray[np.bool_]:
    """Pixels of surfaces far behind one whose outline is within reach."""
    surface = inverse > 0
    further: NDArray[np.bool_] = surface & (inverse < (1 - _GAP) * cv2.dilate(inverse, _disk(_MARGIN)))
    _grow(inverse, np.float32(1 + _SLOPE), _REACH, *_queued(further), further)
    return further


def _queued(mask: NDArray[np.bool_]) -> tuple[Ints, int]:
    """The rows and columns of a mask's pixels, with room for all others, and how many these are."""
    rows, columns = np.divmod(np.flatnonzero(mask), mask.shape[1])
    queue = np.empty((mask.size, 2), np.int32)
    queue[: len(rows), 0], queue[: len(rows), 1] = rows, columns
    return queue, len(rows)


@_compiled
def _grow(
    inverse: Floats32, slope: float, rings: int, queue: Ints, count: int, grown: NDArray[np.bool_]
) -> None:
    """Add the pixels beside that do not come forward by more than the slope, ring by ring."""
    height, width = inverse.shape
    start, stop = 0, count
    for _ in range(rings):
        for n in range(start, stop):
            row, column = queue[n, 0], queue[n, 1]
            most = inverse[row, column] * slope
            for y in range(max(row - 1, 0), min(row + 2, height)):
                for x in range(max(column - 1, 0), min(column + 2, width)):
                    if not grown[y, x] and 0.0 < inverse[y, x] <= most:
                        grown[y, x] = True
                        queue[count, 0], queue[count, 1] = y, x
                        count += 1
        start, stop = stop, count


def _disk(radius: int) -> Bytes:
    return np.asarray(
        cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)), np.uint8
    )


def _grown(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """With the pixels around, which mix both sides."""
    return np.asarray(cv2.dilate(mask.astype(np.uint8), _disk(1)) > 0)


def _around(
    color: Bytes, mask: NDArray[np.bool_], rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> tuple[Floats32, Floats32, NDArray[np.bool_]]:
    """Mean and variance of the masked colours around pixels, and where there are any."""
    height, width = (-(-side // _COARSE) for side in mask.shape)
    # Means over windows this wide need no finer pixels; the last ones are completed with zeros.
    blocks = np.zeros((height, width, 5), np.float32)
    _sum_blocks(color, mask, blocks)
    side = 4 * _REACH // _COARSE + 1
    means = cv2.boxFilter(blocks, cv2.CV_32F, (side, side), borderType=cv2.BORDER_CONSTANT)
    blurred = np.asarray(means[rows // _COARSE, columns // _COARSE], np.float32) / np.float32(_COARSE**2)
    share = blurred[:, 3]
    known = share > 0.01
    share = np.maximum(share, 1e-6)
    mean, square = blurred[:, :3] / share[:, None], blurred[:, 4] / share
    return mean, np.maximum(square - np.einsum("nc,nc->n", mean, mean), 0) / 3, known


@_compiled
def _sum_blocks(color: Bytes, mask: NDArray[np.bool_], blocks: Floats32) -> None:
    """Sum up the masked colours of each block, their number, and the squares of their lengths."""
    height, width = mask.shape
    for y in range(height):
        for x in range(width):
            if mask[y, x]:
                row, column = y // _COARSE, x // _COARSE
                blocks[row, column, 3] += np.float32(1)
                for k in range(3):
                    value = np.float32(color[y, x, k])
                    blocks[row, column, k] += value
                    # The place after the number is that of the squares.
                    blocks[row, column, 4] += value * value


def _distance(step: Floats32) -> Floats32:
    """Length of steps between colours, in gray levels."""
    length: Floats32 = np.sqrt(np.einsum("nc,nc->n", step, step))
    return length


def _deviation(variance: Floats32) -> Floats32:
    deviation: Floats32 = np.sqrt(variance + _NOISE**2)
    return deviation


def _linked(found: NDArray[np.bool_], behind: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Those of the pixels found that others link to what is behind."""
    beside = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    linked: NDArray[np.bool_] = found & (cv2.dilate(behind.view(np.uint8), beside) > 0)
    _link(found, *_queued(linked), linked)
    return linked


@_compiled
def _link(found: NDArray[np.bool_], queue: Ints, count: int, linked: NDArray[np.bool_]) -> None:
    """Add the pixels found beside those of the queue, and those beside these."""
    height, width = found.shape
    place = 0
    while place < count:
        row, column = queue[place, 0], queue[place, 1]
        place += 1
        for k in range(4):
            y, x = row + (k == 0) - (k == 1), column + (k == 2) - (k == 3)
            if 0 <= y < height and 0 <= x < width and found[y, x] and not linked[y, x]:
                linked[y, x] = True
                queue[count, 0], queue[count, 1] = y, x
                count += 1
