"""Joining models that share images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pycolmap
from numpy.typing import NDArray

from recon3d.colmap.models import add_copy
from recon3d.similarity import umeyama

#: Images that two models must share, and points of theirs that both have.
_SHARED, _POINTS = 3, 20
#: Pixels within which a point of one model must project to where the other model sees it, and the share of
#: an image's points that must. A model that is bent, or has a wrong focal length, fits no other.
_PIXELS, _AGREE = 6.0, 0.6
_SAMPLES = 300

Floats = NDArray[np.float64]
Similarity = tuple[float, Floats, Floats]


def join_models(models: Sequence[Path], out: Path) -> list[Path]:
    """Join models of one database that share images, by similarities; the largest takes in the others.

    Each is joined where most of its images are shared. Points that both models have become one. The
    result needs a bundle adjustment.

    Parameters
    ----------
    models : sequence of Path
        Folders of the models.
    out : Path
        Folder for the joined ones.

    Returns
    -------
    list of Path
        Folders ``0``, ``1``, … of models that share too little with each other, by size.
    """
    left = [pycolmap.Reconstruction(str(model)) for model in models]
    left.sort(key=lambda model: -model.num_reg_images())
    joined = []
    while left:
        base = left.pop(0)
        while (found := _next(base, left)) is not None:
            other, base_from_other = found
            left.remove(other)
            other.transform(base_from_other)
            _add(base, other)
        joined.append(base)
    joined.sort(key=lambda model: -model.num_reg_images())
    folders = []
    for number, model in enumerate(joined):
        folders.append(out / str(number))
        folders[-1].mkdir(parents=True)
        model.write(str(folders[-1]))
    return folders


def _next(
    base: pycolmap.Reconstruction, left: Sequence[pycolmap.Reconstruction]
) -> tuple[pycolmap.Reconstruction, pycolmap.Sim3d] | None:
    """The model that shares most images with the base and fits it, and the similarity between them."""
    have = set(base.reg_image_ids())
    shared = [sorted(have.intersection(model.reg_image_ids())) for model in left]
    for index in sorted(range(len(left)), key=lambda k: -len(shared[k])):
        if len(shared[index]) < _SHARED:
            break
        similarity = _fitted(base, left[index], shared[index])
        if similarity is not None:
            scale, rotation, translation = similarity
            return left[index], pycolmap.Sim3d(scale, pycolmap.Rotation3d(rotation), translation)
    return None


def _fitted(
    base: pycolmap.Reconstruction, other: pycolmap.Reconstruction, shared: Sequence[int]
) -> Similarity | None:
    """The similarity to the base, from the points that both models have; None where they contradict.

    Centres of cameras would not do: those of a straight flight leave a turn around it open.
    """
    sources: list[Floats] = []
    targets: list[Floats] = []
    views: list[tuple[slice, Floats, Floats, float]] = []
    for image_id in shared:
        ours, theirs = base.image(image_id), other.image(image_id)
        both = [
            (a.xy, base.point3D(a.point3D_id).xyz, other.point3D(b.point3D_id).xyz)
            for a, b in zip(ours.points2D, theirs.points2D, strict=True)
            if a.has_point3D() and b.has_point3D()
        ]
        if len(both) < _POINTS:
            continue
        camera = base.camera(ours.camera_id)
        start = len(sources)
        targets += [target for _, target, _ in both]
        sources += [source for _, _, source in both]
        rays = camera.cam_from_img(np.array([xy for xy, _, _ in both]))
        views.append(
            (slice(start, len(sources)), ours.cam_from_world().matrix(), rays, camera.mean_focal_length())
        )
    if len(views) < _SHARED:
        return None
    source, target = np.array(sources), np.array(targets)
    rng = np.random.default_rng(0)
    best, most = None, 0
    for _ in range(_SAMPLES):
        sample = rng.choice(len(source), 4, replace=False)
        similarity = umeyama(source[sample], target[sample])
        count = int(np.count_nonzero(_errors(similarity, source, views) < _PIXELS))
        if count > most:
            best, most = similarity, count
    if best is None:
        return None
    for _ in range(3):
        inliers = _errors(best, source, views) < _PIXELS
        if np.count_nonzero(inliers) < _POINTS:
            return None
        best = umeyama(source[inliers], target[inliers])
    inliers = _errors(best, source, views) < _PIXELS
    agreeing = sum(float(inliers[rows].mean()) >= _AGREE for rows, *_ in views)
    return best if agreeing >= max(_SHARED, 0.5 * len(views)) else None


def _errors(
    similarity: Similarity, source: Floats, views: Sequence[tuple[slice, Floats, Floats, float]]
) -> Floats:
    """How far the other model's points project from where the base's images see them, in pixels."""
    scale, rotation, translation = similarity
    world = scale * source @ rotation.T + translation
    errors = np.full(len(source), np.inf)
    for rows, pose, rays, focal in views:
        seen = world[rows] @ pose[:, :3].T + pose[:, 3]
        front = seen[:, 2] > 0
        found = np.full(len(seen), np.inf)
        found[front] = focal * np.linalg.norm(seen[front, :2] / seen[front, 2:] - rays[front], axis=1)
        errors[rows] = found
    return errors


def _add(base: pycolmap.Reconstruction, other: pycolmap.Reconstruction) -> None:
    """Add the images and points of a model in the same world."""
    for image_id in sorted(set(other.reg_image_ids()).difference(base.reg_image_ids())):
        image = other.image(image_id)
        if not base.exists_camera(image.camera_id):
            camera = pycolmap.Camera(other.camera(image.camera_id).todict())
            base.add_camera_with_trivial_rig(camera)
        add_copy(base, image, image.camera_id)
    for point_id in sorted(other.point3D_ids()):
        point = other.point3D(point_id)
        known, free = set(), []
        for element in point.track.elements:
            seen = base.image(element.image_id).points2D[element.point2D_idx]
            if seen.has_point3D():
                known.add(seen.point3D_id)
            else:
                free.append(element)
        if not known and len(free) > 1:
            base.add_point3D(point.xyz, pycolmap.Track(free), point.color)
        elif len(known) == 1:
            (same,) = known
            images = {element.image_id for element in base.point3D(same).track.elements}
            for element in free:
                if element.image_id not in images:
                    images.add(element.image_id)
                    base.add_observation(same, element)
