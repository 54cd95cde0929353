"""Fewer triangles, and the cloud's colours on what is left."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from recon3d.surface.cleaning import from_open3d, to_open3d
from recon3d.types import Mesh, PointCloud

_COLOR_NEIGHBORS = 3
#: Borders of an open surface may move this many times less than its inside.
_BORDER_WEIGHT = 3.0


def simplify(mesh: Mesh, max_faces: int) -> Mesh:
    """Decimate to `max_faces` triangles by quadric error [1]_; borders are held in place.

    Parameters
    ----------
    mesh : Mesh
    max_faces : int
        Most faces of the result.

    Returns
    -------
    Mesh

    References
    ----------
    .. [1] Garland and Heckbert, Surface Simplification Using Quadric Error Metrics, SIGGRAPH 1997.
    """
    if len(mesh.faces) <= max_faces:
        return mesh
    return from_open3d(to_open3d(mesh).simplify_quadric_decimation(max_faces, boundary_weight=_BORDER_WEIGHT))


def with_attributes(mesh: Mesh, cloud: PointCloud) -> Mesh:
    """Add normals, and the colours of the nearest points.

    Parameters
    ----------
    mesh : Mesh
    cloud : PointCloud

    Returns
    -------
    Mesh
    """
    colors = None
    if cloud.colors is not None:
        count = min(_COLOR_NEIGHBORS, len(cloud))
        distance, near = cKDTree(cloud.points).query(mesh.vertices, k=count, workers=1)
        distance, near = distance.reshape(-1, count), near.reshape(-1, count)
        weights = 1.0 / np.maximum(distance, 1e-12)
        weights /= weights.sum(axis=1, keepdims=True)
        mixed = np.einsum("nk,nkc->nc", weights, cloud.colors[near].astype(np.float64))
        colors = np.round(mixed).astype(np.uint8)
    work = to_open3d(mesh)
    work.compute_vertex_normals()
    return Mesh(mesh.vertices, mesh.faces, colors, np.array(work.vertex_normals).astype(np.float32))
