"""Numbers put in order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def stable_order(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """Find the order of numbers; equal ones stay as they are.

    Parameters
    ----------
    keys : ndarray of int64, shape (N,)
        Not negative.

    Returns
    -------
    ndarray of int64, shape (N,)
        Places in `keys`, as ``np.argsort(keys, kind="stable")`` gives them.
    """
    count = len(keys)
    if not count or int(keys.max()) >= np.iinfo(np.int64).max // count:
        return np.argsort(keys, kind="stable")
    # NumPy sorts plain numbers several times faster than it finds a stable order.
    placed = keys * count
    placed += np.arange(count)
    placed.sort()
    placed %= count
    return placed
