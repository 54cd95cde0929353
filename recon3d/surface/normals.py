"""Normals, areas and centres of a mesh's faces, and normals of its vertices."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from recon3d.kernels import kernel
from recon3d.threads import ALONE, Threads
from recon3d.types import Floats, Floats32, Ints, Mesh

#: Faces that are worth a thread.
_LEAST = 10_000
#: The least length that an edge is taken for.
_SHORTEST = 1e-12


def usual_edge(areas: Floats) -> float:
    """Compute the usual length of an edge.

    Parameters
    ----------
    areas : ndarray of float64, shape (F,)
        Of the faces, as `face_geometry` gives them.

    Returns
    -------
    float
        More than 0, so that it can be divided by. Where most faces have no area, that of the others; 1
        where none has one, for want of any measure.
    """
    typical = float(np.median(areas)) if len(areas) else 0.0
    if not typical > 0:
        some = areas[areas > 0]
        typical = float(np.median(some)) if len(some) else 0.5
    return max(float(np.sqrt(2 * typical)), _SHORTEST)


def face_areas(vertices: Floats, faces: Ints, threads: Threads = ALONE) -> Floats:
    """Compute the area of each face.

    Parameters
    ----------
    vertices : ndarray of float64, shape (V, 3)
    faces : ndarray of int32, shape (F, 3)
    threads : Threads, optional

    Returns
    -------
    ndarray of float64, shape (F,)
        In squared units of `vertices`.
    """
    areas = np.empty(len(faces))
    threads.run(_measure_areas, vertices, faces, areas, count=len(faces), least=_LEAST)
    return areas


@kernel(_nrt=False)
def _cross(vertices: Any, faces: Any, f: int) -> tuple[float, float, float]:  # pragma: no cover
    """The cross product of two edges of a face: along its normal, twice its area long."""
    a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
    ux, uy, uz = (
        vertices[b, 0] - vertices[a, 0],
        vertices[b, 1] - vertices[a, 1],
        vertices[b, 2] - vertices[a, 2],
    )
    vx, vy, vz = (
        vertices[c, 0] - vertices[a, 0],
        vertices[c, 1] - vertices[a, 1],
        vertices[c, 2] - vertices[a, 2],
    )
    return uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx


@kernel(_nrt=False)
def _measure_areas(vertices: Any, faces: Any, areas: Any, start: int, stop: int) -> None:  # pragma: no cover
    for f in range(start, stop):
        x, y, z = _cross(vertices, faces, f)
        areas[f] = 0.5 * math.sqrt(x * x + y * y + z * z)


def face_geometry(vertices: Floats, faces: Ints, threads: Threads = ALONE) -> tuple[Floats, Floats, Floats]:
    """Compute unit normals, areas and centres of faces.

    Parameters
    ----------
    vertices : ndarray of float64, shape (V, 3)
    faces : ndarray of int32, shape (F, 3)
    threads : Threads, optional

    Returns
    -------
    normals, areas, centers : ndarray of float64, shapes (F, 3), (F,), (F, 3)
    """
    count = len(faces)
    normals, areas, centers = np.empty((count, 3)), np.empty(count), np.empty((count, 3))
    threads.run(_measure, vertices, faces, normals, areas, centers, count=count, least=_LEAST)
    return normals, areas, centers


@kernel(_nrt=False)
def _measure(
    vertices: Any, faces: Any, normals: Any, areas: Any, centers: Any, start: int, stop: int
) -> None:  # pragma: no cover
    for f in range(start, stop):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        x, y, z = _cross(vertices, faces, f)
        length = math.sqrt(x * x + y * y + z * z)
        areas[f] = 0.5 * length
        normals[f, 0], normals[f, 1], normals[f, 2] = x, y, z
        for axis in range(3):
            centers[f, axis] = (vertices[a, axis] + vertices[b, axis] + vertices[c, axis]) / 3
            normals[f, axis] /= max(length, 1e-300)


def vertex_normals(mesh: Mesh, threads: Threads = ALONE) -> Floats32:
    """Compute unit normals of vertices, from the angles of their faces.

    Parameters
    ----------
    mesh : Mesh
    threads : Threads, optional

    Returns
    -------
    ndarray of float32, shape (V, 3)
    """
    count = len(mesh.vertices)
    sums = np.zeros((count, 3))
    normals = face_geometry(mesh.vertices, mesh.faces, threads)[0]
    # Each part looks at all faces: few parts.
    least = max(_LEAST, -(-count // threads.count))
    threads.run(_add_normals, mesh.vertices, mesh.faces, normals, sums, count=count, least=least)
    return np.asarray(sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12), np.float32)


@kernel(_nrt=False)
def _add_normals(
    vertices: Any, faces: Any, normals: Any, sums: Any, start: int, stop: int
) -> None:  # pragma: no cover
    for f in range(len(faces)):
        for k in range(3):
            v, a, b = faces[f, k], faces[f, (k + 1) % 3], faces[f, (k + 2) % 3]
            if v < start or v >= stop:
                continue
            dot = first = second = 0.0
            for axis in range(3):
                x, y = vertices[a, axis] - vertices[v, axis], vertices[b, axis] - vertices[v, axis]
                dot += x * y
                first += x * x
                second += y * y
            if first > 0 and second > 0:
                angle = math.acos(min(max(dot / math.sqrt(first * second), -1.0), 1.0))
                for axis in range(3):
                    sums[v, axis] += angle * normals[f, axis]
