"""Features of two images whose descriptors are nearest among those that the geometry allows.

Once a pair's fundamental matrix is known, a feature is compared with those near its epipolar line only,
and once a homography is known, with those near one point [1]_. The features of the second image lie in a
grid, whose cells the line is followed through.

References
----------
.. [1] Hartley and Zisserman, Multiple View Geometry in Computer Vision, 2004, chapter 11.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from recon3d.kernels import kernel
from recon3d.matching.nearest import Matches, agreed

#: Pixels from the epipolar line or the point.
MAX_ERROR = 4.0
_CELL = 16.0


def guided_matches(
    first: tuple[NDArray[np.floating[Any]], NDArray[np.uint8]],
    second: tuple[NDArray[np.floating[Any]], NDArray[np.uint8]],
    matrix: NDArray[np.float64],
    *,
    plane: bool = False,
) -> Matches:
    """Match each feature with the nearest of those that a geometry allows, where both agree.

    Parameters
    ----------
    first, second : (ndarray of shape (N, 2), ndarray of uint8 of shape (N, 128))
        Pixels and descriptors.
    matrix : ndarray of float64, shape (3, 3)
        Fundamental matrix or homography, from the first image to the second.
    plane : bool
        `matrix` is a homography.

    Returns
    -------
    ndarray of uint32, shape (M, 2)
        Indices of the features, by the first image's.
    """
    a, b = (np.ascontiguousarray(points, np.float64) for points, _ in (first, second))
    best = np.full((len(a), 2), np.inf, np.float32), np.full((len(b), 2), np.inf, np.float32)
    near = np.full(len(a), -1, np.int32), np.full(len(b), -1, np.int32)
    if len(a) and len(b):
        cells = np.maximum(b // _CELL, 0).astype(np.int64)
        columns, rows = (int(n) + 1 for n in cells.max(axis=0))
        number = cells[:, 1] * columns + cells[:, 0]
        order = np.argsort(number, kind="stable")
        starts = np.searchsorted(number[order], np.arange(rows * columns + 1))
        descriptors = (np.ascontiguousarray(d) for _, d in (first, second))
        grid = order, starts, columns, rows
        _compare(a, b, *descriptors, np.ascontiguousarray(matrix, np.float64), plane, *grid, *best, *near)
    return agreed(*best, *near)


@kernel(error_model="numpy")
def _range(low: float, high: float, count: int) -> Any:
    """First and last of the cells between two coordinates; none where the last is smaller."""
    first = int(min(max(low, 0.0), count * _CELL) // _CELL)
    last = int(min(max(high, -_CELL), (count - 1) * _CELL) // _CELL)
    return first, last


@kernel(error_model="numpy")
def _compare(
    a: Any,
    b: Any,
    first: Any,
    second: Any,
    matrix: Any,
    plane: bool,
    order: Any,
    starts: Any,
    columns: int,
    rows: int,
    best_a: Any,
    best_b: Any,
    near_a: Any,
    near_b: Any,
) -> None:
    for i in range(len(a)):
        u, v, w = matrix @ np.array([a[i, 0], a[i, 1], 1.0])
        # The sign of a homography is arbitrary.
        length = w if plane else np.hypot(u, v)
        if not abs(length) > 0:
            continue
        u, v, w = u / length, v / length, w / length
        # A line is followed along the axis that it is closer to.
        flat = not plane and abs(v) > abs(u)
        for step in range(columns if flat else rows):
            low, high = step * _CELL, (step + 1) * _CELL
            if plane:
                if low > v + MAX_ERROR or high < v - MAX_ERROR:
                    continue
                begin, end = _range(u - MAX_ERROR, u + MAX_ERROR, columns)
            else:
                along, across = (u, v) if flat else (v, u)
                one, two = -(along * low + w) / across, -(along * high + w) / across
                slack = MAX_ERROR / abs(across)
                begin, end = _range(min(one, two) - slack, max(one, two) + slack, rows if flat else columns)
            for other in range(begin, end + 1):
                cell = other * columns + step if flat else step * columns + other
                for k in range(starts[cell], starts[cell + 1]):
                    j = order[k]
                    error = (
                        np.hypot(b[j, 0] - u, b[j, 1] - v) if plane else abs(u * b[j, 0] + v * b[j, 1] + w)
                    )
                    if error <= MAX_ERROR:
                        distance = _distance(first[i], second[j])
                        _keep(best_a, near_a, i, j, distance)
                        _keep(best_b, near_b, j, i, distance)


@kernel(error_model="numpy")
def _distance(a: Any, b: Any) -> Any:
    total = np.int32(0)
    for k in range(len(a)):
        difference = np.int32(a[k]) - np.int32(b[k])
        total += difference * difference
    return np.float32(total)


@kernel(error_model="numpy")
def _keep(best: Any, near: Any, i: int, j: int, distance: Any) -> None:
    """Remember a feature's nearest and second."""
    if distance < best[i, 0]:
        best[i, 1], best[i, 0], near[i] = best[i, 0], distance, j
    elif distance < best[i, 1]:
        best[i, 1] = distance
