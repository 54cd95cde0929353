"""Soft shadows where they belong, and smooth edges."""

from __future__ import annotations

import numpy as np

from recon3d.rendering.occlusion import ambient_light
from recon3d.rendering.render import mesh_layer
from recon3d.rendering.viewpoint import look_at
from recon3d.types import Mesh
from tests.synthetic.shapes import grid_mesh


def _corner() -> Mesh:
    """A floor and a wall that meet at z = 0, white."""
    corners = [(-3, 0, 0), (3, 0, 0), (3, 0, 3), (-3, 0, 3), (3, 3, 0), (-3, 3, 0)]
    faces = [(0, 2, 1), (0, 3, 2), (0, 1, 4), (0, 4, 5)]
    vertices = np.array(corners, np.float64)
    return Mesh(vertices, np.array(faces, np.int32), np.full((6, 3), 255, np.uint8))


def test_a_corner_is_darker_than_the_open_floor() -> None:
    camera, pose = look_at(
        np.array([0.0, 3.0, 6.0]), np.array([0.0, 0.5, 0.5]), np.array([0.0, 1.0, 0.0]), 300.0, (240, 180)
    )
    flat = mesh_layer(_corner(), camera, pose, shaded=False)
    soft = mesh_layer(_corner(), camera, pose, shaded=False, fine=True)

    def pixel(*place: float) -> tuple[int, int]:
        column, row = camera.project(pose[:3, :3] @ place + pose[:3, 3])
        return int(row), int(column)

    assert flat[pixel(0, 0, 0.02)][0] == 255
    assert soft[pixel(0, 0, 0.02)][0] < 215
    assert soft[pixel(0, 0, 1.5)][0] > 245
    assert soft[pixel(0, 1.5, 0)][0] > 245


def test_a_plain_and_an_empty_picture_stay_light() -> None:
    normals = np.zeros((40, 60, 3), np.float32)
    normals[..., 2] = -1
    assert ambient_light(np.full((40, 60), 2, np.float32), normals, 50.0).min() > 0.99
    assert ambient_light(np.full((40, 60), np.inf, np.float32), normals, 50.0).min() == 1


def test_fine_edges_are_partly_covered() -> None:
    square = grid_mesh(2.0, cells=1)
    camera, pose = look_at(np.array([0.3, 5.0, 0.01]), np.zeros(3), np.array([0.2, 0, -1.0]), 90.0, (80, 80))
    hard = mesh_layer(square, camera, pose)[..., 3]
    soft = mesh_layer(square, camera, pose, fine=True)[..., 3]
    assert set(np.unique(hard)) == {0, 255}
    assert {0, 64, 128, 191, 255} <= set(np.unique(soft))
    assert abs(int(hard.sum()) - int(soft.sum())) < 0.03 * hard.sum()
