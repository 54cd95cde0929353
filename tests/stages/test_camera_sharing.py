"""Images share a camera only where their focal lengths agree."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recon3d import colmap
from recon3d.colmap.intrinsics import ImageIntrinsics
from recon3d.compute import InlineContext
from recon3d.evaluation import pose_errors
from recon3d.layout import CameraGroup, RegisteredImage, Registration, read_registration
from recon3d.options import SparseReconstructionOptions
from recon3d.stages import sparse_reconstruction
from recon3d.stages.sparse_reconstruction import model_parts
from recon3d.stages.sparse_reconstruction.intrinsics import Measured, find_cameras
from recon3d.stages.sparse_reconstruction.residuals import unusual_residuals
from recon3d.types import Scene
from tests.stages.test_sparse_reconstruction import _features, _matches
from tests.synthetic.zooms import photographed, photographers

TWO_ZOOMS = (1.0, 1.5) * 4


def _placed(
    tmp_path: Path,
    zooms: Sequence[float],
    cameras: Sequence[int] | None = None,
    focal_px: float | None = None,
    video: bool = False,
) -> tuple[Registration, InlineContext, float]:
    """Registration, context, and the largest error of a centre as a share of the cameras' spread."""
    truth = photographers(zooms)
    frames = photographed(tmp_path / "frames", truth, cameras or [0] * len(zooms), focal_px, video)
    matches = _matches(tmp_path, frames, _features(tmp_path, frames, max_features=800))
    out = tmp_path / "sparse"
    out.mkdir()
    context = InlineContext()
    inputs = {"frame_extraction": frames, "feature_matching": matches}
    sparse_reconstruction.run(inputs, SparseReconstructionOptions(), out, context)
    scene = Scene.load(out)
    assert len(scene) == len(zooms)
    centers = np.array([view.center for view in truth])
    spread = np.linalg.norm(centers - centers.mean(axis=0), axis=1).max()
    return read_registration(out), context, float(pose_errors(scene, truth).position.max() / spread)


def test_one_camera_stays_one(tmp_path: Path) -> None:
    registration, context, error = _placed(tmp_path, (1.0,) * 8)
    assert [(len(camera.images), camera.how) for camera in registration.cameras] == [(8, "shared")]
    assert registration.cameras[0].focal_px == pytest.approx(400, rel=0.01)
    assert context.fallbacks == []
    assert error < 0.01
    assert [(row.registered, row.used) for row in registration.attempts] == [(8, True)]


@pytest.mark.parametrize("focal_px", [None, 400.0])
def test_two_zooms_are_two_cameras(tmp_path: Path, focal_px: float | None) -> None:
    registration, context, error = _placed(tmp_path, TWO_ZOOMS, focal_px=focal_px)
    assert error < 0.01
    short, long = registration.cameras
    assert short.images == tuple(f"{index:03d}.png" for index in range(0, 8, 2))
    assert long.images == tuple(f"{index:03d}.png" for index in range(1, 8, 2))
    assert short.focal_px == pytest.approx(400, rel=0.02)
    assert long.focal_px == pytest.approx(600, rel=0.02)
    assert short.how == long.how
    assert re.fullmatch(r"split: the focal lengths differ by (49|50|51) %", short.how)
    assert short.focal_given == focal_px
    (message,) = context.fallbacks
    assert "different focal lengths" in message
    assert "000.png" in message
    assert ("metadata say 400 px" in message) == (focal_px is not None)


def test_the_cameras_of_a_large_set_are_freed_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The covariance of all images together takes hours and more memory than there is."""
    freed: list[int] = []
    whole = colmap.free_intrinsics

    def counted(model: Path, names: set[str]) -> list[ImageIntrinsics]:
        found = whole(model, names)
        freed.append(len(found))
        return found

    monkeypatch.setattr(colmap, "free_intrinsics", counted)
    monkeypatch.setattr(model_parts, "TOGETHER", 7)
    monkeypatch.setattr(model_parts, "PART", 5)
    registration, _, error = _placed(tmp_path, TWO_ZOOMS)
    assert error < 0.01
    assert [camera.focal_px for camera in registration.cameras] == [
        pytest.approx(400, rel=0.02),
        pytest.approx(600, rel=0.02),
    ]
    # No part has all images, and together they have more: they overlap.
    assert max(freed) < 8 < freed[0] + freed[1]


def test_a_zoom_while_a_video_runs(tmp_path: Path) -> None:
    zooms = (1.0,) * 4 + (1.2, 1.4) + (1.6,) * 4
    registration, context, error = _placed(tmp_path, zooms, video=True)
    assert error < 0.02  # 0.015 with the true groups, 0.24 with one camera
    found = {name: camera.focal_px for camera in registration.cameras for name in camera.images}
    for index, zoom in enumerate(zooms):
        assert found[f"{index:03d}.png"] == pytest.approx(400 * zoom, rel=0.03)
    assert 3 <= len(registration.cameras) <= 6
    assert len(context.fallbacks) == 1


def test_cameras_that_are_one_are_merged(tmp_path: Path) -> None:
    registration, context, error = _placed(tmp_path, (1.0,) * 8, cameras=range(8))
    assert error < 0.01
    (camera,) = registration.cameras
    assert (len(camera.images), camera.how) == (8, "merged: the focal lengths agree")
    assert [message for message in context.fallbacks if "8 groups of images" in message]


def _measured(
    focals: Sequence[float],
    *,
    deviation: float = 0.002,
    lower: float = 0.5,
    groups: Sequence[int] | None = None,
    assumed: Sequence[int] | None = None,
    prior: float | None = None,
) -> list[Measured]:
    return [
        Measured(
            name=f"{index:03d}",
            size=(800, 600),
            group=groups[index] if groups else 0,
            assumed=assumed[index] if assumed else groups[index] if groups else 0,
            prior=prior,
            params=(focal, 400.0, 300.0, 0.0),
            focal=focal,
            deviation=deviation,
            lower=lower,
        )
        for index, focal in enumerate(focals)
    ]


def test_a_difference_of_three_percent_is_one() -> None:
    verdict = find_cameras(_measured([720, 742, 721, 743, 719, 741]))
    assert [camera.images for camera in verdict.cameras] == [("000", "002", "004"), ("001", "003", "005")]
    assert verdict.cameras[1].params == (742.0, 400.0, 300.0, 0.0)


def test_one_zoomed_image_among_many() -> None:
    focals = [700.0 + index % 4 for index in range(20)]
    focals[7] = 1100.0
    images = _measured(focals, lower=0.9)
    images[7] = _measured(focals, lower=0.2)[7]
    sizes = sorted(len(camera.images) for camera in find_cameras(images).cameras)
    assert sizes == [1, 19]


def test_uncertain_focal_lengths_are_no_difference() -> None:
    # A drone that flies straight: a longer lens and a larger distance look the same.
    assert not find_cameras(_measured([811, 780, 750, 720, 690, 666], deviation=0.05)).cameras


def test_noise_that_own_cameras_do_not_explain_is_no_zoom() -> None:
    # The hand-held video of the data folder: a rolling shutter, stabilized.
    focals = [1191, 1228, 1287, 983, 1742, 1354, 1131, 1026, 1138, 1424, 1537, 1088, 1303, 1451, 1159, 1275]
    verdict = find_cameras(_measured(focals, deviation=0.01, lower=0.83))
    assert not verdict.cameras
    assert verdict.wavering == (983, 1742)


def test_focal_lengths_that_drift_without_fitting_better_are_not_told() -> None:
    # A video from within a room: turning determines a focal length poorly, and each fits as well.
    focals = [241.7, 249.8, 246.0, 235.3, 232.7, 239.7, 256.5, 229.0, 237.4, 254.8]
    verdict = find_cameras(_measured(focals, deviation=0.003, lower=1.0))
    assert not verdict.cameras
    assert verdict.wavering is None


def test_three_photos_do_not_tell_three_cameras() -> None:
    assert not find_cameras(_measured([1941, 1764, 1604], deviation=0.006, lower=0.89)).cameras


def test_cameras_of_different_metadata_are_not_merged() -> None:
    images = _measured([700, 700], prior=700.0, groups=[0, 1]) + _measured([700], prior=900.0, groups=[2])
    verdict = find_cameras(images)
    assert [camera.images for camera in verdict.cameras] == [("000", "001")]


def test_groups_that_a_bent_model_split_become_one_again() -> None:
    # The bust with every second frame zoomed: 6 and 8 frames of one camera were two groups.
    images = [1230.0] * 6 + [1229.0] * 8 + [762.0] * 14
    groups = [0] * 6 + [1] * 8 + [2] * 14
    (camera,) = find_cameras(_measured(images, lower=1.0, groups=groups, assumed=[0] * 28)).cameras
    assert camera.images == tuple(f"{index:03d}" for index in range(14))
    assert not find_cameras(_measured(images, lower=1.0, groups=groups)).cameras


def _errors(*errors: float) -> list[RegisteredImage]:
    return [
        RegisteredImage(f"{i}.jpg", registered=True, component=0, points=100, error=error, reason=None)
        for i, error in enumerate(errors)
    ]


def test_unusual_residuals_are_told() -> None:
    assert unusual_residuals(_errors(0.3, 0.25, 0.4), 800) == []
    (message,) = unusual_residuals(_errors(1.0, 0.9, 1.1), 800)
    assert "1.00 px on average" in message
    (message,) = unusual_residuals(_errors(0.3, 0.25, 0.3, 0.3, 1.4), 800)
    assert "4.jpg" in message
    assert "3.jpg" not in message
    images = _errors(0.63, 0.6, 0.65, 0.64, 1.19)
    assert unusual_residuals(images, 1600) == []
    images[4] = replace(images[4], points=43)  # karma's image that lay far off its path
    (message,) = unusual_residuals(images, 1600)
    assert "1 image fits the model badly, where 0.64 px is usual: 4.jpg." in message


def test_documents_of_older_versions_still_read(tmp_path: Path) -> None:
    row = '{"name": "a.jpg", "registered": true, "component": 0, "points": 3, "error": 0.5, "reason": null}'
    world = '{"up": "x", "unit": "", "scale_from": "arbitrary"}'
    path = tmp_path / "registration.json"
    path.write_text(f'{{"images": [{row}], "world": {world}}}')
    assert read_registration(tmp_path).cameras == ()
    camera = '{"images": ["a.jpg"], "focal_px": 700.5, "how": "alone"}'
    path.write_text(f'{{"images": [{row}], "world": {world}, "cameras": [{camera}]}}')
    assert read_registration(tmp_path).cameras == (CameraGroup(("a.jpg",), 700.5, "alone"),)
    assert read_registration(tmp_path).cameras_confirmed
