"""Packing of rectangles into a square."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from recon3d.types import Ints

_compiled: Any = numba.njit(nogil=True, cache=True)


def pack(sizes: Ints, width: int) -> tuple[Ints, int]:
    """Pack rectangles into a strip, the highest first, each as low and then as left as it goes.

    The skyline is kept for every column, and a sliding maximum over it (Lemire 2006) finds the
    lowest place of a rectangle in one pass.

    Parameters
    ----------
    sizes : ndarray of int32, shape (N, 2)
        Widths and heights; the widths are at most `width`.
    width : int
        Width of the strip.

    Returns
    -------
    positions : ndarray of int32, shape (N, 2)
        Column and row of each rectangle's first texel.
    height : int
        Height of the strip that is used.
    """
    order = np.lexsort((np.arange(len(sizes)), -sizes[:, 0], -sizes[:, 1]))
    positions, height = _skyline(np.ascontiguousarray(sizes[order], np.int32), width)
    placed = np.empty_like(positions)
    placed[order] = positions
    return placed, int(height)


@_compiled
def _skyline(sizes: Ints, width: int) -> tuple[Ints, int]:
    skyline = np.zeros(width, np.int32)
    # Columns whose heights fall from front to back: the front is the window's maximum.
    window = np.empty(width, np.int32)
    positions = np.zeros((sizes.shape[0], 2), np.int32)
    height = 0
    for n in range(sizes.shape[0]):
        w, h = sizes[n, 0], sizes[n, 1]
        front, back = 0, 0
        best_x, best_y = 0, 2147483647
        for x in range(width):
            while back > front and skyline[window[back - 1]] <= skyline[x]:
                back -= 1
            window[back] = x
            back += 1
            if window[front] <= x - w:
                front += 1
            if x >= w - 1 and skyline[window[front]] < best_y:
                best_y = skyline[window[front]]
                best_x = x - w + 1
        positions[n, 0] = best_x
        positions[n, 1] = best_y
        for x in range(best_x, best_x + w):
            skyline[x] = best_y + h
        height = max(height, best_y + h)
    return positions, height
