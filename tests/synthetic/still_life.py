"""Hard shapes on a disc of ground, and their depth maps: thin bars, leaves, a niche, a white wall, a ball."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import trimesh

from recon3d.io.depth import write_depth_map
from recon3d.io.ply import write_point_cloud
from recon3d.io.point_visibility import write_visibility
from recon3d.layout import depth_map_file
from recon3d.types import Camera, DepthMap, Mesh, PointCloud, Scene, SparsePoints, View
from tests.synthetic.box import cast
from tests.synthetic.shapes import looking

CAMERA = Camera("PINHOLE", 400, 300, (420.0, 420.0, 200.0, 150.0))
UP = np.array([0.0, 1.0, 0.0])
#: Middle and half size of the part of the wall that is so white that no depth is measured there.
WHITE, WHITE_HALF = np.array([0.0, 0.45, -0.55]), np.array([0.18, 0.12])
#: Middle of the niche's opening, and its half size and depth.
NICHE, NICHE_HALF, NICHE_DEPTH = np.array([0.75, 0.28, 0.25]), np.array([0.15, 0.2]), 0.35
#: Standard deviation of depths at a distance of 1, and degrees by which normals are off.
_NOISE, _TILT = 0.001, 8.0
_VOXEL = 0.006


@dataclass(frozen=True, eq=False)
class StillLife:
    """The truth, and what is known of it.

    Parameters
    ----------
    parts : dict of str to Mesh
        True surfaces.
    scene : Scene
    cloud : PointCloud
        With the views that see each point.
    depths : list of ndarray of float32
    """

    parts: dict[str, Mesh]
    scene: Scene
    cloud: PointCloud
    depths: list[np.ndarray]

    @property
    def truth(self) -> Mesh:
        """All parts together."""
        vertices, faces, count = [], [], 0
        for part in self.parts.values():
            vertices.append(part.vertices)
            faces.append(part.faces + count)
            count += len(part.vertices)
        return Mesh(np.concatenate(vertices), np.concatenate(faces).astype(np.int32))

    def write(self, folder: Path) -> dict[str, Path]:
        """Write the dense stage's folder; the inputs of mesh_generation."""
        self.scene.save(folder)
        for view, depth in zip(self.scene, self.depths, strict=True):
            path = depth_map_file(folder, view.name)
            path.parent.mkdir(exist_ok=True)
            none = np.zeros((*depth.shape, 3), np.float32)
            write_depth_map(path, DepthMap(view.name, view.camera, depth, none, np.ones_like(depth)))
        write_point_cloud(folder / "point_cloud.ply", self.cloud)
        assert self.cloud.view_starts is not None
        assert self.cloud.view_indices is not None
        count = len(self.cloud)
        write_visibility(
            folder / "visibility.npz",
            [np.diff(self.cloud.view_starts)],
            [self.cloud.view_indices],
            count,
            len(self.cloud.view_indices),
        )
        return {"dense_reconstruction": folder}


def still_life(seed: int = 0) -> StillLife:
    """Render the depth maps, with noise and without depths at outlines and on white, and fuse them."""
    rng = np.random.default_rng(seed)
    parts = _parts()
    views = [_view(k, height) for height in (0.7, 1.6) for k in range(12)]
    truth = StillLife(parts, Scene((), _no_points()), PointCloud(np.zeros((0, 3))), []).truth
    a, b, c = (truth.vertices[truth.faces[:, k]] for k in range(3))
    toward = np.cross(b - a, c - a)
    toward /= np.maximum(np.linalg.norm(toward, axis=1, keepdims=True), 1e-12)
    points, normals, seen, depths = [], [], [], []
    for number, view in enumerate(views):
        exact, places, face = cast(truth, view)
        exact = np.where(np.isfinite(exact), exact, 0)
        facing = toward[face]
        depth = exact * (1 + rng.normal(0, _NOISE, exact.shape) * exact)
        white = (np.abs(places[..., :2] - WHITE[:2]) < WHITE_HALF).all(axis=-1)
        depth[(exact <= 0) | _outlines(exact) | (white & (np.abs(places[..., 2] - WHITE[2]) < 0.01))] = 0
        depths.append(depth.astype(np.float32))
        known = depth > 0
        place = (
            places[known] + ((depth / np.maximum(exact, 1e-9) - 1)[..., None] * (places - view.center))[known]
        )
        tilted = facing[known] + rng.normal(0, np.radians(_TILT), place.shape)
        points.append(place)
        normals.append(tilted / np.linalg.norm(tilted, axis=1, keepdims=True))
        seen.append(np.full(len(place), number, np.int32))
    place, normal, view_of = np.concatenate(points), np.concatenate(normals), np.concatenate(seen)
    cloud = _fused(place, normal, view_of)
    return StillLife(parts, Scene(tuple(views), _no_points()), cloud, depths)


def _parts() -> dict[str, Mesh]:
    box, move = trimesh.creation.box, trimesh.transformations.translation_matrix
    ball = trimesh.creation.icosphere(5, 0.3)
    ball.apply_transform(move([-0.75, 0.3, 0.0]))
    bars = []
    for k in range(5):
        bar = trimesh.creation.cylinder(0.015, 0.7, 24)
        bar.apply_transform(trimesh.transformations.rotation_matrix(np.pi / 2, [1, 0, 0]))
        bar.apply_transform(move([-0.3 + 0.15 * k, 0.35, 0.5]))
        bars.append(bar)
    leaves = [trimesh.creation.cylinder(0.012, 0.6, 24)]
    leaves[0].apply_transform(trimesh.transformations.rotation_matrix(np.pi / 2, [1, 0, 0]))
    for k in range(5):
        leaf = trimesh.creation.cylinder(0.09, 0.006, 32)
        leaf.apply_transform(trimesh.transformations.rotation_matrix(np.pi / 2 + 0.5, [1, 0, 0]))
        leaf.apply_transform(move([0, 0.1 + 0.09 * k - 0.15, 0.1]))
        leaf.apply_transform(trimesh.transformations.rotation_matrix(2.4 * k, [0, 1, 0]))
        leaves.append(leaf)
    plant = trimesh.util.concatenate(leaves)
    plant.apply_transform(move([-0.1, 0.3, 0.05]))
    wall = box((0.9, 0.8, 0.08))
    wall.apply_transform(move([0.0, 0.4, WHITE[2] - 0.04]))
    x, y, z = NICHE
    (half, high), deep, side = NICHE_HALF, NICHE_DEPTH, 0.08
    block = [
        box((side, 2 * high + 2 * side, deep + side), move([x - half - side / 2, y, z - (deep + side) / 2])),
        box((side, 2 * high + 2 * side, deep + side), move([x + half + side / 2, y, z - (deep + side) / 2])),
        box((2 * half, side, deep + side), move([x, y + high + side / 2, z - (deep + side) / 2])),
        box((2 * half, side, deep + side), move([x, y - high - side / 2, z - (deep + side) / 2])),
        box((2 * half, 2 * high, side), move([x, y, z - deep - side / 2])),
    ]
    ground = trimesh.creation.cylinder(1.4, 0.02, 96)
    ground.apply_transform(trimesh.transformations.rotation_matrix(np.pi / 2, [1, 0, 0]))
    ground.apply_transform(move([0, -0.01, 0]))
    made = {
        "ball": ball,
        "bars": trimesh.util.concatenate(bars),
        "leaves": plant,
        "niche": trimesh.util.concatenate(block),
        "wall": wall,
        "ground": ground,
    }
    return {
        name: Mesh(np.asarray(part.vertices, np.float64), np.asarray(part.faces, np.int32))
        for name, part in made.items()
    }


def _view(k: int, height: float) -> View:
    angle = 2 * np.pi * (k + 0.5 * (height > 1)) / 12
    center = np.array([2.3 * np.cos(angle), height, 2.3 * np.sin(angle)])
    return looking(center, np.array([0, 0.3, 0]), UP, f"{k:02d}-{height:.1f}.jpg", CAMERA)


def _outlines(depth: np.ndarray) -> np.ndarray:
    """Pixels beside a jump of the depth, which stereo does not measure."""
    near = np.full(depth.shape, np.inf)
    far = np.zeros(depth.shape)
    padded = np.pad(depth, 1, mode="edge")
    for row in range(3):
        for column in range(3):
            part = padded[row : row + depth.shape[0], column : column + depth.shape[1]]
            near, far = np.minimum(near, part), np.maximum(far, part)
    return np.asarray(far - near > 0.05)


def _fused(points: np.ndarray, normals: np.ndarray, views: np.ndarray) -> PointCloud:
    """One mean point in each voxel and of each side, with the views that saw it."""
    side = np.sign(normals[:, np.argmax(np.abs(normals).sum(axis=0))]).astype(np.int64)
    key = np.concatenate([np.floor(points / _VOXEL).astype(np.int64), side[:, None]], axis=1)
    _, group, counts = np.unique(key, axis=0, return_inverse=True, return_counts=True)
    group = group.ravel()
    mean = np.stack([np.bincount(group, points[:, axis]) for axis in range(3)], axis=1) / counts[:, None]
    facing = np.stack([np.bincount(group, normals[:, axis]) for axis in range(3)], axis=1)
    facing /= np.maximum(np.linalg.norm(facing, axis=1, keepdims=True), 1e-12)
    enough = counts >= 2
    pairs = np.unique(np.stack([group, views], axis=1), axis=0)
    pairs = pairs[enough[pairs[:, 0]]]
    starts = np.concatenate([[0], np.cumsum(np.bincount(pairs[:, 0], minlength=len(counts))[enough])])
    colors = np.full((int(enough.sum()), 3), 150, np.uint8)
    return PointCloud(
        mean[enough],
        facing[enough].astype(np.float32),
        colors,
        view_starts=starts.astype(np.int64),
        view_indices=pairs[:, 1].astype(np.int32),
    )


def _no_points() -> SparsePoints:
    return SparsePoints(
        np.zeros((0, 3)),
        np.zeros((0, 3), np.uint8),
        np.zeros(0),
        np.zeros(1, np.int64),
        np.zeros(0, np.int32),
    )
