"""How far the image travels through a video, from short windows of it.

Frames that are far apart do not tell: the image may leave and come back between them.
"""

from __future__ import annotations

import time

import numpy as np

from recon3d.io.video import VideoReader
from recon3d.selection.motion import MOTION_SIZE, MotionTracker
from recon3d.selection.sharpness import SHARPNESS_SIZE, shrink

#: Windows, and the seconds of video that each of them follows.
_WINDOWS, _LENGTH = 8, 0.5
#: Seconds from the start that are followed where the video has no place to jump to.
_START = 3.0


def video_travel(reader: VideoReader, seconds: float) -> float:
    """Estimate how far the image travels, as frame_extraction measures it.

    Parameters
    ----------
    reader : VideoReader
        A new one where the video has no place to jump to.
    seconds : float
        How long the estimate may take.

    Returns
    -------
    float
        Travel through the whole video as a fraction of the image's longer side.

    Raises
    ------
    InputError
        The video cannot be read.
    """
    started = time.monotonic()
    followed = travel = 0.0
    duration = reader.duration or 0.0
    starts = np.linspace(0, max(duration - _LENGTH, 0), _WINDOWS)
    # In no order: when the time ends, those that were followed still come from the whole video.
    for start in np.random.default_rng(0).permutation(starts):
        if followed and time.monotonic() - started > seconds:
            break
        jumped = reader.seek(float(start)) is not None
        length, moved = _window(reader, _LENGTH if jumped else _START, seconds)
        followed, travel = followed + length, travel + moved
        if not jumped:
            break
    return travel / followed * duration if followed else 0.0


def _window(reader: VideoReader, length: float, seconds: float) -> tuple[float, float]:
    """Seconds of video that were followed, and the travel in them."""
    started = time.monotonic()
    tracker = MotionTracker()
    first: float | None = None
    last = travel = 0.0
    for frame in reader.frames():
        first = frame.time if first is None else first
        travel = tracker.update(shrink(shrink(frame.luma(), SHARPNESS_SIZE), MOTION_SIZE))
        last = frame.time
        if last - first >= length or time.monotonic() - started > seconds:
            break
    return last - (first or 0.0), travel
