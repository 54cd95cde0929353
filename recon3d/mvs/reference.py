"""What the kernels compute, written to be read: NumPy, in float64.

The tests hold the compiled kernels against these. They differ in two things by design: here every
sample of a patch goes through the homography, and a pixel's shift is computed exactly; there both
are first-order expansions. The search (`sweep`) is random and has no twin: its results are tested on
scenes with exact depths.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recon3d.mvs import matching_cost as matching
from recon3d.types import Bytes, Floats


def bilinear(gray: Bytes, x: Floats, y: Floats) -> Floats:
    """Interpolate an image between its pixels; beyond the border it repeats.

    Parameters
    ----------
    gray : ndarray of uint8, shape (H, W)
    x, y : ndarray of float64, shape (...)
        Pixel coordinates, pixel centres at whole numbers.

    Returns
    -------
    ndarray of float64, shape (...)
        Gray levels.
    """
    height, width = gray.shape
    x = np.clip(x, 0, width - 1.001)
    y = np.clip(y, 0, height - 1.001)
    column, row = x.astype(int), y.astype(int)
    fx, fy = x - column, y - row
    upper = gray[row, column] * (1 - fx) + gray[row, column + 1] * fx
    lower = gray[row + 1, column] * (1 - fx) + gray[row + 1, column + 1] * fx
    values: Floats = upper * (1 - fy) + lower * fy
    return values


def patch(gray: Bytes, x: int, y: int, pattern: int) -> tuple[Floats, Floats]:
    """Sample a patch and compute its bilateral weights.

    Parameters
    ----------
    gray : ndarray of uint8, shape (H, W)
    x, y : int
        The patch's middle.
    pattern : {0, 1}
        Wide or narrow patch.

    Returns
    -------
    (ndarray of float64, ndarray of float64)
        Values and weights, both of shape (SAMPLES,); the weights sum to 1.
    """
    height, width = gray.shape
    columns = np.clip(x + matching.COLUMNS[pattern], 0, width - 1)
    rows = np.clip(y + matching.ROWS[pattern], 0, height - 1)
    values = gray[rows, columns].astype(np.float64)
    difference = np.abs(values - gray[y, x]).astype(int)
    weights = matching.SPATIAL_WEIGHTS[pattern].astype(np.float64) * matching.TONE_WEIGHTS[difference]
    return values, weights / weights.sum()


def view_cost(
    own: Bytes, other: Bytes, forth: Floats, x: int, y: int, rho: float, gx: float, gy: float, pattern: int
) -> float:
    """1 - NCC, weighted bilaterally, of the patch at (x, y) and where its plane lies in another view.

    Parameters
    ----------
    own, other : ndarray of uint8, shape (H, W)
    forth : ndarray of float64, shape (3, 4)
        See `recon3d.mvs.stereo.relative_projection`.
    x, y : int
    rho, gx, gy : float
        Inverse depth at the pixel and its derivatives.
    pattern : {0, 1}
        Wide or narrow patch.

    Returns
    -------
    float
        0 to 2.
    """
    height, width = other.shape
    center = forth @ [x, y, 1, rho]
    if center[2] <= 1e-3:
        return float(matching.WORST)
    u, v = center[:2] / center[2]
    if not (0 <= u <= width - 1 and 0 <= v <= height - 1):
        return float(matching.WORST)
    dx, dy = matching.OFFSETS_X[pattern], matching.OFFSETS_Y[pattern]
    q = forth @ np.stack([x + dx, y + dy, np.ones(len(dx)), rho + gx * dx + gy * dy])
    there = bilinear(other, q[0] / q[2], q[1] / q[2])
    here, weights = patch(own, x, y, pattern)
    here = here - weights @ here
    there = there - weights @ there
    variances = (weights @ here**2 + matching.NOISE) * (weights @ there**2 + matching.NOISE)
    return float(1 - weights @ (here * there) / np.sqrt(variances))


def best_views_cost(costs: Floats, best_views: int) -> tuple[float, int]:
    """Average the lowest costs.

    Parameters
    ----------
    costs : ndarray of float64, shape (S,)
        One for each view.
    best_views : int
        How many count.

    Returns
    -------
    (float, int)
        The mean, and the bits of the views that count.
    """
    order = np.argsort(costs, kind="stable")[:best_views]
    return float(costs[order].mean()), int(sum(1 << int(j) for j in order))


def geometric_error(
    forth: Floats, back: Floats, inverse_depth: NDArray[np.float32], x: int, y: int, rho: float
) -> float:
    """Pixels that a point moves when it is seen with another view's depth, capped.

    Parameters
    ----------
    forth, back : ndarray of float64, shape (3, 4)
        To the other view and back.
    inverse_depth : ndarray of float32, shape (H, W)
        The other view's; 0 where unknown.
    x, y : int
        The pixel.
    rho : float
        Its inverse depth.

    Returns
    -------
    float
        Pixels.
    """
    q = forth @ [x, y, 1, rho]
    u, v = q[:2] / q[2]
    other = inverse_depth[int(v + 0.5), int(u + 0.5)]
    if other <= 0:
        return float(matching.GEOMETRIC_CAP)
    returned = back @ [u, v, 1, other]
    if returned[2] <= 1e-3:
        return float(matching.GEOMETRIC_CAP)
    distance = np.hypot(*(returned[:2] / returned[2] - [x, y]))
    return float(min(distance, matching.GEOMETRIC_CAP))


def agrees(
    depth: Floats,
    normal: Floats,
    other_depth: Floats,
    other_normal: Floats,
    forth: Floats,
    rotation: Floats,
    max_error: float,
    max_depth: float,
    min_cosine: float,
) -> tuple[NDArray[np.bool_], Floats]:
    """Find the pixels where another depth map holds the same surface point.

    Parameters
    ----------
    depth : ndarray of float64, shape (H, W)
        0 where unknown.
    normal : ndarray of float64, shape (H, W, 3)
        Unit vectors in the view's camera frame.
    other_depth : ndarray of float64, shape (h, w)
        0 where unknown.
    other_normal : ndarray of float64, shape (h, w, 3)
        Unit vectors in the other view's camera frame.
    forth : ndarray of float64, shape (3, 4)
        See `recon3d.mvs.stereo.relative_projection`.
    rotation : ndarray of float64, shape (3, 3)
        From the other camera's frame to this one's.
    max_error : float
        Pixels that the point may move in the other view when it gets the relative depth found there.
    max_depth : float
        Largest relative difference of depth.
    min_cosine : float
        Smallest cosine of the angle between the normals.

    Returns
    -------
    agreeing : ndarray of bool, shape (H, W)
    change : ndarray of float64, shape (H, W)
        Relative difference of the depth that the other map holds.
    """
    rows, columns = np.indices(depth.shape)
    known = depth > 0
    rho = 1 / np.where(known, depth, 1)
    pixels = np.stack([columns, rows, np.ones_like(rows), rho], axis=-1)
    there = pixels @ forth.T
    front = known & (there[..., 2] > 1e-3)
    scale = np.where(front, there[..., 2], 1)
    u, v = there[..., 0] / scale, there[..., 1] / scale
    height, width = other_depth.shape
    inside = front & (u >= -0.5) & (v >= -0.5) & (u < width - 0.5) & (v < height - 0.5)
    column = np.floor(np.where(inside, u, 0) + 0.5).astype(int)
    row = np.floor(np.where(inside, v, 0) + 0.5).astype(int)
    found = other_depth[row, column]
    expected = scale * np.where(known, depth, 1)
    change = (found - expected) / expected
    moved = pixels * [1, 1, 1, 0] @ forth.T + (rho * (1 + change))[..., None] * forth[:, 3]
    shift = np.hypot(moved[..., 0] / moved[..., 2] - u, moved[..., 1] / moved[..., 2] - v)
    cosine = (normal * (other_normal[row, column] @ rotation.T)).sum(axis=-1)
    alike = (abs(change) <= max_depth) & (shift <= max_error) & (cosine >= min_cosine)
    same: NDArray[np.bool_] = inside & (found > 0) & alike
    return same, change


def averaged(
    depth: Floats,
    normal: Floats,
    agreeing: NDArray[np.bool_],
    changes: Floats,
    normals: Floats,
) -> tuple[Floats, Floats]:
    """Mean depths and normals over a view and those that agree with it.

    Parameters
    ----------
    depth : ndarray of float64, shape (H, W)
    normal : ndarray of float64, shape (H, W, 3)
    agreeing : ndarray of bool, shape (S, H, W)
    changes : ndarray of float64, shape (S, H, W)
        Relative differences of depth that the other views find; see `agrees`.
    normals : ndarray of float64, shape (S, H, W, 3)
        What the other views find, in this view's camera frame.

    Returns
    -------
    (ndarray of float64, ndarray of float64)
        Depths of shape (H, W) and normals of shape (H, W, 3).
    """
    mean_depth: Floats = depth * (1 + (agreeing * changes).sum(axis=0) / (1 + agreeing.sum(axis=0)))
    total = normal + (agreeing[..., None] * normals).sum(axis=0)
    mean_normal: Floats = total / np.maximum(np.linalg.norm(total, axis=-1, keepdims=True), 1e-6)
    return mean_depth, mean_normal


def fused(
    views: list[tuple[Floats, Floats, Floats, Floats]],
    ranks: list[int],
    agreeing: NDArray[np.bool_],
    min_views: int,
) -> tuple[NDArray[np.bool_], Floats, Floats]:
    """The points that the first of the views contributes.

    Parameters
    ----------
    views : list of (depth, normal, K, cam_from_world)
        Shapes (H, W), (H, W, 3), (3, 3) and (4, 4); pixel centres at integers.
    ranks : list of int
        The views' places in a fixed order.
    agreeing : ndarray of bool, shape (S, H, W)
        Which of the other views agree with the first one's pixels.
    min_views : int
        Views that must agree, the first included.

    Returns
    -------
    kept : ndarray of bool, shape (H, W)
        Pixels that become points.
    points, normals : ndarray of float64, shape (N, 3)
        In the world, of the kept pixels in order.
    """

    def to_world(x: Floats, y: Floats, z: Floats, K: Floats, pose: Floats) -> Floats:
        rays = np.stack([x, y, np.ones_like(z)], axis=-1) @ np.linalg.inv(K).T
        points: Floats = (rays * z[:, None] - pose[:3, 3]) @ pose[:3, :3]
        return points

    def footprint_class(z: Floats, K: Floats) -> Floats:
        classes: Floats = np.floor(4 * np.log(np.where(z > 0, z, 1) / K[0, 0]))
        return classes

    depth, normal, K, pose = views[0]
    kept = (depth > 0) & (1 + agreeing.sum(axis=0) >= min_views)
    rows, columns = np.nonzero(kept)
    z = depth[kept]
    own = to_world(columns.astype(float), rows.astype(float), z, K, pose)
    position, direction, total = own.copy(), normal[kept] @ pose[:3, :3], np.ones(len(z))
    keeps = np.ones(len(z), bool)
    for (depth_j, normal_j, K_j, pose_j), rank, agrees_j in zip(views[1:], ranks[1:], agreeing, strict=True):
        seen = agrees_j[kept]
        u, v, w = (K_j @ (pose_j[:3, :3] @ own.T + pose_j[:3, 3:])).reshape(3, -1)
        u, v = np.where(seen, u / w, 0), np.where(seen, v / w, 0)
        row, column = np.floor(v + 0.5).astype(int), np.floor(u + 0.5).astype(int)
        z_j = depth_j[row, column]
        own_class, class_j = footprint_class(z, K), footprint_class(z_j, K_j)
        first = (class_j < own_class) | ((class_j == own_class) & (rank < ranks[0]))
        keeps &= ~(seen & first)
        position += np.where(seen[:, None], to_world(u, v, z_j, K_j, pose_j), 0)
        direction += np.where(seen[:, None], normal_j[row, column] @ pose_j[:3, :3], 0)
        total += seen
    kept[kept] = keeps
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    return kept, (position / total[:, None])[keeps], direction[keeps]
