"""PatchMatch stereo with slanted planes: propagation and refinement over the pixels of one view.

Red-black propagation with adaptive sampling of hypotheses follows ACMH (Xu and Tao, Multi-Scale
Geometric Consistency Guided Multi-View Stereo, CVPR 2019): half of the pixels, those of one colour
of a checkerboard, look at the other half in eight areas, take the best hypothesis of each and keep
what explains the source views best. The cost over the views is the mean of the best ones, as in
Galliani et al., Massively Parallel Multiview Stereopsis by Surface Normal Diffusion, ICCV 2015.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from recon3d.mvs.matching_cost import (
    REACH,
    REACHES,
    SAMPLES,
    compiled,
    inner,
    prepare_patch,
    view_cost,
)

#: The eight areas of neighbours, nearest first; every offset leads to the other colour.
_NEAR_AREA = [(0, -1), (-1, -2), (1, -2), (0, -3), (-2, -3), (2, -3)]
_FAR_AREA = [(0, -5), (0, -7), (0, -9), (0, -11), (0, -15), (0, -19)]


def _rotated(area: list[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    turned = [area]
    for _ in range(3):
        turned.append([(-y, x) for x, y in turned[-1]])
    return turned


AREAS = np.array(_rotated(_NEAR_AREA) + _rotated(_FAR_AREA), np.int32)
#: Planes that a pixel remembers as tried: its own, and one of each area.
TRIED = len(AREAS) + 1

_ZERO = np.float32(0.0)
_ONE = np.float32(1.0)
_HALF = np.float32(0.5)
#: A hypothesis is dropped when the views chosen so far exceed the best cost so far by this much.
_SLACK = np.float32(0.15)
#: Above every cost.
_UNUSABLE = np.float32(1e9)
#: Inverse square of the smallest cosine between a plane's normal and the line of sight (80 degrees).
_GRAZING = np.float32(33.0)


@inner
def _random(state: Any) -> Any:
    """Next of a sequence of numbers in [-1, 1): Marsaglia's xorshift."""
    value = state[0]
    value ^= np.uint32(value << np.uint32(13))
    value ^= np.uint32(value >> np.uint32(17))
    value ^= np.uint32(value << np.uint32(5))
    state[0] = value
    return np.float32(np.int32(value >> np.uint32(8))) * np.float32(2.0 / 16777216.0) - _ONE


@inner
def _seed(x: int, y: int, seed: int) -> Any:
    """A hash of a pixel and a seed; never 0."""
    value = (x * 73856093) ^ (y * 19349663) ^ (seed * 83492791)
    value = (value ^ (value >> 16)) * 0x45D9F3B
    value = (value ^ (value >> 16)) * 0x45D9F3B
    return np.uint32((value ^ (value >> 16)) & 0xFFFFFFFF) | np.uint32(1)


@inner
def _plane_cost(
    x: Any, y: Any, rho: Any, gx: Any, gy: Any, ceiling: Any, chosen: Any, anew: Any, best_views: Any,
    packed: Any, layout: Any, forth: Any, pattern: Any, patch: Any, mean: Any, inverse_deviation: Any,
    maps: Any, map_layout: Any, back: Any, geometric_weight: Any, costs: Any,
) -> tuple[Any, Any]:  # fmt: skip
    """Mean cost over the chosen views (bits), or over the best of all, and which those are.

    The chosen views are looked at first: as soon as the mean over them cannot stay below `ceiling`
    (with some slack if others may be better), the hypothesis is `_UNUSABLE`.
    """
    number = _ZERO
    for j in range(layout.shape[0]):
        number += np.float32((chosen >> j) & 1)
    limit = (ceiling + (_SLACK if anew else _ZERO)) * number
    total = _ZERO
    # The chosen views, then the others; in one loop, since the call is inlined.
    for turn in range(2 if anew else 1):
        for j in range(layout.shape[0]):
            if (chosen >> j) & 1 == turn:
                continue
            costs[j] = view_cost(
                j, np.float32(x), np.float32(y), rho, gx, gy, packed, layout, forth, pattern, patch, mean,
                inverse_deviation, maps, map_layout, back, geometric_weight,
            )  # fmt: skip
            if turn == 0:
                total += costs[j]
                if total >= limit:
                    return _UNUSABLE, chosen
    if not anew:
        return total / number, chosen
    total = _ZERO
    best = np.int64(0)
    for _ in range(best_views):
        lowest = _UNUSABLE
        winner = 0
        for j in range(layout.shape[0]):
            if costs[j] < lowest and not (best >> j) & 1:
                lowest = costs[j]
                winner = j
        best |= np.int64(1) << winner
        total += lowest
    return total / np.float32(best_views), best


@inner
def _allowed(x: Any, y: Any, rho: Any, gx: Any, gy: Any, camera: Any, bounds: Any) -> Any:
    """Whether a plane lies in the range of depth and is not seen at a grazing angle."""
    mx = (np.float32(x) - camera[2]) / camera[0]
    my = (np.float32(y) - camera[3]) / camera[1]
    wx = gx * camera[0]
    wy = gy * camera[1]
    wz = rho - wx * mx - wy * my
    slant = (wx * wx + wy * wy + wz * wz) * (mx * mx + my * my + _ONE)
    return rho >= bounds[0] and rho <= bounds[1] and slant <= _GRAZING * rho * rho


@inner
def improve_pixel(
    x: Any, y: Any, own: Any, state: Any, cost: Any, chosen: Any, pattern: Any, steps: Any,
    packed: Any, layout: Any, forth: Any, maps: Any, map_layout: Any, back: Any, geometric_weight: Any,
    camera: Any, bounds: Any, best_views: Any, free: Any, worst: Any, same: Any,
    rate: Any, areas: Any, variations: Any, step: Any, tilt: Any, polish: Any, seed: Any,
    patch: Any, costs: Any, random: Any, tried: Any, value: Any,
) -> None:  # fmt: skip
    """Rate, propagate to, vary and polish one pixel, in place; a GPU runs the same source.

    It reads the state of pixels of the other colour only, so those of one colour may run at once.

    Parameters
    ----------
    x, y : int
        The pixel.
    own, state, cost, chosen, pattern, steps, packed, layout, forth, maps, map_layout, back : Any
        See `sweep`, as the following.
    geometric_weight, camera, bounds, best_views, free, worst, same : Any
    rate, areas, variations, step, tilt, polish, seed : Any
    patch : ndarray of float32, shape (2, SAMPLES)
        Scratch memory of the caller, as the rest.
    costs : ndarray of float32, shape (S,)
    random : ndarray of uint32, shape (1,)
    tried : ndarray of float32, shape (TRIED, 3)
    value : ndarray of float32, shape (3,)
    """
    height, width = cost.shape
    stride = width + 2 * REACH
    radius = np.float32(REACHES[pattern])
    searched = areas + variations
    mean, inverse_deviation = prepare_patch(own, stride, steps, x, y, pattern, patch)
    views = np.int64(chosen[y, x])
    rho = state[0, y, x]
    gx = state[1, y, x]
    gy = state[2, y, x]
    best = cost[y, x]
    random[0] = _seed(x, y, seed)
    tried[0, 0] = rho
    tried[0, 1] = gx
    tried[0, 2] = gy
    number = 1
    middle = rho
    # One loop over all that is tried, since the cost is inlined: rating, search, polish.
    for attempt in range(-1 if rate else 0, searched + 3 * polish.shape[0]):
        new_rho = rho
        new_gx = gx
        new_gy = gy
        ceiling = best
        anew = free == 2
        turn = 0
        if attempt < 0:
            ceiling = _UNUSABLE
            anew = free >= 1
        elif attempt < areas:
            # The best hypothesis of the area.
            nx = -1
            ny = -1
            lowest = worst
            for k in range(AREAS.shape[1]):
                ax = x + AREAS[attempt, k, 0]
                ay = y + AREAS[attempt, k, 1]
                if ax >= 0 and ay >= 0 and ax < width and ay < height and cost[ay, ax] < lowest:
                    lowest = cost[ay, ax]
                    nx = ax
                    ny = ay
            if nx < 0:
                continue
            new_gx = state[1, ny, nx]
            new_gy = state[2, ny, nx]
            new_rho = state[0, ny, nx] + new_gx * np.float32(x - nx) + new_gy * np.float32(y - ny)
            known = False
            for k in range(number):
                slope = abs(new_gx - tried[k, 1]) + abs(new_gy - tried[k, 2])
                if abs(new_rho - tried[k, 0]) + radius * slope < same:
                    known = True
            if known:
                continue
            tried[number, 0] = new_rho
            tried[number, 1] = new_gx
            tried[number, 2] = new_gy
            number += 1
        elif best > worst:
            break
        elif attempt < searched:
            kind = (attempt - areas) % 3
            if kind != 0:
                new_rho += step * _random(random)
            if kind != 1:
                new_gx += tilt * rho / camera[0] * _random(random)
                new_gy += tilt * rho / camera[1] * _random(random)
        else:
            # The vertex of the parabola through the costs of two depths and the one between.
            turn = (attempt - searched) % 3
            change = polish[(attempt - searched) // 3]
            if turn == 0:
                middle = rho
                value[2] = best
                shift = -_ONE
            elif turn == 1:
                shift = _ONE
            else:
                bend = value[0] + value[1] - value[2] - value[2]
                if bend <= _ZERO:
                    continue
                shift = min(max(_HALF * (value[0] - value[1]) / bend, -_ONE), _ONE)
            new_rho = middle + change * shift
            ceiling = _UNUSABLE
            anew = False
        if attempt >= 0 and not _allowed(x, y, new_rho, new_gx, new_gy, camera, bounds):
            if attempt < searched:
                continue
            break
        new, new_views = _plane_cost(
            x, y, new_rho, new_gx, new_gy, ceiling, views, anew, best_views,
            packed, layout, forth, pattern, patch, mean, inverse_deviation,
            maps, map_layout, back, geometric_weight, costs,
        )  # fmt: skip
        if attempt >= searched and turn < 2:
            value[turn] = new
        if new < best or attempt < 0:
            best = new
            rho = new_rho
            gx = new_gx
            gy = new_gy
            views = new_views
    state[0, y, x] = rho
    state[1, y, x] = gx
    state[2, y, x] = gy
    cost[y, x] = best
    chosen[y, x] = views


@compiled
def sweep(
    color: int, own: Any, state: Any, cost: Any, chosen: Any, pattern: int, steps: Any,
    packed: Any, layout: Any, forth: Any, maps: Any, map_layout: Any, back: Any, geometric_weight: Any,
    camera: Any, bounds: Any, best_views: int, free: int, worst: Any, same: Any,
    rate: bool, areas: int, variations: int, step: Any, tilt: Any, polish: Any, seed: int,
) -> None:  # fmt: skip
    """Rate, propagate to, vary and polish the pixels of one color of the checkerboard, in place.

    Parameters
    ----------
    color : {0, 1}
        Pixels with (x + y) % 2 == color.
    own : ndarray of float32, shape (M,)
        The view's own image, flat; see `padded`.
    state : ndarray of float32, shape (3, H, W)
        Inverse depth at the pixel and its derivatives along x and y.
    cost : ndarray of float32, shape (H, W)
    chosen : ndarray of uint32, shape (H, W)
        Bits of the source views whose cost counts.
    pattern : {0, 1}
        Wide or narrow patches.
    steps : ndarray of int32, shape (SAMPLES,)
        See `patch_steps`.
    packed : ndarray of uint32, shape (M,)
        See `view_cost`.
    layout : ndarray of int32, shape (S, 3)
        See `view_cost`.
    forth : ndarray of float32, shape (S, 3, 4)
        See `view_cost`.
    maps : ndarray of float32, shape (L,)
        See `view_cost`.
    map_layout : ndarray of int32, shape (S, 3)
        See `view_cost`.
    back : ndarray of float32, shape (S, 3, 4)
        See `view_cost`.
    geometric_weight : float32
        See `view_cost`.
    camera : ndarray of float32, shape (4,)
        fx, fy, cx, cy of the view, centres of pixels at integers.
    bounds : ndarray of float32, shape (2,)
        Smallest and largest inverse depth.
    best_views : int
        Source views whose cost counts.
    free : {0, 1, 2}
        The source views that count stay (0), are chosen when the pixel is rated (1), or anew for
        each hypothesis (2).
    worst : float32
        Hypotheses with a higher cost are not propagated, varied or polished: sky, and what no source
        sees, costs little time.
    same : float32
        Neighbours' planes are passed over that differ by less than this inverse depth, over the
        patch, from one that was tried already.
    rate : bool
        Whether the pixels' costs are not known as yet.
    areas : int
        Areas of neighbours that are looked at, up to 8.
    variations : int
        Random variations that are tried.
    step : float32
        Size of the variations of inverse depth.
    tilt : float32
        Size of the variations of the plane's slope, relative to the inverse depth.
    polish : ndarray of float32, shape (N,)
        At the end, for each of these changes of inverse depth, the depth moves to the vertex of the
        parabola through the costs of three depths so far apart, if all are within bounds.
    seed : int
    """
    height, width = cost.shape
    patch = np.empty((2, SAMPLES), np.float32)
    costs = np.empty(layout.shape[0], np.float32)
    random = np.zeros(1, np.uint32)
    tried = np.empty((TRIED, 3), np.float32)
    value = np.empty(3, np.float32)
    for y in range(height):
        for x in range((y + color) & 1, width, 2):
            improve_pixel(
                x, y, own, state, cost, chosen, pattern, steps,
                packed, layout, forth, maps, map_layout, back, geometric_weight,
                camera, bounds, best_views, free, worst, same,
                rate, areas, variations, step, tilt, polish, seed,
                patch, costs, random, tried, value,
            )  # fmt: skip
