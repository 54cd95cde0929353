"""Where PatchMatch starts from: the sparse points."""

from __future__ import annotations

import cv2
import numpy as np
from scipy.spatial import Delaunay, QhullError, cKDTree

from recon3d.types import Camera, Floats, Floats32

#: Inverse depths beyond those of the sparse points that are still looked at.
_NEARER, _FARTHER = 3.0, 0.4


def inverse_depth_bounds(points_cam: Floats) -> tuple[float, float]:
    """Smallest and largest inverse depth to look at, from the points that a view sees.

    Parameters
    ----------
    points_cam : ndarray of float64, shape (N, 3)
        Points in the camera frame, N > 0, all in front of the camera.

    Returns
    -------
    (float, float)
        Smallest and largest inverse depth.
    """
    inverse = 1 / points_cam[:, 2]
    low, high = np.percentile(inverse, [1, 99])
    return float(low * _FARTHER), float(high * _NEARER)


def planes_from_points(
    points_cam: Floats, camera: Camera, bounds: tuple[float, float], seed: int
) -> Floats32:
    """Plane hypotheses for each pixel, from a triangulation of the sparse points in the image.

    Inside the triangles the planes are those of the triangles; elsewhere they face the camera, at
    the nearest point's depth. Every other pixel far from any point gets a random depth instead.

    Parameters
    ----------
    points_cam : ndarray of float64, shape (N, 3)
        Points in the camera frame, in front of the camera; there may be none.
    camera : Camera
        Pinhole camera.
    bounds : tuple of float
        Smallest and largest inverse depth.
    seed : int

    Returns
    -------
    ndarray of float32, shape (3, H, W)
        As `PlaneMap.state`.
    """
    width, height = camera.width, camera.height
    random = np.random.default_rng(seed)
    state = np.zeros((3, height, width), np.float32)
    state[0] = random.uniform(*bounds, (height, width))
    if not len(points_cam):
        return state
    pixels = camera.project(points_cam) - 0.5
    inside = np.all((pixels > -1) & (pixels < [width, height]), axis=1)
    cells, first = np.unique(np.rint(pixels[inside]).astype(int), axis=0, return_index=True)
    if not len(cells):
        return state
    pixels = pixels[inside][first]
    inverse = 1 / points_cam[inside][first, 2]
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).reshape(-1, 2)
    distance, nearest = cKDTree(pixels).query(grid)
    planes = np.zeros((len(grid), 3))
    planes[:, 0] = inverse[nearest]
    try:
        mesh = Delaunay(pixels)
    except (QhullError, ValueError):
        mesh = None  # fewer than three points, or all on a line
    if mesh is not None:
        # Painting the triangles is many times faster than looking each pixel up.
        painted = np.full((height, width), -1, np.int32)
        for index, outline in enumerate(np.rint(pixels[mesh.simplices] * 16).astype(np.int32)):
            cv2.fillConvexPoly(painted, outline, index, lineType=cv2.LINE_8, shift=4)
        triangle = painted.ravel()
        corners = pixels[mesh.simplices]
        edges = corners[:, 1:] - corners[:, :1]
        rises = inverse[mesh.simplices][:, 1:] - inverse[mesh.simplices][:, :1]
        flat = np.abs(np.linalg.det(edges)) < 1e-6
        edges[flat] = np.eye(2)
        gradients = np.linalg.solve(edges, rises[..., None])[..., 0]
        gradients[flat] = 0
        known = triangle >= 0
        which = triangle[known]
        offset = grid[known] - corners[which, 0]
        planes[known, 0] = inverse[mesh.simplices[which, 0]] + np.sum(gradients[which] * offset, axis=1)
        planes[known, 1:] = gradients[which]
    doubtful = (distance > 0.05 * max(width, height)) & (random.random(len(grid)) < 0.5)
    keep = ~doubtful
    state.reshape(3, -1)[:, keep] = planes[keep].T
    np.clip(state[0], *bounds, out=state[0])
    return state
