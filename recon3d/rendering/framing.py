"""Where photos were taken, and a view that holds its subject in a picture of any shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from recon3d.rendering.viewpoint import Floats, Pinhole, look_at

#: From the upper to the lower edge of a picture, in degrees.
FIELD_OF_VIEW = 40.0
#: Parts of the picture's height and width that the subject takes.
FILL_HEIGHT, FILL_WIDTH = 0.82, 0.94


class _Camera(Protocol):
    """The camera of a photo."""

    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def K(self) -> Floats: ...


class _View(Protocol):
    """A photo's camera and pose."""

    @property
    def camera(self) -> _Camera: ...
    @property
    def cam_from_world(self) -> Floats: ...


@dataclass(frozen=True, eq=False)
class Photos:
    """Where photos were taken.

    Parameters
    ----------
    cam_from_world : ndarray of float64, shape (C, 4, 4)
    tangents : ndarray of float64, shape (C, 2)
        Of half the horizontal and vertical field of view.
    """

    cam_from_world: Floats
    tangents: Floats

    @classmethod
    def of(cls, views: Sequence[_View]) -> Photos:
        """Take what matters of views.

        Parameters
        ----------
        views : sequence of View

        Returns
        -------
        Photos
        """
        sizes = [(view.camera.width, view.camera.height) for view in views]
        focals = [(view.camera.K[0, 0], view.camera.K[1, 1]) for view in views]
        poses = np.array([view.cam_from_world for view in views]).reshape(-1, 4, 4)
        return cls(poses, np.array(sizes).reshape(-1, 2) / 2 / np.array(focals).reshape(-1, 2))

    def __len__(self) -> int:
        return len(self.cam_from_world)

    @property
    def centers(self) -> Floats:
        """Positions, shape (C, 3)."""
        rotation, shift = self.cam_from_world[:, :3, :3], self.cam_from_world[:, :3, 3]
        centers: Floats = -np.einsum("nij,ni->nj", rotation, shift)
        return centers


@dataclass(frozen=True, eq=False)
class Opening:
    """The first view of a model, for a picture of any shape.

    Parameters
    ----------
    target : ndarray of float64, shape (3,)
        What the camera looks at.
    back : ndarray of float64, shape (3,)
        Unit vector from there to the camera.
    up : ndarray of float64, shape (3,)
        Unit vector.
    frame : ndarray of float64, shape (K, 3)
        Points that the picture holds: the outline of the subject.
    limit : float, optional
        The camera's greatest distance, where something is behind it.
    photo : int, optional
        Index of the photo that was taken from this side.
    """

    target: Floats
    back: Floats
    up: Floats
    frame: Floats
    limit: float | None = None
    photo: int | None = None

    def distance(self, aspect: float, field_of_view: float = FIELD_OF_VIEW) -> float:
        """Compute the distance from which the subject fills the picture.

        Parameters
        ----------
        aspect : float
            Width over height of the picture.
        field_of_view : float
            From the upper to the lower edge, in degrees.

        Returns
        -------
        float
            From the camera to `target`.
        """
        x, y, z = self._across() @ (self.frame - self.target).T
        tangent = np.tan(np.radians(field_of_view) / 2)
        # A nose may stick out of the outline: the lesser side of the picture has the wider margin.
        fill_width = FILL_WIDTH if aspect >= 1 else FILL_HEIGHT
        # |y| <= fill * tangent * (distance - z) for every point of the frame.
        needed = np.maximum(
            z + np.abs(y) / (FILL_HEIGHT * tangent), z + np.abs(x) / (fill_width * tangent * aspect)
        )
        distance = max(float(needed.max()), 1e-9)
        return distance if self.limit is None else min(distance, self.limit)

    def eye(self, aspect: float, field_of_view: float = FIELD_OF_VIEW) -> Floats:
        """Compute the camera's position.

        Parameters
        ----------
        aspect : float
            Width over height of the picture.
        field_of_view : float
            From the upper to the lower edge, in degrees.

        Returns
        -------
        ndarray of float64, shape (3,)
        """
        position: Floats = self.target + self.distance(aspect, field_of_view) * self.back
        return position

    def camera(self, size: tuple[int, int], field_of_view: float = FIELD_OF_VIEW) -> tuple[Pinhole, Floats]:
        """Place the camera of a picture.

        Parameters
        ----------
        size : (int, int)
            Width and height in pixels.
        field_of_view : float
            From the upper to the lower edge, in degrees.

        Returns
        -------
        (Pinhole, ndarray of float64)
            The camera and its ``cam_from_world`` of shape (4, 4).
        """
        focal = 0.5 * size[1] / np.tan(np.radians(field_of_view) / 2)
        return look_at(self.eye(size[0] / size[1], field_of_view), self.target, self.up, focal, size)

    def moved(self, scale: float, rotation: Floats, translation: Floats) -> Opening:
        """Transform the view with its world: x -> scale * rotation @ x + translation.

        Parameters
        ----------
        scale : float
        rotation : ndarray of float64, shape (3, 3)
        translation : ndarray of float64, shape (3,)

        Returns
        -------
        Opening
        """
        return Opening(
            scale * rotation @ self.target + translation,
            rotation @ self.back,
            rotation @ self.up,
            scale * self.frame @ rotation.T + translation,
            None if self.limit is None else scale * self.limit,
            self.photo,
        )

    def _across(self) -> Floats:
        return axes(self.back, self.up)


def axes(back: Floats, up: Floats) -> Floats:
    """Make the axes of a picture.

    Parameters
    ----------
    back, up : ndarray of float64, shape (3,)
        Unit vectors: against the direction of view, and up in the world.

    Returns
    -------
    ndarray of float64, shape (3, 3)
        Right, up and back of the picture, as rows.
    """
    right = np.cross(up, back)
    if np.linalg.norm(right) < 1e-6:
        right = np.cross(level_axis(back), back)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(back, right), back])


def level_axis(up: Floats) -> Floats:
    """Choose a direction across another, +z where it can be.

    Parameters
    ----------
    up : ndarray of float64, shape (3,)
        Unit vector.

    Returns
    -------
    ndarray of float64, shape (3,)
        Unit vector.
    """
    start = np.array([0.0, 0.0, 1.0]) if abs(up[2]) < 0.9 else np.array([0.0, -1.0, 0.0])
    across: Floats = start - (start @ up) * up
    return across / np.linalg.norm(across)
