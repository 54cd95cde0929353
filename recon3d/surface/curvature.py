"""Curvature that depth maps flatten, given back.

A depth is found with a plane through a patch of pixels. On a curved surface the plane lies at the patch's
mean depth: inside of what bulges, outside of what is hollow. Smoothing a surface does the same. So the step
from the surface to a smoothed one, taken the other way, undoes it to the first order.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from recon3d.kernels import kernel
from recon3d.surface.connectivity import border_vertices, faces_around_vertices, vertices_around_vertices
from recon3d.surface.normals import vertex_normals
from recon3d.threads import ALONE, Threads
from recon3d.types import Floats, Ints, Mesh

#: Standard deviations, in pixels of the depth maps, of the smoothing that takes off noise first, and of the
#: one whose step is undone: that of a patch and of the solver's splines. By the sets with truth.
_NOISE, _PATCH = 3.0, 3.7
#: No vertex moves by more pixels: on parts thinner than a patch the first order is too much.
_FARTHEST = 1.0
#: Share of the way to the mean of its neighbours that a vertex moves in a round of smoothing. The series for
#: many rounds holds for a half.
_STEP = 0.5
#: Rounds that are computed one by one. Their number grows with the square of a pixel over an edge.
_ROUNDS = 400
#: Standard deviations at which the series of many rounds ends: what is left out is below 1e-5.
_REACH = 4.5
#: Vertices that are worth a thread, and faces whose edges are added together: the same for all threads.
_LEAST, _TOGETHER = 20_000, 32_768


def restore_curvature(mesh: Mesh, pixel: float, threads: Threads = ALONE) -> Mesh:
    """Move bulges out and hollows in, by what patches of pixels have flattened.

    Parameters
    ----------
    mesh : Mesh
        With vertices about evenly spaced.
    pixel : float
        Size of a pixel of the depth maps on the surface; 0 changes nothing.
    threads : Threads, optional

    Returns
    -------
    Mesh
        Same faces. Borders stay.
    """
    if not len(mesh.faces) or pixel <= 0:
        return mesh
    lists = faces_around_vertices(mesh.faces, len(mesh.vertices), threads)
    near = vertices_around_vertices(mesh.faces, len(mesh.vertices), threads, lists)
    square = _square_edges(mesh, threads)
    # Variance along an axis that a round adds.
    gain = _STEP * square / 2
    fair = _smoothed(mesh.vertices, near, (_NOISE * pixel) ** 2 / gain, threads)
    step = fair - _smoothed(fair, near, (_PATCH * pixel) ** 2 / gain, threads)
    normals = vertex_normals(mesh, threads)
    length = np.clip(np.einsum("nc,nc->n", step, normals), -_FARTHEST * pixel, _FARTHEST * pixel)
    length[border_vertices(mesh.faces, threads, lists)] = 0
    return replace(mesh, vertices=mesh.vertices + length[:, None] * normals, normals=None)


def _square_edges(mesh: Mesh, threads: Threads) -> float:
    """Mean square of the faces' edges."""
    parts = -(-len(mesh.faces) // _TOGETHER)
    sums = np.empty(parts)
    threads.run(_add_squares, mesh.vertices, mesh.faces, sums, _TOGETHER, count=parts)
    return float(sums.sum()) / (3 * len(mesh.faces))


@kernel(_nrt=False)
def _add_squares(
    vertices: Any, faces: Any, sums: Any, together: int, start: int, stop: int
) -> None:  # pragma: no cover
    for part in range(start, stop):
        total = 0.0
        for f in range(part * together, min((part + 1) * together, len(faces))):
            for k in range(3):
                a, b = faces[f, k], faces[f, k - 1]
                for axis in range(3):
                    total += (vertices[a, axis] - vertices[b, axis]) ** 2
        sums[part] = total


def _smoothed(vertices: Floats, near: tuple[Ints, Ints], rounds: float, threads: Threads) -> Floats:
    count = max(1, round(rounds))
    if count > _ROUNDS:
        return _smoothed_often(vertices, near, count, threads)
    for _ in range(count):
        smooth = vertices.copy()
        _mix(vertices, near, _STEP, 1 - _STEP, smooth, threads)
        vertices = smooth
    return vertices


def _smoothed_often(vertices: Floats, near: tuple[Ints, Ints], rounds: int, threads: Threads) -> Floats:
    """Many rounds as a series, whose terms grow with the root of the rounds.

    With ``y = cos(t)``, ``((1 + y) / 2) ** n`` is ``cos(t / 2) ** (2 * n)``: Chebyshev polynomials of y,
    weighted by a binomial distribution.
    """
    terms = np.arange(int(_REACH * np.sqrt(rounds / 2)))
    weights = np.cumprod(np.append(1.0, (rounds - terms) / (rounds + terms + 1)))
    weights[1:] *= 2
    weights /= weights.sum()  # they sum to one but for the terms left out: nothing shrinks
    before, term = vertices.copy(), np.zeros_like(vertices)
    _mix(before, near, 1.0, 0.0, term, threads)
    total: Floats = weights[0] * before + weights[1] * term
    for weight in weights[2:]:
        _mix(term, near, 2.0, -1.0, before, threads)
        before, term = term, before
        total += weight * term
    return total


def _mix(
    vertices: Floats, near: tuple[Ints, Ints], share: float, own: float, mixed: Floats, threads: Threads
) -> None:
    """Change `mixed` to `own` times itself and `share` times the means of the vertices' neighbours."""
    threads.run(_mix_means, vertices, *near, share, own, mixed, count=len(vertices), least=_LEAST)


@kernel(_nrt=False)
def _mix_means(
    vertices: Any, starts: Any, near: Any, share: float, own: float, mixed: Any, start: int, stop: int
) -> None:  # pragma: no cover
    for v in range(start, stop):
        x = y = z = 0.0
        for k in range(starts[v], starts[v + 1]):
            n = near[k]
            x += vertices[n, 0]
            y += vertices[n, 1]
            z += vertices[n, 2]
        part = share / max(starts[v + 1] - starts[v], 1)
        mixed[v, 0] = own * mixed[v, 0] + part * x
        mixed[v, 1] = own * mixed[v, 1] + part * y
        mixed[v, 2] = own * mixed[v, 2] + part * z
