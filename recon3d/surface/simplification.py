"""Fewer triangles, and the cloud's colours on what is left."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from recon3d.surface.decimation import collapse_edges, find_shared
from recon3d.surface.normals import vertex_normals
from recon3d.surface.quadrics import quadrics_of
from recon3d.threads import ALONE, Threads
from recon3d.types import Bytes, Floats, Floats32, Ints, Mesh, PointCloud

Mask = NDArray[np.bool_]

_COLOR_NEIGHBORS = 3
#: Borders of an open surface may move this many times less than its inside.
_BORDER_WEIGHT = 3.0
#: Faces of a part; parts keep this many times the faces wanted in the end, and are not worth it when that
#: is more of what there is.
_PART, _FIRST_SHARE, _WORTH = 120_000, 1.25, 0.7


def simplify(mesh: Mesh, max_faces: int, threads: Threads = ALONE, held: Mask | None = None) -> Mesh:
    """Decimate to `max_faces` triangles by quadric error [1]_; borders are held in place.

    A manifold stays one, and no face turns over. Large meshes are first decimated by parts, which do
    not depend on the number of threads.

    Parameters
    ----------
    mesh : Mesh
    max_faces : int
        Faces of the result, if that many can go.
    threads : Threads, optional
    held : ndarray of bool, shape (V,), optional
        Vertices that stay where they are.

    Returns
    -------
    Mesh
        Without colours and normals.

    References
    ----------
    .. [1] Garland and Heckbert, Surface Simplification Using Quadric Error Metrics, SIGGRAPH 1997.
    """
    count = len(mesh.faces)
    if count <= max_faces:
        return mesh
    middle = mesh.vertices.mean(axis=0)
    guessed = mesh.guessed
    marks = np.zeros(len(mesh.vertices), np.float32) if guessed is None else guessed.astype(np.float32)
    locked = np.zeros(len(mesh.vertices), bool) if held is None else held.copy()
    work = _Work(mesh.vertices - middle, mesh.faces.copy(), np.zeros((len(marks), 10)), marks, locked)
    share = _FIRST_SHARE * max_faces / count
    if count > 2 * _PART and share < _WORTH:
        work.thin_parts(share, threads)
    else:
        work.quadrics = quadrics_of(work.vertices, work.faces, locked, _BORDER_WEIGHT)
    collapse_edges(work.vertices, work.faces, work.quadrics, work.marks, work.locked, max_faces)
    work.compact()
    return Mesh(work.vertices + middle, work.faces, guessed=None if guessed is None else work.marks >= 0.5)


@dataclass(eq=False)
class _Work:
    """A mesh that loses triangles."""

    vertices: Floats
    faces: Ints
    quadrics: Floats
    marks: Floats32
    locked: Mask

    def thin_parts(self, share: float, threads: Threads) -> None:
        """Decimate parts of the surface, each to a share of its faces; what parts have in common stays."""
        parts = _split(self.vertices[self.faces[:, 0]], _PART)
        label, shared = np.empty(len(self.faces), np.int32), self.locked.copy()
        for number, rows in enumerate(parts):
            label[rows] = number
        find_shared(self.faces, label, np.full(len(shared), -1, np.int32), shared)
        kept: list[tuple[NDArray[np.int64], Floats]] = [(np.zeros(0, np.int64), np.zeros((0, 10)))] * len(
            parts
        )

        def thin(start: int, stop: int) -> None:
            for number in range(start, stop):
                kept[number] = self._thin(parts[number], shared, share)

        threads.run(thin, count=len(parts))
        for rows, quadrics in kept:
            self.quadrics[rows] += quadrics
        self.compact()

    def _thin(self, rows: NDArray[np.int64], shared: Mask, share: float) -> tuple[NDArray[np.int64], Floats]:
        """Decimate one part; its share of the quadrics of the vertices that it has in common with others."""
        used, inverse = np.unique(self.faces[rows], return_inverse=True)
        faces = inverse.reshape(-1, 3).astype(np.int32)
        vertices, marks, locked = self.vertices[used], self.marks[used], shared[used]
        quadrics = quadrics_of(vertices, faces, locked, _BORDER_WEIGHT)
        collapse_edges(vertices, faces, quadrics, marks, locked, int(share * len(rows)))
        self.faces[rows] = np.where(faces[:, :1] >= 0, used[faces], -1)
        own = used[~locked]
        self.vertices[own], self.quadrics[own] = vertices[~locked], quadrics[~locked]
        self.marks[own] = marks[~locked]
        return used[locked].astype(np.int64), quadrics[locked]

    def compact(self) -> None:
        """Leave out what is gone."""
        self.faces = self.faces[self.faces[:, 0] >= 0]
        used = np.zeros(len(self.vertices), bool)
        used[self.faces] = True
        self.faces = (np.cumsum(used) - 1).astype(np.int32)[self.faces]
        self.vertices, self.quadrics = self.vertices[used], self.quadrics[used]
        self.marks, self.locked = self.marks[used], self.locked[used]


def _split(points: Floats, most: int) -> list[NDArray[np.int64]]:
    """Halve a set of points along its longest side, again and again."""
    parts = [np.arange(len(points))]
    while len(parts[0]) > most:
        halves = []
        for rows in parts:
            axis = int(np.argmax(np.ptp(points[rows], axis=0)))
            order = np.argpartition(points[rows, axis], len(rows) // 2)
            halves += np.array_split(rows[order], 2)
        parts = halves
    return [np.sort(rows) for rows in parts]


def nearest_colors(places: Floats, cloud: PointCloud, threads: Threads = ALONE) -> Bytes:
    """Mix the colours of the points that are nearest to places.

    Parameters
    ----------
    places : ndarray of float64, shape (N, 3)
    cloud : PointCloud
        With colours; at least one point.
    threads : Threads, optional

    Returns
    -------
    ndarray of uint8, shape (N, 3)
    """
    assert cloud.colors is not None
    count = min(_COLOR_NEIGHBORS, len(cloud))
    distance, near = cKDTree(cloud.points, balanced_tree=False).query(places, k=count, workers=threads.count)
    distance, near = distance.reshape(-1, count), near.reshape(-1, count)
    weights = 1.0 / np.maximum(distance, 1e-12)
    weights /= weights.sum(axis=1, keepdims=True)
    mixed = np.einsum("nk,nkc->nc", weights, cloud.colors[near].astype(np.float64))
    colors: Bytes = np.round(mixed).astype(np.uint8)
    return colors


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
    colors = None if cloud.colors is None else nearest_colors(mesh.vertices, cloud, threads)
    return replace(mesh, colors=colors, normals=vertex_normals(mesh, threads))
