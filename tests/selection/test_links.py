"""Links between neighbouring frames of a video."""

from __future__ import annotations

import cv2
import numpy as np

from recon3d.selection.links import WEAK, describe_frame, fill_weak_gaps, link_strength
from tests.synthetic.motions import turntable


def test_a_link_fades_with_the_step() -> None:
    images, _ = turntable([0, 8, 90], None, (480, 360))
    described = [describe_frame(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)) for image in images]
    assert link_strength(described[0], described[1]) > 2 * WEAK
    assert link_strength(described[0], described[2]) < WEAK
    plain = describe_frame(np.full((360, 480), 128, np.uint8))
    assert link_strength(described[0], plain) == 0


def test_weak_gaps_get_their_sharpest_frames() -> None:
    blur = np.full(31, 0.5)
    blur[[13, 15, 18]] = 0.0
    usable = np.ones(31, bool)
    chosen = np.array([0, 10, 20, 30])
    filled = fill_weak_gaps(chosen, [100, 5, 100], blur, usable, 10)
    assert filled.tolist() == [0, 10, 13, 15, 18, 20, 30]
    assert fill_weak_gaps(chosen, [100, 100, 100], blur, usable, 10).tolist() == chosen.tolist()
    assert len(fill_weak_gaps(chosen, [5, 5, 5], blur, usable, 2)) == 6
    usable[11:20] = False
    assert fill_weak_gaps(chosen, [100, 5, 100], blur, usable, 10).tolist() == chosen.tolist()


def test_the_weakest_gap_comes_first() -> None:
    filled = fill_weak_gaps(np.array([0, 10, 20]), [20, 3], np.zeros(21), np.ones(21, bool), 1)
    assert 10 < filled[2] < 20
