"""Photos that are wrong where few of them show a face, or all at an outline: the surroundings decide."""

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
#: Colour distance in gray levels from the surroundings that a photo of a face at an outline may have.
_FOREIGN = 45.0
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
    two = np.flatnonzero(counts == 2).astype(np.int32)
    if not len(two):
        return wrong
    color = candidates.color[two, :2] * gains[view[two, :2]]
    contested = np.linalg.norm(color[:, 0] - color[:, 1], axis=1) > _AGREE
    if not contested.any():
        return wrong
    known = counts >= 2
    known[two[contested]] = False
    open_faces, color = two[contested], color[contested]
    around, known = surroundings(candidates, pairs, gains, known, open_faces)
    distance = np.linalg.norm(color - around[open_faces, None], axis=2)
    further = distance > np.maximum(_AGREE, _FURTHER * distance[:, ::-1])
    wrong[open_faces, :2] = further & known[open_faces, None]
    return wrong


def foreign_at_outlines(candidates: Candidates, pairs: FacePairs, gains: Floats) -> NDArray[np.bool_]:
    """Find the views of faces at outlines that show another colour than the faces around.

    What all photos show at an outline only may be what is behind it. It is, where its colour is far
    from those around that photos show clearly.

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
    foreign = np.zeros(candidates.view.shape, bool)
    faces = np.flatnonzero(candidates.at_outline).astype(np.int32)
    if not len(faces):
        return foreign
    known = (candidates.counts > 0) & ~candidates.at_outline
    around, known = surroundings(candidates, pairs, gains, known, faces)
    view = candidates.view[faces]
    distance = np.linalg.norm(candidates.color[faces] * gains[view] - around[faces, None], axis=2)
    foreign[faces] = (distance > _FOREIGN) & (view >= 0) & known[faces, None]
    return foreign


def surroundings(
    candidates: Candidates, pairs: FacePairs, gains: Floats, known: NDArray[np.bool_], wanted: Ints
) -> tuple[Floats, NDArray[np.bool_]]:
    """Continue the colours of known faces into others.

    Parameters
    ----------
    candidates : Candidates
    pairs : FacePairs
    gains : ndarray of float64, shape (views, 3)
    known : ndarray of bool, shape (F,)
        Faces with views that can be trusted.
    wanted : ndarray of int32, shape (N,)
        Faces whose surroundings are asked for.

    Returns
    -------
    around : ndarray of float64, shape (F, 3)
        Gray levels.
    known : ndarray of bool, shape (F,)
        Where there are any.
    """
    goal = np.zeros(len(known), bool)
    goal[wanted] = True
    links = pairs.faces[goal[pairs.faces].any(axis=1)]
    rim = np.unique(links)
    rim = rim[known[rim]]
    around = np.zeros((len(known), 3))
    around[rim] = _medians(candidates, rim, gains)
    known = known.copy()
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
    return around, known


def _medians(candidates: Candidates, faces: Ints, gains: Floats) -> Floats:
    """Component-wise medians of the colours of faces."""
    view = candidates.view[faces]
    color = np.where(view[..., None] >= 0, candidates.color[faces] * gains[view], np.nan)
    medians: Floats = np.nanmedian(color, axis=1)
    return medians
