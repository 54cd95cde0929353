"""A fine surface, and its normals at places near it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recon3d.kernels import kernel
from recon3d.surface.normals import face_areas, usual_edge
from recon3d.types import Floats, Floats32, Ints, Mesh

#: Side of a cell in usual edges; entries of the cells' table for each face, about.
_CELL, _ENTRIES = 2.0, 2
#: A place's normal may meet the surface this many times further than the nearest point lies: at slopes of up
#: to 75 degrees.
_SLOPE = 4.0

_compiled = kernel(_nrt=False)


@dataclass(frozen=True, eq=False)
class FineSurface:
    """Triangles in a table of cells.

    Parameters
    ----------
    vertices : ndarray of float64, shape (V, 3)
    normals : ndarray of float32, shape (V, 3)
        Unit vectors.
    faces : ndarray of int32, shape (F, 3)
    cell : float
        Side of a cell.
    starts : ndarray of int64, shape (M + 1,)
        First of each entry's faces in `items`; M is a power of two. Several cells may have the same
        entry: see `_entry`.
    items : ndarray of int32, shape (N,)
        The faces that come close to the cells of an entry.
    """

    vertices: Floats
    normals: Floats32
    faces: Ints
    cell: float
    starts: NDArray[np.int64]
    items: Ints

    @classmethod
    def of(cls, mesh: Mesh, normals: Floats32) -> FineSurface:
        """Make the table.

        Parameters
        ----------
        mesh : Mesh
        normals : ndarray of float32, shape (V, 3)
            Of its vertices.

        Returns
        -------
        FineSurface
        """
        cell = _CELL * usual_edge(face_areas(mesh.vertices, mesh.faces))
        entries = 1 << max(4, math.ceil(math.log2(_ENTRIES * max(len(mesh.faces), 1))))
        starts = np.zeros(entries + 1, np.int64)
        _list(mesh.vertices, mesh.faces, cell, starts, np.empty(0, np.int32), True)
        np.cumsum(starts, out=starts)
        items = np.empty(starts[-1], np.int32)
        ends = starts[:-1].copy()
        _list(mesh.vertices, mesh.faces, cell, ends, items, False)
        return cls(mesh.vertices, normals, mesh.faces, cell, starts, items)


@_compiled
def _sides(vertices: Floats, a: int, b: int, c: int) -> tuple[float, float, float, float, float, float]:
    """Vectors from a triangle's first corner to the others."""
    ax, ay, az = vertices[a, 0], vertices[a, 1], vertices[a, 2]
    return (
        vertices[b, 0] - ax,
        vertices[b, 1] - ay,
        vertices[b, 2] - az,
        vertices[c, 0] - ax,
        vertices[c, 1] - ay,
        vertices[c, 2] - az,
    )


@_compiled
def _entry(x: int, y: int, z: int, entries: int) -> int:
    """Entry of a cell: cells far apart may share it."""
    return ((x * 73856093) ^ (y * 19349663) ^ (z * 83492791)) & (entries - 1)


@_compiled
def _list(
    vertices: Floats, faces: Ints, cell: float, ends: NDArray[np.int64], items: Ints, count: bool
) -> None:
    """Count the faces of each entry, in the next one's place; or write them, from `ends` on."""
    entries = ends.shape[0] - 1 if count else ends.shape[0]
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ux, uy, uz, vx, vy, vz = _sides(vertices, a, b, c)
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        # Half of a cell's extent along the face's normal.
        extent = 0.5 * cell * (abs(nx) + abs(ny) + abs(nz)) * (1.0 + 1e-9)
        x0 = math.floor(min(vertices[a, 0], vertices[b, 0], vertices[c, 0]) / cell)
        x1 = math.floor(max(vertices[a, 0], vertices[b, 0], vertices[c, 0]) / cell)
        y0 = math.floor(min(vertices[a, 1], vertices[b, 1], vertices[c, 1]) / cell)
        y1 = math.floor(max(vertices[a, 1], vertices[b, 1], vertices[c, 1]) / cell)
        z0 = math.floor(min(vertices[a, 2], vertices[b, 2], vertices[c, 2]) / cell)
        z1 = math.floor(max(vertices[a, 2], vertices[b, 2], vertices[c, 2]) / cell)
        for x in range(x0, x1 + 1):
            for y in range(y0, y1 + 1):
                for z in range(z0, z1 + 1):
                    away = (
                        nx * ((x + 0.5) * cell - vertices[a, 0])
                        + ny * ((y + 0.5) * cell - vertices[a, 1])
                        + nz * ((z + 0.5) * cell - vertices[a, 2])
                    )
                    if abs(away) > extent:
                        continue
                    entry = _entry(x, y, z, entries)
                    if count:
                        ends[entry + 1] += 1
                    else:
                        items[ends[entry]] = f
                        ends[entry] += 1


@_compiled
def closest_weights(
    vertices: Floats, a: int, b: int, c: int, px: float, py: float, pz: float, weights: Floats
) -> float:
    """Find the point of a triangle that is nearest to a place (Ericson 2005, section 5.1.5).

    Parameters
    ----------
    vertices : ndarray of float64, shape (V, 3)
    a, b, c : int
        The triangle's corners.
    px, py, pz : float
        The place.
    weights : ndarray of float64, shape (3,)
        Written: the point's barycentric weights.

    Returns
    -------
    float
        Squared distance.
    """
    ux, uy, uz, vx, vy, vz = _sides(vertices, a, b, c)
    x, y, z = px - vertices[a, 0], py - vertices[a, 1], pz - vertices[a, 2]
    d1, d2 = ux * x + uy * y + uz * z, vx * x + vy * y + vz * z
    uu, uv, vv = ux * ux + uy * uy + uz * uz, ux * vx + uy * vy + uz * vz, vx * vx + vy * vy + vz * vz
    # Seen from the other corners.
    d3, d4, d5, d6 = d1 - uu, d2 - uv, d1 - uv, d2 - vv
    second, third = 0.0, 0.0
    vc, vb, va = d1 * d4 - d3 * d2, d5 * d2 - d1 * d6, d3 * d6 - d5 * d4
    if d1 <= 0.0 and d2 <= 0.0:
        pass
    elif d3 >= 0.0 and d4 <= d3:
        second = 1.0
    elif vc <= 0.0 and d1 >= 0.0 and d3 <= 0.0:
        second = d1 / (d1 - d3)
    elif d6 >= 0.0 and d5 <= d6:
        third = 1.0
    elif vb <= 0.0 and d2 >= 0.0 and d6 <= 0.0:
        third = d2 / (d2 - d6)
    elif va <= 0.0 and d4 - d3 >= 0.0 and d5 - d6 >= 0.0:
        third = (d4 - d3) / ((d4 - d3) + (d5 - d6))
        second = 1.0 - third
    else:
        whole = va + vb + vc
        second, third = vb / whole, vc / whole
    weights[0], weights[1], weights[2] = 1.0 - second - third, second, third
    ox, oy, oz = x - second * ux - third * vx, y - second * uy - third * vy, z - second * uz - third * vz
    return ox * ox + oy * oy + oz * oz  # type: ignore[no-any-return]


@_compiled
def _meeting(
    vertices: Floats,
    a: int,
    b: int,
    c: int,
    px: float,
    py: float,
    pz: float,
    nx: float,
    ny: float,
    nz: float,
    weights: Floats,
) -> float:
    """Where a line meets a triangle, from `p` in lengths of `n`; infinity where it does not.

    `weights` are written where it does (Möller and Trumbore 1997).
    """
    ux, uy, uz, vx, vy, vz = _sides(vertices, a, b, c)
    x, y, z = px - vertices[a, 0], py - vertices[a, 1], pz - vertices[a, 2]
    hx, hy, hz = ny * vz - nz * vy, nz * vx - nx * vz, nx * vy - ny * vx
    det = ux * hx + uy * hy + uz * hz
    qx, qy, qz = y * uz - z * uy, z * ux - x * uz, x * uy - y * ux
    second = (x * hx + y * hy + z * hz) / det
    third = (nx * qx + ny * qy + nz * qz) / det
    # A line along the triangle gives NaN.
    if not (second >= -1e-9 and third >= -1e-9 and second + third <= 1.0 + 1e-9):
        return np.inf
    weights[0], weights[1], weights[2] = 1.0 - second - third, second, third
    return (vx * qx + vy * qy + vz * qz) / det  # type: ignore[no-any-return]


@_compiled
def _looks_along(vertices: Floats, a: int, b: int, c: int, nx: float, ny: float, nz: float) -> bool:
    """Tell whether a triangle shows its outside to who looks against a direction."""
    ux, uy, uz, vx, vy, vz = _sides(vertices, a, b, c)
    along: float = (uy * vz - uz * vy) * nx + (uz * vx - ux * vz) * ny + (ux * vy - uy * vx) * nz
    return along > 0.0


@_compiled
def _mix(normals: Floats32, a: int, b: int, c: int, weights: Floats, out: Floats, row: int) -> None:
    """Interpolate normals; not to length 1."""
    for axis in range(3):
        out[row, axis] = (
            weights[0] * normals[a, axis] + weights[1] * normals[b, axis] + weights[2] * normals[c, axis]
        )


@_compiled
def look_up(
    vertices: Floats,
    normals: Floats32,
    faces: Ints,
    cell: float,
    starts: NDArray[np.int64],
    items: Ints,
    px: float,
    py: float,
    pz: float,
    nx: float,
    ny: float,
    nz: float,
    reach: float,
    weights: Floats,
    found: Floats,
) -> int:
    """Find the normal of a fine surface where the normal of a place nearby meets it.

    Where it meets none, or only far away, the nearest point counts. Faces that look the other way do not.

    Parameters
    ----------
    vertices : ndarray of float64, shape (V, 3)
    normals : ndarray of float32, shape (V, 3)
    faces : ndarray of int32, shape (F, 3)
    cell : float
    starts : ndarray of int64, shape (M + 1,)
    items : ndarray of int32, shape (N,)
        These are a `FineSurface`.
    px, py, pz, nx, ny, nz : float
        A place and its unit normal.
    reach : float
        What is further away does not count.
    weights : ndarray of float64, shape (3,)
        Scratch.
    found : ndarray of float64, shape (2, 3)
        Written.

    Returns
    -------
    int
        Row of `found` that is the normal, not of length 1; -1 where the surface is not near.
    """
    entries = starts.shape[0] - 1
    cx, cy, cz = math.floor(px / cell), math.floor(py / cell), math.floor(pz / cell)
    # From the place to the nearest side of its cell.
    inner = min(
        px - cx * cell,
        (cx + 1) * cell - px,
        py - cy * cell,
        (cy + 1) * cell - py,
        pz - cz * cell,
        (cz + 1) * cell - pz,
    )
    nearest, met, limit = np.inf, np.inf, reach
    ring = 0
    while ring == 0 or inner + (ring - 1) * cell <= limit:
        for x in range(cx - ring, cx + ring + 1):
            away_x = max(x * cell - px, px - (x + 1) * cell, 0.0)
            for y in range(cy - ring, cy + ring + 1):
                away_y = max(y * cell - py, py - (y + 1) * cell, 0.0)
                for z in range(cz - ring, cz + ring + 1):
                    if max(abs(x - cx), abs(y - cy), abs(z - cz)) < ring:
                        continue
                    away_z = max(z * cell - pz, pz - (z + 1) * cell, 0.0)
                    if away_x * away_x + away_y * away_y + away_z * away_z > limit * limit:
                        continue
                    entry = _entry(x, y, z, entries)
                    for index in range(starts[entry], starts[entry + 1]):
                        f = items[index]
                        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
                        away = math.sqrt(closest_weights(vertices, a, b, c, px, py, pz, weights))
                        if away > limit or not _looks_along(vertices, a, b, c, nx, ny, nz):
                            continue
                        if away < nearest:
                            nearest = away
                            _mix(normals, a, b, c, weights, found, 0)
                        away = abs(_meeting(vertices, a, b, c, px, py, pz, nx, ny, nz, weights))
                        if away < met:
                            met = away
                            _mix(normals, a, b, c, weights, found, 1)
                        # Neither a nearer point nor a nearer meeting lies beyond.
                        limit = min(reach, _SLOPE * nearest, met)
        ring += 1
    if nearest > reach:
        return -1
    return 1 if met <= min(reach, _SLOPE * nearest) else 0
