"""Noise taken off a surface, while its edges stay.

Normals of faces are averaged with those of neighbours that are near and point in much the same
direction; then vertices move until the faces agree with them [1]_. A flat wall becomes flat, an edge
stays an edge.

References
----------
.. [1] Zheng, Fu, Au and Tai, Bilateral Normal Filtering for Mesh Denoising, TVCG 2011.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from recon3d.kernels import kernel
from recon3d.surface.connectivity import faces_around_vertices
from recon3d.surface.normals import face_geometry, usual_edge
from recon3d.threads import ALONE, Threads
from recon3d.types import Floats, Floats32, Ints, Mesh

#: Faces and vertices that are worth a thread.
_LEAST = 10_000
#: Columns of what `average_normals` packs.
_NORMAL, _CENTER, _AREA = slice(0, 3), slice(3, 6), 6
#: A measure of noise, and for it the angle and rounds of `Strength`: of the least, and of the most.
_Strengths = tuple[tuple[float, tuple[float, int, int]], tuple[float, tuple[float, int, int]]]
#: For the noise of the points in cells, and for the roughness that a fit to photos has added, in lengths of
#: edges; by the sets with truth.
_STRENGTHS: _Strengths = ((0.1, (12.0, 2, 4)), (0.16, (30.0, 15, 25)))
_FIT_STRENGTHS: _Strengths = ((0.002, (8.0, 2, 4)), (0.0082, (20.0, 15, 25)))
#: Pixels of the depth maps along an edge for which the latter hold: noise of photos goes on from pixel to
#: pixel, over more of shorter edges. And how many times as many rounds these get at most.
_FIT_EDGE, _FIT_TIMES = 3.2, 4.0


@dataclass(frozen=True)
class Strength:
    """How much a surface is smoothed.

    Parameters
    ----------
    angle : float
        Degrees between normals beyond which faces have little influence on each other.
    normal_rounds, vertex_rounds : int
        Times that normals are averaged, and that vertices follow them.
    """

    angle: float
    normal_rounds: int
    vertex_rounds: int


def strength_for(noise: float) -> Strength:
    """Choose how much to smooth: folds are flattened by more than the noise needs.

    Parameters
    ----------
    noise : float
        Of the points, in cells of the grid.

    Returns
    -------
    Strength
    """
    return _strength(noise, _STRENGTHS)


def strength_for_fit(added: float, edge: float) -> Strength | None:
    """Choose how much to smooth what a fit to noisy photos has made rough.

    Parameters
    ----------
    added : float
        What the fit has added to the surface's roughness, in lengths of an edge.
    edge : float
        Usual length of an edge, in pixels of the depth maps.

    Returns
    -------
    Strength or None
        None where it is not rough.
    """
    if added <= _FIT_STRENGTHS[0][0]:
        return None
    return _strength(added, _FIT_STRENGTHS, float(np.clip((_FIT_EDGE / edge) ** 2, 1.0, _FIT_TIMES)))


def _strength(value: float, table: _Strengths, times: float = 1.0) -> Strength:
    (low, least), (high, most) = table
    part = float(np.clip((value - low) / (high - low), 0, 1))
    angle, normals, vertices = (a + part * (b - a) for a, b in zip(least, most, strict=True))
    return Strength(angle, round(times * normals), round(times * vertices))


def smooth_surface(
    mesh: Mesh,
    *,
    strength: Strength,
    farthest: float = np.inf,
    threads: Threads = ALONE,
) -> Mesh:
    """Smooth a mesh, edges excepted.

    Parameters
    ----------
    mesh : Mesh
    strength : Strength
    farthest : float
        No vertex moves further than this.
    threads : Threads, optional

    Returns
    -------
    Mesh
        Same faces.
    """
    if not len(mesh.faces):
        return mesh
    lists = faces_around_vertices(mesh.faces, len(mesh.vertices), threads)
    packed = _packed_faces(mesh, threads)
    wanted = _averaged(mesh.faces, lists, packed, strength.angle, strength.normal_rounds, threads)
    del packed
    vertices = mesh.vertices
    for _ in range(strength.vertex_rounds):
        moved = vertices.copy()
        threads.run(
            follow_normals, vertices, mesh.faces, *lists, wanted, moved, count=len(moved), least=_LEAST
        )
        vertices = moved
    away = vertices - mesh.vertices
    length = np.linalg.norm(away, axis=1, keepdims=True)
    vertices = mesh.vertices + away * np.minimum(1, farthest / np.maximum(length, 1e-300))
    return replace(mesh, vertices=vertices, normals=None)


def average_normals(
    faces: Ints,
    lists: tuple[Ints, Ints],
    normals: Floats,
    areas: Floats,
    centers: Floats,
    reach: float,
    angle: float,
    rounds: int,
    threads: Threads = ALONE,
) -> Floats32:
    """Average normals over the faces that share a vertex, several times, bilaterally.

    Parameters
    ----------
    faces : ndarray of int32, shape (F, 3)
    lists : tuple
        Two arrays, as `faces_around_vertices` gives them.
    normals, areas, centers : ndarray of float64, shapes (F, 3), (F,), (F, 3)
        A face weighs as much as its area.
    reach : float
        Distance between centres at which the weight is down to exp(-1/2).
    angle : float
        Degrees between normals at which it is.
    rounds : int
    threads : Threads, optional

    Returns
    -------
    ndarray of float32, shape (F, 3)
    """
    return _averaged(faces, lists, _packed(normals, areas, centers, reach), angle, rounds, threads)


def _packed_faces(mesh: Mesh, threads: Threads) -> Floats32:
    normals, areas, centers = face_geometry(mesh.vertices, mesh.faces, threads)
    return _packed(normals, areas, centers, 2 * usual_edge(areas))


def _packed(normals: Floats, areas: Floats, centers: Floats, reach: float) -> Floats32:
    """What belongs to a face side by side, in units in which its square cannot overflow."""
    packed = np.zeros((len(areas), 8), np.float32)
    if len(areas):
        packed[:, _NORMAL] = normals
        np.subtract(centers, centers.mean(axis=0), out=packed[:, _CENTER], casting="same_kind")
        packed[:, _CENTER] /= max(reach, 1e-30)
        np.divide(areas, max(float(areas.max()), 1e-300), out=packed[:, _AREA], casting="same_kind")
    return packed


def _averaged(
    faces: Ints, lists: tuple[Ints, Ints], packed: Floats32, angle: float, rounds: int, threads: Threads
) -> Floats32:
    alike = np.float32(1 / (2 * np.sin(np.radians(angle) / 2)) ** 2)
    result = packed.copy()
    for _ in range(rounds):
        threads.run(_average_normals, faces, *lists, packed, alike, result, count=len(faces), least=_LEAST)
        packed, result = result, packed
    return packed[:, _NORMAL].copy()


@kernel(_nrt=False)
def _average_normals(
    faces: Any, starts: Any, around: Any, packed: Any, alike: Any, result: Any, start: int, stop: int
) -> None:  # pragma: no cover
    one, end, least = np.float32(1), np.float32(32), np.float32(1e-12)
    for f in range(start, stop):
        x = y = z = np.float32(0)
        for corner in range(3):
            v = faces[f, corner]
            for k in range(starts[v], starts[v + 1]):
                g = around[k]
                far = apart = np.float32(0)
                for axis in range(3):
                    turn, way = packed[g, axis] - packed[f, axis], packed[g, axis + 3] - packed[f, axis + 3]
                    apart += turn * turn
                    far += way * way
                # exp(-t / 2) as (1 - t / 32) ** 16, which costs a quarter and ends.
                weight = one - (far + alike * apart) / end
                if weight > 0:
                    weight *= weight
                    weight *= weight
                    weight *= weight
                    weight *= weight
                    weight *= packed[g, _AREA]
                    x += weight * packed[g, 0]
                    y += weight * packed[g, 1]
                    z += weight * packed[g, 2]
        length = np.float32(math.sqrt(x * x + y * y + z * z))
        if length > least * packed[f, _AREA]:
            result[f, 0], result[f, 1], result[f, 2] = x / length, y / length, z / length
        else:
            result[f, 0], result[f, 1], result[f, 2] = packed[f, 0], packed[f, 1], packed[f, 2]


@kernel(_nrt=False)
def follow_normals(
    vertices: Any,
    faces: Any,
    starts: Any,
    around: Any,
    normals: Any,
    result: Any,
    start: int,
    stop: int,
) -> None:  # pragma: no cover
    """Move each vertex to the mean of its projections on the planes of its faces.

    Parameters
    ----------
    vertices : ndarray of float64, shape (V, 3)
    faces : ndarray of int32, shape (F, 3)
    starts, around : ndarray of int32, shapes (V + 1,) and (3 F,)
        See `faces_around_vertices`.
    normals : ndarray of float32 or float64, shape (F, 3)
        Wanted ones. The planes go through the faces' centres.
    result : ndarray of float64, shape (V, 3)
        Filled, but for vertices without faces.
    start, stop : int
        Vertices to move.
    """
    for v in range(start, stop):
        count = starts[v + 1] - starts[v]
        if not count:
            continue
        x = y = z = 0.0
        for k in range(starts[v], starts[v + 1]):
            f = around[k]
            a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
            offset = 0.0
            for axis in range(3):
                center = (vertices[a, axis] + vertices[b, axis] + vertices[c, axis]) / 3
                offset += normals[f, axis] * (center - vertices[v, axis])
            x += normals[f, 0] * offset
            y += normals[f, 1] * offset
            z += normals[f, 2] * offset
        result[v, 0] = vertices[v, 0] + x / count
        result[v, 1] = vertices[v, 1] + y / count
        result[v, 2] = vertices[v, 2] + z / count
