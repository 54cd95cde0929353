"""What the pictures are about: the points of a cloud that deserve a surface.

Depth maps also reach the houses behind a statue. Their few points would stretch the octree and the
model's bounds. They are told from walls that are the subject by how the cameras stand to them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from recon3d.threads import ALONE, Threads
from recon3d.types import Floats, Ints, PointCloud, Scene

Mask = NDArray[np.bool_]

#: An orbit has a camera in every sector of this many degrees around its middle, and not all of them
#: above it: the mean of the unit vectors from the middle to the cameras is shorter than this.
_WIDEST_GAP, _LONGEST_MEAN = 150.0, 0.65
#: Cosine between axis and direction to the middle that four fifths of an orbit's cameras exceed.
_AIMED = 0.95
#: This part of half the image's shorter side around the axis shows what a camera was aimed at.
_CENTER = 0.25
#: Shares of what an orbit's cameras are aimed at, and of all points, that lie inside the ring.
_LEAST_AIMED, _LEAST_INSIDE = 0.6, 0.5
#: Around an orbit's middle, up to this share of the cameras' distance in that direction is kept.
_REACH = 0.75
_NEIGHBORS = 4
#: Elsewhere, points at most this many times the usual distance from the nearest camera are near.
_FAR = 3.0
#: Root of the summed squared angles between a point's rays and their mean from which it is well
#: measured: half a pixel in a thousand then moves it by 1 % of its distance.
_PARALLAX = 0.05
#: Points that decide on the layout, and points that are looked at together.
_SAMPLE, _BLOCK = 200_000, 200_000


@dataclass(frozen=True)
class Extent:
    """How far what deserves a surface reaches.

    Parameters
    ----------
    kind : {"orbit", "near"}
        Whether the cameras surround what they look at.
    far : float
        Where they do not, points further than this from the nearest camera are far away.
    """

    kind: Literal["orbit", "near"]
    far: float


@dataclass(frozen=True, eq=False)
class Region:
    """The points of a cloud that deserve a surface.

    Parameters
    ----------
    inside : ndarray of bool, shape (N,)
    extent : Extent
    """

    inside: Mask
    extent: Extent

    @property
    def kind(self) -> str:
        """Whether the cameras surround what they look at, as `Extent` tells."""
        return self.extent.kind


def find_region(
    scene: Scene, cloud: PointCloud, threads: Threads = ALONE, counts: NDArray[np.int64] | None = None
) -> Region:
    """Find the points that a scene's cameras are about.

    Only cameras that surround what they look at make an orbit: they stand on all sides, look at a
    common middle, see something between them there, and most points lie inside their ring. What
    lies outside is then background. Cameras in a courtyard or a room look past the middle, and
    everything counts but the points that are both far away and poorly measured.

    Parameters
    ----------
    scene : Scene
    cloud : PointCloud
        With the views that see each point.
    threads : Threads, optional
    counts : ndarray of int64, shape (N,), optional
        Measured points that each stands for; by default one.

    Returns
    -------
    Region
    """
    extent = _extent(scene, cloud, counts)
    return Region(points_within(extent, scene, cloud, threads), extent)


def _extent(scene: Scene, cloud: PointCloud, counts: NDArray[np.int64] | None) -> Extent:
    if not len(cloud) or not len(scene):
        return Extent("near", float("inf"))
    ring = _Ring(scene)
    sample = _sampled(cloud, counts)
    if ring.closed and _surrounds(ring, scene, sample):
        return Extent("orbit", 0.0)
    return Extent("near", _FAR * _usual_distance(sample, ring.centers))


def points_within(extent: Extent, scene: Scene, cloud: PointCloud, threads: Threads = ALONE) -> Mask:
    """Tell which points deserve a surface.

    Parameters
    ----------
    extent : Extent
    scene : Scene
    cloud : PointCloud
        With the views that see each point. It may be a part of the one whose region was found.
    threads : Threads, optional

    Returns
    -------
    ndarray of bool, shape (N,)
    """
    if not len(cloud) or not len(scene):
        return np.ones(len(cloud), bool)
    ring = _Ring(scene)
    if extent.kind == "orbit":
        return _in_parts(lambda points: ring.contains(points, _REACH), cloud, threads)
    centers, far = ring.centers, extent.far
    tree = cKDTree(centers)
    inside = _in_parts(lambda points: np.asarray(tree.query(points)[0] <= far), cloud, threads)
    doubtful = np.flatnonzero(~inside)
    for start in range(0, len(doubtful), _BLOCK):
        rows = doubtful[start : start + _BLOCK]
        inside[rows] = _parallax(_rows(cloud, rows), centers) >= _PARALLAX
    return inside


def _sampled(cloud: PointCloud, counts: NDArray[np.int64] | None) -> PointCloud:
    if counts is None:
        return every_nth(cloud, -(-len(cloud) // _SAMPLE))
    total = int(counts.sum())
    places = np.arange(0, total, -(-total // _SAMPLE))
    return _rows(cloud, np.searchsorted(np.cumsum(counts), places, side="right"))


def _in_parts(test: Callable[[Floats], Mask], cloud: PointCloud, threads: Threads) -> Mask:
    inside = np.empty(len(cloud), bool)

    def part(start: int, stop: int) -> None:
        for begin in range(start, stop, _BLOCK):
            rows = slice(begin, min(begin + _BLOCK, stop))
            inside[rows] = test(cloud.points[rows])

    threads.run(part, count=len(cloud), least=50_000)
    return inside


class _Ring:
    """The cameras, seen from the point that is nearest to their axes."""

    def __init__(self, scene: Scene) -> None:
        self.centers = np.array([view.center for view in scene])
        self.axes = np.array([view.cam_from_world[2, :3] for view in scene])
        self.middle = nearest_to_axes(self.centers, self.axes)
        toward = self.centers - self.middle
        self.distance = np.maximum(np.linalg.norm(toward, axis=1), 1e-12)
        self.directions = toward / self.distance[:, None]

    @property
    def closed(self) -> bool:
        """Whether the cameras look at the middle from sides that face each other."""
        ahead = -np.einsum("nc,nc->n", self.axes, self.directions)
        if len(self.centers) < 4 or np.quantile(ahead, 0.2) < _AIMED:
            return False
        if np.linalg.norm(self.directions.mean(axis=0)) > _LONGEST_MEAN:
            return False
        offsets = self.centers - self.centers.mean(axis=0)
        plane = np.linalg.svd(offsets, full_matrices=False)[2][:2]
        angle = np.sort(np.degrees(np.arctan2(*(self.directions @ plane.T).T)))
        return bool(np.diff(np.append(angle, angle[0] + 360)).max() < _WIDEST_GAP)

    def contains(self, points: Floats, reach: float) -> Mask:
        """Points closer to the middle than `reach` times the cameras in that direction."""
        offset = points - self.middle
        distance = np.linalg.norm(offset, axis=1)
        count = min(_NEIGHBORS, len(self.centers))
        tree = cKDTree(self.directions)
        _, near = tree.query(offset / np.maximum(distance, 1e-12)[:, None], k=count, workers=1)
        inside: Mask = distance <= reach * self.distance[near.reshape(-1, count)].max(axis=1)
        return inside


def _surrounds(ring: _Ring, scene: Scene, cloud: PointCloud) -> bool:
    """Whether what the cameras are aimed at lies between them, and with it most of the points."""
    inside = ring.contains(cloud.points, 1.0)
    if inside.mean() < _LEAST_INSIDE:
        return False
    point, views, rays, _ = _rays(cloud, ring.centers)
    half = np.array([_half_angle_tangent(scene, index) for index in range(len(scene))])
    cosine = np.einsum("nc,nc->n", rays, ring.axes[views])
    aimed = cosine >= 1 / np.sqrt(1 + (_CENTER * half[views]) ** 2)
    return bool(aimed.any() and inside[point[aimed]].mean() >= _LEAST_AIMED)


def _half_angle_tangent(scene: Scene, index: int) -> float:
    camera = scene.views[index].camera
    return float(min(camera.width / camera.K[0, 0], camera.height / camera.K[1, 1])) / 2


def _parallax(cloud: PointCloud, centers: Floats) -> Floats:
    """Root of the summed squared angles between each point's rays and their mean, shape (N,)."""
    point, _, rays, _ = _rays(cloud, centers)
    count = np.bincount(point, minlength=len(cloud))
    sums = np.stack([np.bincount(point, rays[:, axis], len(cloud)) for axis in range(3)], axis=1)
    squares = count - (sums**2).sum(axis=1) / np.maximum(count, 1)
    parallax: Floats = np.sqrt(np.maximum(squares, 0))
    return parallax


def _usual_distance(cloud: PointCloud, centers: Floats) -> float:
    _, _, _, length = _rays(cloud, centers)
    return float(np.median(length)) if len(length) else float("inf")


def _rays(cloud: PointCloud, centers: Floats) -> tuple[Ints, Ints, Floats, Floats]:
    """Of each observation its point, its view, the unit vector to the point, and the distance."""
    starts, views = _lists(cloud)
    point = np.repeat(np.arange(len(cloud), dtype=np.int32), np.diff(starts))
    rays = cloud.points[point] - centers[views]
    length = np.linalg.norm(rays, axis=1)
    return point, views, rays / np.maximum(length, 1e-12)[:, None], length


def _lists(cloud: PointCloud) -> tuple[NDArray[np.int64], Ints]:
    if cloud.view_starts is None or cloud.view_indices is None:
        return np.zeros(len(cloud) + 1, np.int64), np.zeros(0, np.int32)
    return cloud.view_starts, cloud.view_indices


def every_nth(cloud: PointCloud, step: int) -> PointCloud:
    """Take every so many-th point of a cloud, with the views that see it.

    Parameters
    ----------
    cloud : PointCloud
    step : int

    Returns
    -------
    PointCloud
        Without normals and colours.
    """
    return _rows(cloud, np.arange(0, len(cloud), step))


def _rows(cloud: PointCloud, rows: NDArray[np.int64]) -> PointCloud:
    starts, views = _lists(cloud)
    counts = np.diff(starts)[rows]
    ends = np.cumsum(counts)
    places = np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts[:-1][rows] - (ends - counts), counts)
    return PointCloud(
        cloud.points[rows],
        view_starts=np.concatenate([np.zeros(1, np.int64), ends]),
        view_indices=views[places],
    )


def nearest_to_axes(centers: Floats, axes: Floats) -> Floats:
    """Find the point with the least squared distance to the cameras' optical axes.

    Parameters
    ----------
    centers : ndarray of float64, shape (N, 3)
        Positions of the cameras.
    axes : ndarray of float64, shape (N, 3)
        Unit vectors.

    Returns
    -------
    ndarray of float64, shape (3,)
    """
    across = np.eye(3) - axes[:, :, None] * axes[:, None, :]
    # Parallel axes leave the depth open; a little weight on the centres decides it.
    normal = across.sum(axis=0) + 1e-6 * len(centers) * np.eye(3)
    point: Floats = np.linalg.solve(
        normal, np.einsum("nab,nb->a", across, centers) + 1e-6 * centers.sum(axis=0)
    )
    return point


def usual_distance(scene: Scene, centers: Floats) -> float:
    """Compute the median distance from the cameras to the sparse points that they see.

    Parameters
    ----------
    scene : Scene
    centers : ndarray of float64, shape (N, 3)
        Positions of the cameras.

    Returns
    -------
    float
    """
    points = scene.points
    return _usual_distance(
        PointCloud(points.xyz, view_starts=points.track_starts, view_indices=points.track_views), centers
    )
