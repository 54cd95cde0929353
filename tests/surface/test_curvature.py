"""What patches of depth maps flatten comes back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import trimesh

from recon3d.surface import curvature
from recon3d.surface.connectivity import border_vertices, vertex_neighbors, vertices_around_vertices
from recon3d.surface.curvature import restore_curvature
from recon3d.threads import ALONE
from recon3d.types import Mesh
from tests.synthetic.shapes import grid_mesh

#: Standard deviation, in pixels, of a patch and the solver's splines.
_PATCH = 3.5


def ball(radius: float, noise: float = 0.0) -> Mesh:
    made = trimesh.creation.icosphere(5)
    push = np.random.default_rng(0).normal(0, noise, (len(made.vertices), 1))
    return Mesh(np.asarray(made.vertices) * (radius + push), np.asarray(made.faces, np.int32))


@pytest.mark.parametrize("inside_out", [False, True], ids=["bulge", "hollow"])
def test_a_ball_of_flattened_depths_gets_its_radius_back(inside_out: bool) -> None:
    """The mean of a patch lies deeper by the mean curvature times the patch's variance."""
    pixel = 0.03
    lost = _PATCH**2 * pixel**2
    mesh = ball(1.0 - lost, noise=0.002)
    if inside_out:
        mesh = Mesh(mesh.vertices, mesh.faces[:, ::-1].copy())
    radius = np.linalg.norm(restore_curvature(mesh, pixel).vertices, axis=1)
    assert abs(radius.mean() - 1) < 0.5 * lost
    # Noise does not grow.
    assert radius.std() < 0.0025


def test_planes_and_borders_stay() -> None:
    sheet = grid_mesh(2.0, cells=40)
    assert np.allclose(restore_curvature(sheet, 0.05).vertices, sheet.vertices, atol=1e-9)
    bowl = Mesh(sheet.vertices + 0.3 * np.square(sheet.vertices[:, [0]]) * [0, 1, 0], sheet.faces)
    moved = restore_curvature(bowl, 0.05).vertices - bowl.vertices
    rim = border_vertices(bowl.faces)
    assert not moved[rim].any()
    assert moved[np.abs(sheet.vertices[:, [0, 2]]).max(axis=1) < 0.5, 1].max() < 0


def test_parts_thinner_than_a_patch_do_not_swell_without_bound() -> None:
    pixel = 0.03
    bar = ball(1.0)
    bar = Mesh(bar.vertices * [1, 0.05, 0.05], bar.faces)
    away = np.linalg.norm(restore_curvature(bar, pixel).vertices - bar.vertices, axis=1)
    assert 0 < away.max() <= pixel + 1e-9


def test_without_depth_maps_nothing_moves() -> None:
    mesh = ball(1.0)
    assert restore_curvature(mesh, 0.0) is mesh


def test_pixels_of_many_edges_take_few_products_and_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    # Borders and uneven numbers of neighbours, too.
    mesh = grid_mesh(2.0, cells=12)
    vertices = mesh.vertices + np.random.default_rng(0).normal(0, 0.05, mesh.vertices.shape)
    near = (vertex_neighbors(mesh.faces, len(vertices)) > 0).toarray().astype(np.float64)
    once = (np.eye(len(vertices)) + near / near.sum(axis=1, keepdims=True)) / 2
    products = []

    def mix(*given: Any) -> None:
        products.append(given)
        curvature_mix(*given)

    curvature_mix = curvature._mix
    monkeypatch.setattr(curvature, "_mix", mix)
    lists = vertices_around_vertices(mesh.faces, len(vertices))
    for rounds in (401, 9000):
        products.clear()
        smoothed = curvature._smoothed(vertices, lists, rounds, ALONE)
        assert np.abs(smoothed - np.linalg.matrix_power(once, rounds) @ vertices).max() < 1e-5
        assert 0 < len(products) <= 400


def test_the_series_of_many_rounds_restores_what_the_rounds_do(monkeypatch: pytest.MonkeyPatch) -> None:
    mesh, pixel = ball(1.0, noise=0.002), 0.05
    expected = restore_curvature(mesh, pixel).vertices
    monkeypatch.setattr(curvature, "_ROUNDS", 0)
    assert np.abs(restore_curvature(mesh, pixel).vertices - expected).max() < 1e-3 * pixel
