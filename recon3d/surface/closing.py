"""What stays of a closed surface: all that points support, and gaps in it that nothing contradicts.

Poisson's surface is closed. Over places without points it is a guess: a good one across a gap in a
wall, a bad one beyond the border of what was photographed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from recon3d.kernels import kernel
from recon3d.surface.connectivity import adjacent_faces, any_corner, every_corner, label_patches
from recon3d.threads import ALONE, Threads
from recon3d.types import Ints, Mesh

Mask = NDArray[np.bool_]

#: Supported parts of fewer faces, and of a smaller share of the largest part's, are noise in the middle
#: of a gap: a spike or a tunnel would lead to them.
_ISLAND, _ISLAND_SHARE = 150, 0.02
#: Photos see through a gap when they see through more than this share of it; less is noise of a few depths.
_HOLLOW = 0.05
#: A gap that is too long in all may still be narrow, as one along the foot of a plinth: no place in it is
#: further from measured faces than this share of the widest gap, and it is this many times as long at most.
_NARROW, _LONG = 0.25, 2.0


def close_gaps(
    mesh: Mesh, supported: Mask, empty: Mask, widest: float, threads: Threads = ALONE
) -> tuple[Mesh, NDArray[np.bool_]]:
    """Cut a closed surface back to what is known, but keep guesses that close a gap.

    Faces whose vertices are all supported stay. Of the others, a connected patch stays when it is
    small or narrow, nothing sees through it, and supported faces surround it. Patches that reach further
    are cut as they would be without this.

    Parameters
    ----------
    mesh : Mesh
        Of faces of about the same size.
    supported : ndarray of bool, shape (V,)
        Vertices close to measured points.
    empty : ndarray of bool, shape (V,)
        Vertices in space that photos see through.
    widest : float
        Longest diagonal of the box around a patch that stays; that of a narrow patch is twice as long.
    threads : Threads, optional

    Returns
    -------
    mesh : Mesh
        The faces that stay; vertices as given.
    guessed : ndarray of bool, shape (V,)
        Vertices of faces that stay without support.
    """
    faces = mesh.faces
    known = every_corner(supported, faces)
    pairs = adjacent_faces(faces, threads)
    part = label_patches(len(faces), known, pairs)
    sizes = np.bincount(part[known], minlength=1)
    known[known] = sizes[part[known]] >= min(_ISLAND, _ISLAND_SHARE * sizes.max())
    hollow = any_corner(empty, faces) & ~known
    part = label_patches(len(faces), ~known, pairs)
    if hollow.any():
        share = np.bincount(part[hollow], minlength=part.max() + 1) / np.bincount(part[~known])
        hollow[hollow] = share[part[hollow]] > _HOLLOW
        part = label_patches(len(faces), ~known & ~hollow, pairs)
    stays = known.copy()
    count = int(part.max(initial=-1)) + 1
    if count:
        low, high = np.full((count, 3), np.inf), np.full((count, 3), -np.inf)
        _grow_boxes(part, faces, mesh.vertices, low, high)
        rows = np.flatnonzero(part >= 0)
        length = np.linalg.norm(high - low, axis=1)
        closes = length <= widest
        shared = np.zeros(len(faces), np.uint8)
        _count_pairs(pairs, hollow, shared)
        closes |= _narrow(mesh, known, part, np.flatnonzero(~closes & (length <= _LONG * widest)), widest)
        closes[part[rows[shared[rows] < 3]]] = False
        stays[rows] = closes[part[rows]]
    guessed = np.zeros(len(mesh.vertices), bool)
    guessed[faces[stays & ~known]] = True
    guessed[faces[known]] = False
    return Mesh(mesh.vertices, faces[stays]), guessed


def _narrow(mesh: Mesh, known: Mask, part: Ints, patches: NDArray[np.int64], widest: float) -> Mask:
    """Which of the patches are near to `known` everywhere; false for all other patches."""
    rows = np.flatnonzero(np.isin(part, patches))
    narrow = np.zeros(int(part.max()) + 1, bool)
    if len(rows):
        narrow[patches] = True
        tree = cKDTree(mesh.vertices[np.unique(mesh.faces[known])], balanced_tree=False)
        reach = _NARROW * widest
        away = tree.query(mesh.vertices[mesh.faces[rows, 0]], distance_upper_bound=reach)[0]
        narrow[part[rows[np.isinf(away)]]] = False
    return narrow


@kernel(_nrt=False)
def _grow_boxes(part: Any, faces: Any, vertices: Any, low: Any, high: Any) -> None:  # pragma: no cover
    """Boxes around the faces of each part; -1 is none."""
    for f in range(len(faces)):
        p = part[f]
        if p < 0:
            continue
        for k in range(3):
            v = faces[f, k]
            for axis in range(3):
                low[p, axis] = min(low[p, axis], vertices[v, axis])
                high[p, axis] = max(high[p, axis], vertices[v, axis])


@kernel(_nrt=False)
def _count_pairs(pairs: Any, hollow: Any, counts: Any) -> None:  # pragma: no cover
    """Of each face, the pairs without hollow faces."""
    for p in range(len(pairs)):
        a, b = pairs[p, 0], pairs[p, 1]
        if not (hollow[a] or hollow[b]):
            # More than three make no difference.
            counts[a] = min(counts[a] + 1, 4)
            counts[b] = min(counts[b] + 1, 4)
