"""Pictures whose content is known."""

from __future__ import annotations

import numpy as np

from recon3d.rendering.render import render_mesh, render_points
from recon3d.rendering.viewpoint import look_at
from recon3d.types import Mesh, PointCloud, TexturedMesh
from tests.synthetic.shapes import grid_mesh, sphere_cloud


def test_a_sphere_fills_its_circle() -> None:
    cloud = sphere_cloud(30_000)
    camera, pose = look_at(np.array([2.8, 1.6, 3.4]), np.zeros(3), np.array([0, 1.0, 0]), 274.0, (200, 200))
    picture = render_points(cloud, camera, pose)
    row, column = np.mgrid[0:200, 0:200]
    distance = np.linalg.norm(-pose[:3, :3].T @ pose[:3, 3])
    radius = camera.K[0, 0] / np.sqrt(distance**2 - 1)
    inside = np.hypot(row - 99.5, column - 99.5) < 0.95 * radius
    assert (np.ptp(picture[inside].astype(int), axis=1) > 0).mean() > 0.99
    # What faces the camera has the colour of that direction.
    toward = -pose[2, :3]
    assert np.abs(picture[100, 100] - 127 * (toward + 1)).max() < 25


def test_the_nearest_point_wins() -> None:
    points = np.array([[0.0, 0, 0], [0, 0, 1.0]])
    cloud = PointCloud(points, None, np.array([[255, 0, 0], [0, 255, 0]], np.uint8))
    camera, pose = look_at(np.array([0, 0, 5.0]), np.zeros(3), np.array([0, 1.0, 0]), 100.0, (50, 50))
    assert render_points(cloud, camera, pose, radius=0.1)[25, 25].tolist() == [0, 255, 0]


def test_a_texture_is_the_right_way_up() -> None:
    square = grid_mesh(2.0, cells=1)
    texture = np.zeros((2, 2, 3), np.uint8)
    texture[0, 0], texture[0, 1], texture[1, 0], texture[1, 1] = (255, 0, 0), (0, 255, 0), (0, 0, 255), 200
    uv = np.stack([(square.vertices[:, 0] + 1) / 2, (1 - square.vertices[:, 2]) / 2], axis=1)
    mesh = TexturedMesh(square.vertices, square.faces, uv.astype(np.float32), square.faces, texture)
    camera, pose = look_at(np.array([0, 5.0, 0.01]), np.zeros(3), np.array([0, 0, -1.0]), 100.0, (80, 80))
    picture = render_mesh(mesh, camera, pose)
    # Seen from above with -z up: u goes right, v goes up.
    assert picture[25, 25].tolist() == [255, 0, 0]
    assert picture[25, 55].tolist() == [0, 255, 0]
    assert picture[55, 25].tolist() == [0, 0, 255]


def test_a_plain_mesh_is_lit_from_the_camera() -> None:
    square = grid_mesh(2.0, cells=1)
    front, pose = look_at(np.array([0, 5.0, 0.01]), np.zeros(3), np.array([0, 0, -1.0]), 100.0, (40, 40))
    steep, low = look_at(np.array([0, 0.5, 5.0]), np.zeros(3), np.array([0, 1.0, 0]), 100.0, (40, 40))
    plain = Mesh(square.vertices, square.faces)
    assert render_mesh(plain, front, pose)[20, 20].mean() > render_mesh(plain, steep, low)[20, 20].mean() + 50


def test_rows_without_a_surface_are_background() -> None:
    square = grid_mesh(0.2, cells=1)
    texture = np.full((2, 2, 3), 255, np.uint8)
    uv = np.zeros((len(square.vertices), 2), np.float32)
    mesh = TexturedMesh(square.vertices, square.faces, uv, square.faces, texture)
    camera, pose = look_at(np.array([0, 5.0, 0.01]), np.zeros(3), np.array([0, 0, -1.0]), 300.0, (40, 600))
    plain, fine = render_mesh(mesh, camera, pose), render_mesh(mesh, camera, pose, fine=True)
    for picture in (plain, fine):
        rows = np.flatnonzero((picture == 255).all(axis=2).any(axis=1))
        # It is 12 pixels high, in the middle.
        assert rows.min() >= 292
        assert rows.max() <= 307
        assert len(rows) >= 10
