"""What is taken off a torn ground, and what stays."""

from __future__ import annotations

import numpy as np

from recon3d.surface.connectivity import border_vertices
from recon3d.surface.fringes import trim_fringes
from recon3d.surface.normals import face_areas
from recon3d.types import Mesh
from tests.synthetic.shapes import grid_mesh


def _sheet(keep: np.ndarray, sheet: Mesh) -> Mesh:
    return Mesh(sheet.vertices, sheet.faces[keep])


def _centers(mesh: Mesh) -> np.ndarray:
    return np.asarray(mesh.vertices[mesh.faces].mean(axis=1))


def _area(mesh: Mesh, low: float, high: float) -> float:
    x = _centers(mesh)[:, 0]
    return float(face_areas(mesh.vertices, mesh.faces)[(x > low) & (x < high)].sum())


def _torn_ground() -> Mesh:
    """A square, a strip from it to a smaller square, and a comb of teeth at its other side."""
    sheet = grid_mesh(4.0, cells=160)
    x, _, z = _centers(sheet).T
    whole = (np.abs(x) < 0.8) & (np.abs(z) < 0.8)
    strip = (x >= 0.8) & (x < 1.2) & (np.abs(z) < 0.1)
    piece = (x >= 1.2) & (x < 1.8) & (np.abs(z) < 0.3)
    teeth = (x <= -0.8) & (x > -1.4) & (z % 0.25 < 0.125) & (np.abs(z) < 0.7)
    return _sheet(whole | strip | piece | teeth, sheet)


def test_strips_teeth_and_what_only_a_strip_holds_go() -> None:
    trimmed = trim_fringes(_torn_ground(), 0.15)
    assert _area(trimmed, -0.8, 0.8) > 0.97 * 1.6**2
    assert _area(trimmed, -2, -0.85) == 0
    assert _area(trimmed, 0.9, 2) == 0


def test_what_stands_on_the_ground_stays_whatever_its_rim_is_like() -> None:
    """Thin walls, and a torn shelf above the ground."""
    ground = _torn_ground()
    wall = grid_mesh(4.0, cells=160)
    x, _, z = _centers(wall).T
    wall = _sheet((np.abs(x) < 0.6) & (np.abs(z) < 0.1), wall)
    upright = wall.vertices[:, [0, 2, 1]] * [1, 1, -1] + [0, 0.1, 0]
    shelf = wall.vertices - [0, -1.0, 0]
    count = len(ground.vertices)
    both = Mesh(
        np.concatenate([ground.vertices, upright, shelf]),
        np.concatenate([ground.faces, wall.faces + count, wall.faces + count + len(upright)]),
    )
    height = _centers(trim_fringes(both, 0.15))[:, 1]
    assert (height > 0.9).sum() == len(wall.faces)
    assert ((height > 0) & (height < 0.9)).sum() == len(wall.faces)


def test_a_closed_or_steep_surface_is_left_alone() -> None:
    rng = np.random.default_rng(0)
    rough = grid_mesh(2.0, cells=20)
    rough = Mesh(rough.vertices + rng.normal(0, 0.2, rough.vertices.shape), rough.faces)
    assert trim_fringes(rough, 0.3) is rough
    solid = Mesh(np.eye(4, 3), np.array([[0, 1, 2], [0, 3, 1], [1, 3, 2], [0, 2, 3]], np.int32))
    assert not len(border_vertices(solid.faces))
    assert trim_fringes(solid, 0.3) is solid
