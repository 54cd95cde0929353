"""A binary heap of vertices as compiled loops: the one with the least cost is first.

`heap` lists the vertices and `place` tells where each is in it, so that a vertex can move when its cost
changes.
"""

from __future__ import annotations

from typing import Any

from recon3d.kernels import kernel


@kernel(_nrt=False)
def sink(slot: int, count: int, heap: Any, place: Any, cost: Any) -> None:  # pragma: no cover
    """Move a vertex back until none after it costs less.

    Parameters
    ----------
    slot : int
        Where it is.
    count : int
        Vertices in the heap.
    heap, place : ndarray of int32, shape (V,)
        Changed.
    cost : ndarray of float64, shape (V,)
    """
    v = heap[slot]
    while True:
        child = 2 * slot + 1
        if child >= count:
            break
        if child + 1 < count and cost[heap[child + 1]] < cost[heap[child]]:
            child += 1
        if cost[heap[child]] >= cost[v]:
            break
        heap[slot] = heap[child]
        place[heap[slot]] = slot
        slot = child
    heap[slot] = v
    place[v] = slot


@kernel(_nrt=False)
def rise(slot: int, heap: Any, place: Any, cost: Any) -> None:  # pragma: no cover
    """Move a vertex forward until none before it costs more.

    Parameters
    ----------
    slot : int
        Where it is.
    heap, place : ndarray of int32, shape (V,)
        Changed.
    cost : ndarray of float64, shape (V,)
    """
    v = heap[slot]
    while slot > 0:
        parent = (slot - 1) // 2
        if cost[heap[parent]] <= cost[v]:
            break
        heap[slot] = heap[parent]
        place[heap[slot]] = slot
        slot = parent
    heap[slot] = v
    place[v] = slot
