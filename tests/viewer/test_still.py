"""The picture that stands in for a viewer, drawn in software."""

from __future__ import annotations

import numpy as np
import pytest

from recon3d.types import Camera
from recon3d.viewer import still


@pytest.mark.parametrize("side", [1, 2, 3, 8])
def test_of_the_dots_that_cover_a_pixel_the_nearest_is_seen(side: int) -> None:
    rng = np.random.default_rng(side)
    points = rng.uniform(-1.2, 1.2, (300, 3)).astype(np.float32)
    points[:20, 2] -= 5  # behind the camera
    colors = rng.integers(1, 255, (300, 3)).astype(np.uint8)
    pose = np.eye(4)
    pose[2, 3] = 3
    camera = Camera("PINHOLE", 60, 40, (50.0, 50.0, 30.0, 20.0))
    picture = np.zeros((40, 60, 3), np.uint8)
    still._splat(picture, points, colors, camera, pose, side)

    expected, known = np.zeros((40, 60, 3), np.uint8), np.full((40, 60), np.inf)
    for point, color in zip(points + pose[:3, 3], colors, strict=True):
        if point[2] <= 0:
            continue
        x, y = (int(np.floor(v)) for v in camera.project(point[None].astype(np.float64))[0])
        for j in range(y - side // 2, y - side // 2 + side):
            for i in range(x - side // 2, x - side // 2 + side):
                if 0 <= i < 60 and 0 <= j < 40 and point[2] < known[j, i]:
                    known[j, i], expected[j, i] = point[2], color
    np.testing.assert_array_equal(picture, expected)
    assert (picture > 0).any(axis=2).mean() > 0.05
