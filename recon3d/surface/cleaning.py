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


def fill_small_holes(mesh: Mesh, size: float) -> Mesh:
    """Close small holes with a fan around the middle of the border.

    Open3D's own ``fill_holes`` returned vertices from uninitialised memory (0.20.0).

    Parameters
    ----------
    mesh : Mesh
    size : float
        Longest diagonal of the box around a hole's border.

    Returns
    -------
    Mesh
    """
    vertices, faces = [mesh.vertices], [mesh.faces]
    count = len(mesh.vertices)
    for loop in border_loops(mesh.faces):
        rim = mesh.vertices[loop]
        if np.linalg.norm(rim.max(axis=0) - rim.min(axis=0)) > size:
            continue
        vertices.append(rim.mean(axis=0, keepdims=True))
        # A border runs along its faces; the faces that close it run against it.
        fan = np.stack([np.roll(loop, -1), loop, np.full(len(loop), count)], axis=1)
        faces.append(fan.astype(np.int32))
        count += 1
    return Mesh(np.concatenate(vertices), np.concatenate(faces))


def border_loops(faces: Ints) -> list[Ints]:
    """Find the closed borders of a mesh.

    Borders that touch themselves in a vertex are left out.

    Parameters
    ----------
    faces : ndarray of int32, shape (F, 3)

    Returns
    -------
    list of ndarray of int32, shape (N,)
        The vertices along each border.
    """
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    _, inverse, counts = np.unique(np.sort(edges, axis=1), axis=0, return_inverse=True, return_counts=True)
    border = edges[counts[inverse.ravel()] == 1]
    starts, uses = np.unique(border[:, 0], return_counts=True)
    simple = set(starts[uses == 1].tolist())
    following = {int(a): int(b) for a, b in border if int(a) in simple}
    loops = []
    while following:
        start, step = following.popitem()
        loop = [start]
        while step != start and step in following:
            loop.append(step)
            step = following.pop(step)
        if step == start and len(loop) >= 3:
            loops.append(np.array(loop, np.int32))
    return loops


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
