"""The order in which pairs are matched."""

from __future__ import annotations

import numpy as np

from recon3d.matching.pair_order import TOGETHER, in_local_order


def _reads(pairs: list[tuple[int, int]]) -> int:
    """Images that blocks of pairs need, each block its own."""
    return sum(len(set(np.ravel(pairs[k : k + TOGETHER]))) for k in range(0, len(pairs), TOGETHER))


def _survey(rows: int, columns: int, seed: int) -> list[tuple[int, int]]:
    """Pairs of neighbours in a grid of photos that were added in any order."""
    number = np.random.default_rng(seed).permutation(rows * columns).reshape(rows, columns)
    pairs = set()
    for r in range(rows):
        for c in range(columns):
            for down, right in ((0, 1), (1, 0), (1, 1), (1, -1), (0, 2), (2, 0), (2, 1), (1, 2)):
                if r + down < rows and 0 <= c + right < columns:
                    i, j = int(number[r, c]), int(number[r + down, c + right])
                    pairs.add((min(i, j), max(i, j)))
    return sorted(pairs)


def test_consecutive_pairs_share_images() -> None:
    pairs = _survey(15, 20, seed=0)
    ordered = in_local_order(pairs)
    assert sorted(ordered) == pairs
    assert _reads(ordered) < 0.5 * _reads(pairs)


def test_all_pairs_stay_also_where_the_images_have_no_common_part() -> None:
    pairs = [(0, 9), (2, 3), (2, 4), (3, 4), (7, 8)]
    assert sorted(in_local_order(pairs)) == pairs
    assert in_local_order([]) == []
    whole = [(i, j) for i in range(30) for j in range(i + 1, 30)]
    assert sorted(in_local_order(whole)) == whole
    assert in_local_order(whole) == in_local_order(list(reversed(whole)))
