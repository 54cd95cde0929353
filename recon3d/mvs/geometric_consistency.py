"""Agreement of depth maps: the kernels of filtering and fusion."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from recon3d.mvs.matching_cost import compiled
from recon3d.mvs.normals import decode_normal

_HALF = np.float32(0.5)
_ONE = np.float32(1.0)
_ZERO = np.float32(0.0)


@compiled
def compare_pixels(
    depth: Any, normal: Any, others: Any, other_normals: Any, layout: Any, forth: Any, rotations: Any,
    max_error: Any, close_error: Any, max_depth: Any, min_cosine: Any,
    agreeing: Any, close: Any, mean_depth: Any, mean_normal: Any,
) -> None:  # fmt: skip
    """Find which other depth maps hold the same surface point as each pixel, and where they put it.

    Parameters
    ----------
    depth : ndarray of float32, shape (H, W)
    normal : ndarray of int16, shape (H, W, 2)
        In the camera frame, see `encode_normals`.
    others : ndarray of float32, shape (M,)
        Depth maps of the other views, one after the other.
    other_normals : ndarray of int16, shape (M, 2)
    layout : ndarray of int32, shape (S, 3)
        Start, width and height of each in `others`; at most 32 views.
    forth : ndarray of float32, shape (S, 3, 4)
        See `relative_projection`.
    rotations : ndarray of float32, shape (S, 3, 3)
        From the other views' camera frames to this one's.
    max_error, close_error : float32
        Pixels that the point may move in the other view when it gets the depth found there.
    max_depth : float32
        Relative difference of depth allowed.
    min_cosine : float32
        Of the angle between the normals.
    agreeing, close : ndarray of uint32, shape (H, W)
        Written: bit j is set when view j agrees to within `max_error`, or `close_error`.
    mean_depth : ndarray of float32, shape (H, W)
        Written: mean of the depths that this view and the agreeing ones find; 0 where unknown.
    mean_normal : ndarray of float32, shape (H, W, 3)
        Written: mean of their normals, in this view's camera frame; 0 where unknown.
    """
    height, width = depth.shape
    count = layout.shape[0]
    for y in range(height):
        for x in range(width):
            z = depth[y, x]
            bits = np.uint32(0)
            close_bits = np.uint32(0)
            if z <= _ZERO:
                agreeing[y, x] = bits
                close[y, x] = bits
                mean_depth[y, x] = _ZERO
                for a in range(3):
                    mean_normal[y, x, a] = _ZERO
                continue
            nx, ny, nz = decode_normal(normal[y, x, 0], normal[y, x, 1])
            sum_x, sum_y, sum_z = nx, ny, nz
            total = _ZERO
            number = _ONE
            rho = _ONE / z
            fx = np.float32(x)
            fy = np.float32(y)
            for j in range(count):
                qz = forth[j, 2, 0] * fx + forth[j, 2, 1] * fy + forth[j, 2, 2] + rho * forth[j, 2, 3]
                if qz <= np.float32(1e-3):
                    continue
                u = (forth[j, 0, 0] * fx + forth[j, 0, 1] * fy + forth[j, 0, 2] + rho * forth[j, 0, 3]) / qz
                v = (forth[j, 1, 0] * fx + forth[j, 1, 1] * fy + forth[j, 1, 2] + rho * forth[j, 1, 3]) / qz
                if u < -_HALF or v < -_HALF:
                    continue
                column = np.int32(u + _HALF)
                row = np.int32(v + _HALF)
                if column >= layout[j, 1] or row >= layout[j, 2]:
                    continue
                index = layout[j, 0] + row * layout[j, 1] + column
                other = others[index]
                expected = qz * z
                if other <= _ZERO or abs(other - expected) > max_depth * expected:
                    continue
                # A pixel's shift for the depth found there, along the epipolar line, to first order.
                dz = (other - expected) / expected
                du = (forth[j, 0, 3] - u * forth[j, 2, 3]) * rho / qz * dz
                dv = (forth[j, 1, 3] - v * forth[j, 2, 3]) * rho / qz * dz
                shift = du * du + dv * dv
                if shift > max_error * max_error:
                    continue
                ox, oy, oz = decode_normal(other_normals[index, 0], other_normals[index, 1])
                mx = rotations[j, 0, 0] * ox + rotations[j, 0, 1] * oy + rotations[j, 0, 2] * oz
                my = rotations[j, 1, 0] * ox + rotations[j, 1, 1] * oy + rotations[j, 1, 2] * oz
                mz = rotations[j, 2, 0] * ox + rotations[j, 2, 1] * oy + rotations[j, 2, 2] * oz
                if nx * mx + ny * my + nz * mz < min_cosine:
                    continue
                bits |= np.uint32(1) << np.uint32(j)
                if shift <= close_error * close_error:
                    close_bits |= np.uint32(1) << np.uint32(j)
                total += dz
                number += _ONE
                sum_x += mx
                sum_y += my
                sum_z += mz
            agreeing[y, x] = bits
            close[y, x] = close_bits
            # Farther there by a share is farther here by about the same.
            mean_depth[y, x] = z * (_ONE + total / number)
            length = math.sqrt(sum_x * sum_x + sum_y * sum_y + sum_z * sum_z)
            scale = _ONE / np.float32(length + 1e-6)
            mean_normal[y, x, 0] = sum_x * scale
            mean_normal[y, x, 1] = sum_y * scale
            mean_normal[y, x, 2] = sum_z * scale


@compiled
def fuse_pixels(
    depth: Any, normal: Any, rgb: Any, agreeing: Any, min_views: int, own_rank: Any, ranks: Any,
    others: Any, other_normals: Any, layout: Any, forth: Any, to_world: Any,
    own_to_world: Any, inverse_K: Any, inverse_Ks: Any, footprints: Any,
    points: Any, normals: Any, colors: Any, seen: Any,
) -> int:  # fmt: skip
    """Average each pixel with those that agree with it, where no other view has precedence.

    Precedence is a total order on (class of the footprint, rank of the view), so all views that agree on a
    point also agree on which of them keeps it.

    Parameters
    ----------
    depth : ndarray of float32, shape (H, W)
        0 where unknown.
    normal : ndarray of int16, shape (H, W, 2)
        In the camera frame, see `encode_normals`.
    rgb : ndarray of uint8, shape (H, W, 3)
    agreeing : ndarray of uint32, shape (H, W)
        Bit j is set when view j agrees; see `compare_pixels`.
    min_views : int
        Views that must agree, this one included.
    own_rank : int
    ranks : ndarray of int64, shape (S,)
        Ranks of the other views.
    others : ndarray of float32, shape (M,)
        Depth maps of the other views, one after the other.
    other_normals : ndarray of int16, shape (M, 2)
    layout : ndarray of int32, shape (S, 3)
        Start, width and height of each in `others`.
    forth : ndarray of float32, shape (S, 3, 4)
        See `relative_projection`.
    to_world : ndarray of float64, shape (S, 4, 4)
        From the camera frames of the other views to the world.
    own_to_world : ndarray of float64, shape (4, 4)
    inverse_K : ndarray of float64, shape (3, 3)
        Inverse calibration matrix.
    inverse_Ks : ndarray of float64, shape (S, 3, 3)
    footprints : ndarray of float64, shape (S + 1,)
        Size of a pixel at depth 1, the view's own last.
    points : ndarray, shape (N, 3)
        Written: positions in the world.
    normals : ndarray, shape (N, 3)
        Written: normals in the world.
    colors : ndarray of uint8, shape (N, 3)
        Written.
    seen : ndarray of uint32, shape (N,)
        Written: bits of the agreeing views.

    Returns
    -------
    int
        Number of points written.
    """
    height, width = depth.shape
    count = layout.shape[0]
    written = 0
    ray = np.empty(3, np.float64)
    position = np.empty(3, np.float64)
    direction = np.empty(3, np.float64)
    for y in range(height):
        for x in range(width):
            bits = agreeing[y, x]
            z = depth[y, x]
            if z <= _ZERO:
                continue
            total = np.int64(1)
            for j in range(count):
                total += np.int64((bits >> np.uint32(j)) & np.uint32(1))
            if total < min_views:
                continue
            rho = _ONE / z
            fx = np.float32(x)
            fy = np.float32(y)
            own_class = math.floor(math.log(z * footprints[count]) * 4.0)
            for a in range(3):
                ray[a] = (inverse_K[a, 0] * x + inverse_K[a, 1] * y + inverse_K[a, 2]) * z
            nx, ny, nz = decode_normal(normal[y, x, 0], normal[y, x, 1])
            for a in range(3):
                position[a] = own_to_world[a, 3]
                for b in range(3):
                    position[a] += own_to_world[a, b] * ray[b]
                direction[a] = own_to_world[a, 0] * nx + own_to_world[a, 1] * ny + own_to_world[a, 2] * nz
            keeps = True
            for j in range(count):
                if not (bits >> np.uint32(j)) & np.uint32(1):
                    continue
                qz = forth[j, 2, 0] * fx + forth[j, 2, 1] * fy + forth[j, 2, 2] + rho * forth[j, 2, 3]
                u = (forth[j, 0, 0] * fx + forth[j, 0, 1] * fy + forth[j, 0, 2] + rho * forth[j, 0, 3]) / qz
                v = (forth[j, 1, 0] * fx + forth[j, 1, 1] * fy + forth[j, 1, 2] + rho * forth[j, 1, 3]) / qz
                # A close call of rounding may lead to the pixel beside the one that agreed.
                column = min(max(np.int32(u + _HALF), 0), layout[j, 1] - 1)
                row = min(max(np.int32(v + _HALF), 0), layout[j, 2] - 1)
                index = layout[j, 0] + row * layout[j, 1] + column
                other = others[index]
                if other <= _ZERO:
                    total -= 1
                    continue
                other_class = math.floor(math.log(other * footprints[j]) * 4.0)
                if other_class < own_class or (other_class == own_class and ranks[j] < own_rank):
                    keeps = False
                    break
                # The other view's depth along the ray to our point, not to its pixel's centre.
                for a in range(3):
                    ray[a] = (inverse_Ks[j, a, 0] * u + inverse_Ks[j, a, 1] * v + inverse_Ks[j, a, 2]) * other
                nx, ny, nz = decode_normal(other_normals[index, 0], other_normals[index, 1])
                for a in range(3):
                    position[a] += to_world[j, a, 3]
                    for b in range(3):
                        position[a] += to_world[j, a, b] * ray[b]
                    direction[a] += to_world[j, a, 0] * nx + to_world[j, a, 1] * ny + to_world[j, a, 2] * nz
            if not keeps:
                continue
            length = math.sqrt(direction[0] ** 2 + direction[1] ** 2 + direction[2] ** 2)
            for a in range(3):
                points[written, a] = position[a] / total
                normals[written, a] = direction[a] / max(length, 1e-12)
                colors[written, a] = rgb[y, x, a]
            seen[written] = bits
            written += 1
    return written
