"""Partners by the largest features."""

from __future__ import annotations

import numpy as np

from recon3d.matching.preemptive import LARGEST, best_partners, count_matches, largest


def test_the_largest_features_are_compared() -> None:
    rng = np.random.default_rng(0)
    descriptors = rng.integers(0, 100, (400, 128)).astype(np.uint8)
    keypoints = np.zeros((400, 6), np.float32)
    keypoints[:, 2] = rng.permutation(400)
    found = largest(keypoints, descriptors)
    assert len(found) == LARGEST
    assert np.array_equal(found[0], descriptors[keypoints[:, 2].argmax()])
    assert count_matches(found, found[::-1]) == LARGEST
    assert count_matches(found, descriptors[:0]) == count_matches(descriptors[:0], found) == 0


def test_shared_features_outweigh_looks_and_looks_decide_among_equals() -> None:
    # Image 0 has eight candidates; only the last three share features with it.
    matches = {(0, j): (9 if j > 5 else 1) for j in range(1, 9)}
    candidates = [list(range(1, 9)), *([] for _ in range(8))]
    assert best_partners(candidates, matches, 4) == [(0, 6), (0, 7), (0, 8)]
    # Without any shared feature three quarters of four are taken, the most similar ones.
    nothing = dict.fromkeys(matches, 0)
    assert best_partners(candidates, nothing, 4) == [(0, 1), (0, 2), (0, 3)]
    # With many, half more than were asked for.
    everything = dict.fromkeys(matches, 50)
    assert len(best_partners(candidates, everything, 4)) == 6
