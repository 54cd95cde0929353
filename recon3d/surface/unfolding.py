"""Folds that moving vertices has made, taken out again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from recon3d.kernels import kernel
from recon3d.surface.connectivity import adjacent_faces, any_corner
from recon3d.surface.normals import face_geometry
from recon3d.threads import ALONE, Threads
from recon3d.types import Floats, Ints, Mesh

#: Cosines of the angle at an edge before and after that make it a fold: it was below 60 degrees, and is
#: above 90.
_WAS, _IS = 0.5, 0.0
#: Pairs of faces that are worth a thread.
_LEAST = 20_000
#: Rounds: each takes out most of what is left.
_ROUNDS = 10


def unfold(mesh: Mesh, start: Mesh, neighbors: tuple[Ints, Ints], threads: Threads = ALONE) -> Mesh:
    """Even out edges that have become sharp: a lit surface shows them as dark specks.

    Parameters
    ----------
    mesh : Mesh
        The surface after its vertices were moved.
    start : Mesh
        With the same faces, before.
    neighbors : (starts, vertices), ndarrays of int32, shapes (V + 1,) and (N,)
        Vertex v has the neighbours ``vertices[starts[v]:starts[v + 1]]``.
    threads : Threads, optional

    Returns
    -------
    Mesh
        Vertices of folds lie at the means of their neighbours. Edges that were sharp in `start` stay, and
        so do all other vertices.
    """
    pairs = adjacent_faces(mesh.faces, threads)
    gentle = pairs[_cosines(start.vertices, mesh.faces, pairs, threads) > _WAS]
    vertices, looked_at = mesh.vertices.copy(), gentle
    for _ in range(_ROUNDS):
        folded = looked_at[_cosines(vertices, mesh.faces, looked_at, threads) < _IS]
        if not len(folded):
            break
        chosen = np.unique(mesh.faces[folded])
        vertices[chosen] = _means(vertices, *neighbors, chosen)
        # Other edges are as they were.
        moved = np.zeros(len(vertices), bool)
        moved[chosen] = True
        changed = any_corner(moved, mesh.faces)
        looked_at = gentle[changed[gentle[:, 0]] | changed[gentle[:, 1]]]
    return replace(mesh, vertices=vertices, normals=None)


def _cosines(vertices: Floats, faces: Ints, pairs: Ints, threads: Threads) -> Floats:
    used, places = np.unique(pairs, return_inverse=True) if 4 * len(pairs) < len(faces) else (None, pairs)
    normals = face_geometry(vertices, faces if used is None else faces[used], threads)[0]
    places, cosines = places.reshape(-1, 2).astype(np.int32, copy=False), np.empty(len(pairs))
    threads.run(_multiply, normals, places, cosines, count=len(pairs), least=_LEAST)
    return cosines


@kernel(_nrt=False)
def _multiply(normals: Any, pairs: Any, cosines: Any, start: int, stop: int) -> None:  # pragma: no cover
    for p in range(start, stop):
        a, b = pairs[p, 0], pairs[p, 1]
        total = 0.0
        for axis in range(3):
            total += normals[a, axis] * normals[b, axis]
        cosines[p] = total


def _means(vertices: Floats, starts: Ints, around: Ints, chosen: Ints) -> Floats:
    """The means of some vertices' neighbours."""
    counts = starts[chosen + 1] - starts[chosen]
    ends = np.cumsum(counts)
    places = np.arange(ends[-1]) + np.repeat(starts[chosen] - (ends - counts), counts)
    sums = np.add.reduceat(vertices[around[places]], ends - counts)
    return np.asarray(sums / counts[:, None])
