"""The blocks of texels that a chart needs: those of its faces, and the padding around them."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from recon3d.kernels import kernel
from recon3d.texture.packing import Shapes
from recon3d.types import Floats, Ints

_compiled = kernel(_nrt=False)


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
    runs = np.zeros(columns[-1] + 1, np.int64)
    low, high = (np.empty(2 * columns[-1] + 16, np.int32) for _ in range(2))
    area = (extent[:, 0].astype(np.int64) * (extent[:, 1] + 1)).max(initial=0)
    scratch = np.empty((3, 2)), np.empty(int(area), np.int32)
    given = (xy, faces[order], bounds, source, extent, columns, padding)
    chart = 0
    while True:
        chart = int(_find_runs(*given, *scratch, chart, runs, low, high))
        if chart == len(source):
            total = int(runs[-1])
            return Shapes(columns, runs, low[:total].copy(), high[:total].copy())
        # The next chart has no more runs than this.
        more = np.empty(len(low) + int(extent[chart, 0]) * (int(extent[chart, 1]) // 2 + 1), np.int32)
        low, high = np.append(low, more), np.append(high, more)


@_compiled
def _find_runs(
    xy: Floats,
    faces: Ints,
    bounds: NDArray[np.int64],
    source: Ints,
    extent: Ints,
    columns: NDArray[np.int64],
    padding: float,
    corners: Floats,
    change: Ints,
    first_chart: int,
    runs: NDArray[np.int64],
    low: Ints,
    high: Ints,
) -> int:
    """Find charts' runs from one chart on; the chart for which there is no room, or the number of charts."""
    total = runs[columns[first_chart]]
    for chart in range(first_chart, extent.shape[0]):
        width, height = np.int64(extent[chart, 0]), np.int64(extent[chart, 1])
        if total + width * (height // 2 + 1) > low.shape[0]:
            return chart
        # Per column the change, at each row, of the number of faces that claim it.
        for place in range(width * (height + 1)):
            change[place] = 0
        for f in range(bounds[chart], bounds[chart + 1]):
            for k in range(3):
                for axis in range(2):
                    corners[k, axis] = xy[faces[f, k], axis] - source[chart, axis]
            left = math.floor(min(corners[0, 0], corners[1, 0], corners[2, 0]) - padding)
            right = math.ceil(max(corners[0, 0], corners[1, 0], corners[2, 0]) + padding)
            for column in range(max(left, 0), min(right, width)):
                top, bottom = _rows(corners, column - padding, column + 1 + padding)
                first = max(math.floor(top - padding), 0)
                last = min(max(math.ceil(bottom + padding), first + 1), height)
                change[column * (height + 1) + first] += 1
                change[column * (height + 1) + last] -= 1
        for column in range(width):
            claims = 0
            for row in range(height + 1):
                before = claims
                claims += change[column * (height + 1) + row]
                if claims > 0 and before == 0:
                    low[total] = row
                elif claims == 0 and before > 0:
                    high[total] = row
                    total += 1
            runs[columns[chart] + column + 1] = total
    return extent.shape[0]  # type: ignore[no-any-return]


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
    _claim(target, columns, runs, low, high, owner)
    return owner


@_compiled
def _claim(
    target: Ints,
    columns: NDArray[np.int64],
    runs: NDArray[np.int64],
    low: Ints,
    high: Ints,
    owner: Ints,
) -> None:
    for n in range(target.shape[0]):
        for place in range(columns[n], columns[n + 1]):
            column = target[n, 0] + place - columns[n]
            for run in range(runs[place], runs[place + 1]):
                for row in range(low[run], high[run]):
                    owner[target[n, 1] + row, column] = n


@_compiled
def _rows(corners: Floats, left: float, right: float) -> tuple[float, float]:
    """First and last row of a triangle between two columns."""
    top, bottom = np.inf, -np.inf
    for k in range(3):
        ax, ay = corners[k, 0], corners[k, 1]
        bx, by = corners[(k + 1) % 3, 0], corners[(k + 1) % 3, 1]
        if left <= ax <= right:
            top, bottom = min(top, ay), max(bottom, ay)
        for side in range(2):
            limit = right if side else left
            if (ax < limit) != (bx < limit):
                row = ay + (by - ay) * (limit - ax) / (bx - ax)
                top, bottom = min(top, row), max(bottom, row)
    return top, bottom
