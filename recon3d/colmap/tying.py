"""Adding images to a model that see too few of its points, but match its images well."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import pycolmap

from recon3d.colmap.adjustment import quiet_options
from recon3d.colmap.models import deregister, median_errors
from recon3d.colmap.resection import Floats, Matched, Resection, rays_of, resect

#: Matches that tie an image to a placed one.
_LEAST_MATCHES = 30
#: Points that an added image must have in the end.
_LEAST_KEPT = 15
#: What does not fit in the end, in pixels, and the least angle between the rays to a point, in degrees.
_PIXELS, _DEGREES = 4.0, 1.0
#: An image that gets another's camera may have this much larger an error: two cameras fit noise better.
_AS_GOOD = 1.25
#: Bounds on the work: cameras that are tried for an image, images that are tried, and adjustments.
_MOST_CAMERAS, _MOST_LEFT, _ROUNDS = 4, 100, 4


def tie_images(
    model: Path, database: Path, out: Path, groups: Mapping[str, int], *, seed: int
) -> dict[str, str]:
    """Add images to a model by the points and by the epipolar lines of their matches.

    The usual resection needs many points that the model has already. Where three neighbouring images
    share few features, there are not enough, though each two match well. Here all matches with placed
    images count, also those that have no point yet: a pose and a camera must fit the few points and the
    many epipolar lines. Then all matches become points, also those that contradict the model so far,
    and everything is adjusted robustly. So a ring of images closes that was open, and bent. Images of the
    model with a camera of their own, though others of their group share one, are placed anew in the same way;
    where that does not fit as well, they stay.

    Parameters
    ----------
    model : Path
        Folder of the model.
    database : Path
        COLMAP's database with verified matches; a copy, since COLMAP writes even when it reads.
    out : Path
        Folder for the new model. None is written if no image could be added.
    groups : mapping of str to int
        Images that may be added, and those of the model, by name. An image gets a camera that an image of
        the same number has.
    seed : int

    Returns
    -------
    dict of str to str
        For each image that was added or placed anew one with whom it shares the camera.
    """
    had = pycolmap.Reconstruction(str(model))
    partners = {had.image(i).camera_id: had.image(i).name for i in sorted(had.reg_image_ids(), reverse=True)}
    opened = pycolmap.Database.open(str(database))
    try:
        matched = Matched(opened, _LEAST_MATCHES)
        for doubted in (_doubted(had, groups), ()):
            start = pycolmap.Reconstruction(str(model))
            deregister(start, doubted)
            reconstruction, added = _tied_and_adjusted(_copy(start), matched, groups, seed)
            if _fit_as_well(had, reconstruction, matched, doubted):
                break
    finally:
        opened.close()
    if added:
        out.mkdir(parents=True)
        reconstruction.write(str(out))
    return {name: partners[camera_id] for name, camera_id in added.items()}


def _doubted(reconstruction: pycolmap.Reconstruction, groups: Mapping[str, int]) -> list[str]:
    """Images with a camera of their own though others of their group share one.

    Where few features hold an image, its own focal length and its place make up for each other.
    """
    owners: dict[int, list[str]] = {}
    for image_id in sorted(reconstruction.reg_image_ids()):
        image = reconstruction.image(image_id)
        owners.setdefault(image.camera_id, []).append(image.name)
    shared = {groups[names[0]] for names in owners.values() if len(names) > 1}
    return [names[0] for names in owners.values() if len(names) == 1 and groups[names[0]] in shared]


def _fit_as_well(
    before: pycolmap.Reconstruction,
    after: pycolmap.Reconstruction,
    matched: Matched,
    names: Collection[str],
) -> bool:
    """Whether images that were placed anew, with others' cameras, fit about as well as before."""
    if not names:
        return True
    had, has = median_errors(before), median_errors(after)
    ids = [matched.ids[name] for name in names]
    return all(image_id in has and has[image_id] <= _AS_GOOD * had[image_id] for image_id in ids)


def _tied_and_adjusted(
    reconstruction: pycolmap.Reconstruction, matched: Matched, groups: Mapping[str, int], seed: int
) -> tuple[pycolmap.Reconstruction, dict[str, int]]:
    """Add images until none is left that can be placed; gives the model and the camera of each."""
    placed = {reconstruction.image(image_id).name for image_id in reconstruction.reg_image_ids()}
    left = [name for name in groups if name not in placed]
    # Those that match most are most likely placed.
    left.sort(key=lambda name: (-matched.most(matched.ids[name]), name))
    allowed = set(left[:_MOST_LEFT])
    waiting, added = set(allowed), dict[str, int]()
    for _ in range(_ROUNDS):
        before = _copy(reconstruction)
        # Adjusted neighbours tell better where an image is.
        new = _tied(reconstruction, matched, groups, allowed, waiting, seed)
        if not new:
            break
        _adjust(reconstruction)
        lost = _lost(before, reconstruction, [matched.ids[name] for name in new])
        if lost:
            # Its matches were wrong, and have become points: all that the round changed goes.
            reconstruction = before
            allowed -= {name for name in new if matched.ids[name] in lost}
            if lost.isdisjoint(matched.ids[name] for name in new):
                break
            waiting = set(allowed)
            continue
        added |= new
        allowed -= set(new)
        near = {other for name in new for other in matched.neighbors(matched.ids[name])}
        waiting = {name for name in allowed if matched.ids[name] in near}
    return reconstruction, added


def _copy(reconstruction: pycolmap.Reconstruction) -> pycolmap.Reconstruction:
    """A model with its registered images only."""
    with tempfile.TemporaryDirectory() as folder:
        reconstruction.write(folder)
        return pycolmap.Reconstruction(folder)


def _lost(before: pycolmap.Reconstruction, after: pycolmap.Reconstruction, new: Collection[int]) -> set[int]:
    """Images that have too few points: new ones, or others that had enough."""
    few = {i for i in after.reg_image_ids() if after.image(i).num_points3D < _LEAST_KEPT}
    had = {i for i in before.reg_image_ids() if before.image(i).num_points3D >= _LEAST_KEPT}
    return few & (had | set(new))


def _tied(
    reconstruction: pycolmap.Reconstruction,
    matched: Matched,
    groups: Mapping[str, int],
    allowed: Collection[str],
    waiting: Collection[str],
    seed: int,
) -> dict[str, int]:
    """Add the images that can be placed, the surest first; gives the camera of each."""
    cameras = _cameras_of_groups(reconstruction, groups)
    left = set(allowed)
    found, added = dict[str, Resection](), dict[str, int]()
    while True:
        for name in sorted(waiting):
            best = resect(reconstruction, matched, matched.ids[name], cameras.get(groups[name], ()), seed)
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
        near = set(matched.neighbors(matched.ids[name]))
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


def _add(reconstruction: pycolmap.Reconstruction, matched: Matched, name: str, found: Resection) -> None:
    """Add an image, and points for all its matches."""
    image_id = matched.ids[name]
    image = pycolmap.Image(name=name, camera_id=found.camera_id, image_id=image_id)
    image.points2D = pycolmap.Point2DList([pycolmap.Point2D(xy) for xy in matched.keypoints(image_id)])
    has = set(reconstruction.reg_image_ids())
    reconstruction.add_image_with_trivial_frame(image, found.cam_from_world)
    for other in [other for other in matched.neighbors(image_id) if other in has]:
        for mine, theirs in matched.matches(image_id, other):
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
        ray = rays_of(reconstruction.camera(image.camera_id), xy[None])[0]
        ray = image.cam_from_world().rotation.inverse() * ray
        rays.append(ray / np.linalg.norm(ray))
        centers.append(image.projection_center())
    if not np.isfinite(rays).all():
        return None
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
