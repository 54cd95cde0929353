"""Taking out what does not belong to a surface."""

from __future__ import annotations

import numpy as np
import open3d as o3d

from recon3d.types import Floats, Ints, Mesh


def to_open3d(mesh: Mesh) -> o3d.geometry.TriangleMesh:
    """The same mesh as Open3D's legacy type."""
    return o3d.geometry.TriangleMesh(
        o3d.utility.Vector3dVector(mesh.vertices), o3d.utility.Vector3iVector(mesh.faces)
    )


def from_open3d(mesh: o3d.geometry.TriangleMesh) -> Mesh:
    """Open3D's legacy type as a mesh."""
    return Mesh(np.array(mesh.vertices), np.array(mesh.triangles).astype(np.int32))


def face_areas(vertices: Floats, faces: Ints) -> Floats:
    """Area of each face, shape (F,)."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    areas: Floats = 0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1)
    return areas


def remove_small_components(mesh: Mesh, share: float) -> Mesh:
    """Remove connected parts with less than `share` of the largest part's area."""
    if not len(mesh.faces):
        return mesh
    clusters, _, areas = to_open3d(mesh).cluster_connected_triangles()
    area = np.asarray(areas)
    keep = area[np.asarray(clusters)] >= share * area.max()
    return drop_unused(Mesh(mesh.vertices, mesh.faces[keep]))


def make_manifold(mesh: Mesh) -> Mesh:
    """Remove degenerate and doubled faces and what hangs on edges with more than two faces."""
    work = to_open3d(mesh)
    work.remove_degenerate_triangles()
    work.remove_duplicated_triangles()
    work.remove_non_manifold_edges()
    work.remove_unreferenced_vertices()
    return from_open3d(work)


def fill_small_holes(mesh: Mesh, size: float) -> Mesh:
    """Close holes whose border fits into a sphere of diameter `size`."""
    if not len(mesh.faces):
        return mesh
    work = o3d.t.geometry.TriangleMesh.from_legacy(to_open3d(mesh)).fill_holes(size)
    return Mesh(
        work.vertex.positions.numpy().astype(np.float64), work.triangle.indices.numpy().astype(np.int32)
    )


def drop_unused(mesh: Mesh) -> Mesh:
    """The same faces with only the vertices that they use."""
    used, inverse = np.unique(mesh.faces, return_inverse=True)
    return Mesh(mesh.vertices[used], inverse.reshape(-1, 3).astype(np.int32))
