"""The step of a surface that fits best and bends little, by conjugate gradients.

SciPy's solver adds and multiplies vectors on one thread, which took as long as the products with the matrix
on two.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from recon3d.kernels import kernel
from recon3d.threads import Threads
from recon3d.types import Floats, Ints

#: Rounds, and the precision at which they end.
_ROUNDS, _PRECISION = 30, 1e-2
#: Vertices that are worth a thread, and those whose products are added together: the same for all threads.
LEAST, _TOGETHER = 20_000, 32_768


def smooth_step(
    hold: Floats, right: Floats, near: tuple[Ints, Ints], stiffness: float, threads: Threads
) -> Floats:
    """Find the step that fits best and bends little: the mean of a vertex's neighbours is near its own.

    Parameters
    ----------
    hold, right : ndarray of float64, shape (V,)
        The step s that fits best has ``hold * s = right``.
    near : (starts, neighbors), ndarrays of int32, shapes (V + 1,) and (N,)
        Rows of the vertices' adjacency, which is symmetric.
    stiffness : float
        One over the usual bend.
    threads : Threads

    Returns
    -------
    ndarray of float64, shape (V,)
    """
    weight, count = stiffness**2, len(hold)
    scale = 1 / (hold + weight)
    step, rest, along = np.zeros(count), right.copy(), scale * right
    bent, shared, product = np.empty(count), np.empty(count), np.empty(count)
    parts = -(-count // _TOGETHER)
    sums, squares = np.empty(parts), np.empty(parts)
    threads.run(_multiply, rest, along, sums, _TOGETHER, count=parts)
    left, enough = sums.sum(), _PRECISION * np.linalg.norm(right)
    for _ in range(_ROUNDS if enough > 0 else 0):
        threads.run(bend, *near, along, bent, shared, count=count, least=LEAST)
        rows = (*near, hold, weight, along, bent, shared, product)
        threads.run(resist, *rows, count=count, least=LEAST)
        threads.run(_multiply, along, product, sums, _TOGETHER, count=parts)
        size = left / sums.sum()
        vectors = (along, product, scale, step, rest, sums, squares)
        threads.run(_descend, size, *vectors, _TOGETHER, count=parts)
        if np.sqrt(squares.sum()) <= enough:
            break
        turn, left = sums.sum() / left, sums.sum()
        threads.run(_turn, turn, scale, rest, along, count=count, least=LEAST)
    return step


@kernel(_nrt=False)
def bend(
    starts: Any, neighbors: Any, step: Any, bent: Any, shared: Any, start: int, stop: int
) -> None:  # pragma: no cover
    """Find how far a step is from the mean of its neighbours.

    Parameters
    ----------
    starts, neighbors : ndarray of int32, shapes (V + 1,) and (N,)
        Rows of the vertices' adjacency, which is symmetric.
    step : ndarray of float64, shape (V,)
    bent, shared : ndarray of float64, shape (V,)
        Filled from `start` to `stop`: the distance, and its part for each neighbour.
    start, stop : int
    """
    for v in range(start, stop):
        total = 0.0
        for k in range(starts[v], starts[v + 1]):
            total += step[neighbors[k]]
        share = 1.0 / max(starts[v + 1] - starts[v], 1)
        bent[v] = step[v] - total * share
        shared[v] = bent[v] * share


@kernel(_nrt=False)
def resist(
    starts: Any,
    neighbors: Any,
    hold: Any,
    weight: float,
    step: Any,
    bent: Any,
    shared: Any,
    result: Any,
    start: int,
    stop: int,
) -> None:  # pragma: no cover
    """Apply the normal equations of a step that fits and bends little.

    Parameters
    ----------
    starts, neighbors : ndarray of int32, shapes (V + 1,) and (N,)
        As `bend` takes them.
    hold : ndarray of float64, shape (V,)
        What the photos hold a vertex with.
    weight : float
        Of the bends' squares.
    step, bent, shared : ndarray of float64, shape (V,)
        As `bend` takes and fills them.
    result : ndarray of float64, shape (V,)
        Filled from `start` to `stop`.
    start, stop : int
    """
    for v in range(start, stop):
        total = 0.0
        for k in range(starts[v], starts[v + 1]):
            total += shared[neighbors[k]]
        result[v] = hold[v] * step[v] + weight * (bent[v] - total)


@kernel(_nrt=False)
def _multiply(
    first: Any, second: Any, sums: Any, together: int, start: int, stop: int
) -> None:  # pragma: no cover
    """Products of two vectors, added up in parts of `together`."""
    for part in range(start, stop):
        total = 0.0
        for v in range(part * together, min((part + 1) * together, len(first))):
            total += first[v] * second[v]
        sums[part] = total


@kernel(_nrt=False)
def _descend(
    size: float,
    along: Any,
    product: Any,
    scale: Any,
    step: Any,
    rest: Any,
    sums: Any,
    squares: Any,
    together: int,
    start: int,
    stop: int,
) -> None:  # pragma: no cover
    """Go along a direction; what is left, its scaled square and its square in parts of `together`."""
    for part in range(start, stop):
        total = square = 0.0
        for v in range(part * together, min((part + 1) * together, len(step))):
            step[v] += size * along[v]
            rest[v] -= size * product[v]
            total += scale[v] * rest[v] * rest[v]
            square += rest[v] * rest[v]
        sums[part], squares[part] = total, square


@kernel(_nrt=False)
def _turn(turn: float, scale: Any, rest: Any, along: Any, start: int, stop: int) -> None:  # pragma: no cover
    for v in range(start, stop):
        along[v] = scale[v] * rest[v] + turn * along[v]
