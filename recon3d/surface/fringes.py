"""The ground's torn fringe, taken off.

Around an object, depth maps measure the ground in strips that thin out. Strips by themselves, and
pieces that only a strip holds, are dropped; what stays has an even rim.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recon3d.kernels import kernel
from recon3d.surface.cleaning import with_faces
from recon3d.surface.connectivity import (
    adjacent_faces,
    any_corner,
    border_vertices,
    every_corner,
    faces_around_vertices,
    label_patches,
)
from recon3d.surface.normals import face_geometry
from recon3d.surface.vertex_heap import rise, sink
from recon3d.threads import ALONE, Threads
from recon3d.types import Floats, Ints, Mesh

Mask = NDArray[np.bool_]

#: A border lies on ground when this share of the faces along it look the same way, up to an angle of
#: this cosine. Parts whose mean normal has this length along that, and whose mean height is so many
#: widths from the border's, are ground.
_MOST, _ALIKE, _LEVEL, _NEAR = 0.5, 0.8, 0.8, 3.0
#: Smallest area of a piece of ground that only strips hold, relative to the largest piece's.
_PIECE = 0.3
#: What is left of a piece grows back by this many widths.
_GROWTH = 1.3


def trim_fringes(mesh: Mesh, width: float, threads: Threads = ALONE) -> Mesh:
    """Take strips and nearly loose pieces off the ground at a surface's border.

    Parts that are not level stay, and so does a surface whose border lies on no ground.

    Parameters
    ----------
    mesh : Mesh
    width : float
        Half the width of the widest strip that goes.
    threads : Threads, optional

    Returns
    -------
    Mesh
    """
    lists = faces_around_vertices(mesh.faces, len(mesh.vertices), threads)
    border = np.zeros(len(mesh.vertices), bool)
    border[border_vertices(mesh.faces, threads, lists)] = True
    core: Mask = ~any_corner(_within(mesh, lists, border, width), mesh.faces)
    normals, areas, centers = face_geometry(mesh.vertices, mesh.faces, threads)
    up = _ground(normals[~core], areas[~core])
    if up is None or not core.any():
        return mesh
    slope, height = normals @ up, centers @ up
    floor = np.median(height[~core & (slope >= _ALIKE)])

    def ground(part: Ints) -> Mask:
        """Tell which parts are level and at the border's height."""
        chosen = part >= 0
        area = np.bincount(part[chosen], areas[chosen])
        level = np.bincount(part[chosen], (areas * slope)[chosen]) >= _LEVEL * area
        mean = np.bincount(part[chosen], (areas * height)[chosen]) / area
        return np.asarray(level & (np.abs(mean - floor) <= _NEAR * width))

    pairs = adjacent_faces(mesh.faces, threads, lists)
    part = label_patches(len(core), core, pairs)
    size = np.bincount(part[core], areas[core])
    kept = (size >= _PIECE * size.max()) | ~ground(part)
    seeds = np.zeros(len(mesh.vertices), bool)
    seeds[mesh.faces[core][kept[part[core]]]] = True
    goes: Mask = ~every_corner(_within(mesh, lists, seeds, _GROWTH * width), mesh.faces)
    if goes.any():
        part = label_patches(len(core), goes, pairs)
        goes[goes] = ground(part)[part[goes]]
    return with_faces(mesh, mesh.faces[~goes])


def _ground(normals: Floats, areas: Floats) -> Floats | None:
    """The normal of most of some faces."""
    if not len(normals):
        return None
    up: Floats = areas @ normals
    for _ in range(3):
        alike = normals @ up >= _ALIKE * np.linalg.norm(up)
        if areas[alike].sum() < _MOST * areas.sum():
            return None
        up = areas[alike] @ normals[alike]
    return up / np.linalg.norm(up)


def _within(mesh: Mesh, lists: tuple[Ints, Ints], start: Mask, distance: float) -> Mask:
    """Vertices nearer to some of them than a distance, along the surface's edges."""
    far = np.where(start, 0.0, np.inf)
    heap, place = np.empty(len(far), np.int32), np.full(len(far), -1, np.int32)
    _spread(mesh.vertices, mesh.faces, *lists, far, distance, heap, place)
    return np.asarray(np.isfinite(far))


@kernel(_nrt=False)
def _spread(
    vertices: Any, faces: Any, starts: Any, around: Any, far: Any, limit: float, heap: Any, place: Any
) -> None:  # pragma: no cover
    """Dijkstra's algorithm, from the vertices at distance 0."""
    count = 0
    for v in range(len(far)):
        if far[v] == 0:
            inner = True
            for at in range(starts[v], starts[v + 1]):
                for k in range(3):
                    inner &= far[faces[around[at], k]] == 0
            if not inner:
                heap[count] = v
                place[v] = count
                count += 1
    while count:
        near = heap[0]
        count -= 1
        if count:
            heap[0] = heap[count]
            sink(np.int64(0), count, heap, place, far)
        place[near] = -1
        for at in range(starts[near], starts[near + 1]):
            for k in range(3):
                n = faces[around[at], k]
                square = 0.0
                for axis in range(3):
                    square += (vertices[near, axis] - vertices[n, axis]) ** 2
                there = far[near] + math.sqrt(square)
                if there < far[n] and there <= limit:
                    far[n] = there
                    if place[n] < 0:
                        heap[count] = n
                        place[n] = count
                        count += 1
                    rise(np.int64(place[n]), heap, place, far)
