"""Sequential tree-reweighted message passing on a graph whose nodes have short lists of labels.

Kolmogorov 2006, "Convergent Tree-Reweighted Message Passing for Energy Minimization" (TRW-S).
"""

from __future__ import annotations

import numpy as np

from recon3d.kernels import kernel
from recon3d.types import Floats32, Ints

_compiled = kernel()


@_compiled
def _send(
    reduced: Floats32,
    incoming: Floats32,
    from_view: Ints,
    to_view: Ints,
    weight: float,
    outgoing: Floats32,
) -> None:
    """Message of a Potts edge between two faces with their own sorted lists of labels."""
    size = from_view.shape[0]
    lowest = np.float32(np.inf)
    for k in range(size):
        if from_view[k] < 0:
            break
        lowest = min(lowest, reduced[k] - incoming[k])
    k = 0
    least = np.float32(np.inf)
    for j in range(size):
        if to_view[j] < 0:
            break
        while k < size and from_view[k] >= 0 and from_view[k] < to_view[j]:
            k += 1
        value = lowest + np.float32(weight)
        if k < size and from_view[k] == to_view[j]:
            value = min(value, reduced[k] - incoming[k])
        outgoing[j] = value
        least = min(least, value)
    for j in range(size):
        if to_view[j] < 0:
            break
        outgoing[j] -= least


@_compiled
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
    starts = np.zeros(count + 1, np.int64)
    for e in range(pairs.shape[0]):
        starts[pairs[e, 0] + 1] += 1
        starts[pairs[e, 1] + 1] += 1
    for f in range(count):
        starts[f + 1] += starts[f]
    fill = starts[:-1].copy()
    edge = np.empty(2 * pairs.shape[0], np.int64)
    for e in range(pairs.shape[0]):
        for side in range(2):
            edge[fill[pairs[e, side]]] = 2 * e + side
            fill[pairs[e, side]] += 1
    # messages[2 e + s] goes to pairs[e, s].
    messages = np.zeros((2 * pairs.shape[0], size), np.float32)
    order = np.empty(count, np.int64)
    for f in range(count):
        order[rank[f]] = f
    share = np.ones(count, np.float32)
    for f in range(count):
        before = 0
        for n in range(starts[f], starts[f + 1]):
            other = pairs[edge[n] // 2, 1 - edge[n] % 2]
            before += rank[other] < rank[f]
        largest = max(before, starts[f + 1] - starts[f] - before)
        if largest > 0:
            share[f] = np.float32(1.0 / largest)
    belief = np.empty(size, np.float32)
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
                    _send(
                        belief, messages[edge[m]], view[f], view[other], weight[edge[m] // 2], messages[back]
                    )
    # Kolmogorov's decoding: earlier neighbours by their choice, later ones by their messages.
    choice = np.zeros(count, np.int32)
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
    return choice
