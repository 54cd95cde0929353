from __future__ import annotations

import numpy as np

from recon3d.texture.assemble import texture_mesh
from recon3d.texture.face_visibility import CandidateTable, seen_faces
from recon3d.types import Mesh
from tests.synthetic.box import box_mesh, photograph, ring, true_color
from tests.texture.test_assemble import lookup, random_weights


def dented(depth: float) -> tuple[Mesh, np.ndarray]:
    """The box with a guess in the middle of its upper side, too low by `depth`, and the guess's faces."""
    box = box_mesh(20)
    x, y, z = box.vertices.T
    inside = (y > 0.69) & (np.abs(x) < 0.45) & (np.abs(z) < 0.3)
    vertices = box.vertices - np.where(inside, depth, 0.0)[:, None] * [0, 1, 0]
    return Mesh(vertices, box.faces), inside[box.faces].any(axis=1)


def painted(depth: float) -> tuple[np.ndarray, np.ndarray, int]:
    """Error of each face's colour against the box, whether it is a guess, and faces without a photo."""
    mesh, guesses = dented(depth)
    views = ring(10, radius=2.2)
    photos = [photograph(box_mesh(20), view) for view in views]
    table = CandidateTable(len(mesh))
    for index, (view, photo) in enumerate(zip(views, photos, strict=True)):
        table.add(index, seen_faces(mesh, view, photo, guesses=guesses))
    textured, counts = texture_mesh(
        mesh, views, table.candidates(), photos.__getitem__, guesses=guesses, texture_size=1024
    )
    points, colors = lookup(textured, random_weights(len(mesh)))
    return np.abs(colors - true_color(points)).max(axis=1), guesses, counts.faces_unseen


def test_a_guess_is_painted_from_photos_that_agree_on_it_and_else_from_around() -> None:
    error, guesses, unseen = painted(0.0)
    assert np.median(error[guesses]) < 2
    assert np.quantile(error[guesses], 0.95) < 8
    # Half a side too low, photos show it where it is not.
    _, _, contradicted = painted(0.5)
    assert contradicted > unseen + 0.5 * np.count_nonzero(guesses)
