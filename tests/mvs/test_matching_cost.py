"""The innermost kernels against their NumPy twins."""

from __future__ import annotations

import numpy as np
import pytest

from recon3d.mvs import matching_cost as matching
from recon3d.mvs import reference
from recon3d.mvs.stereo import PlaneMap, refine_planes, relative_projection
from recon3d.mvs.sweeps import Sweeps
from tests.synthetic.scenes import Plane, arc, render

SLANTED = Plane(np.array([0.3, 0.2, -0.93]), 0.1)


@pytest.fixture(scope="module")
def pair():
    return [render([SLANTED], view) for view in arc(2)]


def true_plane(picture):
    """Inverse depth and its derivatives along x and y."""
    rho = 1 / picture.depth
    return rho, np.gradient(rho, axis=1), np.gradient(rho, axis=0)


def prepared(gray, x, y, pattern, patch):
    stride = gray.shape[1] + 2 * matching.REACH
    steps = matching.patch_steps(pattern, stride)
    return matching.prepare_patch(matching.padded(gray).ravel(), stride, steps, x, y, pattern, patch)


def kernel_cost(pair, x, y, rho, gx, gy, pattern, inverse_depth=None, weight=0.0):
    own, other = (p.stereo for p in pair)
    forth = relative_projection(other, own).astype(np.float32)[None]
    back = relative_projection(own, other).astype(np.float32)[None]
    height, width = own.gray.shape
    layout = np.array([[0, width, height]], np.int32)
    maps = np.zeros((height, width), np.float32) if inverse_depth is None else inverse_depth
    patch = np.empty((2, matching.SAMPLES), np.float32)
    mean, scale = prepared(own.gray, x, y, pattern, patch)
    numbers = [np.float32(v) for v in (x, y, rho, gx, gy)]
    return matching.view_cost(
        0, *numbers, matching.pack(other.gray).ravel(), layout, forth, pattern, patch, mean, scale,
        maps.astype(np.float32).ravel(), layout, back, np.float32(weight),
    )  # fmt: skip


def test_packed_pixels_are_the_pixel_and_three_neighbours():
    gray = np.arange(12, dtype=np.uint8).reshape(3, 4)
    packed = matching.pack(gray)
    assert [packed[0, 1] >> shift & 255 for shift in (0, 8, 16, 24)] == [1, 2, 5, 6]
    assert [packed[2, 3] >> shift & 255 for shift in (0, 8, 16, 24)] == [11, 11, 11, 11]


@pytest.mark.parametrize("pattern", [0, 1])
def test_patch_equals_its_twin(pair, pattern):
    gray = pair[0].stereo.gray
    height, width = gray.shape
    for x, y in [(0, 0), (width - 1, height - 1), (80, 61), (3, 100)]:
        patch = np.empty((2, matching.SAMPLES), np.float32)
        mean, scale = prepared(gray, x, y, pattern, patch)
        values, weights = reference.patch(gray, x, y, pattern)
        assert patch[0] == pytest.approx(weights, abs=1e-6)
        assert mean == pytest.approx(weights @ values, abs=1e-3)
        assert patch[1] == pytest.approx(weights * (values - weights @ values), abs=1e-4)
        variance = weights @ (values - weights @ values) ** 2
        assert scale == pytest.approx(1 / np.sqrt(variance + matching.NOISE), rel=1e-4)


@pytest.mark.parametrize("pattern", [0, 1])
@pytest.mark.parametrize("shift", [0.0, 0.02, -0.05])
def test_cost_equals_its_twin(pair, pattern, shift):
    rho, gx, gy = true_plane(pair[0])
    own, other = (p.stereo for p in pair)
    forth = relative_projection(other, own)
    rng = np.random.default_rng(1)
    for _ in range(40):
        x, y = int(rng.integers(160)), int(rng.integers(120))
        plane = rho[y, x] * (1 + shift), gx[y, x], gy[y, x] * (1 + 3 * shift)
        expected = reference.view_cost(own.gray, other.gray, forth, x, y, *plane, pattern)
        assert kernel_cost(pair, x, y, *plane, pattern) == pytest.approx(expected, abs=0.02)


def test_true_plane_fits_and_others_do_not(pair):
    rho, gx, gy = true_plane(pair[0])
    here = [kernel_cost(pair, x, 60, rho[60, x], gx[60, x], gy[60, x], 0) for x in range(40, 120, 10)]
    off = [kernel_cost(pair, x, 60, rho[60, x] * 1.1, gx[60, x], gy[60, x], 0) for x in range(40, 120, 10)]
    assert max(here) < 0.1
    assert np.median(off) > 0.5


def test_scores_are_those_of_the_best_views():
    pictures = [render([SLANTED], view) for view in arc(4)]
    own, *others = (p.stereo for p in pictures)
    state = np.stack(true_plane(pictures[0])).astype(np.float32)
    start = PlaneMap.from_state(state)
    made = refine_planes(own, others, start, (0.1, 1.0), [Sweeps(0, 0, 0, 0, 1.0, 1.0)], best_views=2)
    rng = np.random.default_rng(1)
    for _ in range(20):
        x, y = int(rng.integers(10, 150)), int(rng.integers(10, 110))
        costs = np.array(
            [
                reference.view_cost(
                    own.gray, other.gray, relative_projection(other, own), x, y, *state[:, y, x], 0
                )
                for other in others
            ]
        )
        expected, views = reference.best_views_cost(costs, 2)
        assert made.cost[y, x] == pytest.approx(expected, abs=0.02)
        if np.diff(np.sort(costs))[1] > 0.04:
            assert made.chosen[y, x] == views


def test_outside_and_behind_is_worst(pair):
    assert kernel_cost(pair, 80, 60, 5.0, 0.0, 0.0, 0) == matching.WORST
    assert kernel_cost(pair, 80, 60, -5.0, 0.0, 0.0, 0) == matching.WORST


def test_disagreement_with_the_other_map_equals_its_twin(pair):
    rho = 1 / pair[0].depth
    there = (1 / pair[1].depth).astype(np.float32)
    own, other = (p.stereo for p in pair)
    forth, back = relative_projection(other, own), relative_projection(own, other)
    for factor in (1.0, 1.01, 1.2):
        plane = rho[60, 80] * factor, 0.0, 0.0
        added = kernel_cost(pair, 80, 60, *plane, 0, there, 1.0) - kernel_cost(pair, 80, 60, *plane, 0)
        expected = reference.geometric_error(forth, back, there, 80, 60, plane[0])
        assert added == pytest.approx(expected, abs=0.02)
        assert (expected < 0.2) == (factor == 1.0)
    nothing = kernel_cost(pair, 80, 60, *plane, 0, 0 * there, 1.0) - kernel_cost(pair, 80, 60, *plane, 0)
    assert nothing == pytest.approx(matching.GEOMETRIC_CAP, abs=1e-4)
