"""The box around points."""

from __future__ import annotations

import numpy as np

from recon3d.types import Floats


def bounds(points: Floats) -> tuple[Floats, Floats]:
    """Find the box around points.

    Parameters
    ----------
    points : ndarray of float64, shape (N, 3)
        One at least.

    Returns
    -------
    low, high : ndarray of float64, shape (3,)
    """
    # NumPy takes four times as long for ``min(axis=0)`` of rows this short.
    low, high = (np.array([end(column) for column in points.T]) for end in (np.min, np.max))
    return low, high
