"""Taking out what does not belong to a surface."""

from __future__ import annotations

from typing import Any

import numpy as np

from recon3d.surface.connectivity import (
    adjacent_faces,
    edge_counts,
    faces_around_vertices,
    label_patches,
    repeated_faces,
)
from recon3d.surface.normals import face_areas
from recon3d.threads import ALONE, Threads
from recon3d.types import Ints, Mesh


def remove_small_components(mesh: Mesh, share: float, threads: Threads = ALONE) -> Mesh:
    """Remove connected parts that are much smaller than the largest.

    Parameters
    ----------
    mesh : Mesh
    share : float
        Smallest area that is kept, relative to the largest part's.
    threads : Threads, optional

    Returns
    -------
    Mesh
    """
    if not len(mesh.faces):
        return mesh
    count = len(mesh.faces)
    part = label_patches(count, np.ones(count, bool), adjacent_faces(mesh.faces, threads))
    area = np.bincount(part, face_areas(mesh.vertices, mesh.faces, threads))
    return with_faces(mesh, mesh.faces[(area >= share * area.max())[part]])


def make_manifold(mesh: Mesh, threads: Threads = ALONE) -> Mesh:
    """Remove degenerate and duplicate faces, and faces on edges with more than two faces.

    Parameters
    ----------
    mesh : Mesh
    threads : Threads, optional

    Returns
    -------
    Mesh
    """
    first, second, third = mesh.faces.T
    faces = mesh.faces[(first != second) & (second != third) & (third != first)]
    lists = faces_around_vertices(faces, len(mesh.vertices), threads)
    repeated = repeated_faces(faces, lists, threads)
    if repeated.any():
        faces = faces[~repeated]
        lists = faces_around_vertices(faces, len(mesh.vertices), threads)
    while True:
        row, corner = np.nonzero(edge_counts(faces, lists, threads) > 2)
        if not len(row):
            return with_faces(mesh, faces)
        ends = np.sort(np.stack([faces[row, corner], faces[row, (corner + 1) % 3]], axis=1), axis=1)
        # Of each edge the two largest faces stay.
        order = np.lexsort([-face_areas(mesh.vertices, faces[row]), ends[:, 1], ends[:, 0]])
        row, ends = row[order], ends[order]
        keep = np.ones(len(faces), bool)
        keep[row[2:][(ends[2:] == ends[:-2]).all(axis=1)]] = False
        faces = faces[keep]
        lists = faces_around_vertices(faces, len(mesh.vertices), threads)


def with_faces(mesh: Mesh, faces: Ints) -> Mesh:
    """Give a mesh other faces, and remove the vertices that none of them uses.

    Parameters
    ----------
    mesh : Mesh
    faces : ndarray of int32, shape (F, 3)
        Of the mesh's vertices.

    Returns
    -------
    Mesh
        The vertices that are left have what they had.
    """
    used = np.zeros(len(mesh.vertices), bool)
    used[faces] = True
    number = (np.cumsum(used) - 1).astype(np.int32)

    def left(values: Any) -> Any:
        return None if values is None else values[used]

    return Mesh(mesh.vertices[used], number[faces], left(mesh.colors), left(mesh.normals), left(mesh.guessed))
