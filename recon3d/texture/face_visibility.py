"""What each photo shows of each face, and how well."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from recon3d.kernels import kernel
from recon3d.texture import raster
from recon3d.texture.outlines import shows_behind
from recon3d.types import Bytes, Floats, Floats32, Ints, Mesh, View

#: Views that a face chooses among: its best ones.
MAX_CANDIDATES = 16

#: Faces are not painted from photos that see them under a smaller cosine (84 degrees).
_MIN_COSINE = 0.1
#: Below this cosine (70 degrees) the quality falls off faster than the projected area.
_GRAZING_COSINE = 0.34
#: Guesses are painted from photos that see them under a larger cosine (60 degrees).
_SQUARE_COSINE = 0.5
#: Share of a face's pixels that must be unoccluded; what is hidden lowers the quality steeply.
_MIN_VISIBLE = 0.75
#: A face with this share of its pixels near an outline lies at it.
_MOSTLY = 0.5
#: Gray levels a pixel that a face without any texture counts.
_BASE_GRADIENT = 6.0
#: What is left of the quality of a face that lies at an outline in the photo.
_AT_OUTLINE = 0.03

_compiled = kernel(_nrt=False)


@dataclass(frozen=True, eq=False)
class ViewFaces:
    """The faces that one photo can paint.

    Parameters
    ----------
    faces : ndarray of int32, shape (N,)
        Ascending.
    quality : ndarray of float32, shape (N,)
        Positive; more is better.
    color : ndarray of uint8, shape (N, 3)
        Mean colour of the face in the photo.
    area : ndarray of float32, shape (N,)
        Pixels that the face covers.
    spoiled : ndarray of int32, shape (M,)
        Faces that the photo would show if it did not show what is behind them.
    clear : ndarray of int32, shape (K,)
        Those of the faces that the photo does not show at an outline.
    """

    faces: Ints
    quality: Floats32
    color: Bytes
    area: Floats32
    spoiled: Ints = field(default_factory=lambda: np.zeros(0, np.int32))
    clear: Ints = field(default_factory=lambda: np.zeros(0, np.int32))


@dataclass(frozen=True, eq=False)
class Candidates:
    """The best views of each face, in ascending order of the view.

    Parameters
    ----------
    view : ndarray of int32, shape (F, K)
        -1 in unused places, which come last.
    quality : ndarray of float32, shape (F, K)
    color : ndarray of uint8, shape (F, K, 3)
    pixels : ndarray of float32, shape (F,)
        Pixels that the face covers in the photo where it covers most; 0 when none sees it.
    doubted : ndarray of bool, shape (F,), optional
        Faces in whose place a photo shows what is behind them.
    at_outline : ndarray of bool, shape (F,), optional
        Faces that all photos show at an outline.
    """

    view: Ints
    quality: Floats32
    color: Bytes
    pixels: Floats32
    doubted: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    at_outline: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))

    @property
    def counts(self) -> Ints:
        """Number of views of each face, shape (F,)."""
        counts: Ints = np.count_nonzero(self.view >= 0, axis=1).astype(np.int32)
        return counts


def seen_faces(
    mesh: Mesh,
    view: View,
    rgb: Bytes,
    *,
    valid: NDArray[np.bool_] | None = None,
    guesses: NDArray[np.bool_] | None = None,
) -> ViewFaces:
    """Find the faces that a photo shows and rate how well it shows them.

    The depth test is a z-buffer at the photo's resolution. A face is seen when its front side
    faces the camera, all of it lies inside the photo, and at least 75 % of its pixels are not
    hidden. Its quality is the integral of the gradient magnitude over its projection (Gal et
    al. 2010, "Seamless Montage for Texturing Models"; Waechter et al. 2014) on top of a constant,
    so that plain surfaces prefer the closest, least oblique view. Faces at an outline, their own
    or an occluder's, count for little, since the mesh's outline is never exactly the photo's. Where
    the photo shows what is behind the mesh, it does not show its faces: see
    `recon3d.texture.outlines`.

    Parameters
    ----------
    mesh : Mesh
    view : View
        With a pinhole camera of the size of `rgb`.
    rgb : ndarray of uint8, shape (H, W, 3)
    valid : ndarray of bool, shape (V,), optional
        Vertices whose projection the photo really covers; by default all inside its frame.
    guesses : ndarray of bool, shape (F,), optional
        Faces that only count as seen where the photo shows them squarely and not at an outline.

    Returns
    -------
    ViewFaces
    """
    height, width = rgb.shape[:2]
    faces = mesh.faces
    q = mesh.vertices @ view.projection[:, :3].T + view.projection[:, 3]
    uv = raster.pixels(q)
    inside = _inside(q[:, 2], uv, width, height)
    if valid is not None:
        inside &= valid
    nearest = raster.inverse_depth(q, faces, width, height)
    # Pixels of tolerance around outlines grow with the photo, as the errors of poses do.
    radius = max(1, round(max(width, height) / 640))
    window = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
    focal = float(view.camera.K[0, 0])
    numbers, table = raster.gather(
        *(mesh.vertices, faces, view.center, _MIN_COSINE, q, uv, inside, nearest),
        np.asarray(cv2.dilate(nearest, window), np.float32),
        np.asarray(cv2.erode(nearest, window), np.float32),
        shows_behind(nearest, rgb),
        rgb,
        np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8),
        1.0 / focal,
        # A surface seen under 80 degrees recedes this much within the radius.
        6.0 * radius / focal,
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        share = table[:, raster.VISIBLE] / table[:, raster.PIXELS]
        near = table[:, raster.NEAR] / table[:, raster.VISIBLE]
        unspoiled = share + table[:, raster.BEHIND] / table[:, raster.PIXELS]
    facing = np.ones(len(numbers), bool)
    if guesses is not None:
        facing = ~guesses[numbers] | ((table[:, raster.COSINE] > _SQUARE_COSINE) & (near < _MOSTLY))
    seen = np.flatnonzero(facing & (share >= _MIN_VISIBLE))
    spoiled = numbers[facing & (share < _MIN_VISIBLE) & (unspoiled >= _MIN_VISIBLE)]
    numbers, table, near, share = numbers[seen], table[seen], near[seen], share[seen]
    quality = table[:, raster.AREA] * (table[:, raster.GRADIENT] + _BASE_GRADIENT)
    quality *= np.minimum(table[:, raster.COSINE] / _GRAZING_COSINE, 1.0) ** 2
    quality *= share**8
    quality *= 1.0 - (1.0 - _AT_OUTLINE) * np.sqrt(near)
    color = np.rint(table[:, raster.RED :]).astype(np.uint8)
    quality = np.maximum(quality, 1e-6).astype(np.float32)
    area = table[:, raster.AREA].copy()
    return ViewFaces(numbers, quality, color, area, spoiled, numbers[near < _MOSTLY])


def _inside(depth: Floats, uv: Floats, width: int, height: int) -> NDArray[np.bool_]:
    """Vertices in front of the camera and at least a pixel inside the photo."""
    u, v = uv[:, 0], uv[:, 1]
    inside: NDArray[np.bool_] = (depth > 0) & (u >= 1) & (v >= 1) & (u <= width - 1) & (v <= height - 1)
    return inside


class CandidateTable:
    """Collects the views' faces, one view after another, in memory that does not grow.

    Parameters
    ----------
    face_count : int
    size : int
        Views kept for each face.
    """

    def __init__(self, face_count: int, size: int = MAX_CANDIDATES) -> None:
        self._view = np.full((face_count, size), -1, np.int32)
        self._quality = np.zeros((face_count, size), np.float32)
        self._color = np.zeros((face_count, size, 3), np.uint8)
        self._pixels = np.zeros(face_count, np.float32)
        self._doubted = np.zeros(face_count, bool)
        self._clear = np.zeros(face_count, bool)

    def add(self, view: int, seen: ViewFaces) -> None:
        """Add the faces that a view sees.

        Parameters
        ----------
        view : int
            Index of the view; views come in ascending order.
        seen : ViewFaces
        """
        _insert(self._view, self._quality, self._color, view, seen.faces, seen.quality, seen.color)
        self._pixels[seen.faces] = np.maximum(self._pixels[seen.faces], seen.area)
        self._doubted[seen.spoiled] = True
        self._clear[seen.clear] = True

    def candidates(self) -> Candidates:
        """Return the collected candidates.

        Returns
        -------
        Candidates
        """
        at_outline = (self._view[:, 0] >= 0) & ~self._clear
        return Candidates(self._view, self._quality, self._color, self._pixels, self._doubted, at_outline)


@_compiled
def _insert(
    table_view: Ints,
    table_quality: Floats32,
    table_color: Bytes,
    view: int,
    faces: Ints,
    quality: Floats32,
    color: Bytes,
) -> None:
    size = table_view.shape[1]
    for n in range(faces.shape[0]):
        f = faces[n]
        place = 0
        while place < size and table_view[f, place] >= 0:
            place += 1
        if place == size:
            # Full: the worst goes, and those after it move up, which keeps the views in order.
            worst = 0
            for k in range(1, size):
                if table_quality[f, k] < table_quality[f, worst]:
                    worst = k
            if quality[n] <= table_quality[f, worst]:
                continue
            for k in range(worst, size - 1):
                table_view[f, k] = table_view[f, k + 1]
                table_quality[f, k] = table_quality[f, k + 1]
                for channel in range(3):
                    table_color[f, k, channel] = table_color[f, k + 1, channel]
            place = size - 1
        table_view[f, place] = view
        table_quality[f, place] = quality[n]
        for channel in range(3):
            table_color[f, place, channel] = color[n, channel]
