"""Scan conversion of meshes into photos: the compiled inner loops of visibility.

Triangles are rasterized in homogeneous image coordinates (Olano & Greer 1997, "Triangle Scan
Conversion using 2D Homogeneous Coordinates"): with q_i = P x_i, the edge functions of pixel
p = (u, v, 1) are e_i = (q_j x q_k) . p, and the inverse depth is (e_0 + e_1 + e_2) / det(q),
affine in the pixel. Nothing has to be clipped, also where a triangle passes the camera.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from recon3d.kernels import kernel
from recon3d.types import Bytes, Floats, Floats32, Ints

#: Columns of what `gather` returns.
AREA, COSINE, PIXELS, VISIBLE, NEAR, BEHIND, GRADIENT, RED, GREEN, BLUE = range(10)

_compiled = kernel(_nrt=False)


@_compiled
def span(a: float, b: float, c: float, reach: float, size: int) -> tuple[int, int]:
    """Find the pixels whose centres lie between three values, with a margin.

    Parameters
    ----------
    a, b, c : float
        The values.
    reach : float
        The margin in pixels.
    size : int
        Number of pixels.

    Returns
    -------
    (int, int)
        First and last pixel; none when the first is larger.
    """
    first = max(0, math.ceil(min(a, b, c) - 0.5 - reach))
    return first, min(size - 1, math.floor(max(a, b, c) - 0.5 + reach))


@_compiled
def _edges(q: Floats, faces: Ints, f: int, out: Floats) -> float:
    """Fill `out` (3, 3) with a face's edge functions divided by the determinant, and return it."""
    a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
    for k in range(3):
        i, j = (b, c) if k == 0 else ((c, a) if k == 1 else (a, b))
        out[k, 0] = q[i, 1] * q[j, 2] - q[i, 2] * q[j, 1]
        out[k, 1] = q[i, 2] * q[j, 0] - q[i, 0] * q[j, 2]
        out[k, 2] = q[i, 0] * q[j, 1] - q[i, 1] * q[j, 0]
    det = q[a, 0] * out[0, 0] + q[a, 1] * out[0, 1] + q[a, 2] * out[0, 2]
    if det != 0.0:
        for k in range(3):
            for m in range(3):
                out[k, m] /= det
    return det  # type: ignore[no-any-return]


def inverse_depth(q: Floats, faces: Ints, width: int, height: int) -> Floats32:
    """Inverse depth of the nearest surface at each pixel centre; 0 where there is none.

    Parameters
    ----------
    q : ndarray of float64, shape (V, 3)
        Vertices in homogeneous pixels, ``K [R | t] x``.
    faces : ndarray of int32, shape (F, 3)
    width, height : int

    Returns
    -------
    ndarray of float32, shape (H, W)
    """
    nearest = np.zeros((height, width), np.float32)
    _draw(q, pixels(q), faces, nearest, np.empty((3, 3)))
    return nearest


def pixels(q: Floats) -> Floats:
    """Divide homogeneous pixels.

    Parameters
    ----------
    q : ndarray of float64, shape (V, 3)
        As in `inverse_depth`.

    Returns
    -------
    ndarray of float64, shape (V, 2)
        They mean something in front of the camera only.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        divided: Floats = q[:, :2] / q[:, 2:]
    return divided


@_compiled
def _draw(q: Floats, uv: Floats, faces: Ints, nearest: Floats32, e: Floats) -> None:
    height, width = nearest.shape
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        low_x, high_x = 0, width - 1
        low_y, high_y = 0, height - 1
        w0, w1, w2 = q[a, 2], q[b, 2], q[c, 2]
        if max(w0, w1, w2) <= 0.0:
            continue
        if min(w0, w1, w2) > 0.0:
            u0, u1, u2 = uv[a, 0], uv[b, 0], uv[c, 0]
            v0, v1, v2 = uv[a, 1], uv[b, 1], uv[c, 1]
            if max(u0, u1, u2) < 0 or max(v0, v1, v2) < 0:
                continue
            if min(u0, u1, u2) > width or min(v0, v1, v2) > height:
                continue
            low_x, high_x = span(u0, u1, u2, 0.0, width)
            low_y, high_y = span(v0, v1, v2, 0.0, height)
            if low_x > high_x or low_y > high_y:
                continue
        if _edges(q, faces, f, e) == 0.0:
            continue
        a0, a1, a2 = e[0, 0], e[1, 0], e[2, 0]
        for y in range(low_y, high_y + 1):
            py = y + 0.5
            b0 = e[0, 1] * py + e[0, 2]
            b1 = e[1, 1] * py + e[1, 2]
            b2 = e[2, 1] * py + e[2, 2]
            for x in range(low_x, high_x + 1):
                px = x + 0.5
                e0, e1, e2 = a0 * px + b0, a1 * px + b1, a2 * px + b2
                # Divided by the determinant, all are positive in front of the camera.
                if e0 >= 0.0 and e1 >= 0.0 and e2 >= 0.0:
                    inverse = np.float32(e0 + e1 + e2)
                    nearest[y, x] = max(nearest[y, x], inverse)


@_compiled
def _at_outline(inverse: float, highest: float, lowest: float, tolerance: float) -> bool:
    return inverse < highest * (1.0 - tolerance) or lowest < inverse * (1.0 - tolerance)


def gather(
    vertices: Floats,
    faces: Ints,
    center: Floats,
    least_cosine: float,
    q: Floats,
    uv: Floats,
    inside: NDArray[np.bool_],
    nearest: Floats32,
    highest: Floats32,
    lowest: Floats32,
    behind: NDArray[np.bool_],
    rgb: Bytes,
    gray: Bytes,
    tolerance: float,
    near_tolerance: float,
) -> tuple[Ints, Floats32]:
    """Sum up what each face covers in a photo.

    Parameters
    ----------
    vertices : ndarray of float64, shape (V, 3)
    faces : ndarray of int32, shape (F, 3)
    center : ndarray of float64, shape (3,)
        Of the camera.
    least_cosine : float
        Faces are left out whose cosine between normal and direction to the camera is not larger.
    q : ndarray of float64, shape (V, 3)
        As in `inverse_depth`.
    uv : ndarray of float64, shape (V, 2)
        From `pixels`.
    inside : ndarray of bool, shape (V,)
        Vertices that lie in front of the camera and inside the photo.
    nearest, highest, lowest : ndarray of float32, shape (H, W)
        Inverse depth, and its maximum and minimum in the neighbourhood of each pixel.
    behind : ndarray of bool, shape (H, W)
        Pixels that show what is behind the surface: for faces they count as hidden.
    rgb : ndarray of uint8, shape (H, W, 3)
    gray : ndarray of uint8, shape (H, W)
    tolerance, near_tolerance : float
        A pixel is visible when its inverse depth reaches ``nearest * (1 - tolerance)``, and near
        an outline when the extremes around it differ from it by more than `near_tolerance`.

    Returns
    -------
    numbers : ndarray of int32, shape (N,)
        The faces of which there is something, or of which what is behind hides something.
    table : ndarray of float32, shape (N, 10)
        By column: projected area, cosine, pixels covered, pixels visible, visible pixels near an
        outline, pixels that only what is behind hides, and over the visible pixels the mean length
        of the gradient, by Sobel's operator, and the mean colour.
    """
    numbers, out = np.empty(len(faces), np.int32), np.empty((len(faces), 10), np.float32)
    shown = (nearest, highest, lowest, behind, rgb, gray)
    count = _sum_up(
        *(vertices, faces, center, np.float32(least_cosine), q, uv, inside, *shown),
        *(tolerance, near_tolerance, numbers, out, np.empty((3, 3)), np.empty(3)),
    )
    return numbers[:count], out[:count]


@_compiled
def _cosine(vertices: Floats, a: int, b: int, c: int, center: Floats, normal: Floats) -> float:
    """Cosine between a face's normal and the direction from it to `center`; `normal` is scratch."""
    for k in range(3):
        i, j = (k + 1) % 3, (k + 2) % 3
        normal[k] = (vertices[b, i] - vertices[a, i]) * (vertices[c, j] - vertices[a, j]) - (
            vertices[b, j] - vertices[a, j]
        ) * (vertices[c, i] - vertices[a, i])
    along = across = square = 0.0
    for k in range(3):
        toward = center[k] - (vertices[a, k] + vertices[b, k] + vertices[c, k]) / 3.0
        along += normal[k] * toward
        across += normal[k] * normal[k]
        square += toward * toward
    return along / max(math.sqrt(across) * math.sqrt(square), 1e-300)


@_compiled
def _gradient(gray: Bytes, y: int, x: int) -> float:
    """Length of the gradient in gray levels a pixel, by Sobel's operator; mirrored at the borders."""
    height, width = gray.shape
    # A picture of one row or column has no gradient across.
    up, down = (y - 1 if y > 0 else min(1, height - 1)), (y + 1 if y < height - 1 else max(height - 2, 0))
    left, right = (x - 1 if x > 0 else min(1, width - 1)), (x + 1 if x < width - 1 else max(width - 2, 0))
    falling = np.int64(gray[down, right]) - np.int64(gray[up, left])
    rising = np.int64(gray[up, right]) - np.int64(gray[down, left])
    dx = falling + rising + 2 * (np.int64(gray[y, right]) - np.int64(gray[y, left]))
    dy = falling - rising + 2 * (np.int64(gray[down, x]) - np.int64(gray[up, x]))
    return np.float64(np.float32(math.sqrt((dx * dx + dy * dy) / 64.0)))


@_compiled
def _sum_up(
    vertices: Floats,
    faces: Ints,
    center: Floats,
    least_cosine: float,
    q: Floats,
    uv: Floats,
    inside: NDArray[np.bool_],
    nearest: Floats32,
    highest: Floats32,
    lowest: Floats32,
    behind: NDArray[np.bool_],
    rgb: Bytes,
    gray: Bytes,
    tolerance: float,
    near_tolerance: float,
    numbers: Ints,
    out: Floats32,
    e: Floats,
    normal: Floats,
) -> int:
    height, width = nearest.shape
    count = 0
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        if not (inside[a] and inside[b] and inside[c]):
            continue
        u0, u1, u2 = uv[a, 0], uv[b, 0], uv[c, 0]
        v0, v1, v2 = uv[a, 1], uv[b, 1], uv[c, 1]
        area = 0.5 * ((u1 - u0) * (v2 - v0) - (u2 - u0) * (v1 - v0))
        # Half of the faces show their back.
        if area >= 0.0:
            continue
        cosine = np.float32(_cosine(vertices, a, b, c, center, normal))
        if not cosine > least_cosine or _edges(q, faces, f, e) >= 0.0:
            continue
        low_x, high_x = span(u0, u1, u2, 0.0, width)
        low_y, high_y = span(v0, v1, v2, 0.0, height)
        a0, a1, a2 = e[0, 0], e[1, 0], e[2, 0]
        covered = visible = near = beyond = red = green = blue = 0
        total = 0.0
        for y in range(low_y, high_y + 1):
            py = y + 0.5
            b0 = e[0, 1] * py + e[0, 2]
            b1 = e[1, 1] * py + e[1, 2]
            b2 = e[2, 1] * py + e[2, 2]
            for x in range(low_x, high_x + 1):
                px = x + 0.5
                e0, e1, e2 = a0 * px + b0, a1 * px + b1, a2 * px + b2
                if e0 >= 0.0 and e1 >= 0.0 and e2 >= 0.0:
                    covered += 1
                    inverse = e0 + e1 + e2
                    if inverse >= nearest[y, x] * (1.0 - tolerance):
                        if behind[y, x]:
                            beyond += 1
                            continue
                        visible += 1
                        near += _at_outline(inverse, highest[y, x], lowest[y, x], near_tolerance)
                        total += _gradient(gray, y, x)
                        red += rgb[y, x, 0]
                        green += rgb[y, x, 1]
                        blue += rgb[y, x, 2]
        if covered == 0:
            # Smaller than a pixel: its middle stands for it.
            x = min(width - 1, max(0, int((u0 + u1 + u2) / 3.0)))
            y = min(height - 1, max(0, int((v0 + v1 + v2) / 3.0)))
            inverse = 3.0 / (q[a, 2] + q[b, 2] + q[c, 2])
            covered = 1
            # The pixel's own centre is on another face, as far off as any neighbour may be.
            if inverse >= nearest[y, x] * (1.0 - near_tolerance):
                beyond = int(behind[y, x])
                visible = 1 - beyond
                near = int(_at_outline(inverse, highest[y, x], lowest[y, x], near_tolerance))
                total = _gradient(gray, y, x)
                red, green, blue = int(rgb[y, x, 0]), int(rgb[y, x, 1]), int(rgb[y, x, 2])
        if visible + beyond == 0:
            continue
        numbers[count] = f
        out[count, AREA] = -area
        out[count, COSINE] = cosine
        out[count, PIXELS] = covered
        out[count, VISIBLE] = visible
        out[count, NEAR] = near
        out[count, BEHIND] = beyond
        shown = max(visible, 1)
        out[count, GRADIENT] = total / shown if visible > 0 else 0.0
        out[count, RED] = red / shown if visible > 0 else 0.0
        out[count, GREEN] = green / shown if visible > 0 else 0.0
        out[count, BLUE] = blue / shown if visible > 0 else 0.0
        count += 1
    return count
