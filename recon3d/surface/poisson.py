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

import functools
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from recon3d.surface import field_kernels, point_kernels
from recon3d.surface.blocks import SIDE, Level, places_of
from recon3d.surface.bounds import bounds
from recon3d.surface.sorted_points import SortedPoints
from recon3d.threads import ALONE, Threads
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
#: Blocks and points that are worth a thread.
_BLOCKS, _POINTS = 64, 20_000


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


@dataclass(frozen=True, eq=False)
class PointLevels:
    """At which levels points act, in the order of `SortedPoints`.

    Parameters
    ----------
    density : ndarray of float32, shape (N,)
        Of points, at the finest level at which each has company.
    finest : ndarray of int8, shape (N,)
        That level.
    """

    density: Floats32
    finest: NDArray[np.int8]


@dataclass(frozen=True, eq=False)
class Coarse:
    """What the field on one level leaves for the next, finer one.

    Parameters
    ----------
    level : Level
    values : ndarray of float32, shape (B, 8, 8, 8)
    inherited : ndarray of float32, shape (S, 8, 8, 8)
        Right side, in the solved blocks, that finer levels get from here: of points that are too sparse
        for them.
    """

    level: Level
    values: Floats32
    inherited: Floats32


def octree_depth(points: Floats, cell: float) -> int:
    """Tell how fine the finest level is.

    Parameters
    ----------
    points : ndarray of float64, shape (N, 3)
    cell : float
        Distance of its vertices.

    Returns
    -------
    int
        It has two to the power of this many vertices along a side.
    """
    low, high = bounds(points)
    extent = float((high - low).max()) * 1.1 + 8 * cell
    return max(_FIRST, int(np.ceil(np.log2(extent / cell))))


def point_levels(points: Floats, cell: float, threads: Threads = ALONE) -> PointLevels:
    """Find the levels at which points act.

    Parameters
    ----------
    points : ndarray of float64, shape (N, 3)
    cell : float
        Distance of the finest level's vertices.
    threads : Threads, optional

    Returns
    -------
    PointLevels
    """
    return _levels_of_points(_sorted(points, cell, threads))


def _sorted(points: Floats, cell: float, threads: Threads) -> SortedPoints:
    depth = octree_depth(points, cell)
    low, high = bounds(points)
    origin = (low + high) / 2 - 0.5 * cell * 2**depth
    return SortedPoints(points, origin, cell, depth, threads)


class Solver:
    """Computes the field level by level, in one call or several: a level needs only the one before.

    Parameters
    ----------
    samples : Samples
    cell : float
        Distance of the finest level's vertices.
    levels : PointLevels, optional
        From `point_levels`; by default computed.
    gap : float
        The surface is also made where no points are, up to this distance from the nearest.
    see_through : callable, optional
    threads : Threads, optional
    """

    def __init__(
        self,
        samples: Samples,
        cell: float,
        *,
        levels: PointLevels | None = None,
        gap: float = 0.0,
        see_through: SeeThrough | None = None,
        threads: Threads = ALONE,
    ) -> None:
        self._points = _sorted(samples.points, cell, threads)
        self._depth, order = self._points.depth, self._points.order
        self._normals, self._weights = samples.normals[order], samples.weights[order]
        levels = levels or _levels_of_points(self._points)
        self._finest, self._areas = levels.finest, _MIDDLE / np.maximum(levels.density, 1e-6)
        self._gap, self._see_through, self._threads = gap, see_through, threads

    def coarse(self) -> Coarse | None:
        """Compute the field on the coarser half of the levels, which costs as much as the finer one.

        Returns
        -------
        Coarse or None
            None where there is one level.
        """
        coarser = None
        for number in range(_FIRST, (_FIRST + self._depth + 1) // 2):
            coarser = self._finer(number, coarser)
        return coarser

    def field(self, coarser: Coarse | None = None) -> Field:
        """Compute the field on the finest level.

        Parameters
        ----------
        coarser : Coarse, optional
            A level to go on from, of an equal solver.

        Returns
        -------
        Field
        """
        number = _FIRST if coarser is None else int(np.log2(coarser.level.size * SIDE)) + 1
        given = [coarser]
        del coarser  # handed over, so that `_finer` can free it
        for finer in range(number, self._depth + 1):
            given.append(self._finer(finer, given.pop()))
        (finest,) = given
        assert finest is not None
        return Field(finest.level, finest.values)

    def _finer(self, number: int, coarser: Coarse | None) -> Coarse:
        points, threads = self._points, self._threads
        level = _level(points, number, coarser, self._gap)
        values = np.zeros((len(level.blocks), SIDE, SIDE, SIDE), np.float32)
        right = np.zeros((level.solved, SIDE, SIDE, SIDE), np.float32)
        if coarser is not None:
            parents = coarser.level.find(level.centers(np.arange(len(level.blocks))))
            grid = (level.blocks, parents, coarser.level.around)
            for source, filled in ((coarser.values, values), (coarser.inherited, right)):
                threads.run(
                    *(field_kernels.refine, *grid, source, filled),
                    count=len(filled),
                    least=_BLOCKS,
                    scratch=field_kernels.refine_scratch,
                )
            right *= 0.25  # squared cells
            del coarser, parents, grid, source  # where nobody else needs it, its memory is free
        inherited = right.copy() if number < self._depth else right[:0]
        hold = np.empty((level.solved, SIDE, SIDE, SIDE), np.float32)
        first, _ = points.blocks_of(level, number)
        finest = self._finest
        own = np.where(
            finest >= number, self._areas * np.exp2(2.0 * (number - finest.astype(np.float64))), 0
        ).astype(np.float32)
        threads.run(
            point_kernels.gather_normals,
            points.scaled,
            points.scale(number),
            self._normals,
            own,
            self._weights,
            finest == number,
            first,
            level.blocks,
            level.around,
            _SCREEN,
            right,
            inherited,
            hold,
            count=level.solved,
            least=_blocks_with_points(level, points),
            scratch=point_kernels.normals_scratch,
            uneven=True,
        )
        if self._see_through is not None:
            _pull_outside(level, values, hold, right, self._see_through, threads)
        _relax(values, right, hold, level, _SWEEPS_FIRST if number <= _WHOLE else _SWEEPS, threads)
        return Coarse(level, values, inherited)


def _blocks_with_points(level: Level, points: SortedPoints) -> int:
    """Blocks that together have points worth a thread: few blocks of a coarse level have them all."""
    return min(_BLOCKS, -(-_POINTS * level.solved // max(len(points.scaled), 1)))


def _levels_of_points(points: SortedPoints) -> PointLevels:
    count = len(points.scaled)
    density, chosen = np.zeros(count, np.float32), np.full(count, -1, np.int8)
    found = np.zeros(count, np.float32)
    for number in range(points.depth, _FIRST - 1, -1):
        level = points.level(number, points.touched(number, _REACH))
        first, block = points.blocks_of(level, number)
        near = np.zeros((level.solved, SIDE, SIDE, SIDE), np.float32)
        grid = (level.blocks, level.around, near)
        scaled, scale = points.scaled, points.scale(number)
        run = functools.partial(points.threads.run, scratch=point_kernels.density_scratch)
        least = _blocks_with_points(level, points)
        run(
            *(point_kernels.gather_density, scaled, scale, first, *grid),
            count=level.solved,
            least=least,
            uneven=True,
        )
        run(point_kernels.sample, scaled, scale, block, *grid, found, count=count, least=_POINTS)
        enough = (chosen < 0) & ((found >= _DENSE) | (number == _FIRST))
        chosen[enough], density[enough] = number, found[enough]
        if not (chosen < 0).any():
            break
    return PointLevels(density, chosen)


def _level(points: SortedPoints, number: int, coarser: Coarse | None, gap: float) -> Level:
    size = 2**number // SIDE
    if number <= _WHOLE or coarser is None:
        return points.level(number, np.arange(size**3, dtype=np.int64))
    keys = points.touched(number, _REACH)
    if gap > 0:
        octants = np.array(list(product((0, 1), repeat=3)))
        parts = np.zeros((coarser.level.solved, 8), bool)
        points.threads.run(field_kernels.cross, coarser.values, parts, count=len(parts), least=_BLOCKS)
        block, octant = np.nonzero(parts)
        place = 2 * coarser.level.blocks[block].astype(np.int64) + octants[octant]
        solid = cKDTree(places_of(keys, size) * 1.0)
        reach = gap / (points.cell * 2 ** (points.depth - number) * SIDE)
        distance, _ = solid.query(place, workers=points.threads.count, distance_upper_bound=reach)
        place = place[np.isfinite(distance)]
        keys = np.union1d(keys, (place[:, 0] * size + place[:, 1]) * size + place[:, 2])
    return points.level(number, keys)


def _relax(
    values: Floats32, right: Floats32, hold: Floats32, level: Level, sweeps: int, threads: Threads
) -> None:
    """Sweep over every second block, then over the others: those of one kind do not touch each other."""
    odd = level.blocks[: level.solved].sum(axis=1) % 2
    kinds = [np.flatnonzero(odd == kind) for kind in (0, 1)]
    for sweep in range(sweeps):
        for rows in kinds if sweep % 2 == 0 else [rows[::-1].copy() for rows in reversed(kinds)]:
            grid = (values, right, hold, level.around, rows)
            threads.run(
                *(field_kernels.relax, *grid),
                count=len(rows),
                least=_BLOCKS,
                scratch=field_kernels.relax_scratch,
            )


def _pull_outside(
    level: Level, values: Floats32, hold: Floats32, right: Floats32, see_through: SeeThrough, threads: Threads
) -> None:
    """Hold the field outside in eighths of blocks without points that photos see through."""
    half = SIDE // 2
    radius = level.cell * half * np.sqrt(3) / 2
    centers = level.centers(np.arange(len(level.blocks)))
    free = np.ones((8, len(values)), bool)
    threads.run(field_kernels.find_free, hold, free, count=level.solved, least=_BLOCKS)
    for octant, corner in enumerate(product((0, 1), repeat=3)):
        x, y, z = (slice(half * side, half * (side + 1)) for side in corner)
        rows = np.flatnonzero(free[octant])
        offset = level.cell * half * (np.array(corner) - 0.5)
        empty = rows[see_through(centers[rows] + offset, radius)]
        solved = empty[empty < level.solved]
        hold[solved, x, y, z] = _EMPTY
        right[solved, x, y, z] -= _EMPTY * 0.5
        values[empty[empty >= level.solved], x, y, z] = 0.5
