"""What files say of themselves, and where."""

from __future__ import annotations

import json
import struct
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms
from typer.testing import CliRunner

import recon3d
from recon3d.cli.commands import app
from recon3d.errors import InputError
from recon3d.preflight import gpmf
from recon3d.preflight.facts import FileFacts
from recon3d.preflight.srt import read_srt
from recon3d.preflight.video_facts import iso6709
from tests.synthetic import corpus_videos, media

SRT = """1
00:00:00,000 --> 00:00:00,033
<font size="28">FrameCnt: 1, DiffTime: 33ms
[iso: 100] [focal_len: 24.00] [latitude: 47.376900] [longitude: 8.541700] [rel_alt: 20.1 abs_alt: 428.5]

2
00:00:01,500 --> 00:00:01,533
[latitude: 47.377000] [longitude: 8.541700] [rel_alt: 20.1 abs_alt: 430.5]

3
00:00:02,000 --> 00:00:02,033
[latitude: 0.000000] [longitude: 0.000000]
"""


def source(facts: FileFacts, name: str) -> str:
    return next(fact.source for fact in facts.facts if fact.name == name)


def entry(key: bytes, kind: str, size: int, data: bytes) -> bytes:
    repeat = len(data) // size
    padding = b"\0" * (-len(data) % 4)
    return struct.pack(">4sBBH", key, ord(kind) if kind else 0, size, repeat) + data + padding


def nested(key: bytes, data: bytes) -> bytes:
    return struct.pack(">4sBBH", key, 0, 1, len(data)) + data


def test_the_goprokarma_tells_its_track(data_dir: Path) -> None:
    facts = recon3d.probe(data_dir / "video_gopro" / "karma.mp4")
    assert (facts["codec"], facts["size"], facts["duration"]) == ("h264", [854, 480], 12.079)
    assert (facts["range"], facts["transfer"], facts["hdr"]) == ("full", "BT.709", False)
    assert facts["interlaced"] is False
    gps = facts["gps"]
    # A cliff at the Pacific north of San Diego.
    assert (round(gps["latitude"], 3), round(gps["longitude"], 3)) == (33.126, -117.331)
    assert gps["positions"] > 40
    assert source(facts, "gps") == "GoPro GPMF track"


def test_an_iphone_tells_its_place(data_dir: Path) -> None:
    facts = recon3d.probe(data_dir / "video_bic" / "bic.mov")
    assert facts["gps"]["latitude"] == 38.0336
    assert "location.ISO6709" in source(facts, "gps")
    assert facts["camera"] == "Apple iPhone 5s"


def test_gps5_needs_a_fix_and_its_scale() -> None:
    row = struct.pack(">lllll", 473769000, 85417000, 428500, 0, 0)
    scale = entry(b"SCAL", "l", 4, struct.pack(">lllll", 10_000_000, 10_000_000, 1000, 1000, 100))

    def packet(fix: int) -> bytes:
        stream = entry(b"GPSF", "L", 4, struct.pack(">L", fix)) + scale + entry(b"GPS5", "l", 20, row)
        return nested(b"DEVC", nested(b"STRM", stream))

    (found,) = gpmf.positions(packet(3), 1.0)
    assert (found.latitude, found.longitude, found.altitude, found.time) == (47.3769, 8.5417, 428.5, 1.0)
    assert gpmf.positions(packet(2))[0].altitude is None
    assert gpmf.positions(packet(0)) == []


def test_gps9_has_its_fix_in_each_row() -> None:
    values = struct.Struct(">lllllllSS".replace("S", "H"))
    rows = [values.pack(473769000, 85417000, 428500, 0, 0, 0, 0, 100, fix) for fix in (3, 0)]
    scale = entry(
        b"SCAL", "l", 4, struct.pack(">9l", 10_000_000, 10_000_000, 1000, 1000, 100, 1, 1000, 100, 1)
    )
    stream = entry(b"TYPE", "c", 1, b"lllllllSS") + scale + entry(b"GPS9", "?", values.size, b"".join(rows))
    found = gpmf.positions(nested(b"STRM", stream))
    assert [(p.latitude, p.altitude) for p in found] == [(47.3769, 428.5)]


def test_damaged_metadata_end_quietly() -> None:
    row = struct.pack(">lllll", 1, 2, 3, 4, 5)
    whole = nested(b"DEVC", nested(b"STRM", entry(b"GPS5", "l", 20, row)))
    for cut in range(len(whole)):
        assert gpmf.positions(whole[:cut]) == []
    rng = np.random.default_rng(0)
    for _ in range(300):
        gpmf.positions(rng.integers(0, 256, 400, dtype=np.uint8).tobytes())
    deep = b""
    for _ in range(2000):
        deep = nested(b"DEVC", deep)[:60_000]
    assert gpmf.positions(deep) == []


def test_a_drones_subtitles_beside_the_video_are_read(tmp_path: Path) -> None:
    video = media.write_video(tmp_path / "DJI_0001.MP4", media.slide(media.texture(), range(0, 40, 4)))
    video.with_suffix(".SRT").write_text(SRT)
    facts = recon3d.probe(video)
    gps = facts["gps"]
    assert gps["positions"] == 2
    assert gps["latitude"] == pytest.approx(47.37695)
    assert gps["altitude"] == pytest.approx(429.5)
    assert source(facts, "gps") == "subtitles DJI_0001.SRT"
    assert facts["focal_35mm"] == 24.0


def test_the_older_subtitles_have_the_longitude_first(tmp_path: Path) -> None:
    path = tmp_path / "a.srt"
    path.write_text("1\n00:00:01,000 --> 00:00:02,000\nHOME(8.5,47.3) GPS(8.5417,47.3769,16) BAROMETER:1.5\n")
    (position,), focal = read_srt(path)
    assert (position.latitude, position.longitude, position.altitude) == (47.3769, 8.5417, None)
    assert position.time == 1.0
    assert focal is None


@pytest.mark.parametrize(("text", "altitude"), [
    ("+47.3769+008.5417+408.0/", 408.0), ("-33.8-070.5/", None), ("nonsense", "none"),
    ("+00.0000+000.0000/", "none"),
])  # fmt: skip
def test_iso6709(text: str, altitude: object) -> None:
    found = iso6709(text)
    assert (found[0].altitude if found else "none") == altitude


def test_quicktime_user_data(tmp_path: Path) -> None:
    path = tmp_path / "android.mp4"
    with av.open(str(path), "w") as container:
        container.metadata["location"] = "+47.3769+008.5417/"
        stream = container.add_stream("libx264", rate=Fraction(25))
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for i in range(5):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 20 * i, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    facts = recon3d.probe(path)
    assert (facts["gps"]["latitude"], facts["gps"]["altitude"]) == (47.3769, None)
    assert source(facts, "gps") == "QuickTime user data ©xyz"


def test_a_videos_rotation_and_hdr(tmp_path: Path) -> None:
    frames = media.slide(media.texture(), range(0, 40, 4))
    turned = recon3d.probe(media.write_video(tmp_path / "turned.mp4", frames, rotation=90))
    assert turned["size"] == [240, 320]
    assert turned["rotation"] in (90, 270)
    plain = recon3d.probe(media.write_video(tmp_path / "plain.mp4", frames))
    assert "rotation" not in plain
    with pytest.raises(KeyError):
        plain["rotation"]


def test_a_photos_depth_profile_and_focal_length(tmp_path: Path, data_dir: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    photo = tmp_path / "a.jpg"
    Image.new("RGB", (64, 48), (9, 9, 9)).save(photo, icc_profile=profile)
    facts = recon3d.probe(photo)
    assert "sRGB" in facts["colour_space"]
    assert (facts["bits"], facts["size"], "gps" in facts) == (8, [64, 48], False)
    deep = tmp_path / "deep.png"
    Image.fromarray(np.zeros((48, 64), np.uint16)).save(deep)
    assert recon3d.probe(deep)["bits"] == 16
    real = recon3d.probe(data_dir / "monstree_1600" / "images" / "IMG_1025.jpg")
    assert (real["size"], real["rotation"], real["focal_35mm"]) == ([1200, 1600], 90, 28.0)
    assert real["gps"]["altitude"] == pytest.approx(1223.8, abs=0.1)


@pytest.mark.parametrize(("name", "source_says"), [
    ("avchd.mts", "flags of the frames"), ("dv.mpg", "flags of the frames"), ("captured.mkv", "combs in "),
])  # fmt: skip
def test_interlacing_is_told_as_the_run_finds_it(tmp_path: Path, name: str, source_says: str) -> None:
    video = next(row for row in corpus_videos.VIDEOS if row.file == name)
    video.make(tmp_path / name)
    facts = recon3d.probe(tmp_path / name)
    assert facts["interlaced"] is True
    assert source_says in source(facts, "interlaced")


def test_a_single_comb_leaves_it_unknown(tmp_path: Path) -> None:
    views = media.slide(media.texture(), range(0, 160, 4))
    combed = views[3].copy()
    combed[::2] = views[9][::2]
    video = media.write_video(tmp_path / "a.mkv", [*views[:3], combed, *views[4:]], codec="ffv1")
    facts = recon3d.probe(video)
    assert facts["interlaced"] is None
    assert source(facts, "interlaced") == "combs in 1 of 32 frames"


def test_a_file_of_two_videos_tells_which_is_used(tmp_path: Path) -> None:
    views = media.slide(media.texture(), range(0, 40, 4))
    small = [view[:120, :160] for view in views]
    facts = recon3d.probe(media.write_streams(tmp_path / "two.mkv", [(small, False), (views, False)]))
    assert (facts["video_streams"], facts["size"]) == (2, [160, 120])
    text = next(fact.text for fact in facts.facts if fact.name == "video_streams")
    assert text == "2. None is marked as the default; the first, stream 0 (160 x 120, h264), is used"
    assert recon3d.probe(media.write_video(tmp_path / "one.mp4", views))["video_streams"] == 1


def test_the_depth_is_the_files_own(tmp_path: Path) -> None:
    rgb = np.random.default_rng(0).integers(0, 65536, (48, 64, 3), dtype=np.uint16)
    for name in ("deep.png", "deep.tif"):
        cv2.imwrite(str(tmp_path / name), rgb)
        assert recon3d.probe(tmp_path / name)["bits"] == 16, name
    Image.new("1", (64, 48)).save(tmp_path / "one.png")
    assert recon3d.probe(tmp_path / "one.png")["bits"] == 1


def test_damaged_pixels_are_told(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    for name in ("a.jpg", "a.png"):
        Image.fromarray(pixels).save(tmp_path / name)
        assert recon3d.probe(tmp_path / name)["damaged"] is False, name
        data = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(data[: len(data) // 2])
        facts = recon3d.probe(tmp_path / name)
        assert facts["damaged"] is True, name
        text = next(fact.text for fact in facts.facts if fact.name == "damaged")
        assert text.startswith("yes: it is damaged or incomplete"), text


def test_what_is_no_photo_or_video_is_refused(tmp_path: Path) -> None:
    (tmp_path / "page.jpg").write_text("<html></html>")
    with pytest.raises(InputError, match=r"page\.jpg"):
        recon3d.probe(tmp_path / "page.jpg")


def test_facts_show_themselves(data_dir: Path) -> None:
    facts = recon3d.probe(data_dir / "video_gopro" / "karma.mp4")
    assert json.loads(json.dumps(facts.to_json()))["facts"]["size"] == {
        "value": [854, 480], "source": "first frame",
    }  # fmt: skip
    assert "GoPro GPMF track" in facts._repr_html_()
    assert "karma.mp4" in repr(facts)


def test_a_bad_file_does_not_stop_the_others(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    photo, bad, inside = tmp_path / "good.png", tmp_path / "bad.jpg", folder / "inside.png"
    for file, value in ((photo, 9), (inside, 99)):
        Image.new("RGB", (64, 48), (value, 9, 9)).save(file)
    bad.write_text("<html></html>")
    (folder / "broken.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(100))
    given = [str(path) for path in (tmp_path / "none.mp4", bad, folder, photo)]
    done = CliRunner().invoke(app, ["probe", "--json", *given])
    assert done.exit_code == 2
    rows = {row["path"]: row for row in json.loads(done.stdout)}
    assert {path for path, row in rows.items() if "facts" in row} == {str(photo), str(inside)}
    errors = {path: row["error"] for path, row in rows.items() if "error" in row}
    assert errors.keys() == {given[0], given[1], str(folder / "broken.mp4")}
    assert all(error.startswith(path) for path, error in errors.items())
    shown = CliRunner().invoke(app, ["probe", *given])
    assert shown.exit_code == 2
    assert shown.output.count("64 x 48") == 2
    for error in errors.values():
        assert f"Error: {error}" in shown.output
    assert CliRunner().invoke(app, ["probe", str(photo)]).exit_code == 0
