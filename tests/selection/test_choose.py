import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recon3d.selection.choose import SAME_VIEW, choose_frames


def choose(position, blur=None, usable=None, *, step=0.05, min_frames=2, max_frames=1000, **kwargs):
    position = np.asarray(position, float)
    blur = np.zeros(len(position)) if blur is None else np.asarray(blur, float)
    usable = np.ones(len(position), bool) if usable is None else np.asarray(usable)
    return choose_frames(
        position, blur, usable, step=step, min_frames=min_frames, max_frames=max_frames, **kwargs
    )


def test_even_motion_gives_even_frames_a_step_apart() -> None:
    chosen = choose(np.linspace(0, 2, 401))
    assert len(chosen) == pytest.approx(41, abs=1)
    assert np.diff(chosen).min() >= 8
    assert np.diff(chosen).max() <= 12
    assert chosen[0] <= 2
    assert chosen[-1] >= 398


def test_motion_decides_not_time() -> None:
    # Twice as fast in the second half: twice as many frames there.
    position = np.cumsum(np.repeat([0.005, 0.01], 200))
    chosen = choose(position)
    gaps = np.diff(position[chosen])
    assert gaps.min() > 0.04
    assert gaps.max() < 0.06
    assert np.sum(chosen >= 200) == pytest.approx(2 * np.sum(chosen < 200), abs=2)


def test_standing_still_gives_one_frame_and_the_sharpest() -> None:
    position = np.concatenate([np.linspace(0, 1, 100), np.full(500, 1.0), np.linspace(1, 2, 100)])
    blur = np.full(700, 0.1)
    blur[333] = 0.0
    chosen = choose(position, blur)
    still = chosen[(chosen >= 99) & (chosen <= 600)]
    assert list(still) == [333]


def test_blurred_frames_are_avoided_and_their_neighbours_move_along() -> None:
    position = np.linspace(0, 2, 401)
    blur = np.zeros(401)
    blur[50:61] = 0.5  # around the frame 50, which even spacing would take
    blur[100:400:10] = 0.5
    chosen = choose(position, blur)
    assert blur[chosen].max() == 0
    assert np.diff(position[chosen]).max() < 0.08


def test_a_long_blurred_stretch_is_crossed_rather_than_left_out() -> None:
    position = np.linspace(0, 2, 401)
    blur = np.zeros(401)
    blur[100:300] = 0.6
    gaps = np.diff(position[choose(position, blur)])
    assert gaps.max() < 0.16


def test_unusable_frames_are_never_taken() -> None:
    usable = np.ones(401, bool)
    usable[::2] = False
    usable[100:150] = False
    assert np.all(usable[choose(np.linspace(0, 2, 401), usable=usable)])
    assert len(choose(np.linspace(0, 1, 10), usable=np.zeros(10, bool))) == 0


def test_bounds_on_the_number() -> None:
    position = np.linspace(0, 2, 401)
    assert 20 <= len(choose(position, max_frames=25)) <= 25
    assert 90 <= len(choose(position, min_frames=90)) <= 110
    # No more than there are views to see.
    assert len(choose(np.linspace(0, 10 * SAME_VIEW, 400), min_frames=90)) <= 12
    assert len(choose(np.zeros(400), min_frames=90)) == 1
    assert list(choose([0.0])) == [0]


def test_a_jump_does_not_break_the_path() -> None:
    position = np.concatenate([np.linspace(0, 1, 100), np.linspace(3, 4, 100)])
    chosen = choose(position)
    assert chosen[0] < 5
    assert chosen[-1] > 195
    assert np.diff(position[chosen]).max() == pytest.approx(2.0, abs=0.1)


@settings(max_examples=150)
@given(
    steps=st.lists(st.floats(0, 0.3), min_size=1, max_size=120),
    seed=st.integers(0, 1000),
    least=st.integers(2, 20),
    extra=st.integers(1, 40),
)
def test_any_video_gives_increasing_usable_frames_within_bounds(steps, seed, least, extra) -> None:
    rng = np.random.default_rng(seed)
    position = np.cumsum(steps)
    usable = rng.random(len(steps)) < 0.8
    chosen = choose(position, rng.random(len(steps)), usable, min_frames=least, max_frames=least + extra)
    assert np.all(np.diff(chosen) > 0)
    assert np.all(usable[chosen])
    assert len(chosen) <= least + extra
    assert (len(chosen) > 0) == bool(usable.any())
