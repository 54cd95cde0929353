"""Clouds that are larger than memory are thinned part by part while they are read."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import cKDTree

from recon3d.errors import InputError
from recon3d.io.ply import write_point_cloud
from recon3d.io.point_visibility import write_visibility
from recon3d.layout import POINT_CLOUD, VISIBILITY
from recon3d.stages.cloud_reading import joined_spans, read_at_most, spans_of, thinned_span
from recon3d.types import PointCloud


def written(folder: Path, count: int, seed: int = 0) -> PointCloud:
    """A noisy sphere of radius 1 and, at x = 5, a patch with a hundredth of its density."""
    rng = np.random.default_rng(seed)
    normals = rng.normal(size=(count, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    points = normals * (1 + 0.01 * rng.normal(size=(count, 1)))
    few = rng.choice(count, count // 100, replace=False)
    points[few] = np.column_stack([np.full(len(few), 5.0), rng.uniform(0, 3, (len(few), 2))])
    colors = np.full((count, 3), 200, np.uint8)
    colors[few] = 50
    write_point_cloud(folder / POINT_CLOUD, PointCloud(points, normals.astype(np.float32), colors))
    seen = rng.integers(2, 6, count)
    views = np.repeat(colors[:, 0].astype(np.int32), seen)  # told by the views, too
    write_visibility(folder / VISIBILITY, [seen], [views], count, int(seen.sum()))
    return PointCloud(points.astype(np.float32).astype(np.float64), None, colors)


def test_a_cloud_that_fits_is_read_as_it_is(tmp_path: Path) -> None:
    cloud = written(tmp_path, 1000)
    read = read_at_most(tmp_path, 1000)
    assert np.array_equal(read.cloud.points, cloud.points)
    assert read.cloud.view_starts is not None
    assert len(read.cloud.view_starts) == 1001
    assert read.counts.tolist() == [1] * 1000
    assert read_at_most(tmp_path, 1000, views=False).cloud.view_starts is None


@pytest.mark.parametrize("part", [7000, 100_000])
def test_a_larger_one_is_thinned_evenly(tmp_path: Path, part: int) -> None:
    cloud = written(tmp_path, 50_000)
    read = read_at_most(tmp_path, 10_000, part=part)
    thin = read.cloud
    assert 4000 <= len(thin) <= 10_000
    assert read.counts.sum() == 50_000
    # Where there are few points, nearly all stay; nowhere does the distance grow beyond some voxels.
    far = thin.points[:, 0] > 4
    assert far.sum() > 0.6 * 500
    assert cKDTree(thin.points).query(cloud.points)[0].max() < 0.1
    # Means have less noise than points, and their own colours and views.
    near = thin.points[~far]
    assert np.abs(np.linalg.norm(near, axis=1) - 1).std() < 0.009
    assert thin.colors is not None
    assert thin.view_starts is not None
    assert thin.view_indices is not None
    assert np.array_equal(thin.colors[:, 0] == 50, far)
    assert np.array_equal(np.repeat(far, np.diff(thin.view_starts)), thin.view_indices == 50)
    assert np.allclose(np.linalg.norm(thin.normals, axis=1), 1, atol=1e-3)


def test_spans_read_by_themselves_become_one_cloud(tmp_path: Path) -> None:
    cloud = written(tmp_path, 50_000)
    spans = spans_of(50_000, 17_000)
    assert spans == [(0, 17_000), (17_000, 34_000), (34_000, 50_000)]
    made = [thinned_span(tmp_path, span, 5000, part=7000) for span in spans]
    assert all(len(sums) <= 5000 for sums, _ in made)
    largest = max(voxel for _, voxel in made)
    read = joined_spans((sums for sums, _ in made), largest, 10_000, part=3000)
    thin = read.cloud
    assert 4000 <= len(thin) <= 10_000
    assert read.counts.sum() == 50_000
    far = thin.points[:, 0] > 4
    assert far.sum() > 0.6 * 500
    assert cKDTree(thin.points).query(cloud.points)[0].max() < 0.1
    assert thin.view_starts is not None
    assert thin.view_indices is not None
    assert np.array_equal(np.repeat(far, np.diff(thin.view_starts)), thin.view_indices == 50)
    # With room for all, spans are the cloud itself.
    made = [thinned_span(tmp_path, span, 50_000, part=7000) for span in spans]
    whole = joined_spans((sums for sums, _ in made), 0.0, 50_000)
    assert np.allclose(np.sort(whole.cloud.points, axis=0), np.sort(cloud.points, axis=0))


def test_a_box_needs_only_its_spans(tmp_path: Path) -> None:
    cloud = written(tmp_path, 20_000)
    low, high = np.array([-0.4, -2.0, -2.0]), np.array([0.5, 2.0, 2.0])
    inside = ((cloud.points >= low) & (cloud.points <= high)).all(axis=1)
    read = read_at_most(tmp_path, 20_000, part=3000, box=(low, high))
    assert read.counts.sum() == inside.sum()
    half = read_at_most(tmp_path, 20_000, part=3000, box=(low, high), spans=[(4000, 9000), (15_000, 20_000)])
    assert half.counts.sum() == inside[4000:9000].sum() + inside[15_000:].sum()
    nothing = read_at_most(tmp_path, 20_000, box=(low + 50, high + 50))
    assert len(nothing.cloud) == 0


@pytest.mark.parametrize("count", [1, 5])
def test_one_place_measured_often_is_one_point(tmp_path: Path, count: int) -> None:
    points = np.ones((count, 3))
    write_point_cloud(tmp_path / POINT_CLOUD, PointCloud(points, points.astype(np.float32)))
    write_visibility(
        tmp_path / VISIBILITY, [np.ones(count, np.int64)], [np.zeros(count, np.int32)], count, count
    )
    read = read_at_most(tmp_path, count, part=2, box=(np.zeros(3), 2 * np.ones(3)))
    assert read.counts.sum() == count
    assert np.array_equal(np.unique(read.cloud.points, axis=0), [[1, 1, 1]])


def test_memory_does_not_grow_with_the_cloud(tmp_path: Path) -> None:
    peaks = []
    for count in (100_000, 400_000):
        written(tmp_path, count)
        tracemalloc.start()
        read_at_most(tmp_path, 20_000, part=10_000)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]
    assert peaks[1] < 400 * 30_000


@pytest.mark.parametrize("name", [POINT_CLOUD, VISIBILITY])
def test_a_damaged_file_is_an_error(tmp_path: Path, name: str) -> None:
    written(tmp_path, 5000)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-20_000])
    with pytest.raises(InputError, match=name):
        read_at_most(tmp_path, 1000, part=700)
