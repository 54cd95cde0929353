"""Views that dense stereo does not need."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recon3d.mvs.redundancy import needed_views
from recon3d.mvs.source_selection import source_views
from recon3d.types import Camera, Scene, SparsePoints, View

CAMERA = Camera("PINHOLE", 200, 200, (200.0, 200.0, 100.0, 100.0))


def looking_at(center: np.ndarray, target: np.ndarray, camera: Camera = CAMERA) -> View:
    forward = (target - center) / np.linalg.norm(target - center)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward])
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation, -rotation @ center
    return View(f"{center}.png", camera, pose)


def orbit(count: int, radius: float = 4.0, height: float = 0.0, turn: float = 360.0) -> list[View]:
    """Views round the origin, evenly spaced."""
    angles = np.radians(np.arange(count) * turn / count)
    centers = np.stack([radius * np.cos(angles), radius * np.sin(angles), np.full(count, height)], axis=1)
    return [looking_at(center, np.zeros(3)) for center in centers]


def scene_of(views: list[View], points: np.ndarray, reach: float = 35.0) -> Scene:
    """Points of a unit ball round the origin, seen by views that look at them from within `reach` degrees."""
    centers = np.array([view.center for view in views])
    rays = centers[None] - points[:, None]
    rays /= np.linalg.norm(rays, axis=2, keepdims=True)
    out = points / np.linalg.norm(points, axis=1, keepdims=True)
    seen = np.sum(rays * out[:, None], axis=2) > np.cos(np.radians(reach))
    for v, view in enumerate(views):
        local = points @ view.cam_from_world[:3, :3].T + view.cam_from_world[:3, 3]
        pixels = view.camera.project(local)
        seen[:, v] &= (local[:, 2] > 0) & np.all((pixels >= 0) & (pixels < 200), axis=1)
    starts = np.concatenate([[0], np.cumsum(seen.sum(axis=1))]).astype(np.int64)
    views_of = np.nonzero(seen)[1].astype(np.int32)
    colors = np.zeros((len(points), 3), np.uint8)
    errors = np.zeros(len(points))
    return Scene(tuple(views), SparsePoints(points, colors, errors, starts, views_of))


@pytest.fixture(scope="module")
def ball() -> np.ndarray:
    points = np.random.default_rng(0).normal(size=(1200, 3))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def test_of_a_slow_orbit_evenly_spaced_views_are_left(ball):
    kept = needed_views(scene_of(orbit(120), ball), 8.0, 4)
    gaps = np.diff(np.append(np.flatnonzero(kept), np.flatnonzero(kept)[0] + 120)) * 3.0
    assert 30 <= kept.sum() <= 45
    assert gaps.max() <= 12


def test_of_a_fast_orbit_all_views_are_needed(ball):
    assert needed_views(scene_of(orbit(30), ball), 8.0, 4).all()


def test_few_views_are_all_needed(ball):
    assert needed_views(scene_of(orbit(24, turn=48), ball), 8.0, 4).all()


def test_what_only_one_view_sees_is_kept(ball):
    views = [*orbit(90), looking_at(np.array([0.5, 0.0, 4.0]), np.zeros(3))]
    kept = needed_views(scene_of(views, ball), 8.0, 4)
    assert kept[90]
    assert kept.sum() < 60


def test_a_close_view_is_needed_among_far_ones(ball):
    views = [*orbit(90), *orbit(1, radius=2.0)]
    assert needed_views(scene_of(views, ball), 8.0, 4)[90]


def test_longer_lenses_are_needed(ball):
    tele = replace(CAMERA, params=(320.0, 320.0, 100.0, 100.0))
    views = [*orbit(90), looking_at(np.array([4.0, 0.1, 0.0]), np.zeros(3), tele)]
    assert needed_views(scene_of(views, ball), 8.0, 4)[90]


def test_views_that_had_sources_keep_them(ball):
    views = orbit(120)
    scene = scene_of(views, ball, reach=8.0)
    kept = needed_views(scene, 8.0, 4)
    before, after = source_views(scene, 4), source_views(scene, 4, kept)
    assert all(len(after[i]) >= min(4, len(before[i])) for i in np.flatnonzero(kept))
    assert all(kept[j] for sources in after for j in sources)
    assert all(len(after[i]) == 0 for i in np.flatnonzero(~kept))


def test_views_from_one_direction_leave_enough_for_stereo(ball):
    # All within 8 degrees: every view is seen alike by others, and stereo still needs several.
    kept = needed_views(scene_of(orbit(60, turn=8), ball), 8.0, 4)
    assert kept.sum() >= 24


def test_half_of_the_angle_keeps_twice_as_many(ball):
    scene = scene_of(orbit(180), ball)
    assert needed_views(scene, 4.0, 4).sum() > 1.5 * needed_views(scene, 8.0, 4).sum()
    assert needed_views(scene, 0.0, 4).all()


def test_a_blurred_view_is_not_kept_for_its_neighbours(ball):
    scene = scene_of(orbit(120), ball)
    before = needed_views(scene, 8.0, 4)
    blurred = int(np.flatnonzero(before)[3])
    points = scene.points
    # Of its points one in four is left.
    keep = (points.track_views != blurred) | (np.arange(len(points.track_views)) % 4 == 0)
    point_of = np.repeat(np.arange(len(points)), np.diff(points.track_starts))[keep]
    starts = np.concatenate([[0], np.cumsum(np.bincount(point_of, minlength=len(points)))])
    fewer = replace(points, track_views=points.track_views[keep], track_starts=starts)
    after = needed_views(replace(scene, points=fewer), 8.0, 4)
    assert not after[blurred]
    assert after.sum() < 50


def test_views_without_points_are_needed():
    assert needed_views(Scene(tuple(orbit(40)), SparsePoints.empty()), 8.0, 4).all()
