"""What a sample of the images shows: light, texture, and how neighbours differ."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from recon3d.matching.camera_motion import Lens, find_camera_motion
from recon3d.matching.small_images import Described, as_roots, describe_small, match_small
from recon3d.preflight.sampling import Drawn, Sample
from recon3d.selection.sharpness import sharpness

_FEATURES = 1500
#: Pixels by which a match may miss the geometry of its pair.
_TOLERANCE = 1.5
#: Matches that a pair needs before it says anything.
ENOUGH = 25
#: Strongest features that tell which other photos to compare with, matches of theirs, and such photos.
_STRONGEST, _ALIKE, _CANDIDATES = 400, 5, 3
#: Seconds for the search of other photos.
_SEARCH = 4.0
#: Pixels below which a match is at rest, and above which it moves.
_REST, _MOVES = 0.75, 3.0
#: Share of the width that a moving match crosses, too: small shakes are no motion.
_FAR = 0.008


@dataclass(frozen=True)
class ImageMeasure:
    """What one image shows.

    Attributes
    ----------
    name : str
    features : int
    sharpness : float
    brightness : float
        Mean grey level.
    contrast : float
        Standard deviation of the grey levels.
    dark, bright : float
        Shares of the pixels that are nearly black and white.
    """

    name: str
    features: int
    sharpness: float
    brightness: float
    contrast: float
    dark: float
    bright: float


@dataclass(frozen=True)
class PairMeasure:
    """How two neighbours differ.

    Attributes
    ----------
    first, second : int
        Indices of the images.
    inliers : int
        Matches that fit one geometry.
    share : float
        Those as a share of the features of the poorer image.
    motion : float
        Median displacement as a fraction of the longer side.
    at_rest, moving : float
        Shares of the matches that stay where they are, and that move far.
    turned : bool
        Whether a rotation of the camera explains the inliers.
    """

    first: int
    second: int
    inliers: int
    share: float
    motion: float
    at_rest: float
    moving: float
    turned: bool = False

    @property
    def overlaps(self) -> bool:
        """Whether both show the same place."""
        return self.inliers >= ENOUGH and self.share > 0


@dataclass(frozen=True)
class Measures:
    """What the samples show.

    Attributes
    ----------
    images : list of ImageMeasure
    pairs : list of PairMeasure
        Of neighbours, and of photos that were found to overlap.
    photos : int
        Photos for which there was time to search for one that overlaps.
    linked : int
        Photos that overlap with at least one other photo of the sample, in whatever order they are.
    given : int
        Photos that there are.
    in_order : float
        Share of the photos that were compared because of their names, and overlap.
    """

    images: list[ImageMeasure]
    pairs: list[PairMeasure]
    photos: int
    linked: int
    given: int = 0
    in_order: float = 1.0


@dataclass(eq=False)
class _Comparison:
    """The samples, their features, and the pairs that were compared."""

    samples: Sequence[Sample]
    features: list[Described] = field(default_factory=list)
    pairs: list[PairMeasure] = field(default_factory=list)
    #: Pixels of the inliers of each pair.
    points: list[tuple[NDArray[np.float32], NDArray[np.float32]]] = field(default_factory=list)

    def matches(self, first: int, second: int, most: int = _FEATURES) -> NDArray[np.int64]:
        """Matches of the strongest features, as rows of both."""
        one, two = self.features[first][1][:most], self.features[second][1][:most]
        return match_small(one, two, mutual=True)

    def add(self, first: int, second: int) -> PairMeasure:
        """Compare two samples."""
        measured, points = self._compared(first, second)
        self.pairs.append(measured)
        self.points.append(points)
        return measured

    def _compared(
        self, first: int, second: int
    ) -> tuple[PairMeasure, tuple[NDArray[np.float32], NDArray[np.float32]]]:
        one, two = self.features[first][0], self.features[second][0]
        i, j = self.matches(first, second).T
        a, b = one[i], two[j]
        nothing = PairMeasure(first, second, len(a), 0.0, 0.0, 0.0, 0.0), (a, b)
        if len(a) < ENOUGH:
            return nothing
        found: Any = cv2.findHomography(a, b, cv2.RANSAC, 2 * _TOLERANCE)
        homography, on_plane = found
        on_lines: Any = cv2.findFundamentalMat(a, b, cv2.FM_RANSAC, _TOLERANCE, 0.999, 2000)[1]
        if on_lines is None or homography is None:
            return nothing
        plane, lines = on_plane.ravel() > 0, on_lines.ravel() > 0
        # Where the camera only turns, or sees one plane, the epipolar lines mean nothing.
        good = plane if plane.sum() > lines.sum() else lines
        if good.sum() < ENOUGH:
            return nothing
        longer = max(self.samples[first].gray.shape)
        moved = np.linalg.norm(b - a, axis=1)
        far = max(_MOVES, _FAR * longer)
        measured = PairMeasure(
            first=first,
            second=second,
            inliers=int(good.sum()),
            share=float(good.sum() / max(min(len(one), len(two)), 1)),
            motion=float(np.median(moved[good]) / longer),
            at_rest=float(np.mean(moved < _REST)),
            moving=float(np.mean(moved > far)),
        )
        return measured, (a[good], b[good])

    def judged(self) -> list[PairMeasure]:
        """The pairs, with the word of all of them together on whether the camera turned."""
        known = [number for number, pair in enumerate(self.pairs) if pair.overlaps]
        lenses = [Lens(s.gray.shape[1], s.gray.shape[0], s.focal) for s in self.samples]
        ends = [(self.pairs[number].first, self.pairs[number].second) for number in known]
        motion = find_camera_motion(lenses, ends, [self.points[number] for number in known])
        pairs = list(self.pairs)
        for number, turned in zip(known, motion.turned, strict=True):
            pairs[number] = replace(pairs[number], turned=bool(turned))
        return pairs


def measure(drawn: Drawn) -> Measures:
    """Measure the samples.

    Parameters
    ----------
    drawn : Drawn

    Returns
    -------
    Measures
    """
    cv2.setRNGSeed(0)  # RANSAC's, so that the same inputs are told the same
    comparison = _Comparison(drawn.samples)
    images: list[ImageMeasure] = []
    for sample in drawn.samples:
        points, descriptors = describe_small(sample.gray, _FEATURES)
        comparison.features.append((points, as_roots(descriptors)))
        images.append(_image(sample, len(points)))
    neighbours = [comparison.add(first, second) for first, second in drawn.pairs]
    of_photos = [pair.overlaps for pair in neighbours if pair.second < drawn.photo_samples]
    linked, judged = _linked(drawn, comparison)
    return Measures(
        images,
        comparison.judged(),
        judged,
        linked,
        given=len(drawn.photos),
        in_order=float(np.mean(of_photos)) if of_photos else 1.0,
    )


def _linked(drawn: Drawn, comparison: _Comparison) -> tuple[int, int]:
    """Count the photos that overlap with another one, and those for which there was time to find out."""
    started = time.monotonic()
    count = drawn.photo_samples
    linked = {i for pair in comparison.pairs if pair.overlaps for i in (pair.first, pair.second) if i < count}
    tried = {frozenset(pair) for pair in drawn.pairs}
    skipped = set()
    for i in range(count):
        if i in linked:
            continue
        if time.monotonic() - started > _SEARCH:
            skipped.add(i)
            continue
        others = [j for j in range(count) if j != i and frozenset((i, j)) not in tried]
        alike = {j: len(comparison.matches(i, j, _STRONGEST)) for j in others}
        for j in sorted(others, key=lambda j: -alike[j])[:_CANDIDATES]:
            if alike[j] < _ALIKE:
                break
            tried.add(frozenset((i, j)))
            if comparison.add(i, j).overlaps:
                linked |= {i, j}
                break
    return len(linked), count - len(skipped - linked)


def _image(sample: Sample, features: int) -> ImageMeasure:
    gray = sample.gray
    return ImageMeasure(
        name=sample.name,
        features=features,
        sharpness=sharpness(gray),
        brightness=float(gray.mean()),
        contrast=float(gray.std()),
        dark=float(np.mean(gray < 12)),
        bright=float(np.mean(gray > 250)),
    )
