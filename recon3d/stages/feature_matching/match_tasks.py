"""What feature_matching does in worker processes to match blocks of pairs."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from recon3d.compute import reads
from recon3d.io.feature_files import read_features
from recon3d.layout import features_file, frame_list_file
from recon3d.matching.cascade import ImageFeatures, given, joined, match_images
from recon3d.matching.guided import guided_matches
from recon3d.matching.resting import Resting
from recon3d.stages.feature_matching.blocks import MIN_INLIERS, Pair, positions_of, read_block, write_block

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


class _Paired(Protocol):
    @property
    def frames(self) -> str: ...

    @property
    def features(self) -> str: ...

    @property
    def pairs(self) -> tuple[Pair, ...]: ...


def files_of_pairs(task: _Paired) -> list[Path]:
    """List the files that the matching of pairs reads.

    Parameters
    ----------
    task : Matching or MovingMatching

    Returns
    -------
    list of Path
    """
    images = sorted({index for pair in task.pairs for index in pair})
    features = [features_file(Path(task.features), index) for index in images]
    return [frame_list_file(Path(task.frames)), *features]


@dataclass(frozen=True)
class FullMatching:
    """Pairs of a matched block whose features are all to be matched."""

    matching: Matching
    again: frozenset[Pair]

    @property
    def target(self) -> str:
        """File of the new block."""
        return str(Path(self.matching.target).with_suffix(".full.pickle"))


@reads(files_of_pairs)
def match_block(task: Matching) -> None:
    """Match a block of pairs: their largest features, and the others where these agree.

    Parameters
    ----------
    task : Matching
    """
    if task.gpu:
        _match_by_colmap(task)
        return
    matcher = Matcher(task.frames, task.features, task.model, task.seed)
    found = [matcher.match(pair, only_largest=not task.guided) for pair in task.pairs]
    write_block(Path(task.target), (task.pairs, [m for m, _ in found], [g for _, g in found]))


@reads(lambda task: [task.matching.target, *files_of_pairs(task.matching)])
def match_fully(task: FullMatching) -> None:
    """Match all features of pairs whose largest features did not agree.

    Parameters
    ----------
    task : FullMatching
    """
    pairs, matches, geometries = read_block(Path(task.matching.target))
    block = task.matching
    matcher = Matcher(block.frames, block.features, block.model, block.seed)
    for place, pair in enumerate(pairs):
        if pair in task.again:
            matches[place], geometries[place] = matcher.match(pair, only_largest=False)
    write_block(Path(task.target), (pairs, matches, geometries))


@reads(lambda blocks: blocks)
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


class Matcher:
    """Matches pairs of images whose features it remembers.

    Parameters
    ----------
    frames, features : str
        Folders of the artifacts.
    model : str
        COLMAP's camera model.
    seed : int
    resting : Resting, optional
        Features that are left out.
    """

    def __init__(
        self, frames: str, features: str, model: str, seed: int, resting: Resting | None = None
    ) -> None:
        from recon3d.colmap import read_rows

        self._folder, self._model, self._seed, self._resting = Path(features), model, seed, resting
        self._rows = read_rows(Path(frames))
        self._positions = positions_of(self._folder)
        self._features = functools.cache(self._read)

    def match(self, pair: Pair, *, only_largest: bool) -> tuple[np.ndarray, Any]:
        """Match a pair of images.

        Parameters
        ----------
        pair : (int, int)
        only_largest : bool
            Match the largest features only, before a geometry guides the others.

        Returns
        -------
        matches : ndarray of uint32, shape (M, 2)
        geometry : pycolmap.TwoViewGeometry
        """
        first, second = (self._features(index) for index in pair)
        return self.extend(pair, match_images(first, second, only_largest=only_largest))

    def extend(self, pair: Pair, matches: np.ndarray) -> tuple[np.ndarray, Any]:
        """Verify matches and, where they have a geometry, match the other features along it.

        Parameters
        ----------
        pair : (int, int)
        matches : ndarray of uint32, shape (M, 2)

        Returns
        -------
        matches : ndarray of uint32, shape (M, 2)
        geometry : pycolmap.TwoViewGeometry
        """
        from recon3d.colmap import guide

        geometry = self._verify(pair, matches)
        guiding = guide(geometry) if len(geometry.inlier_matches) >= MIN_INLIERS else None
        if guiding is None:
            return matches, geometry
        matrix, plane = guiding
        first, second = (self._features(index) for index in pair)
        more = guided_matches(
            (first.points, first.descriptors), (second.points, second.descriptors), matrix, plane=plane
        )
        matches = joined(given(more, first, second), matches)
        return matches, self._verify(pair, matches)

    def _verify(self, pair: Pair, matches: np.ndarray) -> Any:
        from recon3d.colmap import verify_pairs

        (geometry,) = verify_pairs(
            self._rows, self._positions, [pair], [matches], self._model, seed=self._seed
        )
        return geometry

    def _read(self, index: int) -> ImageFeatures:
        features = ImageFeatures.of(*read_features(features_file(self._folder, index)))
        if self._resting is None:
            return features
        return features.of_these(~self._resting.features[index][features.order])


def _match_by_colmap(task: Matching) -> None:
    from recon3d.colmap import match_pairs, read_rows

    matches, geometries = match_pairs(
        read_rows(Path(task.frames)),
        lambda index: read_features(features_file(Path(task.features), index)),
        task.pairs,
        task.model,
        guided=task.guided,
        seed=task.seed,
        gpu=True,
    )
    write_block(Path(task.target), (task.pairs, matches, geometries))
