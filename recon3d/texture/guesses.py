"""Faces that no photo can be trusted to show: guesses of the surface, and what lies at outlines."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from recon3d.texture.face_visibility import Candidates
from recon3d.texture.labelling import connected_faces
from recon3d.texture.photo_consistency import color_distances, kept_views
from recon3d.texture.topology import FacePairs
from recon3d.types import Floats, Mesh

#: Median distance, in gray levels, of the colours of a guess that photos confirm.
_AGREE = 20.0
_VIEWS = 2


def guessed_faces(mesh: Mesh) -> NDArray[np.bool_] | None:
    """Find the faces with a corner that is a guess.

    Parameters
    ----------
    mesh : Mesh

    Returns
    -------
    ndarray of bool, shape (F,), or None
        None where the mesh does not tell.
    """
    if mesh.guessed is None:
        return None
    a, b, c = (mesh.guessed[mesh.faces[:, k]] for k in range(3))
    return np.asarray(a | b | c)


def doubted_regions(candidates: Candidates, pairs: FacePairs) -> NDArray[np.bool_]:
    """Find the regions without a photo in which there are doubted faces.

    Parameters
    ----------
    candidates : Candidates
    pairs : FacePairs

    Returns
    -------
    ndarray of bool, shape (F,)
    """
    unseen = candidates.counts == 0
    if not candidates.doubted.any():
        return np.zeros(len(unseen), bool)
    count, region = connected_faces(np.where(unseen, 0, -1).astype(np.int32), pairs.faces)
    doubted = np.zeros(count + 1, bool)
    doubted[region[candidates.doubted & unseen]] = True
    # The last one stands for faces that are in no region.
    doubted[-1] = False
    return doubted[region]


def drop_unconfirmed(candidates: Candidates, guesses: NDArray[np.bool_], gains: Floats) -> Candidates:
    """Take the views from the guesses on whose colours the photos do not agree.

    A photo shows the right thing in a guess only if the surface is really there. Then photos from
    several sides show the same colours. Otherwise the guess takes the colours around it.

    Parameters
    ----------
    candidates : Candidates
    guesses : ndarray of bool, shape (F,)
    gains : ndarray of float64, shape (views, 3)
        Factors that even out the photos' exposures.

    Returns
    -------
    Candidates
    """
    distance, _ = color_distances(candidates, gains)
    counts = np.maximum(candidates.counts, 1)
    # The reference is the lower median, so that of two views one has a distance of 0.
    apart = distance.sum(axis=1) / np.maximum(counts - 1, 1)
    dropped = guesses & ((candidates.counts < _VIEWS) | (apart > _AGREE))
    return without(candidates, np.repeat(dropped[:, None], candidates.view.shape[1], axis=1))


def without(candidates: Candidates, dropped: NDArray[np.bool_]) -> Candidates:
    """Drop views, and doubt the faces that lose some.

    Parameters
    ----------
    candidates : Candidates
    dropped : ndarray of bool, shape (F, K)

    Returns
    -------
    Candidates
    """
    doubted = np.asarray(dropped.any(axis=1))
    if len(candidates.doubted):
        doubted |= candidates.doubted
    return replace(kept_views(candidates, ~dropped), doubted=doubted)
