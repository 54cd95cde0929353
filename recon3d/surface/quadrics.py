"""Squared distances from the planes of faces: what joining two vertices of a mesh costs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from recon3d.kernels import kernel
from recon3d.surface.connectivity import Mask, edge_counts, faces_around_vertices
from recon3d.types import Floats, Ints

#: Weight of short edges and places near their middles, against that of planes.
_EVEN = 1e-4


def quadrics_of(vertices: Floats, faces: Ints, locked: Mask, border: float) -> Floats:
    """Sum the squared distances from the planes of the faces at each vertex, weighted by area.

    Parameters
    ----------
    vertices : ndarray of float64, shape (V, 3)
    faces : ndarray of int32, shape (F, 3)
    locked : ndarray of bool, shape (V,)
        Edges between these are no borders.
    border : float
        Weight of the planes that stand upright on borders.

    Returns
    -------
    ndarray of float64, shape (V, 10)
        The matrix's upper half row by row, the vector, the constant.
    """
    quadrics = np.zeros((len(vertices), 10))
    counts = edge_counts(faces, faces_around_vertices(faces, len(vertices)))
    _add_planes(vertices, faces, counts, locked, border, quadrics, np.empty(3), np.empty(3))
    return quadrics


@kernel(_nrt=False)
def _add_planes(
    vertices: Any,
    faces: Any,
    counts: Any,
    locked: Any,
    border: float,
    quadrics: Any,
    normal: Any,
    across: Any,
) -> None:  # pragma: no cover
    for f in range(len(faces)):
        double = _normal(vertices, faces[f, 0], faces[f, 1], faces[f, 2], normal)
        if double <= 0:
            continue
        for k in range(3):
            _add_plane(quadrics, faces[f, k], normal, vertices, faces[f, 0], 0.5 * double)
        for k in range(3):
            start, end = faces[f, k], faces[f, (k + 1) % 3]
            if counts[f, k] > 1 or (locked[start] and locked[end]):
                continue
            for axis in range(3):
                i, j = (axis + 1) % 3, (axis + 2) % 3
                across[axis] = (vertices[end, i] - vertices[start, i]) * normal[j] - (
                    vertices[end, j] - vertices[start, j]
                ) * normal[i]
            length = math.sqrt(across[0] ** 2 + across[1] ** 2 + across[2] ** 2)
            if length > 0:
                for axis in range(3):
                    across[axis] /= length
                _add_plane(quadrics, start, across, vertices, start, 0.5 * double * border)
                _add_plane(quadrics, end, across, vertices, start, 0.5 * double * border)


@kernel(_nrt=False)
def _normal(vertices: Any, a: int, b: int, c: int, normal: Any) -> Any:  # pragma: no cover
    """Unit normal of a face; twice its area."""
    for axis in range(3):
        i, j = (axis + 1) % 3, (axis + 2) % 3
        normal[axis] = (vertices[b, i] - vertices[a, i]) * (vertices[c, j] - vertices[a, j]) - (
            vertices[b, j] - vertices[a, j]
        ) * (vertices[c, i] - vertices[a, i])
    length = math.sqrt(normal[0] ** 2 + normal[1] ** 2 + normal[2] ** 2)
    if length > 0:
        for axis in range(3):
            normal[axis] /= length
    return length


@kernel(_nrt=False)
def _add_plane(
    quadrics: Any, v: int, normal: Any, vertices: Any, point: int, weight: float
) -> None:  # pragma: no cover
    x, y, z = normal[0], normal[1], normal[2]
    d = -(x * vertices[point, 0] + y * vertices[point, 1] + z * vertices[point, 2])
    quadrics[v, 0] += weight * x * x
    quadrics[v, 1] += weight * x * y
    quadrics[v, 2] += weight * x * z
    quadrics[v, 3] += weight * y * y
    quadrics[v, 4] += weight * y * z
    quadrics[v, 5] += weight * z * z
    quadrics[v, 6] += weight * x * d
    quadrics[v, 7] += weight * y * d
    quadrics[v, 8] += weight * z * d
    quadrics[v, 9] += weight * d * d


@kernel(_nrt=False)
def weight_of(quadrics: Any, v: int) -> Any:  # pragma: no cover
    """Compute the area that a vertex' quadric stands for.

    Parameters
    ----------
    quadrics : ndarray of float64, shape (V, 10)
    v : int
        The vertex.

    Returns
    -------
    float
    """
    return quadrics[v, 0] + quadrics[v, 3] + quadrics[v, 5]


@kernel(_nrt=False)
def join_cost(vertices: Any, quadrics: Any, v: int, u: int, spot: Any) -> Any:  # pragma: no cover
    """Compute what joining two vertices costs, and where.

    Parameters
    ----------
    vertices : ndarray of float64, shape (V, 3)
    quadrics : ndarray of float64, shape (V, 10)
    v, u : int
        The vertices.
    spot : ndarray of float64, shape (3,)
        Filled: the place where it costs least.

    Returns
    -------
    float
    """
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
