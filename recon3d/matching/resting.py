"""Features that stay at the same pixel while the rest of the picture moves.

The wall behind a turntable, a logo and a burnt-in date stand still before a fixed camera or on its
sensor. Their matches describe another motion than that of the thing that is filmed. They are found
by three signs: their position does not change, the other matches move and agree on one epipolar
geometry, and the resting matches contradict that geometry. In a rigid scene, points that happen to
rest agree with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Matches = NDArray[np.integer]

#: Distances are fractions of the image's longer side. A match rests below the first, moves above the second.
_RESTS, _MOVES = 0.001, 0.004
#: Motion of the moving matches that makes a pair a witness.
_CLEAR = 0.015
#: Distance from the epipolar line above which a match contradicts the geometry.
_CONTRADICTS = 0.004
_MIN_MOVING, _MIN_AGREEING = 15, 0.4
#: Resting matches that a witness has at least, and those among its matches.
_MIN_RESTING, _MIN_SHARE = 6, 0.01
#: Share of the pairs with many matches that are witnesses.
_MIN_WITNESSES = 0.2


@dataclass(frozen=True, eq=False)
class Resting:
    """The resting features of a set.

    Parameters
    ----------
    features : tuple of ndarray of bool
        For each image, which of its features rest.
    share : float
        Share of the matches that they make up, in the pairs that show it.
    """

    features: tuple[NDArray[np.bool_], ...]
    share: float

    def moving(self, pair: tuple[int, int], matches: Matches) -> Matches:
        """Take the matches between features that do not rest.

        Parameters
        ----------
        pair : (int, int)
            Images.
        matches : ndarray of int, shape (M, 2)
            Indices of their features.

        Returns
        -------
        ndarray of int, shape (K, 2)
        """
        i, j = pair
        return matches[~(self.features[i][matches[:, 0]] | self.features[j][matches[:, 1]])]


def find_resting(
    positions: Sequence[NDArray[np.floating]],
    sizes: Sequence[tuple[int, int]],
    pairs: Sequence[tuple[int, int]],
    matches: Sequence[Matches],
) -> Resting | None:
    """Find features that rest while the others move.

    Parameters
    ----------
    positions : sequence of ndarray, shape (N, 2)
        Pixels of each image's features.
    sizes : sequence of (int, int)
        Width and height of each image.
    pairs : sequence of (int, int)
        Images that were matched.
    matches : sequence of ndarray of int, shape (M, 2)
        Matches of each pair before verification.

    Returns
    -------
    Resting or None
        None where nothing rests, or nothing moves.
    """
    rested = [np.zeros(len(p), np.int64) for p in positions]
    moved = [np.zeros(len(p), np.int64) for p in positions]
    candidates = witnesses = resting = total = 0
    for (i, j), found in zip(pairs, matches, strict=True):
        if len(found) < _MIN_MOVING or sizes[i] != sizes[j]:
            continue
        candidates += 1
        side = max(sizes[i])
        a = positions[i][found[:, 0]].astype(np.float64) / side
        b = positions[j][found[:, 1]].astype(np.float64) / side
        rests = _contradicting(a, b)
        if rests is None:
            continue
        witnesses += 1
        resting += int(rests.sum())
        total += len(found)
        for image, column in ((i, 0), (j, 1)):
            np.add.at(rested[image], found[rests, column], 1)
            np.add.at(moved[image], found[~rests, column], 1)
    if witnesses < max(1, _MIN_WITNESSES * candidates):
        return None
    features = tuple((r > 0) & (r >= m) for r, m in zip(rested, moved, strict=True))
    return Resting(features, resting / total)


def _contradicting(a: Floats, b: Floats) -> NDArray[np.bool_] | None:
    """Matches that rest, when the others move by a geometry that these contradict; else None."""
    distance = np.linalg.norm(b - a, axis=1)
    rests, moves = distance < _RESTS, distance > _MOVES
    if rests.sum() < max(_MIN_RESTING, _MIN_SHARE * len(a)) or moves.sum() < _MIN_MOVING:
        return None
    if np.median(distance[moves]) < _CLEAR:
        return None
    cv2.setRNGSeed(0)
    matrix, inliers = cv2.findFundamentalMat(1000 * a[moves], 1000 * b[moves], cv2.FM_RANSAC, 1.5, 0.999)
    if matrix is None or inliers.sum() < max(_MIN_MOVING, _MIN_AGREEING * moves.sum()):
        return None
    contradicts = _epipolar_distance(matrix, 1000 * a[rests], 1000 * b[rests]) > 1000 * _CONTRADICTS
    return rests if contradicts.mean() > 0.5 else None


def _epipolar_distance(matrix: Floats, a: Floats, b: Floats) -> Floats:
    """Distance of the second points from the epipolar lines of the first."""
    lines = np.column_stack([a, np.ones(len(a))]) @ matrix.T
    above = np.abs((lines * np.column_stack([b, np.ones(len(b))])).sum(axis=1))
    return np.asarray(above / np.maximum(np.linalg.norm(lines[:, :2], axis=1), 1e-12))
