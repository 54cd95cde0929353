"""Matches of a pair of images, from its largest features to all of them.

Features of a large scale tell at a small cost whether two images show the same [1]_: the largest are
matched among all, and where they agree on a geometry, it guides the match of the others.

References
----------
.. [1] Wu, Towards Linear-time Incremental Structure from Motion, 3DV 2013.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recon3d.matching.nearest import Descriptors, Matches, mutual_nearest, prepared

#: Share of an image's features that is matched first, and features at least.
_SHARE, _LEAST = 1 / 3, 500


@dataclass(frozen=True, eq=False)
class ImageFeatures:
    """Features of an image, the largest first.

    Parameters
    ----------
    order : ndarray of int, shape (N,)
        Place of each in the features as they were given.
    points : ndarray of float64, shape (N, 2)
    descriptors : ndarray of uint8, shape (N, 128)
    """

    order: NDArray[np.int64]
    points: NDArray[np.float64]
    descriptors: NDArray[np.uint8]

    @classmethod
    def of(cls, keypoints: NDArray[np.float32], descriptors: NDArray[np.uint8]) -> ImageFeatures:
        """Order features by their scale.

        Parameters
        ----------
        keypoints : ndarray of float32, shape (N, 6)
        descriptors : ndarray of uint8, shape (N, 128)

        Returns
        -------
        ImageFeatures
        """
        order = np.argsort(-np.hypot(keypoints[:, 2], keypoints[:, 4]), kind="stable")
        return cls(order, keypoints[order, :2].astype(np.float64), descriptors[order])

    def of_these(self, chosen: NDArray[np.bool_]) -> ImageFeatures:
        """Take some of the features.

        Parameters
        ----------
        chosen : ndarray of bool, shape (N,)

        Returns
        -------
        ImageFeatures
            They keep their places as given.
        """
        return ImageFeatures(self.order[chosen], self.points[chosen], self.descriptors[chosen])

    @functools.cached_property
    def prepared(self) -> Descriptors:
        """Descriptors for `mutual_nearest`."""
        return prepared(self.descriptors)


def match_images(first: ImageFeatures, second: ImageFeatures, *, only_largest: bool) -> Matches:
    """Match the largest features of two images, or all.

    Parameters
    ----------
    first, second : ImageFeatures
    only_largest : bool

    Returns
    -------
    ndarray of uint32, shape (M, 2)
        Indices as the features were given.
    """
    a, b = (
        f.prepared.first(max(_LEAST, round(_SHARE * len(f.order)))) if only_largest else f.prepared
        for f in (first, second)
    )
    return given(mutual_nearest(a, b), first, second)


def given(matches: Matches, first: ImageFeatures, second: ImageFeatures) -> Matches:
    """Turn indices of ordered features into those as given.

    Parameters
    ----------
    matches : ndarray of uint32, shape (M, 2)
    first, second : ImageFeatures

    Returns
    -------
    ndarray of uint32, shape (M, 2)
    """
    return np.column_stack([first.order[matches[:, 0]], second.order[matches[:, 1]]]).astype(np.uint32)


def joined(better: NDArray[Any], others: NDArray[Any]) -> Matches:
    """Add the matches of features that the better ones leave free.

    Parameters
    ----------
    better, others : ndarray of int, shape (M, 2)

    Returns
    -------
    ndarray of uint32, shape (K, 2)
    """
    taken = np.isin(others[:, 0], better[:, 0]) | np.isin(others[:, 1], better[:, 1])
    return np.concatenate([better, others[~taken]]).astype(np.uint32)
