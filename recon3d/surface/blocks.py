"""A grid of which only the blocks near a surface are stored.

The vertices of a level lie ``cell`` apart. They are stored in blocks of 8 x 8 x 8. Solved blocks come
first; a ring around them holds values that are given.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from recon3d.types import Floats, Ints

#: Vertices along a block's side.
SIDE = 8
#: Of the blocks around one, in the order of `Level.around`.
OFFSETS = np.array(list(product((-1, 0, 1), repeat=3)), np.int64)


@dataclass(frozen=True, eq=False)
class Level:
    """The stored blocks of one resolution.

    Parameters
    ----------
    origin : ndarray of float64, shape (3,)
        Position of vertex (0, 0, 0).
    cell : float
        Distance of neighbouring vertices.
    size : int
        Blocks along the side of the whole grid.
    blocks : ndarray of int32, shape (B, 3)
        Places of the stored blocks, the solved ones first.
    solved : int
        Number of solved blocks.
    around : ndarray of int32, shape (B, 27)
        The 3 x 3 x 3 blocks around each, -1 where none is stored; x varies slowest.
    """

    origin: Floats
    cell: float
    size: int
    blocks: Ints
    solved: int
    around: Ints

    @classmethod
    def of(cls, origin: Floats, cell: float, size: int, solved: NDArray[np.int64]) -> Level:
        """Store blocks and the ring around them.

        Parameters
        ----------
        origin : ndarray of float64, shape (3,)
        cell : float
        size : int
        solved : ndarray of int64, shape (S,)
            Keys of the blocks to solve, in ascending order; see `keys_of`.

        Returns
        -------
        Level
        """
        places = places_of(solved, size)
        near = [keys_of(places[inside] + offset, size) for offset, inside in _around(places, size)]
        ring = np.setdiff1d(np.concatenate(near), solved)
        del near
        keys = np.concatenate([solved, ring])
        order = np.argsort(keys)
        blocks = places_of(keys, size)
        around = np.full((len(keys), 27), -1, np.int32)
        for column, (offset, inside) in enumerate(_around(blocks, size)):
            around[inside, column] = _find(keys, order, keys_of(blocks[inside] + offset, size))
        return cls(origin, cell, size, blocks.astype(np.int32), len(solved), around)

    def find(self, points: Floats) -> Ints:
        """Find the blocks in which points lie.

        Parameters
        ----------
        points : ndarray of float64, shape (N, 3)

        Returns
        -------
        ndarray of int32, shape (N,)
            -1 where no block is stored.
        """
        return self.rows(np.floor((points - self.origin) / (self.cell * SIDE)).astype(np.int64))

    def rows(self, places: NDArray[np.int64]) -> Ints:
        """Find the rows of blocks.

        Parameters
        ----------
        places : ndarray of int64, shape (N, 3)

        Returns
        -------
        ndarray of int32, shape (N,)
            -1 where no block is stored.
        """
        keys = keys_of(self.blocks.astype(np.int64), self.size)
        return _find(keys, np.argsort(keys), keys_of(places, self.size))

    def centers(self, rows: NDArray[np.int64]) -> Floats:
        """Compute the middles of blocks.

        Parameters
        ----------
        rows : ndarray of int64, shape (N,)

        Returns
        -------
        ndarray of float64, shape (N, 3)
        """
        middle: Floats = self.origin + self.cell * (SIDE * self.blocks[rows] + (SIDE - 1) / 2)
        return middle


def _around(places: NDArray[np.int64], size: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.bool_]]]:
    """For each of `OFFSETS`, it and which blocks have a neighbour there."""
    first, last = places.T > 0, size - 1 > places.T
    for offset in OFFSETS:
        inside = np.ones(len(places), bool)
        for axis, step in enumerate(offset):
            if step:
                inside &= first[axis] if step < 0 else last[axis]
        yield offset, inside


def keys_of(places: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """One number for each block's place.

    Parameters
    ----------
    places : ndarray of int64, shape (N, 3)
    size : int
        Blocks along the side of the grid.

    Returns
    -------
    ndarray of int64, shape (N,)
    """
    keys: NDArray[np.int64] = (places[:, 0] * size + places[:, 1]) * size + places[:, 2]
    return keys


def places_of(keys: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Undo `keys_of`.

    Parameters
    ----------
    keys : ndarray of int64, shape (N,)
    size : int

    Returns
    -------
    ndarray of int64, shape (N, 3)
    """
    return np.stack([keys // (size * size), keys // size % size, keys % size], axis=1)


def _find(keys: NDArray[np.int64], order: NDArray[np.int64], wanted: NDArray[np.int64]) -> Ints:
    if not len(keys):
        return np.full(len(wanted), -1, np.int32)
    ascending = keys[order]
    place = np.minimum(np.searchsorted(ascending, wanted), len(keys) - 1)
    return np.where(ascending[place] == wanted, order[place], -1).astype(np.int32)
