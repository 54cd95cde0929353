"""Which images are matched."""

from __future__ import annotations

from recon3d.matching.pairs import all_pairs, sequential_pairs


def test_neighbours_and_far_partners() -> None:
    pairs = sequential_pairs(30, 3)
    assert (0, 1) in pairs
    assert (0, 3) in pairs
    assert (0, 4) not in pairs
    assert (0, 6) in pairs
    assert (0, 12) in pairs
    assert all(i < j < 30 for i, j in pairs)
    assert len(set(pairs)) == len(pairs)


def test_all_pairs() -> None:
    assert all_pairs(4) == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
