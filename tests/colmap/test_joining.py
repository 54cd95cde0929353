"""Joining models that share images."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import pycolmap
import pytest

from recon3d.colmap import join_models
from tests.synthetic.colmap_models import one_camera

#: To other worlds: scale, turn about y, shift.
WORLDS = {
    "a": (1.0, 0.0, (0.0, 0.0, 0.0)),
    "b": (2.5, 0.7, (3.0, -1.0, 2.0)),
    "c": (0.3, -1.1, (0.0, 5.0, 1.0)),
}


@pytest.fixture
def whole() -> pycolmap.Reconstruction:
    return one_camera(12, 150)


def _part(whole: pycolmap.Reconstruction, images: Collection[int], world: str, folder: Path) -> Path:
    """What a mapper makes of some of the images: a world of its own."""
    ids = sorted(whole.reg_image_ids())
    part = pycolmap.Reconstruction(whole)
    for image_id in set(ids) - {ids[index] for index in images}:
        part.deregister_frame(part.image(image_id).frame_id)
    scale, angle, shift = WORLDS[world]
    turn = pycolmap.Rotation3d(np.array([0, np.sin(angle / 2), 0, np.cos(angle / 2)]))
    part.transform(pycolmap.Sim3d(scale, turn, np.array(shift)))
    (folder / world).mkdir()
    part.write(str(folder / world))
    return folder / world


def test_three_models_become_one_in_the_world_of_the_largest(
    whole: pycolmap.Reconstruction, tmp_path: Path
) -> None:
    parts = [range(6), range(2, 9), range(6, 12)]
    models = [_part(whole, images, w, tmp_path) for images, w in zip(parts, "bac", strict=True)]
    (folder,) = join_models(models, tmp_path / "joined")
    joined = pycolmap.Reconstruction(str(folder))
    assert sorted(joined.reg_image_ids()) == sorted(whole.reg_image_ids())
    for image_id in whole.reg_image_ids():
        expected = whole.image(image_id).projection_center()
        assert joined.image(image_id).projection_center() == pytest.approx(expected, abs=1e-6)
    # Points that several models have are one, and all that see them are in their tracks.
    assert joined.num_points3D() == whole.num_points3D()
    assert joined.compute_num_observations() == whole.compute_num_observations()
    assert joined.compute_mean_reprojection_error() < 1e-6


def test_models_that_share_two_images_stay_apart(whole: pycolmap.Reconstruction, tmp_path: Path) -> None:
    models = [_part(whole, range(5), "b", tmp_path), _part(whole, range(3, 12), "a", tmp_path)]
    folders = join_models(models, tmp_path / "joined")
    assert [pycolmap.Reconstruction(str(folder)).num_reg_images() for folder in folders] == [9, 5]


def test_models_that_contradict_each_other_stay_apart(whole: pycolmap.Reconstruction, tmp_path: Path) -> None:
    models = [_part(whole, range(7), "b", tmp_path), _part(whole, range(3, 12), "a", tmp_path)]
    wrong = pycolmap.Reconstruction(str(models[0]))
    rng = np.random.default_rng(0)
    for point_id in wrong.point3D_ids():
        wrong.point3D(point_id).xyz = wrong.point3D(point_id).xyz + rng.normal(0, 3, 3)
    for image_id in sorted(wrong.reg_image_ids()):
        frame = wrong.image(image_id).frame
        pose = pycolmap.Rigid3d(pycolmap.Rotation3d(rng.normal(size=4)), rng.normal(size=3))
        frame.rig_from_world = pose
    wrong.write(str(models[0]))
    assert len(join_models(models, tmp_path / "joined")) == 2
