"""Features at rest, made of points: what rests in a rigid scene is kept."""

from __future__ import annotations

import numpy as np

from recon3d.matching.resting import Resting, find_resting

SIZE = (1000, 750)
VIEWS = 6


def _points(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (count, 3)) * [1, 0.7, 1]


def _orbit(points: np.ndarray, step: float = 6.0) -> list[np.ndarray]:
    """Pixels of points around the origin, seen by a camera that goes around them."""
    seen = []
    for k in range(VIEWS):
        a = np.radians(step * k)
        turn = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
        p = points @ turn.T + [0, 0, 4]
        noise = np.random.default_rng(k).normal(0, 0.2, (len(p), 2))
        seen.append(1000 * p[:, :2] / p[:, 2:] + [500, 375] + noise)
    return seen


def _find(positions: list[np.ndarray]) -> Resting | None:
    pairs = [(i, j) for i in range(VIEWS) for j in range(i + 1, VIEWS)]
    same = np.repeat(np.arange(len(positions[0]))[:, None], 2, axis=1)
    return find_resting(positions, [SIZE] * VIEWS, pairs, [same] * len(pairs))


def test_a_still_background_is_found() -> None:
    wall = np.random.default_rng(9).uniform([0, 0], SIZE, (300, 2))
    positions = [
        np.concatenate([seen, wall + np.random.default_rng(20 + k).normal(0, 0.2, wall.shape)])
        for k, seen in enumerate(_orbit(_points(200, 1)))
    ]
    resting = _find(positions)
    assert resting is not None
    assert 0.55 < resting.share < 0.65
    for rests in resting.features:
        assert rests[200:].mean() > 0.95
        assert rests[:200].mean() < 0.05
    matches = np.array([[0, 0], [250, 250], [5, 260]])
    assert resting.moving((0, 1), matches).tolist() == [[0, 0]]


def test_points_on_the_axis_of_an_orbit_are_kept() -> None:
    axis = np.zeros((40, 3))
    axis[:, 1] = np.linspace(-0.7, 0.7, 40)
    positions = _orbit(np.concatenate([_points(200, 2), axis]))
    still = np.linalg.norm(positions[3][200:] - positions[0][200:], axis=1)
    assert np.mean(still < 1.0) > 0.9  # they rest as a logo does
    assert _find(positions) is None


def test_a_still_picture_is_not_a_background() -> None:
    wall = np.random.default_rng(9).uniform([0, 0], SIZE, (300, 2))
    assert _find([wall + np.random.default_rng(k).normal(0, 0.2, wall.shape) for k in range(VIEWS)]) is None


def test_slow_motion_is_no_background() -> None:
    assert _find(_orbit(_points(300, 3), step=0.2)) is None
