"""The ground around an object: all of it but a skirt is left out.

Photos of a statue show the square it stands on. That plane would take most of the triangles and texels.
It is told by its normals and heights, and what stands on it by its footprint.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, label

from recon3d.types import Floats, PointCloud, Scene

Mask = NDArray[np.bool_]

#: Voxels along the diagonal of the cloud: each counts once, however many points it has.
_VOXELS = 250
#: Cosine to the ring's axis of normals that may be the ground's, and to the plane's normal of those that are.
_STEEP, _LEVEL = 0.7, 0.9
#: Ground has this share of all voxels; its heights deviate by no more of a voxel; so little lies this many
#: deviations below it.
_SHARE, _ROUGH, _BELOW, _DEEP = 0.2, 0.4, 0.02, 8.0
#: Voxels that are so many deviations above the plane, and one voxel at least, stand on it.
_HIGH = 4.0
#: Parts of the footprint that are smaller than this share of the largest are no object.
_PART = 0.1
#: The object is at least so high, relative to the side of a square of its footprint's area: lower things,
#: as an excavation, are part of the ground.
_TALL = 0.3
#: Width of the skirt that stays, in diagonals of the object.
_SKIRT = 0.12


def beyond_skirt(scene: Scene, cloud: PointCloud) -> Mask:
    """Find the points of the ground that are further from the object on it than a skirt's width.

    Parameters
    ----------
    scene : Scene
        Its cameras surround the object.
    cloud : PointCloud
        With normals.

    Returns
    -------
    ndarray of bool, shape (N,)
        All false where there is no level ground, nothing tall on it, or much below it.
    """
    nothing = np.zeros(len(cloud), bool)
    if cloud.normals is None or not len(cloud):
        return nothing
    low, high = np.percentile(cloud.points[:: max(1, len(cloud) // 100_000)], [1, 99], axis=0)
    voxel = float(np.linalg.norm(high - low)) / _VOXELS
    points, normals = _voxels(cloud, voxel)
    plane = _plane(points, normals, _axis(scene), voxel)
    if plane is None:
        return nothing
    up, level, deviation = plane
    height = points @ up - level
    if np.mean(height < -_DEEP * deviation) > _BELOW:
        return nothing
    stands = height > max(_HIGH * deviation, voxel)
    if not stands.any():
        return nothing
    across = np.linalg.svd(up[None])[2][1:]
    place = np.floor(points @ across.T / voxel).astype(np.int64)
    corner = place.min(axis=0)
    footprint = _footprint((place - corner)[stands], place.max(axis=0) - corner + 1)
    object_ = stands.copy()
    object_[stands] = footprint[tuple((place - corner)[stands].T)]
    tall = float(np.percentile(height[object_], 99))
    if tall < _TALL * voxel * np.sqrt(np.count_nonzero(footprint)):
        return nothing
    width = _SKIRT * float(np.linalg.norm(np.append(np.ptp(points[object_] @ across.T, axis=0), tall)))
    away = distance_transform_edt(~footprint) * voxel
    at = np.floor(cloud.points @ across.T / voxel).astype(np.int64) - corner
    inside = ((at >= 0) & (at < away.shape)).all(axis=1)
    far = ~inside
    far[inside] = away[tuple(at[inside].T)] > width
    return np.asarray(far & (cloud.points @ up - level <= max(_HIGH * deviation, voxel)))


def _axis(scene: Scene) -> Floats:
    """The axis of the cameras' ring."""
    centers = np.array([view.center for view in scene])
    axis: Floats = np.linalg.svd(centers - centers.mean(axis=0), full_matrices=False)[2][2]
    return axis


def _voxels(cloud: PointCloud, side: float) -> tuple[Floats, Floats]:
    """One point of each voxel, and its normal."""
    assert cloud.normals is not None
    place = np.floor((cloud.points - cloud.points.min(axis=0)) / side).astype(np.int64)
    size = place.max(axis=0) + 1
    _, first = np.unique((place[:, 0] * size[1] + place[:, 1]) * size[2] + place[:, 2], return_index=True)
    return cloud.points[first], cloud.normals[first].astype(np.float64)


def _plane(points: Floats, normals: Floats, axis: Floats, voxel: float) -> tuple[Floats, float, float] | None:
    """Upward normal, level, and deviation of heights of the largest level plane, if it is ground."""
    slope = normals @ axis
    # Normals point to the cameras: the ground's point up.
    axis = axis * np.sign(slope[np.abs(slope) > _STEEP].sum() or 1.0)
    flat = normals @ axis > _STEEP
    if np.mean(flat) < _SHARE:
        return None
    up = np.median(normals[flat], axis=0)
    up /= np.linalg.norm(up)
    flat = normals @ up > _LEVEL
    if np.mean(flat) < _SHARE:
        return None
    height = points[flat] @ up
    counts, edges = np.histogram(height, np.arange(height.min(), height.max() + 4 * voxel, voxel))
    peak = int(np.argmax(np.convolve(counts, np.ones(3), "same")))
    middle, within = float(edges[peak] + voxel / 2), 3 * voxel
    chosen = points[flat][np.abs(height - middle) < within]
    for _ in range(4):
        center = chosen.mean(axis=0)
        normal = np.linalg.svd(chosen - center, full_matrices=False)[2][2]
        up = normal * np.sign(normal @ up)
        away = points[flat] @ up - center @ up
        near = np.abs(away) < within
        deviation = 1.4826 * float(np.median(np.abs(away[near])))
        within = min(max(4 * deviation, voxel), 3 * voxel)
        chosen = points[flat][np.abs(away) < within]
    if len(chosen) < _SHARE * len(points) or deviation > _ROUGH * voxel:
        return None
    return up, float(center @ up), max(deviation, voxel / 8)


def _footprint(places: NDArray[np.int64], size: NDArray[np.int64]) -> Mask:
    """The squares below what stands on the ground, without small parts."""
    grid = np.zeros(size, np.int64)
    np.add.at(grid, tuple(places.T), 1)
    parts, count = label(grid > 0, np.ones((3, 3)))
    sizes = np.bincount(parts.ravel(), grid.ravel(), count + 1)
    return np.asarray((sizes >= _PART * sizes[1:].max())[parts] & (parts > 0))
