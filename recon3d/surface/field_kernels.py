"""Compiled loops over the blocks of a grid; `recon3d.surface.poisson` says what they are for.

Arrays of values have shape (B, 8, 8, 8), with a block's vertices in the order x, y, z.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from recon3d.kernels import kernel
from recon3d.types import Floats32


@kernel(_nrt=False)
def cross(values: Any, found: Any, start: int, stop: int) -> None:  # pragma: no cover
    """Tell in which eighths of blocks (with a margin of a vertex) the field changes its sign.

    Parameters
    ----------
    values : ndarray of float32, shape (B, 8, 8, 8)
    found : ndarray of bool, shape (S, 8)
        Filled; x varies slowest.
    start, stop : int
        Blocks to look at.
    """
    for b in range(start, stop):
        for octant in range(8):
            x, y, z = 3 * (octant >> 2), 3 * ((octant >> 1) & 1), 3 * (octant & 1)
            inside = values[b, x, y, z] < 0
            changes = False
            for i in range(x, x + 5):
                for j in range(y, y + 5):
                    for k in range(z, z + 5):
                        changes |= (values[b, i, j, k] < 0) != inside
            found[b, octant] = changes


def refine_scratch() -> tuple[Floats32, ...]:
    """Make what a part of `refine` needs for itself.

    Returns
    -------
    tuple of ndarray
        One of float32, shape (5, 5, 5).
    """
    return (np.empty((5, 5, 5), np.float32),)


@kernel(_nrt=False)
def refine(
    blocks: Any, parents: Any, coarse_around: Any, coarse: Any, fine: Any, part: Any, start: int, stop: int
) -> None:  # pragma: no cover
    """Interpolate values at a finer level's vertices, linearly.

    Parameters
    ----------
    blocks : ndarray of int32, shape (B, 3)
        Places of the finer blocks.
    parents : ndarray of int32, shape (B,)
        The coarser block that holds each.
    coarse_around : ndarray of int32, shape (C, 27)
    coarse : ndarray of float32, shape (C, 8, 8, 8)
    fine : ndarray of float32, shape (B, 8, 8, 8)
        Filled.
    part : ndarray of float32, shape (5, 5, 5)
        See `refine_scratch`.
    start, stop : int
        Finer blocks to fill.
    """
    for b in range(start, stop):
        parent = parents[b]
        if parent < 0:
            for i in range(8):
                for j in range(8):
                    for k in range(8):
                        fine[b, i, j, k] = 0
            continue
        ox, oy, oz = 4 * (blocks[b, 0] & 1), 4 * (blocks[b, 1] & 1), 4 * (blocks[b, 2] & 1)
        for i in range(5):
            for j in range(5):
                for k in range(5):
                    x, y, z = ox + i, oy + j, oz + k
                    source = coarse_around[parent, (((x >> 3) + 1) * 3 + (y >> 3) + 1) * 3 + (z >> 3) + 1]
                    if source >= 0 and source < len(coarse):
                        part[i, j, k] = coarse[source, x & 7, y & 7, z & 7]
                    else:  # nothing is known there: as at the last vertex
                        part[i, j, k] = coarse[parent, min(x, 7), min(y, 7), min(z, 7)]
        for i in range(8):
            for j in range(8):
                for k in range(8):
                    x, y, z = i >> 1, j >> 1, k >> 1
                    u, v, w = x + (i & 1), y + (j & 1), z + (k & 1)
                    fine[b, i, j, k] = 0.125 * (
                        part[x, y, z]
                        + part[x, y, w]
                        + part[x, v, z]
                        + part[x, v, w]
                        + part[u, y, z]
                        + part[u, y, w]
                        + part[u, v, z]
                        + part[u, v, w]
                    )


def relax_scratch() -> tuple[Floats32, ...]:
    """Make what a part of `relax` needs for itself.

    Returns
    -------
    tuple of ndarray
        One of float32, shape (10, 10, 10).
    """
    return (np.empty((10, 10, 10), np.float32),)


@kernel(_nrt=False)
def relax(
    values: Any, right: Any, hold: Any, around: Any, rows: Any, box: Any, start: int, stop: int
) -> None:  # pragma: no cover
    """Gauss-Seidel sweeps of the field's equation over some blocks, in their order.

    Solves ``sum over neighbours (values' - values) - hold values = right``. Beyond the grid the field
    goes on unchanged.

    Parameters
    ----------
    values : ndarray of float32, shape (B, 8, 8, 8)
        Changed in the given blocks.
    right, hold : ndarray of float32, shape (S, 8, 8, 8)
    around : ndarray of int32, shape (B, 27)
    rows : ndarray of int64, shape (N,)
        Solved blocks.
    box : ndarray of float32, shape (10, 10, 10)
        See `relax_scratch`.
    start, stop : int
        Of `rows`.
    """
    for row in range(start, stop):
        b = rows[row]
        for i in range(8):
            for j in range(8):
                for k in range(8):
                    box[i + 1, j + 1, k + 1] = values[b, i, j, k]
        # Beyond the six sides: the neighbours' nearest values, or the block's own where there is none.
        for side in range(2):
            end, inner, outer = 9 * side, 7 * side, 7 * (1 - side)
            x, y, z = around[b, 4 + 18 * side], around[b, 10 + 6 * side], around[b, 12 + 2 * side]
            for i in range(8):
                for j in range(8):
                    box[end, i + 1, j + 1] = values[x, outer, i, j] if x >= 0 else values[b, inner, i, j]
                    box[i + 1, end, j + 1] = values[y, i, outer, j] if y >= 0 else values[b, i, inner, j]
                    box[i + 1, j + 1, end] = values[z, i, j, outer] if z >= 0 else values[b, i, j, inner]
        for _ in range(2):
            for i in range(8):
                for j in range(8):
                    for k in range(8):
                        total = (
                            box[i, j + 1, k + 1]
                            + box[i + 2, j + 1, k + 1]
                            + box[i + 1, j, k + 1]
                            + box[i + 1, j + 2, k + 1]
                            + box[i + 1, j + 1, k]
                            + box[i + 1, j + 1, k + 2]
                        )
                        box[i + 1, j + 1, k + 1] = (total - right[b, i, j, k]) / (
                            np.float32(6) + hold[b, i, j, k]
                        )
        for i in range(8):
            for j in range(8):
                for k in range(8):
                    values[b, i, j, k] = box[i + 1, j + 1, k + 1]


@kernel(_nrt=False)
def find_free(hold: Any, free: Any, start: int, stop: int) -> None:  # pragma: no cover
    """Find the eighths of blocks that no points hold.

    Parameters
    ----------
    hold : ndarray of float32, shape (S, 8, 8, 8)
    free : ndarray of bool, shape (8, B)
        True; made false where points hold one. x varies slowest.
    start, stop : int
        Blocks to look at.
    """
    for b in range(start, stop):
        for i in range(8):
            for j in range(8):
                for k in range(8):
                    if hold[b, i, j, k] != 0:
                        free[(i >> 2) * 4 + (j >> 2) * 2 + (k >> 2), b] = False
