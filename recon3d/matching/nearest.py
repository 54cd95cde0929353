"""Features of two images whose descriptors are nearest to each other, among all of them.

The products of all descriptors come from matrix products of blocks. A match is the nearest of both
sides, and clearly nearer than the second of both [1]_.

References
----------
.. [1] Lowe, Distinctive Image Features from Scale-Invariant Keypoints, IJCV 2004.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recon3d.kernels import kernel

Matches = NDArray[np.uint32]

#: Distance of the nearest as a share of the second's; largest distance of a match, of unit vectors.
RATIO, DISTANCE = 0.8, 0.7
#: Length of a descriptor.
LENGTH = 512
#: Rows that are compared at once: their products stay in the cache.
_ROWS = 128


@dataclass(frozen=True, eq=False)
class Descriptors:
    """Descriptors as `mutual_nearest` compares them; see `prepared`."""

    values: NDArray[np.float32]
    squares: NDArray[np.float32]

    def first(self, count: int) -> Descriptors:
        """Take the first descriptors.

        Parameters
        ----------
        count : int

        Returns
        -------
        Descriptors
        """
        return Descriptors(self.values[:count], self.squares[:count])


def prepared(descriptors: NDArray[np.uint8]) -> Descriptors:
    """Prepare descriptors for `mutual_nearest`.

    Parameters
    ----------
    descriptors : ndarray of uint8, shape (N, 128)
        Of about the length `LENGTH`.

    Returns
    -------
    Descriptors
    """
    values = descriptors.astype(np.float32)
    return Descriptors(values, np.einsum("ij,ij->i", values, values))


def mutual_nearest(first: Descriptors, second: Descriptors) -> Matches:
    """Match each feature with the nearest of the other image, where both agree.

    Parameters
    ----------
    first, second : Descriptors

    Returns
    -------
    ndarray of uint32, shape (M, 2)
        Indices of the features, by the first image's.
    """
    # Whole numbers of 8 bits: a product of 128 is below 2^24, so float32 holds it without rounding, and the
    # matches depend neither on the blocks nor on the library that multiplies.
    a, b = first.values, second.values
    best = np.full((len(a), 2), np.inf, np.float32), np.full((len(b), 2), np.inf, np.float32)
    near = np.full(len(a), -1, np.int32), np.full(len(b), -1, np.int32)
    turned = np.ascontiguousarray(b.T)
    for start in range(0, len(a), _ROWS):
        products = a[start : start + _ROWS] @ turned
        _update(products, first.squares, second.squares, start, *best, *near)
    return agreed(*best, *near)


def agreed(
    best_a: NDArray[np.float32],
    best_b: NDArray[np.float32],
    near_a: NDArray[np.int32],
    near_b: NDArray[np.int32],
) -> Matches:
    """Take the pairs that are each other's nearest and pass the ratio test in both directions.

    Parameters
    ----------
    best_a, best_b : ndarray of float32, shape (N, 2), (M, 2)
        Squared distances of the nearest and the second; infinite where there is none.
    near_a, near_b : ndarray of int32, shape (N,), (M,)
        The nearest of the other image; negative where there is none.

    Returns
    -------
    ndarray of uint32, shape (K, 2)
    """
    if not len(near_a) or not len(near_b):
        return np.zeros((0, 2), np.uint32)
    limit, ratio = (LENGTH * DISTANCE) ** 2, RATIO**2
    clear_a, clear_b = ((b[:, 0] <= limit) & (b[:, 0] <= ratio * b[:, 1]) for b in (best_a, best_b))
    both = clear_a & (near_a >= 0) & clear_b[near_a] & (near_b[near_a] == np.arange(len(near_a)))
    rows = np.flatnonzero(both)
    return np.column_stack([rows, near_a[rows]]).astype(np.uint32)


@kernel(error_model="numpy")
def _update(
    products: Any,
    squares_a: Any,
    squares_b: Any,
    start: int,
    best_a: Any,
    best_b: Any,
    near_a: Any,
    near_b: Any,
) -> None:
    rows, columns = products.shape
    for k in range(rows):
        i = start + k
        one, two, where = np.float32(np.inf), np.float32(np.inf), -1
        for j in range(columns):
            distance = squares_a[i] + squares_b[j] - np.float32(2) * products[k, j]
            if distance < two:
                if distance < one:
                    two, one, where = one, distance, j
                else:
                    two = distance
            if distance < best_b[j, 1]:
                if distance < best_b[j, 0]:
                    best_b[j, 1], best_b[j, 0], near_b[j] = best_b[j, 0], distance, i
                else:
                    best_b[j, 1] = distance
        best_a[i, 0], best_a[i, 1], near_a[i] = one, two, where
