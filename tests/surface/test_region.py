"""What a set of cameras is about."""

from __future__ import annotations

import numpy as np

from recon3d.surface.region import find_region, nearest_to_axes
from recon3d.types import Camera, Scene, SparsePoints
from tests.synthetic.shapes import looking, orbit_scene

Y = np.array([0.0, 1.0, 0.0])


def test_an_orbit_keeps_what_is_inside_its_ring() -> None:
    scene = orbit_scene(16, np.random.default_rng(0).normal(size=(100, 3)), Y)
    region = find_region(scene)
    assert region.kind == "orbit"
    assert region.contains(np.array([[0.0, 0, 0], [2.5, 0, 0], [5.0, 0, 0]])).tolist() == [True, True, False]
    axes = np.array([view.cam_from_world[2, :3] for view in scene])
    centers = np.array([view.center for view in scene])
    assert np.allclose(nearest_to_axes(centers, axes), 0, atol=1e-3)


def test_a_street_of_cameras_keeps_what_is_not_far() -> None:
    camera = Camera("PINHOLE", 640, 480, (500.0, 500.0, 320.0, 240.0))
    views = tuple(
        looking(np.array([x, 0, 0.0]), np.array([x, 0, -5.0]), Y, f"{x}.jpg", camera) for x in range(8)
    )
    points = np.random.default_rng(0).uniform([0, -1, -6], [7, 2, -5], (200, 3))
    starts = np.arange(201, dtype=np.int64)
    nearest = np.round(points[:, 0]).astype(np.int32)
    sparse = SparsePoints(points, np.zeros((200, 3), np.uint8), np.zeros(200), starts, nearest)
    region = find_region(Scene(views, sparse))
    assert region.kind == "near"
    assert region.contains(points).all()
    assert not region.contains(np.array([[3.0, 0, -60.0]]))[0]
