"""Textured planes and spheres, ray-cast: images with exact depth and normals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from recon3d.mvs.stereo import StereoImage, tone_mapped
from recon3d.types import Camera, Scene, SparsePoints, View
from tests.synthetic.shapes import looking

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Plane:
    """Points x with normal . x = offset; `half` limits it to a square around `center`."""

    normal: Floats
    offset: float
    center: Floats = field(default_factory=lambda: np.zeros(3))
    half: Floats | float = np.inf

    def hit(self, origin: Floats, rays: Floats) -> tuple[Floats, Floats]:
        with np.errstate(divide="ignore"):
            t = (self.offset - self.normal @ origin) / (rays @ self.normal)
        points = origin + t[..., None] * rays
        inside = (np.abs(points - self.center) <= self.half).all(axis=-1)
        return np.where((t > 0) & inside, t, np.inf), np.broadcast_to(self.normal, rays.shape)


@dataclass(frozen=True, eq=False)
class Sphere:
    center: Floats
    radius: float

    def hit(self, origin: Floats, rays: Floats) -> tuple[Floats, Floats]:
        offset = origin - self.center
        a, b, c = (rays**2).sum(-1), rays @ offset, offset @ offset - self.radius**2
        root = b * b - a * c
        t = np.where(root > 0, (-b - np.sqrt(np.maximum(root, 0))) / a, np.inf)
        normals = (offset + np.where(np.isfinite(t), t, 0)[..., None] * rays) / self.radius
        return np.where(t > 0, t, np.inf), normals


@dataclass(frozen=True, eq=False)
class Mirror:
    """A rectangle that reflects: points x with normal . x = offset, within `half` of `center`.

    The normal points to the side of the cameras. Nothing but the wall that it hangs on may be behind.
    """

    normal: Floats
    offset: float
    center: Floats
    half: Floats

    def reflected(self, points: Floats) -> Floats:
        return points - 2 * (points @ self.normal - self.offset)[..., None] * self.normal

    def seen(self, shapes: list[Plane | Sphere], origin: Floats, rays: Floats) -> tuple[Floats, Floats]:
        """Along each ray: where the mirror is, and where what it shows is; infinite beside it."""
        at, _ = Plane(self.normal, self.offset, self.center, self.half).hit(origin, rays)
        source = self.reflected(origin)
        turned = rays - 2 * (rays @ self.normal)[..., None] * self.normal
        beyond = np.full(at.shape, np.inf)
        for shape in shapes:
            t, _ = shape.hit(source, turned)
            beyond = np.minimum(beyond, np.where(t > at * (1 + 1e-9), t, np.inf))
        return at, np.where(np.isfinite(at), beyond, np.inf)


def texture(points: Floats, detail: float, contrast: float) -> Floats:
    """A solid texture: many sine waves of random directions; `detail` in waves a unit of length."""
    rng = np.random.default_rng(5)
    total = np.zeros(points.shape[:-1])
    for octave in (0.25, 0.5, 1.0):
        for _ in range(12):
            direction = rng.normal(size=3)
            direction *= 2 * np.pi * detail * octave / np.linalg.norm(direction)
            total += np.sin(points @ direction + rng.uniform(0, 6.28))
    return 110 + contrast * 16 * total


@dataclass(frozen=True, eq=False)
class Picture:
    view: View
    rgb: NDArray[np.uint8]
    depth: Floats
    normal: Floats

    @property
    def stereo(self) -> StereoImage:
        return StereoImage(tone_mapped(self.rgb), self.view.camera, self.view.cam_from_world)


def render(
    shapes: list[Plane | Sphere],
    view: View,
    detail: float = 9.0,
    contrast: float = 1.0,
    exposure: float = 1.0,
    mirror: Mirror | None = None,
) -> Picture:
    """A picture of shapes; what a mirror shows has the depth of its reflection, and no normal."""
    camera = view.camera
    x, y = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
    in_camera = np.stack([x, y, np.ones_like(x)], -1) @ np.linalg.inv(camera.K).T
    R = view.cam_from_world[:3, :3]
    rays = in_camera @ R  # depth along the optical axis is the parameter of the ray
    depth = np.full(x.shape, np.inf)
    normal = np.zeros((*x.shape, 3))
    for shape in shapes:
        t, n = shape.hit(view.center, rays)
        nearer = t < depth
        depth = np.where(nearer, t, depth)
        normal[nearer] = (n @ R.T)[nearer]
    reflects = np.zeros(x.shape, bool)
    if mirror is not None:
        at, beyond = mirror.seen(shapes, view.center, rays)
        reflects = at < depth * (1 + 1e-9)
        depth = np.where(reflects, beyond, depth)
        normal[reflects] = 0
    seen = np.isfinite(depth)
    depth = np.where(seen, depth, 0)
    normal *= -np.sign((normal * in_camera).sum(-1, keepdims=True))
    points = view.center + depth[..., None] * rays
    if mirror is not None:
        points = np.where(reflects[..., None], mirror.reflected(points), points)
    gray = np.where(seen, texture(points, detail, contrast), 200)
    noise = np.random.default_rng(int.from_bytes(view.name.encode(), "little") % 1000).normal(
        0, 1, gray.shape
    )
    image = np.clip(exposure * gray + noise, 0, 255).astype(np.uint8)
    return Picture(view, np.repeat(image[..., None], 3, axis=2), depth, normal)


def arc(
    count: int, distance: float = 3.0, step: float = 7.0, size: tuple[int, int] = (160, 120)
) -> list[View]:
    """Views on an arc around the origin, `step` degrees apart, the first in the middle."""
    width, height = size
    camera = Camera.pinhole(
        width, height, np.array([[180.0, 0, width / 2], [0, 180.0, height / 2], [0, 0, 1]])
    )
    views = []
    for i in range(count):
        angle = np.radians(step * ((i + 1) // 2) * (1 if i % 2 else -1))
        center = distance * np.array([np.sin(angle), 0.15 * np.sin(2.0 * i), -np.cos(angle)])
        views.append(looking(center, np.zeros(3), np.array([0.0, -1.0, 0.0]), f"view{i}.png", camera))
    return views


def scene_of(pictures: list[Picture], points: int = 60) -> Scene:
    """A scene with sparse points taken from the true surface."""
    rng = np.random.default_rng(0)
    xyz, starts, tracks = [], [0], []
    for i, picture in enumerate(pictures):
        rows, columns = np.nonzero(picture.depth)
        for k in rng.choice(len(rows), min(points, len(rows)), replace=False):
            z = picture.depth[rows[k], columns[k]]
            ray = np.linalg.inv(picture.view.camera.K) @ [columns[k] + 0.5, rows[k] + 0.5, 1]
            world = np.linalg.inv(picture.view.cam_from_world) @ [*(ray * z), 1]
            seen = [j for j, other in enumerate(pictures) if j == i or _sees(other, world)]
            if len(seen) > 1:
                xyz.append(world[:3])
                tracks += seen
                starts.append(len(tracks))
    rgb, error = np.zeros((len(xyz), 3), np.uint8), np.zeros(len(xyz))
    sparse = SparsePoints(np.array(xyz), rgb, error, np.array(starts), np.array(tracks, np.int32))
    return Scene(tuple(p.view for p in pictures), sparse)


def dense_inputs(folder: Path, pictures: Sequence[Picture], scene: Scene) -> dict[str, Path]:
    """Write the artifacts that dense_reconstruction reads."""
    (folder / "frames" / "images").mkdir(parents=True)
    for picture in pictures:
        cv2.imwrite(str(folder / "frames" / "images" / picture.view.name), picture.rgb[..., ::-1])
    scene.save(folder / "sparse")
    return {"frame_extraction": folder / "frames", "sparse_reconstruction": folder / "sparse"}


def _sees(picture: Picture, world: Floats) -> bool:
    point = (picture.view.cam_from_world @ world)[:3]
    u, v = picture.view.camera.project(point)
    camera = picture.view.camera
    if point[2] <= 0 or not (0 <= u < camera.width and 0 <= v < camera.height):
        return False
    return bool(abs(picture.depth[int(v), int(u)] - point[2]) < 0.02 * point[2])
