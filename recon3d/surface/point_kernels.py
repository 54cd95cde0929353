"""Compiled loops that bring points to the blocks of a grid; `recon3d.surface.poisson` says what they are for.

Arrays of values have shape (B, 8, 8, 8), with a block's vertices in the order x, y, z.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from recon3d.kernels import kernel
from recon3d.types import Floats, Floats32


@kernel(_nrt=False, forceinline=True)
def _spline(x: float, weights: Any, slopes: Any) -> int:  # pragma: no cover
    """Quadratic B-spline at four vertices, and its difference between half cells; the first vertex."""
    first = math.floor(x) - 1
    for k in range(4):
        weights[k] = quadratic(x - (first + k))
        slopes[k] = quadratic(x - (first + k) - 0.5) - quadratic(x - (first + k) + 0.5)
    return first


@kernel(_nrt=False)
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


@kernel(_nrt=False)
def z_order(points: Any, side: int, codes: Any, start: int, stop: int) -> None:  # pragma: no cover
    """Number the blocks of points along a Z-order curve.

    Parameters
    ----------
    points : ndarray of float64, shape (N, 3)
        In cells from the origin, none negative.
    side : int
        Of a block, in cells.
    codes : ndarray of int64, shape (N,)
        Filled: bits of x, y and z by turns. Without the last three it is the code of a block twice as large.
    start, stop : int
        Points to look at.
    """
    for p in range(start, stop):
        code = 0
        for axis in range(3):
            place = int(points[p, axis] / side)
            for bit in range(21):
                code |= (place >> bit & 1) << (3 * bit + 2 - axis)
        codes[p] = code


@kernel(_nrt=False)
def reach(
    points: Any, scale: float, starts: Any, places: Any, cells: float, masks: Any, start: int, stop: int
) -> None:  # pragma: no cover
    """Tell which of the 3 x 3 x 3 blocks around each block lie within some cells of its points.

    Parameters
    ----------
    points : ndarray of float64, shape (N, 3)
        In cells of the finest level from the origin; those of a block follow each other.
    scale : float
        Cells of this level in one of the finest.
    starts : ndarray of int64, shape (R + 1,)
        Where each block's points begin.
    places : ndarray of int64, shape (R, 3)
        Of the blocks.
    cells : float
        Fewer than a block's side.
    masks : ndarray of int32, shape (R,)
        Filled: one bit for each block around, in the order of `Level.around`.
    start, stop : int
        Blocks to look at.
    """
    for r in range(start, stop):
        mask = 0
        for p in range(starts[r], starts[r + 1]):
            bits = 1
            for axis in range(3):
                local = points[p, axis] * scale - 8 * places[r, axis]
                # Of three blocks along the axis, as bits 0 to 2, spread over those found so far.
                near = 2
                if local < cells:
                    near |= 1
                if local >= 8 - cells:
                    near |= 4
                spread = 0
                for known in range(9):
                    if bits >> known & 1:
                        spread |= near << (3 * known)
                bits = spread
            mask |= bits
        masks[r] = mask


def density_scratch() -> tuple[Floats, ...]:
    """Make what a part of `gather_density` or `sample` needs for itself.

    Returns
    -------
    tuple of ndarray
        Four of float64, shape (4,).
    """
    return tuple(np.empty(4) for _ in range(4))


@kernel(_nrt=False)
def gather_density(
    points: Any,
    scale: float,
    first: Any,
    blocks: Any,
    around: Any,
    density: Any,
    wx: Any,
    wy: Any,
    wz: Any,
    slopes: Any,
    start: int,
    stop: int,
) -> None:  # pragma: no cover
    """Sum the splines of the points around each vertex.

    Parameters
    ----------
    points : ndarray of float64, shape (N, 3)
    scale : float
        See `reach`.
    first : ndarray of int64, shape (B, 2)
        Where each block's points begin and end.
    blocks, around : ndarray of int32, shapes (B, 3) and (B, 27)
        See `Level`.
    density : ndarray of float32, shape (S, 8, 8, 8)
        Added to.
    wx, wy, wz, slopes : ndarray of float64, shape (4,)
        See `density_scratch`.
    start, stop : int
        Blocks to fill.
    """
    for b in range(start, stop):
        for side in range(27):
            source = around[b, side]
            if source < 0:
                continue
            for p in range(first[source, 0], first[source, 1]):
                ix = math.floor(points[p, 0] * scale) - 1 - 8 * blocks[b, 0]
                iy = math.floor(points[p, 1] * scale) - 1 - 8 * blocks[b, 1]
                iz = math.floor(points[p, 2] * scale) - 1 - 8 * blocks[b, 2]
                if min(ix, iy, iz) < -3 or max(ix, iy, iz) > 7:
                    continue
                _spline(points[p, 0] * scale, wx, slopes)
                _spline(points[p, 1] * scale, wy, slopes)
                _spline(points[p, 2] * scale, wz, slopes)
                for i in range(max(0, -ix), min(4, 8 - ix)):
                    for j in range(max(0, -iy), min(4, 8 - iy)):
                        part = wx[i] * wy[j]
                        for k in range(max(0, -iz), min(4, 8 - iz)):
                            density[b, ix + i, iy + j, iz + k] += part * wz[k]


@kernel(_nrt=False)
def sample(
    points: Any,
    scale: float,
    block: Any,
    blocks: Any,
    around: Any,
    values: Any,
    found: Any,
    wx: Any,
    wy: Any,
    wz: Any,
    slopes: Any,
    start: int,
    stop: int,
) -> None:  # pragma: no cover
    """Evaluate values at points, with the weights of `gather_density`.

    Parameters
    ----------
    points : ndarray of float64, shape (N, 3)
    scale : float
        See `reach`.
    block : ndarray of int32, shape (N,)
        The block of each.
    blocks, around : ndarray of int32, shapes (B, 3) and (B, 27)
        See `Level`.
    values : ndarray of float32, shape (S, 8, 8, 8)
    found : ndarray of float32, shape (N,)
        Filled.
    wx, wy, wz, slopes : ndarray of float64, shape (4,)
        See `density_scratch`.
    start, stop : int
        Points to look at.
    """
    for p in range(start, stop):
        b = block[p]
        ix = _spline(points[p, 0] * scale, wx, slopes) - 8 * blocks[b, 0]
        iy = _spline(points[p, 1] * scale, wy, slopes) - 8 * blocks[b, 1]
        iz = _spline(points[p, 2] * scale, wz, slopes) - 8 * blocks[b, 2]
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
        found[p] = total


def normals_scratch() -> tuple[Floats | Floats32, ...]:
    """Make what a part of `gather_normals` needs for itself.

    Returns
    -------
    tuple of ndarray
        Six of float64, shape (4,), and one of float32, shape (8, 8, 8, 5).
    """
    return *(np.empty(4) for _ in range(6)), np.empty((8, 8, 8, 5), np.float32)


@kernel(_nrt=False)
def gather_normals(
    points: Any,
    scale: float,
    normals: Any,
    areas: Any,
    weights: Any,
    inherited: Any,
    first: Any,
    blocks: Any,
    around: Any,
    screen: float,
    right: Any,
    sparse: Any,
    hold: Any,
    wx: Any,
    wy: Any,
    wz: Any,
    dx: Any,
    dy: Any,
    dz: Any,
    plane: Any,
    start: int,
    stop: int,
) -> None:  # pragma: no cover
    """Sum the divergence of the normals around each vertex, and the pull to their planes.

    Parameters
    ----------
    points : ndarray of float64, shape (N, 3)
    scale : float
        See `reach`.
    normals : ndarray of float32, shape (N, 3)
    areas : ndarray of float32, shape (N,)
        Of the surface that a point stands for, in squared cells; 0 for those that do not count.
    weights : ndarray of float32, shape (N,)
        For the planes, beside the areas.
    inherited : ndarray of bool, shape (N,)
        Points that finer levels do not have.
    first : ndarray of int64, shape (B, 2)
        Where each block's points begin and end.
    blocks, around : ndarray of int32, shapes (B, 3) and (B, 27)
        See `Level`.
    screen : float
        Pull of planes.
    right : ndarray of float32, shape (S, 8, 8, 8)
        The divergence is added, less the pull times the value that is pulled to.
    sparse : ndarray of float32, shape (S, 8, 8, 8) or (0, 8, 8, 8)
        Receives the divergence of the inherited points, if it is not empty.
    hold : ndarray of float32, shape (S, 8, 8, 8)
        Filled: the pull.
    wx, wy, wz, dx, dy, dz, plane : ndarray of float64, shape (4,), and of float32, shape (8, 8, 8, 5)
        See `normals_scratch`.
    start, stop : int
        Blocks to fill.
    """
    keep = len(sparse) > 0
    for b in range(start, stop):
        for i in range(8):
            for j in range(8):
                for k in range(8):
                    for m in range(5):
                        plane[i, j, k, m] = 0
        for side in range(27):
            source = around[b, side]
            if source < 0:
                continue
            for p in range(first[source, 0], first[source, 1]):
                if areas[p] <= 0:
                    continue
                px, py, pz = points[p, 0] * scale, points[p, 1] * scale, points[p, 2] * scale
                ix = math.floor(px) - 1 - 8 * blocks[b, 0]
                iy = math.floor(py) - 1 - 8 * blocks[b, 1]
                iz = math.floor(pz) - 1 - 8 * blocks[b, 2]
                if min(ix, iy, iz) < -3 or max(ix, iy, iz) > 7:
                    continue
                fx, fy, fz = _spline(px, wx, dx), _spline(py, wy, dy), _spline(pz, wz, dz)
                nx, ny, nz = normals[p, 0], normals[p, 1], normals[p, 2]
                passed = keep and inherited[p]
                scaled = weights[p] * areas[p]
                for i in range(max(0, -ix), min(4, 8 - ix)):
                    ahead_x = nx * (fx + i - px)
                    for j in range(max(0, -iy), min(4, 8 - iy)):
                        ahead_y = ahead_x + ny * (fy + j - py)
                        sx = nx * dx[i] * wy[j] + ny * wx[i] * dy[j]
                        sz = nz * wx[i] * wy[j]
                        across = scaled * wx[i] * wy[j]
                        for k in range(max(0, -iz), min(4, 8 - iz)):
                            slope = areas[p] * (sx * wz[k] + sz * dz[k])
                            right[b, ix + i, iy + j, iz + k] += slope
                            if passed:
                                sparse[b, ix + i, iy + j, iz + k] += slope
                            weight = across * wz[k]
                            x, y, z = ix + i, iy + j, iz + k
                            plane[x, y, z, 0] += weight
                            plane[x, y, z, 1] += weight * nx
                            plane[x, y, z, 2] += weight * ny
                            plane[x, y, z, 3] += weight * nz
                            plane[x, y, z, 4] += weight * (ahead_y + nz * (fz + k - pz))
        for i in range(8):
            for j in range(8):
                for k in range(8):
                    total, ahead = plane[i, j, k, 0], plane[i, j, k, 4]
                    if total <= 0:
                        hold[b, i, j, k] = 0
                        continue
                    mx, my, mz = plane[i, j, k, 1], plane[i, j, k, 2], plane[i, j, k, 3]
                    agreement = math.sqrt(mx * mx + my * my + mz * mz) / total
                    pull = screen * min(total, 1.0) * agreement * agreement
                    hold[b, i, j, k] = pull
                    right[b, i, j, k] -= pull * profile(ahead / total / max(agreement, 0.1))


@kernel(_nrt=False)
def profile(ahead: float) -> float:  # pragma: no cover
    """Compute the field at a distance in front of a flat surface.

    Parameters
    ----------
    ahead : float
        In cells; negative behind it.

    Returns
    -------
    float
        The spline's integral: -0.5 behind, 0.5 ahead.
    """
    s = min(abs(ahead), 1.5)
    value = 0.75 * s - s**3 / 3 if s <= 0.5 else 0.5 - (1.5 - s) ** 3 / 6
    return value if ahead >= 0 else -value
