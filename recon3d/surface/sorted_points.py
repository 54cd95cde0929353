"""Points in the order of the blocks that they lie in, on all levels of a grid at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recon3d.surface import point_kernels as kernels
from recon3d.surface.blocks import OFFSETS, SIDE, Level, keys_of
from recon3d.surface.ordering import stable_order
from recon3d.threads import Threads
from recon3d.types import Floats, Ints

#: Points, and blocks with points, that are worth a thread.
_POINTS, _RUNS = 20_000, 256


class SortedPoints:
    """Points along a Z-order curve of blocks: on each level, those of a block follow each other.

    Parameters
    ----------
    points : ndarray of float64, shape (N, 3)
    origin : ndarray of float64, shape (3,)
        Of the grid.
    cell : float
        Distance of the finest level's vertices.
    depth : int
        The finest level has two to the power of this many vertices along a side.
    threads : Threads

    Attributes
    ----------
    order : ndarray of int64, shape (N,)
        The points' numbers.
    scaled : ndarray of float64, shape (N, 3)
        In that order, in cells of the finest level from the origin.
    """

    def __init__(self, points: Floats, origin: Floats, cell: float, depth: int, threads: Threads) -> None:
        self.origin, self.cell, self.depth, self.threads = origin, cell, depth, threads
        scaled = (points - origin) / cell
        codes = np.zeros(len(points), np.int64)
        threads.run(kernels.z_order, scaled, SIDE, codes, count=len(points), least=_POINTS)
        self.order = stable_order(codes)
        self.scaled, self._codes = scaled[self.order], codes[self.order]

    def scale(self, number: int) -> float:
        """Cells of a level in one of the finest.

        Parameters
        ----------
        number : int

        Returns
        -------
        float
        """
        return float(0.5 ** (self.depth - number))

    def level(self, number: int, keys: NDArray[np.int64]) -> Level:
        """Make a level of the grid.

        Parameters
        ----------
        number : int
        keys : ndarray of int64, shape (S,)
            Blocks to solve, in ascending order.

        Returns
        -------
        Level
        """
        return Level.of(self.origin, self.cell * 2 ** (self.depth - number), 2**number // SIDE, keys)

    def _runs(self, number: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where the points of each block begin, with their count at the end, and the blocks' places."""
        codes = self._codes >> (3 * (self.depth - number))
        starts = np.flatnonzero(np.diff(codes, prepend=-1))
        places = np.floor(self.scaled[starts] * self.scale(number) / SIDE).astype(np.int64)
        return np.append(starts, len(codes)), places

    def touched(self, number: int, reach: float) -> NDArray[np.int64]:
        """Find the blocks within some cells of points.

        Parameters
        ----------
        number : int
        reach : float
            Cells of the level, fewer than a block's side.

        Returns
        -------
        ndarray of int64, shape (S,)
            Keys in ascending order.
        """
        starts, places = self._runs(number)
        masks = np.zeros(len(places), np.int32)
        grid = (self.scaled, self.scale(number), starts, places, reach)
        self.threads.run(kernels.reach, *grid, masks, count=len(places), least=_RUNS)
        size = 2**number // SIDE
        run, side = np.nonzero(masks[:, None] >> np.arange(27) & 1)
        near = places[run] + OFFSETS[side]
        return np.unique(keys_of(near[((near >= 0) & (near < size)).all(axis=1)], size))

    def blocks_of(self, level: Level, number: int) -> tuple[NDArray[np.int64], Ints]:
        """Find which points lie in which block.

        Parameters
        ----------
        level : Level
            It stores all blocks that hold points.
        number : int

        Returns
        -------
        first : ndarray of int64, shape (B, 2)
            Where each block's points begin and end.
        block : ndarray of int32, shape (N,)
            The block of each point.
        """
        starts, places = self._runs(number)
        rows = level.rows(places)
        first = np.zeros((len(level.blocks), 2), np.int64)
        first[rows] = np.stack([starts[:-1], starts[1:]], axis=1)
        return first, np.repeat(rows, np.diff(starts))
