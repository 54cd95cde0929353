"""Simple exact shapes and rings of cameras for tests."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recon3d.types import Camera, Mesh, PointCloud, Scene, SparsePoints, View

Floats = NDArray[np.float64]


def sphere_cloud(count: int, radius: float = 1.0, noise: float = 0.0, seed: int = 0) -> PointCloud:
    rng = np.random.default_rng(seed)
    normals = rng.normal(size=(count, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    points = normals * (radius + rng.normal(0, noise, (count, 1)))
    colors = np.round(127 * (normals + 1)).astype(np.uint8)
    return PointCloud(points, normals.astype(np.float32), colors)


def grid_mesh(size: float = 2.0, cells: int = 20) -> Mesh:
    """A square in the plane y = 0, facing +y."""
    line = np.linspace(-size / 2, size / 2, cells + 1)
    x, z = np.meshgrid(line, line, indexing="ij")
    vertices = np.stack([x.ravel(), np.zeros(x.size), z.ravel()], axis=1)
    corner = (np.arange(cells)[:, None] * (cells + 1) + np.arange(cells)).ravel()
    a, b, c, d = corner, corner + 1, corner + cells + 2, corner + cells + 1
    faces = np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)])
    return Mesh(vertices, faces.astype(np.int32))


def looking(center: Floats, target: Floats, up: Floats, name: str, camera: Camera, roll: float = 0.0) -> View:
    forward = (target - center) / np.linalg.norm(target - center)
    right = np.cross(forward, up)
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward])
    c, s = np.cos(roll), np.sin(roll)
    rotation = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ rotation
    pose = np.eye(4)
    pose[:3, :3] = rotation
    pose[:3, 3] = -rotation @ center
    return View(name, camera, pose)


def orbit_scene(count: int, points: Floats, up: Floats, seed: int = 0) -> Scene:
    """Cameras around the origin, some metres up, slightly tilted; each sees all points."""
    rng = np.random.default_rng(seed)
    side = np.cross(up, [0.3, 0.5, 0.8])
    side /= np.linalg.norm(side)
    other = np.cross(up, side)
    camera = Camera("PINHOLE", 640, 480, (500.0, 500.0, 320.0, 240.0))
    views = []
    for k in range(count):
        angle = 2 * np.pi * k / count
        center = 4 * (np.cos(angle) * side + np.sin(angle) * other) + rng.uniform(0.5, 2.0) * up
        views.append(looking(center, np.zeros(3), up, f"{k:03d}.jpg", camera, rng.normal(0, 0.03)))
    starts = np.arange(len(points) + 1, dtype=np.int64) * count
    tracks = np.tile(np.arange(count, dtype=np.int32), len(points))
    rgb = np.full((len(points), 3), 128, np.uint8)
    return Scene(tuple(views), SparsePoints(points, rgb, np.full(len(points), 0.5), starts, tracks))
