"""Points as square splats, the nearest in front: arrays in, a picture out."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Floats = NDArray[np.float64]
Bytes = NDArray[np.uint8]

_TOP, _BOTTOM = np.array([246.0, 247.0, 249.0]), np.array([206.0, 211.0, 219.0])
#: Points that tell how dense a cloud is.
_SAMPLE = 50_000


class PinholeCamera(Protocol):
    """What a picture needs of its camera; it has no distortion."""

    @property
    def width(self) -> int:
        """Width in pixels."""
        ...

    @property
    def height(self) -> int:
        """Height in pixels."""
        ...

    @property
    def K(self) -> Floats:
        """Calibration matrix, shape (3, 3)."""
        ...

    def project(self, points_cam: Floats) -> Floats:
        """Project points to pixels.

        Parameters
        ----------
        points_cam : ndarray of float64, shape (..., 3)
            Points in the camera frame.

        Returns
        -------
        ndarray of float64, shape (..., 2)
        """
        ...


def splat_points(
    points: Floats,
    colors: Bytes | None,
    camera: PinholeCamera,
    cam_from_world: Floats,
    *,
    radius: float | None = None,
) -> Bytes:
    """Draw points over a soft background.

    Parameters
    ----------
    points : ndarray of float64, shape (N, 3)
    colors : ndarray of uint8, shape (N, 3), optional
        Dark gray by default.
    camera : PinholeCamera
    cam_from_world : ndarray of float64, shape (4, 4)
    radius : float, optional
        Radius of a point in the world; by default such that a typical cloud closes.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)
    """
    picture = background(camera)
    points = points @ cam_from_world[:3, :3].T + cam_from_world[:3, 3]
    front = points[:, 2] > 1e-6
    points = points[front]
    if not len(points):
        return picture
    shades = np.full((len(points), 3), 90, np.uint8) if colors is None else colors[front]
    pixels = camera.project(points)
    if radius is None:
        # Of every n-th point of a surface, neighbours are sqrt(n) times as far apart.
        count = min(len(points), _SAMPLE)
        tree = cKDTree(points[np.random.default_rng(0).choice(len(points), count, replace=False)])
        distance, _ = tree.query(tree.data[:5000], k=min(4, count))
        radius = float(np.median(distance[:, -1])) * (count / len(points)) ** 0.5 if count > 3 else 0.0
    reach = np.clip(camera.K[0, 0] * radius / points[:, 2], 0, 6)
    depth = np.full(camera.height * camera.width, np.inf)
    owner = np.full(camera.height * camera.width, -1, np.int64)
    columns, rows = np.floor(pixels).astype(np.int64).T
    rings = [np.flatnonzero(reach >= ring - 0.5) for ring in range(7)]
    for dy in range(-6, 7):
        for dx in range(-6, 7):
            hit = rings[max(abs(dx), abs(dy))]
            column, row = columns[hit] + dx, rows[hit] + dy
            inside = (column >= 0) & (column < camera.width) & (row >= 0) & (row < camera.height)
            hit, cell = hit[inside], (row * camera.width + column)[inside]
            if not len(hit):
                continue
            nearer = points[hit, 2] < depth[cell]
            hit, cell = hit[nearer], cell[nearer]
            np.minimum.at(depth, cell, points[hit, 2])
            won = points[hit, 2] == depth[cell]
            owner[cell[won]] = hit[won]
    flat = picture.reshape(-1, 3)
    flat[owner >= 0] = shades[owner[owner >= 0]]
    return picture


def background(camera: PinholeCamera) -> Bytes:
    """Draw the background of a picture, a soft gradient.

    Parameters
    ----------
    camera : PinholeCamera
        Gives the size.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)
        RGB.
    """
    blend = np.linspace(0, 1, camera.height)[:, None, None]
    picture = (1 - blend) * _TOP + blend * _BOTTOM
    return np.ascontiguousarray(np.broadcast_to(picture, (camera.height, camera.width, 3)).astype(np.uint8))
