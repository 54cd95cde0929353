"""A video whose chosen frames are too far apart gets more of them where it breaks."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np

from recon3d.compute import InlineContext
from recon3d.layout import read_frames
from recon3d.options import FrameExtractionOptions
from recon3d.stages import frame_extraction
from tests.synthetic.media import write_inputs, write_video
from tests.synthetic.motions import turntable


def _degrees(tmp_path: Path, angles: np.ndarray, **options: float) -> tuple[list[float], InlineContext]:
    """Angles of the frames taken from a video of a turntable."""
    images, _ = turntable(angles, None, (480, 360))
    video = write_video(tmp_path / "clip.mp4", images, rate=10)
    out, context = tmp_path / "frames", InlineContext()
    out.mkdir()
    values = FrameExtractionOptions.model_validate({"min_frames": 3, "motion": 0.5, **options})
    frame_extraction.run({"inputs": write_inputs(tmp_path / "inputs", [video])}, values, out, context)
    return [float(angles[round(10 * (row.time or 0))]) for row in read_frames(out).frames], context


def test_frames_are_added_where_neighbours_do_not_match(tmp_path: Path) -> None:
    angles = np.arange(0, 120, 4.0)
    taken, context = _degrees(tmp_path, angles)
    assert max(b - a for a, b in pairwise(taken)) <= 28  # 40 and more without
    assert len(taken) < len(angles)
    assert not context.fallbacks


def test_the_limit_of_frames_holds_and_the_break_is_told(tmp_path: Path) -> None:
    taken, context = _degrees(tmp_path, np.arange(0, 160, 5.0), max_frames=4)
    assert len(taken) == 4
    (message,) = [text for text in context.fallbacks if "hardly match" in text]
    assert "clip.mp4: neighbouring frames hardly match at" in message
    assert "Raise frame_extraction.max_frames." in message


def test_an_interval_that_the_user_gave_is_kept(tmp_path: Path) -> None:
    taken, _ = _degrees(tmp_path, np.arange(0, 120, 5.0), interval=0.8)
    assert len(taken) <= 4
