"""How well a plane at a pixel explains the source views: the innermost kernels.

A hypothesis at a pixel is the plane ``rho(x, y) = rho + gx * dx + gy * dy`` of inverse depth, with dx
and dy in pixels from that pixel. Inverse depth is linear in the image for points on a plane, so a
hypothesis moves to another pixel by two multiplications, and the homography into a source view is
``q(x, y) = M (x, y, 1) + rho(x, y) k`` with ``M = K_s R K^-1`` and ``k = K_s t``. Over a patch the
homography is replaced by its first-order expansion at the centre: the samples then lie on a regular
grid, and the loop over them has no division and vectorizes.

Images are tone-mapped to 8 bits and packed so that one 32-bit load brings the four pixels that a
bilinear sample needs. All pixel coordinates here have pixel centres at integers.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recon3d.kernels import kernel
from recon3d.types import Bytes, Floats32, Ints

_OPTIONS: dict[str, Any] = {"fastmath": True, "error_model": "numpy"}
compiled = kernel(**_OPTIONS)
#: For functions that own no array: counting the references to their arguments, and handing a hundred
#: of these over, took most of their time.
inner = kernel(**_OPTIONS, _nrt=False, forceinline=True)

#: Samples of a patch, in two sizes: every second pixel each way inside a circle of radius 5, and a
#: chessboard of radius 3. The vectorized loops want multiples of 8.
SAMPLES = 24
_WIDE = [(x, y) for y in range(-5, 6, 2) for x in range(-5, 6, 2) if x * x + y * y <= 26]
_NARROW = [(x, y) for y in range(-3, 4) for x in range(-3, 4) if (x + y) % 2]
PATTERNS = np.array([_WIDE, _NARROW], np.int32)
COLUMNS: Ints = np.ascontiguousarray(PATTERNS[..., 0])
ROWS: Ints = np.ascontiguousarray(PATTERNS[..., 1])
OFFSETS_X: Floats32 = COLUMNS.astype(np.float32)
OFFSETS_Y: Floats32 = ROWS.astype(np.float32)

#: Pixels that a patch reaches from its middle.
REACHES = np.abs(PATTERNS).max(axis=(1, 2))
REACH = int(REACHES.max())

#: Cost of a view in which a hypothesis cannot be seen; that of perfectly opposite patches.
WORST = np.float32(2.0)
#: Reprojection errors against a neighbour's depth map count up to this many pixels.
GEOMETRIC_CAP = np.float32(3.0)
#: Variance of a patch, in gray levels squared, below which noise outweighs texture.
NOISE = np.float32(1.0)
_SPATIAL_SIGMAS = np.array([[5.0], [3.0]])
_TONE_SIGMA = 18.0
SPATIAL_WEIGHTS: Floats32 = np.exp(-(OFFSETS_X**2 + OFFSETS_Y**2) / (2 * _SPATIAL_SIGMAS**2)).astype(
    np.float32
)
TONE_WEIGHTS: Floats32 = np.exp(-np.arange(256) / _TONE_SIGMA).astype(np.float32)

_ZERO = np.float32(0.0)
_ONE = np.float32(1.0)
_HALF = np.float32(0.5)
#: Smallest depth ratio that counts as in front of a camera.
_NEAR = np.float32(1e-3)
_EDGE = np.float32(1.001)
_BYTE = np.uint32(255)
_POSITIVE = np.uint32(0x7FFFFFFF)


def pack(gray: Bytes) -> NDArray[np.uint32]:
    """Put each pixel, its right, lower and lower right neighbour into one integer.

    Parameters
    ----------
    gray : ndarray of uint8, shape (H, W)

    Returns
    -------
    ndarray of uint32, shape (H, W)
    """
    wide = np.pad(gray, ((0, 1), (0, 1)), mode="edge").astype(np.uint32)
    packed = wide[:-1, :-1] | wide[:-1, 1:] << 8 | wide[1:, :-1] << 16 | wide[1:, 1:] << 24
    return packed.astype(np.uint32, copy=False)


def padded(gray: Bytes) -> Floats32:
    """An image with its border repeated, so that every patch lies inside.

    Parameters
    ----------
    gray : ndarray of uint8, shape (H, W)

    Returns
    -------
    ndarray of float32, shape (H + 2 * REACH, W + 2 * REACH)
    """
    return np.pad(gray.astype(np.float32), REACH, mode="edge")


def patch_steps(pattern: int, stride: int) -> Ints:
    """Compute the offsets of a patch's samples in a flat image.

    Parameters
    ----------
    pattern : {0, 1}
        Wide or narrow patch.
    stride : int
        Width of the image in pixels.

    Returns
    -------
    ndarray of int32, shape (SAMPLES,)
        Relative to the patch's middle.
    """
    steps: Ints = (ROWS[pattern] * stride + COLUMNS[pattern]).astype(np.int32)
    return steps


@inner
def prepare_patch(
    own: Any, stride: Any, steps: Any, x: Any, y: Any, pattern: Any, patch: Any
) -> tuple[Any, Any]:
    """Compute the bilateral weights and the weighted, centred values of the patch around a pixel.

    The weights sum to 1 and the values to 0.

    Parameters
    ----------
    own : ndarray of float32, shape (M,)
        The flat `padded` image.
    stride : int
        Width of the padded image.
    steps : ndarray of int32, shape (SAMPLES,)
        See `patch_steps`.
    x, y : int
        The pixel.
    pattern : {0, 1}
        Wide or narrow patch.
    patch : ndarray of float32, shape (2, SAMPLES)
        Written: weights and values.

    Returns
    -------
    (float32, float32)
        The patch's mean and the inverse of its standard deviation.
    """
    middle = np.int32((y + REACH) * stride + x + REACH)
    # A loop of its own: the next one vectorizes, since it reads but this patch and constants.
    for k in range(SAMPLES):
        patch[1, k] = own[np.uint32(middle + steps[k])]
    centre = own[np.uint32(middle)]
    total = _ZERO
    mean = _ZERO
    for k in range(SAMPLES):
        difference = np.uint32(np.int32(abs(patch[1, k] - centre))) & _BYTE
        weight = SPATIAL_WEIGHTS[pattern, k] * TONE_WEIGHTS[difference]
        patch[0, k] = weight
        total += weight
        mean += weight * patch[1, k]
    scale = _ONE / total
    mean *= scale
    variance = _ZERO
    for k in range(SAMPLES):
        weight = patch[0, k] * scale
        value = patch[1, k] - mean
        patch[0, k] = weight
        patch[1, k] = weight * value
        variance += weight * value * value
    return mean, _ONE / math.sqrt(variance + NOISE)


@inner
def sample_cost(
    packed: Any, base: Any, width: Any, height: Any,
    u: Any, v: Any, ux: Any, uy: Any, vx: Any, vy: Any,
    pattern: Any, patch: Any, mean: Any, inverse_deviation: Any,
) -> Any:  # fmt: skip
    """Compute 1 - weighted NCC of the prepared patch and an affinely warped one.

    Parameters
    ----------
    packed : ndarray of uint32, shape (M,)
        Flat images of `pack`.
    base : int
        Where the image starts in `packed`.
    width, height : int
        Size of the image.
    u, v : float32
        Where the patch's middle lies in the image.
    ux, uy, vx, vy : float32
        Derivatives of u and v along x and y.
    pattern : {0, 1}
        Wide or narrow patch.
    patch : ndarray of float32, shape (2, SAMPLES)
        See `prepare_patch`.
    mean, inverse_deviation : float32
        See `prepare_patch`.

    Returns
    -------
    float32
        0 to 2.
    """
    total = _ZERO
    squares = _ZERO
    product = _ZERO
    right = np.float32(width) - _EDGE
    bottom = np.float32(height) - _EDGE
    for k in range(SAMPLES):
        x = min(max(u + ux * OFFSETS_X[pattern, k] + uy * OFFSETS_Y[pattern, k], _ZERO), right)
        y = min(max(v + vx * OFFSETS_X[pattern, k] + vy * OFFSETS_Y[pattern, k], _ZERO), bottom)
        column = np.int32(x)
        row = np.int32(y)
        fx = x - np.float32(column)
        fy = y - np.float32(row)
        # Known to be positive, 32 bits will do as index, and twice as many pixels are fetched at once.
        word = packed[np.uint32(base + row * width + column) & _POSITIVE]
        upper = np.float32(np.int32(word & _BYTE))
        upper += fx * (np.float32(np.int32((word >> np.uint32(8)) & _BYTE)) - upper)
        lower = np.float32(np.int32((word >> np.uint32(16)) & _BYTE))
        lower += fx * (np.float32(np.int32(word >> np.uint32(24))) - lower)
        value = upper + fy * (lower - upper) - mean
        weighted = patch[0, k] * value
        total += weighted
        squares += weighted * value
        product += patch[1, k] * value
    variance = max(squares - total * total, _ZERO) + NOISE
    return _ONE - product * inverse_deviation / math.sqrt(variance)


@inner
def geometric_error(
    j: Any, x: Any, y: Any, u: Any, v: Any, width: Any, height: Any, maps: Any, layout: Any, back: Any
) -> Any:
    """Measure how far a point moves when it gets the depth that another view finds for it.

    Parameters
    ----------
    j : int
        The other view.
    x, y : float32
        The pixel.
    u, v : float32
        Where its point lies in the other view.
    width, height : int
        Size of the other view's image.
    maps : ndarray of float32, shape (M,)
        Inverse depth maps of the other views, one after the other; 0 where unknown.
    layout : ndarray of int32, shape (S, 3)
        Start, width and height of each in `maps`.
    back : ndarray of float32, shape (S, 3, 4)
        From the other views; see `relative_projection`.

    Returns
    -------
    float32
        Pixels, at most GEOMETRIC_CAP.
    """
    columns = layout[j, 1]
    rows = layout[j, 2]
    column = min(np.int32((u + _HALF) * np.float32(columns) / np.float32(width)), columns - 1)
    row = min(np.int32((v + _HALF) * np.float32(rows) / np.float32(height)), rows - 1)
    rho = maps[layout[j, 0] + row * columns + column]
    if rho <= _ZERO:
        return GEOMETRIC_CAP
    bz = back[j, 2, 0] * u + back[j, 2, 1] * v + back[j, 2, 2] + rho * back[j, 2, 3]
    if bz <= _NEAR:
        return GEOMETRIC_CAP
    bx = back[j, 0, 0] * u + back[j, 0, 1] * v + back[j, 0, 2] + rho * back[j, 0, 3]
    by = back[j, 1, 0] * u + back[j, 1, 1] * v + back[j, 1, 2] + rho * back[j, 1, 3]
    dx = bx / bz - x
    dy = by / bz - y
    return min(math.sqrt(dx * dx + dy * dy), GEOMETRIC_CAP)


@inner
def view_cost(
    j: Any, x: Any, y: Any, rho: Any, gx: Any, gy: Any,
    packed: Any, layout: Any, forth: Any, pattern: Any, patch: Any, mean: Any, inverse_deviation: Any,
    maps: Any, map_layout: Any, back: Any, geometric_weight: Any,
) -> Any:  # fmt: skip
    """Compute the cost of a hypothesis in one source view.

    The cost is 1 - NCC, plus disagreement with the source view's depth map.

    Parameters
    ----------
    j : int
        The source view.
    x, y : float32
        The pixel.
    rho : float32
        Inverse depth at the pixel.
    gx, gy : float32
        Derivatives of the inverse depth along x and y.
    packed : ndarray of uint32, shape (M,)
        Flat images of `pack`, one after the other.
    layout : ndarray of int32, shape (S, 3)
        Start, width and height of each in `packed`.
    forth : ndarray of float32, shape (S, 3, 4)
        To the source views; see `relative_projection`.
    pattern : {0, 1}
        Wide or narrow patch.
    patch : ndarray of float32, shape (2, SAMPLES)
        See `prepare_patch`.
    mean, inverse_deviation : float32
        See `prepare_patch`.
    maps : ndarray of float32, shape (L,)
        See `geometric_error`.
    map_layout : ndarray of int32, shape (S, 3)
        Start, width and height of each in `maps`.
    back : ndarray of float32, shape (S, 3, 4)
        From the source views.
    geometric_weight : float32
        Weight of the disagreement; 0 turns it off.

    Returns
    -------
    float32
    """
    qz = forth[j, 2, 0] * x + forth[j, 2, 1] * y + forth[j, 2, 2] + rho * forth[j, 2, 3]
    if qz <= _NEAR:
        return WORST
    scale = _ONE / qz
    u = (forth[j, 0, 0] * x + forth[j, 0, 1] * y + forth[j, 0, 2] + rho * forth[j, 0, 3]) * scale
    v = (forth[j, 1, 0] * x + forth[j, 1, 1] * y + forth[j, 1, 2] + rho * forth[j, 1, 3]) * scale
    width = layout[j, 1]
    height = layout[j, 2]
    if u < _ZERO or v < _ZERO or u > np.float32(width - 1) or v > np.float32(height - 1):
        return WORST
    zx = forth[j, 2, 0] + gx * forth[j, 2, 3]
    zy = forth[j, 2, 1] + gy * forth[j, 2, 3]
    ux = (forth[j, 0, 0] + gx * forth[j, 0, 3] - u * zx) * scale
    uy = (forth[j, 0, 1] + gy * forth[j, 0, 3] - u * zy) * scale
    vx = (forth[j, 1, 0] + gx * forth[j, 1, 3] - v * zx) * scale
    vy = (forth[j, 1, 1] + gy * forth[j, 1, 3] - v * zy) * scale
    cost = sample_cost(
        packed, layout[j, 0], width, height, u, v, ux, uy, vx, vy, pattern, patch, mean, inverse_deviation
    )
    if geometric_weight > _ZERO:
        cost += geometric_weight * geometric_error(j, x, y, u, v, width, height, maps, map_layout, back)
    return cost
