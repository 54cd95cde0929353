"""The atlas' texels: the compiled inner loops."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from recon3d.kernels import kernel
from recon3d.texture.raster import span
from recon3d.texture.shapes import BLOCK, MIRROR_X, MIRROR_Y, SWAP
from recon3d.threads import ALONE, Threads
from recon3d.types import Bytes, Floats, Floats32, Ints

#: Values of an atlas are gray levels times this, in int16: corrections neither round nor clip.
UNIT = 64

#: Values of an atlas' mask.
OUTSIDE, INSIDE, RIM = 0, 1, 2

#: Texels whose centres are this close to a chart are its rim: bilinear lookups inside it reach them.
_RIM = 2**0.5
#: Charts, and rows of an atlas, that are worth a thread.
_LEAST_CHARTS, _LEAST_ROWS = 8, 128

_compiled = kernel(_nrt=False)


@_compiled
def copy(
    atlas: NDArray[np.int16],
    photo: Bytes,
    charts: NDArray[np.int64],
    source: Ints,
    target: Ints,
    turns: Ints,
    extent: Ints,
    columns: NDArray[np.int64],
    runs: NDArray[np.int64],
    low: Ints,
    high: Ints,
    values: NDArray[np.int16],
) -> None:
    """Copy the charts from a photo, texel by texel, through a table of values.

    Parameters
    ----------
    atlas : ndarray of int16, shape (H, W, 3)
        Written, in atlas units.
    photo : ndarray of uint8, shape (h, w, 3)
    charts : ndarray of int64, shape (K,)
        Indices of the charts to copy.
    source : ndarray of int32, shape (C, 2)
        Place of each chart in the photo.
    target : ndarray of int32, shape (C, 2)
        Place of each chart in the atlas.
    turns : ndarray of int32, shape (C,)
        How each chart is turned there: see `recon3d.texture.shapes.turned`.
    extent : ndarray of int32, shape (C, 2)
        Width and height of each chart there.
    columns : ndarray of int64, shape (C + 1,)
        Start of each chart's columns in `runs`: see `recon3d.texture.shapes.Shapes`.
    runs : ndarray of int64, shape (M + 1,)
        Start of each column's runs in `low` and `high`.
    low, high : ndarray of int32, shape (N,)
        Rows of blocks of each run.
    values : ndarray of int16, shape (256, 3)
        Atlas units of each gray level.
    """
    height, width = photo.shape[0], photo.shape[1]
    for index in range(charts.shape[0]):
        n = charts[index]
        swap = turns[n] & SWAP > 0
        across, down = extent[n, 0], extent[n, 1]
        if swap:
            across, down = down, across
        for place in range(columns[n], columns[n + 1]):
            first = (place - columns[n]) * BLOCK
            for run in range(runs[place], runs[place + 1]):
                for row in range(low[run] * BLOCK, high[run] * BLOCK):
                    for column in range(first, first + BLOCK):
                        x, y = (row, column) if swap else (column, row)
                        if turns[n] & MIRROR_X:
                            x = across - 1 - x
                        if turns[n] & MIRROR_Y:
                            y = down - 1 - y
                        x = min(max(source[n, 0] + x, 0), width - 1)
                        y = min(max(source[n, 1] + y, 0), height - 1)
                        for channel in range(3):
                            atlas[target[n, 1] + row, target[n, 0] + column, channel] = values[
                                photo[y, x, channel], channel
                            ]


def project(
    atlas: NDArray[np.int16],
    photo: Bytes,
    faces: Floats,
    pixels: Floats,
    depth: Floats,
    values: NDArray[np.int16],
) -> None:
    """Paint faces as their surface lies in the photo, by cubic interpolation.

    Texture coordinates run evenly over a face, but a photo shows its far end smaller.

    Parameters
    ----------
    atlas : ndarray of int16, shape (H, W, 3)
        Written, in atlas units.
    photo : ndarray of uint8, shape (h, w, 3)
    faces : ndarray of float64, shape (F, 3, 2)
        Places of the corners in the atlas.
    pixels : ndarray of float64, shape (F, 3, 2)
        Places of the corners in the photo.
    depth : ndarray of float64, shape (F, 3)
        Depths of the corners.
    values : ndarray of int16, shape (256, 3)
        Atlas units of each gray level.
    """
    _project(atlas, photo, faces, pixels, depth, values, np.empty(4), np.empty(4))


@_compiled
def _project(
    atlas: NDArray[np.int16],
    photo: Bytes,
    faces: Floats,
    pixels: Floats,
    depth: Floats,
    values: NDArray[np.int16],
    across: Floats,
    down: Floats,
) -> None:
    height, width = photo.shape[0], photo.shape[1]
    for f in range(faces.shape[0]):
        ax, ay = faces[f, 0, 0], faces[f, 0, 1]
        bx, by = faces[f, 1, 0], faces[f, 1, 1]
        cx, cy = faces[f, 2, 0], faces[f, 2, 1]
        det = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        low_x, high_x = span(ax, bx, cx, 0.0, atlas.shape[1])
        low_y, high_y = span(ay, by, cy, 0.0, atlas.shape[0])
        for row in range(low_y, high_y + 1):
            for column in range(low_x, high_x + 1):
                px, py = column + 0.5, row + 0.5
                second = ((px - ax) * (cy - ay) - (py - ay) * (cx - ax)) / det
                third = ((bx - ax) * (py - ay) - (by - ay) * (px - ax)) / det
                first = 1.0 - second - third
                # A face without area gives NaN.
                if not (first >= 0.0 and second >= 0.0 and third >= 0.0):
                    continue
                first *= depth[f, 0]
                second *= depth[f, 1]
                third *= depth[f, 2]
                total = first + second + third
                first /= total
                second /= total
                third /= total
                x = first * pixels[f, 0, 0] + second * pixels[f, 1, 0] + third * pixels[f, 2, 0] - 0.5
                y = first * pixels[f, 0, 1] + second * pixels[f, 1, 1] + third * pixels[f, 2, 1] - 0.5
                left, top = math.floor(x), math.floor(y)
                _cubic(x - left, across)
                _cubic(y - top, down)
                for channel in range(3):
                    total = 0.0
                    for j in range(4):
                        v = min(max(top - 1 + j, 0), height - 1)
                        for i in range(4):
                            u = min(max(left - 1 + i, 0), width - 1)
                            total += down[j] * across[i] * values[photo[v, u, channel], channel]
                    atlas[row, column, channel] = np.int16(min(max(round(total), -32768), 32767))


@_compiled
def _cubic(t: float, out: Floats) -> None:
    """Catmull and Rom's weights of four neighbours, `t` of the way from the second to the third."""
    out[0] = ((2.0 - t) * t - 1.0) * t / 2.0
    out[1] = ((3.0 * t - 5.0) * t * t + 2.0) / 2.0
    out[2] = ((4.0 - 3.0 * t) * t + 1.0) * t / 2.0
    out[3] = (t - 1.0) * t * t / 2.0


@_compiled
def nearest_on_border(corners: Floats, px: float, py: float, weights: Floats) -> float:
    """Find the border's point nearest to a place.

    Parameters
    ----------
    corners : ndarray of float64, shape (3, 2)
        Of the face.
    px, py : float
        The place.
    weights : ndarray of float64, shape (3,)
        Written: barycentric weights of the point.

    Returns
    -------
    float
        Squared distance.
    """
    nearest = np.inf
    for k in range(3):
        n = (k + 1) % 3
        ex, ey = corners[n, 0] - corners[k, 0], corners[n, 1] - corners[k, 1]
        dx, dy = px - corners[k, 0], py - corners[k, 1]
        t = min(max((ex * dx + ey * dy) / max(ex * ex + ey * ey, 1e-12), 0.0), 1.0)
        square = (dx - t * ex) ** 2 + (dy - t * ey) ** 2
        if square < nearest:
            nearest = square
            weights[k] = 1.0 - t
            weights[n] = t
            weights[(k + 2) % 3] = 0.0
    return nearest


def correct(
    atlas: NDArray[np.int16],
    mask: Bytes,
    xy: Floats,
    nodes: Ints,
    starts: NDArray[np.int64],
    offsets: Floats,
    threads: Threads = ALONE,
) -> None:
    """Add the nodes' corrections to the texels of faces and rims, and mark these.

    Parameters
    ----------
    atlas : ndarray of int16, shape (H, W, 3)
        Changed, in atlas units.
    mask : ndarray of uint8, shape (H, W)
        Written.
    xy : ndarray of float64, shape (N, 2)
        Places of the nodes in texels.
    nodes : ndarray of int32, shape (F, 3)
        Nodes of each face, chart by chart.
    starts : ndarray of int64, shape (C + 1,)
        First face of each chart. No two charts share a texel.
    offsets : ndarray of float64, shape (N, 3)
        Corrections in atlas units.
    threads : Threads, optional
    """
    given = (atlas, mask, xy, nodes, starts, offsets)
    count = len(starts) - 1
    threads.run(_correct, *given, scratch=_corners, count=count, least=_LEAST_CHARTS, uneven=True)


def _corners() -> tuple[Floats, Floats]:
    """Where `_correct` works: a face's corners and their weights."""
    return np.empty((3, 2)), np.empty(3)


@_compiled
def _correct(
    atlas: NDArray[np.int16],
    mask: Bytes,
    xy: Floats,
    nodes: Ints,
    starts: NDArray[np.int64],
    offsets: Floats,
    corners: Floats,
    weights: Floats,
    start: int,
    stop: int,
) -> None:
    size = mask.shape[0]
    # First the faces, then the rims, so that a rim never takes a texel of a face.
    for stage in range(2):
        reach = 0.0 if stage == 0 else _RIM
        for f in range(starts[start], starts[stop]):
            for k in range(3):
                for axis in range(2):
                    corners[k, axis] = xy[nodes[f, k], axis]
            ax, ay = corners[0, 0], corners[0, 1]
            bx, by = corners[1, 0], corners[1, 1]
            cx, cy = corners[2, 0], corners[2, 1]
            det = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
            low_x, high_x = span(ax, bx, cx, reach, size)
            low_y, high_y = span(ay, by, cy, reach, size)
            for row in range(low_y, high_y + 1):
                for column in range(low_x, high_x + 1):
                    if mask[row, column] != OUTSIDE:
                        continue
                    px, py = column + 0.5, row + 0.5
                    if stage == 0:
                        weights[1] = ((px - ax) * (cy - ay) - (py - ay) * (cx - ax)) / det
                        weights[2] = ((bx - ax) * (py - ay) - (by - ay) * (px - ax)) / det
                        weights[0] = 1.0 - weights[1] - weights[2]
                        # A face without area gives NaN, and is left to its rim.
                        if not (weights[0] >= 0.0 and weights[1] >= 0.0 and weights[2] >= 0.0):
                            continue
                    elif nearest_on_border(corners, px, py, weights) > _RIM * _RIM:
                        continue
                    mask[row, column] = INSIDE if stage == 0 else RIM
                    for channel in range(3):
                        value = 0.0
                        for k in range(3):
                            value += weights[k] * offsets[nodes[f, k], channel]
                        total = atlas[row, column, channel] + value
                        atlas[row, column, channel] = np.int16(min(max(round(total), -32768), 32767))


def extend(atlas: NDArray[np.int16], mask: Bytes, owner: Ints, threads: Threads = ALONE) -> None:
    """Give each texel of a rim the mean of the inner texels of its chart that touch it.

    Parameters
    ----------
    atlas : ndarray of int16, shape (H, W, 3)
        Changed, in atlas units.
    mask : ndarray of uint8, shape (H, W)
        Which texels are known; see `correct`.
    owner : ndarray of int32, shape (H // 2, W // 2)
        Chart of each block.
    threads : Threads, optional
    """
    threads.run(_extend, atlas, mask, owner, count=len(mask), least=_LEAST_ROWS)


@_compiled
def _extend(atlas: NDArray[np.int16], mask: Bytes, owner: Ints, start: int, stop: int) -> None:
    size = mask.shape[0]
    for row in range(start, stop):
        for column in range(size):
            if mask[row, column] != RIM:
                continue
            mine = owner[row // BLOCK, column // BLOCK]
            red = green = blue = count = 0
            for y in range(max(row - 1, 0), min(row + 2, size)):
                for x in range(max(column - 1, 0), min(column + 2, size)):
                    if mask[y, x] == INSIDE and owner[y // BLOCK, x // BLOCK] == mine:
                        red += atlas[y, x, 0]
                        green += atlas[y, x, 1]
                        blue += atlas[y, x, 2]
                        count += 1
            # Around a face smaller than a texel there is only the photo.
            if count:
                atlas[row, column, 0] = np.int16(red // count)
                atlas[row, column, 1] = np.int16(green // count)
                atlas[row, column, 2] = np.int16(blue // count)


def widen(atlas: NDArray[np.int16], mask: Bytes, owner: Ints, rounds: int, threads: Threads = ALONE) -> None:
    """Give the texels around charts and rims the mean of their chart's known texels that touch them.

    Parameters
    ----------
    atlas : ndarray of int16, shape (H, W, 3)
        Changed, in atlas units.
    mask : ndarray of uint8, shape (H, W)
        Changed: the new texels count as rims.
    owner : ndarray of int32, shape (H // 2, W // 2)
        Chart of each block.
    rounds : int
        Width in texels.
    threads : Threads, optional
    """
    for _ in range(rounds):
        threads.run(_widen, atlas, mask, mask.copy(), owner, count=len(mask), least=_LEAST_ROWS)


@_compiled
def _widen(atlas: NDArray[np.int16], mask: Bytes, before: Bytes, owner: Ints, start: int, stop: int) -> None:
    size = mask.shape[0]
    for row in range(start, stop):
        for column in range(size):
            mine = owner[row // BLOCK, column // BLOCK]
            if before[row, column] != OUTSIDE or mine < 0:
                continue
            red = green = blue = count = 0
            for y in range(max(row - 1, 0), min(row + 2, size)):
                for x in range(max(column - 1, 0), min(column + 2, size)):
                    if before[y, x] != OUTSIDE and owner[y // BLOCK, x // BLOCK] == mine:
                        red += atlas[y, x, 0]
                        green += atlas[y, x, 1]
                        blue += atlas[y, x, 2]
                        count += 1
            if count:
                mask[row, column] = RIM
                atlas[row, column, 0] = np.int16(red // count)
                atlas[row, column, 1] = np.int16(green // count)
                atlas[row, column, 2] = np.int16(blue // count)


@_compiled
def lookup(atlas: NDArray[np.int16], x: float, y: float, out: Floats, n: int) -> None:
    """Interpolate the atlas at one place.

    Parameters
    ----------
    atlas : ndarray of int16, shape (H, W, 3)
        In atlas units.
    x, y : float
        Texels, pixel centres at +0.5.
    out : ndarray of float64, shape (N, 3)
        Row n is written, in atlas units.
    n : int
    """
    height, width = atlas.shape[0], atlas.shape[1]
    x = min(max(x - 0.5, 0.0), width - 1.0)
    y = min(max(y - 0.5, 0.0), height - 1.0)
    column, row = min(int(x), width - 2), min(int(y), height - 2)
    fx, fy = x - column, y - row
    for channel in range(3):
        top = atlas[row, column, channel] * (1 - fx) + atlas[row, column + 1, channel] * fx
        bottom = atlas[row + 1, column, channel] * (1 - fx) + atlas[row + 1, column + 1, channel] * fx
        out[n, channel] = top * (1 - fy) + bottom * fy


def sample(atlas: NDArray[np.int16], xy: Floats) -> Floats:
    """Interpolate the atlas at many places.

    Parameters
    ----------
    atlas : ndarray of int16, shape (H, W, 3)
        In atlas units.
    xy : ndarray of float64, shape (N, 2)
        Texels, pixel centres at +0.5.

    Returns
    -------
    ndarray of float64, shape (N, 3)
        In atlas units.
    """
    out = np.empty((len(xy), 3))
    _look_up(atlas, xy, out)
    return out


@_compiled
def _look_up(atlas: NDArray[np.int16], xy: Floats, out: Floats) -> None:
    for n in range(xy.shape[0]):
        lookup(atlas, xy[n, 0], xy[n, 1], out, n)


def halve(atlas: NDArray[np.int16], mask: Bytes, threads: Threads = ALONE) -> tuple[Floats32, Floats32]:
    """Average the known texels of each block of four.

    Parameters
    ----------
    atlas : ndarray of int16, shape (H, W, 3)
        In atlas units.
    mask : ndarray of uint8, shape (H, W)
        Which texels are known.
    threads : Threads, optional

    Returns
    -------
    (ndarray of float32, ndarray of float32)
        Gray levels of shape (h, w, 3), and of shape (h, w) where there are any.
    """
    size = mask.shape[0] // 2
    color, weight = np.zeros((size, size, 3), np.float32), np.zeros((size, size), np.float32)
    threads.run(_halve, atlas, mask, color, weight, count=size, least=_LEAST_ROWS)
    return color, weight


@_compiled
def _halve(
    atlas: NDArray[np.int16], mask: Bytes, color: Floats32, weight: Floats32, start: int, stop: int
) -> None:
    size = weight.shape[0]
    for y in range(start, stop):
        for x in range(size):
            known = 0
            for row in range(2 * y, 2 * y + 2):
                for column in range(2 * x, 2 * x + 2):
                    if mask[row, column] != OUTSIDE:
                        known += 1
                        for channel in range(3):
                            color[y, x, channel] += atlas[row, column, channel]
            if known:
                weight[y, x] = 1.0
                for channel in range(3):
                    color[y, x, channel] /= known * UNIT


def finish(atlas: NDArray[np.int16], mask: Bytes, half: Floats32, threads: Threads = ALONE) -> Bytes:
    """Make the texture: the atlas where it is known, elsewhere `half`.

    Parameters
    ----------
    atlas : ndarray of int16, shape (H, W, 3)
        In atlas units.
    mask : ndarray of uint8, shape (H, W)
        Which texels are known.
    half : ndarray of float32, shape (h, w, 3)
        Gray levels at half the size.
    threads : Threads, optional

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)
        RGB.
    """
    texture = np.empty((*mask.shape, 3), np.uint8)
    threads.run(_finish, atlas, mask, half, texture, count=len(mask), least=_LEAST_ROWS)
    return texture


@_compiled
def _finish(
    atlas: NDArray[np.int16], mask: Bytes, half: Floats32, texture: Bytes, start: int, stop: int
) -> None:
    size = mask.shape[0]
    for y in range(start, stop):
        for x in range(size):
            for channel in range(3):
                if mask[y, x] == OUTSIDE:
                    value = half[y // 2, x // 2, channel]
                else:
                    value = atlas[y, x, channel] / UNIT
                texture[y, x, channel] = np.uint8(min(max(value + 0.5, 0.0), 255.0))
