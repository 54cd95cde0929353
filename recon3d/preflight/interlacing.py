"""Whether a video is interlaced, by the test of frame_extraction on some of its frames."""

from __future__ import annotations

import itertools
from pathlib import Path

from recon3d.io.video import VideoReader
from recon3d.preflight.facts import Fact
from recon3d.selection.combs import interlacing, is_combed

#: Places that are looked at, and frames in a row at each.
_PLACES, _FRAMES = 4, 8


def interlaced_fact(path: Path) -> Fact:
    """Look at some frames, which takes about a second.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Fact
        True, False, or None where the frames do not decide it.
    """
    looked: set[int] = set()
    combed = 0
    with VideoReader(path) as reader:
        duration = reader.duration or 0.0
        # Without an index only the start can be looked at: there as much as else at all places.
        places, frames = (_PLACES, _FRAMES) if reader.seekable else (1, _FRAMES * _PLACES)
        for place in range(places):
            if place and reader.seek(duration * place / places) is None:
                break
            # Places between the same key frames begin alike.
            new = (frame for frame in reader.frames() if frame.pts not in looked)
            for frame in itertools.islice(new, frames):
                if reader.deinterlaced:
                    break  # the lines of this frame are no longer as they were stored
                looked.add(frame.pts)
                combed += is_combed(frame.luma())
            if reader.deinterlaced:
                return Fact("interlaced", True, "yes", "flags of the frames")
        fields = reader.interlaced_stream
    combs = f"combs in {combed} of {len(looked)} frames"
    if interlacing(0, len(looked), combed):
        return Fact("interlaced", True, "yes, though it is not marked", combs)
    if fields or combed:
        why = "the stream's field order, not its frames" if fields else combs
        return Fact("interlaced", None, "unknown; a run looks at more frames", why)
    return Fact("interlaced", False, "no", f"flags and lines of {len(looked)} frames")
