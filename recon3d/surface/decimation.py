"""Compiled loops that take triangles off a mesh; `recon3d.surface.simplification` says which.

The faces at a vertex are a list of corners: corner ``3 f + k`` is the k-th of face f, and `follow` names
the next one of the same vertex. Each vertex knows the edge whose collapse costs least; a heap orders the
vertices by it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from recon3d.kernels import kernel

#: A vertex with more neighbours stays as it is.
_MOST = 60
#: Weight of short edges and places near their middles, against that of planes.
_EVEN = 1e-4
#: Least cosine between a face's normals before and after, and least height of a face over its length.
_TURN, _THIN = 0.2, 0.02


@kernel()
def quadrics_of(
    vertices: Any, faces: Any, locked: Any, border: float, quadrics: Any
) -> None:  # pragma: no cover
    """Sum the squared distances from the planes of the faces at each vertex, weighted by area.

    Parameters
    ----------
    vertices : ndarray of float64, shape (V, 3)
    faces : ndarray of int32, shape (F, 3)
    locked : ndarray of bool, shape (V,)
        Edges between these are no borders.
    border : float
        Weight of the planes that stand upright on borders.
    quadrics : ndarray of float64, shape (V, 10)
        Added to: the matrix's upper half row by row, the vector, the constant.
    """
    head, follow = _corners(len(vertices), faces)
    normal, across = np.empty(3), np.empty(3)
    for f in range(len(faces)):
        a, b, c = vertices[faces[f, 0]], vertices[faces[f, 1]], vertices[faces[f, 2]]
        double = _normal(a, b, c, normal)
        if double <= 0:
            continue
        for k in range(3):
            _add_plane(quadrics[faces[f, k]], normal, a, 0.5 * double)
        for k in range(3):
            start, end = faces[f, k], faces[f, (k + 1) % 3]
            if (locked[start] and locked[end]) or _shared(start, end, head, follow, faces) > 1:
                continue
            p, q = vertices[start], vertices[end]
            for axis in range(3):
                i, j = (axis + 1) % 3, (axis + 2) % 3
                across[axis] = (q[i] - p[i]) * normal[j] - (q[j] - p[j]) * normal[i]
            length = np.sqrt(across[0] ** 2 + across[1] ** 2 + across[2] ** 2)
            if length > 0:
                across /= length
                _add_plane(quadrics[start], across, p, 0.5 * double * border)
                _add_plane(quadrics[end], across, p, 0.5 * double * border)


@kernel()
def collapse_edges(
    vertices: Any, faces: Any, quadrics: Any, marks: Any, locked: Any, wanted: int
) -> int:  # pragma: no cover
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
    head, follow = _corners(count, faces)
    cost, partner = np.full(count, np.inf), np.full(count, -1, np.int32)
    heap, place = np.arange(count, dtype=np.int32), np.arange(count, dtype=np.int32)
    ring, times = np.empty(_MOST + 2, np.int32), np.empty(_MOST + 2, np.int32)
    other, other_times = np.empty(_MOST + 2, np.int32), np.empty(_MOST + 2, np.int32)
    spot = np.empty(3)
    for v in range(count):
        _choose(v, -1.0, vertices, faces, quadrics, locked, head, follow, ring, times, spot, cost, partner)
    for slot in range(count // 2, -1, -1):
        _sink(slot, heap, place, cost)
    left = len(faces)
    while left > wanted:
        v = int(heap[0])
        if not cost[v] < np.inf:
            break
        u = int(partner[v])
        size = _ring(v, faces, head, follow, ring, times)
        more = _ring(u, faces, head, follow, other, other_times)
        _cost(vertices, quadrics, v, u, spot)
        if not (
            _simple(v, u, ring, times, size, other, other_times, more)
            and _unfolded(v, u, spot, vertices, faces, head, follow)
            and _unfolded(u, v, spot, vertices, faces, head, follow)
        ):
            _choose(
                v, cost[v], vertices, faces, quadrics, locked, head, follow, ring, times, spot, cost, partner
            )
            _sink(int(place[v]), heap, place, cost)
            continue
        here, there = _weight(quadrics[v]), _weight(quadrics[u])
        if here + there > 0:
            marks[v] = (here * marks[v] + there * marks[u]) / (here + there)
        vertices[v] = spot
        quadrics[v] += quadrics[u]
        left -= _join(v, u, faces, head, follow)
        cost[u] = np.inf
        _sink(int(place[u]), heap, place, cost)
        size = _ring(v, faces, head, follow, ring, times)
        for k in range(size):
            n = int(ring[k])
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
                value = _cost(vertices, quadrics, n, v, spot)
                if value < cost[n]:
                    cost[n], partner[n] = value, v
            _rise(int(place[n]), heap, place, cost)
            _sink(int(place[n]), heap, place, cost)
        _choose(v, -1.0, vertices, faces, quadrics, locked, head, follow, ring, times, spot, cost, partner)
        _rise(int(place[v]), heap, place, cost)
        _sink(int(place[v]), heap, place, cost)
    return left


@kernel()
def _corners(count: int, faces: Any) -> Any:  # pragma: no cover
    head, follow = np.full(count, -1, np.int32), np.empty(3 * len(faces), np.int32)
    for corner in range(3 * len(faces) - 1, -1, -1):
        v = faces[corner // 3, corner % 3]
        follow[corner] = head[v]
        head[v] = corner
    return head, follow


@kernel()
def _normal(a: Any, b: Any, c: Any, normal: Any) -> Any:  # pragma: no cover
    """Unit normal of a face; twice its area."""
    for axis in range(3):
        i, j = (axis + 1) % 3, (axis + 2) % 3
        normal[axis] = (b[i] - a[i]) * (c[j] - a[j]) - (b[j] - a[j]) * (c[i] - a[i])
    length = np.sqrt(normal[0] ** 2 + normal[1] ** 2 + normal[2] ** 2)
    if length > 0:
        for axis in range(3):
            normal[axis] /= length
    return length


@kernel()
def _add_plane(quadric: Any, normal: Any, point: Any, weight: float) -> None:  # pragma: no cover
    x, y, z = normal
    d = -(x * point[0] + y * point[1] + z * point[2])
    quadric[0] += weight * x * x
    quadric[1] += weight * x * y
    quadric[2] += weight * x * z
    quadric[3] += weight * y * y
    quadric[4] += weight * y * z
    quadric[5] += weight * z * z
    quadric[6] += weight * x * d
    quadric[7] += weight * y * d
    quadric[8] += weight * z * d
    quadric[9] += weight * d * d


@kernel()
def _weight(quadric: Any) -> Any:  # pragma: no cover
    return quadric[0] + quadric[3] + quadric[5]


@kernel()
def _shared(a: int, b: int, head: Any, follow: Any, faces: Any) -> int:  # pragma: no cover
    """Faces of an edge."""
    count, corner = 0, head[a]
    while corner >= 0:
        f = corner // 3
        if faces[f, 0] == b or faces[f, 1] == b or faces[f, 2] == b:
            count += 1
        corner = follow[corner]
    return count


@kernel()
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


@kernel()
def _cost(vertices: Any, quadrics: Any, v: int, u: int, spot: Any) -> Any:  # pragma: no cover
    """What joining two vertices costs, and where."""
    a, b, c = (
        quadrics[v, 0] + quadrics[u, 0],
        quadrics[v, 1] + quadrics[u, 1],
        quadrics[v, 2] + quadrics[u, 2],
    )
    d, e, f = (
        quadrics[v, 3] + quadrics[u, 3],
        quadrics[v, 4] + quadrics[u, 4],
        quadrics[v, 5] + quadrics[u, 5],
    )
    x, y, z = (
        quadrics[v, 6] + quadrics[u, 6],
        quadrics[v, 7] + quadrics[u, 7],
        quadrics[v, 8] + quadrics[u, 8],
    )
    dx, dy, dz = (
        vertices[v, 0] - vertices[u, 0],
        vertices[v, 1] - vertices[u, 1],
        vertices[v, 2] - vertices[u, 2],
    )
    mx, my, mz = vertices[v, 0] - 0.5 * dx, vertices[v, 1] - 0.5 * dy, vertices[v, 2] - 0.5 * dz
    weight = _EVEN * (a + d + f)
    p, q, r = mx, my, mz
    if weight > 0:
        # The least of the planes' squared distances and a little of that from the middle.
        i, j, k = a + weight, d + weight, f + weight
        gx, gy, gz = weight * mx - x, weight * my - y, weight * mz - z
        m00, m01, m02 = j * k - e * e, c * e - b * k, b * e - c * j
        m11, m12, m22 = i * k - c * c, b * c - i * e, i * j - b * b
        det = i * m00 + b * m01 + c * m02
        if det > 0:
            p = (m00 * gx + m01 * gy + m02 * gz) / det
            q = (m01 * gx + m11 * gy + m12 * gz) / det
            r = (m02 * gx + m12 * gy + m22 * gz) / det
    spot[0], spot[1], spot[2] = p, q, r
    off = a * p * p + d * q * q + f * r * r + 2 * (b * p * q + c * p * r + e * q * r)
    off += 2 * (x * p + y * q + z * r) + quadrics[v, 9] + quadrics[u, 9]
    aside = (p - mx) ** 2 + (q - my) ** 2 + (r - mz) ** 2
    return max(off, 0.0) + weight * (aside + 0.25 * (dx * dx + dy * dy + dz * dz))


@kernel()
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
        n = int(ring[k])
        if not locked[n]:
            value = _cost(vertices, quadrics, v, n, spot)
            if above < value < cost[v]:
                cost[v], partner[v] = value, n


@kernel()
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


@kernel()
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
        if old > 0 and ox * nx + oy * ny + oz * nz < _TURN * np.sqrt(old * new):
            return False
        dx, dy, dz = cx - ax, cy - ay, cz - az
        longest = max(ax * ax + ay * ay + az * az, cx * cx + cy * cy + cz * cz, dx * dx + dy * dy + dz * dz)
        if new < (_THIN * longest) ** 2:
            return False
    return True


@kernel()
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


@kernel()
def _sink(slot: int, heap: Any, place: Any, cost: Any) -> None:  # pragma: no cover
    v = heap[slot]
    while True:
        child = 2 * slot + 1
        if child >= len(heap):
            break
        if child + 1 < len(heap) and cost[heap[child + 1]] < cost[heap[child]]:
            child += 1
        if cost[heap[child]] >= cost[v]:
            break
        heap[slot] = heap[child]
        place[heap[slot]] = slot
        slot = child
    heap[slot], place[v] = v, slot


@kernel()
def _rise(slot: int, heap: Any, place: Any, cost: Any) -> None:  # pragma: no cover
    v = heap[slot]
    while slot > 0:
        parent = (slot - 1) // 2
        if cost[heap[parent]] <= cost[v]:
            break
        heap[slot] = heap[parent]
        place[heap[slot]] = slot
        slot = parent
    heap[slot], place[v] = v, slot


@kernel()
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
