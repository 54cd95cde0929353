"""What photos say of a surface: the compiled inner loops of `refinement`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from recon3d.kernels import kernel

#: Cosine between a face's normal and a ray, below which the photo says nothing of the face.
_GRAZING = 0.3


@kernel(_nrt=False)
def project(vertices: Any, intrinsics: Any, cam_from_world: Any, corners: Any) -> None:  # pragma: no cover
    """Find where a photo shows vertices.

    Parameters
    ----------
    vertices : ndarray of float64, shape (V, 3)
    intrinsics, cam_from_world : ndarray of float64, shapes (3, 3) and (4, 4)
        The photo's camera.
    corners : ndarray of float64, shape (V, 3)
        Filled with pixels and inverse depth; that is 0 behind the camera.
    """
    m = cam_from_world
    for n in range(len(vertices)):
        x, y, z = vertices[n, 0], vertices[n, 1], vertices[n, 2]
        depth = m[2, 0] * x + m[2, 1] * y + m[2, 2] * z + m[2, 3]
        near = 1.0 / depth if depth > 0 else 0.0
        scale = near if depth > 0 else 1.0
        corners[n, 0] = (
            intrinsics[0, 0] * (m[0, 0] * x + m[0, 1] * y + m[0, 2] * z + m[0, 3]) * scale + intrinsics[0, 2]
        )
        corners[n, 1] = (
            intrinsics[1, 1] * (m[1, 0] * x + m[1, 1] * y + m[1, 2] * z + m[1, 3]) * scale + intrinsics[1, 2]
        )
        corners[n, 2] = near


@kernel(_nrt=False)
def render(corners: Any, faces: Any, inverse: Any, face: Any) -> None:  # pragma: no cover
    """Find the nearest face at each pixel centre.

    Parameters
    ----------
    corners : ndarray of float64, shape (V, 3)
        Vertices in pixels, and their inverse depth; 0 behind the camera.
    faces : ndarray of int32, shape (F, 3)
        Those with a corner behind the camera are left out.
    inverse : ndarray of float32, shape (H, W)
        Zeros; filled with the inverse depth.
    face : ndarray of int32, shape (H, W)
        Filled where there is one.
    """
    height, width = inverse.shape
    for f in range(len(faces)):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        az, bz, cz = corners[a, 2], corners[b, 2], corners[c, 2]
        if az <= 0 or bz <= 0 or cz <= 0:
            continue
        ax, bx, cx = corners[a, 0], corners[b, 0], corners[c, 0]
        ay, by, cy = corners[a, 1], corners[b, 1], corners[c, 1]
        left = max(0, math.ceil(max(-1.0, min(ax, bx, cx) - 0.5)))
        right = min(width - 1, math.floor(min(float(width), max(ax, bx, cx) - 0.5)))
        top = max(0, math.ceil(max(-1.0, min(ay, by, cy) - 0.5)))
        bottom = min(height - 1, math.floor(min(float(height), max(ay, by, cy) - 0.5)))
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area == 0:
            continue
        for y in range(top, bottom + 1):
            for x in range(left, right + 1):
                u, v = x + 0.5 - ax, y + 0.5 - ay
                second = (u * (cy - ay) - v * (cx - ax)) / area
                third = ((bx - ax) * v - (by - ay) * u) / area
                first = 1 - second - third
                if first < 0 or second < 0 or third < 0:
                    continue
                near = np.float32(first * az + second * bz + third * cz)
                if near > inverse[y, x]:
                    inverse[y, x] = near
                    face[y, x] = f


@kernel(_nrt=False)
def warp(
    inverse: Any,
    face: Any,
    normals: Any,
    intrinsics: Any,
    rotation: Any,
    center: Any,
    other_inverse: Any,
    other_intrinsics: Any,
    other_rotation: Any,
    other_center: Any,
    image: Any,
    across: Any,
    down: Any,
    tolerance: float,
    seen: Any,
    slope: Any,
    shown: Any,
) -> None:  # pragma: no cover
    """Carry one photo over a surface into another.

    Parameters
    ----------
    inverse, face : ndarray of float32 and int32, shape (H, W)
        What the first photo shows, from `render`; -1 where it does not count.
    normals : ndarray of float64, shape (F, 3)
    intrinsics, rotation, center : ndarray of float64, shapes (3, 3), (3, 3) and (3,)
        The first photo's camera, with the rotation from the world.
    other_inverse : ndarray of float32, shape (H, W)
        What the second photo shows.
    other_intrinsics, other_rotation, other_center : ndarray of float64, shapes (3, 3), (3, 3) and (3,)
        Its camera.
    image, across, down : ndarray of float32, shape (H, W)
        The second photo and its gradient; NaN where it does not count.
    tolerance : float
        A surface this far in front of a place hides it.
    seen, slope, shown : ndarray of float32, shape (H, W)
        Zeros; filled with the second photo's value, with its change when the surface moves by one along
        its normal, and with 1 where both photos show the same place.
    """
    height, width = inverse.shape
    rows, columns = other_inverse.shape
    m, n = rotation, other_rotation
    to_x, to_y, to_z = center[0] - other_center[0], center[1] - other_center[1], center[2] - other_center[2]
    # The first camera, as the second one sees it.
    tx = n[0, 0] * to_x + n[0, 1] * to_y + n[0, 2] * to_z
    ty = n[1, 0] * to_x + n[1, 1] * to_y + n[1, 2] * to_z
    tz = n[2, 0] * to_x + n[2, 1] * to_y + n[2, 2] * to_z
    grazing = _GRAZING * _GRAZING
    wide, high = 1.0 / intrinsics[0, 0], 1.0 / intrinsics[1, 1]
    for y in range(height):
        j = (y + 0.5 - intrinsics[1, 2]) * high
        for x in range(width):
            f = face[y, x]
            if f < 0:
                continue
            far = 1.0 / inverse[y, x]
            i = (x + 0.5 - intrinsics[0, 2]) * wide
            rx = (m[0, 0] * i + m[1, 0] * j + m[2, 0]) * far
            ry = (m[0, 1] * i + m[1, 1] * j + m[2, 1]) * far
            rz = (m[0, 2] * i + m[1, 2] * j + m[2, 2]) * far
            ox, oy, oz = rx + to_x, ry + to_y, rz + to_z
            ahead = normals[f, 0] * rx + normals[f, 1] * ry + normals[f, 2] * rz
            other_ahead = normals[f, 0] * ox + normals[f, 1] * oy + normals[f, 2] * oz
            if ahead >= 0 or other_ahead >= 0:
                continue
            if ahead * ahead < grazing * (rx * rx + ry * ry + rz * rz):
                continue
            if other_ahead * other_ahead < grazing * (ox * ox + oy * oy + oz * oz):
                continue
            pz = n[2, 0] * ox + n[2, 1] * oy + n[2, 2] * oz
            if pz <= 0:
                continue
            near = 1.0 / pz
            px = (n[0, 0] * ox + n[0, 1] * oy + n[0, 2] * oz) * near
            py = (n[1, 0] * ox + n[1, 1] * oy + n[1, 2] * oz) * near
            u = other_intrinsics[0, 0] * px + other_intrinsics[0, 2] - 0.5
            v = other_intrinsics[1, 1] * py + other_intrinsics[1, 2] - 0.5
            if not (u >= 0 and v >= 0 and u < columns - 1 and v < rows - 1):
                continue
            c, r = int(u), int(v)
            nearest = max(
                max(other_inverse[r, c], other_inverse[r, c + 1]),
                max(other_inverse[r + 1, c], other_inverse[r + 1, c + 1]),
            )
            if nearest * (pz - tolerance) > 1.0:
                continue
            s, t = u - c, v - r
            a, b, d, e = (1 - s) * (1 - t), s * (1 - t), (1 - s) * t, s * t
            value = a * image[r, c] + b * image[r, c + 1] + d * image[r + 1, c] + e * image[r + 1, c + 1]
            change_x = (
                a * across[r, c] + b * across[r, c + 1] + d * across[r + 1, c] + e * across[r + 1, c + 1]
            )
            change_y = a * down[r, c] + b * down[r, c + 1] + d * down[r + 1, c] + e * down[r + 1, c + 1]
            if not math.isfinite(value + change_x + change_y):
                continue
            seen[y, x] = value
            # The point of the surface on the ray moves along the ray, by `along` in the second camera.
            along = 1.0 / ahead
            ax, ay, az = (px * pz - tx) * along, (py * pz - ty) * along, (pz - tz) * along
            slope[y, x] = (
                change_x * other_intrinsics[0, 0] * (ax - px * az)
                + change_y * other_intrinsics[1, 1] * (ay - py * az)
            ) * near
            shown[y, x] = 1.0


@kernel(_nrt=False)
def compare(
    own: Any,
    seen: Any,
    slope: Any,
    shown: Any,
    half: int,
    fewest: float,
    alike: float,
    noise: float,
    columns: Any,
    total: Any,
    difference: Any,
    change: Any,
    weight: Any,
) -> None:  # pragma: no cover
    """Compare a photo with a carried one, once both have the same mean and contrast around each pixel.

    Parameters
    ----------
    own : ndarray of uint8, shape (H, W)
    seen, slope, shown : ndarray of float32, shape (H, W)
        The carried photo, from `warp`.
    half : int
        Pixels of a window on each side of its middle.
    fewest, alike : float
        Pixels that a window must have, and the correlation that it must exceed.
    noise : float
        A difference of so much has half of the weight.
    columns, total : ndarray of float64, shapes (W, 7) and (7,)
        Zeros for sums over a window: pixels, both photos, their squares and product, slopes.
    difference, change, weight : ndarray of float32, shape (H, W)
        Zeros; filled with what the carried photo lacks, with what a step adds to it, and trust.
    """
    height, width = seen.shape
    least = 0.01  # variance of a window without contrast
    for y in range(-half, height):
        for edge in range(2):  # the window's columns win a row and lose one
            row = y - half - 1 if edge else y + half
            sign = -1.0 if edge else 1.0
            if row < 0 or row >= height:
                continue
            for x in range(width):
                if shown[row, x] > 0:
                    # Around the middle brightness, so that squares lose no precision.
                    a, b = own[row, x] - 128.0, seen[row, x] - 128.0
                    columns[x, 0] += sign
                    columns[x, 1] += sign * a
                    columns[x, 2] += sign * b
                    columns[x, 3] += sign * a * a
                    columns[x, 4] += sign * b * b
                    columns[x, 5] += sign * a * b
                    columns[x, 6] += sign * slope[row, x]
        if y < 0:
            continue
        for k in range(7):
            total[k] = 0.0
        for x in range(-half, width):
            if x + half < width:
                for k in range(7):
                    total[k] += columns[x + half, k]
            if x - half - 1 >= 0:
                for k in range(7):
                    total[k] -= columns[x - half - 1, k]
            if x < 0 or shown[y, x] <= 0 or total[0] < fewest:
                continue
            share = 1.0 / total[0]
            mean, other_mean = total[1] * share, total[2] * share
            variance = max(total[3] * share - mean * mean, least)
            other_variance = max(total[4] * share - other_mean * other_mean, least)
            correlation = (total[5] * share - mean * other_mean) / math.sqrt(variance * other_variance)
            if correlation <= alike:
                continue
            lacks = (own[y, x] - 128.0 - mean) * math.sqrt(other_variance / variance)
            lacks -= seen[y, x] - 128.0 - other_mean
            difference[y, x] = lacks
            change[y, x] = slope[y, x] - total[6] * share
            weight[y, x] = correlation / (1.0 + (lacks / noise) ** 2)


@kernel(_nrt=False)
def gather(
    face: Any,
    corners: Any,
    faces: Any,
    difference: Any,
    slope: Any,
    weight: Any,
    hold: Any,
    right: Any,
) -> None:  # pragma: no cover
    """Add up, at each vertex, the terms of the step that makes two photos agree.

    Parameters
    ----------
    face : ndarray of int32, shape (H, W)
        From `render`.
    corners : ndarray of float64, shape (V, 3)
        As `render` takes them.
    faces : ndarray of int32, shape (F, 3)
        As `render` takes them.
    difference, slope, weight : ndarray of float32, shape (H, W)
        What the second photo lacks, what a step adds to it, and trust; pixels without trust are left out.
    hold, right : ndarray of float64, shape (V,)
        Added to: squares of slopes, and products of slopes and differences.
    """
    height, width = face.shape
    for y in range(height):
        for x in range(width):
            if weight[y, x] <= 0:
                continue
            f = face[y, x]
            a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
            ax, ay = corners[a, 0], corners[a, 1]
            bx, by = corners[b, 0] - ax, corners[b, 1] - ay
            cx, cy = corners[c, 0] - ax, corners[c, 1] - ay
            area = bx * cy - by * cx
            u, v = x + 0.5 - ax, y + 0.5 - ay
            second = (u * cy - v * cx) / area
            third = (bx * v - by * u) / area
            first = 1 - second - third
            square = weight[y, x] * slope[y, x] * slope[y, x]
            product = weight[y, x] * slope[y, x] * difference[y, x]
            hold[a] += first * square
            right[a] += first * product
            hold[b] += second * square
            right[b] += second * product
            hold[c] += third * square
            right[c] += third * product
