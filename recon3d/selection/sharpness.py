"""How sharp a frame is, by itself and beside its neighbours in time."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import percentile_filter

#: Longer side at which sharpness is measured; larger frames are averaged down to it.
SHARPNESS_SIZE = 960


def sharpness(gray: NDArray[np.uint8]) -> float:
    """Fine detail of an image, in grey levels.

    Second differences are taken in four directions. Motion blur removes detail along the motion
    only, which an isotropic Laplacian [1]_ averages away, so the measure is the geometric mean of
    the energy of all directions and the energy of the weakest one, as an amplitude.

    Parameters
    ----------
    gray : ndarray of uint8, shape (H, W)
        Luma, at most `SHARPNESS_SIZE` on its longer side to be comparable between videos.

    Returns
    -------
    float
        0 for a blank image; proportional to contrast. Compare it between images of like content
        only (see `blur`).

    References
    ----------
    .. [1] S. Pertuz, D. Puig, M. A. Garcia, "Analysis of focus measure operators for
       shape-from-focus", Pattern Recognition 46(5), 2013.
    """
    if min(gray.shape) < 3:
        return 0.0
    f = gray.astype(np.int16)
    middle = 2 * f[1:-1, 1:-1]
    energies = []
    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
        height, width = middle.shape
        ahead = f[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]
        behind = f[1 - dy : 1 - dy + height, 1 - dx : 1 - dx + width]
        # A diagonal step is longer: the second difference of the same ramp is twice as large.
        energies.append(
            cv2.norm(ahead + behind - middle, cv2.NORM_L2SQR) / (middle.size * (dx * dx + dy * dy))
        )
    return float((np.mean(energies) * min(energies)) ** 0.25)


def shrink(gray: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Reduce an image by averaging.

    Parameters
    ----------
    gray : ndarray of uint8, shape (H, W)
    size : int
        Longest side in pixels.

    Returns
    -------
    ndarray of uint8, shape (h, w)
    """
    scale = size / max(gray.shape)
    if scale >= 1:
        return gray
    height, width = gray.shape
    smaller = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(gray, smaller, interpolation=cv2.INTER_AREA), np.uint8)


def blur(values: NDArray[np.float64], times: NDArray[np.float64], window: float = 1.0) -> NDArray[np.float64]:
    """How much less sharp each frame is than the sharp ones around it.

    What a video shows changes its detail far more than blur does, but slowly; within a second the
    content is nearly the same, and what differs is blur.

    Parameters
    ----------
    values : ndarray, shape (N,)
        `sharpness` of each frame.
    times : ndarray, shape (N,)
        Seconds, increasing.
    window : float
        Seconds that frames are compared within.

    Returns
    -------
    ndarray, shape (N,)
        Natural logarithm of the neighbours' upper quintile over the frame's own, at least 0:
        0.1 is a tenth less detail, 0.7 half of it.
    """
    if len(values) == 0:
        return np.zeros(0)
    logs = np.log(np.maximum(values, 1e-3))
    period = float(np.median(np.diff(times))) if len(times) > 1 else window
    size = max(11, round(window / max(period, 1e-3))) | 1
    reference = percentile_filter(logs, 80, size=min(size, 2 * len(logs) + 1), mode="nearest")
    result: NDArray[np.float64] = np.maximum(reference - logs, 0.0)
    return result
