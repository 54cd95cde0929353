"""The corpus of videos, from a file on a memory card to frames on disk."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from recon3d.compute import InlineContext
from recon3d.errors import InputError
from recon3d.options import FrameExtractionOptions
from recon3d.project import Project
from recon3d.stages.frame_extraction import stage as frame_extraction
from tests.synthetic.corpus_videos import FIELDS, VIDEOS, Video, color_error, combs, weave


@dataclass(frozen=True)
class Outcome:
    """Frames by their times, and everything that was said."""

    frames: dict[float, np.ndarray]
    said: list[str]


def extract(video: Video, folder: Path) -> Outcome:
    """Add a video to a project and take its frames, as `recon3d run` does."""
    (folder / "card").mkdir()
    video.make(folder / "card" / video.name)
    project = Project.create(folder / "project")
    try:
        project.add(folder / "card" / video.name)
    except InputError as error:
        return Outcome({}, [error.message, error.hint])
    out, context = folder / "out", InlineContext()
    frame_extraction.run(
        {"inputs": project.path / "inputs"}, FrameExtractionOptions(interval=0.08), out, context
    )
    rows = json.loads((out / "frames.json").read_text())["frames"]
    frames = {row["time"]: cv2.imread(str(out / "images" / row["name"])) for row in rows}
    return Outcome(frames, context.fallbacks)


@pytest.mark.parametrize("video", VIDEOS, ids=lambda video: video.what)
def test_the_right_frames_or_one_clear_sentence(video: Video, tmp_path: Path) -> None:
    outcome = extract(video, tmp_path)
    if not video.usable:
        assert not outcome.frames
        assert video.says in outcome.said[0]
        assert outcome.said[1]
        return
    assert len(outcome.frames) >= video.fewest
    assert max(outcome.frames) >= video.last
    errors = []
    for time, image in outcome.frames.items():
        assert (image.shape[1], image.shape[0]) == video.shown
        # The right moment: no other field looks as much like it.
        likeness = [float(np.mean(cv2.absdiff(image, cv2.resize(f, video.shown)))) for f in FIELDS]
        best = FIELDS[int(np.argmin(likeness))]
        np.testing.assert_array_equal(cv2.resize(best, video.shown), video.truth(time))
        errors.append(color_error(image, video.truth(time)))
    print(f"{video.what}: ΔE {np.mean(errors):.2f}, {len(errors)} frames")
    assert np.mean(errors) < video.error
    if video.says:
        assert any(video.says in text for text in outcome.said), outcome.said
    else:
        assert outcome.said == []


def test_the_documented_table_has_every_file() -> None:
    page = Path(__file__).parents[2] / "docs" / "reference" / "input-formats.md"
    section = page.read_text().split("## Videos")[1].split("\n## ")[0]
    rows = [line.split(" | ")[0].removeprefix("| ") for line in section.splitlines() if line.startswith("| ")]
    assert rows[2:] == [video.what for video in VIDEOS]


@pytest.mark.parametrize("video", [v for v in VIDEOS if "interlaced" in v.what], ids=lambda video: video.file)
def test_combs_are_gone(video: Video, tmp_path: Path) -> None:
    top_first = "bottom" not in video.what
    woven = [combs(frame) for frame in weave(FIELDS, top_first=top_first)]
    whole = [combs(field) for field in FIELDS]
    taken = [combs(frame) for frame in extract(video, tmp_path).frames.values()]
    print(
        f"combs: woven {np.mean(woven):.2f}, fields {np.mean(whole):.2f}, frames taken {np.mean(taken):.2f}"
    )
    assert np.mean(woven) > 1.1
    assert np.mean(whole) < 0.8
    # The first and the last frame have one neighbour only.
    assert max(taken) < 0.9
