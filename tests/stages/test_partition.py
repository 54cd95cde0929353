"""Cutting a view graph into parts."""

from __future__ import annotations

import itertools
import time

import numpy as np

from recon3d.stages.sparse_reconstruction.partition import cut, size_of_parts
from recon3d.stages.sparse_reconstruction.view_graph import ViewGraph


def _graph(count: int, links: dict[tuple[int, int], int]) -> ViewGraph:
    names = tuple(f"{index:05d}" for index in range(count))
    pairs = np.array(list(links)).reshape(-1, 2)
    return ViewGraph(names, pairs, np.array(list(links.values()), np.int64))


def _numbers(parts: list[tuple[str, ...]]) -> list[list[int]]:
    return [[int(name) for name in part] for part in parts]


def _two_rooms() -> ViewGraph:
    """Images 0, 2, 4, … see one room, the others another, and few see both."""
    links = {(i, j): 150 for i, j in itertools.combinations(range(40), 2) if (i + j) % 2 == 0}
    return _graph(40, {**links, (0, 1): 40, (2, 3): 40, (4, 5): 40, (6, 7): 40})


def test_a_cut_goes_where_few_images_are_tied_and_parts_overlap_there() -> None:
    even, odd = sorted(_numbers(cut(_two_rooms(), 20)))
    assert set(range(0, 40, 2)) <= set(even)
    assert set(range(1, 40, 2)) <= set(odd)
    assert set(even) & set(odd) == {0, 1, 2, 3, 4, 5, 6, 7}


def test_a_set_that_is_small_enough_stays_whole() -> None:
    (part,) = _numbers(cut(_two_rooms(), 40))
    assert part == list(range(40))


def test_scenes_that_nothing_ties_are_parts_and_an_image_without_matches_is_in_none() -> None:
    graph = _graph(6, {(0, 1): 50, (1, 2): 50, (4, 5): 50, (3, 4): 0})
    assert sorted(_numbers(cut(graph, 10))) == [[0, 1, 2], [4, 5]]


def test_a_long_ring_is_cut_into_short_arcs() -> None:
    count, size = 3000, 100
    links = {(i, (i + step) % count): 200 // step for i in range(count) for step in (1, 2, 3, 4, 5)}
    graph = _graph(count, links)
    began = time.process_time()
    parts = _numbers(cut(graph, size))
    assert time.process_time() - began < 20
    assert {image for part in parts for image in part} == set(range(count))
    assert max(map(len, parts)) <= 1.2 * size
    assert len(parts) <= 2 * count / size
    # Each arc has two ends, not many.
    for part in parts:
        ring = np.zeros(count, bool)
        ring[part] = True
        assert np.count_nonzero(ring != np.roll(ring, 1)) == 2
    assert _numbers(cut(graph, size)) == parts


def test_very_large_sets_have_smaller_parts() -> None:
    assert [size_of_parts(images, 400) for images in (401, 4000, 4001, 100_000)] == [400, 400, 100, 100]
    assert size_of_parts(4001, 60) == 60
    assert size_of_parts(4001, 200) == 100
