"""Cameras as lines: a pyramid from where a photo was taken to its corners."""

from __future__ import annotations

import numpy as np

from recon3d.rendering.framing import Photos
from recon3d.types import Floats, Floats32, Scene


def frusta(scene: Scene, origin: Floats, size: float) -> Floats32:
    """Compute the line segments of all cameras.

    Parameters
    ----------
    scene : Scene
    origin : ndarray of float64, shape (3,)
        Subtracted from all positions.
    size : float
        Of the model, in the scene's units: frusta are much smaller.

    Returns
    -------
    ndarray of float32, shape (C, 8, 2, 3)
        Of each camera four edges and the four sides of its image.
    """
    lines = np.empty((len(scene), 8, 2, 3))
    depth = _frustum_depth(scene, size)
    for row, view in zip(lines, scene, strict=True):
        width, height = view.camera.width, view.camera.height
        pixels = np.array([[0, 0, 1], [width, 0, 1], [width, height, 1], [0, height, 1]], dtype=np.float64)
        rays = pixels @ np.linalg.inv(view.camera.K).T * depth
        corners = (rays - view.cam_from_world[:3, 3]) @ view.cam_from_world[:3, :3]
        row[:4, 0], row[:4, 1] = view.center, corners
        row[4:, 0], row[4:, 1] = corners, np.roll(corners, -1, axis=0)
    return (lines - origin).astype(np.float32)


def photos_of(lines: Floats32) -> Photos:
    """Tell where photos were taken from the lines of their cameras.

    Parameters
    ----------
    lines : ndarray of float32, shape (C, 8, 2, 3)
        As `frusta` gives them.

    Returns
    -------
    Photos
    """
    center, corner = lines[:, 0, 0].astype(np.float64), lines[:, :4, 1].astype(np.float64)
    right, down = corner[:, 1] - corner[:, 0], corner[:, 3] - corner[:, 0]
    sizes = np.stack([np.linalg.norm(right, axis=1), np.linalg.norm(down, axis=1)], axis=1)
    ahead = np.cross(right, down) / np.maximum(sizes.prod(axis=1), 1e-30)[:, None]
    depth = np.einsum("nc,nc->n", corner[:, 0] - center, ahead)
    rotation = np.stack([right / sizes[:, :1], down / sizes[:, 1:], ahead], axis=1)
    poses = np.tile(np.eye(4), (len(lines), 1, 1))
    poses[:, :3, :3], poses[:, :3, 3] = rotation, -np.einsum("nij,nj->ni", rotation, center)
    return Photos(poses, sizes / 2 / depth[:, None])


def _frustum_depth(scene: Scene, size: float) -> float:
    """A tenth of the model, but no deeper than cameras are apart, so that frusta do not overlap."""
    centers = np.array([view.center for view in scene])
    spread = float(np.linalg.norm(np.ptp(centers, axis=0)))
    depth = 0.1 * size if size > 0 else 0.1
    return min(depth, spread / len(scene) ** 0.5) if spread > 0 else depth
