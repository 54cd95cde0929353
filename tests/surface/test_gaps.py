"""Which gaps are closed, and the shape of what closes them."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import pytest

from recon3d.surface import meshing
from recon3d.surface.closing import close_gaps
from recon3d.surface.corners import find_planes
from recon3d.surface.fairing import fair_guesses
from recon3d.surface.free_space import FreeSpace, reduced_maps
from recon3d.types import Camera, Mesh, PointCloud
from tests.benchmarks.surface_faults import border
from tests.surface.whole import surface_from_points
from tests.synthetic.shapes import grid_mesh, looking, sphere_cloud

CAMERA = Camera("PINHOLE", 120, 120, (200.0, 200.0, 60.0, 60.0))


def _sheets(*sheets: tuple[int, float, Sequence[float], Sequence[float]], step: float) -> PointCloud:
    """Rectangles of points: axis and sign of the normal, low and high corner."""
    points, normals = [], []
    for axis, sign, low, high in sheets:
        lines = [
            np.arange(a, b + step / 2, step) if b > a else np.array([a])
            for a, b in zip(low, high, strict=True)
        ]
        part = np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1).reshape(-1, 3)
        points.append(part)
        normals.append(np.tile(sign * np.eye(3, dtype=np.float32)[axis], (len(part), 1)))
    return PointCloud(np.concatenate(points), np.concatenate(normals))


def test_at_the_foot_of_a_wall_planes_go_on_until_they_meet() -> None:
    rng = np.random.default_rng(0)
    cloud = _sheets((0, 1.0, (0, 0, -1), (0, 1, 1)), (1, 1.0, (0, 0, -1), (1, 0, 1)), step=0.01)
    x, y, z = cloud.points.T
    noise = rng.normal(0, 0.002, (len(cloud), 1)) * cloud.normals
    unseen = (np.hypot(x, y) < 0.15) & (np.abs(z) < 0.1)
    cloud = PointCloud(cloud.points + noise, cloud.normals).subset(~unseen)
    mesh, _, _ = surface_from_points(cloud)
    assert mesh.guessed is not None
    gap = mesh.vertices[mesh.guessed & (np.abs(mesh.vertices[:, 2]) < 0.07)]
    assert len(gap) > 50
    # A slope from rim to rim would be 0.075 away from both.
    assert np.abs(gap[:, :2]).min(axis=1).max() < 0.015
    assert border(mesh, ((-0.2, -0.2, -0.7), (0.5, 0.5, 0.7))).edges == 0


def test_gaps_that_are_wide_for_the_detail_stay_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where places of a large scene lie far apart, closing them at its detail takes gigabytes."""
    sheet = _sheets((2, 1.0, (0, 0, 0), (1, 1, 0)), step=0.01)
    hole = (np.abs(sheet.points[:, :2] - 0.5) < 0.08).all(axis=1)
    cloud = sheet.subset(~hole)
    inside = ((0.4, 0.4, -0.1), (0.6, 0.6, 0.1))
    closed, _, _ = surface_from_points(cloud)
    assert border(closed, inside).edges == 0
    monkeypatch.setattr(meshing, "_WIDEST_CELLS", 12)
    opened, _, facts = surface_from_points(cloud)
    assert facts["cell"] * 12 < 0.16
    assert border(opened, inside).edges > 20


def test_walls_that_meet_far_above_get_a_lid_and_no_spire() -> None:
    """A thin slab without a top, whose sides lean in by three degrees."""
    sides = [(axis, sign, [-0.4, -0.4, -0.07], [0.4, 0.0, 0.07]) for axis in range(3) for sign in (-1.0, 1.0)]
    for axis, sign, low, high in sides:
        low[axis] = high[axis] = (low if sign < 0 else high)[axis]
    slab, _, _ = surface_from_points(_sheets(*sides, step=0.01), faces=20_000)
    x, y, z = slab.vertices.T
    slab = Mesh(np.column_stack([x, y, z * (1 - 0.75 * (y + 0.4))]), slab.faces)
    lid = fair_guesses(slab, y > -0.04)
    assert lid.vertices[:, 1].max() < 0.0


@pytest.mark.parametrize("height", [-5.0, 1.6])
def test_a_crown_is_round_where_it_hides_and_flat_where_photos_would_have_seen_it(height: float) -> None:
    """Views without a depth, from below or from the side."""
    sides = [np.array([5 * np.cos(angle), height, 5 * np.sin(angle)]) for angle in np.arange(0, 6, 0.5)]
    up, top = np.array([0, 1.0, 0]), np.array([0, 0.7, 0])
    depth = np.zeros((120, 120), np.float32)
    poses = [looking(place, top, up, "v", CAMERA).cam_from_world for place in sides]
    free = FreeSpace(reduced_maps((depth, CAMERA, pose) for pose in poses))
    ball, _, _ = surface_from_points(sphere_cloud(6000), faces=10_000)
    gap = np.linalg.norm(ball.vertices - [0, 1, 0], axis=1) < 0.8
    mesh = fair_guesses(ball, gap, functools.partial(free.exposure, radius=0.02))
    crown = mesh.vertices[np.hypot(mesh.vertices[:, 0], mesh.vertices[:, 2]) < 0.1, 1].max()
    assert (0.7 < crown < 1.0) if height < 0 else crown < 0.68


def test_noise_in_a_gap_neither_keeps_it_open_nor_holds_it() -> None:
    sheet = grid_mesh(2.0, cells=80)
    radius = np.linalg.norm(sheet.vertices, axis=1)
    speck, hole = np.linalg.norm(sheet.vertices - [0.1, 0, 0], axis=1) < 0.04, radius < 0.3
    mesh, guessed = close_gaps(sheet, ~hole | speck, np.zeros(len(radius), bool), 1.0)
    assert len(mesh.faces) == len(sheet.faces)
    assert guessed[hole].all()
    few = np.linalg.norm(sheet.vertices - [-0.1, 0, 0], axis=1) < 0.03
    mesh, guessed = close_gaps(sheet, ~hole, few, 1.0)
    assert len(mesh.faces) == len(sheet.faces)
    many = np.linalg.norm(sheet.vertices - [-0.1, 0, 0], axis=1) < 0.15
    mesh, guessed = close_gaps(sheet, ~hole, many, 1.0)
    assert not guessed.any()
    mesh, guessed = close_gaps(sheet, ~hole, few, 0.5)
    assert not guessed.any()


@pytest.mark.parametrize(
    ("length", "width", "closes"), [(1.2, 0.2, True), (1.2, 0.6, False), (1.8, 0.2, False)]
)
def test_a_long_gap_is_closed_where_it_is_narrow(length: float, width: float, closes: bool) -> None:
    sheet = grid_mesh(2.0, cells=80)
    x, _, z = np.abs(sheet.vertices).T
    slot = (x < length / 2) & (z < width / 2)
    mesh, guessed = close_gaps(sheet, ~slot, np.zeros(len(x), bool), 0.8)
    assert (len(mesh.faces) == len(sheet.faces)) == closes
    assert guessed.any() == closes


def test_planes_are_found_in_a_rim_and_noise_is_in_none() -> None:
    rng = np.random.default_rng(0)
    normals = np.repeat(np.eye(3)[:2], (120, 60), axis=0) + rng.normal(0, 0.03, (180, 3))
    centers = rng.uniform(-1, 1, (180, 3))
    centers[:120, 0] = centers[120:, 1] = 0
    centers[5, 0] = 0.5
    label, planes = find_planes(normals / np.linalg.norm(normals, axis=1, keepdims=True), centers, 0.1)
    assert label[5] not in (0, 1)
    assert (np.delete(label[:120], 5) == 0).all()
    assert (label[120:] == 1).all()
    assert np.allclose(planes[:2], np.eye(3)[:2], atol=0.02)
