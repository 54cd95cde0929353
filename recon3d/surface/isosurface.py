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

from recon3d.kernels import kernel
from recon3d.surface.blocks import Level
from recon3d.types import Floats32, Ints, Mesh

_MOST_TRIANGLES = 12


def extract(level: Level, values: Floats32) -> Mesh:
    """Extract the surface on which a field is zero.

    Parameters
    ----------
    level : Level
    values : ndarray of float32, shape (B, 8, 8, 8)
        Negative inside.

    Returns
    -------
    Mesh
        Faces look towards positive values. It is open where blocks end.
    """
    edges = np.full((*values.shape, 3), -1, np.int32)
    count = number_edges(values, level.around, edges)
    vertices = np.empty((count, 3))
    place_vertices(values, level.blocks, level.around, edges, vertices)
    counts, corners = triangles_of_cells()
    faces = np.empty(
        (connect(values, level.around, edges, counts, corners, np.empty((0, 3), np.int32)), 3), np.int32
    )
    connect(values, level.around, edges, counts, corners, faces)
    return Mesh(level.origin + level.cell * vertices, faces)


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


@kernel()
def number_edges(values: Any, around: Any, edges: Any) -> int:  # pragma: no cover
    """Give each edge on which the field changes its sign a number.

    Parameters
    ----------
    values : ndarray of float32, shape (B, 8, 8, 8)
    around : ndarray of int32, shape (B, 27)
    edges : ndarray of int32, shape (B, 8, 8, 8, 3)
        Filled, where there is a crossing.

    Returns
    -------
    int
        How many.
    """
    count = 0
    upper = (22, 16, 14)
    for b in range(len(values)):
        for i in range(8):
            for j in range(8):
                for k in range(8):
                    here = values[b, i, j, k] < 0
                    for axis in range(3):
                        x, y, z = i + (axis == 0), j + (axis == 1), k + (axis == 2)
                        other = b if max(x, y, z) < 8 else around[b, upper[axis]]
                        if other >= 0 and (values[other, x & 7, y & 7, z & 7] < 0) != here:
                            edges[b, i, j, k, axis] = count
                            count += 1
    return count


@kernel()
def place_vertices(
    values: Any, blocks: Any, around: Any, edges: Any, vertices: Any
) -> None:  # pragma: no cover
    """Find where the field is zero on numbered edges.

    Parameters
    ----------
    values : ndarray of float32, shape (B, 8, 8, 8)
    blocks, around : ndarray of int32, shapes (B, 3) and (B, 27)
        See `Level`.
    edges : ndarray of int32, shape (B, 8, 8, 8, 3)
    vertices : ndarray of float64, shape (E, 3)
        Filled, in cells.
    """
    upper = (22, 16, 14)
    for b in range(len(values)):
        for i in range(8):
            for j in range(8):
                for k in range(8):
                    for axis in range(3):
                        number = edges[b, i, j, k, axis]
                        if number < 0:
                            continue
                        x, y, z = i + (axis == 0), j + (axis == 1), k + (axis == 2)
                        other = b if max(x, y, z) < 8 else around[b, upper[axis]]
                        start, end = values[b, i, j, k], values[other, x & 7, y & 7, z & 7]
                        # Not in a corner, where triangles would have no area.
                        part = min(max(start / (start - end), 0.02), 0.98)
                        vertices[number, 0] = 8 * blocks[b, 0] + i
                        vertices[number, 1] = 8 * blocks[b, 1] + j
                        vertices[number, 2] = 8 * blocks[b, 2] + k
                        vertices[number, axis] += part


@kernel()
def connect(
    values: Any, around: Any, edges: Any, counts: Any, corners: Any, faces: Any
) -> int:  # pragma: no cover
    """Make the triangles of all cells whose corners are stored.

    Parameters
    ----------
    values : ndarray of float32, shape (B, 8, 8, 8)
    around : ndarray of int32, shape (B, 27)
    edges : ndarray of int32, shape (B, 8, 8, 8, 3)
    counts, corners : ndarray of int32, shapes (256,) and (256, 12, 3)
        See `triangles_of_cells`.
    faces : ndarray of int32, shape (F, 3)
        Filled; of length 0 only to count.

    Returns
    -------
    int
        Number of triangles.
    """
    count = 0
    for b in range(len(values)):
        for i in range(8):
            for j in range(8):
                for k in range(8):
                    case, whole = 0, True
                    for corner in range(8):
                        x, y, z = i + (corner >> 2), j + ((corner >> 1) & 1), k + (corner & 1)
                        source = around[b, ((x >> 3) + 1) * 9 + ((y >> 3) + 1) * 3 + (z >> 3) + 1]
                        if source < 0:
                            whole = False
                            break
                        if values[source, x & 7, y & 7, z & 7] < 0:
                            case |= 1 << corner
                    if not whole:
                        continue
                    for triangle in range(counts[case]):
                        if len(faces):
                            for corner in range(3):
                                edge = corners[case, triangle, corner]
                                axis, u, v = edge >> 2, (edge >> 1) & 1, edge & 1
                                x = i + (0 if axis == 0 else u)
                                y = j + (u if axis == 0 else (0 if axis == 1 else v))
                                z = k + (0 if axis == 2 else v)
                                source = around[b, ((x >> 3) + 1) * 9 + ((y >> 3) + 1) * 3 + (z >> 3) + 1]
                                faces[count, corner] = edges[source, x & 7, y & 7, z & 7, axis]
                        count += 1
    return count
