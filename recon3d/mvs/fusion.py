"""One cloud of points from filtered depth maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recon3d.mvs.agreement import Tolerances, agreement, join_maps
from recon3d.mvs.geometric_consistency import fuse_pixels
from recon3d.mvs.maps import PackedMap
from recon3d.types import Bytes, Floats, Floats32


@dataclass(frozen=True, eq=False)
class FusedPoints:
    """Points that one view contributes.

    Parameters
    ----------
    points : ndarray of float64, shape (N, 3)
    normals : ndarray of float32, shape (N, 3)
    colors : ndarray of uint8, shape (N, 3)
    seen : ndarray of uint32, shape (N,)
        Bit j is set when neighbour j sees the point too.
    """

    points: Floats
    normals: Floats32
    colors: Bytes
    seen: NDArray[np.uint32]


def fuse_view(
    packed: PackedMap,
    pose: Floats,
    rgb: Bytes,
    rank: int,
    neighbors: Sequence[tuple[PackedMap, Floats]],
    ranks: Sequence[int],
    *,
    min_views: int,
    tolerances: Tolerances,
) -> FusedPoints:
    """Points of a view that no neighbour contributes: each point comes from one view.

    Of the views that agree on a point, the one with the finest pixels there keeps it (in classes
    that a factor of 1.28 separates; within one, the lowest rank), averaged over all of them.

    Parameters
    ----------
    packed : PackedMap
        The view's filtered depth map.
    pose : ndarray of float64, shape (4, 4)
        The view's ``cam_from_world``.
    rgb : ndarray of uint8, shape (H, W, 3)
    rank : int
        The view's place in a fixed order of all views.
    neighbors : sequence of (PackedMap, ndarray of float64)
        Filtered depth maps and poses, shape (4, 4), of its neighbours.
    ranks : sequence of int
        The neighbours' places.
    min_views : int
        Views that must agree, this one included.
    tolerances : Tolerances
        See `agreement`.

    Returns
    -------
    FusedPoints
    """
    bits = agreement(packed, pose, neighbors, tolerances).views
    limit = int(np.count_nonzero((packed.depth > 0) & (np.bitwise_count(bits) + 1 >= min_views)))
    points = np.empty((limit, 3))
    normals = np.empty((limit, 3), np.float32)
    colors = np.empty((limit, 3), np.uint8)
    seen = np.empty(limit, np.uint32)
    if not limit:
        return FusedPoints(points, normals, colors, seen)
    joined = join_maps(packed, pose, neighbors)
    written = fuse_pixels(
        packed.depth,
        packed.normal,
        rgb,
        bits,
        min_views,
        rank,
        np.array(ranks, np.int64),
        joined.depths,
        joined.normals,
        joined.layout,
        joined.forth,
        np.array([np.linalg.inv(other) for _, other in neighbors]).reshape(-1, 4, 4),
        np.linalg.inv(pose),
        joined.inverse_Ks[-1],
        joined.inverse_Ks[:-1],
        np.array([1 / m.camera.K[0, 0] for m, _ in neighbors] + [1 / packed.camera.K[0, 0]]),
        points,
        normals,
        colors,
        seen,
    )
    return FusedPoints(points[:written], normals[:written], colors[:written], seen[:written])
