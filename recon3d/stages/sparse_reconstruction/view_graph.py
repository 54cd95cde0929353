"""Which images verified matches tie together, and so which could be part of one model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csgraph, triu

from recon3d.layout import MATCHES
from recon3d.types import Scene

#: Matches that an image needs with a model, or COLMAP's mapper does not register it. Two models that
#: fewer tie together are two scenes: a few pairs that look alike by chance verify, too.
_TIED = 30


@dataclass(frozen=True, eq=False)
class ViewGraph:
    """Images, and the verified matches between them.

    Parameters
    ----------
    names : tuple of str
        All images.
    pairs : ndarray of int, shape (P, 2)
        Indices of two images, each pair once.
    inliers : ndarray of int, shape (P,)
        Their verified matches.
    """

    names: tuple[str, ...]
    pairs: NDArray[np.int64]
    inliers: NDArray[np.int64]

    def parts(self, models: Sequence[frozenset[str]]) -> list[frozenset[str]]:
        """Find the parts that nothing ties together.

        Parameters
        ----------
        models : sequence of frozenset of str
            Images that were placed together; these stay together.

        Returns
        -------
        list of frozenset of str
            All images, in parts. The part of the first model comes first.
        """
        count = len(self.names)
        place = {name: index for index, name in enumerate(self.names)}
        group = np.full(count, -1)
        placed = 0
        for model in models:
            free = [place[name] for name in model if group[place[name]] < 0]
            group[free] = placed
            placed += bool(free)
        # Each image that is left is a group of its own.
        left = group < 0
        group[left] = placed + np.arange(np.count_nonzero(left))
        groups = placed + int(np.count_nonzero(left))
        first, second, ties = self._ties(group, groups)
        tied = ties >= np.where((first < placed) & (second < placed), _TIED, 1)
        graph = coo_array((ties[tied], (first[tied], second[tied])), shape=(groups, groups))
        labels = csgraph.connected_components(graph, directed=False)[1][group]
        joined: dict[int, list[int]] = {}
        for index in np.argsort(group, kind="stable").tolist():
            joined.setdefault(int(labels[index]), []).append(index)
        return [frozenset(self.names[index] for index in part) for part in joined.values()]

    def _ties(
        self, group: NDArray[np.int64], groups: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Pairs of groups, and the matches of the best tied image of one with all images of the other."""
        one, other = np.concatenate([self.pairs, self.pairs[:, ::-1]]).T
        matches = np.tile(self.inliers, 2)
        # Of each image with each group.
        with_group = coo_array((matches, (one, group[other])), shape=(len(self.names), groups))
        with_group.sum_duplicates()
        image, second = with_group.coords
        first, matches = group[image], with_group.data
        order = np.lexsort((-matches, second, first))
        first, second, matches = first[order], second[order], matches[order]
        best = np.ones(len(first), bool)
        best[1:] = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
        best &= first != second
        return first[best], second[best], matches[best]


def read_view_graph(matching: Path, names: Sequence[str]) -> ViewGraph:
    """Read the view graph of a feature_matching artifact.

    Parameters
    ----------
    matching : Path
        Folder of the artifact.
    names : sequence of str
        All images.

    Returns
    -------
    ViewGraph
    """
    with np.load(matching / MATCHES) as data:
        pairs, inliers = data["pairs"].reshape(-1, 2).astype(np.int64), data["inliers"].astype(np.int64)
    return ViewGraph(tuple(names), pairs, inliers)


def shared_points(scene: Scene) -> ViewGraph:
    """Tie the images of a model by the points that they share.

    Parameters
    ----------
    scene : Scene

    Returns
    -------
    ViewGraph
        With the points in place of matches.
    """
    points = scene.points
    row = np.repeat(np.arange(len(points)), np.diff(points.track_starts))
    ones = np.ones(len(row), np.int64)
    seen = coo_array((ones, (row, points.track_views)), shape=(len(points), len(scene))).tocsr()
    shared = triu(seen.T @ seen, k=1).tocoo()
    pairs = np.stack(shared.coords, axis=1).astype(np.int64)
    return ViewGraph(tuple(view.name for view in scene), pairs, shared.data)
