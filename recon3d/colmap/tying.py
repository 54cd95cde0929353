"""Placing images that see too few points of a model, but match one of its images well."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pycolmap
import scipy.optimize
from numpy.typing import NDArray

from recon3d.colmap.adjustment import quiet_options
from recon3d.colmap.database import pair_of
from recon3d.colmap.models import deregister

Floats = NDArray[np.float64]
Matches = NDArray[np.int64]

#: Matches that tie an image to a placed one.
_LEAST_MATCHES = 30
#: Points of the model that must agree with a pose, and the share of points and of matches that must.
_LEAST_POINTS, _AGREE = 8, 0.5
#: How well, in pixels.
_PIXELS = 4.0
#: Steps within which a pose is found, or is not.
_STEPS = 50
#: Pixels that are far for sure.
_FAR = 1e4
#: Least angle between the rays to a point, in degrees.
_DEGREES = 1.0
#: Points that an added image must have in the end.
_LEAST_KEPT = 15
#: Bounds on the work: an image is compared with so many placed ones, and with so many cameras.
_MOST_OTHERS, _MOST_CAMERAS = 4, 4


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


@dataclass(frozen=True)
class _Hypothesis:
    """Where an image may be."""

    cost: float
    agreeing: int
    camera_id: int
    cam_from_world: pycolmap.Rigid3d


def _rotation(pose: Floats) -> Floats:
    return np.asarray(cv2.Rodrigues(pose[:3])[0], np.float64)


def _rays(camera: pycolmap.Camera, pixels: Floats) -> Floats:
    """Directions in the camera's frame, with a depth of 1."""
    return np.column_stack([np.asarray(camera.cam_from_img(pixels)), np.ones(len(pixels))])


class _Matched:
    """The verified matches of a database, by image."""

    def __init__(self, path: Path) -> None:
        opened = pycolmap.Database.open(str(path))
        try:
            self.ids = {image.name: image.image_id for image in opened.read_all_images()}
            self.keypoints: dict[int, Floats] = {
                image_id: np.asarray(opened.read_keypoints(image_id), np.float64)[:, :2]
                for image_id in self.ids.values()
            }
            keys, geometries = opened.read_two_view_geometries()
        finally:
            opened.close()
        self._matches: dict[int, dict[int, Matches]] = {image_id: {} for image_id in self.ids.values()}
        for key, geometry in zip(keys, geometries, strict=True):
            first, second = pair_of(key)
            matches = np.asarray(geometry.inlier_matches, np.int64).reshape(-1, 2)
            if len(matches) >= _LEAST_MATCHES:
                self._matches[first][second] = matches
                self._matches[second][first] = matches[:, ::-1]

    def of(self, image_id: int, others: Collection[int]) -> Iterator[tuple[int, Matches]]:
        """The image's matches with others, those with most first; its own features in the first column."""
        found = self._matches[image_id]
        for other in sorted(found, key=lambda other: (-len(found[other]), other)):
            if other in others:
                yield other, found[other]


def tie_images(
    model: Path, database: Path, out: Path, groups: Mapping[str, int], *, seed: int
) -> dict[str, str]:
    """Add images to a model by the points and by the epipolar lines of their matches.

    The usual resection needs many points that the model has already. Where three neighbouring images
    share few features, there are not enough, though each two match well. Here all matches with placed
    images count, also those that have no point yet: a pose and a camera must fit the few points and the
    many epipolar lines [1]_. Then all matches become points, also those that contradict the model so far,
    and everything is adjusted robustly. So a ring of images closes that was open, and bent.

    Parameters
    ----------
    model : Path
        Folder of the model.
    database : Path
        COLMAP's database with verified matches.
    out : Path
        Folder for the new model. None is written if no image could be added.
    groups : mapping of str to int
        Images that may be added, and those of the model, by name. An image gets a camera that an image of
        the same number has.
    seed : int

    Returns
    -------
    dict of str to str
        For each added image one with whom it shares the camera.

    References
    ----------
    .. [1] Hartley and Zisserman, Multiple View Geometry in Computer Vision, 2004, chapters 9 and 11.
    """
    reconstruction = pycolmap.Reconstruction(str(model))
    matched = _Matched(database)
    had = sorted(reconstruction.reg_image_ids())
    added: dict[str, int] = {}
    # Adjusted neighbours tell better where an image is.
    while new := _tied(reconstruction, matched, groups, seed):
        _adjust(reconstruction)
        lost = [n for n in new if reconstruction.image(matched.ids[n]).num_points3D < _LEAST_KEPT]
        deregister(reconstruction, lost)
        added |= {name: camera_id for name, camera_id in new.items() if name not in lost}
        if lost:
            break
    if added:
        out.mkdir(parents=True)
        reconstruction.write(str(out))
    partners = {reconstruction.image(i).camera_id: reconstruction.image(i).name for i in reversed(had)}
    return {name: partners[camera_id] for name, camera_id in added.items()}


def _tied(
    reconstruction: pycolmap.Reconstruction, matched: _Matched, groups: Mapping[str, int], seed: int
) -> dict[str, int]:
    """Add the images that can be placed, the surest first; gives the camera of each."""
    cameras = _cameras_of_groups(reconstruction, groups)
    placed = {reconstruction.image(image_id).name for image_id in reconstruction.reg_image_ids()}
    left = set(groups) - placed
    waiting, found, added = set(left), dict[str, _Hypothesis](), dict[str, int]()
    while True:
        for name in sorted(waiting):
            best = _placed(reconstruction, matched, matched.ids[name], cameras.get(groups[name], ()), seed)
            if best is not None:
                found[name] = best
        if not found:
            return added
        name = max(found, key=lambda name: (found[name].agreeing, name))
        best = found.pop(name)
        _add(reconstruction, matched, name, best)
        added[name] = best.camera_id
        left.remove(name)
        # Only its neighbours have got new evidence.
        near = {other for other, _ in matched.of(matched.ids[name], matched.ids.values())}
        waiting = {name for name in left if matched.ids[name] in near}


def _cameras_of_groups(
    reconstruction: pycolmap.Reconstruction, groups: Mapping[str, int]
) -> dict[int, list[int]]:
    """The cameras that most images of each group have."""
    counts: dict[int, Counter[int]] = {}
    for image_id in sorted(reconstruction.reg_image_ids()):
        image = reconstruction.image(image_id)
        counts.setdefault(groups[image.name], Counter())[image.camera_id] += 1
    return {
        group: [camera_id for camera_id, _ in count.most_common(_MOST_CAMERAS)]
        for group, count in counts.items()
    }


def _adjust(reconstruction: pycolmap.Reconstruction) -> None:
    """Adjust with wrong matches among the right ones, then without what does not fit."""
    options = quiet_options()
    for loss in (pycolmap.LossFunctionType.SOFT_L1, pycolmap.LossFunctionType.CAUCHY):
        options.ceres.loss_function_type = loss
        pycolmap.bundle_adjustment(reconstruction, options)
        pycolmap.ObservationManager(reconstruction).filter_all_points3D(_PIXELS, _DEGREES)
    pycolmap.bundle_adjustment(reconstruction, quiet_options())
    reconstruction.update_point_3d_errors()


def _placed(
    reconstruction: pycolmap.Reconstruction,
    matched: _Matched,
    image_id: int,
    cameras: Collection[int],
    seed: int,
) -> _Hypothesis | None:
    """The pose and camera that fit best; None if too few points agree."""
    hypotheses = []
    others = [other for other, _ in matched.of(image_id, reconstruction.reg_image_ids())][:_MOST_OTHERS]
    # Where a ring of images is open, its two ends contradict each other.
    subsets = [others, *([other] for other in others if len(others) > 1)]
    for camera_id, subset in itertools.product(sorted(cameras), subsets):
        evidence = _evidence(reconstruction, matched, image_id, camera_id, subset)
        if len(evidence.points) < _LEAST_POINTS:
            continue
        for start in _starts(reconstruction, matched, image_id, evidence, subset, seed):
            found = scipy.optimize.least_squares(evidence.residuals, start, loss="cauchy", max_nfev=_STEPS)
            near = evidence.reprojection(found.x) < _PIXELS
            along = evidence.epipolar(found.x) < _PIXELS
            if near.sum() >= _LEAST_POINTS and min(near.mean(), along.mean()) >= _AGREE:
                pose = pycolmap.Rigid3d(pycolmap.Rotation3d(_rotation(found.x)), found.x[3:])
                hypotheses.append(_Hypothesis(found.cost / len(found.fun), int(near.sum()), camera_id, pose))
    return max(hypotheses, key=lambda row: (row.agreeing, -row.cost), default=None)


def _evidence(
    reconstruction: pycolmap.Reconstruction,
    matched: _Matched,
    image_id: int,
    camera_id: int,
    others: Collection[int],
) -> _Evidence:
    camera = reconstruction.camera(camera_id)
    pixels, points, pairs = [], [], []
    for other, matches in matched.of(image_id, others):
        image = reconstruction.image(other)
        mine = matched.keypoints[image_id][matches[:, 0]]
        rays = _rays(reconstruction.camera(image.camera_id), matched.keypoints[other][matches[:, 1]])
        rays = rays @ image.cam_from_world().rotation.matrix()
        pairs.append((image.projection_center(), rays, _rays(camera, mine)))
        for xy, row in zip(mine, matches[:, 1], strict=True):
            point = image.points2D[int(row)]
            if point.has_point3D():
                pixels.append(xy)
                points.append(reconstruction.point3D(point.point3D_id).xyz)
    return _Evidence(camera, np.array(pixels), np.array(points), tuple(pairs))


def _starts(
    reconstruction: pycolmap.Reconstruction,
    matched: _Matched,
    image_id: int,
    evidence: _Evidence,
    others: Collection[int],
    seed: int,
) -> Iterator[Floats]:
    """Poses to start from: by the points alone, and by the relative pose to each image."""
    options = pycolmap.AbsolutePoseEstimationOptions()
    options.ransac.random_seed = seed
    options.ransac.max_error = _PIXELS
    found = pycolmap.estimate_absolute_pose(evidence.pixels, evidence.points, evidence.camera, options)
    if found is not None:
        yield _vector(found["cam_from_world"])
    pair = pycolmap.TwoViewGeometryOptions()
    pair.compute_relative_pose = True
    pair.ransac.random_seed = seed
    for other, matches in matched.of(image_id, others):
        image = reconstruction.image(other)
        geometry = pycolmap.estimate_calibrated_two_view_geometry(
            reconstruction.camera(image.camera_id),
            matched.keypoints[other],
            evidence.camera,
            matched.keypoints[image_id],
            np.ascontiguousarray(matches[:, ::-1]).astype(np.uint32),
            pair,
        )
        relative = geometry.cam2_from_cam1
        if relative is None:
            continue
        turned = relative.rotation * image.cam_from_world().rotation
        near = relative.rotation * image.cam_from_world().translation
        length = _step(evidence, turned.matrix(), near, relative.translation)
        yield _vector(pycolmap.Rigid3d(turned, near + length * relative.translation))


def _step(evidence: _Evidence, rotation: Floats, start: Floats, direction: Floats) -> float:
    """The length of a step with which the points project best to where they are seen."""
    camera = evidence.camera
    rays = _rays(camera, evidence.pixels)
    points = evidence.points @ rotation.T + start
    across = np.cross(rays, direction)
    lengths = -(across * np.cross(rays, points)).sum(axis=1) / (across**2).sum(axis=1)
    return float(np.median(lengths))


def _vector(pose: pycolmap.Rigid3d) -> Floats:
    return np.concatenate([cv2.Rodrigues(pose.rotation.matrix())[0].ravel(), pose.translation])


def _projected(camera: pycolmap.Camera, points: Floats) -> Floats:
    """Pixels of points in the camera's frame; far away where they lie behind it."""
    pixels = np.full((len(points), 2), np.inf)
    before = points[:, 2] > 0
    if before.any():
        pixels[before] = camera.img_from_cam(points[before])
    return pixels


def _add(reconstruction: pycolmap.Reconstruction, matched: _Matched, name: str, found: _Hypothesis) -> None:
    """Add an image, and points for all its matches."""
    image_id = matched.ids[name]
    image = pycolmap.Image(name=name, camera_id=found.camera_id, image_id=image_id)
    image.points2D = pycolmap.Point2DList([pycolmap.Point2D(xy) for xy in matched.keypoints[image_id]])
    others = list(matched.of(image_id, set(reconstruction.reg_image_ids())))
    reconstruction.add_image_with_trivial_frame(image, found.cam_from_world)
    for other, matches in others:
        for mine, theirs in matches:
            _connect(reconstruction, image_id, int(mine), other, int(theirs))


def _connect(reconstruction: pycolmap.Reconstruction, first: int, a: int, second: int, b: int) -> None:
    """Make two features that match see one point."""
    one = reconstruction.image(first).points2D[a]
    two = reconstruction.image(second).points2D[b]
    if one.has_point3D() and two.has_point3D():
        if one.point3D_id != two.point3D_id and _may_merge(reconstruction, one.point3D_id, two.point3D_id):
            reconstruction.merge_points3D(one.point3D_id, two.point3D_id)
    elif one.has_point3D():
        _observe(reconstruction, one.point3D_id, second, b)
    elif two.has_point3D():
        _observe(reconstruction, two.point3D_id, first, a)
    else:
        xyz = _triangulated(reconstruction, first, one.xy, second, two.xy)
        if xyz is not None:
            track = pycolmap.Track()
            track.add_element(first, a)
            track.add_element(second, b)
            reconstruction.add_point3D(xyz, track, np.zeros(3, np.uint8))


def _images_of(reconstruction: pycolmap.Reconstruction, point: int) -> set[int]:
    return {element.image_id for element in reconstruction.point3D(point).track.elements}


def _may_merge(reconstruction: pycolmap.Reconstruction, one: int, two: int) -> bool:
    """Two features of one image are not the same point."""
    return not _images_of(reconstruction, one) & _images_of(reconstruction, two)


def _observe(reconstruction: pycolmap.Reconstruction, point: int, image_id: int, row: int) -> None:
    if image_id not in _images_of(reconstruction, point):
        reconstruction.add_observation(point, pycolmap.TrackElement(image_id, row))


def _triangulated(
    reconstruction: pycolmap.Reconstruction, first: int, a: Floats, second: int, b: Floats
) -> Floats | None:
    """The point nearest to two rays; None where these are almost parallel or meet behind a camera."""
    centers, rays = [], []
    for image_id, xy in ((first, a), (second, b)):
        image = reconstruction.image(image_id)
        ray = _rays(reconstruction.camera(image.camera_id), xy[None])[0]
        ray = image.cam_from_world().rotation.inverse() * ray
        rays.append(ray / np.linalg.norm(ray))
        centers.append(image.projection_center())
    cosine = float(rays[0] @ rays[1])
    if np.arccos(np.clip(cosine, -1.0, 1.0)) < np.radians(_DEGREES):
        return None
    base = centers[1] - centers[0]
    # Lengths along the rays where they are nearest to each other.
    along = np.linalg.solve([[1.0, -cosine], [cosine, -1.0]], [rays[0] @ base, rays[1] @ base])
    if along.min() <= 0:
        return None
    ends = np.array(centers) + along[:, None] * np.array(rays)
    middle: Floats = ends.mean(axis=0)
    return middle
