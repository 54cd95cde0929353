"""A surface cut off at a plane."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recon3d.surface.cleaning import with_faces
from recon3d.types import Floats, Ints, Mesh

#: Vertices nearer to the plane than this share of the shortest edge there are moved onto it: a cut close to
#: a vertex would leave a sliver.
_NEAR = 0.2


def clip(mesh: Mesh, axis: int, at: float, *, above: bool) -> Mesh:
    """Keep what is on one side of a plane; triangles that it crosses are cut.

    Parameters
    ----------
    mesh : Mesh
    axis : int
        Of the coordinate that is the same all over the plane.
    at : float
        That coordinate. Vertices of the cut have it exactly.
    above : bool
        Whether the side of larger coordinates is kept. Triangles within the plane go to the other.

    Returns
    -------
    Mesh
        With the marks of guesses, without colours and normals.
    """
    vertices = mesh.vertices.copy()
    _move_onto(vertices, mesh.faces, axis, at)
    away = (vertices[:, axis] - at) * (1 if above else -1)
    side = np.sign(away).astype(np.int8)[mesh.faces]
    inside, outside = (side > 0).sum(axis=1), (side < 0).sum(axis=1)
    stays = (outside == 0) & (inside > 0)
    if not above:
        stays |= (side == 0).all(axis=1)
    crossed = (inside > 0) & (outside > 0)
    faces, sides = mesh.faces[crossed], side[crossed]
    # The corner that is alone on its side comes first.
    alone = np.where(inside[crossed] == 1, 1, -1)
    faces = _turned(faces, np.argmax(sides == alone[:, None], axis=1))
    lone, second, third = faces.T
    single = alone > 0
    ends = np.stack([np.concatenate([lone, lone]), np.concatenate([second, third])], axis=1)
    ends, number = np.unique(np.sort(ends, axis=1), axis=0, return_inverse=True)
    new, marks, at_ends = _crossings(vertices, away, mesh.guessed, ends)
    new[at_ends < 0, axis] = at
    here, there = np.where(at_ends < 0, len(vertices) + np.arange(len(ends)), at_ends)[
        number.ravel()
    ].reshape(2, -1)
    kept = [
        mesh.faces[stays],
        np.stack([lone, here, there], axis=1)[single],
        np.stack([here, second, third], axis=1)[~single],
        np.stack([here, third, there], axis=1)[~single],
    ]
    guessed = None if mesh.guessed is None or marks is None else np.concatenate([mesh.guessed, marks])
    whole = Mesh(np.concatenate([vertices, new]), np.concatenate(kept).astype(np.int32), guessed=guessed)
    return with_faces(whole, whole.faces)


def _crossings(
    vertices: Floats, away: Floats, guessed: NDArray[np.bool_] | None, ends: Ints
) -> tuple[Floats, NDArray[np.bool_] | None, NDArray[np.int64]]:
    """Where edges cross the plane, whether that is a guess, and the ends that lie on the plane, or -1."""
    first, second = away[ends].T
    share = np.where(first == second, 0.0, first / np.where(first == second, 1.0, first - second))
    one, other = ends.T
    places = vertices[one] + share[:, None] * (vertices[other] - vertices[one])
    marks = None if guessed is None else guessed[one] & guessed[other]
    return places, marks, np.where(first == 0, one, np.where(second == 0, other, -1))


def _move_onto(vertices: Floats, faces: Ints, axis: int, at: float) -> None:
    """Put the vertices that are close to the plane onto it."""
    away = vertices[:, axis] - at
    side = np.sign(away).astype(np.int8)[faces]
    touched = faces[(side.min(axis=1) < 0) & (side.max(axis=1) > 0)]
    if len(touched):
        ends = vertices[touched]
        lengths = np.linalg.norm(ends - np.roll(ends, 1, axis=1), axis=2)
        reach = np.full(len(vertices), np.inf)
        np.minimum.at(reach, touched.ravel(), np.repeat(lengths.min(axis=1), 3))
        corners = np.unique(touched)
        near = corners[np.abs(away[corners]) <= _NEAR * reach[corners]]
        vertices[near, axis] = at


def _turned(faces: Ints, first: Ints) -> Ints:
    """The same faces, each beginning with another corner."""
    rows = np.arange(len(faces))[:, None]
    turned: Ints = faces[rows, (first[:, None] + np.arange(3)) % 3]
    return turned
