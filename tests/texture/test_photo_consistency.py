from __future__ import annotations

import numpy as np

from recon3d.texture.face_visibility import Candidates
from recon3d.texture.photo_consistency import color_distances, remove_outliers, view_gains
from recon3d.texture.topology import face_pairs
from tests.synthetic.box import box_mesh


def observed(
    faces: int, views: int, seed: int = 0, exposure: np.ndarray | None = None
) -> tuple[Candidates, np.ndarray]:
    """Faces with random colours, each seen by a random half of the views or more."""
    rng = np.random.default_rng(seed)
    exposure = np.ones((views, 3)) if exposure is None else exposure
    true = rng.uniform(50, 180, (faces, 3))
    view = np.full((faces, views), -1, np.int32)
    color = np.zeros((faces, views, 3), np.uint8)
    for f in range(faces):
        chosen = np.sort(rng.choice(views, rng.integers(views // 2, views + 1), replace=False))
        view[f, : len(chosen)] = chosen
        noisy = true[f] * exposure[chosen] + rng.normal(0, 2, (len(chosen), 3))
        color[f, : len(chosen)] = np.clip(np.rint(noisy), 0, 255)
    quality = np.where(view >= 0, 1.0, 0.0).astype(np.float32)
    return Candidates(view, quality, color, np.ones(faces, np.float32)), true


def test_gains_undo_the_exposures() -> None:
    exposure = np.random.default_rng(3).uniform(0.8, 1.25, (8, 3))
    candidates, _ = observed(400, 8, exposure=exposure)
    product = view_gains(candidates, 8) * exposure
    # Up to one common factor for each channel.
    np.testing.assert_allclose(product / product.mean(axis=0), 1, atol=0.01)


def test_gains_ignore_outliers_clipped_values_and_lonely_views() -> None:
    exposure = np.linspace(0.9, 1.1, 6)[:, None] * np.ones(3)
    candidates, _ = observed(400, 6, exposure=exposure)
    rng = np.random.default_rng(5)
    spoiled = rng.random(candidates.view.shape) < 0.1
    candidates.color[spoiled] = rng.integers(30, 230, (np.count_nonzero(spoiled), 3))
    candidates.color[:50] = 255
    gains = view_gains(candidates, 7)
    product = gains[:6] * exposure
    np.testing.assert_allclose(product / product.mean(axis=0), 1, atol=0.015)
    assert np.isfinite(gains[6]).all()


def test_gains_without_any_view() -> None:
    empty = Candidates(
        np.full((4, 2), -1, np.int32),
        np.zeros((4, 2), np.float32),
        np.zeros((4, 2, 3), np.uint8),
        np.zeros(4),
    )
    np.testing.assert_array_equal(view_gains(empty, 3), np.ones((3, 3)))


def test_distances_equal_a_numpy_twin() -> None:
    candidates, _ = observed(60, 7)
    gains = np.random.default_rng(1).uniform(0.8, 1.2, (7, 3))
    distance, spread = color_distances(candidates, gains)
    for f in range(60):
        n = candidates.counts[f]
        colors = candidates.color[f, :n] * gains[candidates.view[f, :n]]
        middle = np.sort(colors, axis=0)[(n - 1) // 2]
        expected = np.linalg.norm(colors - middle, axis=1)
        np.testing.assert_allclose(distance[f, :n], expected, rtol=1e-4, atol=1e-3)
        np.testing.assert_allclose(spread[f], np.sort(expected)[(n - 1) // 2], rtol=1e-4, atol=1e-3)


def test_a_passer_by_is_removed_and_little_else() -> None:
    mesh = box_mesh(6)
    pairs = face_pairs(mesh.faces)
    candidates, _ = observed(len(mesh), 6)
    hidden = (mesh.vertices[mesh.faces].mean(axis=1)[:, 2] > 0.5) & (candidates.view[:, 0] == 0)
    candidates.color[hidden, 0] = (250, 0, 250)
    cleaned, removed = remove_outliers(candidates, pairs, np.ones((6, 3)))
    assert hidden.sum() > 30
    assert not np.any(cleaned.view[hidden] == 0)
    lost = candidates.counts.sum() - cleaned.counts.sum() - hidden.sum()
    assert removed == candidates.counts.sum() - cleaned.counts.sum()
    assert lost < 0.02 * candidates.counts.sum()
    assert cleaned.counts.min() >= 1
    # What stays is in order, with its own quality and colour.
    for f in range(0, len(mesh), 7):
        views = cleaned.view[f, : cleaned.counts[f]]
        assert (np.diff(views) > 0).all()
        place = [candidates.view[f].tolist().index(v) for v in views]
        np.testing.assert_array_equal(cleaned.color[f, : len(views)], candidates.color[f, place])


def strip_of_two_views(width: int, wrong: int) -> tuple[Candidates, np.ndarray]:
    """A strip of faces, two views each; the second one of the last `wrong` faces shows something else."""
    faces = np.array([[n, n + 1, n + 2] for n in range(width)], np.int32)
    color = np.full((width, 2, 3), 100, np.uint8)
    color[:, :, 0] += np.arange(width, dtype=np.uint8)[:, None]
    color[width - wrong :, 1] = (120, 160, 230)
    views = np.tile(np.array([[0, 1]], np.int32), (width, 1))
    return Candidates(views, np.ones((width, 2), np.float32), color, np.ones(width, np.float32)), faces


def test_of_two_views_that_differ_the_one_stays_that_fits_the_surroundings() -> None:
    candidates, faces = strip_of_two_views(30, 12)
    cleaned, removed = remove_outliers(candidates, face_pairs(faces), np.ones((2, 3)))
    assert removed == 12
    np.testing.assert_array_equal(cleaned.counts, [2] * 18 + [1] * 12)
    np.testing.assert_array_equal(cleaned.view[18:, 0], 0)


def test_two_views_stay_where_nothing_decides_between_them() -> None:
    # No face around on which photos agree, and a colour between both.
    candidates, faces = strip_of_two_views(12, 12)
    cleaned, removed = remove_outliers(candidates, face_pairs(faces), np.ones((2, 3)))
    assert removed == 0
    assert (cleaned.counts == 2).all()
    candidates, faces = strip_of_two_views(30, 12)
    candidates.color[:18] = (110, 130, 165)
    cleaned, removed = remove_outliers(candidates, face_pairs(faces), np.ones((2, 3)))
    assert removed == 0
