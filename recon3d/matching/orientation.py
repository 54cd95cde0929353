"""Which way is up, where the middle is, and how large: the world frame of a reconstruction.

Structure from motion leaves the world's rotation, origin and scale open. People hold cameras level,
so the cameras' x axes are close to horizontal: up is the direction most orthogonal to all of them
[1]_, on the side of the images' upper edges. A dominant ground plane or facade then makes it exact.
Cameras that go round a subject on their sides are told by their x axes, which are nearly parallel: to up.

References
----------
.. [1] Szeliski, Image Alignment and Stitching: A Tutorial, 2006, section on up vector selection.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recon3d.matching.gps import Position, fit_gps
from recon3d.surface.region import usual_distance
from recon3d.types import Scene

Floats = NDArray[np.float64]

#: How much the mean image-up counts beside the orthogonality to the x axes: it decides where all
#: cameras look the same way, and hardly matters elsewhere.
_PRIOR = 0.05
#: Cameras on their sides go round a subject: at most so much of the x axes' squares lies in the second of
#: their main directions (level cameras all round have near a half there), and so long is at most the mean
#: of the viewing directions.
_PARALLEL, _ALL_ROUND = 0.25, 0.5
_GROUND_ANGLE = 25.0
_FACADE_ANGLE = 15.0
_PLANE_SHARE = 0.15
#: Degrees between the cameras' up and the axis of a given world that is taken for it.
_AXIS_ANGLE = 30.0


@dataclass(frozen=True)
class World:
    """A similarity to a new world, and how it was found.

    Parameters
    ----------
    scale : float
    rotation : ndarray of float64, shape (3, 3)
    translation : ndarray of float64, shape (3,)
        x -> scale * rotation @ x + translation.
    how : str
    unit : {"m", ""}
    notes : tuple of str
        What GPS gave, which positions were left out, or why none could be used.
    """

    scale: float
    rotation: Floats
    translation: Floats
    how: str
    unit: str
    notes: tuple[str, ...] = ()


def find_world(scene: Scene, gps: Sequence[Position | None], seed: int) -> World:
    """Upright, centred world of a scene.

    Parameters
    ----------
    scene : Scene
    gps : sequence of (latitude, longitude, altitude) or None
        Of each view, in degrees and metres; the altitude may be None.
    seed : int

    Returns
    -------
    World
        +y up; metres when the GPS positions fit, else the median distance from the cameras to
        their points is 1.
    """
    centers = np.array([view.center for view in scene])
    fit = fit_gps([view.name for view in scene], centers, gps, seed)
    if fit.similarity is not None:
        scale, rotation = fit.similarity
        middle = _middle(scene, centers, rotation)
        how = f"up and scale from GPS, {fit.residual:.2f} m off on average"
        return World(scale, rotation, -scale * middle, how, "m", fit.notes)
    up, how = _refine(camera_up(scene), scene, centers, seed)
    notes = fit.notes
    if _sideways_axis(scene) is not None:
        notes += (
            "The photos lie on their sides. Up is the axis around which they were taken, and its upper end "
            "the one that they look down from. If the model is upside down, rotate the photos.",
        )
    rotation = rotation_to_y(up)
    middle = _middle(scene, centers, rotation)
    distance = usual_distance(scene, centers)
    scale = 1.0 / distance if distance > 0 else 1.0
    return World(scale, rotation, -scale * middle, how, "", notes)


def camera_up(scene: Scene) -> Floats:
    """Estimate the up direction from the cameras alone.

    Parameters
    ----------
    scene : Scene

    Returns
    -------
    ndarray of float64, shape (3,)
        A unit vector.
    """
    axis = _sideways_axis(scene)
    if axis is not None:
        return axis
    right = np.array([view.cam_from_world[0, :3] for view in scene])
    above = np.array([-view.cam_from_world[1, :3] for view in scene])
    prior = np.median(above, axis=0)
    if np.linalg.norm(prior) < 0.1:
        prior = above[0]
    prior /= np.linalg.norm(prior)
    weights = np.ones(len(right))
    up: Floats = prior
    for _ in range(5):  # reweighted: a few tilted cameras do not count
        normal = (right * weights[:, None]).T @ right + _PRIOR * weights.sum() * np.eye(3)
        up = np.linalg.solve(normal, prior)
        up /= np.linalg.norm(up)
        weights = 1.0 / (1.0 + (right @ up / 0.1) ** 2)
    return up


def _sideways_axis(scene: Scene) -> Floats | None:
    """Up, where cameras on their sides go round a subject; None for all others.

    Level x axes spread in a plane there. Parallel ones are those of a wall's photos, or of a camera
    that was turned by 90 degrees, and only the latter look to all sides.
    """
    right, ahead = (np.array([view.cam_from_world[row, :3] for view in scene]) for row in (0, 2))
    shares, ways = np.linalg.eigh(right.T @ right / len(right))
    if shares[1] > _PARALLEL or np.linalg.norm(ahead.mean(axis=0)) > _ALL_ROUND:
        return None
    axis: Floats = ways[:, 2]
    # A camera may lie on either side. People look down at what stands before them.
    return axis if (ahead @ axis).sum() <= 0 else -axis


def world_axis_up(scene: Scene) -> Floats | None:
    """Find the world's axis that points up, where the world was given.

    Parameters
    ----------
    scene : Scene

    Returns
    -------
    ndarray of float64, shape (3,), or None
        A unit vector along an axis; None when up lies between the axes.
    """
    if not len(scene):
        return None
    up = camera_up(scene)
    axis = int(np.abs(up).argmax())
    if abs(up[axis]) < np.cos(np.radians(_AXIS_ANGLE)):
        return None
    along: Floats = np.sign(up[axis]) * np.eye(3)[axis]
    return along


def rotation_to_y(up: Floats) -> Floats:
    """Compute the smallest rotation that takes a direction to +y.

    Parameters
    ----------
    up : ndarray of float64, shape (3,)
        A unit vector.

    Returns
    -------
    ndarray of float64, shape (3, 3)
    """
    y = np.array([0.0, 1.0, 0.0])
    cosine = float(up @ y)
    if cosine < -1 + 1e-9:
        return np.diag([1.0, -1.0, -1.0])
    axis = np.cross(up, y)
    skew = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    rotation: Floats = np.eye(3) + skew + skew @ skew / (1.0 + cosine)
    return rotation


def _refine(up: Floats, scene: Scene, centers: Floats, seed: int) -> tuple[Floats, str]:
    points = scene.points.xyz
    if len(points) >= 100:
        rng = np.random.default_rng(seed)
        sample = points[rng.choice(len(points), min(len(points), 5000), replace=False)]
        tolerance = 0.01 * usual_distance(scene, centers)
        below = sample[(sample - np.median(centers, axis=0)) @ up < 0]
        ground = _plane(below, up, np.cos(np.radians(_GROUND_ANGLE)), 1.0, tolerance, rng)
        if ground is not None and ground[1] >= _PLANE_SHARE * len(sample):
            normal = ground[0] * np.sign(ground[0] @ up)
            return normal, "up from the ground plane"
        facade = _plane(sample, up, 0.0, np.sin(np.radians(_FACADE_ANGLE)), tolerance, rng)
        if facade is not None and facade[1] >= _PLANE_SHARE * len(sample):
            level = up - (up @ facade[0]) * facade[0]
            return level / np.linalg.norm(level), "up from the cameras, level with the largest wall"
    return up, "up from the cameras"


def _plane(
    points: Floats, up: Floats, least: float, most: float, tolerance: float, rng: np.random.Generator
) -> tuple[Floats, int] | None:
    """Plane with most points whose normal n has least <= abs(n . up) <= most, by RANSAC."""
    if len(points) < 30:
        return None
    picks = points[rng.integers(0, len(points), (800, 3))]
    normals = np.cross(picks[:, 1] - picks[:, 0], picks[:, 2] - picks[:, 0])
    lengths = np.linalg.norm(normals, axis=1)
    normals = normals[lengths > 0] / lengths[lengths > 0, None]
    anchors = picks[lengths > 0, 0]
    cosines = np.abs(normals @ up)
    allowed = (cosines >= least) & (cosines <= most)
    best: tuple[Floats, int] | None = None
    for normal, anchor in zip(normals[allowed], anchors[allowed], strict=True):
        count = int(np.count_nonzero(np.abs((points - anchor) @ normal) < tolerance))
        if best is None or count > best[1]:
            inliers = points[np.abs((points - anchor) @ normal) < tolerance]
            best = (np.linalg.svd(inliers - inliers.mean(axis=0), full_matrices=False)[2][2], count)
    return best


def _middle(scene: Scene, centers: Floats, rotation: Floats) -> Floats:
    """Median of the points along the turned axes."""
    points = scene.points.xyz if len(scene.points) else centers
    middle: Floats = np.median(points @ rotation.T, axis=0)
    return middle
