"""The skirt of ground that an object keeps."""

from __future__ import annotations

import numpy as np
import pytest

from recon3d.surface.ground import beyond_skirt
from recon3d.types import Floats, PointCloud, Scene
from tests.synthetic.shapes import orbit_scene

Y = np.array([0.0, 1.0, 0.0])
#: An axis that is none of the world's.
TILTED = np.array([0.36, -0.48, 0.8])


def _ground(rng: np.random.Generator, reach: float, rough: float, count: int = 40_000) -> Floats:
    x, z = rng.uniform(-reach, reach, (2, count))
    disc = np.hypot(x, z) < reach
    return np.stack([x, rng.normal(0, rough, count), z], axis=1)[disc]


def _box(rng: np.random.Generator, half: float, height: float, count: int = 20_000) -> tuple[Floats, Floats]:
    """Points on the four sides and the top of a box that stands at the origin."""
    side = rng.integers(0, 5, count)
    a, b = rng.uniform(-1, 1, (2, count))
    turn = np.pi / 2 * side
    out = np.stack([np.cos(turn), np.zeros(count), np.sin(turn)], axis=1)
    along = np.stack([-np.sin(turn), np.zeros(count), np.cos(turn)], axis=1)
    points = half * out + half * a[:, None] * along + (height * (b + 1) / 2)[:, None] * Y
    top = side == 4
    points[top] = np.stack([half * a[top], np.full(top.sum(), height), half * b[top]], axis=1)
    return points, np.where(top[:, None], Y, out)


def _cloud(parts: list[tuple[Floats, Floats]], up: Floats = Y) -> tuple[PointCloud, Scene]:
    """The parts in a world whose vertical is `up`, and an orbit around them."""
    points, normals = (np.concatenate(column) for column in zip(*parts, strict=True))
    first = np.cross(up, [0.0, 0.0, 1.0])
    first /= np.linalg.norm(first)
    turn = np.stack([first, up, np.cross(first, up)], axis=1)
    scene = orbit_scene(16, points[:50], up)
    return PointCloud(points @ turn.T, (normals @ turn.T).astype(np.float32)), scene


def _flat(points: Floats) -> tuple[Floats, Floats]:
    return points, np.tile(Y, (len(points), 1))


@pytest.mark.parametrize("up", [Y, TILTED], ids=["upright", "tilted"])
def test_ground_beyond_a_skirt_goes_and_the_object_stays(up: Floats) -> None:
    rng = np.random.default_rng(1)
    ground, box = _flat(_ground(rng, 3.0, 0.004)), _box(rng, 0.3, 1.5)
    cloud, scene = _cloud([ground, box], up)
    far = beyond_skirt(scene, cloud)
    away = np.maximum(np.abs(ground[0][:, 0]), np.abs(ground[0][:, 2])) - 0.3
    assert not far[len(ground[0]) :].any()
    # The object's diagonal is 1.7: a skirt of 0.2.
    assert far[: len(away)][away > 0.3].mean() > 0.99
    assert not far[: len(away)][away < 0.15].any()


@pytest.mark.parametrize(
    ("half", "height", "rough", "depth"),
    [
        (1.5, 0.2, 0.004, 0.0),
        (0.3, 1.5, 0.03, 0.0),
        (0.3, 1.5, 0.004, 1.0),
    ],
    ids=["low walls", "a meadow", "a table on something"],
)
def test_other_ground_stays(half: float, height: float, rough: float, depth: float) -> None:
    rng = np.random.default_rng(1)
    parts = [_flat(_ground(rng, 3.0, rough)), _box(rng, half, height)]
    if depth:
        points, normals = _box(rng, 2.0, depth)
        parts.append((points - [0, 1.1 * depth, 0], normals))
    cloud, scene = _cloud(parts)
    assert not beyond_skirt(scene, cloud).any()


def test_without_ground_or_points_nothing_goes() -> None:
    rng = np.random.default_rng(1)
    cloud, scene = _cloud([_box(rng, 0.3, 1.5)])
    assert not beyond_skirt(scene, cloud).any()
    assert beyond_skirt(scene, PointCloud(np.zeros((0, 3)))).shape == (0,)
