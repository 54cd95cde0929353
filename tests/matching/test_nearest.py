"""Matches among all features and along a geometry, against readable twins."""

from __future__ import annotations

import numpy as np
import pytest

from recon3d.matching.cascade import ImageFeatures, joined, match_images
from recon3d.matching.guided import MAX_ERROR, guided_matches
from recon3d.matching.nearest import DISTANCE, LENGTH, RATIO, mutual_nearest, prepared

RNG = np.random.default_rng(3)


def described(count: int) -> np.ndarray:
    values = RNG.exponential(1.0, (count, 128)) ** 2
    return (
        np.rint(LENGTH * values / np.linalg.norm(values, axis=1, keepdims=True)).clip(0, 255).astype(np.uint8)
    )


def seen_again(descriptors: np.ndarray, noise: float) -> np.ndarray:
    return (descriptors + RNG.normal(0, noise, descriptors.shape)).clip(0, 255).astype(np.uint8)


def twin(a: np.ndarray, b: np.ndarray, allowed: np.ndarray) -> list[tuple[int, int]]:
    distance = np.linalg.norm(a[:, None].astype(float) - b[None].astype(float), axis=2)
    distance[~allowed] = np.inf

    def clear(row: np.ndarray) -> bool:
        one, two = np.sort([*row, np.inf])[:2]
        return bool(one <= LENGTH * DISTANCE and one <= RATIO * two)

    found = []
    for i, row in enumerate(distance):
        j = int(np.argmin(row))
        if int(np.argmin(distance[:, j])) == i and clear(row) and clear(distance[:, j]):
            found.append((i, j))
    return found


@pytest.mark.parametrize(("first", "second"), [(300, 257), (1, 5), (129, 1)])
def test_mutual_nearest_is_its_twin(first: int, second: int) -> None:
    a = described(first)
    b = np.concatenate([seen_again(a[::2], 12), described(second)])[:second]
    found = mutual_nearest(prepared(a), prepared(b))
    assert found.tolist() == [list(pair) for pair in twin(a, b, np.ones((first, second), bool))]
    assert len(found) >= min(first, second) // 3


def test_nothing_matches_nothing() -> None:
    none, some = np.zeros((0, 128), np.uint8), described(4)
    for a, b in ((none, some), (some, none), (none, none)):
        assert mutual_nearest(prepared(a), prepared(b)).shape == (0, 2)
        points = np.zeros((len(a), 2)), np.zeros((len(b), 2))
        assert guided_matches((points[0], a), (points[1], b), np.eye(3)).shape == (0, 2)


#: Sideways, upwards, and towards an epipole in the image.
FUNDAMENTALS = [
    np.array([[0, 0, 0.2], [0, 0, -1.0], [-0.1, 1.0, 3.0]]),
    np.array([[0, 0, 1.0], [0, 0, 0.3], [-1.0, 0.1, 5.0]]),
    np.array([[0, -1.0, 120], [1.0, 0, -150], [-115, 145, 0]]),
]
HOMOGRAPHY = np.array([[0.9, 0.1, 12], [-0.1, 1.0, 9], [1e-4, 0, 1.0]])


@pytest.mark.parametrize(
    ("matrix", "plane"), [*((F, False) for F in FUNDAMENTALS), (HOMOGRAPHY, True), (-HOMOGRAPHY, True)]
)
def test_guided_matches_are_their_twin(matrix: np.ndarray, plane: bool) -> None:
    a = RNG.uniform(0, (320, 240), (400, 2))
    mapped = np.column_stack([a, np.ones(len(a))]) @ matrix.T
    if plane:
        ideal = mapped[:, :2] / mapped[:, 2:]
    else:  # a point of each epipolar line
        shift = RNG.uniform(0, (320, 240), (400, 2))
        normal = mapped[:, :2] / np.linalg.norm(mapped[:, :2], axis=1, keepdims=True)
        off = np.sum(shift * normal, axis=1) + mapped[:, 2] / np.linalg.norm(mapped[:, :2], axis=1)
        ideal = shift - off[:, None] * normal
    b = ideal + RNG.normal(0, 2.5, ideal.shape)
    b = np.where((b < 0).any(axis=1, keepdims=True), RNG.uniform(0, 240, b.shape), b)  # in the image
    # Each looks like another too: only the geometry tells them apart.
    da = np.tile(described(200), (2, 1))
    db = seen_again(da, 4)
    lines = mapped / np.linalg.norm(mapped[:, :2], axis=1, keepdims=True)
    if plane:
        error = np.linalg.norm((mapped[:, :2] / mapped[:, 2:])[:, None] - b[None], axis=2)
    else:
        error = np.abs(lines[:, :2] @ b.T + lines[:, 2:])
    found = guided_matches((a, da), (b, db), matrix, plane=plane)
    assert found.tolist() == [list(pair) for pair in twin(da, db, error <= MAX_ERROR)]
    assert np.mean(found[:, 0] == found[:, 1]) > 0.8
    assert len(found) > 2.5 * len(mutual_nearest(prepared(da), prepared(db)))
    assert len(found) > 50


def test_the_largest_features_are_matched_first_and_keep_their_indices() -> None:
    descriptors = described(2000)
    sizes = RNG.permutation(2000) + 1.0
    keypoints = np.column_stack([np.zeros((2000, 2)), sizes, *np.zeros((3, 2000))]).astype(np.float32)
    features = ImageFeatures.of(keypoints, descriptors)
    found = match_images(features, features, only_largest=True)
    assert len(found) == 667
    assert (found[:, 0] == found[:, 1]).all()
    assert sizes[found[:, 0]].min() == 2000 - 667 + 1
    assert len(match_images(features, features, only_largest=False)) == 2000


def test_better_matches_leave_others_only_free_features() -> None:
    better, others = np.array([[1, 5], [2, 6]]), np.array([[1, 9], [3, 6], [4, 7]])
    assert joined(better, others).tolist() == [[1, 5], [2, 6], [4, 7]]
