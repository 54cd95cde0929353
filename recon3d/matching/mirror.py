"""A mirror, or still water: a plane behind which the scene is seen once more, reflected.

A mirror image obeys the same geometry as the scene itself, so its points are placed like all others,
behind the mirror. Looks and places give them away. The descriptor of a mirrored feature is that of the
feature itself with its numbers in another order. Each pair of points that are alike in this way names
a plane, halfway between them. In the presence of a mirror many pairs name the same plane.

Buildings and faces are symmetric, too, and repeated patterns look alike when mirrored. So a pair
counts only if its features resemble no other and are not symmetric in themselves, all cameras must
stand in front of the plane, and they must look at it and not along it, unless it lies level below them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from recon3d.types import Floats, Ints

#: Points that are compared, and observations of each: the cost grows with the square of their product.
_POINTS, _OBSERVATIONS = 4000, 3
#: Most similar features that are looked at, and features that are compared at a time.
_BEST, _BLOCK = 8, 200
#: Least cosine between the descriptor of a feature and the mirrored one of its partner, how much
#: larger it is than without mirroring, and the ratio of distances to the next best partner.
_ALIKE, _CHIRAL, _RATIO = 0.8, 0.05, 0.85
#: Points of a pair lie this many distances from the cameras apart, and so do different partners.
_APART, _OTHER = 0.1, 0.03
#: Radians by which a reflected point may miss its partner, as two cameras see it.
_MISS = 0.004
#: Planes are alike up to this radius, in radians and in distances; so many of them are looked at.
_ALIKE_PLANES, _TRIED = 0.05, 200
#: Pairs that make a mirror. Sets without one have up to 3; rendered mirrors have 13 and more.
_PAIRS = 6
#: Sine of the angle at which rays meet a mirror, in the middle, and cosine between a level plane and up.
_STEEP, _LEVEL = 0.5, 0.985
#: Share of the farthest camera's distance from the plane that the nearest one has.
_ALL_BEFORE = 0.02


@dataclass(frozen=True, eq=False)
class Sightings:
    """Points, and how some of their views see them.

    Parameters
    ----------
    points : ndarray of float64, shape (N, 3)
    centers : ndarray of float64, shape (V, 3)
        Positions of the cameras.
    owners, views : ndarray of int, shape (M,)
        Point and view of each observation; those of a point follow each other.
    descriptors : ndarray of uint8, shape (M, 128)
        SIFT descriptors.
    """

    points: Floats
    centers: Floats
    owners: Ints
    views: Ints
    descriptors: NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Mirror:
    """A plane that reflects: points x with normal . x = offset.

    Parameters
    ----------
    normal : ndarray of float64, shape (3,)
        Towards the cameras.
    offset : float
    pairs : int
        Points that are seen twice.
    level : bool
        Whether it lies level below the cameras, as water does.
    """

    normal: Floats
    offset: float
    pairs: int
    level: bool


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Points, the points that look like their mirror images, and two cameras that see the latter."""

    real: Floats
    image: Floats
    first: Floats
    last: Floats
    #: Numbers of the images' points.
    images: Ints

    def agreeing(self, normal: Floats, offset: float) -> NDArray[np.bool_]:
        height = self.real @ normal - offset
        reflected = self.real - 2 * height[:, None] * normal
        near = height > 0
        for camera in (self.first, self.last):
            near &= _angles(reflected - camera, self.image - camera) < _MISS
        return near


def find_mirror(seen: Sightings, up: Floats | None) -> Mirror | None:
    """Find the mirror of a scene.

    Parameters
    ----------
    seen : Sightings
    up : ndarray of float64, shape (3,), optional
        Unit vector; without it water is found only where the cameras look down at it.

    Returns
    -------
    Mirror or None
    """
    found = strongest_plane(seen, up)
    return found if found is not None and found.pairs >= _PAIRS else None


def strongest_plane(seen: Sightings, up: Floats | None) -> Mirror | None:
    """Find the plane that most pairs name, however few.

    Parameters
    ----------
    seen : Sightings
    up : ndarray of float64, shape (3,), optional

    Returns
    -------
    Mirror or None
        None where fewer than three do.
    """
    if len(seen.points) < 2 * _PAIRS or len(seen.centers) < 2:
        return None
    pairs, distance = _look_alikes(seen)
    normals = pairs.real - pairs.image
    normals /= np.linalg.norm(normals, axis=1)[:, None]
    offsets = np.einsum("nc,nc->n", normals, (pairs.real + pairs.image) / 2)
    heights = seen.centers @ normals.T - offsets
    usable = np.flatnonzero(heights.min(axis=0) > _ALL_BEFORE * heights.max(axis=0))
    if not len(usable):
        return None
    middle = np.median(seen.points, axis=0)
    places = np.column_stack([normals, (offsets - normals @ middle) / distance])[usable]
    alike = cKDTree(places).query_ball_point(places, _ALIKE_PLANES, return_length=True)
    best: tuple[int, Floats, float, bool] | None = None
    for row in usable[np.argsort(-alike, kind="stable")][:_TRIED]:
        normal, offset, agreeing = _refined(pairs, normals[row], float(offsets[row]))
        count = len(np.unique(pairs.images[agreeing]))
        if best is not None and count <= best[0]:
            continue
        level = up is not None and float(normal @ up) > _LEVEL
        if count >= 3 and (level or _is_looked_at(pairs, agreeing, normal)) and _before(seen, normal, offset):
            best = count, normal, offset, level
    if best is None:
        return None
    count, normal, offset, level = best
    return Mirror(normal, offset, count, level)


def mirrored(descriptors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Descriptors of the mirrored features.

    Parameters
    ----------
    descriptors : ndarray of float32, shape (N, 128)
        Of SIFT: four rows of four cells of eight directions, in the frame of the feature's direction.

    Returns
    -------
    ndarray of float32, shape (N, 128)
    """
    cells = descriptors.reshape(-1, 4, 4, 8)
    return np.ascontiguousarray(cells[:, ::-1][..., -np.arange(8) % 8].reshape(-1, 128))


def _look_alikes(seen: Sightings) -> tuple[_Pairs, float]:
    """Pairs of points of which one looks like the mirror image of the other, and the usual distance."""
    chosen = _thinned(seen)
    point, center = seen.owners[chosen], seen.centers[seen.views[chosen]]
    features = seen.descriptors[chosen].astype(np.float32)
    features /= np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-6)
    flipped = mirrored(features)
    length = np.linalg.norm(seen.points[point] - center, axis=1)
    distance = float(np.median(length))
    found: list[Ints] = []
    for start in range(0, len(features), _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, len(features)))
        similar = features[rows] @ flipped.T
        # The features of a point follow each other, so they are near the diagonal.
        low, high = np.searchsorted(point, point[rows[0]]), np.searchsorted(point, point[rows[-1]], "right")
        similar[:, low:high][point[rows, None] == point[low:high]] = -1
        partner = similar.argmax(axis=1)
        alike = similar[np.arange(len(rows)), partner]
        place = seen.points[point[partner]]
        plain = np.einsum("nc,nc->n", features[rows], features[partner])
        apart = np.linalg.norm(seen.points[point[rows]] - place, axis=1)
        # Few are left for the dearest question, whether any other point looks as alike.
        left = (alike > _ALIKE) & (alike > plain + _CHIRAL) & (apart > _APART * length[rows])
        rows, partner, alike, place, similar = (each[left] for each in (rows, partner, alike, place, similar))
        best = np.argpartition(-similar, min(_BEST, len(features)) - 1, axis=1)[:, :_BEST]
        score = np.take_along_axis(similar, best, axis=1)
        other = np.linalg.norm(seen.points[point[best]] - place[:, None], axis=2) > _OTHER * distance
        next_best = np.where(other, score, -1).max(axis=1)
        good = 1 - alike < _RATIO * (1 - next_best)
        found.append(point[np.column_stack([rows, partner])[good]])
    pairs = np.concatenate(found)
    real, image = np.unique(np.concatenate([pairs, pairs[:, ::-1]]), axis=0).T
    starts = np.searchsorted(point, np.arange(len(seen.points) + 1))
    cameras = center[starts[image]], center[starts[image + 1] - 1]
    return _Pairs(seen.points[real], seen.points[image], *cameras, image), distance


def _thinned(seen: Sightings) -> NDArray[np.int64]:
    """Observations of the points that most cameras see, a few of each, the first and last among them."""
    count = np.bincount(seen.owners, minlength=len(seen.points))
    rank = np.arange(len(seen.owners)) - np.searchsorted(seen.owners, seen.owners)
    kept = np.zeros(len(seen.points), bool)
    kept[np.argsort(-count, kind="stable")[:_POINTS]] = True
    last = np.maximum(count[seen.owners] - 1, 1)
    step = rank * (_OBSERVATIONS - 1)
    # An observation is taken where the evenly spaced numbers pass it.
    taken = (step // last != (step - _OBSERVATIONS + 1) // last) | (rank == 0)
    return np.flatnonzero(kept[seen.owners] & taken)


def _refined(pairs: _Pairs, normal: Floats, offset: float) -> tuple[Floats, float, NDArray[np.bool_]]:
    agreeing = pairs.agreeing(normal, offset)
    for _ in range(3):
        if np.count_nonzero(agreeing) < 3:
            break
        real, image = pairs.real[agreeing], pairs.image[agreeing]
        direction = np.linalg.svd(real - image, full_matrices=False)[2][0]
        normal = direction * np.sign(direction @ normal)
        offset = float(np.median((real + image) @ normal / 2))
        better = pairs.agreeing(normal, offset)
        if np.array_equal(better, agreeing):
            break
        agreeing = better
    return normal, offset, agreeing


def _is_looked_at(pairs: _Pairs, agreeing: NDArray[np.bool_], normal: Floats) -> bool:
    rays = (pairs.image - pairs.first)[agreeing]
    return bool(np.median(-rays @ normal / np.linalg.norm(rays, axis=1)) > _STEEP)


def _before(seen: Sightings, normal: Floats, offset: float) -> bool:
    heights = seen.centers @ normal - offset
    return bool(heights.min() > _ALL_BEFORE * heights.max())


def _angles(a: Floats, b: Floats) -> Floats:
    across = np.linalg.norm(np.cross(a, b), axis=1)
    angles: Floats = np.arctan2(across, np.einsum("nc,nc->n", a, b))
    return angles
