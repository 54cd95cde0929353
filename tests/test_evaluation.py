"""Scores against truth that is known exactly."""

from __future__ import annotations

import numpy as np
import pytest

from recon3d.errors import InputError
from recon3d.evaluation import area_under_recall, pose_errors, sample_mesh, surface_scores, thin
from recon3d.similarity import umeyama
from recon3d.types import Mesh, PointCloud, Scene, View
from tests.synthetic.shapes import grid_mesh, orbit_scene


def _rotation(seed: int) -> np.ndarray:
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return q * np.sign(np.linalg.det(q))


def test_a_shifted_half_has_the_scores_that_geometry_says() -> None:
    truth = grid_mesh(2.0)
    points = sample_mesh(truth, 200_000, seed=1)
    half = points[points[:, 0] < 0] + [0, 0.01, 0]
    close, far = surface_scores(PointCloud(half), truth, [0.005, 0.02], voxel=0.01)
    assert close.precision == close.recall == close.f_score == 0.0
    assert far.precision > 0.99
    assert far.recall == pytest.approx(0.51, abs=0.015)
    assert far.f_score == pytest.approx(2 * far.precision * far.recall / (far.precision + far.recall))


def test_only_the_box_counts_and_thinning_evens_density() -> None:
    truth = grid_mesh(2.0)
    points = sample_mesh(truth, 50_000, seed=1)
    wrong = np.tile([[0.9, 0.5, 0.9]], (50_000, 1))
    mixed = PointCloud(np.concatenate([points, wrong]))
    (dense,) = surface_scores(mixed, truth, [0.02])
    assert dense.precision == pytest.approx(0.5, abs=0.01)
    (thinned,) = surface_scores(mixed, truth, [0.02], voxel=0.02)
    assert thinned.precision > 0.99
    (boxed,) = surface_scores(mixed, truth, [0.02], box=((-1, -0.1, -1), (1, 0.1, 1)))
    assert boxed.precision == 1.0
    with pytest.raises(InputError, match="no points"):
        surface_scores(mixed, truth, [0.02], box=((5, 5, 5), (6, 6, 6)))


def test_sampling_is_uniform_by_area() -> None:
    points = sample_mesh(grid_mesh(2.0, cells=3), 40_000, seed=0)
    counts, _, _ = np.histogram2d(points[:, 0], points[:, 2], bins=4, range=[[-1, 1], [-1, 1]])
    assert np.all(np.abs(counts / 2500 - 1) < 0.1)
    assert np.array_equal(points, sample_mesh(grid_mesh(2.0, cells=3), 40_000, seed=0))
    assert len(thin(points, 0.5)) == 16


def test_a_mesh_without_surface_is_refused() -> None:
    truth = grid_mesh(2.0)
    for faces in (truth.faces[:0], truth.faces[:5, [0, 0, 1]]):
        with pytest.raises(InputError, match="no surface"):
            surface_scores(Mesh(truth.vertices, faces), truth, [0.02], samples=100)


def test_umeyama_finds_the_similarity_and_no_reflection() -> None:
    rng = np.random.default_rng(3)
    source = rng.normal(size=(20, 3))
    target = 2.5 * source @ _rotation(1).T + [1, 2, 3]
    scale, rotation, translation = umeyama(source, target)
    assert scale == pytest.approx(2.5)
    assert np.allclose(rotation, _rotation(1))
    assert np.allclose(translation, [1, 2, 3])
    _, mirrored, _ = umeyama(source, source * [1, 1, -1])
    assert np.linalg.det(mirrored) == pytest.approx(1)


def _moved(scene: Scene, scale: float, rotation: np.ndarray, shift: np.ndarray) -> Scene:
    views = []
    for view in scene:
        pose = np.eye(4)
        pose[:3, :3] = view.cam_from_world[:3, :3] @ rotation.T
        pose[:3, 3] = -pose[:3, :3] @ (scale * rotation @ view.center + shift)
        views.append(View(view.name, view.camera, pose))
    return Scene(tuple(views))


def test_cameras_in_another_world_are_perfect_and_a_turned_one_is_found() -> None:
    truth = orbit_scene(12, np.zeros((0, 3)), np.array([0.0, 1.0, 0.0]))
    made = _moved(truth, 3.0, _rotation(2), np.array([5.0, 0, 1]))
    errors = pose_errors(made, truth)
    assert errors.rotation.max() < 1e-5
    assert errors.position.max() < 1e-9
    assert errors.auc(1) > 0.9999
    turn = np.radians(2.0)
    twist = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    bad = made.views[4]
    pose = bad.cam_from_world.copy()
    pose[:3] = twist @ pose[:3]
    errors = pose_errors(Scene((*made.views[:4], View(bad.name, bad.camera, pose), *made.views[5:])), truth)
    assert errors.rotation[4] == pytest.approx(2.0, abs=1e-6)
    assert errors.rotation[3] < 1e-5
    # 11 of the 66 pairs are wrong by 2 degrees.
    assert errors.auc(5) == pytest.approx(1 - 11 / 66 * 2 / 5, abs=0.01)
    with pytest.raises(InputError, match="Only 2 views"):
        pose_errors(Scene(made.views[:2]), truth)


def test_area_under_recall() -> None:
    assert area_under_recall(np.array([0.0, 10.0]), 5) == 0.5
    assert area_under_recall(np.array([2.5]), 5) == 0.5
