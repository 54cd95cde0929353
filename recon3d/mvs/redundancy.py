"""Which views tell what others do not."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recon3d.mvs.source_selection import MIN_SHARED, shared_points
from recon3d.types import Floats, Mask, Scene

#: A view sees a point as another does only if its pixels are at most this much larger.
_COARSER = 1.25
#: Stereo matches rays that differ by up to this, in degrees.
_MATCHED = 40.0
#: This share of a view's points must be seen by others.
_SHARE = 0.9
#: Points of a view that are looked at, at most.
_SAMPLE = 200
#: A view with less than this share of the points of those it shares most with is blurred, or sees little.
_WEAK, _COMPARED = 0.6, 4
#: So many views are left at least: fewer cost little, and were chosen by hand.
_FEWEST = 24
#: Where those are not left, half of the angle is tried, down to this.
_SMALLEST = 1.0


def needed_views(scene: Scene, angle: float, sources: int) -> Mask:
    """Find the views that see what others do not, or from where others do not.

    A video shows a surface from many directions that hardly differ. A view is left out where views that
    stay see nearly all of its sparse points, from nearly the same directions and from as near, and where
    enough stay for stereo. Furukawa et al., "Towards Internet-scale Multi-view Stereo", CVPR 2010, leave
    out images as long as points stay covered by enough pixels; here directions count, since tracks of
    features end long before a point is out of sight.

    Parameters
    ----------
    scene : Scene
        Pinhole views.
    angle : float
        Degrees by which rays to a point differ that see it alike. Views of an even orbit that are kept are
        up to twice as far apart.
    sources : int
        Views that stereo compares each view with.

    Returns
    -------
    ndarray of bool, shape (V,)
        Views that are needed. Views without points are.
    """
    shared = shared_points(scene)
    shared[shared < MIN_SHARED] = 0
    covers = [_Cover(scene, v, row) for v, row in enumerate(shared)]
    # In the order of capture, what is kept of a video is spaced evenly. Blurred frames come last.
    order = np.argsort(_weak(scene, shared), kind="stable").tolist()
    while angle > _SMALLEST:
        kept = np.zeros(len(scene), bool)
        for v in order:
            kept[v] = not covers[v].seen(kept, angle, 1)
        for v in order:
            covers[v].add(kept, sources)
        if kept.sum() >= _FEWEST:
            return kept
        angle /= 2
    return np.ones(len(scene), bool)


def _weak(scene: Scene, shared: NDArray[np.int64]) -> Mask:
    seen = np.bincount(scene.points.track_views, minlength=len(scene))
    best = np.argsort(-shared, axis=1, kind="stable")[:, :_COMPARED]
    return np.asarray(seen < _WEAK * np.median(seen[best], axis=1))


class _Cover:
    """From how different directions the other views see a view's points."""

    def __init__(self, scene: Scene, v: int, shared: NDArray[np.int64]) -> None:
        points = scene.points
        seen = np.repeat(np.arange(len(points)), np.diff(points.track_starts))[points.track_views == v]
        xyz = points.xyz[seen[:: max(1, len(seen) // _SAMPLE)]]
        rays, pixel = _rays(scene, v, xyz)
        #: Those that share points, the one that shares most first.
        self._views = np.argsort(-shared, kind="stable")[: np.count_nonzero(shared)]
        #: In degrees, views by points; infinite where a point is out of the frame or seen coarsely.
        self._angles = np.full((len(self._views), len(xyz)), np.inf)
        for row, u in zip(self._angles, self._views.tolist(), strict=True):
            theirs, larger = _rays(scene, u, xyz)
            fine = _in_frame(scene, u, xyz) & (larger <= _COARSER * pixel)
            row[fine] = np.degrees(np.arccos(np.clip(np.sum(rays * theirs, axis=1), -1, 1)))[fine]

    def seen(self, kept: Mask, angle: float, count: int) -> bool:
        """Whether `count` of the views that are kept see nearly all points from within an angle."""
        near = self._angles[kept[self._views]] <= angle
        return near.size > 0 and bool(np.mean(near.sum(axis=0) >= count) >= _SHARE)

    def add(self, kept: Mask, sources: int) -> None:
        """Keep more views until there are enough for stereo, or all."""
        for u in self._views:
            partners = np.count_nonzero(kept[self._views])
            if partners >= sources and self.seen(kept, _MATCHED, sources):
                return
            kept[u] = True


def _rays(scene: Scene, v: int, xyz: Floats) -> tuple[Floats, Floats]:
    """Directions from a view's centre to points, and how large its pixels are there."""
    view = scene.views[v]
    rays = xyz - view.center
    distances = np.linalg.norm(rays, axis=1)
    return rays / np.maximum(distances, 1e-12)[:, None], distances / view.camera.K[0, 0]


def _in_frame(scene: Scene, v: int, xyz: Floats) -> NDArray[np.bool_]:
    view = scene.views[v]
    local = xyz @ view.cam_from_world[:3, :3].T + view.cam_from_world[:3, 3]
    front = local[:, 2] > 0
    pixels = view.camera.project(np.where(front[:, None], local, 1.0))
    size = (view.camera.width, view.camera.height)
    return np.asarray(front & np.all((pixels >= 0) & (pixels < size), axis=1))
