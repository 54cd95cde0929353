"""What a set of cameras is about."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recon3d.surface.region import every_nth, find_region, nearest_to_axes, usual_distance
from recon3d.types import PointCloud
from tests.synthetic.layouts import LAYOUTS, facade, orbit
from tests.synthetic.shapes import looking, orbit_scene

Y = np.array([0.0, 1.0, 0.0])


@pytest.mark.parametrize("name", sorted(set(LAYOUTS) - {"orbit"}))
def test_all_that_was_filmed_on_purpose_is_kept(name: str) -> None:
    layout = LAYOUTS[name]()
    region = find_region(layout.scene, layout.cloud)
    assert region.kind == "near"
    assert layout.subject.all()
    assert region.inside.all()


def test_an_orbit_leaves_out_the_houses_behind() -> None:
    layout = orbit()
    region = find_region(layout.scene, layout.cloud)
    assert region.kind == "orbit"
    assert np.array_equal(region.inside, layout.subject)
    assert np.count_nonzero(~layout.subject) > 500


def test_an_orbit_on_one_side_keeps_its_background_that_is_well_measured() -> None:
    """Without cameras behind the statue, nothing tells the houses from the subject."""
    layout = orbit()
    half = {index for index, view in enumerate(layout.scene) if view.center[2] > 0.5}
    chosen = sorted(half)
    number = np.full(len(layout.scene), -1, np.int32)
    number[chosen] = np.arange(len(chosen))
    cloud = layout.cloud
    assert cloud.view_starts is not None
    assert cloud.view_indices is not None
    point = np.repeat(np.arange(len(cloud)), np.diff(cloud.view_starts))
    views = number[cloud.view_indices]
    counts = np.bincount(point[views >= 0], minlength=len(cloud))
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    scene = replace(layout.scene, views=tuple(layout.scene.views[index] for index in chosen))
    seen = replace(cloud, view_starts=starts, view_indices=views[views >= 0])
    region = find_region(scene, seen)
    assert region.kind == "near"
    assert region.inside[layout.subject].all()
    assert region.inside[(counts >= 3) & ~layout.subject].mean() > 0.8


def test_an_oblong_ring_keeps_the_ends_of_what_it_surrounds() -> None:
    """Around a car: its ends are further from the middle than the cameras at its sides."""
    layout = orbit()
    stretch = np.array([2.2, 1.0, 1.0])
    views = [looking(view.center * stretch, np.zeros(3), Y, view.name, view.camera) for view in layout.scene]
    end = np.array([[5.0, 0, 0], [0, 0, 5.0]])
    cloud = layout.cloud
    assert cloud.view_starts is not None
    assert cloud.view_indices is not None
    first = cloud.view_indices[: cloud.view_starts[1]]
    count = cloud.view_starts[-1] + len(first) * np.arange(1, 3)
    longer = PointCloud(
        np.concatenate([cloud.points * stretch, end]),
        view_starts=np.concatenate([cloud.view_starts, count]),
        view_indices=np.concatenate([cloud.view_indices, first, first]),
    )
    region = find_region(replace(layout.scene, views=tuple(views)), longer)
    assert region.kind == "orbit"
    assert region.inside[-2:].tolist() == [True, False]


def test_points_far_behind_a_facade_are_left_out_only_when_poorly_measured() -> None:
    layout = facade()
    cloud = layout.cloud
    assert cloud.view_starts is not None
    assert cloud.view_indices is not None
    # Two hills: one that all cameras see, and one that three neighbours see.
    hills = np.array([[0.0, 5, -90], [0.0, 5, -90]])
    views = np.concatenate([cloud.view_indices, np.arange(14), np.arange(3)]).astype(np.int32)
    starts = np.concatenate([cloud.view_starts, cloud.view_starts[-1] + np.array([14, 17])])
    with_hills = PointCloud(np.concatenate([cloud.points, hills]), view_starts=starts, view_indices=views)
    inside = find_region(layout.scene, with_hills).inside
    assert inside[:-2].all()
    assert inside[-2:].tolist() == [True, False]


def test_the_point_nearest_to_the_axes() -> None:
    scene = orbit_scene(16, np.random.default_rng(0).normal(size=(100, 3)), Y)
    axes = np.array([view.cam_from_world[2, :3] for view in scene])
    centers = np.array([view.center for view in scene])
    assert np.allclose(nearest_to_axes(centers, axes), 0, atol=1e-3)
    assert usual_distance(scene, centers) == pytest.approx(4.5, abs=0.4)


def test_every_nth_point_keeps_its_own_views() -> None:
    starts, views = np.array([0, 2, 2, 5]), np.array([7, 8, 1, 2, 3], np.int32)
    thin = every_nth(PointCloud(np.eye(3), view_starts=starts, view_indices=views), 2)
    assert thin.points.tolist() == [[1, 0, 0], [0, 0, 1]]
    assert thin.view_starts is not None
    assert thin.view_indices is not None
    assert thin.view_starts.tolist() == [0, 2, 5]
    assert thin.view_indices.tolist() == [7, 8, 1, 2, 3]


def test_a_cloud_without_points_is_kept() -> None:
    region = find_region(orbit().scene, PointCloud(np.zeros((0, 3))))
    assert region.inside.shape == (0,)


def test_points_that_stand_for_many_decide_as_all_of_them_would() -> None:
    """A cloud that was thinned evenly has more of its points in the background than were measured there."""
    layout = orbit()
    counts = np.where(layout.subject, 50, 1)
    few = np.flatnonzero(layout.subject)[::50]
    keep = np.concatenate([few, np.flatnonzero(~layout.subject)])
    cloud = layout.cloud
    assert cloud.view_starts is not None
    assert cloud.view_indices is not None
    lists = np.split(cloud.view_indices, cloud.view_starts[1:-1])
    starts = np.concatenate([[0], np.cumsum([len(lists[row]) for row in keep])]).astype(np.int64)
    thin = PointCloud(
        cloud.points[keep], view_starts=starts, view_indices=np.concatenate([lists[row] for row in keep])
    )
    assert find_region(layout.scene, thin).kind == "near"
    region = find_region(layout.scene, thin, counts=counts[keep])
    assert region.kind == "orbit"
    assert np.array_equal(region.inside, layout.subject[keep])
