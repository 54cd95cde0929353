"""Unit vectors in 32 bits.

Octahedral coordinates: Cigolle et al., A Survey of Efficient Representations for Independent Unit
Vectors, JCGT 2014.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recon3d.mvs.matching_cost import inner
from recon3d.types import Floats32

_FULL = 32767
_UNKNOWN = -32768
_SCALE = np.float32(1 / _FULL)
_ONE = np.float32(1.0)
_ZERO = np.float32(0.0)


def encode_normals(normals: Floats32) -> NDArray[np.int16]:
    """Octahedral coordinates of unit vectors.

    Parameters
    ----------
    normals : ndarray of float32, shape (..., 3)
        Zero vectors stay zero.

    Returns
    -------
    ndarray of int16, shape (..., 2)
    """
    size = np.abs(normals).sum(axis=-1, keepdims=True)
    flat = normals / np.maximum(size, np.float32(1e-12))
    xy = flat[..., :2]
    folded = np.where(flat[..., 2:] >= 0, xy, (_ONE - np.abs(xy[..., ::-1])) * np.copysign(_ONE, xy))
    codes: NDArray[np.int16] = np.rint(folded * np.float32(_FULL)).astype(np.int16)
    # No unit vector needs this code.
    codes[size[..., 0] == 0] = _UNKNOWN
    return codes


def decode_normals(codes: NDArray[np.int16]) -> Floats32:
    """Decode octahedral coordinates.

    Parameters
    ----------
    codes : ndarray of int16, shape (..., 2)
        See `encode_normals`.

    Returns
    -------
    ndarray of float32, shape (..., 3)
        Unit vectors.
    """
    xy = codes.astype(np.float32) * _SCALE
    z = _ONE - np.abs(xy).sum(axis=-1, keepdims=True)
    xy = np.where(z >= 0, xy, (_ONE - np.abs(xy[..., ::-1])) * np.copysign(_ONE, xy))
    normals = np.concatenate([xy, z], axis=-1)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    normals[codes[..., 0] == _UNKNOWN] = 0
    return np.asarray(normals, np.float32)


@inner
def decode_normal(first: Any, second: Any) -> tuple[Any, Any, Any]:
    """Decode one pair of octahedral coordinates.

    Parameters
    ----------
    first, second : int16
        See `encode_normals`.

    Returns
    -------
    (float32, float32, float32)
        A unit vector.
    """
    x = np.float32(first) * _SCALE
    y = np.float32(second) * _SCALE
    z = _ONE - abs(x) - abs(y)
    if z < _ZERO:
        folded = (_ONE - abs(y)) * (_ONE if x >= _ZERO else -_ONE)
        y = (_ONE - abs(x)) * (_ONE if y >= _ZERO else -_ONE)
        x = folded
    scale = _ONE / math.sqrt(x * x + y * y + z * z)
    return x * scale, y * scale, z * scale
