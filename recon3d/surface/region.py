"""What the pictures are about: the region that deserves a surface.

Depth maps also reach the houses behind a statue. Their few points would stretch the octree and the
model's bounds, so the surface is made of what the cameras were pointed at.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recon3d.types import Floats, Scene

#: Directions from the middle to the cameras must cover this much of a circle for an orbit.
_ORBIT = 0.35
#: Around an orbit's middle, up to this share of the cameras' distance is kept.
_REACH = 0.75
#: Elsewhere, up to this many times the usual distance from the nearest camera.
_FAR = 3.0


@dataclass(frozen=True)
class Region:
    """A part of the world.

    Parameters
    ----------
    centers : ndarray of float64, shape (N, 3)
    radius : float
        Everything at most this far from one of the centres belongs to it.
    kind : {"orbit", "near"}
    """

    centers: Floats
    radius: float
    kind: str

    def contains(self, points: Floats) -> NDArray[np.bool_]:
        """Tell which points are inside.

        Parameters
        ----------
        points : ndarray of float64, shape (N, 3)

        Returns
        -------
        ndarray of bool, shape (N,)
        """
        inside = np.zeros(len(points), bool)
        for center in self.centers:
            inside |= ((points - center) ** 2).sum(axis=1) <= self.radius**2
        return inside


def find_region(scene: Scene) -> Region:
    """Find the region that a scene's cameras look at.

    Cameras that go around something look at a common middle; what is inside their ring is kept.
    Otherwise everything is kept that is not much further from the cameras than the scene's sparse
    points usually are.

    Parameters
    ----------
    scene : Scene

    Returns
    -------
    Region
    """
    centers = np.array([view.center for view in scene])
    axes = np.array([view.cam_from_world[2, :3] for view in scene])
    middle = nearest_to_axes(centers, axes)
    toward = centers - middle
    distance = np.linalg.norm(toward, axis=1)
    ahead = np.einsum("nc,nc->n", axes, -toward) / np.maximum(distance, 1e-12)
    spread = np.linalg.norm((toward / np.maximum(distance[:, None], 1e-12)).mean(axis=0))
    if len(centers) >= 4 and np.median(ahead) > 0.9 and spread < 1 - _ORBIT:
        return Region(middle[None], _REACH * float(np.median(distance)), "orbit")
    return Region(centers, _FAR * usual_distance(scene, centers), "near")


def nearest_to_axes(centers: Floats, axes: Floats) -> Floats:
    """Find the point with the least squared distance to the cameras' optical axes.

    Parameters
    ----------
    centers : ndarray of float64, shape (N, 3)
        Positions of the cameras.
    axes : ndarray of float64, shape (N, 3)
        Unit vectors.

    Returns
    -------
    ndarray of float64, shape (3,)
    """
    across = np.eye(3) - axes[:, :, None] * axes[:, None, :]
    # Parallel axes leave the depth open; a little weight on the centres decides it.
    normal = across.sum(axis=0) + 1e-6 * len(centers) * np.eye(3)
    point: Floats = np.linalg.solve(
        normal, np.einsum("nab,nb->a", across, centers) + 1e-6 * centers.sum(axis=0)
    )
    return point


def usual_distance(scene: Scene, centers: Floats) -> float:
    """Compute the median distance from the cameras to the sparse points that they see.

    Parameters
    ----------
    scene : Scene
    centers : ndarray of float64, shape (N, 3)
        Positions of the cameras.

    Returns
    -------
    float
    """
    points = scene.points
    if not len(points):
        return float("inf")
    index = np.repeat(np.arange(len(points)), np.diff(points.track_starts))
    return float(np.median(np.linalg.norm(points.xyz[index] - centers[points.track_views], axis=1)))
