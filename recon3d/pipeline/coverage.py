"""From where, and by how many views, the parts of a scene are seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recon3d.types import Scene

#: Views that a point needs before a wrong match would show in its residual.
_ENOUGH_VIEWS = 3
_SECTORS = 12
#: Sparse points that a sector needs before its share means anything.
_ENOUGH_POINTS = 30
#: Share of a sector's points with enough views below which the sector is weak.
_THIN = 0.5
#: Degrees between neighbouring cameras of an orbit that leave a side of the object thinly seen.
_GAP = 60.0
_HALF_TURN = 180.0


@dataclass(frozen=True)
class Gap:
    """A stretch of an orbit without a camera.

    Attributes
    ----------
    start, end : float
        Azimuths in degrees, seen from above, anticlockwise from the plan's first axis; the gap goes
        from `start` up to `end`, which may exceed 360.
    before, after : str
        Names of the views at both ends.
    """

    start: float
    end: float
    before: str
    after: str

    @property
    def degrees(self) -> float:
        """Its width."""
        return self.end - self.start


@dataclass(frozen=True)
class Coverage:
    """How well the views cover the sparse points.

    Attributes
    ----------
    seen_by_three : float
        Share of the points that three or more views see.
    views_per_point : float
        Mean number of views that see a point.
    around : float
        Degrees of a full turn that the cameras take up, seen from above; 0 where they do not look at
        a common middle.
    gaps : tuple of Gap
        Stretches of more than 60 degrees without a camera, where the cameras surround the scene.
    weak : tuple of (float, float)
        Azimuths, as in `Gap`, of the parts of the scene that few views see.
    """

    seen_by_three: float
    views_per_point: float
    around: float = 0.0
    gaps: tuple[Gap, ...] = ()
    weak: tuple[tuple[float, float], ...] = ()


def plan_axes(up: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """Choose the axes of the plan: the world seen from above.

    Parameters
    ----------
    up : ndarray of float64, shape (3,), or None
        Direction of up; +y where it is not known.

    Returns
    -------
    ndarray of float64, shape (3, 2)
        ``xyz @ axes`` are positions on the plan, x to the right and y downwards.
    """
    up = np.array([0.0, 1.0, 0.0]) if up is None else up / np.linalg.norm(up)
    side = np.array([1.0, 0.0, 0.0]) if abs(up[0]) < 0.9 else np.array([0.0, 0.0, 1.0])
    right = np.cross(side, up)
    right /= np.linalg.norm(right)
    return np.stack([np.cross(up, right), -right], axis=1)


def middle_of(scene: Scene) -> NDArray[np.float64]:
    """Find the middle of a scene on its plan: the median of its points.

    Parameters
    ----------
    scene : Scene

    Returns
    -------
    ndarray of float64, shape (2,)
    """
    axes = plan_axes(scene.up)
    xyz = scene.points.xyz if len(scene.points) else np.array([view.center for view in scene])
    middle: NDArray[np.float64] = np.median(xyz @ axes, axis=0)
    return middle


def measure_coverage(scene: Scene) -> Coverage:
    """Measure how well the views cover the points.

    Parameters
    ----------
    scene : Scene

    Returns
    -------
    Coverage
    """
    views = np.diff(scene.points.track_starts)
    if not len(views) or not len(scene):
        return Coverage(0.0, 0.0)
    around, gaps = _orbit(scene)
    return Coverage(
        seen_by_three=float(np.mean(views >= _ENOUGH_VIEWS)),
        views_per_point=float(np.mean(views)),
        around=around,
        gaps=gaps,
        weak=_weak_sectors(scene, views),
    )


def _azimuths(offsets: NDArray[np.float64]) -> NDArray[np.float64]:
    # The plan's y points down, as a picture's does: the sign makes the angles anticlockwise.
    degrees: NDArray[np.float64] = np.degrees(np.arctan2(-offsets[:, 1], offsets[:, 0])) % 360
    return degrees


def _orbit(scene: Scene) -> tuple[float, tuple[Gap, ...]]:
    axes, middle = plan_axes(scene.up), middle_of(scene)
    offsets = np.array([view.center for view in scene]) @ axes - middle
    forward = np.array([view.cam_from_world[2, :3] for view in scene]) @ axes
    lengths = np.linalg.norm(offsets, axis=1) * np.linalg.norm(forward, axis=1)
    towards = -np.sum(offsets * forward, axis=1) / np.maximum(lengths, 1e-12)
    if len(scene) < 3 or float(np.median(towards)) < 0.5:
        return 0.0, ()
    azimuths = _azimuths(offsets)
    order = np.argsort(azimuths, kind="stable")
    starts = azimuths[order]
    ends = np.append(starts[1:], starts[0] + 360)
    names = [scene.views[i].name for i in order]
    found = [
        Gap(float(a), float(b), names[i], names[(i + 1) % len(names)])
        for i, (a, b) in enumerate(zip(starts, ends, strict=True))
    ]
    widest = max(gap.degrees for gap in found)
    if widest >= _HALF_TURN:  # the scene is seen from one side, as a facade is
        return 360 - widest, ()
    return 360 - widest, tuple(gap for gap in found if gap.degrees > _GAP)


def _weak_sectors(scene: Scene, views: NDArray[np.int64]) -> tuple[tuple[float, float], ...]:
    azimuths = _azimuths(scene.points.xyz @ plan_axes(scene.up) - middle_of(scene))
    width = 360 / _SECTORS
    sectors = np.minimum((azimuths / width).astype(int), _SECTORS - 1)
    weak = []
    for sector in range(_SECTORS):
        inside = views[sectors == sector]
        if len(inside) >= _ENOUGH_POINTS and float(np.mean(inside >= _ENOUGH_VIEWS)) < _THIN:
            weak.append((sector * width, (sector + 1) * width))
    return tuple(weak)
