"""Curvature that depth maps flatten, given back.

A depth is found with a plane through a patch of pixels. On a curved surface the plane lies at the patch's
mean depth: inside of what bulges, outside of what is hollow. Smoothing a surface does the same. So the step
from the surface to a smoothed one, taken the other way, undoes it to the first order.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.sparse import csr_matrix

from recon3d.surface.connectivity import border_vertices, vertex_neighbors
from recon3d.surface.normals import vertex_normals
from recon3d.surface.threads import ALONE, Threads
from recon3d.types import Floats, Mesh

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
    means = vertex_neighbors(mesh.faces, len(mesh.vertices))
    count = np.diff(means.indptr)
    means.data[:] = np.repeat(1 / np.maximum(count, 1), count)
    square = float(np.mean([_square_edges(mesh, corner) for corner in range(3)]))
    # Variance along an axis that a round adds.
    gain = _STEP * square / 2
    fair = _smoothed(mesh.vertices, means, (_NOISE * pixel) ** 2 / gain)
    step = fair - _smoothed(fair, means, (_PATCH * pixel) ** 2 / gain)
    normals = vertex_normals(mesh, threads)
    length = np.clip(np.einsum("nc,nc->n", step, normals), -_FARTHEST * pixel, _FARTHEST * pixel)
    length[border_vertices(mesh.faces)] = 0
    return replace(mesh, vertices=mesh.vertices + length[:, None] * normals, normals=None)


def _square_edges(mesh: Mesh, corner: int) -> float:
    """Mean square of the edges from one corner of each face."""
    edges = mesh.vertices[mesh.faces[:, corner]]
    edges -= mesh.vertices[mesh.faces[:, corner - 1]]
    return float(np.einsum("fc,fc->", edges, edges) / len(edges))


def _smoothed(vertices: Floats, means: csr_matrix, rounds: float) -> Floats:
    count = max(1, round(rounds))
    if count > _ROUNDS:
        return _smoothed_often(vertices, means, count)
    for _ in range(count):
        vertices = (1 - _STEP) * vertices + _STEP * (means @ vertices)
    return vertices


def _smoothed_often(vertices: Floats, means: csr_matrix, rounds: int) -> Floats:
    """Many rounds as a series, whose terms grow with the root of the rounds.

    With ``y = cos(t)``, ``((1 + y) / 2) ** n`` is ``cos(t / 2) ** (2 * n)``: Chebyshev polynomials of y,
    weighted by a binomial distribution.
    """
    terms = np.arange(int(_REACH * np.sqrt(rounds / 2)))
    weights = np.cumprod(np.append(1.0, (rounds - terms) / (rounds + terms + 1)))
    weights[1:] *= 2
    weights /= weights.sum()  # they sum to one but for the terms left out: nothing shrinks
    before, term = vertices, means @ vertices
    total: Floats = weights[0] * before + weights[1] * term
    for weight in weights[2:]:
        before, term = term, 2 * (means @ term) - before
        total += weight * term
    return total
