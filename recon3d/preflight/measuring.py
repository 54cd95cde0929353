"""What a sample of the images shows: light, texture, and how neighbours differ."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from recon3d.preflight.sampling import Drawn, Sample
from recon3d.selection.sharpness import sharpness

Floats = NDArray[np.float64]
#: Points and descriptors of an image, strongest first.
Features = tuple[Floats, NDArray[np.float32]]

_FEATURES = 1500
_RATIO = 0.8
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
#: Focal lengths that are tried, in longer sides: 75 to 29 degrees.
_FOCALS = (0.65, 0.75, 0.87, 1.0, 1.2, 1.5, 1.9)


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
    flat : float
        Share of the inliers that one homography explains: near 1 for a plane, and where the camera
        only turns.
    turn : float
        How far that homography is from a rotation of the camera, at the best focal length: 0 is one.
    at_rest, moving : float
        Shares of the matches that stay where they are, and that move far.
    """

    first: int
    second: int
    inliers: int
    share: float
    motion: float
    flat: float
    turn: float
    at_rest: float
    moving: float

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
        Of neighbours.
    photos : int
        Photos for which there was time to search for one that overlaps.
    linked : int
        Photos that overlap with at least one other photo of the sample, in whatever order they are.
    """

    images: list[ImageMeasure]
    pairs: list[PairMeasure]
    photos: int
    linked: int


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
    library: Any = cv2  # its stubs lack SIFT
    sift = library.SIFT_create(_FEATURES)
    images: list[ImageMeasure] = []
    features: list[Features] = []
    for sample in drawn.samples:
        keypoints, descriptors = sift.detectAndCompute(sample.gray, None)
        order = np.argsort([-k.response for k in keypoints], kind="stable")
        points = np.array([keypoints[i].pt for i in order], np.float64).reshape(-1, 2)
        found = np.zeros((0, 128), np.float32)
        if descriptors is not None:
            found = np.sqrt(_normal(descriptors[order]))
        features.append((points, found))
        images.append(_image(sample, len(points)))
    pairs = [
        _pair(a, b, drawn.samples[a], drawn.samples[b], features[a], features[b]) for a, b in drawn.pairs
    ]
    linked, judged = _linked(drawn, features, pairs)
    return Measures(images, pairs, judged, linked)


def _linked(drawn: Drawn, features: Sequence[Features], pairs: Sequence[PairMeasure]) -> tuple[int, int]:
    """Count the photos that overlap with another one, and those for which there was time to find out."""
    started = time.monotonic()
    count = drawn.photo_samples
    linked = {i for pair in pairs if pair.overlaps for i in (pair.first, pair.second) if i < count}
    tried = {frozenset(pair) for pair in drawn.pairs}
    strongest = [(points[:_STRONGEST], found[:_STRONGEST]) for points, found in features[:count]]
    skipped = set()
    for i in range(count):
        if i in linked:
            continue
        if time.monotonic() - started > _SEARCH:
            skipped.add(i)
            continue
        others = [j for j in range(count) if j != i and frozenset((i, j)) not in tried]
        alike = {j: len(_matches(strongest[i], strongest[j])[0]) for j in others}
        for j in sorted(others, key=lambda j: -alike[j])[:_CANDIDATES]:
            if alike[j] < _ALIKE:
                break
            tried.add(frozenset((i, j)))
            if _pair(i, j, drawn.samples[i], drawn.samples[j], features[i], features[j]).overlaps:
                linked |= {i, j}
                break
    return len(linked), count - len(skipped - linked)


def _normal(descriptors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows of sum one: their roots compare as Hellinger's distance does (RootSIFT)."""
    normal: NDArray[np.float32] = descriptors / np.maximum(descriptors.sum(axis=1, keepdims=True), 1e-6)
    return normal


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


def _pair(
    first: int,
    second: int,
    sample: Sample,
    other: Sample,
    one: Features,
    two: Features,
) -> PairMeasure:
    a, b = _matches(one, two)
    longer = max(sample.gray.shape)
    nothing = PairMeasure(first, second, len(a), 0.0, 0.0, 0.0, 1.0, 0.0, 0.0)
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
    moved = np.linalg.norm(b - a, axis=1)
    far = max(_MOVES, _FAR * longer)
    return PairMeasure(
        first=first,
        second=second,
        inliers=int(good.sum()),
        share=float(good.sum() / max(min(len(one[0]), len(two[0])), 1)),
        motion=float(np.median(moved[good]) / longer),
        flat=float(plane.sum() / good.sum()),
        turn=_turn(homography, sample) if sample.gray.shape == other.gray.shape else 1.0,
        at_rest=float(np.mean(moved < _REST)),
        moving=float(np.mean(moved > far)),
    )


def _matches(one: Features, two: Features) -> tuple[Floats, Floats]:
    """Points of both images, for the matches that are each other's best by far."""
    if min(len(one[0]), len(two[0])) < 2:
        return np.zeros((0, 2)), np.zeros((0, 2))
    alike = one[1] @ two[1].T  # rows have the length one
    there, back = alike.argmax(axis=1), alike.argmax(axis=0)
    rows = np.arange(len(there))
    best = alike[rows, there]
    alike[rows, there] = -1
    clear = (2 - 2 * best) < _RATIO**2 * (2 - 2 * alike.max(axis=1))
    kept = clear & (back[there] == rows)
    return one[0][kept], two[0][there[kept]]


def _turn(homography: Floats, sample: Sample) -> float:
    """Spread of the singular values of K⁻¹ H K, which a rotation has not."""
    height, width = sample.gray.shape
    longer = max(height, width)
    focals = (sample.focal,) if sample.focal else tuple(f * longer for f in _FOCALS)
    spreads = []
    for focal in focals:
        K = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
        values = np.linalg.svd(np.linalg.inv(K) @ homography @ K, compute_uv=False)
        spreads.append(float(values[0] / max(values[2], 1e-12) - 1))
    return min(spreads)
