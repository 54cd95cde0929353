"""What photos say of a surface: where one that is carried over it into another looks different there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from recon3d.surface.normals import face_geometry, usual_edge, vertex_normals
from recon3d.surface.photo_kernels import compare, gather, project, render, warp
from recon3d.types import Bytes, Camera, Floats, Floats32, Ints, Mesh

Mask = NDArray[np.bool_]

#: Side of the windows in which two photos are evened, in pixels, and the share of one that both must show.
_WINDOW, _SHOWN = 7, 0.6
#: Least correlation in a window that counts.
_ALIKE = 0.3
#: Noise of a photo's brightness, of 255.
NOISE = 3.0
#: Differences of so many times the noise lose half of their weight.
_ROBUST = 3.0
#: Photos that each wants to be compared with, and the angles between their rays, in degrees: below and
#: above the first two they count less, above the third not at all.
_OTHERS, _ANGLES = 3, (10.0, 25.0, 45.0)
#: Pairs of photos must have this share of what one of them shows in common.
_COMMON = 0.1
#: A place that so many pairs show needs no more; a pair counts if this share of what it shows does.
_ENOUGH, _NEW = 16, 0.25
#: Vertices that tell which photos show the same.
_SAMPLE = 2000
#: A surface this many edges in front of a place hides it.
_HIDES = 3.0


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
        return _center(self.cam_from_world)

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


@dataclass(frozen=True, eq=False)
class Terms:
    """What one photo, compared with its partners, says of a step.

    Parameters
    ----------
    vertices : ndarray of int32, shape (N,)
        Of which it says something.
    squares, products : ndarray of float64, shape (N,)
        Of slopes, and of slopes and differences; the unit of length is the world's.
    """

    vertices: Ints
    squares: Floats
    products: Floats


def shown_vertices(mesh: Mesh, photo: Photo) -> Mask:
    """Tell which of some vertices a photo shows, from in front or behind.

    Parameters
    ----------
    mesh : Mesh
        Every n-th of its vertices is looked at, so that these are about 2000 to 4000.
    photo : Photo
        At the size of the first round.

    Returns
    -------
    ndarray of bool, shape (N,)
    """
    inverse, _ = _rendered(mesh, photo)
    areas = face_geometry(mesh.vertices, mesh.faces)[1]
    u, v, near = photo.corners(mesh.vertices[_sample(mesh)]).T
    height, width = inverse.shape
    inside = (near > 0) & (u >= 0) & (v >= 0) & (u < width) & (v < height)
    column, row = (np.where(inside, place, 0).astype(np.int64) for place in (u, v))
    depth = 1 / np.where(near > 0, near, 1)
    inside &= inverse[row, column] * (depth - _HIDES * usual_edge(areas)) <= 1
    return np.asarray(inside)


def choose_pairs(mesh: Mesh, poses: Sequence[Floats], shown: Sequence[Mask]) -> list[list[int]]:
    """Choose the photos that are compared: those that show most of the same from another side.

    Comparing two photos the other way round says nearly the same, and more than some pairs add little where
    many photos show a place.

    Parameters
    ----------
    mesh : Mesh
    poses : sequence of ndarray of float64, shape (4, 4)
        ``cam_from_world`` of each photo.
    shown : sequence of ndarray of bool, shape (N,)
        What `shown_vertices` gave for each.

    Returns
    -------
    list of list of int
        Partners of each photo. A pair is in the list of one of its photos.
    """
    points, normals = mesh.vertices[_sample(mesh)], vertex_normals(mesh)[_sample(mesh)]
    rays, seen = [], []
    for pose, inside in zip(poses, shown, strict=True):
        ray = points - _center(pose)
        ray /= np.maximum(np.linalg.norm(ray, axis=1, keepdims=True), 1e-300)
        rays.append(ray)
        seen.append(inside & (np.einsum("nc,nc->n", ray, normals) < 0))
    wanted: dict[tuple[int, int], float] = {}
    for index, score in enumerate(_scores(rays, seen)):
        for other in np.argsort(-score, kind="stable")[:_OTHERS]:
            if score[other] > 0:
                wanted[min(index, int(other)), max(index, int(other))] = float(score[other])
    told = np.zeros(len(points), np.int32)
    partners: list[list[int]] = [[] for _ in rays]
    for first, second in sorted(wanted, key=lambda pair: -wanted[pair]):
        both = seen[first] & seen[second]
        if (told[both] < _ENOUGH).mean() < _NEW:
            continue
        told += both
        if len(partners[first]) > len(partners[second]):
            first, second = second, first
        partners[first].append(second)
    return partners


def _scores(rays: Sequence[Floats], seen: Sequence[Mask]) -> Floats:
    """How much each photo wants each other one; 0 where they have too little in common."""
    score = np.zeros((len(rays), len(rays)))
    for first in range(len(rays)):
        for second in range(first):
            both = seen[first] & seen[second]
            common = both.sum()
            if not common:
                continue
            cosine = np.einsum("nc,nc->n", rays[first][both], rays[second][both])
            angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
            value = np.interp(angle, (0, *_ANGLES), (0, 1, 1, 0)).sum()
            for one, other in ((first, second), (second, first)):
                if common >= _COMMON * seen[one].sum():
                    score[one, other] = value
    return score


def compare_photos(
    mesh: Mesh, photos: Mapping[int, Photo], pairs: Mapping[int, Sequence[int]]
) -> Iterator[tuple[int, Terms]]:
    """Compare photos with their partners over a surface.

    Parameters
    ----------
    mesh : Mesh
    photos : mapping of int to Photo
        At a round's size: at least those of `pairs`.
    pairs : mapping of int to sequence of int
        Partners of the photos that are compared.

    Yields
    ------
    (int, Terms)
        In the order of `pairs`. The terms do not depend on what else is compared.
    """
    normals, areas, _ = face_geometry(mesh.vertices, mesh.faces)
    hides = _HIDES * usual_edge(areas)
    wanted = {index for first, others in pairs.items() for index in (first, *others)}
    views = {index: (photos[index], *_rendered(mesh, photos[index])) for index in sorted(wanted)}
    for index, others in pairs.items():
        yield index, _terms(mesh, normals, hides, views[index], [views[other] for other in others])


#: A photo; at each of its pixels inverse depth, and the face that it shows.
_View = tuple[Photo, Floats32, Ints]


def _terms(mesh: Mesh, normals: Floats, hides: float, view: _View, others: Sequence[_View]) -> Terms:
    photo, inverse, face = view
    corners = photo.corners(mesh.vertices)
    if photo.counts is not None:
        face = np.where(photo.counts, face, np.int32(-1))
    own = photo.brightness
    squares, products = np.zeros(len(corners)), np.zeros(len(corners))
    for second, other_inverse, _ in others:
        values = second.values
        seen, slope, shown = (np.zeros(own.shape, np.float32) for _ in range(3))
        warp(
            *(inverse, face, normals),
            *(photo.camera.K, photo.rotation, photo.center),
            *(other_inverse, second.camera.K, second.rotation, second.center),
            *(values, *_gradient(values)),
            hides,
            *(seen, slope, shown),
        )
        difference, change, weight = (np.zeros(own.shape, np.float32) for _ in range(3))
        compare(
            *(own, seen, slope, shown),
            *(_WINDOW // 2, _SHOWN * _WINDOW**2, _ALIKE, _ROBUST * NOISE),
            *(np.zeros((own.shape[1], 7)), np.zeros(7)),
            *(difference, change, weight),
        )
        gather(face, corners, mesh.faces, difference, change, weight, squares, products)
    told = np.flatnonzero((squares != 0) | (products != 0)).astype(np.int32)
    return Terms(told, squares[told], products[told])


def _rendered(mesh: Mesh, photo: Photo) -> tuple[Floats32, Ints]:
    inverse = np.zeros(photo.brightness.shape, np.float32)
    face = np.full(photo.brightness.shape, -1, np.int32)
    render(photo.corners(mesh.vertices), mesh.faces, inverse, face)
    return inverse, face


def _sample(mesh: Mesh) -> slice:
    return slice(None, None, max(1, len(mesh.vertices) // _SAMPLE))


def _center(cam_from_world: Floats) -> Floats:
    place: Floats = -cam_from_world[:3, :3].T @ cam_from_world[:3, 3]
    return place


def _gradient(image: Floats32) -> tuple[Floats32, Floats32]:
    across, down = (
        np.asarray(cv2.Sobel(image, cv2.CV_32F, *axis, ksize=3, scale=0.125), np.float32)
        for axis in ((1, 0), (0, 1))
    )
    return across, down
