"""The order in which pairs are matched: consecutive ones share images, which are then read less often."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import reverse_cuthill_mckee

#: Pairs that are made to share images.
TOGETHER = 40


def in_local_order(pairs: Sequence[tuple[int, int]], together: int = TOGETHER) -> list[tuple[int, int]]:
    """Order pairs so that consecutive ones have few different images.

    Groups of pairs grow from an image: the next image is the one with most pairs to those of the group.

    Parameters
    ----------
    pairs : sequence of (int, int)
        All different.
    together : int
        Pairs of a group.

    Returns
    -------
    list of (int, int)
    """
    if not pairs:
        return []
    rank = along(pairs)
    left: list[set[int]] = [set() for _ in rank]
    for i, j in pairs:
        left[i].add(j)
        left[j].add(i)
    ordered: list[tuple[int, int]] = []
    for start in np.argsort(rank).tolist():
        while left[start]:
            ordered += _grow(start, left, rank, together)
    return ordered


def along(pairs: Sequence[tuple[int, int]]) -> list[int]:
    """Places of the images in an order in which partners are near each other [1]_.

    Parameters
    ----------
    pairs : sequence of (int, int)
        At least one.

    Returns
    -------
    list of int
        Of the images up to the largest index.

    References
    ----------
    .. [1] Cuthill and McKee, Reducing the Bandwidth of Sparse Symmetric Matrices, 1969.
    """
    first, second = np.array(sorted(pairs), np.int64).T
    count = int(max(first.max(), second.max())) + 1
    ends = np.concatenate([first, second]), np.concatenate([second, first])
    graph = coo_array((np.ones(len(ends[0]), np.int8), ends), shape=(count, count)).tocsr()
    rank = np.empty(count, np.int64)
    rank[reverse_cuthill_mckee(graph, symmetric_mode=True)] = np.arange(count)
    return list(map(int, rank))


def _grow(start: int, left: list[set[int]], rank: list[int], together: int) -> list[tuple[int, int]]:
    """Take one group of pairs out of those that are left."""
    group: list[tuple[int, int]] = []
    inside: set[int] = set()
    links: dict[int, int] = {}
    following = start
    while True:
        inside.add(following)
        links.pop(following, None)
        for other in sorted(left[following], key=lambda image: rank[image]):
            if other not in inside:
                links[other] = links.get(other, 0) + 1
            elif len(group) < together:
                group.append((min(following, other), max(following, other)))
                left[following].discard(other)
                left[other].discard(following)
        if len(group) == together or not links:
            return group
        following = max(links, key=lambda image: (links[image], -rank[image]))
