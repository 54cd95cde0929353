"""Which depth maps hold the same surface point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recon3d.mvs.geometric_consistency import compare_pixels
from recon3d.mvs.maps import PackedMap
from recon3d.mvs.stereo import StereoImage, relative_projection
from recon3d.types import Floats, Floats32

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
class Agreement:
    """What the neighbours say of each pixel of a depth map.

    Parameters
    ----------
    views, close : ndarray of uint32, shape (H, W)
        Bit j is set where neighbour j holds the same surface point, and where it does so closely.
    depth : ndarray of float32, shape (H, W)
        Mean over the view and those that agree; 0 where unknown.
    normal : ndarray of float32, shape (H, W, 3)
        The same of the normals, in the camera frame.
    """

    views: NDArray[np.uint32]
    close: NDArray[np.uint32]
    depth: Floats32
    normal: Floats32


def agreement(
    packed: PackedMap,
    pose: Floats,
    neighbors: Sequence[tuple[PackedMap, Floats]],
    tolerances: Tolerances,
    close_pixels: float = 0.0,
) -> Agreement:
    """Compare a depth map with its neighbours'.

    Parameters
    ----------
    packed : PackedMap
    pose : ndarray of float64, shape (4, 4)
        Its ``cam_from_world``.
    neighbors : sequence of (PackedMap, ndarray of float64)
        Other depth maps and their poses, shape (4, 4); at most `MAX_NEIGHBORS`.
    tolerances : Tolerances
    close_pixels : float
        Reprojection error of close agreement, at most that of `tolerances`.

    Returns
    -------
    Agreement
    """
    joined = join_maps(packed, pose, neighbors)
    shape = packed.depth.shape
    found = Agreement(
        np.empty(shape, np.uint32),
        np.empty(shape, np.uint32),
        np.empty(shape, np.float32),
        np.empty((*shape, 3), np.float32),
    )
    compare_pixels(
        packed.depth,
        packed.normal,
        joined.depths,
        joined.normals,
        joined.layout,
        joined.forth,
        np.array([pose[:3, :3] @ other[:3, :3].T for _, other in neighbors], np.float32).reshape(-1, 3, 3),
        np.float32(tolerances.pixels),
        np.float32(close_pixels),
        np.float32(tolerances.depth),
        np.float32(np.cos(np.radians(tolerances.degrees))),
        found.views,
        found.close,
        found.depth,
        found.normal,
    )
    return found


@dataclass(frozen=True, eq=False)
class JoinedMaps:
    """Other views' maps as the kernels take them; see `compare_pixels`.

    Parameters
    ----------
    depths : ndarray of float32, shape (M,)
    normals : ndarray of int16, shape (M, 2)
    layout : ndarray of int32, shape (S, 3)
    forth : ndarray of float32, shape (S, 3, 4)
    inverse_Ks : ndarray of float64, shape (S + 1, 3, 3)
        Inverse calibration matrices of the others, then of the view itself.
    """

    depths: Floats32
    normals: NDArray[np.int16]
    layout: NDArray[np.int32]
    forth: Floats32
    inverse_Ks: Floats


def join_maps(packed: PackedMap, pose: Floats, neighbors: Sequence[tuple[PackedMap, Floats]]) -> JoinedMaps:
    """Join the maps of a view's neighbours.

    Parameters
    ----------
    packed : PackedMap
        The view's depth map.
    pose : ndarray of float64, shape (4, 4)
        The view's ``cam_from_world``.
    neighbors : sequence of (PackedMap, ndarray of float64)
        Depth maps and poses, shape (4, 4), of its neighbours.

    Returns
    -------
    JoinedMaps
    """
    maps = [m for m, _ in neighbors]
    starts = np.cumsum([0] + [m.depth.size for m in maps])
    layout = [(s, *m.depth.shape[::-1]) for s, m in zip(starts[:-1], maps, strict=True)]
    here = _as_image(packed, pose)
    there = [_as_image(m, other) for m, other in neighbors]
    return JoinedMaps(
        np.concatenate([np.empty(0, np.float32), *(m.depth.ravel() for m in maps)]),
        np.concatenate([np.empty((0, 2), np.int16), *(m.normal.reshape(-1, 2) for m in maps)]),
        np.array(layout, np.int32).reshape(-1, 3),
        np.array([relative_projection(other, here) for other in there], np.float32).reshape(-1, 3, 4),
        np.array([np.linalg.inv(image.K) for image in [*there, here]]),
    )


def _as_image(packed: PackedMap, pose: Floats) -> StereoImage:
    return StereoImage(np.empty((0, 0), np.uint8), packed.camera, pose)
