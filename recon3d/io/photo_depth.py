"""Photos with more than 8 bits a channel.

Files of 16 bits often use the lower 10, 12 or 14 only. A single photo does not tell that from a dark
one, so the brightest value of a whole set decides, and all of its photos are mapped alike. Values with
gaps between them were scaled up to 16 bits: those photos use all of them, however dark they are.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from recon3d.types import Bytes

#: Bits a channel that files with 16 bits use.
_USED = (8, 10, 12, 14, 16)
_TOP = (1 << 16) - 1
#: Different values without which gaps between them mean nothing.
_LEVELS = 64
_LEVELS_OF_8_BITS = 256
#: Step between values of 8 bits that stand in both bytes.
_REPEATED = 257


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


def value_used(values: NDArray[np.uint16], declared: int | None = None) -> int:
    """Find the largest value that a photo's pixels can have.

    Parameters
    ----------
    values : ndarray of uint16, shape (...)
        Its pixels.
    declared : int, optional
        What the file says.

    Returns
    -------
    int
        What the file says, where no pixel contradicts it; 65535 for pixels that were scaled to 16 bits;
        otherwise the brightest.
    """
    levels = np.flatnonzero(np.bincount(values.ravel(), minlength=1))
    brightest = int(levels[-1]) if len(levels) else 0
    if declared is not None and brightest <= declared:
        return declared
    step = int(np.gcd.reduce(levels)) if len(levels) >= _LEVELS else 1
    # Values of 8 bits that were scaled up to 10 or 12 have gaps as well, but no more than 256 levels.
    room = (1 << bits_used(brightest)) // step
    if step == _REPEATED or (step > 1 and room > _LEVELS_OF_8_BITS):
        return _TOP
    return brightest


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
