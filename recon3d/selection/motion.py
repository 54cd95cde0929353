"""How far the image moves through a video."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

#: Longer side at which motion is measured.
MOTION_SIZE = 320

_MAX_POINTS = 150
_MIN_POINTS = 12
#: Travel at which the points are renewed, as a fraction of the longer side.
_RENEW = 0.02
#: What a change counts that cannot be followed: a cut, or a swing within one frame.
_LOST = 0.25
_WINDOW, _LEVELS = (13, 13), 3
_CRITERIA = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 12, 0.03)


class MotionTracker:
    """Measures how far the image has travelled since the first frame.

    Corners are followed by pyramidal Lucas-Kanade [1]_ with a forward-backward check [2]_, from an
    anchor frame until they have moved by 2 % of the image. Travel is the displacement from the
    anchor, not the sum of the steps: a shaking hand and coding noise go back and forth and do not
    add up, so that a camera at rest does not travel. The displacement of a frame is the mean of
    the faster half of its points: it sees a near object before a far horizon, and one that turns
    before a still background, which a median does not.

    Attributes
    ----------
    travel : float
        Accumulated displacement as a fraction of the longer side; never decreases.

    References
    ----------
    .. [1] J.-Y. Bouguet, "Pyramidal implementation of the Lucas Kanade feature tracker", Intel,
       2000.
    .. [2] Z. Kalal, K. Mikolajczyk, J. Matas, "Forward-backward error: automatic detection of
       tracking failures", ICPR 2010.
    """

    def __init__(self) -> None:
        self.travel = 0.0
        self._base = 0.0
        self._previous: NDArray[np.uint8] | None = None
        self._anchor = np.zeros((0, 2), np.float32)
        self._points = np.zeros((0, 2), np.float32)
        self._started = 0

    def update(self, gray: NDArray[np.uint8]) -> float:
        """Follow the image to the next frame.

        Parameters
        ----------
        gray : ndarray of uint8, shape (H, W)
            Luma at `MOTION_SIZE`; every frame of the same shape.

        Returns
        -------
        float
            `travel`.
        """
        previous, self._previous = self._previous, gray
        if previous is None:
            self._renew(gray)
            return 0.0
        before = len(self._points)
        kept, points = _follow(previous, gray, self._points)
        if before >= _MIN_POINTS and len(points) >= max(_MIN_POINTS, 0.15 * before):
            self._anchor, self._points = self._anchor[kept], points
            moved = _upper_mean(np.linalg.norm(self._points - self._anchor, axis=1)) / max(gray.shape)
            self.travel = max(self.travel, self._base + moved)
            if moved < _RENEW and len(points) >= 0.6 * self._started:
                return self.travel
        else:
            self.travel += _whole_shift(previous, gray)
        self._renew(gray)
        return self.travel

    def _renew(self, gray: NDArray[np.uint8]) -> None:
        corners = cv2.goodFeaturesToTrack(gray, _MAX_POINTS, 0.005, max(gray.shape) / 40)
        found = np.zeros((0, 2), np.float32)
        if corners is not None:
            found = np.asarray(corners, np.float32).reshape(-1, 2)
        self._anchor = self._points = found
        self._started = len(found)
        self._base = self.travel


def _follow(
    previous: NDArray[np.uint8], gray: NDArray[np.uint8], points: NDArray[np.float32]
) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Points in the next frame, and which of them were followed there and back."""
    if len(points) < _MIN_POINTS:
        return np.zeros(len(points), np.bool_), points[:0]
    ahead, found = _flow(previous, gray, points)
    back, found_back = _flow(gray, previous, ahead)
    height, width = gray.shape
    kept = (
        found
        & found_back
        & (np.linalg.norm(back - points, axis=1) < 0.7)
        & np.all((ahead >= 0) & (ahead < (width, height)), axis=1)
    )
    return kept, ahead[kept]


def _flow(
    start: NDArray[np.uint8], end: NDArray[np.uint8], points: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    moved, found, _ = cv2.calcOpticalFlowPyrLK(
        start,
        end,
        points[:, None],
        np.empty((len(points), 1, 2), np.float32),
        winSize=_WINDOW,
        maxLevel=_LEVELS,
        criteria=_CRITERIA,
    )
    return np.asarray(moved, np.float32).reshape(-1, 2), np.asarray(found).ravel() == 1


def _upper_mean(values: NDArray[np.float32]) -> float:
    """Mean of the larger half, without the largest twentieth, where wrong tracks are."""
    ordered = np.sort(values)
    return float(ordered[len(ordered) // 2 : max(len(ordered) // 2 + 1, int(0.95 * len(ordered)))].mean())


def _whole_shift(previous: NDArray[np.uint8], gray: NDArray[np.uint8]) -> float:
    """Displacement where corners cannot be followed, as a fraction of the longer side."""
    if min(float(previous.std()), float(gray.std())) < 2.0:
        return 0.0  # nothing to see: fades and lens caps are not motion
    window = cv2.createHanningWindow((gray.shape[1], gray.shape[0]), cv2.CV_32F)
    shift, response = cv2.phaseCorrelate(previous.astype(np.float32), gray.astype(np.float32), window)
    if response < 0.1:
        return _LOST
    moved: float = math.hypot(shift[0], shift[1]) / max(gray.shape)
    return min(moved, _LOST)
