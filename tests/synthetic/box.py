"""A box whose colours are known everywhere, and photos of it."""

from __future__ import annotations

import numpy as np
import open3d as o3d

from recon3d.texture.face_visibility import CandidateTable, seen_faces
from recon3d.types import Camera, Mesh, View
from tests.synthetic.shapes import looking

#: Half sides of the box.
HALF = np.array([1.0, 0.7, 0.6])
SKY = (120, 160, 230)


def box_mesh(steps: int = 16) -> Mesh:
    """Closed box of 12 * steps**2 faces, counter-clockwise from outside."""
    grid = np.linspace(-1, 1, steps + 1)
    u, v = (c.ravel() for c in np.meshgrid(grid, grid))
    index = np.arange((steps + 1) ** 2).reshape(steps + 1, steps + 1)
    a, b, c, d = (x.ravel() for x in (index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]))
    quad = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
    points, faces = [], []
    for axis in range(3):
        for sign in (-1.0, 1.0):
            side = np.zeros((len(u), 3))
            side[:, axis] = sign
            side[:, (axis + 1) % 3], side[:, (axis + 2) % 3] = u, v
            faces.append((quad if sign > 0 else quad[:, ::-1]) + sum(len(p) for p in points))
            points.append(side)
    stacked = np.concatenate(points)
    unique, inverse = np.unique(np.round(stacked, 9), axis=0, return_inverse=True)
    return Mesh(unique * HALF, inverse.reshape(-1)[np.concatenate(faces)].astype(np.int32))


def panel(center: tuple[float, float, float], half: float = 0.25) -> Mesh:
    """Small upright square, seen from +z and, by its back, from -z."""
    x, y, z = center
    corners = np.array([[x - half, y - half, z], [x + half, y - half, z], [x + half, y + half, z]])
    corners = np.concatenate([corners, [[x - half, y + half, z]]])
    front = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    return Mesh(
        np.concatenate([corners, corners - [0, 0, 0.01]]), np.concatenate([front, front[:, ::-1] + 4])
    )


def joined(first: Mesh, second: Mesh) -> Mesh:
    faces = np.concatenate([first.faces, second.faces + len(first.vertices)]).astype(np.int32)
    return Mesh(np.concatenate([first.vertices, second.vertices]), faces)


def true_color(points: np.ndarray) -> np.ndarray:
    """Smooth colour of the world, in gray levels, shape (..., 3); the panel at z > 0.8 is red."""
    x, y, z = np.moveaxis(np.asarray(points), -1, 0)
    color = np.stack(
        [
            130 + 60 * np.sin(3 * x + 2 * z),
            130 + 60 * np.cos(4 * y - x),
            110 + 50 * np.sin(3 * z + 2 * y + x),
        ],
        axis=-1,
    )
    return np.where((z > 0.8)[..., None], np.array([230.0, 20.0, 30.0]), color)


def ring(count: int = 10, size: tuple[int, int] = (320, 240), radius: float = 3.6) -> list[View]:
    """Cameras around the box, all above it: none sees its bottom."""
    views = []
    for k in range(count):
        angle = 2 * np.pi * k / count
        height = 1.3 if k % 2 else 2.2
        center = np.array([radius * np.sin(angle), height, radius * np.cos(angle)])
        up = np.array([0.0, 1.0, 0.0])
        views.append(looking_at(center, np.zeros(3), up, 1.15 * size[0], size, name=f"{k:03d}.png"))
    return views


def looking_at(
    center: np.ndarray,
    target: np.ndarray,
    up: np.ndarray,
    focal: float,
    size: tuple[int, int],
    name: str = "",
) -> View:
    """A view from `center` at `target`."""
    K = np.array([[focal, 0, size[0] / 2], [0, focal, size[1] / 2], [0, 0, 1]])
    return looking(center, target, up, name, Camera.pinhole(*size, K))


def cast(mesh: Mesh, view: View) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Depth (inf where nothing is hit), world point and face of each pixel, by ray casting."""
    scene = o3d.t.geometry.RaycastingScene()
    tensor = o3d.core.Tensor.from_numpy
    scene.add_triangles(tensor(mesh.vertices.astype(np.float32)), tensor(mesh.faces.astype(np.uint32)))
    v, u = np.mgrid[: view.camera.height, : view.camera.width] + 0.5
    K, R = view.camera.K, view.cam_from_world[:3, :3]
    world = np.stack([(u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1], np.ones_like(u)], -1) @ R
    rays = np.concatenate([np.broadcast_to(view.center, world.shape), world], -1).astype(np.float32)
    answer = scene.cast_rays(tensor(rays))
    depth = answer["t_hit"].numpy().astype(np.float64)
    face = np.where(np.isfinite(depth), answer["primitive_ids"].numpy(), 0).astype(np.int64)
    points = view.center + world * np.where(np.isfinite(depth), depth, 0)[..., None]
    return depth, points, face


def photograph(mesh: Mesh, view: View, gain: float | np.ndarray = 1.0) -> np.ndarray:
    """Photo of the mesh in its true colours, times an exposure."""
    depth, points, _ = cast(mesh, view)
    color = np.where(np.isfinite(depth)[..., None], true_color(points), np.array(SKY, float))
    return np.clip(np.rint(color * gain), 0, 255).astype(np.uint8)


def rate(mesh: Mesh, views: list[View], photos: list[np.ndarray]) -> CandidateTable:
    table = CandidateTable(len(mesh))
    for index, (view, photo) in enumerate(zip(views, photos, strict=True)):
        table.add(index, seen_faces(mesh, view, photo))
    return table
