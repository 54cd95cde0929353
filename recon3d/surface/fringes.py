"""The ground's torn fringe, taken off.

Around an object, depth maps measure the ground in strips that thin out. Strips by themselves, and
pieces that only a strip holds, are dropped; what stays has an even rim.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import dijkstra

from recon3d.surface.cleaning import with_faces
from recon3d.surface.connectivity import adjacent_faces, border_vertices, label_patches
from recon3d.surface.smoothing import face_geometry
from recon3d.types import Floats, Ints, Mesh

Mask = NDArray[np.bool_]

#: A border lies on ground when this share of the faces along it look the same way, up to an angle of
#: this cosine. Parts whose mean normal has this length along that, and whose mean height is so many
#: widths from the border's, are ground.
_MOST, _ALIKE, _LEVEL, _NEAR = 0.5, 0.8, 0.8, 3.0
#: Smallest area of a piece of ground that only strips hold, relative to the largest piece's.
_PIECE = 0.3
#: What is left of a piece grows back by this many widths.
_GROWTH = 1.3


def trim_fringes(mesh: Mesh, width: float) -> Mesh:
    """Take strips and nearly loose pieces off the ground at a surface's border.

    Parts that are not level stay, and so does a surface whose border lies on no ground.

    Parameters
    ----------
    mesh : Mesh
    width : float
        Half the width of the widest strip that goes.

    Returns
    -------
    Mesh
    """
    lengths = _edge_lengths(mesh)
    border = np.zeros(len(mesh.vertices), bool)
    border[border_vertices(mesh.faces)] = True
    core: Mask = ~np.asarray(_within(lengths, border, width)[mesh.faces].any(axis=1))
    normals, areas, centers = face_geometry(mesh.vertices, mesh.faces)
    up = _ground(normals[~core], areas[~core])
    if up is None or not core.any():
        return mesh
    slope, height = normals @ up, centers @ up
    floor = np.median(height[~core & (slope >= _ALIKE)])

    def ground(part: Ints) -> Mask:
        """Tell which parts are level and at the border's height."""
        chosen = part >= 0
        area = np.bincount(part[chosen], areas[chosen])
        level = np.bincount(part[chosen], (areas * slope)[chosen]) >= _LEVEL * area
        mean = np.bincount(part[chosen], (areas * height)[chosen]) / area
        return np.asarray(level & (np.abs(mean - floor) <= _NEAR * width))

    pairs = adjacent_faces(mesh.faces)
    part = label_patches(len(core), core, pairs)
    size = np.bincount(part[core], areas[core])
    kept = (size >= _PIECE * size.max()) | ~ground(part)
    seeds = np.zeros(len(mesh.vertices), bool)
    seeds[mesh.faces[core][kept[part[core]]]] = True
    goes: Mask = ~np.asarray(_within(lengths, seeds, _GROWTH * width)[mesh.faces].all(axis=1))
    if goes.any():
        part = label_patches(len(core), goes, pairs)
        goes[goes] = ground(part)[part[goes]]
    return with_faces(mesh, mesh.faces[~goes])


def _ground(normals: Floats, areas: Floats) -> Floats | None:
    """The normal of most of some faces."""
    if not len(normals):
        return None
    up: Floats = areas @ normals
    for _ in range(3):
        alike = normals @ up >= _ALIKE * np.linalg.norm(up)
        if areas[alike].sum() < _MOST * areas.sum():
            return None
        up = areas[alike] @ normals[alike]
    return up / np.linalg.norm(up)


def _edge_lengths(mesh: Mesh) -> csr_matrix:
    edges = np.concatenate([mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]], mesh.faces[:, [2, 0]]])
    length = np.linalg.norm(mesh.vertices[edges[:, 0]] - mesh.vertices[edges[:, 1]], axis=1)
    count = len(mesh.vertices)
    return coo_matrix((np.maximum(length, 1e-12), (edges[:, 0], edges[:, 1])), (count, count)).tocsr()


def _within(lengths: csr_matrix, start: Mask, distance: float) -> Mask:
    """Vertices nearer to some of them than a distance, along the surface."""
    far = dijkstra(lengths, directed=False, indices=np.flatnonzero(start), min_only=True, limit=distance)
    return np.asarray(np.isfinite(far))
