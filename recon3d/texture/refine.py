"""Splitting of faces that are too large to be painted from one photo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recon3d.types import Floats, Ints, Mesh, View

#: Pixels that an edge may have in the photo that comes closest to it.
MAX_EDGE_PIXELS = 64.0


@dataclass(frozen=True, eq=False)
class Splits:
    """How `split_large_faces` divided faces, so that `recon3d.texture.rejoin` can undo it.

    Parameters
    ----------
    rounds : ndarray of int64, shape (R + 1,)
        Round r halved the faces ``first[rounds[r]:rounds[r + 1]]``, each once.
    first, second : ndarray of int32, shape (M,)
        Both halves of each divided face; the first has the number of the divided face.
    edge : ndarray of int32, shape (M,)
        Vertex in the middle of the edge that was halved.
    before : ndarray of int32, shape (M, 3)
        The face before it was divided.
    """

    rounds: NDArray[np.int64]
    first: Ints
    second: Ints
    edge: Ints
    before: Ints

    def __len__(self) -> int:
        return len(self.first)

    @classmethod
    def joined(cls, rounds: Sequence[tuple[Ints, Ints, Ints, Ints]]) -> Splits:
        """Collect the rounds.

        Parameters
        ----------
        rounds : sequence of (first, second, edge, before)

        Returns
        -------
        Splits
        """
        sizes = np.array([0, *(len(part[0]) for part in rounds)], np.int64)
        none = (np.zeros(0, np.int32),) * 3 + (np.zeros((0, 3), np.int32),)
        columns = [np.concatenate(column).astype(np.int32) for column in zip(none, *rounds, strict=True)]
        return cls(np.cumsum(sizes), *columns)


def split_large_faces(
    mesh: Mesh, views: Sequence[View], *, max_edge: float = MAX_EDGE_PIXELS
) -> tuple[Mesh, Splits]:
    """Halve the edges that are long in the photos, without changing the surface.

    A face is painted from one photo, or not at all: a large one, as simplification leaves them on
    plain walls and floors, often lies partly outside each photo or behind something.

    Parameters
    ----------
    mesh : Mesh
    views : sequence of View
    max_edge : float
        Pixels that an edge may have, as seen from the nearest camera.

    Returns
    -------
    mesh : Mesh
        The same object when no face is too large. Faces are never more than doubled in number;
        the largest are split first.
    splits : Splits
    """
    pixel = pixel_sizes(mesh.vertices, views)
    vertices, faces, colors, guessed = mesh.vertices, mesh.faces, mesh.colors, mesh.guessed
    allowed = 2 * len(faces) + 10_000
    rounds = []
    while len(faces) < allowed:
        long_edges = _edges_to_split(vertices, faces, pixel, max_edge)
        if not len(long_edges):
            break
        long_edges = long_edges[: (allowed - len(faces)) // 2 + 1]
        middle = len(vertices) + np.arange(len(long_edges), dtype=np.int32)
        faces, halved = _bisect(faces, long_edges, middle, len(vertices))
        rounds.append(halved)
        a, b = long_edges[:, 0], long_edges[:, 1]
        vertices = np.concatenate([vertices, (vertices[a] + vertices[b]) / 2])
        pixel = np.concatenate([pixel, (pixel[a] + pixel[b]) / 2])
        if colors is not None:
            mixed = (colors[a].astype(np.uint16) + colors[b] + 1) // 2
            colors = np.concatenate([colors, mixed.astype(np.uint8)])
        if guessed is not None:
            guessed = np.concatenate([guessed, guessed[a] & guessed[b]])
    splits = Splits.joined(rounds)
    if not rounds:
        return mesh, splits
    return Mesh(vertices, faces, colors, guessed=guessed), splits


def pixel_sizes(vertices: Floats, views: Sequence[View]) -> Floats:
    """Compute the side of a pixel at each vertex in the closest view.

    Parameters
    ----------
    vertices : ndarray of float64, shape (V, 3)
    views : sequence of View

    Returns
    -------
    ndarray of float64, shape (V,)
        In world units; inf where no view sees the vertex.
    """
    smallest = np.full(len(vertices), np.inf)
    for view in views:
        depth = vertices @ view.cam_from_world[2, :3] + view.cam_from_world[2, 3]
        K = view.camera.K
        size = np.where(depth > 0, depth / np.sqrt(K[0, 0] * K[1, 1]), np.inf)
        smallest = np.minimum(smallest, size)
    return smallest


def _edges_to_split(vertices: Floats, faces: Ints, pixel: Floats, max_edge: float) -> Ints:
    """Edges that are too long and the longest of each face that they bound, longest first, shape (N, 2).

    No face loses two of its edges at once, so that every cut is a plain bisection.
    """
    ends = np.sort(np.stack([faces, faces[:, [1, 2, 0]]], axis=-1), axis=-1).reshape(-1, 2)
    with np.errstate(invalid="ignore"):
        length = np.linalg.norm(vertices[ends[:, 1]] - vertices[ends[:, 0]], axis=1)
        length = length / ((pixel[ends[:, 0]] + pixel[ends[:, 1]]) / 2)
    if not np.any(length > max_edge):
        return np.zeros((0, 2), np.int32)
    key = ends[:, 0].astype(np.int64) * len(vertices) + ends[:, 1]
    unique, first, inverse = np.unique(key, return_index=True, return_inverse=True)
    # Ties are broken by the edge's number: one order for all faces.
    rank = np.empty(len(unique), np.int64)
    rank[np.lexsort((np.arange(len(unique)), length[first]))] = np.arange(len(unique))
    by_face = rank[inverse].reshape(-1, 3)
    longest = by_face.max(axis=1, keepdims=True)
    beaten = np.zeros(len(unique), bool)
    beaten[inverse.reshape(-1, 3)[by_face < longest]] = True
    chosen = np.flatnonzero(~beaten & (length[first] > max_edge))
    chosen = chosen[np.argsort(-rank[chosen])]
    return np.ascontiguousarray(ends[first[chosen]])


def _bisect(faces: Ints, edges: Ints, middle: Ints, count: int) -> tuple[Ints, tuple[Ints, Ints, Ints, Ints]]:
    """Cut the faces at `edges`; the first half takes the place of its face, the others come last."""
    order = np.argsort(edges[:, 0].astype(np.int64) * count + edges[:, 1])
    keys = (edges[:, 0].astype(np.int64) * count + edges[:, 1])[order]
    ends = np.sort(np.stack([faces, faces[:, [1, 2, 0]]], axis=-1), axis=-1)
    key = ends[..., 0].astype(np.int64) * count + ends[..., 1]
    place = np.minimum(np.searchsorted(keys, key), len(keys) - 1)
    hit = keys[place] == key
    cut = np.flatnonzero(hit.any(axis=1))
    corner = hit[cut].argmax(axis=1)
    new = middle[order[place[cut, corner]]]
    a, b, c = (faces[cut, (corner + k) % 3] for k in range(3))
    halves = faces.copy()
    halves[cut] = np.stack([a, new, c], axis=1)
    second = (len(faces) + np.arange(len(cut))).astype(np.int32)
    divided = cut.astype(np.int32), second, new.astype(np.int32), faces[cut]
    return np.concatenate([halves, np.stack([new, b, c], axis=1)]).astype(np.int32), divided
