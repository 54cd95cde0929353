"""Sequential tree-reweighted message passing on a graph whose nodes have short lists of labels.

Kolmogorov 2006, "Convergent Tree-Reweighted Message Passing for Energy Minimization" (TRW-S).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recon3d.kernels import kernel
from recon3d.types import Floats32, Ints

_compiled = kernel(_nrt=False)


@_compiled
def _send(
    reduced: Floats32,
    messages: Floats32,
    view: Ints,
    f: int,
    other: int,
    weight: float,
    here: int,
    there: int,
) -> None:
    """Message of a Potts edge between two faces with their own sorted lists of labels.

    `here` and `there` are the rows of the message that came from `other`, and of the one that goes to it.
    """
    size = view.shape[1]
    lowest = np.float32(np.inf)
    for k in range(size):
        if view[f, k] < 0:
            break
        lowest = min(lowest, reduced[k] - messages[here, k])
    k = 0
    least = np.float32(np.inf)
    for j in range(size):
        if view[other, j] < 0:
            break
        while k < size and view[f, k] >= 0 and view[f, k] < view[other, j]:
            k += 1
        value = lowest + np.float32(weight)
        if k < size and view[f, k] == view[other, j]:
            value = min(value, reduced[k] - messages[here, k])
        messages[there, j] = value
        least = min(least, value)
    for j in range(size):
        if view[other, j] < 0:
            break
        messages[there, j] -= least


def trw_s(data: Floats32, view: Ints, pairs: Ints, weight: Floats32, rank: Ints, sweeps: int) -> Ints:
    """Minimize a Potts energy approximately.

    Parameters
    ----------
    data : ndarray of float32, shape (F, K)
        Cost of each candidate of each node.
    view : ndarray of int32, shape (F, K)
        Label of each candidate, ascending; -1 in unused places, which come last.
    pairs : ndarray of int32, shape (E, 2)
    weight : ndarray of float32, shape (E,)
        Cost of different labels at both ends.
    rank : ndarray of int32, shape (F,)
        Place of each node in the order in which messages travel.
    sweeps : int
        Passes in that order and back.

    Returns
    -------
    ndarray of int32, shape (F,)
        Place of the chosen candidate of each node.
    """
    count, size = data.shape
    # edge lists the ends of edges, node by node: end 2 e + s is pairs[e, s], where messages[2 e + s] goes.
    edge = np.argsort(pairs.ravel(), kind="stable")
    starts = np.append(0, np.cumsum(np.bincount(pairs.ravel(), minlength=count)))
    messages = np.zeros((2 * len(pairs), size), np.float32)
    order = np.argsort(rank)
    share, belief, choice = np.ones(count, np.float32), np.empty(size, np.float32), np.zeros(count, np.int32)
    graph = (pairs, weight, rank, order, starts, edge)
    _minimize(data, view, *graph, messages, share, belief, choice, sweeps)
    return choice


@_compiled
def _minimize(
    data: Floats32,
    view: Ints,
    pairs: Ints,
    weight: Floats32,
    rank: Ints,
    order: NDArray[np.int64],
    starts: NDArray[np.int64],
    edge: NDArray[np.int64],
    messages: Floats32,
    share: Floats32,
    belief: Floats32,
    choice: Ints,
    sweeps: int,
) -> None:
    count, size = data.shape
    for f in range(count):
        before = 0
        for n in range(starts[f], starts[f + 1]):
            other = pairs[edge[n] // 2, 1 - edge[n] % 2]
            before += rank[other] < rank[f]
        largest = max(before, starts[f + 1] - starts[f] - before)
        if largest > 0:
            share[f] = np.float32(1.0 / largest)
    for sweep in range(2 * sweeps):
        forward = sweep % 2 == 0
        for n in range(count):
            f = order[n] if forward else order[count - 1 - n]
            if view[f, 0] < 0 or starts[f] == starts[f + 1]:
                continue
            for k in range(size):
                belief[k] = data[f, k]
            for m in range(starts[f], starts[f + 1]):
                for k in range(size):
                    belief[k] += messages[edge[m], k]
            for k in range(size):
                belief[k] *= share[f]
            for m in range(starts[f], starts[f + 1]):
                back = edge[m] ^ 1
                other = pairs[back // 2, back % 2]
                if (rank[other] > rank[f]) == forward:
                    _send(belief, messages, view, f, other, weight[edge[m] // 2], edge[m], back)
    # Kolmogorov's decoding: earlier neighbours by their choice, later ones by their messages.
    for n in range(count):
        f = order[n]
        for k in range(size):
            belief[k] = data[f, k]
        for m in range(starts[f], starts[f + 1]):
            other = pairs[edge[m] // 2, 1 - edge[m] % 2]
            for k in range(size):
                if view[f, k] < 0:
                    break
                if rank[other] < rank[f]:
                    if view[other, choice[other]] != view[f, k]:
                        belief[k] += weight[edge[m] // 2]
                else:
                    belief[k] += messages[edge[m], k]
        best = 0
        for k in range(size):
            if view[f, k] < 0:
                break
            if belief[k] < belief[best]:
                best = k
        choice[f] = best
