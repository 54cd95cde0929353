"""Photos with more than 8 bits a channel.

Files of 16 bits often use the lower 10, 12 or 14 only. A single photo does not tell that from a dark
one, so the brightest value of a whole set decides, and all of its photos are mapped alike.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recon3d.types import Bytes

#: Bits a channel that files with 16 bits use.
_USED = (8, 10, 12, 14, 16)


def bits_used(brightest: int) -> int:
    """Tell how many bits a set of photos uses.

    Parameters
    ----------
    brightest : int
        Largest value of all its photos, at most 65535.

    Returns
    -------
    int
        8, 10, 12, 14 or 16.
    """
    return next(bits for bits in _USED if brightest < 1 << bits)


def to_8_bits(values: NDArray[Any], bits: int) -> Bytes:
    """Map pixels from the bits that their set uses to 8.

    Parameters
    ----------
    values : ndarray of uint16, shape (...)
    bits : int
        See `bits_used`; larger values become white.

    Returns
    -------
    ndarray of uint8, shape (...)
    """
    return np.asarray(_table(bits)[values], np.uint8)


@functools.lru_cache(maxsize=4)
def _table(bits: int) -> Bytes:
    top = (1 << bits) - 1
    levels = np.rint(np.minimum(np.arange(65536) * (255 / top), 255))
    return np.asarray(levels, np.uint8)
