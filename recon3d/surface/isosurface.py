"""Triangles where a field on blocks changes its sign: marching cubes.

The table of cases is computed. Where the four corners of a cell's side alternate, the positive ones are
kept apart, on both sides of it alike, so that the surface is a manifold [1]_.

References
----------
.. [1] Montani, Scateni and Scopigno, A modified look-up table for implicit disambiguation of Marching
   Cubes, The Visual Computer 1994.
"""

from __future__ import annotations

import functools
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recon3d.kernels import kernel
from recon3d.surface.blocks import SIDE, Level
from recon3d.threads import ALONE, Threads
from recon3d.types import Floats32, Ints, Mesh

_MOST_TRIANGLES = 12
#: The blocks ahead of one along x, y and z, in the order of `Level.around`.
_AHEAD_X, _AHEAD_Y, _AHEAD_Z = 22, 16, 14
#: Blocks that are worth a thread.
_BLOCKS = 64


def extract(level: Level, values: Floats32, threads: Threads = ALONE) -> Mesh:
    """Extract the surface on which a field is zero.

    Parameters
    ----------
    level : Level
    values : ndarray of float32, shape (B, 8, 8, 8)
        Negative inside.
    threads : Threads, optional

    Returns
    -------
    Mesh
        Faces look towards positive values. It is open where blocks end.
    """
    count, around = len(values), level.around
    crossings = np.zeros(count, np.int32)
    threads.run(count_edges, values, around, crossings, count=count, least=_BLOCKS)
    rows = np.flatnonzero(crossings)
    slots = np.full(count, -1, np.int32)
    slots[rows] = np.arange(len(rows))
    ends = np.cumsum(crossings)
    starts = ends - crossings
    edges = np.full((len(rows), SIDE, SIDE, SIDE, 3), -1, np.int16)
    vertices = np.empty((int(crossings.sum()), 3))
    grid = (values, level.blocks, around, rows, starts)
    threads.run(place_vertices, *grid, edges, vertices, count=len(rows), least=_BLOCKS)
    # The cells of a block have corners in seven others.
    near = np.where(around >= 0, slots[around] >= 0, False)
    cells = np.flatnonzero(near[:, [13, 14, 16, 17, 22, 23, 25, 26]].any(axis=1))
    table = triangles_of_cells()
    triangles, none = np.zeros(len(cells), np.int64), np.zeros(0, np.int64)
    places = (values, around, cells, slots, starts, edges, *table)
    empty = np.empty((0, 3), np.int32)
    least, scratch = _BLOCKS, _connect_scratch
    threads.run(connect, *places, none, triangles, empty, count=len(cells), least=least, scratch=scratch)
    first = np.cumsum(triangles) - triangles
    faces = np.empty((int(triangles.sum()), 3), np.int32)
    threads.run(connect, *places, first, triangles, faces, count=len(cells), least=least, scratch=scratch)
    vertices *= level.cell
    vertices += level.origin
    return Mesh(vertices, faces)


@functools.cache
def triangles_of_cells() -> tuple[Ints, Ints]:
    """Make the table of marching cubes.

    Corner ``4 x + 2 y + z`` of a cell is bit ``4 x + 2 y + z`` of a case, set where the field is
    negative. Edge ``4 axis + 2 u + v`` runs along an axis; u and v are its places along the other two.

    Returns
    -------
    counts : ndarray of int32, shape (256,)
        Triangles of each case.
    corners : ndarray of int32, shape (256, 12, 3)
        The edges on which they have their corners.
    """
    counts, corners = np.zeros(256, np.int32), np.zeros((256, _MOST_TRIANGLES, 3), np.int32)
    for case in range(256):
        following: dict[int, int] = {}
        for axis, side in product(range(3), range(2)):
            following.update(_crossings(case, axis, side))
        found = 0
        while following:
            start, step = following.popitem()
            loop = [start]
            while step != start:
                loop.append(step)
                step = following.pop(step)
            for k in range(1, len(loop) - 1):
                corners[case, found] = loop[0], loop[k], loop[k + 1]
                found += 1
        counts[case] = found
    return counts, corners


def _crossings(case: int, axis: int, side: int) -> dict[int, int]:
    """Segments on one side of a cell: from the edge where each starts to that where it ends."""
    first, second = [other for other in range(3) if other != axis]
    ring = []
    for a, b in ((0, 0), (1, 0), (1, 1), (0, 1)):
        place = [0, 0, 0]
        place[axis], place[first], place[second] = side, a, b
        ring.append(place)
    # Counter-clockwise seen from outside the cell.
    if (side == 1) == (axis == 1):
        ring.reverse()
    inside = [bool(case >> (4 * x + 2 * y + z) & 1) for x, y, z in ring]
    segments = {}
    for k in range(4):
        # From a negative corner to a positive one; then back along the positive ones.
        if inside[k] and not inside[(k + 1) % 4]:
            end = (k + 1) % 4
            while not inside[(end + 1) % 4]:
                end = (end + 1) % 4
            segments[_edge(ring[end], ring[(end + 1) % 4])] = _edge(ring[k], ring[(k + 1) % 4])
    return segments


def _edge(a: list[int], b: list[int]) -> int:
    axis = next(k for k in range(3) if a[k] != b[k])
    u, v = (a[k] for k in range(3) if k != axis)
    return 4 * axis + 2 * u + v


@kernel(_nrt=False)
def count_edges(values: Any, around: Any, counts: Any, start: int, stop: int) -> None:  # pragma: no cover
    """Count the edges on which the field changes its sign.

    Parameters
    ----------
    values : ndarray of float32, shape (B, 8, 8, 8)
    around : ndarray of int32, shape (B, 27)
    counts : ndarray of int32, shape (B,)
        Filled, with those of each block's vertices.
    start, stop : int
        Blocks to look at.
    """
    for b in range(start, stop):
        count = 0
        for i in range(8):
            for j in range(8):
                for k in range(8):
                    here = values[b, i, j, k] < 0
                    for axis in range(3):
                        x, y, z = i + (axis == 0), j + (axis == 1), k + (axis == 2)
                        other: Any = b
                        if max(x, y, z) == 8:
                            ahead = _AHEAD_X if axis == 0 else (_AHEAD_Y if axis == 1 else _AHEAD_Z)
                            other = np.int64(around[b, ahead])
                        if other >= 0:
                            count += (values[other, x & 7, y & 7, z & 7] < 0) != here
        counts[b] = count


@kernel(_nrt=False)
def place_vertices(
    values: Any,
    blocks: Any,
    around: Any,
    rows: Any,
    starts: Any,
    edges: Any,
    vertices: Any,
    start: int,
    stop: int,
) -> None:  # pragma: no cover
    """Find where the field is zero on edges.

    Parameters
    ----------
    values : ndarray of float32, shape (B, 8, 8, 8)
    blocks, around : ndarray of int32, shapes (B, 3) and (B, 27)
        See `Level`.
    rows : ndarray of int64, shape (R,)
        Blocks with such edges.
    starts : ndarray of int64, shape (B,)
        Number of each block's first vertex.
    edges : ndarray of int16, shape (R, 8, 8, 8, 3)
        Filled with the vertices' numbers within their blocks.
    vertices : ndarray of float64, shape (E, 3)
        Filled, in cells.
    start, stop : int
        Of `rows`.
    """
    for row in range(start, stop):
        b = rows[row]
        count = 0
        for i in range(8):
            for j in range(8):
                for k in range(8):
                    begin = values[b, i, j, k]
                    for axis in range(3):
                        x, y, z = i + (axis == 0), j + (axis == 1), k + (axis == 2)
                        other: Any = b
                        if max(x, y, z) == 8:
                            ahead = _AHEAD_X if axis == 0 else (_AHEAD_Y if axis == 1 else _AHEAD_Z)
                            other = np.int64(around[b, ahead])
                        if other < 0:
                            continue
                        end = values[other, x & 7, y & 7, z & 7]
                        if (begin < 0) == (end < 0):
                            continue
                        # Not in a corner, where triangles would have no area.
                        part = min(max(begin / (begin - end), 0.02), 0.98)
                        vertex = starts[b] + count
                        vertices[vertex, 0] = 8 * blocks[b, 0] + i
                        vertices[vertex, 1] = 8 * blocks[b, 1] + j
                        vertices[vertex, 2] = 8 * blocks[b, 2] + k
                        vertices[vertex, axis] += part
                        edges[row, i, j, k, axis] = count
                        count += 1


def _connect_scratch() -> tuple[NDArray[np.uint8], ...]:
    return (np.empty((9, 9, 9), np.uint8),)


@kernel(_nrt=False)
def connect(
    values: Any,
    around: Any,
    cells: Any,
    slots: Any,
    starts: Any,
    edges: Any,
    counts: Any,
    corners: Any,
    first: Any,
    triangles: Any,
    faces: Any,
    side: Any,
    start: int,
    stop: int,
) -> None:  # pragma: no cover
    """Make the triangles of all cells whose corners are stored.

    Parameters
    ----------
    values : ndarray of float32, shape (B, 8, 8, 8)
    around : ndarray of int32, shape (B, 27)
    cells : ndarray of int64, shape (C,)
        Blocks whose cells may have triangles.
    slots : ndarray of int32, shape (B,)
        Each block's row in `edges`.
    starts : ndarray of int64, shape (B,)
        Number of each block's first vertex.
    edges : ndarray of int16, shape (R, 8, 8, 8, 3)
    counts, corners : ndarray of int32, shapes (256,) and (256, 12, 3)
        See `triangles_of_cells`.
    first : ndarray of int64, shape (C,)
        Where each block's triangles go.
    triangles : ndarray of int64, shape (C,)
        Filled with their numbers.
    faces : ndarray of int32, shape (F, 3)
        Filled; of length 0 only to count.
    side : ndarray of uint8, shape (9, 9, 9)
        For a part alone; filled: at each vertex 0 outside, 1 inside, 2 not stored.
    start, stop : int
        Of `cells`.
    """
    for row in range(start, stop):
        b = cells[row]
        for x in range(9):
            for y in range(9):
                for z in range(9):
                    source = around[b, ((x >> 3) + 1) * 9 + ((y >> 3) + 1) * 3 + (z >> 3) + 1]
                    side[x, y, z] = 2 if source < 0 else values[source, x & 7, y & 7, z & 7] < 0
        count = 0
        for i in range(8):
            for j in range(8):
                for k in range(8):
                    case, whole = 0, True
                    for corner in range(8):
                        at = side[i + (corner >> 2), j + ((corner >> 1) & 1), k + (corner & 1)]
                        whole &= at < 2
                        case |= (at & 1) << corner
                    if not whole:
                        continue
                    if len(faces):
                        for triangle in range(counts[case]):
                            for corner in range(3):
                                edge = corners[case, triangle, corner]
                                axis, u, v = edge >> 2, (edge >> 1) & 1, edge & 1
                                x = i + (0 if axis == 0 else u)
                                y = j + (u if axis == 0 else (0 if axis == 1 else v))
                                z = k + (0 if axis == 2 else v)
                                source = around[b, ((x >> 3) + 1) * 9 + ((y >> 3) + 1) * 3 + (z >> 3) + 1]
                                number = edges[slots[source], x & 7, y & 7, z & 7, axis]
                                faces[first[row] + count + triangle, corner] = starts[source] + number
                    count += counts[case]
        triangles[row] = count
