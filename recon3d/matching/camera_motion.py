"""Whether the camera moved between images, or only turned.

Images that differ by a rotation show no depth: a pixel's ray turns by R, whatever it hits. So all
pairs are compared with rotations that share one focal length and one radial distortion [1]_. A
camera that slides along a flat wall can look alike; there, a shift in the image explains the
matches better than a rotation does.

References
----------
.. [1] Brown and Lowe, Automatic Panoramic Image Stitching using Invariant Features, IJCV 2007.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Points of a pair that are looked at.
_POINTS = 150
#: Pairs that the focal length is found from, and the motion that they have if any pair has it.
_LENS_PAIRS, _WIDE = 80, 0.03
#: Distances below are fractions of the image's longer side. Matches this close to where the rotation
#: puts them are explained by it.
_EXPLAINED = 0.003
#: Share of a pair's matches that a rotation explains.
_SHARE = 0.85
#: The rotation's median residual, as a share of that of a shift in the image.
_BETTER = 0.75
#: Motion below which two images show the same view.
_STILL = 0.0015
#: Residuals above this count alike, so that pairs with parallax do not choose the focal length.
_CUT = 0.006
#: Share of the pairs, or of an image's pairs, that decides.
_MOST = 0.9
#: Neighbours in a sequence whose pairs tell whether the camera turns there.
_NEAR = 4


@dataclass(frozen=True)
class Lens:
    """What is known of an image's camera before the reconstruction.

    Parameters
    ----------
    width, height : int
    focal_px : float, optional
    """

    width: int
    height: int
    focal_px: float | None


@dataclass(frozen=True, eq=False)
class CameraMotion:
    """What the matches of each pair say about the camera.

    Parameters
    ----------
    pairs : ndarray of int, shape (P, 2)
    turned, still : ndarray of bool, shape (P,)
        Whether a rotation explains the pair; whether its images show the same view.
    degrees : ndarray, shape (P,)
        Angle of the rotation.
    """

    pairs: NDArray[np.int64]
    turned: NDArray[np.bool_]
    still: NDArray[np.bool_]
    degrees: Floats

    @property
    def only_turned(self) -> bool:
        """Whether rotations explain nearly all pairs."""
        moving = ~self.still
        return bool(moving.any()) and float(self.turned[moving].mean()) >= _MOST

    @property
    def stood_still(self) -> bool:
        """Whether all images show the same view."""
        return len(self.still) > 0 and bool(self.still.all())

    def turning_images(self, count: int) -> list[int]:
        """List the images all of whose pairs are explained by rotations.

        Parameters
        ----------
        count : int
            Number of images.

        Returns
        -------
        list of int
        """
        moving = ~self.still
        seen, turned = np.zeros(count), np.zeros(count)
        for column in (0, 1):
            np.add.at(seen, self.pairs[moving, column], 1)
            np.add.at(turned, self.pairs[moving & self.turned, column], 1)
        return [int(i) for i in np.flatnonzero((seen >= 2) & (turned >= _MOST * seen))]

    def turning_stretches(self, sequence: Sequence[int], least: int = 5) -> list[tuple[int, int]]:
        """Find stretches of a sequence in which the camera only turned.

        Parameters
        ----------
        sequence : sequence of int
            Images in order of time.
        least : int
            Images that a stretch has at least.

        Returns
        -------
        list of (int, int)
            First and last place of each stretch.
        """
        place = np.full(max([*sequence, int(self.pairs.max(initial=0))]) + 1, -1)
        place[list(sequence)] = np.arange(len(sequence))
        a, b = place[self.pairs[:, 0]], place[self.pairs[:, 1]]
        near = (a >= 0) & (b >= 0) & (np.abs(a - b) <= _NEAR) & ~self.still
        seen, turned = np.zeros(len(sequence)), np.zeros(len(sequence))
        for end in (a, b):
            np.add.at(seen, end[near], 1)
            np.add.at(turned, end[near & self.turned], 1)
        turns = np.concatenate([[False], (seen >= 2) & (turned >= _MOST * seen), [False]])
        edges = np.flatnonzero(turns[1:] != turns[:-1]).reshape(-1, 2)
        return [(int(start), int(stop) - 1) for start, stop in edges if stop - start >= least]


def find_camera_motion(
    lenses: Sequence[Lens],
    pairs: Sequence[tuple[int, int]],
    points: Sequence[tuple[NDArray[np.floating], NDArray[np.floating]]],
) -> CameraMotion:
    """Compare the verified matches of all pairs with rotations.

    Parameters
    ----------
    lenses : sequence of Lens
        Of every image.
    pairs : sequence of (int, int)
    points : sequence of (ndarray, ndarray), each of shape (N, 2)
        Pixels of each pair's matches, in the first and the second image.

    Returns
    -------
    CameraMotion
    """
    indices = np.array(pairs, np.int64).reshape(-1, 2)
    if not len(indices):
        nothing = np.zeros(0, np.bool_)
        return CameraMotion(indices, nothing, nothing, np.zeros(0))
    known = [lens.focal_px is not None for lens in lenses]
    focal = np.array([_focal(lens) for lens in lenses])
    first = np.array([_spread(p[0], lenses[i]) for p, (i, _) in zip(points, pairs, strict=True)])
    second = np.array([_spread(p[1], lenses[j]) for p, (_, j) in zip(points, pairs, strict=True)])
    focals = focal[indices]
    moved = np.median(np.linalg.norm(second - first, axis=-1), axis=1)
    order = np.argsort(-moved, kind="stable")
    wide = order[: max(_LENS_PAIRS // 2, int(np.count_nonzero(moved > _WIDE)))]
    wide = wide[:: math.ceil(len(wide) / _LENS_PAIRS)]
    factor, distortion = _find_lens(first[wide], second[wide], focals[wide], all(known))
    rotation, residual = _turn(first, second, factor * focals, distortion)
    shift = np.median(_shift_residual(first, second), axis=1)
    explained = np.mean(residual < _EXPLAINED, axis=1) >= _SHARE
    still = moved < _STILL
    turned = explained & ~still & (np.median(residual, axis=1) < _BETTER * shift)
    cosine = (np.trace(rotation, axis1=1, axis2=2) - 1) / 2
    return CameraMotion(indices, turned, still, np.degrees(np.arccos(np.clip(cosine, -1, 1))))


def _focal(lens: Lens) -> float:
    """Focal length as a share of the longer side; the usual guess where it is not known."""
    return 1.2 if lens.focal_px is None else lens.focal_px / max(lens.width, lens.height)


def _spread(pixels: NDArray[np.floating], lens: Lens) -> Floats:
    """Equally many points of every pair, from the image's middle in units of the longer side."""
    chosen = np.linspace(0, len(pixels) - 1, _POINTS).round().astype(np.int64)
    centered = pixels[chosen].astype(np.float64) - (lens.width / 2, lens.height / 2)
    return np.asarray(centered / max(lens.width, lens.height))


def _find_lens(first: Floats, second: Floats, focals: Floats, known: bool) -> tuple[float, float]:
    """The factor on all focal lengths and the distortion with which rotations explain the most."""

    def cost(factor: float, distortion: float) -> float:
        _, residual = _turn(first, second, factor * focals, distortion)
        return float(np.mean(np.minimum(np.median(residual, axis=1), _CUT)))

    factors = np.geomspace(0.7, 1.4, 7) if known else np.geomspace(0.35, 2.5, 14)
    grid = [(factor, bend) for factor in factors for bend in (-0.2, -0.1, 0.0, 0.1, 0.2)]
    factor, bend = min(grid, key=lambda values: cost(*values))
    finer = [(factor * f, bend + b) for f in (0.93, 1.0, 1.07) for b in (-0.05, 0.0, 0.05)]
    return min(finer, key=lambda values: cost(*values))


def _rays(points: Floats, focal: Floats, distortion: float) -> Floats:
    """Unit rays of points, distorted by the division model."""
    straight = points / (1 + distortion * (points**2).sum(axis=-1, keepdims=True))
    depth = np.broadcast_to(focal[:, None, None], (*points.shape[:-1], 1))
    rays = np.concatenate([straight, depth], axis=-1)
    return np.asarray(rays / np.linalg.norm(rays, axis=-1, keepdims=True))


def _turn(first: Floats, second: Floats, focals: Floats, distortion: float) -> tuple[Floats, Floats]:
    """Robust rotation of each pair, and how far it leaves each point from its match."""
    a, b = _rays(first, focals[:, 0], distortion), _rays(second, focals[:, 1], distortion)
    weight = np.ones(a.shape[:2])
    for _ in range(5):
        u, _, vt = np.linalg.svd(np.einsum("pni,pn,pnj->pij", b, weight, a))
        flip = np.ones((len(u), 1, 3))
        flip[:, 0, 2] = np.sign(np.linalg.det(u @ vt))
        rotation = (u * flip) @ vt
        residual = np.linalg.norm(b - np.einsum("pij,pnj->pni", rotation, a), axis=-1) * focals[:, 1:]
        weight = _weight(residual)
    return rotation, residual


def _shift_residual(first: Floats, second: Floats) -> Floats:
    """How far the robust shift, turn and zoom within the image leaves each point from its match."""
    a, b = first[..., 0] + 1j * first[..., 1], second[..., 0] + 1j * second[..., 1]
    weight = np.ones(a.shape)
    for _ in range(5):
        total = weight.sum(axis=1, keepdims=True)
        from_a = a - (weight * a).sum(axis=1, keepdims=True) / total
        from_b = b - (weight * b).sum(axis=1, keepdims=True) / total
        size = (weight * np.abs(from_a) ** 2).sum(axis=1, keepdims=True)
        zoom = (weight * np.conj(from_a) * from_b).sum(axis=1, keepdims=True) / np.maximum(size, 1e-12)
        residual = np.abs(from_b - zoom * from_a)
        weight = _weight(residual)
    return np.asarray(residual)


def _weight(residual: Floats) -> Floats:
    scale = np.maximum(np.median(residual, axis=1, keepdims=True), 3e-4)
    return np.asarray(1 / (1 + (residual / scale) ** 2) ** 2)
