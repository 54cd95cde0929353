"""Agreement of the photos: exposure gains, and photos that show something else than the surface."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from recon3d.kernels import kernel
from recon3d.texture.face_visibility import Candidates
from recon3d.texture.surroundings import contradicted
from recon3d.texture.topology import FacePairs
from recon3d.types import Bytes, Floats, Floats32, Ints

#: Gray levels that are neither noise nor clipped, and so tell of exposure.
_DARKEST, _BRIGHTEST = 20, 235
#: Range of the gains.
_MAX_GAIN = 2.0
#: Colour distance in gray levels that never makes an outlier: shading, specularity, small errors of pose.
_FLOOR = 28.0
#: Distance in robust standard deviations that makes an outlier.
_SIGMAS = 3.0

_compiled = kernel(_nrt=False)


def view_gains(candidates: Candidates, view_count: int, *, max_faces: int = 20_000) -> Floats:
    """Gain of each photo and channel that makes the photos agree where they overlap.

    The logarithm of a colour is modelled as a face's own value plus a photo's exposure. Both are
    found by alternating least squares with Huber's weights, from the colours that each face has
    in its candidate views.

    Parameters
    ----------
    candidates : Candidates
    view_count : int
    max_faces : int
        An even subset of so many faces is used.

    Returns
    -------
    ndarray of float64, shape (view_count, 3)
        Factors for the photos' values, between 0.5 and 2, with a geometric mean of 1 over the
        views that are used.
    """
    step = max(1, len(candidates.view) // max_faces)
    view, color = candidates.view[::step], candidates.color[::step].astype(np.float64)
    face_index = np.broadcast_to(np.arange(len(view))[:, None], view.shape)
    usable = (view >= 0) & np.all((color > _DARKEST) & (color < _BRIGHTEST), axis=2)
    face_of, view_of = face_index[usable], view[usable]
    gains = np.zeros((view_count, 3))
    if not len(face_of):
        return np.ones_like(gains)
    observed = np.log(color[usable])
    seen = np.bincount(view_of, minlength=view_count)
    for channel in range(3):
        value = observed[:, channel]
        exposure = np.zeros(view_count)
        weight = np.ones(len(value))
        for _ in range(12):
            norm = np.bincount(face_of, weight, len(view))
            own = np.bincount(face_of, weight * (value - exposure[view_of]), len(view)) / np.maximum(
                norm, 1e-9
            )
            residual = value - own[face_of]
            # A few pseudo-observations keep a view without overlap at a gain of 1.
            exposure = np.bincount(view_of, weight * residual, view_count) / (
                np.bincount(view_of, weight, view_count) + 5.0
            )
            weight = 0.1 / np.maximum(np.abs(residual - exposure[view_of]), 0.1)
        gains[:, channel] = exposure - np.average(exposure, weights=seen)
    limit = np.log(_MAX_GAIN)
    factors: Floats = np.exp(-np.clip(gains, -limit, limit))
    return factors


def remove_outliers(candidates: Candidates, pairs: FacePairs, gains: Floats) -> tuple[Candidates, int]:
    """Drop the views in which a face has another colour than in the rest of its views.

    This keeps passers-by, highlights and objects that the mesh lacks from being painted. In the
    spirit of Waechter et al. 2014, section 3.2, but with the component-wise median in place of
    their mean and covariance, which a single bright outlier shifts, and with the distances
    averaged over the neighbouring faces in the same photo, since what is in the way covers more
    than one face. Of two views that differ the one goes that is clearly further from the colours of
    the faces around on which the photos agree: see `recon3d.texture.surroundings`.

    Parameters
    ----------
    candidates : Candidates
    pairs : FacePairs
    gains : ndarray of float64, shape (views, 3)
        From `view_gains`.

    Returns
    -------
    Candidates
    int
        Number of (face, view) combinations dropped.
    """
    distance, spread = color_distances(candidates, gains)
    for _ in range(2):
        distance, spread = _smooth(distance, spread, candidates.view, pairs.faces)
    outlier = distance > np.maximum(_FLOOR, _SIGMAS * 1.4826 * spread)[:, None]
    outlier &= (candidates.view >= 0) & (candidates.counts >= 3)[:, None]
    # The view that agrees best always stays.
    best = np.argmin(np.where(candidates.view >= 0, distance, np.inf), axis=1)
    outlier[np.arange(len(best)), best] = False
    outlier |= contradicted(candidates, pairs, gains)
    return kept_views(candidates, ~outlier), int(np.count_nonzero(outlier))


def kept_views(candidates: Candidates, keep: NDArray[np.bool_]) -> Candidates:
    """Keep some of the views of each face.

    Parameters
    ----------
    candidates : Candidates
    keep : ndarray of bool, shape (F, K)

    Returns
    -------
    Candidates
    """
    view = np.full(candidates.view.shape, -1, np.int32)
    quality, color = np.zeros(view.shape, np.float32), np.zeros((*view.shape, 3), np.uint8)
    _keep(candidates.view, candidates.quality, candidates.color, keep, view, quality, color)
    return replace(candidates, view=view, quality=quality, color=color)


@_compiled
def _keep(
    view: Ints,
    quality: Floats32,
    color: Bytes,
    keep: NDArray[np.bool_],
    kept_view: Ints,
    kept_quality: Floats32,
    kept_color: Bytes,
) -> None:
    for f in range(view.shape[0]):
        place = 0
        for k in range(view.shape[1]):
            if view[f, k] >= 0 and keep[f, k]:
                kept_view[f, place] = view[f, k]
                kept_quality[f, place] = quality[f, k]
                for channel in range(3):
                    kept_color[f, place, channel] = color[f, k, channel]
                place += 1


def color_distances(candidates: Candidates, gains: Floats) -> tuple[Floats32, Floats32]:
    """Distance of each face's colours from their median, and the median of these distances.

    Parameters
    ----------
    candidates : Candidates
    gains : ndarray of float64, shape (views, 3)

    Returns
    -------
    distance : ndarray of float32, shape (F, K)
        Gray levels; 0 in unused places.
    spread : ndarray of float32, shape (F,)
    """
    count, size = candidates.view.shape
    distance, spread = np.zeros((count, size), np.float32), np.zeros(count, np.float32)
    _measure(candidates.view, candidates.color, gains, np.empty(size, np.float32), distance, spread)
    return distance, spread


@_compiled
def _median(values: Floats32, count: int) -> float:
    """Lower median of the first `count` values, which get sorted."""
    for i in range(1, count):
        value = values[i]
        j = i - 1
        while j >= 0 and values[j] > value:
            values[j + 1] = values[j]
            j -= 1
        values[j + 1] = value
    return values[(count - 1) // 2]  # type: ignore[no-any-return]


@_compiled
def _measure(
    view: Ints, color: Bytes, gains: Floats, values: Floats32, distance: Floats32, spread: Floats32
) -> None:
    count, size = view.shape
    for f in range(count):
        n = 0
        while n < size and view[f, n] >= 0:
            n += 1
        if n == 0:
            continue
        for channel in range(3):
            for k in range(n):
                values[k] = color[f, k, channel] * gains[view[f, k], channel]
            middle = _median(values, n)
            for k in range(n):
                offset = color[f, k, channel] * gains[view[f, k], channel] - middle
                distance[f, k] += offset * offset
        for k in range(n):
            distance[f, k] = math.sqrt(distance[f, k])
            values[k] = distance[f, k]
        spread[f] = _median(values, n)


def _smooth(distance: Floats32, spread: Floats32, view: Ints, pairs: Ints) -> tuple[Floats32, Floats32]:
    """Average over each face and its neighbours, view by view."""
    total, weight = distance.copy(), np.ones_like(distance)
    spread_total, spread_weight = spread.copy(), np.ones_like(spread)
    _add_neighbors(distance, spread, view, pairs, total, weight, spread_total, spread_weight)
    return total / weight, spread_total / spread_weight


@_compiled
def _add_neighbors(
    distance: Floats32,
    spread: Floats32,
    view: Ints,
    pairs: Ints,
    total: Floats32,
    weight: Floats32,
    spread_total: Floats32,
    spread_weight: Floats32,
) -> None:
    size = view.shape[1]
    for e in range(pairs.shape[0]):
        f, g = pairs[e, 0], pairs[e, 1]
        if view[f, 0] < 0 or view[g, 0] < 0:
            continue
        spread_total[f] += spread[g]
        spread_total[g] += spread[f]
        spread_weight[f] += 1
        spread_weight[g] += 1
        i, j = 0, 0
        while i < size and j < size and view[f, i] >= 0 and view[g, j] >= 0:
            if view[f, i] < view[g, j]:
                i += 1
            elif view[f, i] > view[g, j]:
                j += 1
            else:
                total[f, i] += distance[g, j]
                total[g, j] += distance[f, i]
                weight[f, i] += 1
                weight[g, j] += 1
                i += 1
                j += 1
