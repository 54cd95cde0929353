"""Which of the mapper's models count."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pycolmap
import pytest

from recon3d import colmap
from recon3d.colmap import mapping
from tests.synthetic.colmap_models import one_camera


def test_a_model_whose_images_a_larger_one_has_is_no_part_of_its_own(tmp_path: Path) -> None:
    for number, kept in enumerate(([0, 1, 2], [0, 1, 2, 3, 4], [3, 4, 5])):
        model = one_camera(images=6, points=100)
        for place, frame in enumerate(sorted(model.reg_frame_ids())):
            if place not in kept:
                model.deregister_frame(frame)
        (tmp_path / str(number)).mkdir()
        model.write(str(tmp_path / str(number)))
    assert [model.name for model in mapping._models(tmp_path)] == ["1", "2"]


@pytest.mark.parametrize("parts", [[slice(None)], [slice(0, 6), slice(2, 8)]])
def test_an_image_that_few_points_hold_is_left_out(tmp_path: Path, parts: list[slice]) -> None:
    rng = np.random.default_rng(0)
    model = one_camera(images=8, points=200)
    for image in model.images.values():
        for point in image.points2D:
            point.xy = point.xy + rng.normal(0, 0.4, 2)
    names = sorted(model.image(number).name for number in model.reg_image_ids())
    weak = model.image(sorted(model.reg_image_ids())[5])
    # Seven points close together tell little about where it was taken.
    seen = [number for number, point in enumerate(weak.points2D) if point.has_point3D()]
    places = {number: model.point3D(weak.points2D[number].point3D_id).xyz for number in seen}
    near = sorted(seen, key=lambda number: float(np.linalg.norm(places[number] - places[seen[0]])))
    for number in near[7:]:
        model.delete_observation(weak.image_id, number)
    model.update_point_3d_errors()
    (tmp_path / "0").mkdir()
    model.write(str(tmp_path / "0"))
    assert list(
        colmap.drop_uncertain(tmp_path / "0", names, 0.003, 4.0, [names[part] for part in parts])
    ) == [weak.name]
    left = pycolmap.Reconstruction(str(tmp_path / "0"))
    assert left.num_reg_images() == 7
    assert colmap.drop_uncertain(tmp_path / "0", names, 0.003, 4.0, [names]) == {}
