"""Finding the photos that share features: those that look alike, compared by their largest features."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recon3d.compute import StageContext, reads
from recon3d.matching.pair_order import along
from recon3d.matching.preemptive import CANDIDATES, best_partners, count_matches
from recon3d.matching.retrieval import look_alikes
from recon3d.stages.feature_matching.blocks import Pair
from recon3d.stages.feature_matching.descriptions import largest_file, read_vectors

#: Pairs that a task compares: about a second.
_PAIRS = 4000


@dataclass(frozen=True)
class Comparing:
    """Pairs of images whose largest features are to be compared.

    Parameters
    ----------
    folder : str
        Of the descriptions.
    pairs : tuple of (int, int)
    """

    folder: str
    pairs: tuple[Pair, ...]


def find_partners(vectors: Sequence[str], neighbors: int, folder: Path, context: StageContext) -> list[Pair]:
    """Find the pairs of photos that share features, as far as a quick look tells.

    Parameters
    ----------
    vectors : sequence of str
        Files that describe the images.
    neighbors : int
        Partners of an image, about.
    folder : Path
        Of the descriptions, with the largest features.
    context : StageContext

    Returns
    -------
    list of (int, int)
    """
    candidates = context.call(find_candidates, list(vectors), CANDIDATES * neighbors)
    pairs = sorted({(min(i, j), max(i, j)) for i, found in enumerate(candidates) for j in found})
    if not pairs:
        return []
    rank = along(pairs)
    pairs.sort(key=lambda pair: sorted((rank[pair[0]], rank[pair[1]])))
    tasks = [Comparing(str(folder), tuple(pairs[k : k + _PAIRS])) for k in range(0, len(pairs), _PAIRS)]
    counts = context.phase(0.0, 0.0).map(compare, tasks, unit="blocks")
    matches = dict(zip(pairs, np.concatenate(counts).tolist(), strict=True))
    return best_partners(candidates, matches, neighbors)


@reads(lambda vectors, count: vectors)
def find_candidates(vectors: Sequence[str], count: int) -> list[list[int]]:
    """List the photos that look most like each.

    Parameters
    ----------
    vectors : sequence of str
        Files that describe the images.
    count : int

    Returns
    -------
    list of list of int
    """
    return look_alikes(read_vectors(vectors), count)


@reads(lambda task: [largest_file(Path(task.folder), k) for k in sorted({k for p in task.pairs for k in p})])
def compare(task: Comparing) -> NDArray[np.int32]:
    """Count the matches of the largest features.

    Parameters
    ----------
    task : Comparing

    Returns
    -------
    ndarray of int32, shape (P,)
        Of each pair.
    """

    @functools.cache
    def descriptors(index: int) -> NDArray[np.uint8]:
        found: NDArray[np.uint8] = np.load(largest_file(Path(task.folder), index))
        return found

    return np.array([count_matches(descriptors(i), descriptors(j)) for i, j in task.pairs], np.int32)
