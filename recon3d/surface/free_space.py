"""Which places the photos see through.

A depth map that shows something behind a place says that the place is empty. Poisson's surface knows
nothing of that: it closes gaps that the photos look through.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recon3d.kernels import kernel
from recon3d.threads import ALONE, Threads
from recon3d.types import Camera, Floats, Floats32

Votes = NDArray[np.int32]

#: Known depths that a pixel and its eight neighbours need: all of them. At the edge of what is known, a depth
#: may be wrong, and the unknown pixel beside it may show something nearer.
_KNOWN = 9
#: Cosine between a surface's normal and the ray to a camera that sees it.
_GRAZING = 0.25
#: Pixels along the side of a block that `SmallMap` has one depth of.
_BLOCK = 2
#: Pixels of all maps that are kept, at most.
_MOST_PIXELS = 64_000_000
#: Points that are enough to tell a pixel's usual size.
_PIXEL_SAMPLE = 50_000
#: Points that are worth a thread.
_LEAST = 10_000


def count_empty(
    points: Floats,
    margin: Floats,
    maps: Iterable[SmallMap],
    threads: Threads = ALONE,
) -> tuple[Votes, Votes]:
    """Count the views that see through each point, and those that see something at it.

    A view sees through a point when every known depth around its pixel is larger than the point's by
    more than `margin`. One that looks at something in front of the point says nothing.

    Parameters
    ----------
    points : ndarray of float64, shape (N, 3)
    margin : ndarray of float64, shape (N,)
        By how much depths must differ; also how near to a point a depth counts as being at it.
    maps : iterable of SmallMap
    threads : Threads, optional

    Returns
    -------
    empty, solid : ndarray of int32, shape (N,)
    """
    empty, solid = np.zeros(len(points), np.int32), np.zeros(len(points), np.int32)
    for small in maps:
        seen = (small.depth, small.intrinsics, small.cam_from_world)
        threads.run(_vote, points, margin, *seen, empty, solid, count=len(points), least=_LEAST)
    return empty, solid


@kernel(_nrt=False)
def _vote(
    points: Any,
    margin: Any,
    depth: Any,
    intrinsics: Any,
    pose: Any,
    empty: Any,
    solid: Any,
    start: int,
    stop: int,
) -> None:  # pragma: no cover
    height, width = depth.shape
    for i in range(start, stop):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        far = pose[2, 0] * x + pose[2, 1] * y + pose[2, 2] * z + pose[2, 3]
        if far <= 0:
            continue
        across = pose[0, 0] * x + pose[0, 1] * y + pose[0, 2] * z + pose[0, 3]
        down = pose[1, 0] * x + pose[1, 1] * y + pose[1, 2] * z + pose[1, 3]
        column = math.floor(intrinsics[0, 0] * across / far + intrinsics[0, 2])
        row = math.floor(intrinsics[1, 1] * down / far + intrinsics[1, 2])
        if column < 1 or row < 1 or column >= width - 1 or row >= height - 1 or depth[row, column] <= 0:
            continue
        known, nearest = 0, np.inf
        for r in range(row - 1, row + 2):
            for c in range(column - 1, column + 2):
                if depth[r, c] > 0:
                    known += 1
                    nearest = min(nearest, depth[r, c])
        if abs(depth[row, column] - far) <= margin[i]:
            solid[i] += 1
        elif known >= _KNOWN and nearest > far + margin[i]:
            empty[i] += 1


@kernel(_nrt=False)
def _expose(
    points: Any,
    normals: Any,
    radius: float,
    depth: Any,
    intrinsics: Any,
    pose: Any,
    views: Any,
    start: int,
    stop: int,
) -> None:  # pragma: no cover
    height, width = depth.shape
    for i in range(start, stop):
        across, down, far = pose[0, 3], pose[1, 3], pose[2, 3]
        nx = ny = nz = 0.0
        for k in range(3):
            across += pose[0, k] * points[i, k]
            down += pose[1, k] * points[i, k]
            far += pose[2, k] * points[i, k]
            nx += pose[0, k] * normals[i, k]
            ny += pose[1, k] * normals[i, k]
            nz += pose[2, k] * normals[i, k]
        if far <= 0:
            continue
        toward = -(across * nx + down * ny + far * nz)
        if toward <= _GRAZING * math.sqrt(across**2 + down**2 + far**2):
            continue
        column = math.floor(intrinsics[0, 0] * across / far + intrinsics[0, 2])
        row = math.floor(intrinsics[1, 1] * down / far + intrinsics[1, 2])
        if column < 1 or row < 1 or column >= width - 1 or row >= height - 1:
            continue
        hidden = abs(depth[row, column] - far) <= radius
        for r in range(row - 1, row + 2):
            for c in range(column - 1, column + 2):
                if depth[r, c] > 0 and depth[r, c] < far - radius:
                    hidden = True
        if not hidden:
            views[i] += 1


@dataclass(frozen=True, eq=False)
class SmallMap:
    """A depth map as `FreeSpace` keeps it.

    Parameters
    ----------
    depth : ndarray of float32, shape (H, W)
        0 where unknown.
    intrinsics : ndarray of float64, shape (3, 3)
    cam_from_world : ndarray of float64, shape (4, 4)
    """

    depth: Floats32
    intrinsics: Floats
    cam_from_world: Floats


def halvings(cameras: Sequence[Camera]) -> int:
    """Tell how often depth maps are halved: once, those of very many views more often.

    So they fit in memory however many there are.

    Parameters
    ----------
    cameras : sequence of Camera
        Of the maps.

    Returns
    -------
    int
    """
    times = 1
    while sum((c.width >> times) * (c.height >> times) for c in cameras) > _MOST_PIXELS:
        times += 1
    return times


def reduced_maps(maps: Iterable[tuple[Floats32, Camera, Floats]], times: int = 1) -> list[SmallMap]:
    """Reduce depth maps.

    Parameters
    ----------
    maps : iterable of (ndarray of float32, Camera, ndarray of float64)
        Depth map (0 where unknown), its pinhole camera and its ``cam_from_world`` of shape (4, 4). Each is
        needed only while it is read.
    times : int
        How often their size is halved; see `halvings`.

    Returns
    -------
    list of SmallMap
    """
    reduced = []
    for depth, camera, pose in maps:
        for _ in range(times):
            depth, camera = nearest_of_blocks(depth), shrunk(camera)
        reduced.append(SmallMap(depth, camera.K, pose))
    return reduced


class FreeSpace:
    """What a set of depth maps sees through.

    Parameters
    ----------
    maps : sequence of SmallMap
    views : int
        Views that must see through a place.
    threads : Threads, optional
    """

    def __init__(self, maps: Sequence[SmallMap], views: int = 2, threads: Threads = ALONE) -> None:
        self._maps, self._views, self._threads = maps, views, threads

    def __call__(self, points: Floats, radius: float) -> NDArray[np.bool_]:
        """Tell whether photos see through places.

        Parameters
        ----------
        points : ndarray of float64, shape (N, 3)
        radius : float
            Of the place around each point.

        Returns
        -------
        ndarray of bool, shape (N,)
            Where enough views do, and more than see something there.
        """
        empty, solid = count_empty(points, np.full(len(points), radius), self._maps, self._threads)
        return np.asarray((empty >= self._views) & (empty > solid))

    def exposure(self, points: Floats, normals: Floats, radius: float) -> Votes:
        """Count the views that look at places from in front, with nothing known to be nearer.

        Parameters
        ----------
        points : ndarray of float64, shape (N, 3)
        normals : ndarray of float64, shape (N, 3)
        radius : float
            By how much depths must differ.

        Returns
        -------
        ndarray of int32, shape (N,)
            Views that measured something at the place are not counted.
        """
        views = np.zeros(len(points), np.int32)
        for small in self._maps:
            seen = (small.depth, small.intrinsics, small.cam_from_world)
            given = (points, normals, radius, *seen, views)
            self._threads.run(_expose, *given, count=len(points), least=_LEAST)
        return views


def usual_pixel(points: Floats, maps: Iterable[tuple[float, Floats]]) -> float:
    """Compute the usual size of a pixel of depth maps on a surface.

    Parameters
    ----------
    points : ndarray of float64, shape (N, 3)
        Of the surface.
    maps : iterable of (float, ndarray of float64)
        Focal length in pixels, and ``cam_from_world`` of shape (4, 4), of each map.

    Returns
    -------
    float
        In the view that is nearest to each point; 0 without maps.
    """
    points = points[:: max(1, len(points) // _PIXEL_SAMPLE)]
    nearest = np.full(len(points), np.inf)
    for focal, pose in maps:
        far = points @ pose[2, :3] + pose[2, 3]
        nearest = np.minimum(nearest, np.where(far > 0, far / focal, np.inf))
    known = nearest[np.isfinite(nearest)]
    return float(np.median(known)) if len(known) else 0.0


def shrunk(camera: Camera) -> Camera:
    """Make the camera of a map that `nearest_of_blocks` made.

    Parameters
    ----------
    camera : Camera
        Pinhole.

    Returns
    -------
    Camera
    """
    K = camera.K / _BLOCK
    params = (K[0, 0], K[1, 1], K[0, 2], K[1, 2])
    return Camera("PINHOLE", camera.width // _BLOCK, camera.height // _BLOCK, tuple(map(float, params)))


def nearest_of_blocks(depth: Floats32) -> Floats32:
    """Reduce a depth map to the smallest depth of each block of pixels.

    Parameters
    ----------
    depth : ndarray of float32, shape (H, W)

    Returns
    -------
    ndarray of float32, shape (H // 2, W // 2)
        0 where half of the block or more is unknown.
    """
    nearest = np.empty((depth.shape[0] // _BLOCK, depth.shape[1] // _BLOCK), np.float32)
    _find_nearest(np.asarray(depth, np.float32), _BLOCK, nearest)
    return nearest


@kernel(_nrt=False)
def _find_nearest(depth: Any, side: int, nearest: Any) -> None:  # pragma: no cover
    for row in range(nearest.shape[0]):
        for column in range(nearest.shape[1]):
            known, least = 0, np.float32(np.inf)
            for y in range(row * side, (row + 1) * side):
                for x in range(column * side, (column + 1) * side):
                    if depth[y, x] > 0:
                        known += 1
                        least = min(least, depth[y, x])
            nearest[row, column] = least if 2 * known > side * side else np.float32(0)
