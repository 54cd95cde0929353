"""Shapes of charts: blocks of texels, as runs of rows in columns, and the quarters that they are turned by.

The four texels of a block become one texel in the first mip level.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recon3d.kernels import kernel
from recon3d.types import Ints

#: Texels along a block.
BLOCK = 2
#: Bits of a turn: mirrored in x, mirrored in y, and then x and y exchanged.
MIRROR_X, MIRROR_Y, SWAP = 1, 2, 4
#: Turns that keep a chart's sense: those of 0, 180, 90 and 270 degrees.
TURNS = np.array([0, MIRROR_X | MIRROR_Y, MIRROR_X | SWAP, MIRROR_Y | SWAP], np.int32)

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


def exchanged(charts: Shapes) -> tuple[Shapes, Ints]:
    """Exchange columns and rows of charts, and find a large square in each.

    Parameters
    ----------
    charts : Shapes

    Returns
    -------
    exchanged : Shapes
    squares : ndarray of int32, shape (N, 3)
        Of each chart as it was: the power of two that is the square's side, and its first column and row.
        It is the largest of all whose side is a power of two.
    """
    extents = charts.extents()
    columns = np.append(0, np.cumsum(extents[:, 1], dtype=np.int64))
    runs, squares = np.zeros(columns[-1] + 1, np.int64), np.zeros((len(charts), 3), np.int32)
    sides = np.zeros(int(extents.prod(axis=1, dtype=np.int64).max(initial=0)), np.int32)
    given = (charts.columns, charts.runs, charts.low, charts.high, extents, sides, runs, squares)
    none = np.zeros(0, np.int32)
    # The first time counts the runs.
    low, high = (np.empty(int(_exchange(*given, none, none)), np.int32) for _ in range(2))
    _exchange(*given, low, high)
    return Shapes(columns, runs, low, high), squares


@_compiled
def _exchange(
    columns: NDArray[np.int64],
    runs: NDArray[np.int64],
    low: Ints,
    high: Ints,
    extents: Ints,
    sides: Ints,
    new_runs: NDArray[np.int64],
    squares: Ints,
    new_low: Ints,
    new_high: Ints,
) -> int:
    total, row = 0, 0
    for number in range(extents.shape[0]):
        wide, tall = extents[number, 0], extents[number, 1]
        for place in range(wide * tall):
            sides[place] = 0
        best, left, top = 0, 0, 0
        for i in range(wide):
            place = columns[number] + i
            for n in range(runs[place], runs[place + 1]):
                for j in range(low[n], high[n]):
                    # The largest square that ends with this block.
                    side = 1
                    if i > 0 and j > 0:
                        before = (i - 1) * tall + j
                        side += min(sides[before], sides[before - 1], sides[before + tall - 1])
                    sides[i * tall + j] = side
                    if side > best:
                        best, left, top = side, i, j
        size = 0
        while 2 << size <= best:
            size += 1
        squares[number, 0] = size
        squares[number, 1], squares[number, 2] = left + 1 - (1 << size), top + 1 - (1 << size)
        for j in range(tall):
            start = -1
            for i in range(wide + 1):
                taken = i < wide and sides[i * tall + j] > 0
                if taken and start < 0:
                    start = i
                elif start >= 0 and not taken:
                    if total < new_low.shape[0]:
                        new_low[total], new_high[total] = start, i
                    total += 1
                    start = -1
            row += 1
            new_runs[row] = total
    return total


def turned(charts: Shapes, other: Shapes, turns: Ints) -> Shapes:
    """Turn charts.

    Parameters
    ----------
    charts, other : Shapes
        The charts, and what `exchanged` makes of them.
    turns : ndarray of int32, shape (N,)
        How each is turned: bits `MIRROR_X`, `MIRROR_Y` and `SWAP`, in this order.

    Returns
    -------
    Shapes
    """
    swap, back, flip = directions(turns).T
    both, count = join(charts, other), len(charts)
    sources = np.arange(count) + swap * count
    widths = np.diff(both.columns)[sources]
    heights = np.diff(both.columns)[np.arange(count) + (1 - swap) * count]
    columns = np.append(0, np.cumsum(widths))
    chart = np.repeat(np.arange(count), widths)
    i = np.arange(len(chart)) - columns[chart]
    place = both.columns[sources][chart] + np.where(back[chart], widths[chart] - 1 - i, i)
    first, counts = both.runs[place], np.diff(both.runs)[place]
    runs = np.append(0, np.cumsum(counts))
    column = np.repeat(np.arange(len(chart)), counts)
    k = np.arange(len(column)) - runs[column]
    mirrored, tall = flip[chart][column], heights[chart][column]
    n = first[column] + np.where(mirrored, counts[column] - 1 - k, k)
    low = np.where(mirrored, tall - both.high[n], both.low[n])
    high = np.where(mirrored, tall - both.low[n], both.high[n])
    return Shapes(columns, runs, low.astype(np.int32), high.astype(np.int32))


def directions(turns: Ints) -> Ints:
    """Tell how turned charts are read: of `exchanged`, and which of their columns and rows come first.

    Parameters
    ----------
    turns : ndarray of int32, shape (N,)
        See `turned`.

    Returns
    -------
    ndarray of int32, shape (N, 3)
        1 where the chart's columns and rows are exchanged; then 1 where its columns are in reverse order,
        and where its rows are.
    """
    swap = (turns & SWAP) > 0
    x, y = (turns & MIRROR_X) > 0, (turns & MIRROR_Y) > 0
    return np.stack([swap, np.where(swap, y, x), np.where(swap, x, y)], axis=1).astype(np.int32)
