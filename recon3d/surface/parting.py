"""Boxes that share a scene, so that each holds a surface that fits in memory.

A box is cut in two, and its halves again, across planes that pass through little of the surface.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recon3d.surface.bounds import bounds
from recon3d.types import Floats

#: Sides that are so much shorter than the longest are not cut.
_SHORT = 0.3
#: A plane leaves either side this share of what it should have, at least; planes that are tried.
_FAIR, _TRIED = 0.7, 25
#: Points so many times nearer count so many times more: a plane within a wall crosses all of it, and where
#: all points are near, only they tell planes apart.
_CLOSE = 16


@dataclass(frozen=True)
class Seam:
    """Where two parts meet.

    Parameters
    ----------
    below, above : int
        Numbers of the parts. Once they are joined, they have the number `below`.
    axis : int
        Of the coordinate that is the same all over the plane.
    at : float
        That coordinate.
    """

    below: int
    above: int
    axis: int
    at: float


@dataclass(frozen=True, eq=False)
class Parting:
    """How a scene is shared.

    Parameters
    ----------
    low, high : ndarray of float64, shape (P, 3)
        Corners of the parts' boxes; infinite where no other part follows.
    seams : tuple of Seam
        In the order in which parts are joined.
    """

    low: Floats
    high: Floats
    seams: tuple[Seam, ...]


def part_space(points: Floats, count: int, margin: float) -> Parting:
    """Share a scene among parts of about as many points.

    Parameters
    ----------
    points : ndarray of float64, shape (N, 3)
        About evenly spaced on the surface.
    count : int
        Number of parts.
    margin : float
        Planes are sought with few points within this distance.

    Returns
    -------
    Parting
    """
    low, high = np.full((count, 3), -np.inf), np.full((count, 3), np.inf)
    seams: list[Seam] = []

    def share(inside: Floats, first: int, parts: int) -> None:
        if parts == 1:
            return
        half = parts // 2
        axis, at = _plane(inside, half / parts, margin)
        high[first : first + half, axis] = at
        low[first + half : first + parts, axis] = at
        below = inside[:, axis] < at
        share(inside[below], first, half)
        share(inside[~below], first + half, parts - half)
        seams.append(Seam(first, first + half, axis, at))

    share(points, 0, count)
    return Parting(low, high, tuple(seams))


def _plane(points: Floats, wanted: float, margin: float) -> tuple[int, float]:
    """The plane across the least surface that leaves about a share of the points below it."""
    if not len(points):
        return 0, 0.0
    sides = np.subtract(*bounds(points)[::-1])
    best = (np.inf, 0, 0.0)
    for axis in np.flatnonzero(sides >= _SHORT * sides.max()):
        ordered = np.sort(points[:, axis])
        shares = np.linspace(_FAIR * wanted, 1 - _FAIR * (1 - wanted), _TRIED)
        places = np.quantile(ordered, shares)
        near = _count_near(ordered, places, margin) + _CLOSE * _count_near(ordered, places, margin / _CLOSE)
        # Of equal ones, the most even.
        row = np.lexsort([np.abs(shares - wanted), near])[0]
        best = min(best, (float(near[row]), int(axis), float(places[row])))
    return best[1], best[2]


def _count_near(ordered: Floats, places: Floats, reach: float) -> NDArray[np.int64]:
    return np.searchsorted(ordered, places + reach) - np.searchsorted(ordered, places - reach)
