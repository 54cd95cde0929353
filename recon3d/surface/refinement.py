"""A surface moved until the photos agree on it.

Where a surface is right, a photo that is carried over it into another photo looks the same there. Depth
maps come from small images and flat patches; this uses larger images and the surface's own shape, as
[1]_ does. A step is that of Gauss and Newton: the brightness that a pixel lacks, divided by the change
that a shift of the surface along its normal makes. Steps are smooth, in all directions by the same
measure, and noise of the photos sets how much.

References
----------
.. [1] Vu, Labatut, Pons and Keriven, High Accuracy and Visibility-Consistent Dense Multiview Stereo,
   TPAMI 2012.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from recon3d.surface.connectivity import vertices_around_vertices
from recon3d.surface.normals import face_areas, usual_edge, vertex_normals
from recon3d.surface.photo_terms import NOISE, Photo, Terms
from recon3d.surface.smoothing import Strength, smooth_surface, strength_for_fit
from recon3d.surface.step_solver import LEAST, bend, smooth_step
from recon3d.surface.unfolding import unfold
from recon3d.threads import ALONE, Threads
from recon3d.types import Ints, Mesh

#: Sizes of the images in the rounds, relative to the depth maps. Before the last one the surface is smoothed.
SIZES = (0.8, 1.2, 1.6, 1.6)
LAST_ROUND = len(SIZES) - 1
#: Usual bend of a step at a vertex, in lengths of edges; in the last round, which gives back what smoothing
#: takes off outlines.
_BEND, _LAST_BEND = 0.12, 0.015
#: Smoothing that takes off what noise of the photos did, and what the last round adds.
_EVEN = Strength(angle=12.0, normal_rounds=4, vertex_rounds=8)
_LAST_EVEN = Strength(angle=8.0, normal_rounds=2, vertex_rounds=4)
#: No vertex moves further than this many pixels in a round, and than so many of the depth maps in all.
_STEP, _FARTHEST = 1.0, 3.0


@dataclass(frozen=True, eq=False)
class Neighbors:
    """Which vertices an edge joins.

    Parameters
    ----------
    starts, vertices : ndarray of int32, shapes (V + 1,) and (N,)
        Vertex v has the neighbours ``vertices[starts[v]:starts[v + 1]]``.
    """

    starts: Ints
    vertices: Ints

    @classmethod
    def of(cls, mesh: Mesh) -> Neighbors:
        """Find them.

        Parameters
        ----------
        mesh : Mesh

        Returns
        -------
        Neighbors
        """
        return cls(*vertices_around_vertices(mesh.faces, len(mesh.vertices)))


def roughness(mesh: Mesh, near: Neighbors, threads: Threads = ALONE) -> float:
    """Measure how far vertices lie in front of or behind the mean of their neighbours.

    Parameters
    ----------
    mesh : Mesh
        With vertices about evenly spaced.
    near : Neighbors
        Of its vertices.
    threads : Threads, optional

    Returns
    -------
    float
        Median, in usual lengths of an edge.
    """
    count, normals = len(mesh.vertices), vertex_normals(mesh, threads)
    out, away, unused = np.zeros(count), np.empty(count), np.empty(count)
    for axis in range(3):
        places = mesh.vertices[:, axis].copy()
        threads.run(bend, near.starts, near.vertices, places, away, unused, count=count, least=LEAST)
        out += away * normals[:, axis]
    edge = usual_edge(face_areas(mesh.vertices, mesh.faces, threads))
    return float(np.median(np.abs(out))) / edge


def scaled_photo(photo: Photo, number: int, size: int) -> Photo:
    """Scale a photo for a round.

    Parameters
    ----------
    photo : Photo
        The largest that a round uses are `SIZES` times as large as the depth maps.
    number : int
        Of the round, from 0.
    size : int
        Longer side of the depth maps in pixels.

    Returns
    -------
    Photo
    """
    return photo.fitted(round(SIZES[number] * size))


def next_surface(
    mesh: Mesh,
    terms: Iterable[Terms],
    number: int,
    start: Mesh,
    near: Neighbors,
    pixel: float,
    threads: Threads = ALONE,
) -> Mesh:
    """Move a surface along its normals by what the photos say.

    Parameters
    ----------
    mesh : Mesh
    terms : iterable of Terms
        Of all photos, in their order: sums of floating-point numbers depend on it.
    number : int
        Of the round, from 0.
    start : Mesh
        What the first round began with, with vertices about evenly spaced.
    near : Neighbors
        Of its vertices.
    pixel : float
        Size of a pixel of the depth maps on the surface, more than 0.
    threads : Threads, optional

    Returns
    -------
    Mesh
        Same faces. Where no two photos show it, the surface follows its surroundings.
    """
    hold, right = np.zeros(len(mesh.vertices)), np.zeros(len(mesh.vertices))
    for part in terms:
        hold[part.vertices] += part.squares
        right[part.vertices] += part.products
    edge = usual_edge(face_areas(mesh.vertices, mesh.faces, threads))
    stiffness = NOISE / ((_LAST_BEND if number == LAST_ROUND else _BEND) * edge)
    step = smooth_step(hold, right, (near.starts, near.vertices), stiffness, threads)
    farthest = _STEP * pixel / SIZES[number]
    step = np.clip(step, -farthest, farthest)
    vertices = mesh.vertices + step[:, None] * vertex_normals(mesh, threads)
    mesh = replace(mesh, vertices=vertices, normals=None)
    if number + 1 == LAST_ROUND:
        mesh = smooth_surface(mesh, strength=_EVEN, threads=threads)
        # Blurred or compressed photos have more noise than the steps' stiffness expects.
        added = roughness(mesh, near, threads) - roughness(start, near, threads)
        strength = strength_for_fit(added, edge / pixel)
        return mesh if strength is None else smooth_surface(mesh, strength=strength, threads=threads)
    if number == LAST_ROUND:
        vertices = smooth_surface(mesh, strength=_LAST_EVEN, threads=threads).vertices
        away = vertices - start.vertices
        length = np.linalg.norm(away, axis=1, keepdims=True)
        vertices = start.vertices + away * np.minimum(1, _FARTHEST * pixel / np.maximum(length, 1e-300))
        return unfold(replace(mesh, vertices=vertices), start, (near.starts, near.vertices), threads)
    return mesh
