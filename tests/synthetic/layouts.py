"""How people stand to what they film: cameras, points, and which camera sees which point.

Each layout is made of flat patches and balls. A camera sees the points whose front it faces, inside
its picture, that nothing solid hides. `Layout.subject` says which points were filmed on purpose.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from recon3d.types import Camera, PointCloud, Scene, SparsePoints, View
from tests.synthetic.shapes import looking

Floats = NDArray[np.float64]

Y = np.array([0.0, 1.0, 0.0])
_CAMERA = Camera("PINHOLE", 640, 480, (480.0, 480.0, 320.0, 240.0))


@dataclass(frozen=True, eq=False)
class Layout:
    """A scene and its cloud.

    Parameters
    ----------
    scene : Scene
        Its sparse points are the cloud's.
    cloud : PointCloud
        With normals, colours and views.
    subject : ndarray of bool, shape (N,)
        Points that were filmed on purpose.
    """

    scene: Scene
    cloud: PointCloud
    subject: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class _Part:
    points: Floats
    normals: Floats
    subject: bool = True
    #: Middle and radius of what hides other things.
    ball: tuple[Floats, float] | None = None


def orbit(seed: int = 0) -> Layout:
    """Once around a statue on a square, with houses far behind."""
    rng = np.random.default_rng(seed)
    parts = [_ball(rng, (0, 0.2, 0), 1.0, 3000), _ground(rng, 1.9, -0.8, 800)]
    parts += [_away(part) for part in _walls(rng, 30.0, 30.0, -0.8, 12.0, 500)]
    stands = [(4.0 * _round(k / 24) + [0, 0.5 + 0.3 * (k % 3), 0], np.zeros(3)) for k in range(24)]
    return _layout(parts, stands)


def facade(seed: int = 0) -> Layout:
    """Along a house and, at both ends, turned towards it, so that axes meet."""
    rng = np.random.default_rng(seed)
    parts = [_patch(rng, (-12, 0, -8), (24, 0, 0), (0, 9, 0), 3000)]
    stands = [(np.array([x, 1.6, 0]), np.array([0.7 * x, 4.0, -8])) for x in np.linspace(-10, 10, 14)]
    return _layout(parts, stands)


def room(seed: int = 0) -> Layout:
    """A furnished room from its walls: all cameras look across its middle."""
    rng = np.random.default_rng(seed)
    parts = [*_walls(rng, 6.0, 4.0, 0.0, 2.7, 700), _ground(rng, 2.0, 0.0, 500)]
    parts.append(_ball(rng, (0, 0.5, 0), 0.5, 300))
    stands = [
        (_round(k / 20) * [2.7, 0, 1.8] + [0, 1.5, 0], np.array([0.3 * np.sin(k), 1.3, 0])) for k in range(20)
    ]
    return _layout(parts, stands)


def courtyard(seed: int = 0) -> Layout:
    """Four facades from within: some cameras look across the middle, some at the wall beside them."""
    rng = np.random.default_rng(seed)
    parts = [*_walls(rng, 30.0, 30.0, 0.0, 9.0, 2000), _ground(rng, 8.0, 0.0, 2000)]
    across = [(9.0 * _round(k / 24) + [0, 1.7, 0], np.array([0, 2.2, 0])) for k in range(24)]
    beside = [(5.0 * _round(k / 6) + [0, 1.7, 0], 15.0 * _round(k / 6) + [0, 4, 0]) for k in range(6)]
    return _layout(parts, across + beside)


def corridor(seed: int = 0) -> Layout:
    """There and back again."""
    rng = np.random.default_rng(seed)
    parts = [*_walls(rng, 24.0, 2.2, 0.0, 2.6, 900), _ground(rng, 1.1, 0.0, 200)]
    stands = [(np.array([x, 1.5, 0.2]), np.array([x + 4, 1.4, 0])) for x in np.arange(-10, 6, 1.0)]
    stands += [(np.array([-x, 1.5, -0.2]), np.array([-x - 4, 1.4, 0])) for x in np.arange(-10, 6, 1.0)]
    return _layout(parts, stands)


def terrain(seed: int = 0) -> Layout:
    """Strips from above, and a circle that looks inwards, as drones fly it."""
    rng = np.random.default_rng(seed)
    parts = [_ground(rng, 90.0, 0.0, 4000)]
    x, z = np.meshgrid(np.linspace(-60, 60, 6), np.linspace(-60, 60, 5))
    stands = [
        (np.array([a, 60.0, b]), np.array([a, 0, b + 0.1])) for a, b in zip(x.flat, z.flat, strict=True)
    ]
    stands += [(45.0 * _round(k / 10) + [0, 60, 0], np.zeros(3)) for k in range(10)]
    return _layout(parts, stands)


def two_objects(seed: int = 0) -> Layout:
    """Around one thing, then around another beside it."""
    rng = np.random.default_rng(seed)
    middles = [np.array([-3.5, 0, 0.0]), np.array([3.5, 0, 0.0])]
    parts = [_ball(rng, tuple(middle), 1.0, 1500) for middle in middles]
    parts.append(_ground(rng, 7.0, -1.0, 1200))
    stands = [(middle + 3.0 * _round(k / 16) + [0, 1, 0], middle) for middle in middles for k in range(16)]
    return _layout(parts, stands)


LAYOUTS: dict[str, Callable[[], Layout]] = {
    "orbit": orbit,
    "facade": facade,
    "room": room,
    "courtyard": courtyard,
    "corridor": corridor,
    "terrain": terrain,
    "two objects": two_objects,
}


def _round(part: float) -> Floats:
    return np.array([np.sin(2 * np.pi * part), 0, np.cos(2 * np.pi * part)])


def _patch(
    rng: np.random.Generator, corner: Sequence[float], along: Sequence[float], up: Sequence[float], count: int
) -> _Part:
    """A flat patch whose front is along x up."""
    u, v = rng.uniform(size=(2, count, 1))
    points = np.asarray(corner, float) + u * np.asarray(along, float) + v * np.asarray(up, float)
    normal = np.cross(along, up)
    return _Part(points, np.tile(normal / np.linalg.norm(normal), (count, 1)))


def _walls(
    rng: np.random.Generator, length: float, width: float, foot: float, height: float, count: int
) -> list[_Part]:
    """Four walls around the origin that face inwards."""
    x, z = length / 2, width / 2
    corners = [(-x, foot, -z), (x, foot, -z), (x, foot, z), (-x, foot, z)]
    walls = []
    for index, corner in enumerate(corners):
        along = np.subtract(corners[(index + 1) % 4], corner)
        share = float(np.linalg.norm(along)) / max(length, width)
        walls.append(_patch(rng, corner, along, (0, height, 0), int(count * share)))
    return walls


def _ground(rng: np.random.Generator, half: float, height: float, count: int) -> _Part:
    return _patch(rng, (-half, height, half), (2 * half, 0, 0), (0, 0, -2 * half), count)


def _ball(rng: np.random.Generator, middle: Sequence[float], radius: float, count: int) -> _Part:
    normals = rng.normal(size=(count, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    center = np.asarray(middle, float)
    return _Part(center + radius * normals, normals, ball=(center, radius))


def _away(part: _Part) -> _Part:
    return replace(part, subject=False)


def _layout(parts: Sequence[_Part], stands: Sequence[tuple[Floats, Floats]]) -> Layout:
    views = [looking(at, target, Y, f"{k:03d}.jpg", _CAMERA) for k, (at, target) in enumerate(stands)]
    points = np.concatenate([part.points for part in parts])
    normals = np.concatenate([part.normals for part in parts])
    balls = [part.ball for part in parts if part.ball is not None]
    seen = np.stack([_sees(view, points, normals, balls) for view in views], axis=1)
    subject = np.concatenate([np.full(len(part.points), part.subject) for part in parts])
    keep = seen.sum(axis=1) >= 3
    points, normals, seen, subject = points[keep], normals[keep], seen[keep], subject[keep]
    starts = np.concatenate([[0], np.cumsum(seen.sum(axis=1))]).astype(np.int64)
    indices = np.nonzero(seen)[1].astype(np.int32)
    rgb = np.round(127 * (normals + 1)).astype(np.uint8)
    sparse = SparsePoints(points, rgb, np.full(len(points), 0.5), starts, indices)
    cloud = PointCloud(points, normals.astype(np.float32), rgb, starts, indices)
    return Layout(Scene(tuple(views), sparse), cloud, subject)


def _sees(
    view: View, points: Floats, normals: Floats, balls: Sequence[tuple[Floats, float]]
) -> NDArray[np.bool_]:
    x, y, depth = (points @ view.cam_from_world[:3, :3].T + view.cam_from_world[:3, 3]).T
    camera, K = view.camera, view.camera.K
    with np.errstate(divide="ignore", invalid="ignore"):
        u, v = K[0, 0] * x / depth + K[0, 2], K[1, 1] * y / depth + K[1, 2]
    rays = points - view.center
    length = np.linalg.norm(rays, axis=1, keepdims=True)
    rays = rays / length
    seen: NDArray[np.bool_] = (depth > 0) & (u > 0) & (u < camera.width) & (v > 0) & (v < camera.height)
    seen &= np.einsum("nc,nc->n", rays, normals) < -0.15
    for middle, radius in balls:
        nearest = rays @ (middle - view.center)
        gap = np.linalg.norm(middle - view.center - nearest[:, None] * rays, axis=1)
        seen &= ~((gap < 0.98 * radius) & (nearest > 0) & (nearest < length[:, 0] - 0.5 * radius))
    return seen
