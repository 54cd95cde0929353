"""Packing of charts into a square.

Charts are placed by their true shapes and turned by quarters, so that small ones fill the gaps between and
inside large ones. What is free is kept as bits: a word tells 64 rows of a column at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recon3d.kernels import kernel
from recon3d.texture.shapes import TURNS, Shapes, directions, exchanged, join, turned
from recon3d.types import Ints

#: Sides of textures are multiples of so many blocks: four mip levels halve without a remainder.
MULTIPLE = 8
#: Charts of so many blocks along both sides are placed as they are: all turns of them are much alike.
SMALL = 4

#: Share of a square that charts fill at the first try.
_FILL = 0.95
#: Columns that a try may use beyond the square: how many it takes tells the next try's side.
_LONGER = 1.25
#: Squares of up to 2 to the power of one less than this tell where charts cannot stand.
_SQUARES = 7
#: Bits of a word.
_WORD = 64

_compiled = kernel(_nrt=False)


@dataclass(frozen=True, eq=False)
class Packing:
    """Where charts stand.

    Parameters
    ----------
    side : int
        Of the square in blocks.
    positions : ndarray of int32, shape (N, 2)
        Column and row of the first block of each turned chart.
    turns : ndarray of int32, shape (N,)
        How each chart is turned: see `recon3d.texture.shapes.turned`.
    charts : Shapes
        Turned.
    """

    side: int
    positions: Ints
    turns: Ints
    charts: Shapes


def smallest_square(charts: Shapes, limit: int) -> tuple[Packing | None, float]:
    """Find about the smallest square that takes the charts.

    Parameters
    ----------
    charts : Shapes
    limit : int
        Side that it may have, a multiple of `MULTIPLE`.

    Returns
    -------
    packing : Packing or None
        With a side that is a multiple of `MULTIPLE`; None when the charts do not fit.
    needed : float
        Its side, or about the side that the charts would need.
    """
    known = (charts, *exchanged(charts))
    largest = max(float(charts.extents().max(initial=1)), np.sqrt(charts.area / _FILL))
    side, short, best = _rounded(largest), 0, None
    while short < side <= limit and (best is None or side < best.side):
        packing, needed = _square(*known, side)
        if packing is None:
            short = side
            side = max(side + MULTIPLE, _rounded(needed))
        else:
            best, side = packing, max(short + MULTIPLE, _rounded(needed))
    return best, float(side) if best is None else best.side


def given_square(charts: Shapes, side: int) -> tuple[Packing | None, float]:
    """Pack charts into a square.

    Parameters
    ----------
    charts : Shapes
    side : int
        Of the square in blocks.

    Returns
    -------
    packing : Packing or None
        None when the charts do not fit.
    needed : float
        About the side that the charts need.
    """
    return _square(charts, *exchanged(charts), side)


def _square(charts: Shapes, other: Shapes, squares: Ints, side: int) -> tuple[Packing | None, float]:
    longest = float(charts.extents().max(initial=1))
    if longest > side or charts.area > side * side:
        return None, max(longest, float(np.sqrt(charts.area / _FILL)))
    positions, turns, columns = pack(charts, other, squares, side, int(_LONGER * side))
    # About as many blocks are wasted in a square.
    needed = float(np.sqrt(side * columns))
    if columns > side:
        return None, needed
    return Packing(side, positions, turns, turned(charts, other, turns)), needed


def _rounded(side: float) -> int:
    return -int(-side // MULTIPLE) * MULTIPLE


def pack(charts: Shapes, other: Shapes, squares: Ints, rows: int, columns: int) -> tuple[Ints, Ints, int]:
    """Place charts in a strip, the widest first, each turned so that it ends as far left as it can.

    It stands as far left as it goes, and then as low. The widest is that whose shorter side is the longest.

    Parameters
    ----------
    charts, other : Shapes
        The charts, and with columns and rows exchanged.
    squares : ndarray of int32, shape (N, 3)
        A square in each: see `recon3d.texture.shapes.exchanged`.
    rows : int
        Height of the strip in blocks.
    columns : int
        Columns that may be used.

    Returns
    -------
    positions : ndarray of int32, shape (N, 2)
        As in `Packing`.
    turns : ndarray of int32, shape (N,)
        As in `Packing`.
    used : int
        Columns that are used; `columns` + 1 when the charts do not fit.
    """
    extents = charts.extents()
    positions, turns = np.zeros((len(charts), 2), np.int32), np.zeros(len(charts), np.int32)
    if not len(charts):
        return positions, turns, 0
    if charts.area > rows * columns:
        return positions, turns, columns + 1
    order = np.lexsort((np.arange(len(charts)), -extents.max(axis=1), -extents.min(axis=1)))
    free = _all_free(int(extents.max()).bit_length(), columns, rows)
    squares = np.concatenate([np.minimum(squares[:, :1], _SQUARES - 1), squares[:, 1:]], axis=1)
    place = free[: int(squares[:, 0].max()) + 1].copy()
    for power, level in enumerate(place):
        level[max(columns - (1 << power) + 1, 0) :] = 0
    alive = place.any(axis=2)
    both = join(charts, other)
    shapes = both.columns, both.runs, both.low, both.high
    kinds = np.zeros(len(charts), np.int32)
    used = _place(
        *shapes, extents, squares, order, directions(TURNS), rows, free, place, alive, positions, kinds
    )
    return positions, TURNS[kinds], int(used)


def _all_free(levels: int, columns: int, rows: int) -> NDArray[np.uint64]:
    """Bits of where runs of 1, 2, 4, ... rows may begin: by power of two, column, and word of 64 rows.

    The words' ends are beyond all rows that anything asks for.
    """
    bits = np.zeros((levels, rows // _WORD + 3, _WORD), np.uint8)
    for power in range(levels):
        bits[power].ravel()[: max(rows - (1 << power) + 1, 0)] = 1
    words = np.packbits(bits, axis=2, bitorder="little").view("<u8")[..., 0]
    return np.repeat(words[:, None].astype(np.uint64), columns, axis=1)


@_compiled
def _place(
    columns: NDArray[np.int64],
    runs: NDArray[np.int64],
    low: Ints,
    high: Ints,
    extents: Ints,
    squares: Ints,
    order: NDArray[np.int64],
    turns: Ints,
    rows: int,
    free: NDArray[np.uint64],
    place: NDArray[np.uint64],
    alive: NDArray[np.bool_],
    positions: Ints,
    kinds: Ints,
) -> int:
    """Place the charts in their order; the columns that they use. `turns` are `directions` to try."""
    end = free.shape[1]
    used = 0
    for index in range(order.shape[0]):
        number = order[index]
        size = squares[number, 0]
        small = max(extents[number, 0], extents[number, 1]) <= SMALL
        best_x, best_y, best = -1, 0, end + 1
        for kind in range(1 if small else turns.shape[0]):
            swap, back, flip = turns[kind, 0], turns[kind, 1], turns[kind, 2]
            wide, tall = extents[number, swap], extents[number, 1 - swap]
            if tall > rows:
                continue
            left, top = squares[number, 1 + swap], squares[number, 2 - swap]
            if back:
                left = wide - left - (1 << size)
            if flip:
                top = tall - top - (1 << size)
            begin = columns[number + swap * extents.shape[0]]
            chart = (begin, wide, tall, back, flip)
            x, y = _leftmost(runs, low, high, chart, rows, free, place, alive, size, left, top, best - wide)
            if x >= 0:
                best_x, best_y, best = x, y, x + wide
                kinds[number] = kind
        if best_x < 0:
            return end + 1  # type: ignore[no-any-return]
        positions[number, 0], positions[number, 1] = best_x, best_y
        used = max(used, best)
        kind = kinds[number]
        swap, back, flip = turns[kind, 0], turns[kind, 1], turns[kind, 2]
        wide, tall = extents[number, swap], extents[number, 1 - swap]
        chart = (columns[number + swap * extents.shape[0]], wide, tall, back, flip)
        _occupy(runs, low, high, chart, best_x, best_y, free, place, alive)
    return used


@_compiled
def _from(words: NDArray[np.uint64], level: int, x: int, row: int) -> np.uint64:
    """The bits of 64 rows from one on."""
    word, shift = row // _WORD, row % _WORD
    bits = words[level, x, word]
    if shift:
        bits = (bits >> np.uint64(shift)) | (words[level, x, word + 1] << np.uint64(_WORD - shift))
    return bits  # type: ignore[no-any-return]


@_compiled
def _leftmost(
    runs: NDArray[np.int64],
    low: Ints,
    high: Ints,
    chart: tuple[int, int, int, int, int],
    rows: int,
    free: NDArray[np.uint64],
    place: NDArray[np.uint64],
    alive: NDArray[np.bool_],
    size: int,
    left: int,
    top: int,
    limit: int,
) -> tuple[int, int]:
    """Column before `limit`, or -1, and row of the leftmost place of a chart, there the lowest.

    `place` tells where squares of ``2 ** size`` blocks find a place, and `alive` in which columns any does;
    the chart's begins at `left` and `top`.
    """
    begin, wide, tall, back, flip = chart
    hit = 0
    zero, one = np.uint64(0), np.uint64(1)
    for x in range(limit):
        if not alive[size, x + left]:
            continue
        for row in range(0, rows - tall + 1, _WORD):
            bits = _from(place, size, x + left, row + top)
            for k in range(wide):
                if bits == zero:
                    break
                # What was in the way last is likely to be again.
                i = hit + k
                if i >= wide:
                    i -= wide
                column = begin + (wide - 1 - i if back else i)
                for n in range(runs[column], runs[column + 1]):
                    start = row + (tall - high[n] if flip else low[n])
                    length = high[n] - low[n]
                    power = 0
                    while 2 << power <= length:
                        power += 1
                    bits &= _from(free, power, x + i, start)
                    if 1 << power < length:
                        bits &= _from(free, power, x + i, start + length - (1 << power))
                    if bits == zero:
                        hit = i
                        break
            if bits != zero:
                y = row
                while bits & one == zero:
                    bits >>= one
                    y += 1
                return x, y
    return -1, 0


@_compiled
def _occupy(
    runs: NDArray[np.int64],
    low: Ints,
    high: Ints,
    chart: tuple[int, int, int, int, int],
    x: int,
    y: int,
    free: NDArray[np.uint64],
    place: NDArray[np.uint64],
    alive: NDArray[np.bool_],
) -> None:
    begin, wide, tall, back, flip = chart
    zero, one = np.uint64(0), np.uint64(1)
    last = (y + tall - 1) // _WORD
    for i in range(wide):
        column = begin + (wide - 1 - i if back else i)
        for n in range(runs[column], runs[column + 1]):
            first = y + (tall - high[n] if flip else low[n])
            for row in range(first, first + high[n] - low[n]):
                free[0, x + i, row // _WORD] &= ~(one << np.uint64(row % _WORD))
        for power in range(1, free.shape[0]):
            half = 1 << (power - 1)
            for word in range(max(y - 2 * half + 1, 0) // _WORD, last + 1):
                free[power, x + i, word] = free[power - 1, x + i, word] & _from(
                    free, power - 1, x + i, word * _WORD + half
                )
    for power in range(place.shape[0]):
        half, reach = (1 << power) // 2, (1 << power) - 1
        for column in range(max(x - reach, 0), x + wide):
            if not alive[power, column]:
                continue
            for word in range(max(y - reach, 0) // _WORD, last + 1):
                if power:
                    at = word * _WORD + half
                    bits = place[power - 1, column, word] & _from(place, power - 1, column, at)
                    bits &= place[power - 1, column + half, word]
                    place[power, column, word] = bits & _from(place, power - 1, column + half, at)
                else:
                    place[power, column, word] = free[power, column, word]
            any_left = False
            for word in range(place.shape[2]):
                if place[power, column, word] != zero:
                    any_left = True
                    break
            alive[power, column] = any_left
