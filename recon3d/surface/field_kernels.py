"""Compiled loops over the blocks of a grid; `recon3d.surface.poisson` says what they are for.

Arrays of values have shape (B, 8, 8, 8), with a block's vertices in the order x, y, z.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from recon3d.kernels import kernel


@kernel(inline="always")
def _spline(x: float, weights: Any, slopes: Any) -> int:  # pragma: no cover
    """Quadratic B-spline at four vertices, and its difference between half cells; the first vertex."""
    first = int(np.floor(x)) - 1
    for k in range(4):
        weights[k] = quadratic(x - (first + k))
        slopes[k] = quadratic(x - (first + k) - 0.5) - quadratic(x - (first + k) + 0.5)
    return first


@kernel()
def quadratic(t: float) -> float:  # pragma: no cover
    """Quadratic B-spline: 0.75 at 0, 0 from 1.5 on.

    Parameters
    ----------
    t : float

    Returns
    -------
    float
    """
    t = abs(t)
    if t <= 0.5:
        return 0.75 - t * t
    if t < 1.5:
        return 0.5 * (1.5 - t) ** 2
    return 0.0


@kernel()
def splat_density(
    points: Any, weights: Any, block: Any, blocks: Any, around: Any, density: Any
) -> None:  # pragma: no cover
    """Add each point's weight to the vertices around it.

    Parameters
    ----------
    points : ndarray of float64, shape (N, 3)
        In cells from the origin.
    weights : ndarray of float32, shape (N,)
    block : ndarray of int32, shape (N,)
        The block of each.
    blocks, around : ndarray of int32, shapes (B, 3) and (B, 27)
        See `Level`.
    density : ndarray of float32, shape (B, 8, 8, 8)
        Added to.
    """
    wx, wy, wz = np.empty(4), np.empty(4), np.empty(4)
    slopes = np.empty(4)
    for p in range(len(points)):
        b = block[p]
        ix = _spline(points[p, 0], wx, slopes) - 8 * blocks[b, 0]
        iy = _spline(points[p, 1], wy, slopes) - 8 * blocks[b, 1]
        iz = _spline(points[p, 2], wz, slopes) - 8 * blocks[b, 2]
        for i in range(4):
            x = ix + i
            for j in range(4):
                y = iy + j
                row = (((x >> 3) + 1) * 3 + (y >> 3) + 1) * 3 + 1
                part = weights[p] * wx[i] * wy[j]
                for k in range(4):
                    z = iz + k
                    target = around[b, row + (z >> 3)]
                    if target >= 0:
                        density[target, x & 7, y & 7, z & 7] += part * wz[k]


@kernel()
def sample(points: Any, block: Any, blocks: Any, around: Any, values: Any) -> Any:  # pragma: no cover
    """Evaluate values at points, with the weights of `splat_density`.

    Parameters
    ----------
    points : ndarray of float64, shape (N, 3)
        In cells from the origin.
    block : ndarray of int32, shape (N,)
    blocks, around : ndarray of int32, shapes (B, 3) and (B, 27)
        See `Level`.
    values : ndarray of float32, shape (B, 8, 8, 8)

    Returns
    -------
    ndarray of float32, shape (N,)
        0 in no block.
    """
    result = np.zeros(len(points), np.float32)
    wx, wy, wz = np.empty(4), np.empty(4), np.empty(4)
    slopes = np.empty(4)
    for p in range(len(points)):
        b = block[p]
        if b < 0:
            continue
        ix = _spline(points[p, 0], wx, slopes) - 8 * blocks[b, 0]
        iy = _spline(points[p, 1], wy, slopes) - 8 * blocks[b, 1]
        iz = _spline(points[p, 2], wz, slopes) - 8 * blocks[b, 2]
        total = 0.0
        for i in range(4):
            x = ix + i
            for j in range(4):
                y = iy + j
                row = (((x >> 3) + 1) * 3 + (y >> 3) + 1) * 3 + 1
                for k in range(4):
                    z = iz + k
                    source = around[b, row + (z >> 3)]
                    if 0 <= source < len(values):
                        total += wx[i] * wy[j] * wz[k] * values[source, x & 7, y & 7, z & 7]
        result[p] = total
    return result


@kernel()
def splat_normals(
    points: Any,
    normals: Any,
    areas: Any,
    weights: Any,
    block: Any,
    blocks: Any,
    around: Any,
    divergence: Any,
    plane: Any,
) -> None:  # pragma: no cover
    """Add the divergence of the points' normals, and their planes, to the vertices around them.

    Parameters
    ----------
    points : ndarray of float64, shape (N, 3)
        In cells from the origin.
    normals : ndarray of float32, shape (N, 3)
    areas : ndarray of float32, shape (N,)
        Of the surface that a point stands for, in squared cells.
    weights : ndarray of float32, shape (N,)
        For the planes.
    block : ndarray of int32, shape (N,)
    blocks, around : ndarray of int32, shapes (B, 3) and (B, 27)
        See `Level`.
    divergence : ndarray of float32, shape (S, 8, 8, 8)
        Added to, of the solved blocks.
    plane : ndarray of float32, shape (S, 8, 8, 8, 5)
        Sums of weights, of normals, and of the vertex's distances in front of the points' planes.
    """
    wx, wy, wz = np.empty(4), np.empty(4), np.empty(4)
    dx, dy, dz = np.empty(4), np.empty(4), np.empty(4)
    for p in range(len(points)):
        b = block[p]
        fx = _spline(points[p, 0], wx, dx)
        fy = _spline(points[p, 1], wy, dy)
        fz = _spline(points[p, 2], wz, dz)
        ix, iy, iz = fx - 8 * blocks[b, 0], fy - 8 * blocks[b, 1], fz - 8 * blocks[b, 2]
        nx, ny, nz = normals[p]
        for i in range(4):
            x = ix + i
            ahead_x = nx * (fx + i - points[p, 0])
            for j in range(4):
                y = iy + j
                row = (((x >> 3) + 1) * 3 + (y >> 3) + 1) * 3 + 1
                ahead_y = ahead_x + ny * (fy + j - points[p, 1])
                for k in range(4):
                    z = iz + k
                    target = around[b, row + (z >> 3)]
                    if target < 0 or target >= len(divergence):
                        continue
                    slope = (
                        nx * dx[i] * wy[j] * wz[k] + ny * wx[i] * dy[j] * wz[k] + nz * wx[i] * wy[j] * dz[k]
                    )
                    divergence[target, x & 7, y & 7, z & 7] += areas[p] * slope
                    weight = weights[p] * wx[i] * wy[j] * wz[k]
                    if weight > 0:
                        sums = plane[target, x & 7, y & 7, z & 7]
                        sums[0] += weight
                        sums[1] += weight * nx
                        sums[2] += weight * ny
                        sums[3] += weight * nz
                        sums[4] += weight * (ahead_y + nz * (fz + k - points[p, 2]))


@kernel()
def refine(blocks: Any, parents: Any, coarse_around: Any, coarse: Any, fine: Any) -> None:  # pragma: no cover
    """Interpolate values at a finer level's vertices, linearly.

    Parameters
    ----------
    blocks : ndarray of int32, shape (B, 3)
        Places of the finer blocks.
    parents : ndarray of int32, shape (B,)
        The coarser block that holds each.
    coarse_around : ndarray of int32, shape (C, 27)
    coarse : ndarray of float32, shape (C, 8, 8, 8)
    fine : ndarray of float32, shape (B, 8, 8, 8)
        Filled.
    """
    part = np.empty((5, 5, 5), np.float32)
    for b in range(len(fine)):
        parent = parents[b]
        if parent < 0:
            fine[b] = 0
            continue
        ox, oy, oz = 4 * (blocks[b, 0] & 1), 4 * (blocks[b, 1] & 1), 4 * (blocks[b, 2] & 1)
        for i in range(5):
            for j in range(5):
                for k in range(5):
                    x, y, z = ox + i, oy + j, oz + k
                    source = coarse_around[parent, (((x >> 3) + 1) * 3 + (y >> 3) + 1) * 3 + (z >> 3) + 1]
                    if source >= 0 and source < len(coarse):
                        part[i, j, k] = coarse[source, x & 7, y & 7, z & 7]
                    else:  # nothing is known there: as at the last vertex
                        part[i, j, k] = coarse[parent, min(x, 7), min(y, 7), min(z, 7)]
        for i in range(8):
            for j in range(8):
                for k in range(8):
                    x, y, z = i >> 1, j >> 1, k >> 1
                    u, v, w = x + (i & 1), y + (j & 1), z + (k & 1)
                    fine[b, i, j, k] = 0.125 * (
                        part[x, y, z]
                        + part[x, y, w]
                        + part[x, v, z]
                        + part[x, v, w]
                        + part[u, y, z]
                        + part[u, y, w]
                        + part[u, v, z]
                        + part[u, v, w]
                    )


@kernel()
def relax(
    values: Any, right: Any, hold: Any, target: Any, around: Any, sweeps: int
) -> None:  # pragma: no cover
    """Gauss-Seidel sweeps of the field's equation over the solved blocks.

    Solves ``sum over neighbours (values' - values) - hold (values - target) = right``. Beyond the
    grid the field goes on unchanged.

    Parameters
    ----------
    values : ndarray of float32, shape (B, 8, 8, 8)
        Changed in the solved blocks.
    right, hold, target : ndarray of float32, shape (S, 8, 8, 8)
    around : ndarray of int32, shape (B, 27)
    sweeps : int
    """
    box = np.empty((10, 10, 10), np.float32)
    for sweep in range(sweeps):
        for step in range(len(right)):
            b = step if sweep % 2 == 0 else len(right) - 1 - step
            box[1:9, 1:9, 1:9] = values[b]
            low, high = around[b, 4], around[b, 22]
            box[0, 1:9, 1:9] = values[low, 7] if low >= 0 else values[b, 0]
            box[9, 1:9, 1:9] = values[high, 0] if high >= 0 else values[b, 7]
            low, high = around[b, 10], around[b, 16]
            box[1:9, 0, 1:9] = values[low, :, 7] if low >= 0 else values[b, :, 0]
            box[1:9, 9, 1:9] = values[high, :, 0] if high >= 0 else values[b, :, 7]
            low, high = around[b, 12], around[b, 14]
            box[1:9, 1:9, 0] = values[low, :, :, 7] if low >= 0 else values[b, :, :, 0]
            box[1:9, 1:9, 9] = values[high, :, :, 0] if high >= 0 else values[b, :, :, 7]
            for _ in range(2):
                for i in range(8):
                    for j in range(8):
                        for k in range(8):
                            total = (
                                box[i, j + 1, k + 1]
                                + box[i + 2, j + 1, k + 1]
                                + box[i + 1, j, k + 1]
                                + box[i + 1, j + 2, k + 1]
                                + box[i + 1, j + 1, k]
                                + box[i + 1, j + 1, k + 2]
                            )
                            held = hold[b, i, j, k]
                            box[i + 1, j + 1, k + 1] = (
                                total - right[b, i, j, k] + held * target[b, i, j, k]
                            ) / (np.float32(6) + held)
            values[b] = box[1:9, 1:9, 1:9]
