"""Documents of a project that earlier versions wrote stay readable."""

from __future__ import annotations

from pathlib import Path

from recon3d.io.atomic import read_json, write_json
from recon3d.layout import (
    Frame,
    FrameList,
    Registration,
    WorldFrame,
    read_frames,
    read_registration,
    write_frame_list,
    write_registration,
)


def test_a_frame_keeps_a_position_with_and_without_altitude(tmp_path: Path) -> None:
    frames = tuple(
        Frame(f"{k}.jpg", "photo", f"{k}.jpg", None, 64, 48, None, None, gps, 0)
        for k, gps in enumerate([(47.1, 8.5, 410.0), (47.1, 8.5, None), None])
    )
    write_frame_list(tmp_path, FrameList(frames))
    assert read_frames(tmp_path).frames == frames


def test_a_registration_without_notes_is_read(tmp_path: Path) -> None:
    written = Registration((), WorldFrame("up and scale from GPS", "m", "GPS", ("one was left out",)))
    write_registration(tmp_path, written)
    assert read_registration(tmp_path) == written
    document = read_json(tmp_path / "registration.json")
    del document["world"]["notes"]
    write_json(tmp_path / "registration.json", document)
    assert read_registration(tmp_path).world.notes == ()
