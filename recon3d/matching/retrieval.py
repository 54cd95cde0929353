"""Which images look alike, at a cost for each image that hardly depends on how many there are.

Images are compared by VLAD [1]_ over RootSIFT: descriptors are assigned to words that are learned
from the set itself, and their residuals are summed by word. Nothing has to be downloaded. Large sets
keep the principal components of these vectors [2]_, learned from a sample of the set.

References
----------
.. [1] Jégou et al., Aggregating Local Descriptors into a Compact Image Representation, CVPR 2010.
.. [2] Jégou and Chum, Negative Evidences and Co-occurences in Image Retrieval: The Benefit of PCA and
   Whitening, ECCV 2012.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2

Floats = NDArray[np.float32]
WORDS = 64
#: Numbers that describe an image of a large set.
COMPONENTS = 256
_SAMPLES = 20_000
#: Images that are compared with all at once, so that a block of similarities stays below 100 MB.
_ROWS, _BLOCK_BYTES = 1024, 100_000_000


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
    words : ndarray of float32, shape (W, 128)
        See `learn_words`.

    Returns
    -------
    ndarray of float32, shape (W * 128,)
        Of unit length; zeros without features.
    """
    vector = np.zeros(words.shape, np.float32)
    if len(descriptors):
        values = descriptors.astype(np.float32) / 512.0
        nearest = _nearest_words(values, words)
        np.add.at(vector, nearest, values - words[nearest])
        norms = np.linalg.norm(vector, axis=1, keepdims=True)
        vector /= np.where(norms > 0, norms, 1)  # intra-normalisation: no word outweighs the others
    return _unit(vector.ravel())


def _nearest_words(values: Floats, words: Floats) -> NDArray[np.int64]:
    # In float64, so that words nearly as near as the nearest are told apart.
    exact = words.astype(np.float64)
    squares = np.einsum("ij,ij->i", exact, exact)
    nearest: NDArray[np.int64] = np.argmin(squares - 2 * (values.astype(np.float64) @ exact.T), axis=1)
    return nearest


def _unit(vectors: Floats) -> Floats:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, np.float32(1)), np.float32)


@dataclass(frozen=True, eq=False)
class Components:
    """The principal components of a sample of vectors.

    Parameters
    ----------
    mean : ndarray of float32, shape (D,)
    axes : ndarray of float32, shape (K, D)
        Of unit length, those of the largest variance first.
    """

    mean: Floats
    axes: Floats

    @classmethod
    def of(cls, vectors: Floats, count: int = COMPONENTS) -> Components:
        """Find the components.

        Parameters
        ----------
        vectors : ndarray of float32, shape (N, D)
        count : int
            Components that are kept at most.

        Returns
        -------
        Components
        """
        mean = vectors.mean(axis=0)
        centered = (vectors - mean).astype(np.float64)
        values, weights = np.linalg.eigh(centered @ centered.T)
        kept = np.flatnonzero(values > 1e-9 * max(values[-1], 1e-300))[::-1][:count]
        axes = (weights[:, kept] / np.sqrt(values[kept])).T @ centered
        return cls(mean, axes.astype(np.float32))

    def project(self, vectors: Floats) -> Floats:
        """Describe images by the components.

        Parameters
        ----------
        vectors : ndarray of float32, shape (N, D)

        Returns
        -------
        ndarray of float32, shape (N, K)
            Of unit length; zeros where the vector is zero: without features.
        """
        projected = _unit(np.asarray((vectors - self.mean) @ self.axes.T, np.float32))
        projected[~vectors.any(axis=1)] = 0
        return projected


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
    partners = look_alikes(vectors, count, apart, groups)
    return sorted({(min(i, j), max(i, j)) for i, found in enumerate(partners) for j in found})


def look_alikes(
    vectors: Floats, count: int, apart: int = 0, groups: Sequence[int] | None = None
) -> list[list[int]]:
    """For each image the `count` that look most like it, the most similar first.

    All are compared with all: a matrix product of short vectors is cheaper than everything else that is
    done for an image, also among 100 000.

    Parameters
    ----------
    vectors : ndarray of float32, shape (N, D)
        Unit vectors.
    count : int
    apart : int
        Images at most this many places apart are left out.
    groups : sequence of int, optional
        Group of each image; images of one group are left out. Negative: of none.

    Returns
    -------
    list of list of int
    """
    total = len(vectors)
    member = None if groups is None else np.asarray(groups)
    partners: list[list[int]] = []
    size = _ROWS if total <= _ROWS else max(1, min(_ROWS, _BLOCK_BYTES // (4 * total)))
    for start in range(0, total, size):
        rows = np.arange(start, min(start + size, total))
        similarity = vectors[start : start + size] @ vectors.T
        for step in range(-apart, apart + 1):
            near = rows + step
            inside = (near >= 0) & (near < total)
            similarity[np.flatnonzero(inside), near[inside]] = -np.inf
        if member is not None:
            own = member[rows, None]
            similarity[(own == member[None]) & (own >= 0)] = -np.inf
        partners += _largest(similarity, count)
    return partners


def _largest(values: Floats, count: int) -> list[list[int]]:
    """Columns of each row's largest finite values; of equal ones the first."""
    count = min(count, values.shape[1])
    if not count:
        return [[] for _ in values]
    limits = np.partition(values, -count, axis=1)[:, -count]
    found = []
    for row, limit in zip(values, limits, strict=True):
        columns = np.flatnonzero((row >= limit) & np.isfinite(row))
        order = np.argsort(-row[columns], kind="stable")[:count]
        found.append(columns[order].tolist())
    return found
