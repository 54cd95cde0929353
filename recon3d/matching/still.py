"""Parts of the pictures that stand still while the rest moves.

Behind a turntable stands a wall. The cameras are those of what turns, and in their world the wall turns
too: stereo smears it. Features that rest tell that there is such a part; here is where it lies. A pixel
stands still if what is around it has texture and looks the same, in the same place, in many pictures.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from recon3d.types import Bytes

#: Longer side of the pictures that are compared, and pictures that each is compared with.
SIDE = 320
_COMPARED = 60
#: Pictures that tell something.
_FEWEST = 5
#: Levels of 255 by which surroundings differ at most, and from which they have texture.
_SAME, _TEXTURE = 8.0, 5.0
#: Share of the other pictures that look the same there: the thing covers the wall in the rest.
_SHARE = 0.3
#: Radius of the surroundings, of gaps without texture that are closed, and of specks that are removed.
_AROUND, _GAP, _SPECK = 2, 6, 2


def still_pixels(pictures: Sequence[Bytes]) -> list[NDArray[np.bool_]]:
    """Find what stands still.

    Parameters
    ----------
    pictures : sequence of ndarray of uint8, shape (H, W)
        Gray pictures of one size, `SIDE` pixels long.

    Returns
    -------
    list of ndarray of bool, shape (H, W)
        All false for fewer than five pictures.
    """
    count = len(pictures)
    if count < _FEWEST:
        return [np.zeros(picture.shape, np.bool_) for picture in pictures]
    compared = np.unique(np.linspace(0, count - 1, min(count, _COMPARED)).round().astype(int))
    return [
        _still(picture, [pictures[other] for other in compared if other != index])
        for index, picture in enumerate(pictures)
    ]


def _still(picture: Bytes, others: Sequence[Bytes]) -> NDArray[np.bool_]:
    same = np.zeros(picture.shape, np.int32)
    for other in others:
        same += _mean(cv2.absdiff(picture, other)) < _SAME
    gray = picture.astype(np.float32)
    deviation = np.sqrt(np.maximum(_mean(gray**2) - _mean(gray) ** 2, 0))
    still = ((same >= _SHARE * len(others)) & (deviation > _TEXTURE)).astype(np.uint8)
    still = cv2.morphologyEx(still, cv2.MORPH_CLOSE, _disc(_GAP), borderType=cv2.BORDER_REPLICATE)
    return np.asarray(cv2.morphologyEx(still, cv2.MORPH_OPEN, _disc(_SPECK)) > 0)


def _mean(image: NDArray[np.generic]) -> NDArray[np.float32]:
    size = 2 * _AROUND + 1
    return np.asarray(cv2.blur(image.astype(np.float32), (size, size)), np.float32)


def _disc(radius: int) -> Bytes:
    size = 2 * radius + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)), np.uint8)
