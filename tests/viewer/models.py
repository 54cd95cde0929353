"""Small models whose pictures are known."""

from __future__ import annotations

import numpy as np

from recon3d.types import Camera, Scene, SparsePoints, TexturedMesh, View


def square() -> TexturedMesh:
    """A square whose picture is red above and green below."""
    texture = np.zeros((64, 64, 3), np.uint8)
    texture[:32, :, 0] = texture[32:, :, 1] = 255
    corners = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    faces = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    return TexturedMesh(corners, faces, corners[:, :2].astype(np.float32), faces, texture)


def globe(rows: int = 220) -> TexturedMesh:
    """A ball of 4 * rows² triangles, red above and green below, so large that it has a draft."""
    v, u = np.meshgrid(np.linspace(0, 1, rows + 1), np.linspace(0, 1, 2 * rows + 1), indexing="ij")
    polar, around = np.pi * v, 2 * np.pi * u
    places = np.stack([np.sin(polar) * np.cos(around), np.cos(polar), -np.sin(polar) * np.sin(around)], -1)
    corner = (np.arange(rows)[:, None] * (2 * rows + 1) + np.arange(2 * rows)).ravel()
    a, b, c, d = corner, corner + 2 * rows + 1, corner + 2 * rows + 2, corner + 1
    faces = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)]).astype(np.int32)
    uv = np.stack([u, 1 - v], axis=-1).reshape(-1, 2).astype(np.float32)
    return TexturedMesh(places.reshape(-1, 3), faces, uv, faces, square().texture)


def scene() -> Scene:
    rng = np.random.default_rng(0)
    xyz = rng.normal(size=(200, 3))
    points = SparsePoints(
        xyz,
        rng.integers(0, 255, (200, 3), dtype=np.uint8),
        np.zeros(200),
        np.zeros(201, np.int64),
        np.zeros(0, np.int32),
    )
    camera = Camera("PINHOLE", 640, 480, (500.0, 500.0, 320.0, 240.0))
    views = []
    for i in range(6):
        pose = np.eye(4)
        pose[:3, 3] = (i - 2.5, 0, 2)
        views.append(View(f"photo</script>{i}.jpg", camera, pose))
    return Scene(tuple(views), points, unit="m")
