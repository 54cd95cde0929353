"""The stage on a rendered scene: products, resuming, errors, less memory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recon3d.compute import InlineContext
from recon3d.errors import OutOfMemory, TooFewViews
from recon3d.io.depth import read_depth_map
from recon3d.io.ply import read_point_cloud
from recon3d.options import DenseReconstructionOptions
from recon3d.stages.dense_reconstruction import plane_tasks
from recon3d.stages.dense_reconstruction import stage as dense_reconstruction
from recon3d.stages.dense_reconstruction import view_tasks as _dense_tasks
from recon3d.types import Scene, SparsePoints
from tests.synthetic.scenes import Plane, Sphere, arc, dense_inputs, render, scene_of

WALL = Plane(np.array([0.0, 0.0, -1.0]), -0.6)
OPTIONS = DenseReconstructionOptions(max_image_size=160, num_sources=4, iterations=2)


@pytest.fixture(scope="module")
def pictures():
    return [render([Sphere(np.zeros(3), 0.55), WALL], view) for view in arc(5)]


@pytest.fixture
def inputs(tmp_path, pictures):
    return dense_inputs(tmp_path, pictures, scene_of(pictures))


def run(inputs, out, options=OPTIONS, context=None):
    out.mkdir(exist_ok=True)
    context = context or InlineContext()
    dense_reconstruction.run(inputs, options, out, context)
    return context


@pytest.fixture(scope="module")
def finished(tmp_path_factory, pictures):
    folder = tmp_path_factory.mktemp("dense")
    context = run(dense_inputs(folder, pictures, scene_of(pictures)), folder / "out")
    return folder / "out", context


def test_products(finished, pictures):
    out, context = finished
    assert sorted(p.name for p in out.iterdir()) == [
        ".tmp-work", "depth_maps", "point_cloud.ply", "points.npz", "preview.png", "scene.json",
        "visibility.npz",
    ]  # fmt: skip
    scene = Scene.load(out)
    assert [v.name for v in scene] == [p.view.name for p in pictures]
    assert all(v.camera.is_pinhole and v.camera.width == 160 for v in scene)
    cloud = read_point_cloud(out / "point_cloud.ply")
    with np.load(out / "visibility.npz") as visibility:
        starts, indices = visibility["view_starts"], visibility["view_indices"]
    assert len(starts) == len(cloud) + 1
    assert starts[-1] == len(indices)
    assert (np.diff(starts) >= 2).all()
    assert indices.max() < 5
    first = indices[starts[0] : starts[1]]
    assert (np.diff(first) > 0).all()
    assert context.counts["depth_maps"] == 5
    assert context.counts["points"] == len(cloud)


def test_progress_goes_once_from_nothing_to_all(inputs, tmp_path):
    seen = []
    context = InlineContext()
    context.emit = lambda done, total, unit, message: seen.append((done, total, unit))
    run(inputs, tmp_path / "out", context=context)
    done = [progress[0] for progress in seen]
    assert {progress[1:] for progress in seen} == {(100, "%")}
    assert done == sorted(done)
    assert (done[0], done[-1]) == (0, 100)
    # Loading the images is little work, and matching is most of it.
    assert sum(1 < value < 10 for value in done) >= 3
    assert sum(10 < value < 90 for value in done) >= 8


def test_depth_maps_are_right(finished, pictures):
    for picture in pictures:
        made = read_depth_map(finished[0] / "depth_maps" / f"{picture.view.name}.npz")
        known = (made.depth > 0) & (picture.depth > 0)
        error = np.abs(made.depth - picture.depth)[known] / picture.depth[known]
        assert known.mean() > 0.6
        assert np.median(error) < 0.002
        assert np.mean(error < 0.01) > 0.97


def test_cloud_lies_on_the_surface(finished):
    cloud = read_point_cloud(finished[0] / "point_cloud.ply")
    to_sphere = np.abs(np.linalg.norm(cloud.points, axis=1) - 0.55)
    to_wall = np.abs(cloud.points[:, 2] - 0.6)
    assert np.mean(np.minimum(to_sphere, to_wall) < 0.02) > 0.97
    outward = cloud.points[to_sphere < 0.01] / 0.55
    assert np.median((outward * cloud.normals[to_sphere < 0.01]).sum(1)) > 0.95


@pytest.mark.parametrize("rounds", [1, 2])
def test_a_cut_off_run_reuses_whole_maps_and_gives_the_same(rounds, finished, inputs, tmp_path, monkeypatch):
    options = OPTIONS.model_copy(update={"geometric_iterations": rounds})
    whole = _dense_tasks.filter_view
    calls = []

    def breaks(task):
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append(task.view.name)
        whole(task)

    monkeypatch.setattr(_dense_tasks, "filter_view", breaks)
    with pytest.raises(KeyboardInterrupt):
        run(inputs, tmp_path / "out", options)
    monkeypatch.setattr(_dense_tasks, "filter_view", whole)
    matched = []
    match = plane_tasks.match
    monkeypatch.setattr(plane_tasks, "match", lambda task: matched.append(match(task)))
    run(inputs, tmp_path / "out", options)
    assert matched == []
    uncut = finished[0] if options == OPTIONS else tmp_path / "uncut"
    if options != OPTIONS:
        run(inputs, uncut, options)
    for name in ("point_cloud.ply", "visibility.npz"):
        assert (tmp_path / "out" / name).read_bytes() == (uncut / name).read_bytes()


def test_less_memory_means_less_resolution(inputs, tmp_path, monkeypatch):
    match = plane_tasks.match

    def needy(task):
        if task.view.camera.width > 130:
            raise OutOfMemory("Not enough memory.", "Use less.")
        match(task)

    monkeypatch.setattr(plane_tasks, "match", needy)
    monkeypatch.setattr(dense_reconstruction, "_SMALLEST", 64)
    context = run(inputs, tmp_path / "out")
    assert context.counts["max_image_size"] == 112
    assert len(context.fallbacks) == 1
    assert Scene.load(tmp_path / "out").views[0].camera.width == 112
    assert not (tmp_path / "out" / ".work").exists()


def test_not_enough_memory_at_any_size(inputs, tmp_path, monkeypatch):
    def never(task):
        raise OutOfMemory("Not enough memory.", "Use less.")

    monkeypatch.setattr(plane_tasks, "match", never)
    with pytest.raises(OutOfMemory):
        run(inputs, tmp_path / "out")


def test_a_view_that_shares_nothing_is_left_out(pictures, tmp_path):
    scene = scene_of(pictures)
    points = scene.points
    point_of = np.repeat(np.arange(len(points)), np.diff(points.track_starts))
    keep = points.track_views != 4
    starts = np.concatenate([[0], np.cumsum(np.bincount(point_of[keep], minlength=len(points)))])
    scene = replace(scene, points=replace(points, track_views=points.track_views[keep], track_starts=starts))
    context = run(dense_inputs(tmp_path, pictures, scene), tmp_path / "out")
    assert context.counts["views_without_sources"] == 1
    assert context.counts["depth_maps"] == 4
    assert len(list((tmp_path / "out" / "depth_maps").iterdir())) == 4
    assert len(Scene.load(tmp_path / "out")) == 5


def test_no_shared_points_is_too_few_views(pictures, tmp_path):
    scene = replace(scene_of(pictures), points=SparsePoints.empty())
    with pytest.raises(TooFewViews, match="share enough points") as caught:
        run(dense_inputs(tmp_path, pictures, scene), tmp_path / "out")
    assert caught.value.hint


def test_a_surface_without_texture_is_too_few_views(tmp_path):
    blank = [render([WALL], view, contrast=0.0) for view in arc(3)]
    blank = [replace(p, rgb=np.full_like(p.rgb, 128)) for p in blank]
    with pytest.raises(TooFewViews, match="No surface point"):
        run(dense_inputs(tmp_path, blank, scene_of(blank)), tmp_path / "out")
