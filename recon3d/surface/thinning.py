"""The points of a cloud as a surface can use them: thinned, without noise, with their spacing."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from recon3d.errors import ReconstructionError
from recon3d.kernels import kernel
from recon3d.surface.bounds import bounds
from recon3d.surface.ordering import stable_order
from recon3d.surface.poisson import PointLevels, octree_depth, point_levels
from recon3d.threads import ALONE, Threads
from recon3d.types import Floats, Floats32, Ints, PointCloud

Mask = NDArray[np.bool_]

_NEIGHBORS = 8
#: A point whose neighbours are this many times further than is usual around it is noise.
_OUTLIER = 3.0
_MARGIN = 1.1
#: Triangles that a cell on the surface gives, about.
_FACES_PER_CELL = 2.4
#: Triangles before decimation for each one kept: fewer would lose detail.
_SPARE = 4.0
LEAST_POINTS = 100
#: Points that are enough to tell a surface's area.
_AREA_SAMPLE = 300_000
#: Points that are enough to tell their noise.
_NOISE_SAMPLE = 50_000
#: Voxels that a square of their size on a surface of any direction touches, about.
_VOXELS_PER_CELL = 1.5
#: Side of the voxels in which points are averaged, in cells, and the most that one of them weighs.
_THIN, _MOST_WEIGHT = 0.5, 8
#: Per cent of the points that are not counted at each end when the model is measured.
_OUTER = 2.0
#: Points that are worth a thread.
_LEAST = 20_000
#: Points whose neighbours are looked for together.
_TOGETHER = 500_000


@dataclass(frozen=True)
class Spacing:
    """How far apart points are.

    Parameters
    ----------
    local : ndarray of float64, shape (N,)
        Distance of each point to its neighbours.
    typical : float
        Median of `local`.
    """

    local: Floats
    typical: float


def neighbors(points: Floats, threads: Threads = ALONE) -> tuple[Floats32, Ints]:
    """Find each point's nearest neighbours.

    Parameters
    ----------
    points : ndarray of float64, shape (N, 3)
    threads : Threads, optional

    Returns
    -------
    distances : ndarray of float32, shape (N, K)
    near : ndarray of int32, shape (N, K)
        The point itself first.
    """
    count = min(_NEIGHBORS + 1, len(points))
    distances, near = np.empty((len(points), count), np.float32), np.empty((len(points), count), np.int32)
    tree = cKDTree(points, balanced_tree=False)  # built in half the time
    for start in range(0, len(points), _TOGETHER):
        part = slice(start, start + _TOGETHER)
        distances[part], near[part] = tree.query(points[part], k=count, workers=threads.count)
    return distances, near


def spacing_of(distances: Floats32) -> Spacing:
    """Side of the square that each point has to itself.

    Parameters
    ----------
    distances : ndarray of float32, shape (N, K)
        As `neighbors` gives them.

    Returns
    -------
    Spacing
    """
    # On a surface the k-th neighbour is sqrt(k / pi) such sides away.
    squares = np.einsum("nk,nk->n", distances[:, 1:], distances[:, 1:], dtype=np.float64)
    local = np.sqrt(squares / (distances.shape[1] - 1) * 2 * np.pi / (_NEIGHBORS + 1))
    return Spacing(local, float(np.median(local)))


def lonely(spacing: Spacing, near: Ints, threads: Threads = ALONE) -> Mask:
    """Tell which points are much lonelier than their neighbours.

    Parameters
    ----------
    spacing : Spacing
    near : ndarray of int32, shape (N, K)
        As `neighbors` gives them.
    threads : Threads, optional

    Returns
    -------
    ndarray of bool, shape (N,)
    """
    alone, most = np.empty(len(near), bool), 3.0 * spacing.typical
    scratch = functools.partial(_near_scratch, near.shape[1])
    given = (spacing.local, near, _OUTLIER, most, alone)
    threads.run(_find_lonely, *given, count=len(near), least=_LEAST, scratch=scratch)
    return alone


def _near_scratch(count: int) -> tuple[Floats]:
    return (np.empty(count),)


@kernel(_nrt=False)
def _find_lonely(
    local: Any, near: Any, times: float, most: float, alone: Any, ordered: Any, start: int, stop: int
) -> None:  # pragma: no cover
    """Compare each point's spacing with the median around it."""
    count = len(ordered)
    for p in range(start, stop):
        for k in range(count):
            value, at = local[near[p, k]], k
            while at > 0 and ordered[at - 1] > value:
                ordered[at] = ordered[at - 1]
                at -= 1
            ordered[at] = value
        usual = (ordered[(count - 1) // 2] + ordered[count // 2]) / 2
        alone[p] = local[p] >= times * min(usual, most)


def noise_of(cloud: PointCloud, near: Ints) -> float:
    """Measure how far points lie in front of or behind the mean of their neighbours.

    Parameters
    ----------
    cloud : PointCloud
        With normals.
    near : ndarray of int32, shape (N, K)
        As `neighbors` gives them.

    Returns
    -------
    float
        Median of the distances along the normals.
    """
    assert cloud.normals is not None
    rows = slice(None, None, max(1, len(cloud) // _NOISE_SAMPLE))
    away = cloud.points[rows] - cloud.points[near[rows, 1:]].mean(axis=1)
    return float(np.median(np.abs(np.einsum("nc,nc->n", cloud.normals[rows], away))))


def cell_size(cloud: PointCloud, faces: int, threads: Threads = ALONE, crowd: float = 1.0) -> float:
    """Choose the distance of the grid's vertices for a surface of about `faces` triangles.

    It is about the points' spacing, but no smaller than leaves some times the triangles that are kept
    in the end: finer grids cost much and are decimated away.

    Parameters
    ----------
    cloud : PointCloud
    faces : int
    threads : Threads, optional
    crowd : float
        Measured points that each stands for.

    Returns
    -------
    float
    """
    area, typical = _area_and_spacing(cloud, threads)
    apart = typical / math.sqrt(crowd)
    return max(apart, math.sqrt(_FACES_PER_CELL * area / (_SPARE * faces)), 1e-12)


def _area_and_spacing(cloud: PointCloud, threads: Threads) -> tuple[float, float]:
    """The surface's area and the typical spacing, from a part of the points: each stands for more of it."""
    step = max(1, len(cloud) // _AREA_SAMPLE)
    part = spacing_of(neighbors(cloud.points[::step], threads)[0])
    area = float((np.minimum(part.local, 4 * part.typical) ** 2).sum())
    return area, part.typical / np.sqrt(step)


@dataclass(frozen=True)
class Grid:
    """Of what size a surface was made.

    Parameters
    ----------
    octree_depth : int
        The grid has two to the power of this many vertices along a side.
    cell : float
        Their distance.
    diagonal : float
        Of the points, without the outer ones.
    noise : float
        Of the points, in cells.
    """

    octree_depth: int
    cell: float
    diagonal: float
    noise: float


@dataclass(frozen=True)
class Scale:
    """What all parts of a surface have in common.

    Parameters
    ----------
    cell : float
        Distance of the grid's vertices.
    diagonal : float
        Of the points, without the outer ones.
    """

    cell: float
    diagonal: float


@dataclass(frozen=True, eq=False)
class SurfacePoints:
    """Points of which a surface is made.

    Parameters
    ----------
    cloud : PointCloud
        With normals.
    weights : ndarray of float32, shape (N,)
        Trust in each.
    spacing : Spacing
        Of them.
    grid : Grid
    levels : PointLevels
        At which they act.
    """

    cloud: PointCloud
    weights: Floats32
    spacing: Spacing
    grid: Grid
    levels: PointLevels


def surface_points(
    cloud: PointCloud,
    *,
    faces: int = 200_000,
    depth: int = 0,
    scale: Scale | None = None,
    threads: Threads = ALONE,
) -> SurfacePoints:
    """Thin an oriented cloud to what the grid can use.

    Parameters
    ----------
    cloud : PointCloud
        With normals that point outwards.
    faces : int
        Triangles that are wanted in the end, about.
    depth : int
        The grid has two to the power of this many vertices along a side; 0 chooses by `cell_size`.
    scale : Scale, optional
        Of the whole, if the cloud is a part of it.
    threads : Threads, optional

    Returns
    -------
    SurfacePoints

    Raises
    ------
    ReconstructionError
        There are too few points, or they have no normals.
    """
    check_enough(cloud, LEAST_POINTS)
    cell = scale.cell if scale else wanted_cell(cloud, faces, depth, threads)
    used, counts = thinned(cloud, _THIN * cell, threads)
    check_enough(used, _NEIGHBORS + 1)
    del cloud
    distances, near = neighbors(used.points, threads)
    spacing = spacing_of(distances)
    keep = ~lonely(spacing, near, threads)
    noise = noise_of(used, near)
    del distances, near
    used, counts, spacing = used.subset(keep), counts[keep], Spacing(spacing.local[keep], spacing.typical)
    diagonal = scale.diagonal if scale else diagonal_of(used.points)
    weights = np.minimum(counts, _MOST_WEIGHT).astype(np.float32)
    grid = Grid(octree_depth(used.points, cell), cell, diagonal, noise / cell)
    return SurfacePoints(used, weights, spacing, grid, point_levels(used.points, cell, threads))


def check_enough(cloud: PointCloud, least: int) -> None:
    """Check that a cloud has enough points for a surface.

    Parameters
    ----------
    cloud : PointCloud
    least : int
        Points that are needed.

    Raises
    ------
    ReconstructionError
        There are too few points, or they have no normals.
    """
    if len(cloud) < least or cloud.normals is None:
        raise ReconstructionError(
            f"{len(cloud)} points are too few for a surface.",
            "Take more images that overlap, or use a higher quality.",
        )


def wanted_cell(
    cloud: PointCloud, faces: int, depth: int, threads: Threads = ALONE, crowd: float = 1.0
) -> float:
    """Tell the distance of the grid's vertices.

    Parameters
    ----------
    cloud : PointCloud
    faces : int
        Triangles that are wanted in the end, about.
    depth : int
        The grid has two to the power of this many vertices along a side; 0 chooses by `cell_size`.
    threads : Threads, optional
    crowd : float
        Measured points that each stands for.

    Returns
    -------
    float
    """
    if not depth:
        return cell_size(cloud, faces, threads, crowd)
    low, high = bounds(cloud.points)
    side: float = float((high - low).max())
    return side * _MARGIN / 2.0**depth


def diagonal_of(points: Floats) -> float:
    """Measure points, without the outer ones.

    Parameters
    ----------
    points : ndarray of float64, shape (N, 3)

    Returns
    -------
    float
        Diagonal of the box around them.
    """
    low, high = np.percentile(points, [_OUTER, 100 - _OUTER], axis=0)
    return float(np.linalg.norm(high - low))


def at_most(cloud: PointCloud, count: int, threads: Threads = ALONE) -> PointCloud:
    """Thin a cloud evenly over its surface, so that trees over it fit in memory.

    Parameters
    ----------
    cloud : PointCloud
    count : int
        Most points of the result, about.
    threads : Threads, optional

    Returns
    -------
    PointCloud
    """
    if len(cloud) <= count:
        return cloud
    area, _ = _area_and_spacing(cloud, threads)
    return thinned(cloud, float(np.sqrt(_VOXELS_PER_CELL * area / count)), threads)[0]


def thinned(
    cloud: PointCloud, voxel: float, threads: Threads = ALONE
) -> tuple[PointCloud, NDArray[np.int64]]:
    """Compute one mean point, normal and colour in each voxel: the grid cannot use more.

    Parameters
    ----------
    cloud : PointCloud
    voxel : float
        Side of a voxel.
    threads : Threads, optional

    Returns
    -------
    cloud : PointCloud
    counts : ndarray of int64, shape (N,)
        Points that each is the mean of.
    """
    low, high = bounds(cloud.points)
    size = np.floor((high - low) / voxel).astype(np.int64) + 1
    key = np.empty(len(cloud), np.int64)
    threads.run(_number_voxels, cloud.points, low, voxel, size, key, count=len(key), least=_LEAST)
    order = stable_order(key)
    starts = np.flatnonzero(np.diff(key[order], prepend=-1))
    ends = np.append(starts, len(key))
    del key

    def mean(values: NDArray[Any]) -> Floats:
        means = np.empty((len(starts), 3))
        threads.run(_average, values, order, ends, means, count=len(starts), least=_LEAST)
        return means

    normals: NDArray[np.float32] | None = None
    colors: NDArray[np.uint8] | None = None
    if cloud.normals is not None:
        sums = mean(cloud.normals)
        length = np.sqrt(np.einsum("nc,nc->n", sums, sums))[:, None]
        normals = (sums / np.maximum(length, 1e-12)).astype(np.float32)
    if cloud.colors is not None:
        colors = np.round(mean(cloud.colors)).astype(np.uint8)
    return PointCloud(mean(cloud.points), normals, colors), np.diff(ends)


@kernel(_nrt=False)
def _number_voxels(
    points: Any, low: Any, voxel: float, size: Any, key: Any, start: int, stop: int
) -> None:  # pragma: no cover
    for p in range(start, stop):
        number = 0
        for axis in range(3):
            number = number * size[axis] + np.int64(math.floor((points[p, axis] - low[axis]) / voxel))
        key[p] = number


@kernel(_nrt=False)
def _average(
    values: Any, order: Any, ends: Any, means: Any, start: int, stop: int
) -> None:  # pragma: no cover
    for v in range(start, stop):
        x = y = z = 0.0
        for at in range(ends[v], ends[v + 1]):
            row = order[at]
            x += values[row, 0]
            y += values[row, 1]
            z += values[row, 2]
        count = ends[v + 1] - ends[v]
        means[v, 0], means[v, 1], means[v, 2] = x / count, y / count, z / count
