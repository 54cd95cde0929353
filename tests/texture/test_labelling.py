from __future__ import annotations

import itertools

import numpy as np
import pytest

from recon3d.texture.face_visibility import Candidates
from recon3d.texture.labelling import (
    choose_views,
    connected_faces,
    data_costs,
    energy,
    merge_small_charts,
    pair_pixels,
)
from recon3d.texture.topology import face_pairs
from recon3d.types import Mesh
from tests.synthetic.box import box_mesh


def strip(count: int) -> Mesh:
    """Triangles in a row."""
    x = np.arange(count + 2) / 2
    vertices = np.stack([x, np.arange(count + 2) % 2, np.zeros(count + 2)], axis=1)
    n = np.arange(count)
    return Mesh(vertices, np.stack([n, n + 1, n + 2], axis=1).astype(np.int32))


def random_candidates(faces: int, views: int, size: int, seed: int, pixels: float = 40.0) -> Candidates:
    rng = np.random.default_rng(seed)
    view = np.full((faces, size), -1, np.int32)
    quality = np.zeros((faces, size), np.float32)
    for f in range(faces):
        n = rng.integers(1, size + 1)
        view[f, :n] = np.sort(rng.choice(views, n, replace=False))
        quality[f, :n] = rng.uniform(0.1, 1, n)
    color = np.zeros((faces, size, 3), np.uint8)
    return Candidates(view, quality, color, np.full(faces, pixels, np.float32))


def full_energy(mesh: Mesh, candidates: Candidates, labels: np.ndarray, seam_cost: float = 5.0) -> float:
    pairs = face_pairs(mesh.faces)
    weight = (seam_cost * pair_pixels(mesh, pairs, candidates.pixels)).astype(np.float32)
    return energy(labels, data_costs(candidates), candidates, pairs.faces, weight)


@pytest.mark.parametrize("seed", range(5))
def test_a_chain_is_solved_exactly(seed: int) -> None:
    mesh = strip(7)
    # Many pixels a face, so that no chart is small enough to be merged afterwards.
    candidates = random_candidates(7, 4, 3, seed, pixels=400.0)
    pairs = face_pairs(mesh.faces)
    labels = choose_views(mesh, pairs, candidates, seam_cost=8.0)
    choices = [candidates.view[f, : candidates.counts[f]] for f in range(7)]
    all_labellings = (np.array(labelling, np.int32) for labelling in itertools.product(*choices))
    best = min(full_energy(mesh, candidates, labelling, 8.0) for labelling in all_labellings)
    assert full_energy(mesh, candidates, labels, 8.0) == pytest.approx(best, rel=1e-5)
    for f in range(7):
        assert labels[f] in choices[f]


def icm(mesh: Mesh, candidates: Candidates, seam_cost: float) -> np.ndarray:
    """Iterated conditional modes: the plain way to do it."""
    pairs = face_pairs(mesh.faces)
    weight = seam_cost * pair_pixels(mesh, pairs, candidates.pixels)
    data = data_costs(candidates)
    neighbors: list[list[tuple[int, float]]] = [[] for _ in range(len(mesh))]
    for (f, g), w in zip(pairs.faces, weight, strict=True):
        neighbors[f].append((g, w))
        neighbors[g].append((f, w))
    labels = candidates.view[np.arange(len(mesh)), candidates.quality.argmax(axis=1)].copy()
    for _ in range(20):
        for f in range(len(mesh)):
            n = candidates.counts[f]
            costs = [
                data[f, k] + sum(w for g, w in neighbors[f] if labels[g] != candidates.view[f, k])
                for k in range(n)
            ]
            labels[f] = candidates.view[f, int(np.argmin(costs))]
    return labels


def test_a_mesh_is_solved_better_than_by_icm() -> None:
    mesh = box_mesh(8)
    candidates = random_candidates(len(mesh), 6, 5, 0, pixels=400.0)
    labels = choose_views(mesh, face_pairs(mesh.faces), candidates, seam_cost=10.0)
    plain = full_energy(mesh, candidates, icm(mesh, candidates, 10.0), 10.0)
    assert full_energy(mesh, candidates, labels, 10.0) < 0.97 * plain


def test_the_result_is_repeatable_and_unseen_faces_stay_unseen() -> None:
    mesh = box_mesh(6)
    candidates = random_candidates(len(mesh), 6, 4, 1)
    candidates.view[10:30] = -1
    candidates.quality[10:30] = 0
    pairs = face_pairs(mesh.faces)
    labels = choose_views(mesh, pairs, candidates)
    np.testing.assert_array_equal(labels, choose_views(mesh, pairs, candidates))
    assert (labels[10:30] == -1).all()
    assert (np.delete(labels, np.s_[10:30]) >= 0).all()
    count, chart = connected_faces(labels, pairs.faces)
    assert (chart[10:30] == -1).all()
    assert sorted(np.unique(chart[chart >= 0])) == list(range(count))


def test_connected_faces_are_of_one_label() -> None:
    pairs = face_pairs(strip(6).faces).faces
    count, chart = connected_faces(np.array([2, 2, 1, 2, -1, 1], np.int32), pairs)
    assert count == 4
    assert chart[0] == chart[1]
    assert chart[4] == -1
    assert len({chart[0], chart[2], chart[3], chart[5]}) == 4


def test_small_charts_join_where_the_photo_shows_them() -> None:
    mesh = strip(9)
    pairs = face_pairs(mesh.faces).faces
    view = np.tile(np.array([0, 1], np.int32), (9, 1))
    view[7] = [1, -1]
    candidates = Candidates(
        view, np.ones((9, 2), np.float32), np.zeros((9, 2, 3), np.uint8), np.full(9, 40.0, np.float32)
    )
    labels = np.array([0, 0, 0, 1, 0, 0, 0, 1, 0], np.int32)
    merged = merge_small_charts(labels, candidates, pairs, np.ones(len(pairs), np.float32))
    # Face 3 joins; face 7 cannot, photo 0 does not show it, so face 8 joins it.
    assert merged.tolist() == [0, 0, 0, 0, 0, 0, 0, 1, 1]
    assert labels[3] == 1
