"""Which images verified matches tie together."""

from __future__ import annotations

import numpy as np

from recon3d.stages.sparse_reconstruction.view_graph import ViewGraph

A, B = frozenset("abc"), frozenset("def")


def _graph(**links: int) -> ViewGraph:
    names = tuple("abcdefg")
    inliers = np.zeros((7, 7), np.int64)
    for link in ("ab", "bc", "de", "ef"):
        links.setdefault(link, 100)
    for (first, second), count in links.items():
        i, j = names.index(first), names.index(second)
        inliers[i, j] = inliers[j, i] = count
    return ViewGraph(names, inliers)


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
