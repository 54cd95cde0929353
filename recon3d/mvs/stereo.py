"""Depth maps by PatchMatch, coarse to fine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from recon3d.mvs.matching_cost import REACH, WORST, pack, padded, patch_steps
from recon3d.mvs.patchmatch import sweep
from recon3d.mvs.sweeps import Sweeps, half_sweeps
from recon3d.types import Bytes, Camera, Floats, Floats32, Ints

#: Planes with a higher cost are not worth working on, once the views are chosen.
_HOPELESS = 0.9
#: Gray level at which the tone curve turns from linear to logarithmic.
_TONE_KNEE = 32.0
#: Pixels of disparity by which planes differ that are worth two tries.
_SAME = 0.1


def tone_mapped(rgb: Bytes) -> Bytes:
    """Luminance in 8 bits on a logarithmic curve, which keeps the texture of dark surfaces.

    Parameters
    ----------
    rgb : ndarray of uint8, shape (H, W, 3)

    Returns
    -------
    ndarray of uint8, shape (H, W)
    """
    luminance = rgb.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    curve = np.log1p(luminance / _TONE_KNEE) * (255 / np.log1p(255 / _TONE_KNEE))
    mapped: Bytes = np.rint(curve).astype(np.uint8)
    return mapped


@dataclass(frozen=True, eq=False)
class StereoImage:
    """An image as stereo sees it.

    Parameters
    ----------
    gray : ndarray of uint8, shape (H, W)
        See `tone_mapped`.
    camera : Camera
        Pinhole camera of `gray`.
    cam_from_world : ndarray of float64, shape (4, 4)
    """

    gray: Bytes
    camera: Camera
    cam_from_world: Floats

    @property
    def K(self) -> Floats:
        """Calibration matrix for pixel centres at integers, shape (3, 3)."""
        K = self.camera.K
        K[:2, 2] -= 0.5
        return K

    def reduced(self, level: int) -> StereoImage:
        """Reduce the image and its camera.

        Parameters
        ----------
        level : int
            The size is divided by 2**level.

        Returns
        -------
        StereoImage
        """
        if level == 0:
            return self
        camera = reduced_camera(self.camera, level)
        gray = cv2.resize(self.gray, (camera.width, camera.height), interpolation=cv2.INTER_AREA)
        return StereoImage(np.asarray(gray, np.uint8), camera, self.cam_from_world)


def reduced_camera(camera: Camera, level: int) -> Camera:
    """Reduce a camera.

    Parameters
    ----------
    camera : Camera
    level : int
        The size is divided by 2**level.

    Returns
    -------
    Camera
    """
    if level == 0:
        return camera
    return camera.scaled(max(1, round(camera.width / 2**level)), max(1, round(camera.height / 2**level)))


def relative_projection(target: StereoImage, source: StereoImage) -> Floats:
    """Compute the matrix from (x, y, 1, inverse depth) in one view to pixels in another.

    Parameters
    ----------
    target, source : StereoImage

    Returns
    -------
    ndarray of float64, shape (3, 4)
    """
    pose = target.cam_from_world @ np.linalg.inv(source.cam_from_world)
    projection: Floats = target.K @ pose[:3]
    projection[:, :3] = projection[:, :3] @ np.linalg.inv(source.K)
    return projection


def nearest_pixels(old: int, new: int) -> tuple[Floats, NDArray[np.int64]]:
    """Find where the pixels of a resized row lie in the old one.

    Parameters
    ----------
    old, new : int
        Pixels of the rows.

    Returns
    -------
    ndarray of float64, shape (new,)
        Old coordinates of the new pixels.
    ndarray of int64, shape (new,)
        The old pixels nearest to them.
    """
    x: Floats = (np.arange(new, dtype=np.float64) + 0.5) * (old / new) - 0.5
    return x, np.clip(np.rint(x), 0, old - 1).astype(np.int64)


@dataclass(frozen=True, eq=False)
class PlaneMap:
    """A plane hypothesis for each pixel.

    Parameters
    ----------
    state : ndarray of float32, shape (3, H, W)
        Inverse depth at the pixel and its derivatives along x and y.
    cost : ndarray of float32, shape (H, W)
        Mean cost over the best views, 0 to 2 (with geometric consistency, more).
    chosen : ndarray of uint32, shape (H, W)
        Bits of the source views that the cost comes from.
    """

    state: Floats32
    cost: Floats32
    chosen: NDArray[np.uint32]

    @classmethod
    def from_state(cls, state: Floats32) -> PlaneMap:
        """Make planes whose costs are unknown.

        Parameters
        ----------
        state : ndarray of float32, shape (3, H, W)
            Inverse depth at each pixel and its derivatives along x and y.

        Returns
        -------
        PlaneMap
        """
        shape = state.shape[1:]
        return cls(
            np.array(state, np.float32, order="C"), np.full(shape, 2, np.float32), np.ones(shape, np.uint32)
        )

    def resized(self, width: int, height: int) -> PlaneMap:
        """Resize the planes; each pixel takes the plane of the nearest old pixel.

        Parameters
        ----------
        width, height : int
            New size in pixels.

        Returns
        -------
        PlaneMap
        """
        rows, columns = self.cost.shape
        sx, sy = columns / width, rows / height
        x, ix = nearest_pixels(columns, width)
        y, iy = nearest_pixels(rows, height)
        old = self.state[:, iy[:, None], ix]
        state = np.empty((3, height, width), np.float32)
        state[0] = old[0] + old[1] * (x - ix) + old[2] * (y - iy)[:, None]
        state[1] = old[1] * sx
        state[2] = old[2] * sy
        return PlaneMap(
            state, np.full((height, width), 2, np.float32), np.ascontiguousarray(self.chosen[iy[:, None], ix])
        )


class Level(NamedTuple):
    """What all half-sweeps of a level share, but for images and maps; see `recon3d.mvs.patchmatch.sweep`."""

    pattern: int
    steps: Ints
    forth: Floats32
    back: Floats32
    camera: Floats32
    bounds: Floats32
    best_views: int
    free: int
    worst: np.float32
    same: np.float32

    @classmethod
    def of(
        cls,
        image: StereoImage,
        others: Sequence[StereoImage],
        sweeps: Sweeps,
        bounds: tuple[float, float],
        best_views: int,
        pixel: float,
    ) -> Level:
        """Compute them; all engines take the same.

        Parameters
        ----------
        image : StereoImage
            The view at the level's size.
        others : sequence of StereoImage
            Its sources at the level's size.
        sweeps : Sweeps
        bounds : tuple of float
            Smallest and largest inverse depth.
        best_views : int
            Sources whose cost counts.
        pixel : float
            See `disparity_step`.

        Returns
        -------
        Level
        """
        K = image.K
        pattern = 1 if sweeps.narrow else 0
        return cls(
            pattern,
            patch_steps(pattern, image.gray.shape[1] + 2 * REACH),
            np.array([relative_projection(other, image) for other in others], np.float32),
            np.array([relative_projection(image, other) for other in others], np.float32),
            np.array([K[0, 0], K[1, 1], K[0, 2], K[1, 2]], np.float32),
            np.array(bounds, np.float32),
            min(best_views, len(others)),
            ("inherited", "pixel", "hypothesis").index(sweeps.views),
            np.float32(WORST if sweeps.views == "hypothesis" else _HOPELESS),
            np.float32(_SAME * pixel),
        )


def joined(arrays: Sequence[NDArray[np.generic]]) -> tuple[NDArray[np.generic], Ints]:
    """Put images of several sizes into one flat array.

    Parameters
    ----------
    arrays : sequence of ndarray, shape (h, w)

    Returns
    -------
    ndarray, shape (M,)
        The images one after the other.
    ndarray of int32, shape (S, 3)
        Start, width and height of each there.
    """
    starts = np.cumsum([0] + [a.size for a in arrays[:-1]])
    layout = np.array([(s, a.shape[1], a.shape[0]) for s, a in zip(starts, arrays, strict=True)], np.int32)
    return np.concatenate([a.ravel() for a in arrays]), layout


def refine_planes(
    reference: StereoImage,
    sources: Sequence[StereoImage],
    planes: PlaneMap,
    bounds: tuple[float, float],
    schedule: Sequence[Sweeps],
    *,
    best_views: int,
    inverse_depths: Sequence[Floats32] | None = None,
    geometric_weight: float = 0.0,
    seed: int = 0,
) -> PlaneMap:
    """Improve the planes of a view level by level.

    Parameters
    ----------
    reference : StereoImage
    sources : sequence of StereoImage
        At least one.
    planes : PlaneMap
        Of any size.
    bounds : tuple of float
        Smallest and largest inverse depth.
    schedule : sequence of Sweeps
        Usually from coarse to fine.
    best_views : int
        Sources whose cost counts: those that fit best.
    inverse_depths : sequence of ndarray of float32, shape (h, w), optional
        Inverse depth maps of the sources, 0 where unknown, of any size; makes the cost of a
        hypothesis depend on its agreement with them.
    geometric_weight : float
        Cost of a pixel of disagreement.
    seed : int
        The result depends on nothing else that is random.

    Returns
    -------
    PlaneMap
        At the size of the schedule's last level.
    """
    if inverse_depths is None:
        geometric_weight = 0.0
        inverse_depths = [np.zeros((1, 1), np.float32)] * len(sources)
    maps, map_layout = joined(inverse_depths)
    planes = PlaneMap(planes.state.copy(), planes.cost.copy(), planes.chosen.copy())
    for sweeps in schedule:
        image = reference.reduced(sweeps.level)
        others = [source.reduced(sweeps.level) for source in sources]
        packed, layout = joined([pack(other.gray) for other in others])
        height, width = image.gray.shape
        if planes.cost.shape != (height, width):
            planes = planes.resized(width, height)
        pixel = disparity_step(image, others)
        level = Level.of(image, others, sweeps, bounds, best_views, pixel)
        fixed = (
            *(padded(image.gray).ravel(), planes.state, planes.cost, planes.chosen),
            *(level.pattern, level.steps, packed, layout, level.forth),
            *(maps, map_layout, level.back, np.float32(geometric_weight)),
            *level[4:],
        )
        for half in half_sweeps(sweeps, pixel, seed):
            sweep(half.color, *fixed, *half[1:])
    return planes


def disparity_step(reference: StereoImage, sources: Sequence[StereoImage]) -> float:
    """Compute the change of inverse depth that moves a point by about one pixel in the sources.

    Parameters
    ----------
    reference : StereoImage
    sources : sequence of StereoImage

    Returns
    -------
    float
    """
    center = np.linalg.inv(reference.cam_from_world)[:3, 3]
    baselines = [np.linalg.norm(np.linalg.inv(s.cam_from_world)[:3, 3] - center) for s in sources]
    return float(1 / (reference.camera.K[0, 0] * max(np.median(baselines), 1e-12)))
