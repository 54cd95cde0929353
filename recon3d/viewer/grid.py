"""Positions in half the bytes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recon3d.types import Floats, Floats32


def sample(positions: Floats32, count: int = 200_000) -> Floats32:
    """Choose about `count` rows, evenly from all.

    Parameters
    ----------
    positions : ndarray of float32, shape (N, 3)
    count : int

    Returns
    -------
    ndarray of float32, shape (M, 3)
    """
    return positions[:: max(1, len(positions) // count)]


@dataclass(frozen=True, eq=False)
class Grid:
    """Positions rounded to a grid of 65536 steps a side, at half the bytes of float32.

    Parameters
    ----------
    values : ndarray of uint16 or float32, shape (N, 3)
    low : ndarray of float64, shape (3,)
    step : float
        The positions are ``low + step * values``.
    """

    values: NDArray[np.uint16] | Floats32
    low: Floats
    step: float

    @classmethod
    def of(cls, positions: Floats32) -> Grid:
        """Choose a grid that positions are rounded to, unless a few distant ones would make it too coarse.

        Parameters
        ----------
        positions : ndarray of float32, shape (N, 3)

        Returns
        -------
        Grid
        """
        low, high = positions.min(axis=0).astype(np.float64), positions.max(axis=0)
        step = float((high - low).max()) / 65535
        near = np.percentile(sample(positions), [2, 98], axis=0)
        if step == 0 or float(np.linalg.norm(near[1] - near[0])) < 10_000 * step:
            return cls(positions, np.zeros(3), 1.0)
        return cls(np.round((positions - low) / step).astype(np.uint16), low, step)


def as_shares(uv: Floats32) -> NDArray[np.uint16] | Floats32:
    """Round texture coordinates to 65536 steps, at half the bytes of float32.

    Parameters
    ----------
    uv : ndarray of float32, shape (N, 2)

    Returns
    -------
    ndarray of uint16 or float32, shape (N, 2)
        Shares of 65535, a sixteenth of a pixel of a 4K texture; as they were where some are not from
        0 to 1, as of a picture that repeats itself.
    """
    if not len(uv) or not (uv.min() >= 0 and uv.max() <= 1):
        return uv
    return np.round(uv * 65535).astype(np.uint16)
