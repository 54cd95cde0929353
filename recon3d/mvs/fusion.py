"""From planes to filtered depth maps, and from those to one cloud of points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from recon3d.mvs.consistency import agreeing_views, fuse_pixels
from recon3d.mvs.normals import decode_normals, encode_normals
from recon3d.mvs.stereo import PlaneMap, StereoImage, relative_projection
from recon3d.types import Bytes, Camera, DepthMap, Floats, Floats32

#: Other views that one view can be compared with.
MAX_NEIGHBORS = 32


@dataclass(frozen=True)
class Tolerances:
    """When two depth maps hold the same surface point.

    Parameters
    ----------
    pixels : float
        Reprojection error.
    depth : float
        Relative difference of depth.
    degrees : float
        Angle between the normals.
    """

    pixels: float = 1.0
    depth: float = 0.01
    degrees: float = 30.0


@dataclass(frozen=True, eq=False)
class PackedMap:
    """A `DepthMap` in 9 bytes a pixel, as it is kept on disk and compared.

    Parameters
    ----------
    name : str
    camera : Camera
    depth : ndarray of float32, shape (H, W)
    normal : ndarray of int16, shape (H, W, 2)
        See `encode_normals`.
    confidence : ndarray of uint8, shape (H, W)
        0 to 255 for 0 to 1.
    """

    name: str
    camera: Camera
    depth: Floats32
    normal: NDArray[np.int16]
    confidence: Bytes

    @classmethod
    def of(cls, depth_map: DepthMap) -> PackedMap:
        """Pack a depth map."""
        confidence = np.rint(np.clip(depth_map.confidence, 0, 1) * 255).astype(np.uint8)
        return cls(
            depth_map.name,
            depth_map.camera,
            depth_map.depth,
            encode_normals(depth_map.normal),
            confidence,
        )

    def unpacked(self) -> DepthMap:
        """The depth map."""
        return DepthMap(
            self.name,
            self.camera,
            self.depth,
            decode_normals(self.normal),
            self.confidence * np.float32(1 / 255),
        )


def normals_of(state: Floats32, camera: Camera) -> Floats32:
    """Unit normals in the camera frame, facing the camera, of planes.

    Parameters
    ----------
    state : ndarray of float32, shape (3, H, W)
        See `PlaneMap`.
    camera : Camera
        Pinhole camera of the same size.

    Returns
    -------
    ndarray of float32, shape (H, W, 3)
    """
    K = camera.K
    height, width = state.shape[1:]
    x = (np.arange(width, dtype=np.float32) + np.float32(0.5 - K[0, 2])) / np.float32(K[0, 0])
    y = ((np.arange(height, dtype=np.float32) + np.float32(0.5 - K[1, 2])) / np.float32(K[1, 1]))[:, None]
    normals = np.empty((height, width, 3), np.float32)
    normals[..., 0] = -state[1] * np.float32(K[0, 0])
    normals[..., 1] = -state[2] * np.float32(K[1, 1])
    normals[..., 2] = -state[0] - normals[..., 0] * x - normals[..., 1] * y
    normals /= np.maximum(np.linalg.norm(normals, axis=2, keepdims=True), np.float32(1e-20))
    return normals


def depth_map_of(name: str, camera: Camera, planes: PlaneMap, max_cost: float) -> DepthMap:
    """Depth, normals and confidence of a view's planes; unknown where the cost exceeds `max_cost`."""
    known = (planes.cost < max_cost) & (planes.state[0] > 0)
    depth = np.where(known, 1 / np.maximum(planes.state[0], np.float32(1e-20)), 0).astype(np.float32)
    normal = normals_of(planes.state, camera)
    normal[~known] = 0
    confidence = np.where(known, np.clip(1 - planes.cost, 0, 1), 0).astype(np.float32)
    return DepthMap(name, camera, depth, normal, confidence)


def agreement(
    packed: PackedMap, pose: Floats, neighbors: Sequence[tuple[PackedMap, Floats]], tolerances: Tolerances
) -> NDArray[np.uint32]:
    """Which neighbours hold the same surface point as each pixel of a depth map.

    Parameters
    ----------
    packed : PackedMap
    pose : ndarray of float64, shape (4, 4)
        Its ``cam_from_world``.
    neighbors : sequence of (PackedMap, ndarray)
        Other depth maps and their poses; at most `MAX_NEIGHBORS`.
    tolerances : Tolerances

    Returns
    -------
    ndarray of uint32, shape (H, W)
        Bit j is set where neighbour j agrees.
    """
    if not neighbors:
        return np.zeros(packed.depth.shape, np.uint32)
    joined = _join(packed, pose, neighbors)
    bits: NDArray[np.uint32] = agreeing_views(
        packed.depth,
        packed.normal,
        joined.depths,
        joined.normals,
        joined.layout,
        joined.forth,
        np.array([pose[:3, :3] @ other[:3, :3].T for _, other in neighbors], np.float32),
        np.float32(tolerances.pixels),
        np.float32(tolerances.depth),
        np.float32(np.cos(np.radians(tolerances.degrees))),
    )
    return bits


def count_bits(bits: NDArray[np.uint32]) -> Bytes:
    """How many bits are set in each element."""
    counts: Bytes = np.unpackbits(bits[..., None].view(np.uint8), axis=-1).sum(axis=-1, dtype=np.uint8)
    return counts


def filtered(
    packed: PackedMap,
    pose: Floats,
    neighbors: Sequence[tuple[PackedMap, Floats]],
    *,
    min_views: int,
    tolerances: Tolerances,
    close: Tolerances,
    min_region: int,
) -> PackedMap:
    """Drop what too few views agree on, and small islands.

    Views that agree closely are better witnesses: of those, one fewer is enough.

    Parameters
    ----------
    packed, pose, neighbors, tolerances
        See `agreement`.
    min_views : int
        Views that must agree, the map's own included.
    close : Tolerances
        What counts as close agreement.
    min_region : int
        Pixels of the smallest connected region that is kept.
    """
    views = count_bits(agreement(packed, pose, neighbors, tolerances)) + 1
    witnesses = count_bits(agreement(packed, pose, neighbors, close)) + 1
    known = (packed.depth > 0) & ((views >= min_views) | (witnesses >= max(min_views - 1, 2)))
    known &= ~_islands(np.where(known, packed.depth, 0), min_region)
    # Agreement of many views makes a good match certain; a poor match stays poor.
    support = np.minimum(views / np.float32(min_views + 2), np.float32(1))
    return PackedMap(
        packed.name,
        packed.camera,
        np.where(known, packed.depth, np.float32(0)),
        np.where(known[..., None], packed.normal, np.int16(-32768)),
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

    Of the views that agree on a point, the one with the finest pixels there keeps it (to within a
    quarter of an octave; then the lowest rank), averaged over all of them.

    Parameters
    ----------
    packed, pose, neighbors, tolerances
        See `agreement`; the maps are filtered ones.
    rgb : ndarray of uint8, shape (H, W, 3)
    rank : int
        The view's place in a fixed order of all views.
    ranks : sequence of int
        The neighbours' places.
    min_views : int
        Views that must agree, this one included.
    """
    bits = agreement(packed, pose, neighbors, tolerances)
    limit = int(np.count_nonzero((packed.depth > 0) & (count_bits(bits) + 1 >= min_views)))
    points = np.empty((limit, 3))
    normals = np.empty((limit, 3), np.float32)
    colors = np.empty((limit, 3), np.uint8)
    seen = np.empty(limit, np.uint32)
    if not limit:
        return FusedPoints(points, normals, colors, seen)
    joined = _join(packed, pose, neighbors)
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
        np.array([np.linalg.inv(other) for _, other in neighbors]),
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


@dataclass(frozen=True, eq=False)
class _Joined:
    depths: Floats32
    normals: NDArray[np.int16]
    layout: NDArray[np.int32]
    forth: Floats32
    inverse_Ks: Floats


def _join(packed: PackedMap, pose: Floats, neighbors: Sequence[tuple[PackedMap, Floats]]) -> _Joined:
    maps = [m for m, _ in neighbors]
    starts = np.cumsum([0] + [m.depth.size for m in maps[:-1]])
    here = _as_image(packed, pose)
    there = [_as_image(m, other) for m, other in neighbors]
    return _Joined(
        np.concatenate([m.depth.ravel() for m in maps]),
        np.concatenate([m.normal.reshape(-1, 2) for m in maps]),
        np.array([(s, *m.depth.shape[::-1]) for s, m in zip(starts, maps, strict=True)], np.int32),
        np.array([relative_projection(other, here) for other in there], np.float32),
        np.array([np.linalg.inv(image.K) for image in [*there, here]]),
    )


def _as_image(packed: PackedMap, pose: Floats) -> StereoImage:
    return StereoImage(np.empty((0, 0), np.uint8), packed.camera, pose)
