"""Which images verified matches tie together."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence

import numpy as np
import pytest

from recon3d.stages.sparse_reconstruction.view_graph import ViewGraph

A, B = frozenset("abc"), frozenset("def")


def _graph(**links: int) -> ViewGraph:
    names = tuple("abcdefg")
    for link in ("ab", "bc", "de", "ef"):
        links.setdefault(link, 100)
    pairs = [(names.index(first), names.index(second)) for first, second in links]
    return ViewGraph(names, np.array(pairs), np.array(list(links.values())))


def test_two_scenes_are_two_parts_and_an_image_without_matches_is_one() -> None:
    assert _graph().parts([]) == [A, B, frozenset("g")]
    assert _graph().parts([B, A]) == [B, A, frozenset("g")]


def test_a_few_matches_by_chance_do_not_tie_two_models() -> None:
    by_chance = _graph(cd=20)
    assert by_chance.parts([A, B]) == [A, B, frozenset("g")]
    # Before anything is placed they may be all that there is.
    assert by_chance.parts([]) == [A | B, frozenset("g")]
    # Matches of one image with several of the other model add up.
    assert _graph(cd=20, bd=20).parts([A, B]) == [A | B, frozenset("g")]


def test_an_image_that_is_not_placed_belongs_to_what_it_matches() -> None:
    assert _graph(fg=16).parts([A, B]) == [A, B | {"g"}]
    assert _graph(fg=16, ag=16).parts([A, B]) == [A | B | {"g"}]


def _plainly(graph: ViewGraph, models: Sequence[frozenset[str]]) -> set[frozenset[str]]:
    """The parts by comparing all groups with each other."""
    inliers = np.zeros((len(graph.names),) * 2, int)
    for (i, j), count in zip(graph.pairs, graph.inliers, strict=True):
        inliers[i, j] = inliers[j, i] = count
    place = {name: index for index, name in enumerate(graph.names)}
    left = set(graph.names).difference(*models)
    groups = [*models, *(frozenset({name}) for name in left)]
    parts = [{k} for k in range(len(groups))]
    for a, b in itertools.combinations(range(len(groups)), 2):
        between = inliers[np.ix_([place[n] for n in groups[a]], [place[n] for n in groups[b]])]
        if max(between.sum(0).max(), between.sum(1).max()) >= (30 if b < len(models) else 1):
            joined = next(part for part in parts if a in part) | next(part for part in parts if b in part)
            parts = [part for part in parts if not part & joined] + [joined]
    return {frozenset().union(*(groups[k] for k in part)) for part in parts}


@pytest.mark.parametrize("seed", range(20))
def test_the_parts_are_those_that_a_plain_search_finds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    names = tuple(f"{index:02d}" for index in range(24))
    pairs = np.array([pair for pair in itertools.combinations(range(24), 2) if rng.random() < 0.06])
    graph = ViewGraph(names, pairs, rng.integers(0, 40, len(pairs)))
    models = [frozenset(names[:8]), frozenset(names[8:13])]
    parts = graph.parts(models)
    assert set(parts) == _plainly(graph, models)
    assert models[0] <= parts[0]


def test_thousands_of_images_that_are_not_placed_take_no_time() -> None:
    names = tuple(map(str, range(20_000)))
    pairs = np.array([(k, k + 1) for k in range(0, 20_000, 2)])
    began = time.process_time()
    parts = ViewGraph(names, pairs, np.full(len(pairs), 50)).parts([frozenset(names[:100])])
    assert len(parts) == 1 + 19_900 // 2
    assert time.process_time() - began < 5
