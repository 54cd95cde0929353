"""What images say about their cameras."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pycolmap
import pytest

from recon3d import colmap
from tests.synthetic.colmap_models import one_camera, walk

FOCAL = 1280.0
NAMES = {f"camera000001_frame{number:06}.png" for number in range(8)}


def _model(folder: Path, zoomed: int = 0) -> Path:
    """An adjusted model of eight images with one camera, though some are zoomed; 15 % poor features."""
    rng = np.random.default_rng(0)
    model = one_camera(images=8, points=400)
    for number, image_id in enumerate(sorted(model.reg_image_ids())):
        for point in model.image(image_id).points2D:
            error = rng.normal(0, 4.0 if rng.random() < 0.15 else 0.4, 2)
            center = np.array([512.0, 384.0])
            point.xy = center + (point.xy - center) * (1.1 if number < zoomed else 1.0) + error
    adjustment = pycolmap.BundleAdjustmentOptions()
    adjustment.print_summary = False
    pycolmap.bundle_adjustment(model, adjustment)
    folder.mkdir()
    model.write(str(folder))
    return folder


def test_poor_features_do_not_speak_for_own_cameras(tmp_path: Path) -> None:
    # A robust adjustment alone lowers the median errors to 0.6.
    images = colmap.free_intrinsics(_model(tmp_path / "model"), NAMES)
    assert len(images) == 8
    for image in images:
        assert image.own_error / image.shared_error > 0.95
        assert image.focal == pytest.approx(FOCAL, rel=0.01)


def test_zoomed_images_fit_better_with_own_cameras(tmp_path: Path) -> None:
    images = colmap.free_intrinsics(_model(tmp_path / "model", zoomed=3), NAMES)
    assert np.median([image.own_error / image.shared_error for image in images]) < 0.7


def test_a_part_with_one_zoom_fits_worse_with_the_camera_of_all(tmp_path: Path) -> None:
    walk([1.0] * 20 + [1.5] * 20).write(str(tmp_path))
    names = [f"{number:04d}.png" for number in range(40)]
    for part, focal in ((names[:15], 900), (names[25:], 1350)):
        images = colmap.free_intrinsics(tmp_path, set(part))
        assert [image.name for image in images] == part
        assert np.median([image.focal for image in images]) == pytest.approx(focal, rel=0.02)
        # With the shared camera fitted to the part it would be 1.
        assert np.median([image.own_error / image.shared_error for image in images]) < 0.7


def test_an_image_that_shares_nothing_with_its_part_is_left_out(tmp_path: Path) -> None:
    walk([1.0] * 40).write(str(tmp_path))
    part = {f"{number:04d}.png" for number in range(12)}
    assert {image.name for image in colmap.free_intrinsics(tmp_path, part | {"0039.png"})} == part
