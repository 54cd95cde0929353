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

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import LinearOperator, cg

from recon3d.surface.photo_kernels import bend, compare, gather, project, render, resist, warp
from recon3d.surface.smoothing import (
    Strength,
    face_geometry,
    smooth_surface,
    vertex_neighbors,
    vertex_normals,
)
from recon3d.surface.threads import ALONE, Threads
from recon3d.types import Bytes, Camera, Floats, Floats32, Ints, Mesh

Mask = NDArray[np.bool_]

#: Sizes of the images in the rounds, relative to the depth maps. Before the last one the surface is smoothed.
SIZES = (0.8, 1.0, 1.6, 1.6, 1.6)
#: Side of the windows in which two photos are evened, in pixels, and the share of one that both must show.
_WINDOW, _SHOWN = 7, 0.6
#: Least correlation in a window that counts.
_ALIKE = 0.3
#: Noise of a photo's brightness, of 255; differences of so many times this lose half of their weight.
_NOISE, _ROBUST = 3.0, 3.0
#: Usual bend of a step at a vertex, in lengths of edges; in the last round, which gives back what smoothing
#: takes off outlines.
_BEND, _LAST_BEND = 0.12, 0.03
#: Smoothing that takes off what noise of the photos did.
_EVEN = Strength(angle=12.0, normal_rounds=4, vertex_rounds=8)
#: Photos that each is compared with, and the angles between their rays, in degrees: below and above the
#: first two they count less, above the third not at all.
_OTHERS, _ANGLES = 3, (10.0, 25.0, 45.0)
#: Pairs of photos must have this share of what one of them shows in common.
_COMMON = 0.1
#: Vertices that tell which photos show the same.
_SAMPLE = 2000
#: A surface this many edges in front of a place hides it.
_HIDES = 3.0
#: No vertex moves further than this many pixels in a round, and than so many of the depth maps in all.
_STEP, _FARTHEST = 1.0, 3.0
#: Rounds and precision of the solver, and vertices that are worth a thread.
_SOLVER_ROUNDS, _PRECISION, _LEAST = 60, 1e-3, 20_000
#: Photos whose terms are kept until they are added up, for each thread: so none waits long for another.
_AT_ONCE = 4


@dataclass(frozen=True, eq=False)
class Photo:
    """A photo as refinement takes it.

    Parameters
    ----------
    brightness : ndarray of uint8, shape (H, W)
    camera : Camera
        Pinhole.
    cam_from_world : ndarray of float64, shape (4, 4)
    counts : ndarray of bool, shape (H, W), optional
        Pixels that show the scene; all by default.
    """

    brightness: Bytes
    camera: Camera
    cam_from_world: Floats
    counts: Mask | None = None

    def fitted(self, size: int) -> Photo:
        """Scale the photo down.

        Parameters
        ----------
        size : int
            Longer side at most, in pixels.

        Returns
        -------
        Photo
        """
        camera = self.camera.fitted(size)
        if camera is self.camera:
            return self
        shape = (camera.width, camera.height)
        brightness = np.asarray(cv2.resize(self.brightness, shape, interpolation=cv2.INTER_AREA), np.uint8)
        counts = None
        if self.counts is not None:
            share = cv2.resize(self.counts.astype(np.uint8) * 255, shape, interpolation=cv2.INTER_AREA)
            counts = np.asarray(share == 255)
        return Photo(brightness, camera, self.cam_from_world, counts)

    @property
    def values(self) -> Floats32:
        """Brightness, NaN where the photo does not count; shape (H, W)."""
        values = self.brightness.astype(np.float32)
        if self.counts is not None:
            values[~self.counts] = np.nan
        return values

    @property
    def rotation(self) -> Floats:
        """From the world, shape (3, 3)."""
        return self.cam_from_world[:3, :3]

    @property
    def center(self) -> Floats:
        """Of the camera, shape (3,)."""
        place: Floats = -self.rotation.T @ self.cam_from_world[:3, 3]
        return place

    def corners(self, vertices: Floats) -> Floats:
        """Project vertices, as `render` takes them.

        Parameters
        ----------
        vertices : ndarray of float64, shape (V, 3)

        Returns
        -------
        ndarray of float64, shape (V, 3)
            Pixels and inverse depth; that is 0 behind the camera.
        """
        found = np.empty((len(vertices), 3))
        project(
            np.ascontiguousarray(vertices, np.float64),
            self.camera.K,
            np.ascontiguousarray(self.cam_from_world, np.float64),
            found,
        )
        return found


def refine(
    mesh: Mesh,
    photos: Sequence[Photo],
    size: int,
    pixel: float,
    threads: Threads = ALONE,
) -> Mesh:
    """Move a surface along its normals until photos agree on it.

    Parameters
    ----------
    mesh : Mesh
        With vertices about evenly spaced.
    photos : sequence of Photo
        The largest that a round uses are `SIZES` times as large as the depth maps.
    size : int
        Longer side of the depth maps in pixels.
    pixel : float
        Size of one of their pixels on the surface.
    threads : Threads, optional

    Returns
    -------
    Mesh
        Same faces. Where no two photos show it, the surface follows its surroundings.
    """
    if not len(mesh.faces) or pixel <= 0:
        return mesh
    near = vertex_neighbors(mesh.faces, len(mesh.vertices))
    vertices = mesh.vertices
    pairs: list[list[int]] | None = None
    for number, scale in enumerate(SIZES):
        last = number == len(SIZES) - 1
        if last:
            vertices = smooth_surface(
                replace(mesh, vertices=vertices), strength=_EVEN, threads=threads
            ).vertices
        scaled = [photo.fitted(round(scale * size)) for photo in photos]
        surface = _Surface(replace(mesh, vertices=vertices, normals=None), scaled, threads)
        if pairs is None:
            pairs = surface.pairs()
        stiffness = _NOISE / ((_LAST_BEND if last else _BEND) * surface.edge)
        step = _smooth_step(*surface.terms(pairs), near, stiffness, threads)
        step = np.clip(step, -_STEP * pixel / scale, _STEP * pixel / scale)
        vertices = vertices + step[:, None] * vertex_normals(surface.mesh)
    away = vertices - mesh.vertices
    length = np.linalg.norm(away, axis=1, keepdims=True)
    vertices = mesh.vertices + away * np.minimum(1, _FARTHEST * pixel / np.maximum(length, 1e-300))
    return replace(mesh, vertices=vertices, normals=None)


def _smooth_step(hold: Floats, right: Floats, near: csr_matrix, stiffness: float, threads: Threads) -> Floats:
    """The step that fits best and bends little: the mean of a vertex's neighbours is near its own."""
    weight = stiffness**2
    bent, shared = np.empty_like(hold), np.empty_like(hold)

    def apply(step: Floats) -> Floats:
        result = np.empty_like(step)
        threads.run(bend, near.indptr, near.indices, step, bent, shared, count=count, least=_LEAST)
        rows = (near.indptr, near.indices, hold, weight, step, bent, shared, result)
        threads.run(resist, *rows, count=count, least=_LEAST)
        return result

    count = len(hold)
    scale = 1 / (hold + weight)
    step, _ = cg(
        LinearOperator((count, count), apply, dtype=np.float64),
        right,
        M=LinearOperator((count, count), lambda values: scale * values, dtype=np.float64),
        maxiter=_SOLVER_ROUNDS,
        rtol=_PRECISION,
    )
    return np.asarray(step)


class _Surface:
    """A mesh as photos show it."""

    def __init__(self, mesh: Mesh, photos: Sequence[Photo], threads: Threads) -> None:
        self.mesh, self.photos, self.threads = mesh, photos, threads
        self.normals, areas, _ = face_geometry(mesh.vertices, mesh.faces, threads)
        self.edge = float(np.sqrt(2 * np.median(areas)))
        # At each pixel of each photo: inverse depth, and the face that it shows.
        self.inverse: list[Floats32] = [np.zeros(photo.brightness.shape, np.float32) for photo in photos]
        self.face: list[Ints] = [np.full(photo.brightness.shape, -1, np.int32) for photo in photos]
        threads.run(self._render, count=len(photos))

    def _render(self, start: int, stop: int) -> None:
        for index in range(start, stop):
            corners = self.photos[index].corners(self.mesh.vertices)
            render(corners, self.mesh.faces, self.inverse[index], self.face[index])

    def pairs(self) -> list[list[int]]:
        """The photos that each is compared with: those that show most of the same from another side."""
        rows = slice(None, None, max(1, len(self.mesh.vertices) // _SAMPLE))
        points, normals = self.mesh.vertices[rows], vertex_normals(self.mesh)[rows]
        rays, shown = [], []
        for photo, inverse in zip(self.photos, self.inverse, strict=True):
            ray = points - photo.center
            ray /= np.maximum(np.linalg.norm(ray, axis=1, keepdims=True), 1e-300)
            u, v, near = photo.corners(points).T
            height, width = inverse.shape
            inside = (near > 0) & (u >= 0) & (v >= 0) & (u < width) & (v < height)
            inside &= np.einsum("nc,nc->n", ray, normals) < 0
            column, row = (np.where(inside, place, 0).astype(np.int64) for place in (u, v))
            depth = 1 / np.where(near > 0, near, 1)
            inside &= inverse[row, column] * (depth - _HIDES * self.edge) <= 1
            rays.append(ray)
            shown.append(inside)
        found = []
        for index, ray in enumerate(rays):
            score = np.zeros(len(rays))
            for other in range(len(rays)):
                both = shown[index] & shown[other]
                if other == index or both.sum() < _COMMON * shown[index].sum():
                    continue
                cosine = np.einsum("nc,nc->n", ray[both], rays[other][both])
                angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
                score[other] = np.interp(angle, (0, *_ANGLES), (0, 1, 1, 0)).sum()
            best = np.argsort(-score, kind="stable")[:_OTHERS]
            found.append([int(other) for other in best if score[other] > 0])
        return found

    def terms(self, pairs: list[list[int]]) -> tuple[Floats, Floats]:
        """At each vertex the squares of slopes, and products of slopes and differences, of all pairs."""
        count = len(self.mesh.vertices)
        hold, right = np.zeros(count), np.zeros(count)
        indices = [index for index, others in enumerate(pairs) if others]
        at_once = _AT_ONCE * self.threads.count
        for start in range(0, len(indices), at_once):
            part = indices[start : start + at_once]
            found: list[tuple[Floats, Floats]] = [(hold, right)] * len(part)

            def gather_part(
                first: int, last: int, part: list[int] = part, found: list[tuple[Floats, Floats]] = found
            ) -> None:
                for place in range(first, last):
                    found[place] = self._terms_of(part[place], pairs[part[place]])

            self.threads.run(gather_part, count=len(part))
            # In the photos' order: the sum does not depend on the number of threads.
            for own_hold, own_right in found:
                hold += own_hold
                right += own_right
        return hold, right

    def _terms_of(self, index: int, others: list[int]) -> tuple[Floats, Floats]:
        photo, face = self.photos[index], self.face[index]
        corners = photo.corners(self.mesh.vertices)
        if photo.counts is not None:
            face = np.where(photo.counts, face, np.int32(-1))
        own = photo.brightness
        hold, right = np.zeros(len(corners)), np.zeros(len(corners))
        for other in others:
            second = self.photos[other]
            values = second.values
            seen, slope, shown = (np.zeros(own.shape, np.float32) for _ in range(3))
            warp(
                self.inverse[index],
                face,
                self.normals,
                *(photo.camera.K, photo.rotation, photo.center),
                self.inverse[other],
                *(second.camera.K, second.rotation, second.center),
                *(values, *_gradient(values)),
                _HIDES * self.edge,
                *(seen, slope, shown),
            )
            difference, change, weight = (np.zeros(own.shape, np.float32) for _ in range(3))
            compare(
                *(own, seen, slope, shown),
                *(_WINDOW // 2, _SHOWN * _WINDOW**2, _ALIKE, _ROBUST * _NOISE),
                *(np.zeros((own.shape[1], 7)), np.zeros(7)),
                *(difference, change, weight),
            )
            gather(face, corners, self.mesh.faces, difference, change, weight, hold, right)
        return hold, right


def _gradient(image: Floats32) -> tuple[Floats32, Floats32]:
    across, down = (
        np.asarray(cv2.Sobel(image, cv2.CV_32F, *axis, ksize=3, scale=0.125), np.float32)
        for axis in ((1, 0), (0, 1))
    )
    return across, down
