"""Files that hold several videos: one is taken, and the message says which and why."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recon3d.errors import InputError
from tests.stages.test_frame_extraction import VIEWS, extract
from tests.synthetic.media import write_streams

BLANK = [np.full((480, 640, 3), 90, np.uint8)] * 24
SHORT = (VIEWS[::4] + VIEWS[-1:])[:24]
STREAMS = "stream 0 (320 x 240, h264), was used; stream 1 (640 x 480, h264) was not."


@pytest.mark.parametrize(
    ("defaults", "choice"),
    [
        ((False, False), "None is marked as the default; the first"),
        ((True, True), "2 are marked as the default; the first"),
        ((True, False), "The default"),
    ],
)
def test_the_first_of_several_videos_is_taken_and_said(
    tmp_path: Path, defaults: tuple[bool, bool], choice: str
) -> None:
    file = write_streams(tmp_path / "two.mkv", [(SHORT, defaults[0]), (BLANK, defaults[1])])
    document, context, _ = extract(tmp_path, [file])
    assert {(frame["width"], frame["height"]) for frame in document["frames"]} == {(320, 240)}
    assert f"two.mkv holds 2 videos. {choice}, {STREAMS}" in context.fallbacks


def test_a_refused_video_tells_of_its_other_streams(tmp_path: Path) -> None:
    file = write_streams(tmp_path / "two.mkv", [(BLANK, False), (SHORT, False)])
    with pytest.raises(InputError) as refused:
        extract(tmp_path, [file])
    assert refused.value.message == (
        "two.mkv shows nothing: all of its frames are black or blank. The file holds 2 videos. None is "
        "marked as the default; the first, stream 0 (640 x 480, h264), was used; stream 1 (320 x 240, h264) "
        "was not."
    )
