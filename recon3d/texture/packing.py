"""Packing of charts into a square.

Charts are placed by their true shapes, so that small ones fill the gaps between and inside large ones. They
consist of blocks of texels that become one texel in the first mip level.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recon3d.kernels import kernel
from recon3d.types import Ints

#: Texels along a block.
BLOCK = 2
#: Sides of textures are multiples of so many blocks: four mip levels halve without a remainder.
MULTIPLE = 8

#: Places across the square at which a chart may stand.
_PLACES = 2048
#: Share of the square that charts fill at the first try, and the ratio of one try's side to the last one's.
_FILL, _STEP = 0.93, 1.012

_compiled = kernel(_nrt=False)


@dataclass(frozen=True, eq=False)
class Shapes:
    """The blocks that charts occupy, as runs of rows in their columns.

    Parameters
    ----------
    columns : ndarray of int64, shape (N + 1,)
        Chart n has the columns ``columns[n]`` to ``columns[n + 1]``.
    runs : ndarray of int64, shape (M + 1,)
        Column m has the runs ``runs[m]`` to ``runs[m + 1]``, apart and in ascending order.
    low, high : ndarray of int32, shape (K,)
        First row of each run, and the row after its last.
    """

    columns: NDArray[np.int64]
    runs: NDArray[np.int64]
    low: Ints
    high: Ints

    def __len__(self) -> int:
        return len(self.columns) - 1

    @property
    def area(self) -> int:
        """Number of blocks."""
        return int((self.high - self.low).sum(dtype=np.int64))

    def extents(self) -> Ints:
        """Width and height of each chart.

        Returns
        -------
        ndarray of int32, shape (N, 2)
        """
        extents = np.zeros((len(self), 2), np.int32)
        extents[:, 0] = np.diff(self.columns)
        if len(self):
            extents[:, 1] = np.maximum.reduceat(self.high, self.runs[self.columns[:-1]])
        return extents


def rectangle(width: int, height: int) -> Shapes:
    """Make the shape of one rectangle.

    Parameters
    ----------
    width, height : int
        In blocks.

    Returns
    -------
    Shapes
    """
    return Shapes(
        np.array([0, width], np.int64),
        np.arange(width + 1, dtype=np.int64),
        np.zeros(width, np.int32),
        np.full(width, height, np.int32),
    )


def join(first: Shapes, second: Shapes) -> Shapes:
    """Join two sets of charts.

    Parameters
    ----------
    first, second : Shapes

    Returns
    -------
    Shapes
    """
    return Shapes(
        np.append(first.columns, first.columns[-1] + second.columns[1:]),
        np.append(first.runs, first.runs[-1] + second.runs[1:]),
        np.append(first.low, second.low),
        np.append(first.high, second.high),
    )


def smallest_square(charts: Shapes, limit: int) -> tuple[int, Ints] | None:
    """Find about the smallest square that takes the charts.

    Parameters
    ----------
    charts : Shapes
    limit : int
        Side that it may have, a multiple of `MULTIPLE`.

    Returns
    -------
    (int, ndarray of int32, shape (N, 2)), or None
        Its side, a multiple of `MULTIPLE`, and column and row of each chart's corner; None when
        the charts do not fit.
    """
    largest = max(int(charts.extents().max(initial=1)), np.sqrt(charts.area / _FILL))
    side = -int(-largest // MULTIPLE) * MULTIPLE
    while side <= limit:
        positions, height = pack(charts, side, side)
        if height <= side:
            return side, positions
        side = max(side + MULTIPLE, int(_STEP * side) // MULTIPLE * MULTIPLE)
    return None


def pack(charts: Shapes, width: int, height: int) -> tuple[Ints, int]:
    """Place charts in a strip, the highest first, each as low as it goes and then as far left.

    In strips of more than 2048 blocks charts stand at columns that are multiples of 2, 4, ...

    Parameters
    ----------
    charts : Shapes
    width : int
        Width of the strip in blocks.
    height : int
        Rows that may be used.

    Returns
    -------
    positions : ndarray of int32, shape (N, 2)
        Column and row of each chart's corner.
    rows : int
        Rows that are used; `height` + 1 when the charts do not fit.
    """
    extents = charts.extents()
    positions = np.zeros((len(charts), 2), np.int32)
    if not len(charts):
        return positions, 0
    if extents[:, 0].max() > width or extents[:, 1].max() > height or charts.area > width * height:
        return positions, height + 1
    order = np.lexsort((np.arange(len(charts)), -extents[:, 0], -extents[:, 1]))
    step = max(1, width // _PLACES)
    places = width // step
    # How many free rows follow each row of a column, or, negative, how many occupied ones.
    room = np.empty((places, height + 1), np.int16)
    room[:] = height - np.arange(height + 1)
    # Past the end nothing is free for as far as anything may move.
    room[:, height] = -32768
    shapes = (charts.columns, charts.runs, charts.low, charts.high)
    most = int(np.diff(charts.runs[charts.columns]).max())
    group = (
        np.empty(int(extents[:, 0].max()) + 1, np.int64),
        *(np.empty(most, np.int32) for _ in range(2)),
        np.empty(int(extents[:, 1].max()) + 1, np.bool_),
    )
    return positions, int(_place(*shapes, extents, order, room, *group, step, positions))


@_compiled
def _place(
    columns: NDArray[np.int64],
    runs: NDArray[np.int64],
    low: Ints,
    high: Ints,
    extents: Ints,
    order: NDArray[np.int64],
    room: NDArray[np.int16],
    starts: NDArray[np.int64],
    lows: Ints,
    highs: Ints,
    marks: NDArray[np.bool_],
    step: int,
    positions: Ints,
) -> int:
    places, rows = room.shape[0], room.shape[1] - 1
    used = 0
    for place in range(order.shape[0]):
        number = order[place]
        wide = (extents[number, 0] + step - 1) // step
        _group(columns, runs, low, high, number, extents[number, 1], step, starts, lows, highs, marks)
        best_x, best_y = -1, rows - extents[number, 1] + 1
        for x in range(places - wide + 1):
            y = 0
            while y < best_y:
                move = 0
                for i in range(wide):
                    for n in range(starts[i], starts[i + 1]):
                        start = y + lows[n]
                        free = room[x + i, start]
                        if free <= 0:
                            move = -free
                        elif free < highs[n] - lows[n]:
                            move = free - room[x + i, start + free]
                        if move:
                            break
                    if move:
                        break
                if not move:
                    best_x, best_y = x, y
                y += move
                if not move:
                    break
        if best_x < 0:
            return rows + 1  # type: ignore[no-any-return]
        positions[number, 0], positions[number, 1] = best_x * step, best_y
        used = max(used, best_y + extents[number, 1])
        for i in range(wide):
            for n in range(starts[i], starts[i + 1]):
                first, last = best_y + lows[n], best_y + highs[n]
                for y in range(first, last):
                    room[best_x + i, y] = y - last
                y = first - 1
                while y >= 0 and room[best_x + i, y] > 0:
                    room[best_x + i, y] = first - y
                    y -= 1
    return used


@_compiled
def _group(
    columns: NDArray[np.int64],
    runs: NDArray[np.int64],
    low: Ints,
    high: Ints,
    number: int,
    height: int,
    step: int,
    starts: NDArray[np.int64],
    lows: Ints,
    highs: Ints,
    marks: NDArray[np.bool_],
) -> None:
    """List the runs of a chart's columns, of which `step` neighbours count as one."""
    first, last = columns[number], columns[number + 1]
    count = (last - first + step - 1) // step
    total = 0
    starts[0] = 0
    for group in range(count):
        begin, end = first + group * step, min(first + (group + 1) * step, last)
        if step == 1:
            for n in range(runs[begin], runs[end]):
                lows[total], highs[total] = low[n], high[n]
                total += 1
        else:
            for row in range(height + 1):
                marks[row] = False
            for n in range(runs[begin], runs[end]):
                for row in range(low[n], high[n]):
                    marks[row] = True
            for row in range(height):
                if marks[row] and (row == 0 or not marks[row - 1]):
                    lows[total] = row
                if marks[row] and not marks[row + 1]:
                    highs[total] = row + 1
                    total += 1
        starts[group + 1] = total
