"""Images that were taken beside each other, by their GPS positions or by the numbers of their files."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from scipy.spatial import cKDTree

from recon3d.matching.gps import Position, to_metres

#: A phone's position is some metres off: among images less far apart it does not tell whose are beside
#: each other. Half of the images are farther than this from the middle.
_SPREAD = 20.0
_NUMBERED = re.compile(r"(.*?)(\d+)\.[^.]*")


def beside_by_gps(positions: Sequence[Position | None], count: int) -> list[tuple[int, int]]:
    """Pair each image with those whose recorded positions are nearest, on the map.

    Parameters
    ----------
    positions : sequence of (latitude, longitude, altitude) or None
        Of each image.
    count : int
        Partners an image.

    Returns
    -------
    list of (int, int)
        i < j, sorted; empty where the positions say nothing.
    """
    known = np.array([index for index, position in enumerate(positions) if position is not None], np.int64)
    count = min(count, len(known) - 1)
    if count < 1:
        return []
    place = to_metres([position for position in positions if position is not None])[:, [0, 2]]
    if np.median(np.linalg.norm(place - np.median(place, axis=0), axis=1)) < _SPREAD:
        return []
    _, nearest = cKDTree(place).query(place, k=count + 1)
    pairs = {
        (int(min(known[i], known[j])), int(max(known[i], known[j])))
        for i, found in enumerate(nearest)
        for j in [j for j in found if j != i][:count]
    }
    return sorted(pairs)


def beside_by_number(names: Sequence[str], count: int) -> list[tuple[int, int]]:
    """Pair each image with the next ones that its camera numbered, such as IMG_0041.jpg and IMG_0042.jpg.

    Parameters
    ----------
    names : sequence of str
        File names.
    count : int
        Following images that each is paired with.

    Returns
    -------
    list of (int, int)
        i < j, sorted.
    """
    series: dict[str, list[tuple[int, int]]] = {}
    for index, name in enumerate(names):
        if parts := _NUMBERED.fullmatch(name):
            series.setdefault(parts[1], []).append((int(parts[2]), index))
    pairs: set[tuple[int, int]] = set()
    for numbered in series.values():
        order = [index for _, index in sorted(numbered)]
        for step in range(1, count + 1):
            pairs.update((min(p), max(p)) for p in zip(order, order[step:], strict=False))
    return sorted(pairs)
