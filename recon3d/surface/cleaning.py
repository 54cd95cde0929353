"""Taking out what does not belong to a surface."""

from __future__ import annotations

import numpy as np
import open3d as o3d

from recon3d.types import Floats, Ints, Mesh


def to_open3d(mesh: Mesh) -> o3d.geometry.TriangleMesh:
    """Convert a mesh to Open3D's legacy type.

    Parameters
    ----------
    mesh : Mesh

    Returns
    -------
    o3d.geometry.TriangleMesh
    """
    return o3d.geometry.TriangleMesh(
        o3d.utility.Vector3dVector(mesh.vertices), o3d.utility.Vector3iVector(mesh.faces)
    )


def from_open3d(mesh: o3d.geometry.TriangleMesh) -> Mesh:
    """Convert a mesh of Open3D's legacy type.

    Parameters
    ----------
    mesh : o3d.geometry.TriangleMesh

    Returns
    -------
    Mesh
    """
    return Mesh(np.array(mesh.vertices), np.array(mesh.triangles).astype(np.int32))


def face_areas(vertices: Floats, faces: Ints) -> Floats:
    """Compute the area of each face.

    Parameters
    ----------
    vertices : ndarray of float64, shape (V, 3)
    faces : ndarray of int32, shape (F, 3)

    Returns
    -------
    ndarray of float64, shape (F,)
        In squared units of `vertices`.
    """
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    areas: Floats = 0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1)
    return areas


def remove_small_components(mesh: Mesh, share: float) -> Mesh:
    """Remove connected parts that are much smaller than the largest.

    Parameters
    ----------
    mesh : Mesh
    share : float
        Smallest area that is kept, relative to the largest part's.

    Returns
    -------
    Mesh
    """
    if not len(mesh.faces):
        return mesh
    clusters, _, areas = to_open3d(mesh).cluster_connected_triangles()
    area = np.asarray(areas)
    keep = area[np.asarray(clusters)] >= share * area.max()
    return drop_unused(Mesh(mesh.vertices, mesh.faces[keep]))


def make_manifold(mesh: Mesh) -> Mesh:
    """Remove degenerate and duplicate faces, and faces on edges with more than two faces.

    Parameters
    ----------
    mesh : Mesh

    Returns
    -------
    Mesh
    """
    work = to_open3d(mesh)
    work.remove_degenerate_triangles()
    work.remove_duplicated_triangles()
    work.remove_non_manifold_edges()
    work.remove_unreferenced_vertices()
    return from_open3d(work)


def drop_unused(mesh: Mesh) -> Mesh:
    """Remove the vertices that no face uses.

    Parameters
    ----------
    mesh : Mesh

    Returns
    -------
    Mesh
    """
    used, inverse = np.unique(mesh.faces, return_inverse=True)
    return Mesh(mesh.vertices[used], inverse.reshape(-1, 3).astype(np.int32))
