"""What patches of depth maps flatten comes back."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from recon3d.surface.connectivity import border_vertices
from recon3d.surface.curvature import restore_curvature
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
