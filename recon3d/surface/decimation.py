"""Compiled loops that take triangles off a mesh; `recon3d.surface.simplification` says which.

The faces at a vertex are a list of corners: corner ``3 f + k`` is the k-th of face f, and `follow` names
the next one of the same vertex. Each vertex knows the edge whose collapse costs least; a heap orders the
vertices by it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recon3d.kernels import kernel
from recon3d.surface.quadrics import join_cost, weight_of
from recon3d.surface.vertex_heap import rise, sink
from recon3d.types import Floats, Floats32, Ints

#: A vertex with more neighbours stays as it is.
_MOST = 60
#: Least cosine between a face's normals before and after, and least height of a face over its length.
_TURN, _THIN = 0.2, 0.02


def collapse_edges(
    vertices: Floats, faces: Ints, quadrics: Floats, marks: Floats32, locked: NDArray[np.bool_], wanted: int
) -> int:
    """Join vertices along edges, the cheapest first.

    Parameters
    ----------
    vertices : ndarray of float64, shape (V, 3)
        Changed.
    faces : ndarray of int32, shape (F, 3)
        Changed; those that are gone have -1.
    quadrics : ndarray of float64, shape (V, 10)
        See `quadrics_of`. Changed.
    marks : ndarray of float32, shape (V,)
        Of joined vertices the mean by area is kept.
    locked : ndarray of bool, shape (V,)
        Vertices that stay as they are.
    wanted : int
        Faces to keep.

    Returns
    -------
    int
        Faces that are left.
    """
    count = len(vertices)
    head, follow = np.full(count, -1, np.int32), np.empty(3 * len(faces), np.int32)
    cost, partner = np.full(count, np.inf), np.full(count, -1, np.int32)
    heap, place = np.arange(count, dtype=np.int32), np.arange(count, dtype=np.int32)
    rings = (np.empty(_MOST + 2, np.int32) for _ in range(4))
    given = (vertices, faces, quadrics, marks, locked, head, follow, cost, partner, heap, place, *rings)
    return int(_collapse(*given, np.empty(3), wanted))


@kernel(_nrt=False)
def _collapse(
    vertices: Any,
    faces: Any,
    quadrics: Any,
    marks: Any,
    locked: Any,
    head: Any,
    follow: Any,
    cost: Any,
    partner: Any,
    heap: Any,
    place: Any,
    ring: Any,
    times: Any,
    other: Any,
    other_times: Any,
    spot: Any,
    wanted: int,
) -> int:  # pragma: no cover
    # Vertices are int64 wherever they are handed on: with int32, too, numba would compile all twice.
    count = len(vertices)
    for corner in range(3 * len(faces) - 1, -1, -1):
        owner = faces[corner // 3, corner % 3]
        follow[corner] = head[owner]
        head[owner] = corner
    for vertex in range(count):
        _choose(
            vertex, -1.0, vertices, faces, quadrics, locked, head, follow, ring, times, spot, cost, partner
        )
    for slot in range(count // 2, -1, -1):
        sink(slot, count, heap, place, cost)
    left = len(faces)
    while left > wanted:
        v = np.int64(heap[0])
        if not cost[v] < np.inf:
            break
        u = np.int64(partner[v])
        size = _ring(v, faces, head, follow, ring, times)
        more = _ring(u, faces, head, follow, other, other_times)
        join_cost(vertices, quadrics, v, u, spot)
        if not (
            _simple(v, u, ring, times, size, other, other_times, more)
            and _unfolded(v, u, spot, vertices, faces, head, follow)
            and _unfolded(u, v, spot, vertices, faces, head, follow)
        ):
            _choose(
                v, cost[v], vertices, faces, quadrics, locked, head, follow, ring, times, spot, cost, partner
            )
            sink(np.int64(place[v]), count, heap, place, cost)
            continue
        here, there = weight_of(quadrics, v), weight_of(quadrics, u)
        if here + there > 0:
            marks[v] = (here * marks[v] + there * marks[u]) / (here + there)
        for axis in range(3):
            vertices[v, axis] = spot[axis]
        for k in range(10):
            quadrics[v, k] += quadrics[u, k]
        left -= _join(v, u, faces, head, follow)
        cost[u] = np.inf
        sink(np.int64(place[u]), count, heap, place, cost)
        size = _ring(v, faces, head, follow, ring, times)
        for k in range(size):
            n = np.int64(ring[k])
            if partner[n] == v or partner[n] == u:
                _choose(
                    n,
                    -1.0,
                    vertices,
                    faces,
                    quadrics,
                    locked,
                    head,
                    follow,
                    other,
                    other_times,
                    spot,
                    cost,
                    partner,
                )
            elif not locked[n]:
                value = join_cost(vertices, quadrics, n, v, spot)
                if value < cost[n]:
                    cost[n], partner[n] = value, v
            rise(np.int64(place[n]), heap, place, cost)
            sink(np.int64(place[n]), count, heap, place, cost)
        _choose(v, -1.0, vertices, faces, quadrics, locked, head, follow, ring, times, spot, cost, partner)
        rise(np.int64(place[v]), heap, place, cost)
        sink(np.int64(place[v]), count, heap, place, cost)
    return left


@kernel(_nrt=False)
def _ring(v: int, faces: Any, head: Any, follow: Any, ring: Any, times: Any) -> int:  # pragma: no cover
    """List a vertex's neighbours, and how many faces each shares with it; forget faces that are gone."""
    size, before, corner = 0, -1, head[v]
    while corner >= 0:
        f, k, after = corner // 3, corner % 3, follow[corner]
        if faces[f, 0] < 0:
            if before < 0:
                head[v] = after
            else:
                follow[before] = after
        else:
            before = corner
            for step in range(1, 3):
                n = faces[f, (k + step) % 3]
                found = 0
                while found < size and ring[found] != n:
                    found += 1
                if found == size:
                    if size > _MOST:
                        return size
                    ring[size], times[size] = n, 0
                    size += 1
                times[found] += 1
        corner = after
    return size


@kernel(_nrt=False)
def _choose(
    v: int,
    above: float,
    vertices: Any,
    faces: Any,
    quadrics: Any,
    locked: Any,
    head: Any,
    follow: Any,
    ring: Any,
    times: Any,
    spot: Any,
    cost: Any,
    partner: Any,
) -> None:  # pragma: no cover
    """Find the cheapest edge of a vertex that costs more than `above`."""
    cost[v], partner[v] = np.inf, -1
    if locked[v]:
        return
    size = _ring(v, faces, head, follow, ring, times)
    if size > _MOST:
        return
    for k in range(size):
        n = np.int64(ring[k])
        if not locked[n]:
            value = join_cost(vertices, quadrics, v, n, spot)
            if above < value < cost[v]:
                cost[v], partner[v] = value, n


@kernel(_nrt=False)
def _simple(
    v: int, u: int, ring: Any, times: Any, size: int, other: Any, other_times: Any, more: int
) -> bool:  # pragma: no cover
    """Tell whether the surface stays a manifold: two ends of an edge share its faces' third corners only."""
    if size > _MOST or more > _MOST:
        return False
    shared, edge = 0, 0
    border, other_border = False, False
    for k in range(size):
        if ring[k] == u:
            edge = times[k]
        border |= times[k] == 1
        for m in range(more):
            shared += ring[k] == other[m]
    for m in range(more):
        other_border |= other_times[m] == 1
    if shared != edge or edge < 1 or edge > 2 or size + more - 2 - edge > _MOST:
        return False
    if edge == 2:
        return not (border and other_border) and size + more - 4 > 2
    return size + more - 3 > 1


@kernel(_nrt=False)
def _unfolded(
    v: int, u: int, spot: Any, vertices: Any, faces: Any, head: Any, follow: Any
) -> bool:  # pragma: no cover
    """Tell whether the faces of v without u keep their side when v moves, and do not become thin."""
    corner = head[v]
    px, py, pz = vertices[v, 0], vertices[v, 1], vertices[v, 2]
    while corner >= 0:
        f, k = corner // 3, corner % 3
        corner = follow[corner]
        m, n = faces[f, (k + 1) % 3], faces[f, (k + 2) % 3]
        if faces[f, 0] < 0 or m == u or n == u:
            continue
        ax, ay, az = (
            vertices[n, 0] - vertices[m, 0],
            vertices[n, 1] - vertices[m, 1],
            vertices[n, 2] - vertices[m, 2],
        )
        bx, by, bz = px - vertices[m, 0], py - vertices[m, 1], pz - vertices[m, 2]
        cx, cy, cz = spot[0] - vertices[m, 0], spot[1] - vertices[m, 1], spot[2] - vertices[m, 2]
        ox, oy, oz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
        nx, ny, nz = ay * cz - az * cy, az * cx - ax * cz, ax * cy - ay * cx
        old, new = ox * ox + oy * oy + oz * oz, nx * nx + ny * ny + nz * nz
        if old > 0 and ox * nx + oy * ny + oz * nz < _TURN * math.sqrt(old * new):
            return False
        dx, dy, dz = cx - ax, cy - ay, cz - az
        longest = max(ax * ax + ay * ay + az * az, cx * cx + cy * cy + cz * cz, dx * dx + dy * dy + dz * dz)
        if new < (_THIN * longest) ** 2:
            return False
    return True


@kernel(_nrt=False)
def _join(v: int, u: int, faces: Any, head: Any, follow: Any) -> int:  # pragma: no cover
    """Give v the faces of u; how many lay between them."""
    gone, corner, last = 0, head[u], -1
    while corner >= 0:
        f, k = corner // 3, corner % 3
        if faces[f, 0] >= 0:
            if faces[f, 0] == v or faces[f, 1] == v or faces[f, 2] == v:
                faces[f, 0] = -1
                gone += 1
            else:
                faces[f, k] = v
        last, corner = corner, follow[corner]
    if last >= 0:
        follow[last] = head[v]
        head[v] = head[u]
        head[u] = -1
    return gone


@kernel(_nrt=False)
def find_shared(faces: Any, parts: Any, owner: Any, shared: Any) -> None:  # pragma: no cover
    """Find the vertices with faces of several parts.

    Parameters
    ----------
    faces : ndarray of int32, shape (F, 3)
    parts : ndarray of int32, shape (F,)
        Part of each face.
    owner : ndarray of int32, shape (V,)
        -1; filled.
    shared : ndarray of bool, shape (V,)
        Filled where True.
    """
    for f in range(len(faces)):
        for k in range(3):
            v = faces[f, k]
            if owner[v] < 0:
                owner[v] = parts[f]
            elif owner[v] != parts[f]:
                shared[v] = True
