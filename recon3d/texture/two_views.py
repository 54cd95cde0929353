"""Which of two photos is wrong where only two show a face: the surroundings decide."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recon3d.texture.face_visibility import Candidates
from recon3d.texture.topology import FacePairs
from recon3d.types import Floats, Ints

#: Colour distance in gray levels that two good photos of a face may have.
_AGREE = 28.0
#: The worse of two colours is so many times further from the surroundings' than the better one.
_FURTHER = 2.0
#: Rings of faces over which the surroundings' colours are continued.
_RINGS = 64


def contradicted(candidates: Candidates, pairs: FacePairs, gains: Floats) -> NDArray[np.bool_]:
    """Find the views of faces with two views that the surroundings contradict.

    Faces whose photos agree, two or more of them, have a known colour. It is continued ring by ring
    into the faces that two photos show differently. The colour that is clearly further from it is wrong:
    that photo shows something in front of the surface, or behind it.

    Parameters
    ----------
    candidates : Candidates
    pairs : FacePairs
    gains : ndarray of float64, shape (views, 3)
        Factors that even out the photos' exposures.

    Returns
    -------
    ndarray of bool, shape (F, K)
    """
    view, counts = candidates.view, candidates.counts
    wrong = np.zeros(view.shape, bool)
    two = np.flatnonzero(counts == 2)
    if not len(two):
        return wrong
    color = candidates.color[two, :2] * gains[view[two, :2]]
    contested = np.linalg.norm(color[:, 0] - color[:, 1], axis=1) > _AGREE
    if not contested.any():
        return wrong
    known = counts > 2
    known[two[~contested]] = True
    around = np.zeros((len(view), 3))
    around[two[~contested]] = color[~contested].mean(axis=1)
    many = np.flatnonzero(counts > 2)
    around[many] = _means(candidates, many, gains)
    open_faces, color = two[contested], color[contested]
    known = _continued(around, known, open_faces, pairs.faces)
    distance = np.linalg.norm(color - around[open_faces, None], axis=2)
    further = distance > np.maximum(_AGREE, _FURTHER * distance[:, ::-1])
    wrong[open_faces, :2] = further & known[open_faces, None]
    return wrong


def _means(candidates: Candidates, faces: Ints, gains: Floats) -> Floats:
    """Component-wise medians of the colours of faces with many views."""
    view = candidates.view[faces]
    color = np.where(view[..., None] >= 0, candidates.color[faces] * gains[view], np.nan)
    medians: Floats = np.nanmedian(color, axis=1)
    return medians


def _continued(around: Floats, known: NDArray[np.bool_], wanted: Ints, pairs: Ints) -> NDArray[np.bool_]:
    """Give faces the mean colour of the known ones beside them, ring by ring; changes `around`."""
    known = known.copy()
    goal = np.zeros(len(known), bool)
    goal[wanted] = True
    links = pairs[goal[pairs].any(axis=1)]
    links = np.concatenate([links, links[:, ::-1]])
    for _ in range(_RINGS):
        links = links[goal[links[:, 1]] & ~known[links[:, 1]]]
        ready = links[known[links[:, 0]]]
        if not len(ready):
            break
        faces, place, number = np.unique(ready[:, 1], return_inverse=True, return_counts=True)
        for channel in range(3):
            around[faces, channel] = np.bincount(place, around[ready[:, 0], channel]) / number
        known[faces] = True
    return known
