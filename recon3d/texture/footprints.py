"""The blocks of texels that a chart needs: those of its faces, and the padding around them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recon3d.kernels import kernel
from recon3d.texture.packing import Shapes
from recon3d.types import Floats, Ints

_compiled = kernel(error_model="numpy")


def chart_shapes(
    xy: Floats, faces: Ints, face_chart: Ints, source: Ints, extent: Ints, padding: float
) -> Shapes:
    """Find the blocks that faces reach when these grow by `padding` blocks to all sides.

    Parameters
    ----------
    xy : ndarray of float64, shape (N, 2)
        Nodes, in blocks of the photo.
    faces : ndarray of int32, shape (F, 3)
        Nodes of the faces.
    face_chart : ndarray of int32, shape (F,)
        Chart of each face; every chart has one.
    source, extent : ndarray of int32, shape (C, 2)
        First column and row, width and height of each chart, with the padding.
    padding : float

    Returns
    -------
    Shapes
    """
    order = np.argsort(face_chart, kind="stable")
    bounds = np.searchsorted(face_chart[order], np.arange(len(source) + 1))
    columns = np.append(0, np.cumsum(extent[:, 0], dtype=np.int64))
    runs, low, high = _shapes(xy, faces[order], bounds, source, extent, columns, padding)
    return Shapes(columns, runs, low, high)


@_compiled
def _shapes(
    xy: Floats,
    faces: Ints,
    bounds: NDArray[np.int64],
    source: Ints,
    extent: Ints,
    columns: NDArray[np.int64],
    padding: float,
) -> tuple[NDArray[np.int64], Ints, Ints]:
    runs = np.zeros(columns[-1] + 1, np.int64)
    low, high = np.empty(2 * columns[-1] + 16, np.int32), np.empty(2 * columns[-1] + 16, np.int32)
    total = 0
    corners = np.empty((3, 2))
    for chart in range(extent.shape[0]):
        width, height = extent[chart, 0], extent[chart, 1]
        # Per column the change, at each row, of the number of faces that claim it.
        change = np.zeros((width, height + 1), np.int32)
        for f in range(bounds[chart], bounds[chart + 1]):
            for k in range(3):
                for axis in range(2):
                    corners[k, axis] = xy[faces[f, k], axis] - source[chart, axis]
            left = int(np.floor(corners[:, 0].min() - padding))
            right = int(np.ceil(corners[:, 0].max() + padding))
            for column in range(max(left, 0), min(right, width)):
                top, bottom = _rows(corners, column - padding, column + 1 + padding)
                first = max(int(np.floor(top - padding)), 0)
                last = min(max(int(np.ceil(bottom + padding)), first + 1), height)
                change[column, first] += 1
                change[column, last] -= 1
        for column in range(width):
            claims = 0
            for row in range(height + 1):
                before = claims
                claims += change[column, row]
                if claims > 0 and before == 0:
                    if total == low.shape[0]:
                        low = np.append(low, np.empty_like(low))
                        high = np.append(high, np.empty_like(high))
                    low[total] = row
                elif claims == 0 and before > 0:
                    high[total] = row
                    total += 1
            runs[columns[chart] + column + 1] = total
    return runs, low[:total].copy(), high[:total].copy()


@_compiled
def owners(
    target: Ints,
    columns: NDArray[np.int64],
    runs: NDArray[np.int64],
    low: Ints,
    high: Ints,
    side: int,
) -> Ints:
    """Tell which chart each block of an atlas belongs to.

    Parameters
    ----------
    target : ndarray of int32, shape (C, 2)
        Column and row of each chart's first block.
    columns : ndarray of int64, shape (C + 1,)
        Of the charts' shapes, as `runs`, `low` and `high`: see `recon3d.texture.packing.Shapes`.
    runs : ndarray of int64, shape (M + 1,)
    low, high : ndarray of int32, shape (K,)
    side : int
        Blocks along the atlas.

    Returns
    -------
    ndarray of int32, shape (side, side)
        -1 where there is none.
    """
    owner = np.full((side, side), -1, np.int32)
    for n in range(target.shape[0]):
        for place in range(columns[n], columns[n + 1]):
            column = target[n, 0] + place - columns[n]
            for run in range(runs[place], runs[place + 1]):
                owner[target[n, 1] + low[run] : target[n, 1] + high[run], column] = n
    return owner


@_compiled
def _rows(corners: Floats, left: float, right: float) -> tuple[float, float]:
    """First and last row of a triangle between two columns."""
    top, bottom = np.inf, -np.inf
    for k in range(3):
        ax, ay = corners[k, 0], corners[k, 1]
        bx, by = corners[(k + 1) % 3, 0], corners[(k + 1) % 3, 1]
        if left <= ax <= right:
            top, bottom = min(top, ay), max(bottom, ay)
        for limit in (left, right):
            if (ax < limit) != (bx < limit):
                row = ay + (by - ay) * (limit - ax) / (bx - ax)
                top, bottom = min(top, row), max(bottom, row)
    return top, bottom
