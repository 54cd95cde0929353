import cv2
import numpy as np
import pytest

from recon3d.selection.motion import MOTION_SIZE, MotionTracker
from tests.synthetic.media import slide, texture

PICTURE = texture()


def grays(positions: list[float]) -> list[np.ndarray]:
    return [cv2.cvtColor(f, cv2.COLOR_BGR2GRAY) for f in slide(PICTURE, positions, (MOTION_SIZE, 180))]


def travel(frames: list[np.ndarray]) -> list[float]:
    tracker = MotionTracker()
    return [tracker.update(frame) for frame in frames]


@pytest.mark.parametrize("speed", [0.3, 1.0, 4.0, 15.0])
def test_travel_is_the_path_length(speed: float) -> None:
    positions = [100 + speed * k for k in range(60)]
    result = travel(grays(positions))
    assert result[0] == 0
    assert result[-1] == pytest.approx(59 * speed / MOTION_SIZE, rel=0.04)
    assert np.all(np.diff(result) >= 0)


def test_a_shaking_camera_with_noise_does_not_travel() -> None:
    rng = np.random.default_rng(1)
    frames = grays(list(100 + rng.uniform(-1, 1, 300)))
    noisy = [np.clip(f + rng.normal(0, 6, f.shape), 0, 255).astype(np.uint8) for f in frames]
    assert travel(noisy)[-1] < 0.02


def test_an_object_that_turns_before_a_still_background_is_motion() -> None:
    frames = grays([100.0] * 40)
    moving = grays([300 + 3.0 * k for k in range(40)])
    for frame, other in zip(frames, moving, strict=True):
        frame[40:150, 90:230] = other[40:150, 90:230]
    assert travel(frames)[-1] > 0.4 * 39 * 3 / MOTION_SIZE


def test_blank_frames_and_fades_are_no_motion() -> None:
    frame = grays([100.0])[0]
    fade = [(frame * (1 - k / 10)).astype(np.uint8) for k in range(11)]
    assert travel([*fade, *fade[::-1]])[-1] < 0.02
    assert travel([np.zeros((180, 320), np.uint8)] * 5)[-1] == 0


def test_a_cut_counts_as_a_long_way() -> None:
    other = cv2.cvtColor(texture(seed=9)[200:380, 500:820], cv2.COLOR_BGR2GRAY)
    result = travel([*grays([100.0] * 5), *[other] * 5])
    assert result[4] < 0.01
    assert result[-1] > 0.1
