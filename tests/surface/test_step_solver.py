"""The step that fits and bends little."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import diags, eye
from scipy.sparse.linalg import spsolve

from recon3d.surface import step_solver
from recon3d.surface.connectivity import vertex_neighbors, vertices_around_vertices
from recon3d.surface.step_solver import smooth_step
from recon3d.threads import ALONE, Threads
from tests.synthetic.shapes import grid_mesh


@pytest.fixture
def precise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_solver, "_ROUNDS", 500)
    monkeypatch.setattr(step_solver, "_PRECISION", 1e-10)
    monkeypatch.setattr(step_solver, "_TOGETHER", 100)
    monkeypatch.setattr(step_solver, "LEAST", 100)


@pytest.mark.usefixtures("precise")
def test_it_is_the_solution_and_does_not_depend_on_threads() -> None:
    mesh = grid_mesh(1.0, cells=40)
    count = len(mesh.vertices)
    rng = np.random.default_rng(0)
    # Most vertices are held by nothing.
    hold = np.where(rng.random(count) < 0.2, rng.random(count), 0)
    right = hold * rng.normal(size=count)
    near = vertex_neighbors(mesh.faces, count)
    bends = eye(count) - diags(1 / np.asarray(near.sum(axis=1)).ravel()) @ near
    expected = spsolve((diags(hold) + 0.3**2 * bends.T @ bends).tocsc(), right)
    lists = vertices_around_vertices(mesh.faces, count)
    alone = smooth_step(hold, right, lists, 0.3, ALONE)
    assert np.abs(alone - expected).max() < 1e-6 * np.abs(expected).max()
    with Threads(3) as threads:
        assert smooth_step(hold, right, lists, 0.3, threads).tobytes() == alone.tobytes()


def test_it_ends_when_it_is_precise_enough() -> None:
    mesh = grid_mesh(1.0, cells=20)
    count = len(mesh.vertices)
    lists = vertices_around_vertices(mesh.faces, count)
    right = np.random.default_rng(0).normal(size=count)
    step = smooth_step(np.ones(count), right, lists, 0.05, ALONE)
    assert np.linalg.norm(step - right) < 0.03 * np.linalg.norm(right)
    assert not smooth_step(np.ones(count), np.zeros(count), lists, 0.05, ALONE).any()
