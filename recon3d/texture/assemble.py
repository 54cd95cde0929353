"""From candidate views to the photo that paints each face."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recon3d.surface.normals import face_areas
from recon3d.texture.face_visibility import Candidates
from recon3d.texture.fill import continued_colors
from recon3d.texture.guesses import doubted_regions, drop_unconfirmed, without
from recon3d.texture.labelling import chosen_quality
from recon3d.texture.photo_consistency import remove_outliers, view_gains
from recon3d.texture.refine import Splits
from recon3d.texture.rejoin import rejoin
from recon3d.texture.surroundings import foreign_at_outlines
from recon3d.texture.topology import face_pairs
from recon3d.types import Floats, Floats32, Ints, Mesh


@dataclass(frozen=True, eq=False)
class Choice:
    """Which photo paints which face.

    Parameters
    ----------
    labels : ndarray of int32, shape (F,)
        View of each face; -1 for none.
    quality : ndarray of float32, shape (F,)
        Of each face in its view, relative to its best one.
    gains : ndarray of float64, shape (V, 3)
        Of each view and channel, as `view_gains` gives them.
    outliers : int
        Combinations of face and view that showed something else than the other views.
    doubted : float
        Share of the surface that takes its colours from its surroundings although photos show
        something in its place: what is behind it, or different things.
    """

    labels: Ints
    quality: Floats32
    gains: Floats
    outliers: int
    doubted: float


@dataclass(frozen=True, eq=False)
class Confirmed:
    """What the photos that are right show.

    Parameters
    ----------
    candidates : Candidates
    gains : ndarray of float64, shape (V, 3)
    outliers : int
    doubted : float
        As in `Choice`.
    """

    candidates: Candidates
    gains: Floats
    outliers: int
    doubted: float


def confirm_candidates(
    mesh: Mesh, views: int, candidates: Candidates, guesses: NDArray[np.bool_] | None = None
) -> tuple[Mesh, Confirmed]:
    """Take off what a photo shows wrongly.

    Parameters
    ----------
    mesh : Mesh
    views : int
        How many there are.
    candidates : Candidates
        What the views show, from `recon3d.texture.face_visibility`.
    guesses : ndarray of bool, shape (F,), optional
        Faces that no photo measured: they take their neighbours' colours unless photos agree on them.

    Returns
    -------
    mesh : Mesh
        Its colours are continued where no photo is right.
    confirmed : Confirmed
    """
    pairs = face_pairs(mesh.faces)
    gains = view_gains(candidates, views)
    candidates, outliers = remove_outliers(candidates, pairs, gains)
    candidates = without(candidates, foreign_at_outlines(candidates, pairs, gains))
    if guesses is not None:
        candidates = drop_unconfirmed(candidates, guesses, gains)
    doubted = doubted_regions(candidates, pairs)
    mesh = continued_colors(mesh, doubted)
    area = face_areas(mesh.vertices, mesh.faces)
    share = float(area[doubted & candidates.doubted].sum() / max(area.sum(), 1e-300))
    return mesh, Confirmed(candidates, gains, outliers, share)


def choose_photos(
    mesh: Mesh,
    confirmed: Confirmed,
    labels: Ints,
    splits: Splits | None = None,
    max_faces: int | None = None,
) -> tuple[Mesh, Choice]:
    """Give each face its photo, and join again what was split for nothing.

    Parameters
    ----------
    mesh : Mesh
    confirmed : Confirmed
        Both from `confirm_candidates`.
    labels : ndarray of int32, shape (F,)
        From `recon3d.texture.labelling.choose_views`.
    splits : Splits, optional
        How the faces of `mesh` came of larger ones; they are joined again where that costs nothing.
    max_faces : int, optional
        Faces that the result may have; splits are undone until it does.

    Returns
    -------
    mesh : Mesh
        Joined where splits cost more than they give.
    choice : Choice
    """
    quality = chosen_quality(confirmed.candidates, labels)
    if splits is not None and len(splits):
        limit = len(mesh.faces) if max_faces is None else max_faces
        joined = rejoin(mesh, splits, labels, confirmed.candidates, limit)
        mesh, labels, quality = joined.mesh, joined.labels, joined.quality
    return mesh, Choice(labels, quality, confirmed.gains, confirmed.outliers, confirmed.doubted)
