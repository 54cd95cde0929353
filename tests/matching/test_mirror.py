"""Finding mirrors: mirrored features, and which scenes have a mirror."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from recon3d.matching.mirror import Sightings, find_mirror, mirrored
from recon3d.matching.sift import detect_sift
from tests.synthetic.media import texture

UP = np.array([0.0, 1.0, 0.0])
#: The plane x = 2; cameras and things are where x is larger.
NORMAL, OFFSET = np.array([1.0, 0.0, 0.0]), 2.0


def test_the_descriptor_of_a_mirrored_feature_is_permuted() -> None:
    image = cv2.cvtColor(texture(300, 300, seed=2), cv2.COLOR_BGR2GRAY)
    keypoints, descriptors = detect_sift(image, 300, 300, 0)
    flipped_keypoints, flipped = detect_sift(np.ascontiguousarray(image[:, ::-1]), 300, 300, 0)
    guessed = mirrored(descriptors.astype(np.float32))
    guessed /= np.linalg.norm(guessed, axis=1, keepdims=True)
    real = flipped.astype(np.float32)
    best = (guessed @ (real / np.linalg.norm(real, axis=1, keepdims=True)).T).argmax(axis=1)
    there = np.column_stack([300 - keypoints[:, 0], keypoints[:, 1]])
    assert (np.linalg.norm(flipped_keypoints[best, :2] - there, axis=1) < 1).mean() > 0.9


def sightings(
    twice: int, centers: np.ndarray, *, normal: np.ndarray = NORMAL, kinds: int = 0, noise: float = 0.001
) -> Sightings:
    """300 points, of which some are seen in a mirror, too, by all cameras.

    `kinds` is the number of different descriptors; 0 makes each point unique.
    """
    rng = np.random.default_rng(0)
    real = rng.uniform([3, 0, -3], [8, 4, 3], (300, 3)) @ _turn(normal).T
    image = real[:twice] - 2 * (real[:twice] @ normal - OFFSET)[:, None] * normal
    looks = rng.gamma(0.6, 40, (kinds or 300, 128)).clip(0, 255)
    looks = looks[rng.integers(0, kinds, 300)] if kinds else looks
    looks = np.concatenate([looks, mirrored(looks[:twice].astype(np.float32))])
    points = np.concatenate([real, image])
    points += rng.normal(0, noise, points.shape)
    count = len(centers)
    seen = (np.repeat(looks, count, axis=0) + rng.normal(0, 5, (len(points) * count, 128))).clip(0, 255)
    owners, views = np.repeat(np.arange(len(points)), count), np.tile(np.arange(count), len(points))
    return Sightings(points, centers, owners, views, seen.astype(np.uint8))


def _turn(normal: np.ndarray) -> np.ndarray:
    """The rotation that takes x to the normal."""
    return np.eye(3) if normal is NORMAL else np.array([[0.0, 1, 0], [1, 0, 0], [0, 0, -1]])


def photographers(x: float, spread: float = 2.0, z: float = 0.0) -> np.ndarray:
    """Cameras around (x, 1.5, z) that look at the mirror from all sides but from behind."""
    steps = np.linspace(-1, 1, 7)
    return np.column_stack([x + 0.3 * steps**2, 1.5 + 0.1 * np.cos(9 * steps), z + spread * steps])


@pytest.mark.parametrize("twice", [20, 200])
def test_a_mirror_is_found_where_it_is(twice: int) -> None:
    found = find_mirror(sightings(twice, photographers(9.0)), UP)
    assert found is not None
    assert found.normal @ NORMAL > 0.9999
    assert found.offset == pytest.approx(OFFSET, abs=0.02)
    assert found.pairs >= 0.8 * twice
    assert not found.level


def test_water_is_seen_at_a_flat_angle() -> None:
    centers = photographers(0.0, z=-20.0)[:, [0, 1, 2]] + [0, 2, 0]
    found = find_mirror(sightings(60, centers, normal=UP), UP)
    assert found is not None
    assert found.level
    assert found.normal @ UP > 0.999
    assert found.offset == pytest.approx(OFFSET, abs=0.02)
    # A ceiling does not reflect, and who does not know what is up cannot tell water from a symmetric house.
    assert find_mirror(sightings(60, centers, normal=UP), -UP) is None
    assert find_mirror(sightings(60, centers, normal=UP), None) is None


def test_no_mirror_where_the_scene_is_symmetric() -> None:
    both_sides = photographers(2.0, z=-9.0)[:, [2, 1, 0]] + [11, 0, 0]
    assert both_sides[:, 0].min() < OFFSET < both_sides[:, 0].max()
    assert find_mirror(sightings(200, both_sides), UP) is None
    # A house from one side of its middle: the cameras look along the plane.
    one_side = np.column_stack([np.linspace(2.5, 4.5, 7), np.full(7, 1.5), np.full(7, -30.0)])
    assert find_mirror(sightings(200, one_side), UP) is None


def test_no_mirror_among_few_pairs_or_patterns_that_repeat() -> None:
    centers = photographers(9.0)
    assert find_mirror(sightings(4, centers), UP) is None
    assert find_mirror(sightings(200, centers, kinds=8), UP) is None


def test_things_that_are_seen_twice_but_not_mirrored_do_not_count() -> None:
    seen = sightings(200, photographers(9.0))
    copied = seen.descriptors.copy()
    copied[300 * 7 :] = copied[: 200 * 7]
    assert find_mirror(replace(seen, descriptors=copied), UP) is None


def test_scenes_too_small_to_tell() -> None:
    empty = np.zeros(0, np.int64)
    nothing = Sightings(np.zeros((0, 3)), photographers(9.0), empty, empty, np.zeros((0, 128), np.uint8))
    assert find_mirror(nothing, UP) is None
