"""Cutting a view graph into overlapping parts that are mapped at the same time."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csc_array, csgraph, csr_array
from scipy.sparse.linalg import eigsh

from recon3d.stages.sparse_reconstruction.view_graph import ViewGraph

#: More verified matches between two images tie them no closer.
_STRONG = 200
#: Images of its neighbours that a part gets, as a share of the size of a part, and at least.
_OVERLAP, _LEAST_OVERLAP = 0.2, 3
#: Sets of more parts than this are cut into parts of a quarter, but of as many images at least.
_MANY_PARTS, _LEAST_OF_MANY = 10, 100
#: A half has this share of the images at least.
_SMALLER_HALF = 0.3
#: Beyond the largest eigenvalue.
_BEYOND = 1.0001
#: Images below which a dense solver is quicker and surer.
_FEW = 100

Indices = NDArray[np.int64]


def size_of_parts(images: int, most: int) -> int:
    """Choose how many images a part has: smaller ones keep more workers busy, and take less time together.

    Parameters
    ----------
    images : int
        Of the set.
    most : int
        Images of a part at most.

    Returns
    -------
    int
    """
    return most if images <= _MANY_PARTS * most else min(most, max(_LEAST_OF_MANY, most // 4))


def cut(graph: ViewGraph, size: int) -> list[tuple[str, ...]]:
    """Cut a view graph where it ties images least.

    Each half is halved again by the second eigenvector of the normalized Laplacian [1]_, until it has
    `size` images at most. Then each part gets the images of its neighbours that are tied to it best, so
    that the models of two parts share images.

    Parameters
    ----------
    graph : ViewGraph
    size : int
        Images of a part, before it gets those of its neighbours.

    Returns
    -------
    list of tuple of str
        Images of each part. Images that nothing ties to another are in none.

    References
    ----------
    .. [1] Shi and Malik, Normalized Cuts and Image Segmentation, PAMI 2000.
    """
    count = len(graph.names)
    first, second = graph.pairs.reshape(-1, 2).T
    strength = np.minimum(graph.inliers, _STRONG).astype(np.float64)
    one_way = coo_array((strength, (first, second)), shape=(count, count))
    weights = csr_array(one_way + one_way.T)
    weights.eliminate_zeros()
    labels = csgraph.connected_components(weights, directed=False)[1]
    parts: list[Indices] = []
    for label in range(int(labels.max(initial=-1)) + 1):
        nodes = np.flatnonzero(labels == label)
        if len(nodes) > 1:
            parts += _halved(weights, nodes, size)
    extra = max(_LEAST_OVERLAP, math.ceil(_OVERLAP * size))
    return [tuple(graph.names[i] for i in _with_neighbors(weights, part, extra)) for part in parts]


def _halved(weights: csr_array, nodes: Indices, size: int) -> list[Indices]:
    if len(nodes) <= size:
        return [nodes]
    inside = csr_array(weights[nodes][:, nodes])
    order = np.argsort(_second_eigenvector(inside), kind="stable")
    middle = _best_cut(inside, order)
    halves = np.sort(nodes[order[:middle]]), np.sort(nodes[order[middle:]])
    return [part for half in halves for part in _halved(weights, half, size)]


def _second_eigenvector(weights: csr_array) -> NDArray[np.float64]:
    """Of the normalized Laplacian; images that differ little in it are tied closely."""
    count = weights.shape[0]
    # A little of everything ties what the cut before has torn apart.
    root = np.sqrt(np.asarray(weights.sum(axis=1)).ravel() + 1e-6)
    scaled = coo_array(weights)
    row, column = scaled.coords
    scaled = csr_array((scaled.data / (root[row] * root[column]), (row, column)), shape=weights.shape)
    if count <= _FEW:
        vector = np.linalg.eigh(scaled.toarray())[1][:, -2]
    else:
        start = np.cos(np.arange(count))  # any vector, but always the same
        # The largest is 1. Inverted around there, the first two are found at once, also of a long ring.
        values, vectors = eigsh(csc_array(scaled), k=2, sigma=_BEYOND, which="LM", v0=start)
        vector = vectors[:, np.argsort(values)[0]]
    return np.asarray(vector / root, np.float64)


def _best_cut(weights: csr_array, order: Indices) -> int:
    """How many of the ordered images are the first half: where the normalized cut is least."""
    count = len(order)
    place = np.empty(count, np.int64)
    place[order] = np.arange(count)
    pairs = coo_array(weights)
    ends = np.sort(place[np.array(pairs.coords)], axis=0)
    # Each pair stands twice; it is cut by every place between its images.
    change = np.bincount(ends[0] + 1, pairs.data / 2, count + 1)
    change -= np.bincount(ends[1] + 1, pairs.data / 2, count + 1)
    torn = np.cumsum(change)
    volume = np.concatenate([[0.0], np.cumsum(np.asarray(weights.sum(axis=1)).ravel()[order])])
    least = max(1, math.ceil(_SMALLER_HALF * count))
    middles = np.arange(least, count - least + 1)
    cost = torn[middles] / np.maximum(np.minimum(volume[middles], volume[-1] - volume[middles]), 1e-9)
    return int(middles[np.argmin(cost)])


def _with_neighbors(weights: csr_array, part: Indices, extra: int) -> list[int]:
    tied = np.asarray(weights[part].sum(axis=0)).ravel()
    tied[part] = 0
    best = np.argsort(-tied, kind="stable")[:extra]
    return sorted([*part.tolist(), *best[tied[best] > 0].tolist()])
