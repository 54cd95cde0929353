"""Where a picture is seen from: a simple pinhole camera and its pose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Pinhole:
    """A pinhole camera that looks through the middle of its picture.

    Parameters
    ----------
    width, height : int
        Size of the picture in pixels.
    focal : float
        Focal length in pixels.
    """

    width: int
    height: int
    focal: float

    @property
    def K(self) -> Floats:
        """Calibration matrix, shape (3, 3)."""
        return np.array(
            [[self.focal, 0.0, self.width / 2], [0.0, self.focal, self.height / 2], [0.0, 0.0, 1.0]]
        )

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
        middle = np.array([self.width / 2, self.height / 2])
        pixels: Floats = self.focal * points_cam[..., :2] / points_cam[..., 2:3] + middle
        return pixels


def look_at(
    center: Floats, target: Floats, up: Floats, focal: float, size: tuple[int, int]
) -> tuple[Pinhole, Floats]:
    """Place a camera that looks at a point.

    Parameters
    ----------
    center : ndarray of float64, shape (3,)
        Position of the camera in the world.
    target : ndarray of float64, shape (3,)
        The point.
    up : ndarray of float64, shape (3,)
        Direction of up in the world.
    focal : float
        Focal length in pixels.
    size : (int, int)
        Width and height in pixels.

    Returns
    -------
    (Pinhole, ndarray of float64)
        The camera and its ``cam_from_world`` of shape (4, 4).
    """
    forward = (target - center) / np.linalg.norm(target - center)
    right = np.cross(forward, up)
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward])
    pose = np.eye(4)
    pose[:3, :3] = rotation
    pose[:3, 3] = -rotation @ center
    return Pinhole(*size, focal), pose
