from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from recon3d.texture.face_visibility import CandidateTable, seen_faces
from recon3d.texture.guesses import guessed_faces
from recon3d.texture.refine import split_large_faces
from recon3d.texture.rejoin import rejoin
from recon3d.types import Mesh
from tests.stages.test_texturing import project_folder, run
from tests.synthetic.box import box_mesh, photograph, ring, true_color
from tests.texture.test_assemble import lookup, random_weights
from tests.texture.whole import texture_mesh


def dented(depth: float) -> Mesh:
    """The box with a guess in the middle of its upper side, too low by `depth`."""
    box = box_mesh(20)
    x, y, z = box.vertices.T
    inside = (y > 0.69) & (np.abs(x) < 0.45) & (np.abs(z) < 0.3)
    vertices = box.vertices - np.where(inside, depth, 0.0)[:, None] * [0, 1, 0]
    return Mesh(vertices, box.faces, guessed=inside)


def painted(depth: float) -> tuple[np.ndarray, np.ndarray, int]:
    """Error of each face's colour against the box, whether it is a guess, and faces without a photo."""
    mesh = dented(depth)
    guesses = guessed_faces(mesh)
    assert guesses is not None
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


def test_the_stage_knows_guesses_from_the_mesh_and_tells_what_it_filled(tmp_path: Path) -> None:
    mesh, views = dented(0.5), ring(6, radius=2.2)
    photos = [photograph(box_mesh(20), view) for view in views]
    context = run(project_folder(tmp_path, mesh, views, photos), tmp_path / "out", texture_size=512)
    (said,) = context.fallbacks
    assert re.match(r"\d\.\d % of the surface takes its colours from its surroundings", said)


def test_marks_of_guesses_survive_splitting_and_joining() -> None:
    box = box_mesh(2)
    guessed = box.vertices[:, 1] > 0.69
    fine, splits = split_large_faces(replace(box, guessed=guessed), ring(5), max_edge=40.0)
    assert fine.guessed is not None
    np.testing.assert_array_equal(fine.guessed, fine.vertices[:, 1] > 0.69)
    none = CandidateTable(len(fine)).candidates()
    joined = rejoin(fine, splits, np.full(len(fine), -1, np.int32), none, 10**6).mesh
    assert len(joined) == len(box)
    assert joined.guessed is not None
    np.testing.assert_array_equal(joined.guessed, joined.vertices[:, 1] > 0.69)
