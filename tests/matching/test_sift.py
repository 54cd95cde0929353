"""OpenCV's SIFT with COLMAP's conventions."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.spatial import cKDTree

from recon3d.colmap import SiftSettings, extract_sift
from recon3d.matching.sift import detect_sift
from tests.synthetic.media import texture


@pytest.fixture(scope="module")
def gray() -> np.ndarray:
    return cv2.cvtColor(texture(480, 360, seed=5), cv2.COLOR_BGR2GRAY)


def scales(keypoints: np.ndarray) -> np.ndarray:
    return np.hypot(keypoints[:, 2], keypoints[:, 4])


@pytest.mark.parametrize("size", [480, 300])
def test_features_lie_where_colmap_finds_them(tmp_path: Path, gray: np.ndarray, size: int) -> None:
    cv2.imwrite(str(tmp_path / "photo.png"), gray)
    theirs, _ = extract_sift(tmp_path / "photo.png", SiftSettings(size, 100_000, -1, False, False))
    ours, _ = detect_sift(gray, size, 100_000, -1)
    distance, nearest = cKDTree(theirs[:, :2]).query(ours[:, :2])
    near = distance < 0.3
    assert near.mean() > 0.6
    same = theirs[nearest[near]]
    # Half a pixel would be 0.5, and OpenCV's own upscaling a quarter.
    assert np.abs(np.median(ours[near, :2] - same[:, :2], axis=0)).max() < 0.03
    assert np.median(scales(ours[near]) / scales(same)) == pytest.approx(1, abs=0.02)
    turn = np.arctan2(ours[near, 4], ours[near, 2]) - np.arctan2(same[:, 4], same[:, 2])
    assert abs(np.median(np.angle(np.exp(1j * turn)))) < np.radians(2)


@pytest.mark.parametrize("octave", ["auto", -1, 0, 1])
def test_the_limit_is_kept_and_the_largest_stay(gray: np.ndarray, octave: int | str) -> None:
    everything, _ = detect_sift(gray, 480, 100_000, octave)
    limit = len(everything) // 3
    keypoints, descriptors = detect_sift(gray, 480, limit, octave)
    assert len(keypoints) == len(descriptors) == limit
    assert (np.diff(scales(keypoints)) <= 1e-4).all()
    if octave != "auto":
        assert scales(keypoints).min() >= np.sort(scales(everything))[-limit] - 1e-4


def test_an_image_with_enough_features_is_not_doubled(gray: np.ndarray) -> None:
    coarse, _ = detect_sift(gray, 480, 100_000, 0)
    fine, _ = detect_sift(gray, 480, 100_000, -1)
    assert len(fine) > 1.5 * len(coarse)
    enough, _ = detect_sift(gray, 480, len(coarse), "auto")
    assert np.array_equal(enough, coarse)
    assert len(detect_sift(gray, 480, len(coarse) + 1, "auto")[0]) == len(coarse) + 1


def test_hidden_features_do_not_count(gray: np.ndarray) -> None:
    keypoints, _ = detect_sift(gray, 480, 200, "auto", lambda points: points[:, 0] < 240)
    assert len(keypoints) == 200
    assert keypoints[:, 0].max() < 240


def test_descriptors_are_of_the_length_512_and_the_same_again(gray: np.ndarray) -> None:
    keypoints, descriptors = detect_sift(gray, 480, 500, "auto")
    again, same = detect_sift(gray, 480, 500, "auto")
    assert np.array_equal(keypoints, again)
    assert np.array_equal(descriptors, same)
    assert np.linalg.norm(descriptors.astype(float), axis=1) == pytest.approx(512, abs=8)


def test_a_plain_image_has_none() -> None:
    keypoints, descriptors = detect_sift(np.full((60, 80), 128, np.uint8), 80, 100, "auto")
    assert keypoints.shape == (0, 6)
    assert descriptors.shape == (0, 128)
