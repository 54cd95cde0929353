"""Packing of charts into a square."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recon3d.kernels import kernel
from recon3d.types import Floats, Ints

#: Places across the square at which a chart may stand.
_PLACES = 2048

_compiled = kernel()


@dataclass(frozen=True, eq=False)
class Profiles:
    """What each column of a chart occupies.

    Parameters
    ----------
    starts : ndarray of int64, shape (N + 1,)
        Chart n has the columns ``starts[n]`` to ``starts[n + 1]``.
    low, high : ndarray of int32, shape (M,)
        First row of each column, and the row after the last; of each chart the least `low` is 0.
    """

    starts: NDArray[np.int64]
    low: Ints
    high: Ints


def profiles(xy: Floats, faces: Ints, face_chart: Ints, source: Ints, extent: Ints, padding: int) -> Profiles:
    """Columns of charts, `padding` texels around their faces included.

    Parameters
    ----------
    xy : ndarray of float64, shape (N, 2)
        Nodes, in texels of the photo.
    faces : ndarray of int32, shape (F, 3)
        Nodes of the faces.
    face_chart : ndarray of int32, shape (F,)
    source, extent : ndarray of int32, shape (C, 2)
        First column and row, width and height of each chart, with the padding.
    padding : int

    Returns
    -------
    Profiles
    """
    starts = np.append(0, np.cumsum(extent[:, 0], dtype=np.int64))
    low, high = _profiles(xy, faces, face_chart, source, extent, starts, padding)
    return Profiles(starts, low, high)


def rectangle(width: int, height: int) -> Profiles:
    """Make the columns of one rectangle.

    Parameters
    ----------
    width, height : int
        In texels.

    Returns
    -------
    Profiles
    """
    starts = np.array([0, width], np.int64)
    return Profiles(starts, np.zeros(width, np.int32), np.full(width, height, np.int32))


def join(first: Profiles, second: Profiles) -> Profiles:
    """Join two sets of charts.

    Parameters
    ----------
    first, second : Profiles

    Returns
    -------
    Profiles
    """
    return Profiles(
        np.append(first.starts, first.starts[-1] + second.starts[1:]),
        np.append(first.low, second.low),
        np.append(first.high, second.high),
    )


def pack(charts: Profiles, size: int) -> Ints | None:
    """Place charts in a square, the highest first, each as low as it goes and with the least gap below.

    The skyline rises only where a chart has something, so that charts lean into each other. In
    squares of more than 2048 texels charts stand at multiples of 2, 4, ... texels.

    Parameters
    ----------
    charts : Profiles
    size : int
        Side of the square.

    Returns
    -------
    ndarray of int32, shape (N, 2), or None
        Column and row of each chart's corner; None when the square is too small.
    """
    widths = np.diff(charts.starts)
    if len(widths) == 0:
        return np.zeros((0, 2), np.int32)
    heights = np.maximum.reduceat(charts.high, charts.starts[:-1])
    occupied = int((charts.high - charts.low).sum(dtype=np.int64))
    if widths.max() > size or heights.max() > size or occupied > size * size:
        return None
    order = np.lexsort((np.arange(len(widths)), -widths, -heights))
    step = max(1, size // _PLACES)
    positions: Ints = np.zeros((len(widths), 2), np.int32)
    fits = _skyline(charts.starts, charts.low, charts.high, heights, order, size, step, positions)
    return positions if fits else None


@_compiled
def _profiles(
    xy: Floats,
    faces: Ints,
    face_chart: Ints,
    source: Ints,
    extent: Ints,
    starts: NDArray[np.int64],
    padding: int,
) -> tuple[Ints, Ints]:
    low = np.full(starts[-1], 2147483647, np.int32)
    high = np.zeros(starts[-1], np.int32)
    for f in range(faces.shape[0]):
        chart = face_chart[f]
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        left = int(np.floor(min(xy[a, 0], xy[b, 0], xy[c, 0]))) - source[chart, 0] - padding
        right = int(np.ceil(max(xy[a, 0], xy[b, 0], xy[c, 0]))) - source[chart, 0] + padding
        top = int(np.floor(min(xy[a, 1], xy[b, 1], xy[c, 1]))) - source[chart, 1] - padding
        bottom = int(np.ceil(max(xy[a, 1], xy[b, 1], xy[c, 1]))) - source[chart, 1] + padding
        for column in range(max(left, 0), min(right, extent[chart, 0])):
            place = starts[chart] + column
            low[place] = min(low[place], max(top, 0))
            high[place] = max(high[place], min(bottom, extent[chart, 1]))
    return low, high


@_compiled
def _skyline(
    starts: NDArray[np.int64],
    low: Ints,
    high: Ints,
    heights: Ints,
    order: NDArray[np.int64],
    size: int,
    step: int,
    positions: Ints,
) -> bool:
    places = size // step
    skyline = np.zeros(places, np.int32)
    chart_low, chart_high = np.empty(places + 1, np.int32), np.empty(places + 1, np.int32)
    for number in order:
        width = (starts[number + 1] - starts[number] + step - 1) // step
        if width > places:
            return False
        for i in range(width):
            chart_low[i], chart_high[i] = 2147483647, 0
            for place in range(
                starts[number] + i * step, min(starts[number] + (i + 1) * step, starts[number + 1])
            ):
                chart_low[i] = min(chart_low[i], low[place])
                chart_high[i] = max(chart_high[i], high[place])
        best_x, best_y, best_score = -1, 0, np.inf
        limit = size - heights[number]
        for x in range(places - width + 1):
            y = 0
            for i in range(width):
                y = max(y, skyline[x + i] - chart_low[i])
                if y > limit or y >= best_score:
                    break
            if y > limit or y >= best_score:
                continue
            gap = 0
            for i in range(width):
                gap += y + chart_low[i] - skyline[x + i]
            score = y + gap / width
            if score < best_score:
                best_x, best_y, best_score = x, y, score
        if best_x < 0:
            return False
        positions[number, 0] = best_x * step
        positions[number, 1] = best_y
        for i in range(width):
            skyline[best_x + i] = max(skyline[best_x + i], best_y + chart_high[i])
    return True
