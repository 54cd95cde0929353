"""What feature_matching does in worker processes to match blocks of pairs."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recon3d.io.feature_files import read_features
from recon3d.layout import features_file
from recon3d.matching.cascade import ImageFeatures, given, joined, match_images
from recon3d.matching.guided import guided_matches
from recon3d.stages.feature_matching.blocks import MIN_INLIERS, Pair, read_block, write_block

#: Inliers of a pair that ties its images, and such pairs that an image needs to be well tied.
_TIE, _TIES = 30, 3


@dataclass(frozen=True)
class Matching:
    """A block of pairs to match.

    Parameters
    ----------
    frames, features : str
        Folders of the artifacts.
    target : str
        File of the block.
    pairs : tuple of (int, int)
    model : str
        COLMAP's camera model.
    guided : bool
        Match all features of every pair.
    seed : int
    gpu : bool
    """

    frames: str
    features: str
    target: str
    pairs: tuple[Pair, ...]
    model: str
    guided: bool
    seed: int
    gpu: bool


@dataclass(frozen=True)
class FullMatching:
    """Pairs of a matched block whose features are all to be matched."""

    matching: Matching
    again: frozenset[Pair]

    @property
    def target(self) -> str:
        """File of the new block."""
        return str(Path(self.matching.target).with_suffix(".full.pickle"))


def match_block(task: Matching) -> None:
    """Match a block of pairs: their largest features, and the others where these agree.

    Parameters
    ----------
    task : Matching
    """
    if task.gpu:
        return _match_by_colmap(task)
    matcher = _Matcher(task)
    found = [matcher.match(pair, only_largest=not task.guided) for pair in task.pairs]
    write_block(Path(task.target), (task.pairs, [m for m, _ in found], [g for _, g in found]))


def match_fully(task: FullMatching) -> None:
    """Match all features of pairs whose largest features did not agree.

    Parameters
    ----------
    task : FullMatching
    """
    pairs, matches, geometries = read_block(Path(task.matching.target))
    matcher = _Matcher(task.matching)
    for place, pair in enumerate(pairs):
        if pair in task.again:
            matches[place], geometries[place] = matcher.match(pair, only_largest=False)
    write_block(Path(task.target), (pairs, matches, geometries))


def hardly_tied(blocks: Sequence[str]) -> list[frozenset[Pair]]:
    """Find pairs without a geometry that an image with few ties has.

    Parameters
    ----------
    blocks : sequence of str
        Files of the matched blocks.

    Returns
    -------
    list of frozenset of (int, int)
        For each block.
    """
    ties: Counter[int] = Counter()
    open_pairs: list[list[Pair]] = []
    for block in blocks:
        pairs, _, geometries = read_block(Path(block))
        counts = [len(geometry.inlier_matches) for geometry in geometries]
        ties.update(i for pair, n in zip(pairs, counts, strict=True) if n >= _TIE for i in pair)
        open_pairs.append([pair for pair, n in zip(pairs, counts, strict=True) if n < MIN_INLIERS])
    return [frozenset(p for p in pairs if min(ties[i] for i in p) < _TIES) for pairs in open_pairs]


class _Matcher:
    """Matches pairs of images whose features it remembers."""

    def __init__(self, task: Matching) -> None:
        from recon3d.colmap import read_rows

        self._task = task
        self._rows = read_rows(Path(task.frames))
        self._features = functools.cache(self._read)

    def match(self, pair: Pair, *, only_largest: bool) -> tuple[np.ndarray, Any]:
        """Match a pair; with a geometry, once more along it."""
        from recon3d.colmap import guide

        first, second = (self._features(index) for index in pair)
        matches = match_images(first, second, only_largest=only_largest)
        geometry = self._verify(pair, matches)
        guiding = guide(geometry) if len(geometry.inlier_matches) >= MIN_INLIERS else None
        if guiding is None:
            return matches, geometry
        matrix, plane = guiding
        more = guided_matches(
            (first.points, first.descriptors), (second.points, second.descriptors), matrix, plane=plane
        )
        matches = joined(given(more, first, second), matches)
        return matches, self._verify(pair, matches)

    def _verify(self, pair: Pair, matches: np.ndarray) -> Any:
        from recon3d.colmap import verify_pairs

        (geometry,) = verify_pairs(
            self._rows, self._positions, [pair], [matches], self._task.model, seed=self._task.seed
        )
        return geometry

    def _positions(self, index: int) -> np.ndarray:
        features = self._features(index)
        positions = np.empty_like(features.points)
        positions[features.order] = features.points
        return positions

    def _read(self, index: int) -> ImageFeatures:
        return ImageFeatures.of(*read_features(features_file(Path(self._task.features), index)))


def _match_by_colmap(task: Matching) -> None:
    from recon3d.colmap import match_pairs, read_rows

    rows = read_rows(Path(task.frames))
    used = sorted({index for pair in task.pairs for index in pair})
    matches, geometries = match_pairs(
        [rows[i] for i in used],
        [i + 1 for i in used],
        lambda k: read_features(features_file(Path(task.features), used[k])),
        [(a + 1, b + 1) for a, b in task.pairs],
        task.model,
        guided=task.guided,
        seed=task.seed,
        gpu=True,
    )
    write_block(Path(task.target), (task.pairs, matches, geometries))
