"""The blocks of texels that a chart needs: those of its faces, and the padding around them."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from recon3d.kernels import kernel
from recon3d.texture.shapes import BLOCK, Shapes
from recon3d.types import Floats, Ints

_compiled = kernel(_nrt=False)


def chart_shapes(
    xy: Floats, node_chart: Ints, faces: Ints, face_chart: Ints, padding: float
) -> tuple[Ints, Shapes]:
    """Find the blocks that faces reach when these grow by `padding` texels to all sides.

    Blocks of a chart may begin at any texel of its photo: it has the grid on which it needs the fewest.

    Parameters
    ----------
    xy : ndarray of float64, shape (N, 2)
        Nodes, in texels of the photo.
    node_chart : ndarray of int32, shape (N,)
        Chart of each node, ascending.
    faces : ndarray of int32, shape (F, 3)
        Nodes of the faces.
    face_chart : ndarray of int32, shape (F,)
        Chart of each face; every chart has one.
    padding : float

    Returns
    -------
    source : ndarray of int32, shape (C, 2)
        First texel of each chart in the photo.
    shapes : Shapes
    """
    order = np.argsort(face_chart, kind="stable")
    charts = int(face_chart.max(initial=-1)) + 1
    bounds = np.searchsorted(face_chart[order], np.arange(charts + 1))
    starts = np.searchsorted(node_chart, np.arange(charts))
    source = np.floor(np.minimum.reduceat(xy, starts) - padding).astype(np.int32)
    extent = np.ceil(np.maximum.reduceat(xy, starts) + padding).astype(np.int32) - source
    # A chart of a single place on the texels' lines.
    extent = np.maximum(extent, 1)
    columns = np.zeros(charts + 1, np.int64)
    most = int((extent[:, 0] // BLOCK + 1).sum(dtype=np.int64))
    runs = np.zeros(most + 1, np.int64)
    low, high = (np.empty(2 * most + 16, np.int32) for _ in range(2))
    area = (extent[:, 0].astype(np.int64) * (extent[:, 1] + 1)).max(initial=0)
    scratch = np.empty((3, 2)), np.empty(int(area), np.int32)
    given = (xy, faces[order], bounds, extent, padding, *scratch)
    chart = 0
    while True:
        chart = int(_find_runs(*given, chart, source, columns, runs, low, high))
        if chart == charts:
            total = int(columns[-1])
            runs = runs[: total + 1]
            return source, Shapes(columns, runs, low[: runs[-1]].copy(), high[: runs[-1]].copy())
        # The next chart has no more runs than this.
        more = np.empty(len(low) + _most_runs(*(int(n) for n in extent[chart])), np.int32)
        low, high = np.append(low, more), np.append(high, more)


@_compiled
def _most_runs(width: int, height: int) -> int:
    """Runs that a chart of so many texels has at most."""
    return (width // BLOCK + 1) * (height // BLOCK // 2 + 1)


@_compiled
def _find_runs(
    xy: Floats,
    faces: Ints,
    bounds: NDArray[np.int64],
    extent: Ints,
    padding: float,
    corners: Floats,
    claims: Ints,
    first_chart: int,
    source: Ints,
    columns: NDArray[np.int64],
    runs: NDArray[np.int64],
    low: Ints,
    high: Ints,
) -> int:
    """Find charts' runs from one chart on; the chart for which there is no room, or the number of charts."""
    total = runs[columns[first_chart]]
    for chart in range(first_chart, extent.shape[0]):
        width, height = np.int64(extent[chart, 0]), np.int64(extent[chart, 1])
        if total + _most_runs(width, height) > low.shape[0]:
            return chart
        # Per column the change, at each row, of the number of faces that claim it.
        for place in range(width * (height + 1)):
            claims[place] = 0
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
                claims[column * (height + 1) + first] += 1
                claims[column * (height + 1) + last] -= 1
        for column in range(width):
            for row in range(1, height + 1):
                claims[column * (height + 1) + row] += claims[column * (height + 1) + row - 1]
        fewest, left, top = 1 << 62, 0, 0
        for across in range(BLOCK):
            for down in range(BLOCK):
                count = 0
                for column in range((width + across + BLOCK - 1) // BLOCK):
                    for row in range((height + down + BLOCK - 1) // BLOCK):
                        if _claimed(claims, width, height, column * BLOCK - across, row * BLOCK - down):
                            count += 1
                if count < fewest:
                    fewest, left, top = count, across, down
        source[chart, 0] -= left
        source[chart, 1] -= top
        following = columns[chart]
        for block in range((width + left + BLOCK - 1) // BLOCK):
            inside = False
            rows = (height + top + BLOCK - 1) // BLOCK
            for row in range(rows):
                claimed = _claimed(claims, width, height, block * BLOCK - left, row * BLOCK - top)
                if claimed and not inside:
                    low[total] = row
                elif inside and not claimed:
                    high[total] = row
                    total += 1
                inside = claimed
            if inside:
                high[total] = rows
                total += 1
            following += 1
            runs[following] = total
        columns[chart + 1] = following
    return extent.shape[0]  # type: ignore[no-any-return]


@_compiled
def _claimed(claims: Ints, width: int, height: int, left: int, top: int) -> bool:
    """Tell whether a face claims any texel of a block."""
    for column in range(max(left, 0), min(left + BLOCK, width)):
        for row in range(max(top, 0), min(top + BLOCK, height)):
            if claims[column * (height + 1) + row] > 0:
                return True
    return False


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
        Of the charts' shapes, as `runs`, `low` and `high`: see `recon3d.texture.shapes.Shapes`.
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
