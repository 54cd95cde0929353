"""The solver of global seam levelling: conjugate gradients for all colour channels at once."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse import linalg

from recon3d.kernels import kernel
from recon3d.types import Floats, Ints

#: Share of the right side that may be left, and steps at most.
_LEFT, _STEPS = 1e-3, 300

_compiled = kernel(_nrt=False)


def solve(matrix: Any, right: Floats, chart: Ints) -> Floats:
    """Solve symmetric positive definite equations of the nodes of charts, approximately.

    Each channel goes its own way, as with `scipy.sparse.linalg.cg`; together they read the matrix once a
    step. The preconditioner takes each node by itself, plus an exact solution for whole charts: a chart
    floats as a whole on a few seams, and without this second level it takes hundreds of steps to find
    that out.

    Parameters
    ----------
    matrix : scipy.sparse.csr_matrix, shape (N, N)
    right : ndarray of float64, shape (N, 3)
    chart : ndarray of int32, shape (N,)
        Of each node.

    Returns
    -------
    ndarray of float64, shape (N, 3)
    """
    count, charts = len(chart), int(chart.max()) + 1
    prolong = sparse.csr_matrix((np.ones(count), (np.arange(count), chart)), shape=(count, charts))
    coarse = linalg.splu((prolong.T @ matrix @ prolong).tocsc())
    diagonal = matrix.diagonal()
    found, residual = np.zeros((count, 3)), right.copy()
    way, image = np.zeros((count, 3)), np.empty((count, 3))
    left, decline, rest = np.full(3, np.inf), np.zeros(3), np.zeros(3)
    whole = np.zeros((charts, 3))
    _advance(np.zeros(3), way, image, chart, found, residual, rest, whole)
    enough = _LEFT * np.sqrt(rest)
    for _ in range(_STEPS):
        going = (np.sqrt(rest) >= enough) & (enough > 0)
        if not going.any():
            break
        _turn(residual, diagonal, chart, np.ascontiguousarray(coarse.solve(whole)), left, way)
        _multiply(matrix.indptr, matrix.indices, matrix.data, way, image, decline)
        step = np.divide(left, decline, out=np.zeros(3), where=going)
        _advance(step, way, image, chart, found, residual, rest, whole)
    return found


@_compiled
def _turn(residual: Floats, diagonal: Floats, chart: Ints, whole: Floats, left: Floats, way: Floats) -> None:
    """Make the next ways of the preconditioned residuals, conjugate to the last ones.

    `left` are the products of both kinds of residuals, infinite at first.
    """
    for k in range(3):
        total = 0.0
        for n in range(residual.shape[0]):
            total += residual[n, k] * (residual[n, k] / diagonal[n] + whole[chart[n], k])
        turn = total / left[k]
        left[k] = total
        for n in range(residual.shape[0]):
            way[n, k] = way[n, k] * turn + (residual[n, k] / diagonal[n] + whole[chart[n], k])


@_compiled
def _multiply(
    starts: Ints, columns: Ints, values: Floats, way: Floats, image: Floats, decline: Floats
) -> None:
    """Multiply the ways by the matrix, and with what comes of it."""
    along_red = along_green = along_blue = 0.0
    for n in range(way.shape[0]):
        red = green = blue = 0.0
        for m in range(starts[n], starts[n + 1]):
            red += values[m] * way[columns[m], 0]
            green += values[m] * way[columns[m], 1]
            blue += values[m] * way[columns[m], 2]
        image[n, 0], image[n, 1], image[n, 2] = red, green, blue
        along_red += red * way[n, 0]
        along_green += green * way[n, 1]
        along_blue += blue * way[n, 2]
    decline[0], decline[1], decline[2] = along_red, along_green, along_blue


@_compiled
def _advance(
    step: Floats,
    way: Floats,
    image: Floats,
    chart: Ints,
    found: Floats,
    residual: Floats,
    rest: Floats,
    whole: Floats,
) -> None:
    """Go a step, and add up the residuals: their squares, and each chart's."""
    for k in range(3):
        total = 0.0
        for n in range(whole.shape[0]):
            whole[n, k] = 0.0
        for n in range(way.shape[0]):
            # A channel that has arrived stays.
            if step[k] != 0.0:
                found[n, k] += step[k] * way[n, k]
                residual[n, k] -= step[k] * image[n, k]
            total += residual[n, k] * residual[n, k]
            whole[chart[n], k] += residual[n, k]
        rest[k] = total
