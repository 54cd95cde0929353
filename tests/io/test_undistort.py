from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from recon3d.errors import InputError
from recon3d.io.undistort import load_view_image
from recon3d.types import Camera, View

SIZE = (200, 150)


def pattern(xy: np.ndarray) -> np.ndarray:
    """Smooth gray levels over normalized image coordinates."""
    x, y = xy[..., 0], xy[..., 1]
    return np.stack(
        [120 + 80 * np.sin(9 * x), 120 + 80 * np.cos(8 * y), 120 + 70 * np.sin(6 * x + 7 * y)], -1
    )


def normalized(camera: Camera) -> np.ndarray:
    """Undistorted normalized coordinates of each pixel of a pinhole camera."""
    v, u = np.mgrid[: camera.height, : camera.width] + 0.5
    K = camera.K
    return np.stack([(u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1]], axis=-1)


def photograph(camera: Camera, path: Path) -> None:
    """Photo of `pattern` through the lens, by inverting the distortion."""
    distorted = normalized(camera.undistorted())
    ideal = distorted.copy()
    for _ in range(50):
        ideal += distorted - camera.distort(ideal)
    rgb = np.clip(np.rint(pattern(ideal)), 0, 255).astype(np.uint8)
    assert cv2.imwrite(str(path), rgb[..., ::-1])


@pytest.mark.parametrize(
    "camera",
    [
        Camera("SIMPLE_RADIAL", *SIZE, (180.0, 97.0, 78.0, -0.12)),
        Camera("OPENCV", *SIZE, (180.0, 175.0, 101.0, 74.0, 0.1, -0.05, 0.004, -0.003)),
        Camera("PINHOLE", *SIZE, (180.0, 170.0, 97.0, 78.0)),
    ],
)
def test_undistorted_pixels_are_where_the_pinhole_camera_says(tmp_path: Path, camera: Camera) -> None:
    photograph(camera, tmp_path / "a.png")
    rgb, pinhole = load_view_image(tmp_path, View("a.png", camera, np.eye(4)))
    assert pinhole.is_pinhole
    assert rgb.dtype == np.uint8
    assert rgb.shape == (150, 200, 3)
    np.testing.assert_allclose(pinhole.K, camera.K)
    error = np.abs(rgb - pattern(normalized(pinhole)))[8:-8, 8:-8].max(axis=-1)
    # Half a pixel off would be 2 gray levels and more.
    assert np.median(error) < 0.7
    assert np.quantile(error, 0.99) < 1.5


def test_it_is_scaled_down_but_never_up(tmp_path: Path) -> None:
    camera = Camera("SIMPLE_RADIAL", *SIZE, (180.0, 97.0, 78.0, -0.12))
    photograph(camera, tmp_path / "a.png")
    view = View("a.png", camera, np.eye(4))
    rgb, pinhole = load_view_image(tmp_path, view, 100)
    assert rgb.shape == (75, 100, 3)
    assert (pinhole.width, pinhole.height) == (100, 75)
    np.testing.assert_allclose(pinhole.K[:2], camera.K[:2] / 2)
    error = np.abs(rgb - pattern(normalized(pinhole)))[6:-6, 6:-6].max(axis=-1)
    assert np.median(error) < 1.5
    assert load_view_image(tmp_path, view, 1000)[0].shape == (150, 200, 3)


def test_unreadable_frames_and_other_sizes_are_input_errors(tmp_path: Path) -> None:
    camera = Camera("PINHOLE", *SIZE, (180.0, 170.0, 97.0, 78.0))
    with pytest.raises(InputError, match=r"b\.png"):
        load_view_image(tmp_path, View("b.png", camera, np.eye(4)))
    cv2.imwrite(str(tmp_path / "c.png"), np.zeros((10, 20, 3), np.uint8))
    with pytest.raises(InputError, match="20 x 10 pixels, its camera 200 x 150"):
        load_view_image(tmp_path, View("c.png", camera, np.eye(4)))


@pytest.mark.parametrize("model", ["SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL"])
def test_rounded_sizes_move_no_pixel_of_a_camera_with_one_focal_length(model: str) -> None:
    distortion = {"SIMPLE_PINHOLE": (), "SIMPLE_RADIAL": (-0.1,), "RADIAL": (-0.1, 0.03)}[model]
    camera = Camera(model, 1600, 1067, (1300.0, 790.0, 540.0, *distortion))
    small = camera.fitted(800)
    assert (small.width, small.height) == (800, 534)
    points = np.random.default_rng(0).uniform((-0.5, -0.35, 1), (0.5, 0.35, 1), (50, 3))
    np.testing.assert_allclose(small.project(points), camera.project(points) * (800 / 1600, 534 / 1067))
