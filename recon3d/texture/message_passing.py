"""Sequential tree-reweighted message passing on a graph whose nodes have short lists of labels.

Kolmogorov 2006, "Convergent Tree-Reweighted Message Passing for Energy Minimization" (TRW-S).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recon3d.kernels import kernel
from recon3d.types import Floats32, Ints

_compiled = kernel(_nrt=False)


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
    order = np.argsort(rank)
    # Nodes are numbered in their order, and the messages that come to one lie side by side: what one sweep
    # needs of memory comes in a row.
    ends = rank[pairs.ravel()]
    place = np.argsort(ends, kind="stable")
    starts = np.append(0, np.cumsum(np.bincount(ends, minlength=count)))
    slot = np.empty(len(ends), np.int32)
    slot[place] = np.arange(len(ends), dtype=np.int32)
    back, other = slot[place ^ 1], ends[place ^ 1]
    data, view = data[order], view[order]
    labels = np.count_nonzero(view >= 0, axis=1).astype(np.int32)
    messages = np.zeros((len(ends), size), np.float32)
    belief, chosen = np.empty(size, np.float32), np.zeros(count, np.int32)
    _minimize(data, view, labels, starts, other, back, weight[place // 2], messages, belief, chosen, sweeps)
    choice = np.empty(count, np.int32)
    choice[order] = chosen
    return choice


@_compiled
def _send(
    reduced: Floats32,
    messages: Floats32,
    view: Ints,
    f: int,
    labels: int,
    other: int,
    others: int,
    weight: float,
    here: int,
    there: int,
) -> None:
    """Message of a Potts edge between two nodes with their own sorted lists of labels.

    `here` and `there` are the rows of the message that came from `other`, and of the one that goes to it.
    """
    lowest = np.float32(np.inf)
    for k in range(labels):
        lowest = min(lowest, reduced[k] - messages[here, k])
    most = lowest + np.float32(weight)
    k = 0
    least = np.float32(np.inf)
    for j in range(others):
        while k < labels and view[f, k] < view[other, j]:
            k += 1
        value = most
        if k < labels and view[f, k] == view[other, j]:
            value = min(value, reduced[k] - messages[here, k])
        messages[there, j] = value
        least = min(least, value)
    for j in range(others):
        messages[there, j] -= least


@_compiled
def _minimize(
    data: Floats32,
    view: Ints,
    labels: Ints,
    starts: NDArray[np.int64],
    other: Ints,
    back: Ints,
    weight: Floats32,
    messages: Floats32,
    belief: Floats32,
    choice: Ints,
    sweeps: int,
) -> None:
    """Send messages and decode them.

    Message m of those from ``starts[f]`` on comes to node f from node ``other[m]``; ``back[m]`` goes there.
    """
    count = data.shape[0]
    for sweep in range(2 * sweeps):
        forward = sweep % 2 == 0
        for n in range(count):
            f = n if forward else count - 1 - n
            size, start, stop = labels[f], starts[f], starts[f + 1]
            if size == 0 or start == stop:
                continue
            for k in range(size):
                belief[k] = data[f, k]
            before = 0
            for m in range(start, stop):
                before += other[m] < f
                for k in range(size):
                    belief[k] += messages[m, k]
            share = np.float32(1.0 / max(before, stop - start - before))
            for k in range(size):
                belief[k] *= share
            for m in range(start, stop):
                to = other[m]
                if (to > f) == forward:
                    _send(belief, messages, view, f, size, to, labels[to], weight[m], m, back[m])
    # Kolmogorov's decoding: earlier neighbours by their choice, later ones by their messages.
    for f in range(count):
        size = labels[f]
        for k in range(size):
            belief[k] = data[f, k]
        for m in range(starts[f], starts[f + 1]):
            to = other[m]
            for k in range(size):
                if to > f:
                    belief[k] += messages[m, k]
                elif view[to, choice[to]] != view[f, k]:
                    belief[k] += weight[m]
        best = 0
        for k in range(size):
            if belief[k] < belief[best]:
                best = k
        choice[f] = best
