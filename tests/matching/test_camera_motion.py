"""Turning against moving, made of points."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from recon3d.matching.camera_motion import CameraMotion, Lens, find_camera_motion

LENS = Lens(640, 480, None)


def _see(
    points: np.ndarray, rotation: np.ndarray, center: np.ndarray, focal: float, bend: float
) -> np.ndarray:
    p = (points - center) @ rotation.T
    q = p[:, :2] / p[:, 2:]
    q = q * (1 + bend * (q**2).sum(axis=1, keepdims=True))
    noise = np.random.default_rng(int(1e6 * abs(center[0])) + 1).normal(0, 0.3, q.shape)
    return 640 * focal * q + [320, 240] + noise


def _motion(
    points: np.ndarray,
    poses: list[tuple[np.ndarray, np.ndarray]],
    focal: float = 1.0,
    bend: float = 0.0,
    lens: Lens = LENS,
) -> CameraMotion:
    seen = [_see(points, cv2.Rodrigues(turn)[0], center, focal, bend) for turn, center in poses]
    inside = [((s > 0) & (s < (640, 480))).all(axis=1) for s in seen]
    pairs, matched = [], []
    for i in range(len(poses)):
        for j in range(i + 1, len(poses)):
            both = inside[i] & inside[j]
            if both.sum() > 30:
                pairs.append((i, j))
                matched.append((seen[i][both], seen[j][both]))
    return find_camera_motion([lens] * len(poses), pairs, matched)


def _cloud() -> np.ndarray:
    rng = np.random.default_rng(0)
    points = rng.uniform([-1.5, -1.2, 2], [1.5, 1.2, 6], (3000, 3))
    points[:, :2] *= points[:, 2:] / 2
    return points


def _wall(tilt: float) -> np.ndarray:
    points = np.random.default_rng(0).uniform(-2, 2, (5000, 3))
    points[:, 2] = 1 + np.tan(np.radians(tilt)) * points[:, 0]
    return points[points[:, 2] > 0.4]


def _turns(yaw: float = 12.0, count: int = 9) -> list[tuple[np.ndarray, np.ndarray]]:
    angles = np.radians(np.linspace(-yaw, yaw, count))
    return [(np.array([0.03 * np.sin(3 * k), a, 0.01]), np.zeros(3)) for k, a in enumerate(angles)]


def _walk(turning: float, count: int = 9) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(1)
    return [
        (rng.normal(0, turning, 3), np.array([x, 0.03 * np.sin(9 * x), 0.0]))
        for x in np.linspace(-0.2, 0.2, count)
    ]


@pytest.mark.parametrize("focal", [0.6, 1.0, 2.0])
@pytest.mark.parametrize("bend", [-0.1, 0.0])
def test_turns_are_found_at_any_focal_length(focal: float, bend: float) -> None:
    motion = _motion(_cloud(), _turns(), focal, bend)
    assert motion.only_turned
    assert not motion.stood_still
    if bend == 0:
        assert len(motion.turning_images(9)) == 9
        widest = motion.pairs[np.argmax(motion.degrees)]
        assert motion.degrees.max() == pytest.approx(3 * (widest[1] - widest[0]), rel=0.15)


@pytest.mark.parametrize("tilt", [0, 20, 40])
@pytest.mark.parametrize("turning", [0.0, 0.03])
@pytest.mark.parametrize("focal", [0.6, 1.2])
def test_a_walk_along_a_wall_is_no_turn(tilt: float, turning: float, focal: float) -> None:
    motion = _motion(_wall(tilt), _walk(turning), focal)
    assert len(motion.pairs) > 10
    assert not motion.only_turned
    assert not motion.turning_images(9)


def test_a_walk_through_a_scene_is_no_turn() -> None:
    motion = _motion(_cloud(), [(t, 3 * c) for t, c in _walk(0.03)])
    assert not motion.turned.any()


def test_the_focal_length_of_the_metadata_is_used() -> None:
    assert _motion(_cloud(), _turns(), 1.0, lens=Lens(640, 480, 640.0)).only_turned


def test_a_stretch_is_found_in_a_sequence() -> None:
    poses = [(np.array([0, 0.02, 0.0]), np.array([0.4 * k, 0.0, 0.0])) for k in range(-5, 0)] + _turns(12, 13)
    motion = _motion(_cloud(), poses)
    assert not motion.only_turned
    (stretch,) = motion.turning_stretches(range(18))
    assert stretch[0] in range(5, 10)  # the first ones are also seen from the walk
    assert stretch[1] == 17


def test_no_pairs_are_no_motion() -> None:
    motion = find_camera_motion([LENS], [], [])
    assert not motion.only_turned
    assert not motion.stood_still
