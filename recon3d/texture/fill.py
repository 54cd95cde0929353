"""Colours for faces that no photo sees."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import linalg

from recon3d.texture.charts import Charts
from recon3d.types import Floats, Ints, Mesh

#: Gray of a mesh of which nothing is seen and that has no colours of its own.
_GRAY = 128.0
#: Pull towards the mesh's own or mean colour; it is felt about 30 edges from what is seen.
_PULL = 1e-3


def unseen_corner_colors(mesh: Mesh, charts: Charts, node_colors: Floats) -> Floats:
    """Colours of the corners of the faces without a view.

    The mesh's own vertex colours, where it has them, else the mean of all that is seen, plus the
    harmonic continuation of what these lack at the border of the seen surface: colours go on
    without a step where the photos end.

    Parameters
    ----------
    mesh : Mesh
    charts : Charts
    node_colors : ndarray of float64, shape (N, 3)
        Gray levels of the charts' nodes, levelled.

    Returns
    -------
    ndarray of float64, shape (U, 3, 3)
        Gray levels by face, corner and channel.
    """
    unseen = mesh.faces[charts.face_chart < 0]
    count = len(mesh.vertices)
    hits = np.bincount(charts.node_vertex, minlength=count)
    known = hits > 0
    color = np.zeros((count, 3))
    if len(charts.node_vertex):
        nodes = np.clip(node_colors, 0, 255)
        for channel in range(3):
            color[:, channel] = np.bincount(charts.node_vertex, nodes[:, channel], count)
        color[known] /= hits[known, None]
    if mesh.colors is not None:
        base = mesh.colors.astype(np.float64)
    else:
        base = np.broadcast_to(color[known].mean(axis=0) if known.any() else np.full(3, _GRAY), (count, 3))
    # The last seen vertices lie on outlines, where photos mix in what is behind; those before count.
    free = np.unique(unseen)
    known[free] = False
    lacking = np.where(known[:, None], color - base, 0.0)
    lacking[free] = _continue(mesh, free, lacking)
    colors: Floats = np.clip(base + lacking, 0, 255)[unseen]
    return colors


def continued_colors(mesh: Mesh, doubted: NDArray[np.bool_]) -> Mesh:
    """Give the vertices of doubted faces the colours around them, for those that they have.

    Points at outlines have the colours of what is behind, and so have the vertices made of them.

    Parameters
    ----------
    mesh : Mesh
        With colours or without.
    doubted : ndarray of bool, shape (F,)

    Returns
    -------
    Mesh
    """
    if mesh.colors is None or not doubted.any():
        return mesh
    free = np.unique(mesh.faces[doubted])
    colors = mesh.colors.astype(np.float64)
    trusted = np.setdiff1d(np.unique(mesh.faces[~doubted]), free)
    mean = colors[trusted].mean(axis=0) if len(trusted) else np.full(3, _GRAY)
    lacking = colors - mean
    lacking[free] = 0
    colors[free] = mean + _continue(mesh, free, lacking)
    return replace(mesh, colors=np.rint(np.clip(colors, 0, 255)).astype(np.uint8))


def _continue(mesh: Mesh, free: Ints, values: Floats) -> Floats:
    """Harmonic values at the vertices `free`, given those of all others."""
    if not len(free):
        return np.zeros((0, 3))
    count = len(mesh.vertices)
    start, end = mesh.faces.reshape(-1), mesh.faces[:, [1, 2, 0]].reshape(-1)
    graph = sparse.coo_matrix((np.ones(len(start)), (start, end)), shape=(count, count)).tocsr()
    graph = (graph + graph.T)[free]
    diagonal = np.asarray(graph.sum(axis=1)).reshape(-1) * (1 + _PULL)
    inner = graph[:, free]
    # The rows of `values` at `free` are zero, so that this is the known neighbours' part.
    right = graph @ values
    matrix = sparse.diags(diagonal) - inner
    jacobi = sparse.diags(1.0 / diagonal)
    solved = np.zeros((len(free), 3))
    for channel in range(3):
        solved[:, channel], _ = linalg.cg(
            matrix, right[:, channel], rtol=1e-3, atol=1e-2, maxiter=500, M=jacobi
        )
    return solved
