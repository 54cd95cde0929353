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

from recon3d.mvs.matching import WORST, compiled, inner, prepare_patch, view_cost

#: The eight areas of neighbours, nearest first; every offset leads to the other colour.
_NEAR_AREA = [(0, -1), (-1, -2), (1, -2), (0, -3), (-2, -3), (2, -3)]
_FAR_AREA = [(0, -5), (0, -7), (0, -9), (0, -11), (0, -15), (0, -19)]


def _rotated(area: list[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    turned = [area]
    for _ in range(3):
        turned.append([(-y, x) for x, y in turned[-1]])
    return turned


AREAS = np.array(_rotated(_NEAR_AREA) + _rotated(_FAR_AREA), np.int32)

_ZERO = np.float32(0.0)
_ONE = np.float32(1.0)
_HALF = np.float32(0.5)
#: A hypothesis is dropped when its two likeliest views exceed the best cost so far by this much.
_SLACK = np.float32(0.15)
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
def _total_cost(
    x: Any, y: Any, rho: Any, gx: Any, gy: Any, ceiling: Any, best_views: int, likely: Any, costs: Any,
    packed: Any, layout: Any, forth: Any, patch: Any, mean: Any, inverse_deviation: Any,
    maps: Any, map_layout: Any, back: Any, geometric_weight: Any,
) -> Any:  # fmt: skip
    """Mean cost over the best views; `WORST` as soon as it will clearly exceed `ceiling`.

    `likely` are the two views to look at first, and on return those with the lowest cost.
    """
    count = layout.shape[0]
    first = likely[0]
    second = likely[1]
    fx = np.float32(x)
    fy = np.float32(y)
    costs[first] = view_cost(
        first, fx, fy, rho, gx, gy, packed, layout, forth, patch, mean, inverse_deviation,
        maps, map_layout, back, geometric_weight,
    )  # fmt: skip
    if first != second:
        costs[second] = view_cost(
            second, fx, fy, rho, gx, gy, packed, layout, forth, patch, mean, inverse_deviation,
            maps, map_layout, back, geometric_weight,
        )  # fmt: skip
    if (costs[first] + costs[second]) * _HALF > ceiling + _SLACK:
        return WORST
    for j in range(count):
        if j != first and j != second:
            costs[j] = view_cost(
                j, fx, fy, rho, gx, gy, packed, layout, forth, patch, mean, inverse_deviation,
                maps, map_layout, back, geometric_weight,
            )  # fmt: skip
    # The best views, by partial selection: there are few.
    total = _ZERO
    used = 0
    for rank in range(min(best_views, count)):
        best = -1
        for j in range(count):
            if not used & (1 << j) and (best < 0 or costs[j] < costs[best]):
                best = j
        used |= 1 << best
        total += costs[best]
        if rank < 2:
            costs[count + rank] = np.float32(best)
    return total / np.float32(min(best_views, count))


@compiled
def sweep(
    color: int, own: Any, state: Any, cost: Any, likely: Any,
    packed: Any, layout: Any, forth: Any, maps: Any, map_layout: Any, back: Any,
    camera: Any, bounds: Any, areas: int, refinements: int, step: Any, tilt: Any,
    best_views: int, geometric_weight: Any, fresh: int, seed: int,
) -> None:  # fmt: skip
    """Propagate to, and refine, the pixels of one color of the checkerboard, in place.

    Parameters
    ----------
    color : {0, 1, 2}
        Pixels with (x + y) % 2 == color; 2 takes all, and only scores what is there.
    own : ndarray of uint32, shape (H * W,)
        The view's own packed image.
    state : ndarray of float32, shape (3, H, W)
        Inverse depth at the pixel and its derivatives along x and y.
    cost : ndarray of float32, shape (H, W)
    likely : ndarray of uint8, shape (H, W, 2)
        The two source views that fit best.
    packed, layout, forth, maps, map_layout, back, geometric_weight
        See `view_cost`.
    camera : ndarray of float32, shape (4,)
        fx, fy, cx, cy of the view, centres of pixels at integers.
    bounds : ndarray of float32, shape (2,)
        Smallest and largest inverse depth.
    areas : int
        Areas of neighbours that are looked at, up to 8.
    refinements : int
        Random variations that are tried.
    step : float32
        Size of the variations of inverse depth.
    tilt : float32
        Size of the variations of the plane's slope, relative to the inverse depth.
    best_views : int
        Source views whose cost counts.
    fresh : int
        Whether `cost` is not known yet for what `state` holds.
    seed : int
    """
    height, width = cost.shape
    count = layout.shape[0]
    patch = np.empty((2, 32), np.float32)
    costs = np.empty(count + 2, np.float32)
    first = np.zeros(2, np.int64)
    random = np.zeros(1, np.uint32)
    fx = camera[0]
    fy = camera[1]
    smallest = bounds[0]
    largest = bounds[1]
    for y in range(height):
        begin = 0 if color == 2 else (y + color) & 1
        stride = 1 if color == 2 else 2
        for x in range(begin, width, stride):
            mean, inverse_deviation = prepare_patch(own, width, height, x, y, patch)
            first[0] = likely[y, x, 0]
            first[1] = likely[y, x, 1]
            rho = state[0, y, x]
            gx = state[1, y, x]
            gy = state[2, y, x]
            best = cost[y, x]
            if fresh:
                best = _total_cost(
                    x, y, rho, gx, gy, WORST, best_views, first, costs,
                    packed, layout, forth, patch, mean, inverse_deviation,
                    maps, map_layout, back, geometric_weight,
                )  # fmt: skip
                first[0] = np.int64(costs[count])
                first[1] = np.int64(costs[count + min(1, count - 1)])
            random[0] = _seed(x, y, seed)
            tries = areas + refinements
            for attempt in range(tries):
                if attempt < areas:
                    # The best hypothesis of the area.
                    nx = -1
                    ny = -1
                    lowest = WORST
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
                else:
                    kind = (attempt - areas) % 3
                    new_rho = rho
                    new_gx = gx
                    new_gy = gy
                    if kind != 1:
                        new_rho += step * _random(random)
                    if kind != 0:
                        new_gx += tilt * rho / fx * _random(random)
                        new_gy += tilt * rho / fy * _random(random)
                if new_rho < smallest or new_rho > largest:
                    continue
                # Planes seen at a grazing angle explain anything.
                wx = new_gx * fx
                wy = new_gy * fy
                mx = (np.float32(x) - camera[2]) / fx
                my = (np.float32(y) - camera[3]) / fy
                wz = new_rho - wx * mx - wy * my
                if (wx * wx + wy * wy + wz * wz) * (mx * mx + my * my + _ONE) > _GRAZING * new_rho * new_rho:
                    continue
                value = _total_cost(
                    x, y, new_rho, new_gx, new_gy, best, best_views, first, costs,
                    packed, layout, forth, patch, mean, inverse_deviation,
                    maps, map_layout, back, geometric_weight,
                )  # fmt: skip
                if value < best:
                    best = value
                    rho = new_rho
                    gx = new_gx
                    gy = new_gy
                    first[0] = np.int64(costs[count])
                    first[1] = np.int64(costs[count + min(1, count - 1)])
            state[0, y, x] = rho
            state[1, y, x] = gx
            state[2, y, x] = gy
            cost[y, x] = best
            likely[y, x, 0] = first[0]
            likely[y, x, 1] = first[1]
