"""Which images to match: neighbours in time, or all. `recon3d.matching.retrieval` finds those alike."""

from __future__ import annotations


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
