"""Which images to match: neighbours in time, all, or those that look alike.

Images are compared by VLAD [1]_ over RootSIFT: descriptors are assigned to words that are learned
from the set itself, and their residuals are summed by word. Nothing has to be downloaded.

References
----------
.. [1] Jégou et al., Aggregating Local Descriptors into a Compact Image Representation, CVPR 2010.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2
from scipy.spatial import cKDTree

Floats = NDArray[np.float32]
WORDS = 64
_SAMPLES = 20_000


def learn_words(descriptors: Sequence[NDArray[np.uint8]], seed: int, words: int = WORDS) -> Floats:
    """Words of RootSIFT descriptors by k-means.

    Parameters
    ----------
    descriptors : sequence of ndarray of uint8, shape (N, 128)
        Of some or all images.
    seed : int
    words : int

    Returns
    -------
    ndarray of float32, shape (W, 128)
    """
    rng = np.random.default_rng(seed)
    stacked = np.concatenate(descriptors).astype(np.float32) / 512.0
    if len(stacked) > _SAMPLES:
        stacked = stacked[np.sort(rng.choice(len(stacked), _SAMPLES, replace=False))]
    words = min(words, max(1, len(stacked) // 20))
    start = stacked[rng.choice(len(stacked), words, replace=False)]
    centers, _ = kmeans2(stacked, start, iter=12, minit="matrix", missing="warn")
    return np.ascontiguousarray(centers, np.float32)


def describe_image(descriptors: NDArray[np.uint8], words: Floats) -> Floats:
    """Compute the VLAD descriptor of an image.

    Parameters
    ----------
    descriptors : ndarray of uint8, shape (N, 128)
    words : ndarray of float64, shape (W, 128)
        See `learn_words`.

    Returns
    -------
    ndarray of float64, shape (W * 128,)
        Of unit length; zeros without features.
    """
    vector = np.zeros(words.shape, np.float32)
    if len(descriptors):
        values = descriptors.astype(np.float32) / 512.0
        _, nearest = cKDTree(words).query(values)
        np.add.at(vector, nearest, values - words[nearest])
        norms = np.linalg.norm(vector, axis=1, keepdims=True)
        vector /= np.where(norms > 0, norms, 1)  # intra-normalisation: no word outweighs the others
    flat = vector.ravel()
    length = float(np.linalg.norm(flat))
    return flat / length if length > 0 else flat


def most_similar(
    vectors: Floats, count: int, apart: int = 0, groups: Sequence[int] | None = None
) -> list[tuple[int, int]]:
    """Pairs of each image with the `count` that look most like it.

    Parameters
    ----------
    vectors : ndarray of float32, shape (N, D)
        Unit vectors.
    count : int
        Partners an image.
    apart : int
        Images at most this many places apart are left out.
    groups : sequence of int, optional
        Group of each image; images of one group are left out. Negative: of none.

    Returns
    -------
    list of (int, int)
        i < j, sorted.
    """
    similarity = vectors @ vectors.T
    places = np.arange(len(vectors))
    similarity[np.abs(places[:, None] - places[None]) <= apart] = -np.inf
    if groups is not None:
        member = np.asarray(groups)
        similarity[(member[:, None] == member[None]) & (member[:, None] >= 0)] = -np.inf
    best = np.argsort(-similarity, axis=1, kind="stable")[:, :count]
    pairs = {
        (min(i, int(j)), max(i, int(j)))
        for i in range(len(vectors))
        for j in best[i]
        if np.isfinite(similarity[i, j])
    }
    return sorted(pairs)


def sequential_pairs(count: int, overlap: int) -> list[tuple[int, int]]:
    """Pair each image with its `overlap` followers and with those 2^k places further, k = 1, 2, …

    The powers of two bridge a stretch of bad frames at a small cost.

    Parameters
    ----------
    count : int
        Number of images.
    overlap : int

    Returns
    -------
    list of (int, int)
        Indices of images, the smaller first.
    """
    steps = sorted({*range(1, overlap + 1), *(overlap * 2**k for k in range(1, 3))})
    return sorted((i, i + step) for i in range(count) for step in steps if i + step < count)


def all_pairs(count: int) -> list[tuple[int, int]]:
    """Pair every image with every other.

    Parameters
    ----------
    count : int
        Number of images.

    Returns
    -------
    list of (int, int)
        Indices of images, the smaller first.
    """
    return [(i, j) for i in range(count) for j in range(i + 1, count)]
