"""Which views a view is matched against."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from recon3d.types import Floats, Ints, Mask, Scene

#: Best triangulation angle, in degrees, and how fast smaller and larger ones lose (as in MVSNet,
#: Yao et al., ECCV 2018, with a wider upper side: our matching copes with tilted patches).
_BEST_ANGLE, _BELOW, _ABOVE = 10.0, 5.0, 15.0
#: Views that share fewer points are no sources.
MIN_SHARED = 5


def shared_points(scene: Scene) -> NDArray[np.int64]:
    """How many sparse points each pair of views sees.

    Parameters
    ----------
    scene : Scene

    Returns
    -------
    ndarray of int64, shape (V, V)
        Symmetric, without the views themselves.
    """
    points = scene.points
    ones = np.ones(len(points.track_views), np.int64)
    shape = (len(points), len(scene))
    seen = csr_array((ones, points.track_views, points.track_starts), shape=shape)
    shared: NDArray[np.int64] = (seen.T @ seen).toarray()
    np.fill_diagonal(shared, 0)
    return shared


def pair_scores(scene: Scene) -> Floats:
    """How well each pair of views suits stereo.

    A point that both views see counts by its triangulation angle and by how alike its distances
    from both are.

    Parameters
    ----------
    scene : Scene

    Returns
    -------
    ndarray of float64, shape (V, V)
        Symmetric; 0 for pairs that share too few points.
    """
    count = len(scene)
    points = scene.points
    centers = np.array([view.center for view in scene])
    lengths = np.diff(points.track_starts)
    point_of = np.repeat(np.arange(len(points)), lengths)
    rays = points.xyz[point_of] - centers[points.track_views]
    distances = np.linalg.norm(rays, axis=1)
    rays /= np.maximum(distances, 1e-12)[:, None]
    scores = np.zeros((count, count))
    # Pairs of observations of one point, by their distance inside the track: long tracks need no square.
    for gap in range(1, int(lengths.max(initial=0))):
        a = np.flatnonzero(point_of[gap:] == point_of[:-gap])
        b = a + gap
        i, j = points.track_views[a], points.track_views[b]
        angle = np.degrees(np.arccos(np.clip(np.sum(rays[a] * rays[b], axis=1), -1, 1)))
        spread = np.where(angle < _BEST_ANGLE, _BELOW, _ABOVE)
        ratio = np.minimum(distances[a], distances[b]) / np.maximum(distances[a], distances[b])
        weight = np.exp(-((angle - _BEST_ANGLE) ** 2) / (2 * spread**2)) * ratio
        np.add.at(scores, (i, j), weight)
    scores += scores.T
    scores[shared_points(scene) < MIN_SHARED] = 0
    return scores


def source_views(scene: Scene, count: int, among: Mask | None = None) -> list[Ints]:
    """Up to `count` sources for each view, best first; none for a view that shares nothing.

    Parameters
    ----------
    scene : Scene
    count : int
    among : ndarray of bool, shape (V,), optional
        Views that have sources and may be sources; all by default.

    Returns
    -------
    list of ndarray of int32, shape (S,)
        Indices into the scene's views.
    """
    scores = pair_scores(scene)
    if among is not None:
        scores[~among] = 0
        scores[:, ~among] = 0
    chosen = []
    for row in scores:
        order = np.argsort(-row, kind="stable")[:count]
        chosen.append(order[row[order] > 0].astype(np.int32))
    return chosen
