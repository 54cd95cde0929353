"""Choosing frames: evenly spaced in motion, each as sharp as its surroundings allow."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

#: Travel below which two frames show the same, as a fraction of the longer side.
SAME_VIEW = 0.008
#: What blur weighs against uneven spacing: 0.1 of blur costs as much as a step 63 % off.
_BLUR_WEIGHT = 4.0
#: Candidates kept in the space of one step.
_BINS = 8
#: Longest step that is weighed against others, in steps.
_REACH = 3.0


def choose_frames(
    position: Floats,
    blur: Floats,
    usable: NDArray[np.bool_],
    *,
    step: float,
    min_frames: int,
    max_frames: int,
    min_step: float = SAME_VIEW,
) -> Indices:
    """Choose frames a step apart, avoiding blurred ones.

    The choice is the shortest path through the frames: a frame costs its blur, a step from one to
    the next the square of how far it is from the wanted step. Being optimal over the whole video,
    it moves the neighbours along when a stretch is blurred, and leaves a stretch out only when
    nothing in it is worth a wider step.

    Parameters
    ----------
    position : ndarray of float64, shape (N,)
        How far the image has travelled (or the time) at each frame; not decreasing.
    blur : ndarray of float64, shape (N,)
        See `recon3d.selection.sharpness.blur`.
    usable : ndarray of bool, shape (N,)
        Frames that may be chosen at all.
    step : float
        Wanted distance of neighbouring frames, in units of `position`.
    min_frames, max_frames : int
        The step is shortened or widened to get as many frames.
    min_step : float
        The step is not shortened below this, since the frames would show the same.

    Returns
    -------
    ndarray of int64, shape (K,)
        Indices, increasing; empty when no frame is usable.
    """
    candidates = np.flatnonzero(usable)
    if len(candidates) == 0:
        return candidates
    position = np.asarray(position, np.float64)
    length = float(position[candidates[-1]] - position[candidates[0]])
    step = min(step, max(length / max(min_frames - 1, 1), min_step))
    step = max(step, length / max(max_frames - 0.5, 0.5), 1e-9)
    chosen = _path(position, blur, candidates, step)
    for _ in range(30):
        if len(chosen) > max_frames:
            step *= max(1.01, (len(chosen) - 1) / max(max_frames - 1, 1))
        elif len(chosen) < min_frames and step > min_step:
            step = max(min_step, step * min(0.97, (len(chosen) - 1) / (min_frames - 1) + 1e-3))
        else:
            return chosen
        chosen = _path(position, blur, candidates, step)
    if len(chosen) > max_frames:
        chosen = chosen[np.linspace(0, len(chosen) - 1, max_frames).round().astype(np.int64)]
    return chosen


def _path(position: Floats, blur: Floats, candidates: Indices, step: float) -> Indices:
    """Cheapest sequence of candidates; see `choose_frames`."""
    # The best frame of each eighth of a step stands for the others: the path's cost hardly
    # changes, and a stretch without motion becomes one candidate instead of thousands.
    bins = np.floor((position[candidates] - position[candidates[0]]) / step * _BINS).astype(np.int64)
    order = np.lexsort((candidates, blur[candidates], bins))
    _, first = np.unique(bins[order], return_index=True)
    nodes = candidates[order[first]]
    place = (position[nodes] - position[nodes[0]]) / step
    own = _BLUR_WEIGHT * blur[nodes]
    start = np.searchsorted(place, place - _REACH)
    cost = own + np.where(place <= 1.0, place**2, np.inf)
    came_from = np.full(len(nodes), -1)
    for j in range(1, len(nodes)):
        # The frame just before is always in reach, so that a jump does not break the path.
        i = np.arange(min(start[j], j - 1), j)
        total = cost[i] + np.minimum((place[j] - place[i] - 1.0) ** 2, (_REACH - 1.0) ** 2)
        best = int(np.argmin(total))
        if total[best] + own[j] < cost[j]:
            cost[j], came_from[j] = total[best] + own[j], i[best]
    rest = place[-1] - place
    j = int(np.argmin(cost + np.where(rest <= 1.0, rest**2, np.inf)))
    path = [j]
    while came_from[j] >= 0:
        j = int(came_from[j])
        path.append(j)
    return np.asarray(nodes[path[::-1]], np.int64)
