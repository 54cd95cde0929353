"""Which images verified matches tie together, and so which could be part of one model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recon3d.layout import MATCHES

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
    inliers : ndarray of int, shape (N, N)
        Verified matches of each two images.
    """

    names: tuple[str, ...]
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
        groups: list[set[int]] = []
        free = dict.fromkeys(range(len(self.names)))
        place = {name: index for index, name in enumerate(self.names)}
        for model in models:
            group = {place[name] for name in model if place[name] in free}
            for index in group:
                del free[index]
            groups += [group] if group else []
        models_end = len(groups)
        groups += [{index} for index in free]
        part = list(range(len(groups)))
        for first in range(len(groups)):
            for second in range(first):
                needed = _TIED if first < models_end and second < models_end else 1
                if part[first] != part[second] and self._tie(groups[first], groups[second]) >= needed:
                    old, new = sorted((part[first], part[second]), reverse=True)
                    part = [new if number == old else number for number in part]
        joined: dict[int, set[str]] = {}
        for number, group in zip(part, groups, strict=True):
            joined.setdefault(number, set()).update(self.names[index] for index in group)
        return [frozenset(found) for _, found in sorted(joined.items())]

    def _tie(self, group: set[int], other: set[int]) -> int:
        """Matches of the best tied image of one group with all images of the other."""
        between = self.inliers[np.ix_(sorted(group), sorted(other))]
        return int(max(between.sum(axis=0).max(), between.sum(axis=1).max()))


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
    inliers = np.zeros((len(names), len(names)), np.int64)
    with np.load(matching / MATCHES) as data:
        first, second = data["pairs"].reshape(-1, 2).T
        inliers[first, second] = inliers[second, first] = data["inliers"]
    return ViewGraph(tuple(names), inliers)
