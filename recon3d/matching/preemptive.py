"""Which of the images that look alike share features, by the largest of them alone.

The features of the largest scale tell at a small cost whether two images show the same [1]_: a few matches
among them separate partners from images that only look alike.

References
----------
.. [1] Wu, Towards Linear-time Incremental Structure from Motion, 3DV 2013.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recon3d.matching.nearest import mutual_nearest, prepared

#: Features of an image that are compared.
LARGEST = 150
#: Candidates of an image, for each neighbour that is asked for.
CANDIDATES = 3
#: Matches with which two images do share features.
_CLEAR = 5
#: Shares of the neighbours that are asked for: taken in any case, and at most.
_SURE, _MOST = 0.75, 1.5


def largest(keypoints: NDArray[np.float32], descriptors: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Take the descriptors of the largest features.

    Parameters
    ----------
    keypoints : ndarray of float32, shape (N, 6)
    descriptors : ndarray of uint8, shape (N, 128)

    Returns
    -------
    ndarray of uint8, shape (M, 128)
    """
    order = np.argsort(-np.hypot(keypoints[:, 2], keypoints[:, 4]), kind="stable")
    return descriptors[order[:LARGEST]]


def count_matches(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> int:
    """Count the features of two images that are each other's nearest.

    Parameters
    ----------
    first, second : ndarray of uint8, shape (N, 128)
        See `largest`.

    Returns
    -------
    int
    """
    return len(mutual_nearest(prepared(first), prepared(second)))


def best_partners(
    candidates: Sequence[Sequence[int]], matches: Mapping[tuple[int, int], Any], neighbors: int
) -> list[tuple[int, int]]:
    """Pair each image with those of its candidates that share most features.

    Parameters
    ----------
    candidates : sequence of sequence of int
        Of each image, the most similar first.
    matches : mapping of (int, int) to int
        Matches of the largest features of each two, the smaller index first.
    neighbors : int
        Partners of an image, about: more where features agree, fewer where none do.

    Returns
    -------
    list of (int, int)
        i < j, sorted.
    """
    pairs: set[tuple[int, int]] = set()
    for i, found in enumerate(candidates):
        own = [(min(i, j), max(i, j)) for j in found]
        own.sort(key=lambda pair: -matches[pair])  # of equal ones the more similar stays first
        for place, pair in enumerate(own[: round(_MOST * neighbors)]):
            if place < _SURE * neighbors or matches[pair] >= _CLEAR:
                pairs.add(pair)
    return sorted(pairs)
