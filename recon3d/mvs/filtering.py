"""Dropping the depths that the other views do not confirm, and averaging those that they do."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from recon3d.mvs.agreement import Tolerances, agreement
from recon3d.mvs.maps import PackedMap
from recon3d.mvs.normals import encode_normals
from recon3d.mvs.silhouette import beyond_outlines
from recon3d.types import Bytes, Floats, Floats32

#: Pixels that a depth may reach over an outline.
_REACH = 3


def filtered(
    packed: PackedMap,
    pose: Floats,
    neighbors: Sequence[tuple[PackedMap, Floats]],
    *,
    min_views: int,
    tolerances: Tolerances,
    close_pixels: float,
    min_region: int,
    rgb: Bytes,
) -> PackedMap:
    """Drop what too few views agree on, what lies beyond outlines, and small islands.

    Views that agree closely are better witnesses: of those, one fewer is enough. What stays is the
    mean over the views that agree: each is matched with others, so that their errors differ.

    Parameters
    ----------
    packed : PackedMap
        The view's depth map.
    pose : ndarray of float64, shape (4, 4)
        The view's ``cam_from_world``.
    neighbors : sequence of (PackedMap, ndarray of float64)
        Depth maps and poses, shape (4, 4), of its neighbours.
    min_views : int
        Views that must agree, the map's own included.
    tolerances : Tolerances
        See `agreement`.
    close_pixels : float
        Reprojection error of close agreement, at most that of `tolerances`.
    min_region : int
        Pixels of the smallest connected region that is kept.
    rgb : ndarray of uint8, shape (H, W, 3)
        The image; see `beyond_outlines`.

    Returns
    -------
    PackedMap
    """
    found = agreement(packed, pose, neighbors, tolerances, close_pixels)
    views = np.bitwise_count(found.views) + 1
    witnesses = np.bitwise_count(found.close) + 1
    known = (packed.depth > 0) & ((views >= min_views) | (witnesses >= max(min_views - 1, 2)))
    known &= ~beyond_outlines(np.where(known, packed.depth, np.float32(0)), rgb, _REACH)
    known &= ~_islands(np.where(known, packed.depth, 0), min_region)
    # Agreement of many views makes a good match certain; a poor match stays poor.
    support = np.minimum(views / np.float32(min_views + 2), np.float32(1))
    return PackedMap(
        packed.name,
        packed.camera,
        np.where(known, found.depth, np.float32(0)),
        encode_normals(np.where(known[..., None], found.normal, np.float32(0))),
        np.where(known, packed.confidence * support, np.float32(0)).astype(np.uint8),
    )


def _islands(depth: Floats32, min_region: int) -> NDArray[np.bool_]:
    """Small connected regions of a depth map, with depth steps above 2 % as borders."""
    if min_region <= 1 or not np.any(depth > 0):
        return np.zeros(depth.shape, np.bool_)
    # Steps of 0.2 % on a logarithmic scale; OpenCV's filter takes 16-bit integers.
    logs = np.log(np.where(depth > 0, depth, 1)) / 0.002
    lowest = logs[depth > 0].min()
    steps = np.where(depth > 0, np.clip(logs - lowest, 0, 32000) + 1, 0).astype(np.int16)
    kept = steps.copy()
    cv2.filterSpeckles(kept, 0, min_region, 10)
    removed: NDArray[np.bool_] = (kept == 0) & (steps > 0)
    return removed
