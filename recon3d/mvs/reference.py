"""What the kernels compute, written to be read: NumPy, one pixel at a time, in float64.

The tests hold the compiled kernels against these. They differ in one thing by design: here every
sample of a patch goes through the homography, there through its first-order expansion.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recon3d.mvs import matching
from recon3d.types import Bytes, Floats


def bilinear(gray: Bytes, x: Floats, y: Floats) -> Floats:
    """Values of an image between its pixels; the border's beyond it."""
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
    """Values of a patch and their bilateral weights, which sum to 1."""
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
    """Mean of the lowest costs, and the bits of their views."""
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
