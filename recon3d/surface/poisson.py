"""A field that is positive outside a surface and negative inside, from oriented points.

Screened Poisson reconstruction [1]_ on blocks of a regular grid. The gradient of the field is that of
the points' normals, spread over a cell or two; where there are points the field is also pulled to the
value that the mean of their planes gives. Coarse levels are solved everywhere, finer ones only near
points and near the coarse surface. Points that are sparse for a level act through coarser ones. Space
that photos see through is pulled outside.

References
----------
.. [1] Kazhdan and Hoppe, Screened Poisson Surface Reconstruction, TOG 2013.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from recon3d.surface import field_kernels as kernels
from recon3d.surface.blocks import SIDE, Level, places_of, touched
from recon3d.types import Floats, Floats32

Mask = NDArray[np.bool_]
#: Tells of places, each with a radius, whether photos see through them.
SeeThrough = Callable[[Floats, float], Mask]

#: Levels of the grid: the first has 32 vertices along a side.
_FIRST = 5
#: Up to this level all blocks are solved.
_WHOLE = 6
_SWEEPS_FIRST, _SWEEPS = 60, 6
#: Sum of spline weights of the points around one, from which on they are dense enough for a level.
_DENSE = 1.0
#: A spline spread by a spline has this value in its middle.
_MIDDLE = 0.55
#: How much points pull the field to their planes, and empty space pulls it outside.
_SCREEN, _EMPTY = 6.0, 0.5
#: Cells around a point that its spline reaches.
_REACH = 3.0


@dataclass(frozen=True, eq=False)
class Samples:
    """Points as the solver takes them.

    Parameters
    ----------
    points : ndarray of float64, shape (N, 3)
    normals : ndarray of float32, shape (N, 3)
    weights : ndarray of float32, shape (N,)
        Trust in each.
    """

    points: Floats
    normals: Floats32
    weights: Floats32


@dataclass(frozen=True, eq=False)
class Field:
    """A field on the finest level.

    Parameters
    ----------
    level : Level
    values : ndarray of float32, shape (B, 8, 8, 8)
        About -0.5 inside, 0.5 outside.
    """

    level: Level
    values: Floats32


def solve(samples: Samples, cell: float, *, gap: float = 0.0, see_through: SeeThrough | None = None) -> Field:
    """Compute the field.

    Parameters
    ----------
    samples : Samples
    cell : float
        Distance of the finest level's vertices.
    gap : float
        The surface is also made where no points are, up to this distance from the nearest.
    see_through : callable, optional

    Returns
    -------
    Field
    """
    low, high = samples.points.min(axis=0), samples.points.max(axis=0)
    extent = float((high - low).max()) * 1.1 + 8 * cell
    depth = max(_FIRST, int(np.ceil(np.log2(extent / cell))))
    origin = (low + high) / 2 - 0.5 * cell * 2**depth
    density, chosen = _levels_of_points(samples, origin, cell, depth)
    values: Floats32 = np.zeros((0, SIDE, SIDE, SIDE), np.float32)
    sparse = values
    coarser: Level | None = None
    for number in range(_FIRST, depth + 1):
        step = cell * 2 ** (depth - number)
        level = _level(samples, origin, step, number, coarser, values, gap)
        finer = np.zeros((len(level.blocks), SIDE, SIDE, SIDE), np.float32)
        right = np.zeros((level.solved, SIDE, SIDE, SIDE), np.float32)
        if coarser is not None:
            parents = coarser.find(level.centers(np.arange(len(level.blocks))))
            kernels.refine(level.blocks, parents, coarser.around, values, finer)
            kernels.refine(
                level.blocks[: level.solved], parents[: level.solved], coarser.around, sparse, right
            )
            right *= 0.25  # squared cells
        values = finer
        own = right.copy()
        hold, target = _splat(samples, chosen, density, level, number, own, right)
        if see_through is not None:
            _pull_outside(level, values, hold, target, see_through)
        sweeps = _SWEEPS_FIRST if number <= _WHOLE else _SWEEPS
        kernels.relax(values, own, hold, target, level.around, sweeps)
        coarser, sparse = level, right
    assert coarser is not None
    return Field(coarser, values)


def _levels_of_points(
    samples: Samples, origin: Floats, cell: float, depth: int
) -> tuple[Floats32, NDArray[np.int8]]:
    """The finest level at which each point has company, and the density of points there."""
    count = len(samples.points)
    density, chosen = np.zeros(count, np.float32), np.full(count, -1, np.int8)
    ones = np.ones(count, np.float32)
    for number in range(depth, _FIRST - 1, -1):
        step = cell * 2 ** (depth - number)
        size = 2**number // SIDE
        level = Level.of(origin, step, size, touched(samples.points, origin, step, size, _REACH))
        scaled = (samples.points - origin) / step
        block = level.find(samples.points)
        near = np.zeros((len(level.blocks), SIDE, SIDE, SIDE), np.float32)
        kernels.splat_density(scaled, ones, block, level.blocks, level.around, near)
        left = np.flatnonzero(chosen < 0)
        found = kernels.sample(scaled[left], block[left], level.blocks, level.around, near)
        enough = (found >= _DENSE) | (number == _FIRST)
        chosen[left[enough]], density[left[enough]] = number, found[enough]
        if not (chosen < 0).any():
            break
    return density, chosen


def _level(
    samples: Samples,
    origin: Floats,
    step: float,
    number: int,
    coarser: Level | None,
    values: Floats32,
    gap: float,
) -> Level:
    size = 2**number // SIDE
    if number <= _WHOLE or coarser is None:
        return Level.of(origin, step, size, np.arange(size**3, dtype=np.int64))
    keys = touched(samples.points, origin, step, size, _REACH)
    if gap > 0:
        octants = np.array(list(product((0, 1), repeat=3)))
        parts = _crossing_octants(coarser, values)
        block, octant = np.nonzero(parts)
        place = 2 * coarser.blocks[block].astype(np.int64) + octants[octant]
        width = step * SIDE
        solid = cKDTree(origin + width * (places_of(keys, size) + 0.5))
        distance, _ = solid.query(origin + width * (place + 0.5), workers=1, distance_upper_bound=gap)
        place = place[np.isfinite(distance)]
        keys = np.union1d(keys, (place[:, 0] * size + place[:, 1]) * size + place[:, 2])
    return Level.of(origin, step, size, keys)


def _crossing_octants(level: Level, values: Floats32) -> Mask:
    """Of each solved block the eighths (with a margin) in which the field changes its sign."""
    inside = values[: level.solved] < 0
    found = np.zeros((level.solved, 8), bool)
    for octant in range(8):
        x, y, z = (slice(3, 8) if octant >> shift & 1 else slice(0, 5) for shift in (2, 1, 0))
        part = inside[:, x, y, z].reshape(level.solved, -1)
        found[:, octant] = part.any(axis=1) & ~part.all(axis=1)
    return found


def _splat(
    samples: Samples,
    chosen: NDArray[np.int8],
    density: Floats32,
    level: Level,
    number: int,
    own: Floats32,
    sparse: Floats32,
) -> tuple[Floats32, Floats32]:
    """Add the level's points to its right side; what holds the field, and at which value.

    `sparse` receives what finer levels inherit: the points of this level only.
    """
    dense = chosen >= number
    last = chosen == number
    scale = 4.0 ** (number - chosen.astype(np.float64))
    areas = (_MIDDLE / np.maximum(density, 1e-6) * scale).astype(np.float32)
    scaled = (samples.points - level.origin) / level.cell
    block = level.find(samples.points)
    plane = np.zeros((level.solved, SIDE, SIDE, SIDE, 5), np.float32)
    for part, result, weights in (
        (dense, own, samples.weights * areas),
        (last, sparse, np.zeros_like(samples.weights)),
    ):
        kernels.splat_normals(
            scaled[part],
            samples.normals[part],
            areas[part],
            weights[part],
            block[part],
            level.blocks,
            level.around,
            result,
            plane,
        )
    weight = np.maximum(plane[..., 0], 1e-12)
    agreement = np.linalg.norm(plane[..., 1:4], axis=-1) / weight
    ahead = plane[..., 4] / weight / np.maximum(agreement, 0.1)
    hold = _SCREEN * np.minimum(plane[..., 0], 1.0) * agreement**2
    return hold.astype(np.float32), profiles(ahead).astype(np.float32)


def profiles(ahead: Floats32) -> Floats32:
    """Compute the field at distances in front of a flat surface.

    Parameters
    ----------
    ahead : ndarray of float32, shape (...)
        In cells; negative behind it.

    Returns
    -------
    ndarray of float32, shape (...)
    """
    s = np.minimum(np.abs(ahead), 1.5)
    value = np.where(s <= 0.5, 0.75 * s - s**3 / 3, 0.5 - (1.5 - s) ** 3 / 6)
    return np.copysign(value, ahead)


def _pull_outside(
    level: Level, values: Floats32, hold: Floats32, target: Floats32, see_through: SeeThrough
) -> None:
    """Hold the field outside in eighths of blocks without points that photos see through."""
    half = SIDE // 2
    radius = level.cell * half * np.sqrt(3) / 2
    centers = level.centers(np.arange(len(level.blocks)))
    for corner in product((0, 1), repeat=3):
        x, y, z = (slice(half * side, half * (side + 1)) for side in corner)
        free = np.ones(len(values), bool)
        free[: level.solved] = ~hold[:, x, y, z].any(axis=(1, 2, 3))
        rows = np.flatnonzero(free)
        offset = level.cell * half * (np.array(corner) - 0.5)
        empty = rows[see_through(centers[rows] + offset, radius)]
        solved = empty[empty < level.solved]
        hold[solved, x, y, z], target[solved, x, y, z] = _EMPTY, 0.5
        values[empty[empty >= level.solved], x, y, z] = 0.5
