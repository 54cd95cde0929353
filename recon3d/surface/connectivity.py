"""Which faces and vertices of a mesh belong together."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from recon3d.kernels import kernel
from recon3d.threads import ALONE, Threads
from recon3d.types import Ints

Mask = NDArray[np.bool_]
#: Where the faces of each vertex begin in a list, and the list; see `faces_around_vertices`.
FacesAround = tuple[Ints, Ints]
#: Faces that are worth a thread.
_LEAST = 20_000


def any_corner(marked: Mask, faces: Ints) -> Mask:
    """Tell which faces have a marked vertex.

    Parameters
    ----------
    marked : ndarray of bool, shape (V,)
    faces : ndarray of int32, shape (F, 3)

    Returns
    -------
    ndarray of bool, shape (F,)
    """
    # In half the time of ``any(axis=1)``, as is `every_corner`.
    found: Mask = marked[faces[:, 0]] | marked[faces[:, 1]] | marked[faces[:, 2]]
    return found


def every_corner(marked: Mask, faces: Ints) -> Mask:
    """Tell which faces have marked vertices only.

    Parameters
    ----------
    marked : ndarray of bool, shape (V,)
    faces : ndarray of int32, shape (F, 3)

    Returns
    -------
    ndarray of bool, shape (F,)
    """
    found: Mask = marked[faces[:, 0]] & marked[faces[:, 1]] & marked[faces[:, 2]]
    return found


def faces_around_vertices(faces: Ints, vertices: int, threads: Threads = ALONE) -> FacesAround:
    """List the faces at each vertex.

    Parameters
    ----------
    faces : ndarray of int32, shape (F, 3)
    vertices : int
        Number of vertices.
    threads : Threads, optional

    Returns
    -------
    starts : ndarray of int32, shape (V + 1,)
    around : ndarray of int32, shape (3 F,)
        Those of vertex v are ``around[starts[v]:starts[v + 1]]``, in ascending order.
    """
    starts = np.zeros(vertices + 1, np.int32)
    # Each part looks at all faces: few parts.
    least = max(_LEAST, -(-vertices // threads.count))
    threads.run(_count_faces, faces, starts[1:], count=vertices, least=least)
    np.cumsum(starts, out=starts)
    around = np.empty(3 * len(faces), np.int32)
    threads.run(_list_faces, faces, starts[:-1].copy(), around, count=vertices, least=least)
    return starts, around


@kernel(_nrt=False)
def _count_faces(faces: Any, counts: Any, start: int, stop: int) -> None:  # pragma: no cover
    for f in range(len(faces)):
        for k in range(3):
            v = faces[f, k]
            if start <= v < stop:
                counts[v] += 1


@kernel(_nrt=False)
def _list_faces(faces: Any, ends: Any, around: Any, start: int, stop: int) -> None:  # pragma: no cover
    for f in range(len(faces)):
        for k in range(3):
            v = faces[f, k]
            if start <= v < stop:
                around[ends[v]] = f
                ends[v] += 1


def vertices_around_vertices(
    faces: Ints, vertices: int, threads: Threads = ALONE, lists: FacesAround | None = None
) -> tuple[Ints, Ints]:
    """List the vertices that an edge joins with each vertex.

    Parameters
    ----------
    faces : ndarray of int32, shape (F, 3)
    vertices : int
        Number of vertices.
    threads : Threads, optional
    lists : (starts, around), ndarrays of int32, shapes (V + 1,) and (3 F,), optional
        From `faces_around_vertices`, where they are at hand.

    Returns
    -------
    starts : ndarray of int32, shape (V + 1,)
    near : ndarray of int32, shape (N,)
        Those of vertex v are ``near[starts[v]:starts[v + 1]]``, in ascending order.
    """
    first, around = faces_around_vertices(faces, vertices, threads) if lists is None else lists
    room, counts = np.empty(2 * len(around), np.int32), np.empty(vertices, np.int32)
    threads.run(_list_vertices, faces, first, around, room, counts, count=vertices, least=_LEAST)
    starts = np.zeros(vertices + 1, np.int32)
    np.cumsum(counts, out=starts[1:])
    near = np.empty(starts[-1], np.int32)
    threads.run(_close_up, first, room, starts, near, count=vertices, least=_LEAST)
    return starts, near


@kernel(_nrt=False)
def _list_vertices(
    faces: Any, first: Any, around: Any, room: Any, counts: Any, low: int, high: int
) -> None:  # pragma: no cover
    for v in range(low, high):
        start, end = 2 * first[v], 2 * first[v]
        for at in range(first[v], first[v + 1]):
            f = around[at]
            for k in range(3):
                if faces[f, k] != v:
                    continue
                for step in range(1, 3):
                    other, place = faces[f, (k + step) % 3], end
                    while place > start and room[place - 1] > other:
                        place -= 1
                    if place > start and room[place - 1] == other:
                        continue
                    for moved in range(end, place, -1):
                        room[moved] = room[moved - 1]
                    room[place] = other
                    end += 1
        counts[v] = end - start


@kernel(_nrt=False)
def _close_up(
    first: Any, room: Any, starts: Any, near: Any, start: int, stop: int
) -> None:  # pragma: no cover
    for v in range(start, stop):
        for number in range(starts[v + 1] - starts[v]):
            near[starts[v] + number] = room[2 * first[v] + number]


def vertex_neighbors(faces: Ints, vertices: int) -> csr_matrix:
    """Tell which vertices an edge joins.

    Parameters
    ----------
    faces : ndarray of int32, shape (F, 3)
    vertices : int
        Number of vertices.

    Returns
    -------
    csr_matrix of float64, shape (V, V)
        1 where there is an edge; symmetric.
    """
    starts, near = vertices_around_vertices(faces, vertices)
    return csr_matrix((np.ones(len(near)), near, starts), (vertices, vertices))


def edge_counts(faces: Ints, lists: FacesAround, threads: Threads = ALONE) -> NDArray[np.int32]:
    """Count the faces at each edge of each face.

    Parameters
    ----------
    faces : ndarray of int32, shape (F, 3)
    lists : (starts, around), ndarrays of int32, shapes (V + 1,) and (3 F,)
        From `faces_around_vertices`.
    threads : Threads, optional

    Returns
    -------
    ndarray of int32, shape (F, 3)
        Those at the edge from corner k to the next one; 1 at a border.
    """
    counts = np.empty((len(faces), 3), np.int32)
    threads.run(_count_at_edges, faces, *lists, counts, count=len(faces), least=_LEAST)
    return counts


@kernel(_nrt=False)
def _count_at_edges(
    faces: Any, starts: Any, around: Any, counts: Any, start: int, stop: int
) -> None:  # pragma: no cover
    for f in range(start, stop):
        for k in range(3):
            a, b = faces[f, k], faces[f, (k + 1) % 3]
            count = 0
            for at in range(starts[a], starts[a + 1]):
                g = around[at]
                count += faces[g, 0] == b or faces[g, 1] == b or faces[g, 2] == b
            counts[f, k] = count


def repeated_faces(faces: Ints, lists: FacesAround, threads: Threads = ALONE) -> Mask:
    """Find the faces with the same corners as an earlier one.

    Parameters
    ----------
    faces : ndarray of int32, shape (F, 3)
    lists : (starts, around), ndarrays of int32, shapes (V + 1,) and (3 F,)
        From `faces_around_vertices`.
    threads : Threads, optional

    Returns
    -------
    ndarray of bool, shape (F,)
    """
    repeated = np.zeros(len(faces), bool)
    threads.run(_find_repeated, faces, *lists, repeated, count=len(faces), least=_LEAST)
    return repeated


@kernel(_nrt=False)
def _find_repeated(
    faces: Any, starts: Any, around: Any, repeated: Any, start: int, stop: int
) -> None:  # pragma: no cover
    for f in range(start, stop):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        for at in range(starts[a], starts[a + 1]):
            g = around[at]
            if g >= f:
                break
            x, y, z = faces[g, 0], faces[g, 1], faces[g, 2]
            if (b == x or b == y or b == z) and (c == x or c == y or c == z):  # noqa: SIM109
                repeated[f] = True


def border_vertices(
    faces: Ints, threads: Threads = ALONE, lists: FacesAround | None = None
) -> NDArray[np.int64]:
    """Find the vertices of edges that only one face has.

    Parameters
    ----------
    faces : ndarray of int32, shape (F, 3)
    threads : Threads, optional
    lists : (starts, around), ndarrays of int32, shapes (V + 1,) and (3 F,), optional
        From `faces_around_vertices`, where they are at hand.

    Returns
    -------
    ndarray of int64, shape (N,)
    """
    count = int(faces.max(initial=-1)) + 1
    lists = lists or faces_around_vertices(faces, count, threads)
    single = edge_counts(faces, lists, threads) == 1
    found = np.zeros(count, bool)
    found[faces[single]] = True
    found[np.roll(faces, -1, axis=1)[single]] = True
    return np.flatnonzero(found)


def adjacent_faces(faces: Ints, threads: Threads = ALONE, lists: FacesAround | None = None) -> Ints:
    """List the pairs of faces that share an edge.

    Parameters
    ----------
    faces : ndarray of int32, shape (F, 3)
    threads : Threads, optional
    lists : (starts, around), ndarrays of int32, shapes (V + 1,) and (3 F,), optional
        From `faces_around_vertices`, where they are at hand.

    Returns
    -------
    ndarray of int32, shape (P, 2)
    """
    lists = lists or faces_around_vertices(faces, int(faces.max(initial=-1)) + 1, threads)
    counts, none = np.zeros(len(faces), np.int64), np.empty((0, 2), np.int32)
    threads.run(_pair_faces, faces, *lists, counts, counts, none, count=len(faces), least=_LEAST)
    first = np.cumsum(counts) - counts
    pairs = np.empty((int(counts.sum()), 2), np.int32)
    threads.run(_pair_faces, faces, *lists, first, counts, pairs, count=len(faces), least=_LEAST)
    return pairs


@kernel(_nrt=False)
def _pair_faces(
    faces: Any, starts: Any, around: Any, first: Any, counts: Any, pairs: Any, start: int, stop: int
) -> None:  # pragma: no cover
    for f in range(start, stop):
        count, row = 0, first[f]
        for k in range(3):
            a, b = faces[f, k], faces[f, (k + 1) % 3]
            for at in range(starts[a], starts[a + 1]):
                g = around[at]
                if g > f and (faces[g, 0] == b or faces[g, 1] == b or faces[g, 2] == b):
                    if len(pairs):
                        pairs[row + count, 0], pairs[row + count, 1] = f, g
                    count += 1
        counts[f] = count


def label_patches(count: int, chosen: Mask, pairs: Ints) -> Ints:
    """Number the connected patches of chosen faces.

    Parameters
    ----------
    count : int
        Number of faces.
    chosen : ndarray of bool, shape (F,)
    pairs : ndarray of int32, shape (P, 2)
        See `adjacent_faces`.

    Returns
    -------
    ndarray of int32, shape (F,)
        -1 for the faces that are not chosen.
    """
    patch = np.empty(count, np.int32)
    _join_faces(np.asarray(chosen), pairs, np.arange(count, dtype=np.int32), patch)
    return patch


@kernel(_nrt=False)
def _join_faces(chosen: Any, pairs: Any, parent: Any, patch: Any) -> None:  # pragma: no cover
    for p in range(len(pairs)):
        a, b = pairs[p, 0], pairs[p, 1]
        if not (chosen[a] and chosen[b]):
            continue
        while parent[a] != a:
            parent[a] = parent[parent[a]]
            a = parent[a]
        while parent[b] != b:
            parent[b] = parent[parent[b]]
            b = parent[b]
        # The root is the first face, so that numbers follow the faces' order.
        parent[max(a, b)] = min(a, b)
    count = 0
    for f in range(len(parent)):
        if not chosen[f]:
            patch[f] = -1
        elif parent[f] == f:
            patch[f] = count
            count += 1
        else:
            root = parent[f]
            while parent[root] != root:
                root = parent[root]
            patch[f] = patch[root]


@kernel(_nrt=False)
def rings_around(faces: Any, ring: Any, most: int) -> None:  # pragma: no cover
    """Count the edges from each vertex to the nearest of some.

    Parameters
    ----------
    faces : ndarray of int32, shape (F, 3)
    ring : ndarray of int64, shape (V,)
        0 at these, more than `most` elsewhere. Changed where the count is `most` or less.
    most : int
    """
    for number in range(1, most + 1):
        for f in range(len(faces)):
            a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
            if min(ring[a], ring[b], ring[c]) == number - 1:
                ring[a], ring[b], ring[c] = min(ring[a], number), min(ring[b], number), min(ring[c], number)
