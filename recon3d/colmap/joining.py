"""Joining models that share images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pycolmap

#: Images that two models must share.
_SHARED = 3
#: Share of a shared image's points that must project to where the other model sees them, and pixels.
_AGREE, _PIXELS = 0.3, 8.0


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
    """The model that shares most images with the base, and the similarity between them."""
    have = set(base.reg_image_ids())
    shared = [len(have.intersection(model.reg_image_ids())) for model in left]
    for index in sorted(range(len(left)), key=lambda k: -shared[k]):
        if shared[index] < _SHARED:
            break
        similarity = pycolmap.align_reconstructions_via_reprojections(left[index], base, _AGREE, _PIXELS)
        if similarity is not None:
            return left[index], similarity
    return None


def _add(base: pycolmap.Reconstruction, other: pycolmap.Reconstruction) -> None:
    """Add the images and points of a model in the same world."""
    for image_id in sorted(set(other.reg_image_ids()).difference(base.reg_image_ids())):
        image = other.image(image_id)
        if not base.exists_camera(image.camera_id):
            camera = pycolmap.Camera(other.camera(image.camera_id).todict())
            base.add_camera_with_trivial_rig(camera)
        copy = pycolmap.Image(name=image.name, camera_id=image.camera_id, image_id=image_id)
        copy.points2D = pycolmap.Point2DList([pycolmap.Point2D(point.xy) for point in image.points2D])
        base.add_image_with_trivial_frame(copy, image.cam_from_world())
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
