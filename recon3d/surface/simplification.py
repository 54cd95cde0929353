"""Fewer triangles, and the cloud's colours on what is left."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.spatial import cKDTree

from recon3d.surface.cleaning import with_faces
from recon3d.surface.decimation import collapse_edges, quadrics_of
from recon3d.surface.smoothing import vertex_normals
from recon3d.surface.threads import ALONE, Threads
from recon3d.types import Mesh, PointCloud

_COLOR_NEIGHBORS = 3
#: Borders of an open surface may move this many times less than its inside.
_BORDER_WEIGHT = 3.0


def simplify(mesh: Mesh, max_faces: int) -> Mesh:
    """Decimate to `max_faces` triangles by quadric error [1]_; borders are held in place.

    A manifold stays one, and no face turns over.

    Parameters
    ----------
    mesh : Mesh
    max_faces : int
        Most faces of the result.

    Returns
    -------
    Mesh
        Without colours and normals.

    References
    ----------
    .. [1] Garland and Heckbert, Surface Simplification Using Quadric Error Metrics, SIGGRAPH 1997.
    """
    if len(mesh.faces) <= max_faces:
        return mesh
    middle = mesh.vertices.mean(axis=0)
    vertices, faces = mesh.vertices - middle, mesh.faces.copy()
    quadrics = np.zeros((len(vertices), 10))
    quadrics_of(vertices, faces, _BORDER_WEIGHT, quadrics)
    guessed = mesh.guessed
    marks = np.zeros(len(vertices), np.float32) if guessed is None else guessed.astype(np.float32)
    collapse_edges(vertices, faces, quadrics, marks, max_faces)
    less = Mesh(vertices + middle, mesh.faces, guessed=None if guessed is None else marks >= 0.5)
    return with_faces(less, faces[faces[:, 0] >= 0])


def with_attributes(mesh: Mesh, cloud: PointCloud, threads: Threads = ALONE) -> Mesh:
    """Add normals, and the colours of the nearest points.

    Parameters
    ----------
    mesh : Mesh
    cloud : PointCloud
    threads : Threads, optional

    Returns
    -------
    Mesh
    """
    colors = None
    if cloud.colors is not None:
        count = min(_COLOR_NEIGHBORS, len(cloud))
        distance, near = cKDTree(cloud.points).query(mesh.vertices, k=count, workers=threads.count)
        distance, near = distance.reshape(-1, count), near.reshape(-1, count)
        weights = 1.0 / np.maximum(distance, 1e-12)
        weights /= weights.sum(axis=1, keepdims=True)
        mixed = np.einsum("nk,nkc->nc", weights, cloud.colors[near].astype(np.float64))
        colors = np.round(mixed).astype(np.uint8)
    return replace(mesh, colors=colors, normals=vertex_normals(mesh))
