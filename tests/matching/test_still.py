"""What stands still: the wall behind a turntable, and nothing where the camera moves."""

from __future__ import annotations

import cv2
import numpy as np

from recon3d.matching.still import still_pixels
from tests.synthetic.media import Image, texture
from tests.synthetic.motions import slid, turntable

SIZE = (320, 240)


def gray(images: list[Image]) -> list[Image]:
    return [np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8) for image in images]


def test_the_wall_is_hidden_and_the_box_is_not() -> None:
    angles = np.arange(0, 360, 18.0)
    still = still_pixels(gray(turntable(angles, texture(400, 300, seed=7), SIZE)[0]))
    plain = gray(turntable(angles, None, SIZE)[0])
    box = [cv2.erode(_box(picture), np.ones((5, 5), np.uint8)) > 0 for picture in plain]
    wall = [cv2.dilate(_box(picture), np.ones((5, 5), np.uint8)) == 0 for picture in plain]
    assert np.mean([mask[inside].mean() for mask, inside in zip(still, box, strict=True)]) < 0.005
    assert np.mean([mask[inside].mean() for mask, inside in zip(still, wall, strict=True)]) > 0.95


def _box(picture: Image) -> Image:
    """Pixels of the box: whatever is not the grey background."""
    different = (np.abs(picture.astype(int) - 120) > 12).astype(np.uint8)
    return np.asarray(cv2.morphologyEx(different, cv2.MORPH_CLOSE, np.ones((11, 11), np.uint8)), np.uint8)


def test_nothing_stands_still_before_a_moving_camera() -> None:
    moving = gray(slid(texture(900, 700, seed=3), np.linspace(-0.3, 0.3, 8), SIZE))
    assert np.mean(still_pixels(moving)) < 0.001


def test_a_plain_background_is_left_alone() -> None:
    # It has no depth anyway, and a plain part of the thing itself looks the same.
    assert np.mean(still_pixels(gray(turntable(np.arange(0, 360, 36.0), None, SIZE)[0]))) < 0.01


def test_four_pictures_do_not_tell() -> None:
    pictures = gray(turntable([0, 40, 80, 120], texture(400, 300, seed=7), SIZE)[0])
    assert not np.any(still_pixels(pictures))
