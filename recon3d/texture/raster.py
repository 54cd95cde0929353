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
    _draw(q, faces, nearest, np.empty((3, 3)))
    return nearest


@_compiled
def _draw(q: Floats, faces: Ints, nearest: Floats32, e: Floats) -> None:
    height, width = nearest.shape
    for f in range(faces.shape[0]):
        low_x, high_x = 0, width - 1
        low_y, high_y = 0, height - 1
        w0, w1, w2 = q[faces[f, 0], 2], q[faces[f, 1], 2], q[faces[f, 2], 2]
        if max(w0, w1, w2) <= 0.0:
            continue
        if min(w0, w1, w2) > 0.0:
            u0, u1, u2 = q[faces[f, 0], 0] / w0, q[faces[f, 1], 0] / w1, q[faces[f, 2], 0] / w2
            v0, v1, v2 = q[faces[f, 0], 1] / w0, q[faces[f, 1], 1] / w1, q[faces[f, 2], 1] / w2
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
        for y in range(low_y, high_y + 1):
            py = y + 0.5
            b0 = e[0, 1] * py + e[0, 2]
            b1 = e[1, 1] * py + e[1, 2]
            b2 = e[2, 1] * py + e[2, 2]
            for x in range(low_x, high_x + 1):
                px = x + 0.5
                e0, e1, e2 = e[0, 0] * px + b0, e[1, 0] * px + b1, e[2, 0] * px + b2
                # Divided by the determinant, all are positive in front of the camera.
                if e0 >= 0.0 and e1 >= 0.0 and e2 >= 0.0:
                    inverse = np.float32(e0 + e1 + e2)
                    nearest[y, x] = max(nearest[y, x], inverse)


@_compiled
def _at_outline(inverse: float, highest: float, lowest: float, tolerance: float) -> bool:
    return inverse < highest * (1.0 - tolerance) or lowest < inverse * (1.0 - tolerance)


def gather(
    q: Floats,
    faces: Ints,
    inside: NDArray[np.bool_],
    cosine: Floats,
    nearest: Floats32,
    highest: Floats32,
    lowest: Floats32,
    behind: NDArray[np.bool_],
    rgb: Bytes,
    gradient: Floats32,
    tolerance: float,
    near_tolerance: float,
) -> Floats32:
    """Sum up what each face covers in a photo.

    Parameters
    ----------
    q : ndarray of float64, shape (V, 3)
        As in `inverse_depth`.
    faces : ndarray of int32, shape (F, 3)
        As in `inverse_depth`.
    inside : ndarray of bool, shape (V,)
        Vertices that lie in front of the camera and inside the photo.
    cosine : ndarray of float64, shape (F,)
        Cosine between normal and direction to the camera; faces with values <= 0 are left out.
    nearest, highest, lowest : ndarray of float32, shape (H, W)
        Inverse depth, and its maximum and minimum in the neighbourhood of each pixel.
    behind : ndarray of bool, shape (H, W)
        Pixels that show what is behind the surface: for faces they count as hidden.
    rgb : ndarray of uint8, shape (H, W, 3)
    gradient : ndarray of float32, shape (H, W)
    tolerance, near_tolerance : float
        A pixel is visible when its inverse depth reaches ``nearest * (1 - tolerance)``, and near
        an outline when the extremes around it differ from it by more than `near_tolerance`.

    Returns
    -------
    ndarray of float32, shape (F, 10)
        By column: projected area, cosine, pixels covered, pixels visible, visible pixels near an
        outline, pixels that only what is behind hides, and over the visible pixels the mean
        gradient and colour. Zero for faces left out.
    """
    out = np.zeros((len(faces), 10), np.float32)
    shown = (nearest, highest, lowest, behind, rgb, gradient)
    _sum_up(q, faces, inside, cosine, *shown, tolerance, near_tolerance, out, np.empty((3, 3)))
    return out


@_compiled
def _sum_up(
    q: Floats,
    faces: Ints,
    inside: NDArray[np.bool_],
    cosine: Floats,
    nearest: Floats32,
    highest: Floats32,
    lowest: Floats32,
    behind: NDArray[np.bool_],
    rgb: Bytes,
    gradient: Floats32,
    tolerance: float,
    near_tolerance: float,
    out: Floats32,
    e: Floats,
) -> None:
    height, width = nearest.shape
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        if cosine[f] <= 0.0 or not (inside[a] and inside[b] and inside[c]):
            continue
        det = _edges(q, faces, f, e)
        if det >= 0.0:
            continue
        u0, u1, u2 = q[a, 0] / q[a, 2], q[b, 0] / q[b, 2], q[c, 0] / q[c, 2]
        v0, v1, v2 = q[a, 1] / q[a, 2], q[b, 1] / q[b, 2], q[c, 1] / q[c, 2]
        low_x, high_x = span(u0, u1, u2, 0.0, width)
        low_y, high_y = span(v0, v1, v2, 0.0, height)
        pixels = visible = near = beyond = 0
        total = red = green = blue = 0.0
        for y in range(low_y, high_y + 1):
            py = y + 0.5
            b0 = e[0, 1] * py + e[0, 2]
            b1 = e[1, 1] * py + e[1, 2]
            b2 = e[2, 1] * py + e[2, 2]
            for x in range(low_x, high_x + 1):
                px = x + 0.5
                e0, e1, e2 = e[0, 0] * px + b0, e[1, 0] * px + b1, e[2, 0] * px + b2
                if e0 >= 0.0 and e1 >= 0.0 and e2 >= 0.0:
                    pixels += 1
                    inverse = e0 + e1 + e2
                    if inverse >= nearest[y, x] * (1.0 - tolerance):
                        if behind[y, x]:
                            beyond += 1
                            continue
                        visible += 1
                        near += _at_outline(inverse, highest[y, x], lowest[y, x], near_tolerance)
                        total += gradient[y, x]
                        red += rgb[y, x, 0]
                        green += rgb[y, x, 1]
                        blue += rgb[y, x, 2]
        if pixels == 0:
            # Smaller than a pixel: its middle stands for it.
            x = min(width - 1, max(0, int((u0 + u1 + u2) / 3.0)))
            y = min(height - 1, max(0, int((v0 + v1 + v2) / 3.0)))
            inverse = 3.0 / (q[a, 2] + q[b, 2] + q[c, 2])
            pixels = 1
            # The pixel's own centre is on another face, as far off as any neighbour may be.
            if inverse >= nearest[y, x] * (1.0 - near_tolerance):
                beyond = int(behind[y, x])
                visible = 1 - beyond
                near = int(_at_outline(inverse, highest[y, x], lowest[y, x], near_tolerance))
                total = gradient[y, x]
                red, green, blue = rgb[y, x, 0], rgb[y, x, 1], rgb[y, x, 2]
        if visible + beyond > 0:
            out[f, AREA] = 0.5 * abs((u1 - u0) * (v2 - v0) - (u2 - u0) * (v1 - v0))
            out[f, COSINE] = cosine[f]
            out[f, PIXELS] = pixels
            out[f, VISIBLE] = visible
            out[f, NEAR] = near
            out[f, BEHIND] = beyond
        if visible > 0:
            out[f, GRADIENT] = total / visible
            out[f, RED] = red / visible
            out[f, GREEN] = green / visible
            out[f, BLUE] = blue / visible
