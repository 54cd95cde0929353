"""The pose of an image from points that a model has, and from matches that are no points yet."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import pycolmap
import scipy.optimize
from numpy.typing import NDArray

from recon3d.colmap.database import pair_of

Floats = NDArray[np.float64]
Matches = NDArray[np.int64]

#: Points of the model that must agree with a pose, and the share of points and of matches that must.
_LEAST_POINTS, _AGREE = 8, 0.5
#: How well, in pixels.
_PIXELS = 4.0
#: Bounds on the work: an image is compared with so many placed ones, by about so many matches with each.
_MOST_OTHERS, _MOST_MATCHES = 4, 150
#: Steps within which a pose is found, or is not.
_STEPS = 50
#: Pixels that are far for sure.
_FAR = 1e4


class Matched:
    """Verified matches, read when they are needed.

    Parameters
    ----------
    database : pycolmap.Database
        Open while this is used.
    least : int
        Pairs with fewer matches do not count.

    Attributes
    ----------
    ids : dict of str to int
        Images by name.
    """

    def __init__(self, database: pycolmap.Database, least: int) -> None:
        self._database = database
        self.ids: dict[str, int] = {image.name: image.image_id for image in database.read_all_images()}
        self._counts: dict[int, dict[int, int]] = {image_id: {} for image_id in self.ids.values()}
        keys, counts = database.read_two_view_geometry_num_inliers()
        for key, count in zip(keys, counts, strict=True):
            first, second = pair_of(key)
            if count >= least:
                self._counts[first][second] = self._counts[second][first] = count
        self._keypoints: dict[int, Floats] = {}

    def neighbors(self, image_id: int) -> list[int]:
        """List the images that an image matches, those with most matches first.

        Parameters
        ----------
        image_id : int

        Returns
        -------
        list of int
        """
        found = self._counts[image_id]
        return sorted(found, key=lambda other: (-found[other], other))

    def most(self, image_id: int) -> int:
        """Count the matches of an image's best pair.

        Parameters
        ----------
        image_id : int

        Returns
        -------
        int
        """
        return max(self._counts[image_id].values(), default=0)

    def matches(self, first: int, second: int) -> Matches:
        """Read the matches of a pair.

        Parameters
        ----------
        first, second : int

        Returns
        -------
        ndarray of int64, shape (N, 2)
            Features of the first image and of the second.
        """
        geometry = self._database.read_two_view_geometry(first, second)
        return np.asarray(geometry.inlier_matches, np.int64).reshape(-1, 2)

    def keypoints(self, image_id: int) -> Floats:
        """Read where the features of an image are.

        Parameters
        ----------
        image_id : int

        Returns
        -------
        ndarray of float64, shape (N, 2)
            Pixels.
        """
        if image_id not in self._keypoints:
            read = np.asarray(self._database.read_keypoints(image_id))
            self._keypoints[image_id] = read[:, :2].astype(np.float64)
        return self._keypoints[image_id]


@dataclass(frozen=True)
class Resection:
    """Where an image may be.

    Parameters
    ----------
    cost : float
        Of the residuals, on average.
    agreeing : int
        Points of the model that agree.
    camera_id : int
    cam_from_world : pycolmap.Rigid3d
    """

    cost: float
    agreeing: int
    camera_id: int
    cam_from_world: pycolmap.Rigid3d


@dataclass(frozen=True)
class _Evidence:
    """What speaks of an image's pose, if it has a certain camera."""

    camera: pycolmap.Camera
    #: Where the image sees points of the model, and these.
    pixels: Floats
    points: Floats
    #: For each placed image that it matches: its centre, its rays in the world's frame, and the rays of
    #: the image in the camera's frame.
    pairs: tuple[tuple[Floats, Floats, Floats], ...]

    def reprojection(self, pose: Floats) -> Floats:
        """Errors of the points in pixels."""
        moved = self.points @ _rotation(pose).T + pose[3:]
        errors: Floats = np.linalg.norm(_projected(self.camera, moved) - self.pixels, axis=1)
        return errors

    def epipolar(self, pose: Floats) -> Floats:
        """Distances of the pairs' pixels from the epipolar lines."""
        rotation, found = _rotation(pose), []
        for center, rays, mine in self.pairs:
            # Two points of each ray in the camera's frame span the plane in which the feature must lie.
            normals = np.cross(rotation @ center + pose[3:], rays @ rotation.T)
            slopes = np.linalg.norm(normals[:, :2], axis=1)
            offsets = np.abs((mine * normals).sum(axis=1)) / np.maximum(slopes, 1e-12)
            found.append(offsets * self.camera.mean_focal_length())
        return np.concatenate(found)

    def residuals(self, pose: Floats) -> Floats:
        """All of them, bounded: a start may be far off, or have points behind the camera."""
        errors: Floats = np.concatenate([self.reprojection(pose), self.epipolar(pose)])
        return np.minimum(errors, _FAR)


def resect(
    reconstruction: pycolmap.Reconstruction,
    matched: Matched,
    image_id: int,
    cameras: Collection[int],
    seed: int,
) -> Resection | None:
    """Find the pose of an image by its points and by the epipolar lines of its matches [1]_.

    Parameters
    ----------
    reconstruction : pycolmap.Reconstruction
        Does not have the image.
    matched : Matched
    image_id : int
    cameras : collection of int
        Cameras of the model that the image may have.
    seed : int

    Returns
    -------
    Resection or None
        With the pose and camera about which most points agree; None if too few do.

    References
    ----------
    .. [1] Hartley and Zisserman, Multiple View Geometry in Computer Vision, 2004, chapters 9 and 11.
    """
    hypotheses = []
    has = set(reconstruction.reg_image_ids())
    others = [other for other in matched.neighbors(image_id) if other in has][:_MOST_OTHERS]
    matches = {other: matched.matches(image_id, other) for other in others}
    # Where a ring of images is open, its two ends contradict each other.
    subsets = [others, *([other] for other in others if len(others) > 1)]
    for camera_id, subset in itertools.product(sorted(cameras), subsets):
        evidence = _evidence(
            reconstruction, matched, image_id, camera_id, {other: matches[other] for other in subset}
        )
        if len(evidence.points) < _LEAST_POINTS:
            continue
        start = _start(evidence, seed)
        if start is None:
            continue
        found = scipy.optimize.least_squares(evidence.residuals, start, loss="cauchy", max_nfev=_STEPS)
        near = evidence.reprojection(found.x) < _PIXELS
        along = evidence.epipolar(found.x) < _PIXELS
        if near.sum() >= _LEAST_POINTS and min(near.mean(), along.mean()) >= _AGREE:
            pose = pycolmap.Rigid3d(pycolmap.Rotation3d(_rotation(found.x)), found.x[3:])
            hypotheses.append(Resection(found.cost / len(found.fun), int(near.sum()), camera_id, pose))
    return max(hypotheses, key=lambda row: (row.agreeing, -row.cost), default=None)


def _evidence(
    reconstruction: pycolmap.Reconstruction,
    matched: Matched,
    image_id: int,
    camera_id: int,
    matches_with: Mapping[int, Matches],
) -> _Evidence:
    camera = reconstruction.camera(camera_id)
    seen: dict[int, tuple[Floats, Floats]] = {}  # by point: several images may see the same
    pairs = []
    for other, matches in matches_with.items():
        image = reconstruction.image(other)
        mine = matched.keypoints(image_id)[matches[:, 0]]
        own = rays_of(camera, mine)
        rays = rays_of(reconstruction.camera(image.camera_id), matched.keypoints(other)[matches[:, 1]])
        # Distortion has no inverse far from the centre.
        usable = np.flatnonzero(np.isfinite(own).all(axis=1) & np.isfinite(rays).all(axis=1))
        for row in usable:
            point = image.points2D[int(matches[row, 1])]
            if point.has_point3D():
                seen[point.point3D_id] = (mine[row], reconstruction.point3D(point.point3D_id).xyz)
        usable = usable[:: max(1, len(usable) // _MOST_MATCHES)]
        world = rays[usable] @ image.cam_from_world().rotation.matrix()
        pairs.append((image.projection_center(), world, own[usable]))
    pixels = np.array([xy for xy, _ in seen.values()])
    return _Evidence(camera, pixels, np.array([xyz for _, xyz in seen.values()]), tuple(pairs))


def _start(evidence: _Evidence, seed: int) -> Floats | None:
    """The pose by the points alone."""
    options = pycolmap.AbsolutePoseEstimationOptions()
    options.ransac.random_seed = seed
    options.ransac.max_error = _PIXELS
    found = pycolmap.estimate_absolute_pose(evidence.pixels, evidence.points, evidence.camera, options)
    if found is None:
        return None
    pose = found["cam_from_world"]
    vector = np.concatenate([cv2.Rodrigues(pose.rotation.matrix())[0].ravel(), pose.translation])
    return vector if np.isfinite(vector).all() else None


def _projected(camera: pycolmap.Camera, points: Floats) -> Floats:
    """Pixels of points in the camera's frame; far away where they lie behind it."""
    pixels = np.full((len(points), 2), np.inf)
    before = points[:, 2] > 0
    if before.any():
        pixels[before] = camera.img_from_cam(points[before])
    return pixels


def _rotation(pose: Floats) -> Floats:
    return np.asarray(cv2.Rodrigues(pose[:3])[0], np.float64)


def rays_of(camera: pycolmap.Camera, pixels: Floats) -> Floats:
    """Give the directions in which a camera sees pixels.

    Parameters
    ----------
    camera : pycolmap.Camera
    pixels : ndarray of float64, shape (N, 2)

    Returns
    -------
    ndarray of float64, shape (N, 3)
        In the camera's frame, with a depth of 1.
    """
    return np.column_stack([np.asarray(camera.cam_from_img(pixels)), np.ones(len(pixels))])
