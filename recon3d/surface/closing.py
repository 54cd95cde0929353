"""What stays of a closed surface: all that points support, and gaps in it that nothing contradicts.

Poisson's surface is closed. Over places without points it is a guess: a good one across a gap in a
wall, a bad one beyond the border of what was photographed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from recon3d.types import Ints, Mesh

Mask = NDArray[np.bool_]


def close_gaps(mesh: Mesh, supported: Mask, empty: Mask, widest: float) -> tuple[Mesh, NDArray[np.bool_]]:
    """Cut a closed surface back to what is known, but keep guesses that close a gap.

    Faces whose vertices are all supported stay. Of the others, a connected patch stays when it is
    small, nothing sees through it, and supported faces surround it. Patches that reach further are cut
    as they would be without this.

    Parameters
    ----------
    mesh : Mesh
    supported : ndarray of bool, shape (V,)
        Vertices close to measured points.
    empty : ndarray of bool, shape (V,)
        Vertices in space that photos see through.
    widest : float
        Longest diagonal of the box around a patch that stays.

    Returns
    -------
    mesh : Mesh
        The faces that stay; vertices as given.
    guessed : ndarray of bool, shape (V,)
        Vertices of faces that stay without support.
    """
    known = np.asarray(supported[mesh.faces].all(axis=1))
    hollow = np.asarray(empty[mesh.faces].any(axis=1))
    patch, open_faces = _patches(mesh.faces, ~known & ~hollow, known)
    stays = known.copy()
    count = int(patch.max(initial=-1)) + 1
    if count:
        corners = mesh.vertices[mesh.faces]
        low, high = np.full((count, 3), np.inf), np.full((count, 3), -np.inf)
        rows = np.flatnonzero(patch >= 0)
        np.minimum.at(low, patch[rows], corners[rows].min(axis=1))
        np.maximum.at(high, patch[rows], corners[rows].max(axis=1))
        closes = np.linalg.norm(high - low, axis=1) <= widest
        closes[patch[open_faces]] = False
        stays[rows] = closes[patch[rows]]
    guessed = np.zeros(len(mesh.vertices), bool)
    guessed[mesh.faces[stays & ~known]] = True
    return Mesh(mesh.vertices, mesh.faces[stays]), guessed & ~supported


def _patches(faces: Ints, chosen: Mask, known: Mask) -> tuple[Ints, NDArray[np.int64]]:
    """Number the connected patches of the chosen faces.

    Returns each face's patch (-1 for the others), and the chosen faces that have an edge which no
    chosen and no known face shares.
    """
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    key = edges[:, 0].astype(np.int64) * (int(faces.max(initial=0)) + 1) + edges[:, 1]
    order = np.argsort(key, kind="stable")
    owner = (order % len(faces)).astype(np.int64)
    same = np.flatnonzero(key[order][1:] == key[order][:-1])
    a, b = owner[same], owner[same + 1]
    stays = chosen | known
    closed = np.zeros(len(faces), np.int32)
    both = stays[a] & stays[b]
    np.add.at(closed, a[both], 1)
    np.add.at(closed, b[both], 1)
    inner = chosen[a] & chosen[b]
    graph = coo_matrix((np.ones(inner.sum(), np.int8), (a[inner], b[inner])), (len(faces), len(faces)))
    label = connected_components(graph, directed=False)[1]
    patch = np.full(len(faces), -1, np.int32)
    patch[chosen] = np.unique(label[chosen], return_inverse=True)[1]
    return patch, np.flatnonzero(chosen & (closed < 3))
