"""Depth maps of rendered scenes, with bounds on the errors of depth and normals."""

from __future__ import annotations

import numpy as np
import pytest

from recon3d.mvs.initial import inverse_depth_bounds, planes_from_points
from recon3d.mvs.maps import normals_of
from recon3d.mvs.source_selection import source_views
from recon3d.mvs.stereo import PlaneMap, StereoImage, refine_planes, tone_mapped
from recon3d.mvs.sweeps import Sweeps
from recon3d.types import Camera
from tests.synthetic.scenes import Plane, Sphere, arc, render, scene_of

SCHEDULE = (
    Sweeps(1, 3, areas=8, variations=4, step=4.0, tilt=1.0),
    Sweeps(
        0, 1, areas=4, variations=2, step=0.5, tilt=0.15, views="inherited", narrow=True, polish=(0.5, 0.25)
    ),
)
WALL = Plane(np.array([0.0, 0.0, -1.0]), -0.6)


def estimate(pictures, seed=0, points=60):
    scene = scene_of(pictures, points)
    reference, *sources = (p.stereo for p in pictures)
    point_of = np.repeat(np.arange(len(scene.points)), np.diff(scene.points.track_starts))
    xyz = scene.points.xyz[point_of[scene.points.track_views == 0]]
    pose = reference.cam_from_world
    points_cam = xyz @ pose[:3, :3].T + pose[:3, 3]
    bounds = inverse_depth_bounds(points_cam)
    state = planes_from_points(points_cam, reference.reduced(1).camera, bounds, seed)
    planes = PlaneMap.from_state(state)
    return refine_planes(reference, sources, planes, bounds, SCHEDULE, best_views=2, seed=seed)


def errors(pictures, planes):
    """Relative errors of depth, and angles between the normals in degrees, of what is seen."""
    truth = pictures[0]
    seen = truth.depth > 0
    seen[:6] = seen[-6:] = False
    seen[:, :6] = seen[:, -6:] = False
    depth = np.abs(1 / planes.state[0] - truth.depth)[seen] / truth.depth[seen]
    cosine = (normals_of(planes.state, truth.view.camera) * truth.normal).sum(-1)[seen]
    return depth, np.degrees(np.arccos(np.clip(cosine, -1, 1)))


@pytest.mark.parametrize("normal", [[0.0, 0.0, -1.0], [0.5, 0.0, -0.87], [-0.3, 0.5, -0.81]])
def test_slanted_plane(normal):
    pictures = [render([Plane(np.array(normal) / np.linalg.norm(normal), 0.0)], view) for view in arc(4)]
    depth, angle = errors(pictures, estimate(pictures))
    assert np.median(depth) < 0.001
    assert np.percentile(depth, 95) < 0.006
    assert np.median(angle) < 6


def test_sphere_before_a_wall():
    pictures = [render([Sphere(np.zeros(3), 0.55), WALL], view) for view in arc(5)]
    planes = estimate(pictures)
    depth, angle = errors(pictures, planes)
    assert np.median(depth) < 0.0015
    assert np.mean(depth < 0.01) > 0.9
    assert np.median(angle) < 10


def test_thin_bar_keeps_its_depth():
    bar = Plane(np.array([0.0, 0.0, -1.0]), 0.3, np.array([0.0, 0.0, -0.3]), np.array([0.09, 0.7, 1.0]))
    pictures = [render([bar, WALL], view) for view in arc(5)]
    planes = estimate(pictures)
    on_bar = pictures[0].depth < 3.0
    assert on_bar.sum() > 400
    assert np.mean(np.abs(1 / planes.state[0] - pictures[0].depth)[on_bar] < 0.05) > 0.8


def test_exposure_does_not_matter():
    views = arc(4)
    pictures = [
        render([WALL], view, exposure=e) for view, e in zip(views, (1.0, 0.7, 1.3, 0.85), strict=True)
    ]
    depth, _ = errors(pictures, estimate(pictures))
    assert np.median(depth) < 0.0015
    assert np.mean(depth < 0.01) > 0.95


def test_weak_texture():
    pictures = [render([WALL], view, contrast=0.06) for view in arc(4)]
    depth, _ = errors(pictures, estimate(pictures))
    assert np.mean(depth < 0.02) > 0.85


def test_few_sparse_points_suffice():
    pictures = [render([Sphere(np.zeros(3), 0.55), WALL], view) for view in arc(5)]
    depth, _ = errors(pictures, estimate(pictures, points=3))
    assert np.mean(depth < 0.02) > 0.8


def test_same_seed_same_bits_other_seed_other_bits():
    pictures = [render([WALL], view) for view in arc(3)]
    first, second, other = estimate(pictures), estimate(pictures), estimate(pictures, seed=1)
    assert np.array_equal(first.state, second.state)
    assert np.array_equal(first.cost, second.cost)
    assert not np.array_equal(first.state, other.state)


def test_neighbours_maps_pull_a_wrong_depth_right():
    pictures = [render([WALL], view, contrast=0.0) for view in arc(3)]  # nothing to see but noise
    reference, *sources = (p.stereo for p in pictures)
    state = np.zeros((3, 120, 160), np.float32)
    state[0] = (1 / pictures[0].depth) * 1.02
    maps = [(1 / p.depth).astype(np.float32) for p in pictures[1:]]
    schedule = [Sweeps(0, 3, areas=4, variations=4, step=1.0, tilt=0.05)]
    bounds = (0.2, 0.5)
    free = refine_planes(reference, sources, PlaneMap.from_state(state), bounds, schedule, best_views=1)
    tied = refine_planes(
        reference, sources, PlaneMap.from_state(state), bounds, schedule, best_views=1,
        inverse_depths=maps, geometric_weight=0.5,
    )  # fmt: skip
    assert np.median(errors(pictures, tied)[0]) < 0.25 * np.median(errors(pictures, free)[0])


def test_what_was_given_up_does_not_replace_what_costs_more():
    pictures = [render([WALL], view) for view in arc(3)]
    reference, *sources = (p.stereo for p in pictures)
    state = np.zeros((3, 120, 160), np.float32)
    state[0] = (1 / pictures[0].depth) * 1.3
    nowhere = [np.zeros((1, 1), np.float32)] * 2  # costs three pixels of disagreement everywhere
    made = refine_planes(
        reference, sources, PlaneMap.from_state(state), (0.2, 0.5),
        [Sweeps(0, 1, areas=4, variations=2, step=1.0, tilt=0.05)],
        best_views=1, inverse_depths=nowhere, geometric_weight=1.0,
    )  # fmt: skip
    assert made.cost[40:80, 60:100].min() >= 3 - 1e-3


def test_planes_are_polished_without_a_search():
    pictures = [render([WALL], view) for view in arc(3)]
    reference, *sources = (p.stereo for p in pictures)
    state = np.zeros((3, 120, 160), np.float32)
    state[0] = 1 / pictures[0].depth * 1.003
    only = Sweeps(0, 0, areas=0, variations=0, step=0.0, tilt=0.0, polish=(0.5, 0.25))
    polished = refine_planes(
        reference, sources, PlaneMap.from_state(state), (0.2, 0.5), [only], best_views=2, seed=2**60
    )
    before = np.median(errors(pictures, PlaneMap.from_state(state))[0])
    assert np.median(errors(pictures, polished)[0]) < 0.4 * before


def test_tone_curve_is_monotonic_and_spreads_the_dark():
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    toned = tone_mapped(ramp)[0].astype(int)
    assert (np.diff(toned) >= 0).all()
    assert toned[0] == 0
    assert toned[255] == 255
    assert toned[40] - toned[20] > 1.5 * 20


def test_resizing_keeps_a_plane():
    camera = Camera.pinhole(40, 30, np.array([[50.0, 0, 20], [0, 50.0, 15], [0, 0, 1]]))
    x, y = np.meshgrid(np.arange(40), np.arange(30))
    state = np.stack([0.3 + 0.001 * x - 0.002 * y, np.full((30, 40), 0.001), np.full((30, 40), -0.002)])
    planes = PlaneMap.from_state(state).resized(80, 60)
    X, Y = np.meshgrid((np.arange(80) + 0.5) / 2 - 0.5, (np.arange(60) + 0.5) / 2 - 0.5)
    assert planes.state[0] == pytest.approx(0.3 + 0.001 * X - 0.002 * Y, abs=1e-6)
    half = StereoImage(np.zeros((30, 40), np.uint8), camera, np.eye(4)).reduced(1)
    assert half.gray.shape == (15, 20)
    assert half.K[0, 2] == pytest.approx(20 / 2 - 0.5)


def test_sources_are_near_views_with_shared_points():
    pictures = [render([Sphere(np.zeros(3), 0.55), WALL], view) for view in arc(7)]
    scene = scene_of(pictures)
    sources = source_views(scene, 3)
    assert set(sources[0]) <= {1, 2, 3, 4}
    assert all(i not in chosen for i, chosen in enumerate(sources))


def test_bounds_hold_the_points():
    points = np.random.default_rng(0).uniform([-1, -1, 2], [1, 1, 4], (100, 3))
    low, high = inverse_depth_bounds(points)
    assert low < 1 / 4
    assert high > 1 / 2


@pytest.mark.parametrize("points", [np.zeros((0, 3)), np.array([[0, 0, 2.0]]), np.array([[0, 0, 2.0]] * 5)])
def test_start_from_hardly_any_points(points):
    camera = Camera.pinhole(40, 30, np.array([[50.0, 0, 20], [0, 50.0, 15], [0, 0, 1]]))
    state = planes_from_points(points, camera, (0.2, 1.0), 0)
    assert np.isfinite(state).all()
    assert (state[0] >= 0.2).all()
    assert (state[0] <= 1.0).all()
