from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from recon3d.errors import InputError
from recon3d.io import video
from recon3d.io.video import VideoReader, probe_video
from tests.synthetic.media import slide, texture, write_video

PICTURE = texture()


@pytest.fixture(scope="module")
def views() -> list[np.ndarray]:
    return slide(PICTURE, [100 + 4 * k for k in range(60)])


def upright_and_known(tmp_path: Path, rotation: int) -> tuple[np.ndarray, np.ndarray]:
    """A marked picture, and what the reader makes of it when it was stored turned."""
    upright = np.full((240, 320, 3), 60, np.uint8)
    upright[:80, :100] = (40, 60, 220)  # red, upper left
    upright[160:, 200:] = (220, 80, 30)  # blue, lower right
    # `rotation` turns the stored picture counter-clockwise to be upright, so store it clockwise.
    stored = np.rot90(upright, -rotation // 90)
    path = write_video(tmp_path / f"turned{rotation}.mp4", [stored] * 3, rotation=rotation)
    with VideoReader(path) as reader:
        info = reader.info()
    assert (info.width, info.height) == (320, 240)
    assert info.rotation == rotation
    with VideoReader(path) as reader:
        return upright, reader.image(next(reader.frames()))


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_frames_are_upright(tmp_path: Path, rotation: int) -> None:
    expected, image = upright_and_known(tmp_path, rotation)
    assert image.shape == expected.shape
    assert cv2.PSNR(image, expected) > 28


def test_header(tmp_path: Path, views: list[np.ndarray]) -> None:
    info = probe_video(write_video(tmp_path / "v.mp4", views, rate=25))
    assert (info.width, info.height, info.rotation, info.codec) == (320, 240, 0, "h264")
    assert info.duration == pytest.approx(60 / 25)
    assert info.frame_rate == pytest.approx(25)
    assert not info.hdr
    assert info.size(160) == (160, 120)
    assert info.size(1000) == info.size() == (320, 240)


CODECS = [
    ("v.mp4", "libx264", "yuv420p", {}),
    ("v.mp4", "libsvtav1", "yuv420p", {"svtav1-params": "preset=12"}),
    ("v.webm", "libvpx-vp9", "yuv420p", {"deadline": "realtime", "cpu-used": "8"}),
    ("v.mkv", "ffv1", "yuv444p", {}),
    ("v.mov", "mjpeg", "yuvj420p", {"qmin": "2", "qmax": "3"}),
    ("v.mov", "prores_ks", "yuv422p10le", {}),
    ("v.avi", "mpeg4", "yuv420p", {"qmin": "2", "qmax": "4"}),
]


@pytest.mark.parametrize(("name", "codec", "pix_fmt", "options"), CODECS, ids=[c[1] for c in CODECS])
def test_codecs(
    tmp_path: Path, views: list[np.ndarray], name: str, codec: str, pix_fmt: str, options: dict[str, str]
) -> None:
    path = write_video(tmp_path / name, views[:20], codec=codec, pix_fmt=pix_fmt, options=options)
    with VideoReader(path) as reader:
        frames = list(reader.frames())
        assert len(frames) == 20
        assert [frame.time for frame in frames] == pytest.approx([k / 30 for k in range(20)], abs=2e-3)
        assert len({frame.pts for frame in frames}) == 20
        for index in (0, 7, 19):
            assert cv2.PSNR(reader.image(frames[index]), views[index]) > 24
            luma = frames[index].luma().astype(float)
            gray = cv2.cvtColor(views[index], cv2.COLOR_BGR2GRAY).astype(float)
            assert np.corrcoef(luma.ravel(), gray.ravel())[0, 1] > 0.97


def test_times_are_those_of_the_time_stamps(tmp_path: Path, views: list[np.ndarray]) -> None:
    stamps = list(np.cumsum([1, 5, 2, 9, 1, 1, 30, 2, 4, 7]))
    path = write_video(tmp_path / "v.mkv", views[:10], rate=100, pts=stamps)
    with VideoReader(path) as reader:
        times = [frame.time for frame in reader.frames()]
    assert times == pytest.approx([(s - stamps[0]) / 100 for s in stamps], abs=2e-3)


def test_seek_goes_to_the_key_frame_before(tmp_path: Path, views: list[np.ndarray]) -> None:
    path = write_video(tmp_path / "v.mp4", views, options={"g": "10", "keyint_min": "10", "bf": "2"})
    with VideoReader(path) as reader:
        keys = [frame.time for frame in reader.frames() if frame.key]
    assert len(keys) == 6
    for time in (0.0, 0.2, 0.34, 1.0, 1.05, 1.9):
        with VideoReader(path) as reader:
            expected = max(key for key in keys if key <= time + 1e-9)
            assert reader.seek(time) == pytest.approx(expected)
            first = next(reader.frames())
            assert first.time == pytest.approx(expected)
            index = round(first.time * 30)
            assert cv2.PSNR(reader.image(first), views[index]) > 28


def test_wanted_frames_are_the_same_as_without_skipping(tmp_path: Path, views: list[np.ndarray]) -> None:
    path = write_video(tmp_path / "v.mp4", views, options={"preset": "medium", "bf": "3"})
    with VideoReader(path) as reader:
        every = {frame.pts: reader.image(frame) for frame in reader.frames()}
    chosen = sorted(every)[5::11]
    with VideoReader(path) as reader:
        found = {frame.pts: reader.image(frame) for frame in reader.frames(frozenset(chosen))}
    assert len(found) < len(every)
    for pts in chosen:
        np.testing.assert_array_equal(found[pts], every[pts])


def test_unlabelled_hd_has_the_colours_of_bt709(tmp_path: Path) -> None:
    color = np.full((720, 1280, 3), (90, 40, 200), np.uint8)  # BGR
    frame = av.VideoFrame.from_ndarray(color, format="bgr24").reformat(
        format="yuv420p", dst_colorspace="ITU709"
    )
    y, u, v = (int(np.frombuffer(plane, np.uint8)[0]) for plane in frame.planes)
    path = tmp_path / "v.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt, stream.options = 1280, 720, "yuv420p", {"crf": "1"}
        planes = np.concatenate(
            [np.full(1280 * 720, y), np.full(640 * 360, u), np.full(640 * 360, v)]
        ).astype(np.uint8)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(planes.reshape(-1, 1280), format="yuv420p")))
        container.mux(stream.encode())
    with VideoReader(path) as reader:
        image = reader.image(next(reader.frames()))
    np.testing.assert_allclose(image[300, 300], color[0, 0], atol=4)


def test_pixels_that_are_not_square_become_square(tmp_path: Path, views: list[np.ndarray]) -> None:
    def squeeze(stream: av.VideoStream) -> None:
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)

    path = write_video(tmp_path / "v.mp4", views[:5], prepare=squeeze)
    info = probe_video(path)
    assert (info.width, info.height) == (427, 240)
    with VideoReader(path) as reader:
        assert reader.image(next(reader.frames())).shape == (240, 427, 3)


def test_a_truncated_file_gives_what_it_has(tmp_path: Path, views: list[np.ndarray]) -> None:
    data = write_video(tmp_path / "whole.mkv", views, options={"g": "10"}).read_bytes()
    path = tmp_path / "part.mkv"
    path.write_bytes(data[: len(data) // 2])
    with VideoReader(path) as reader:
        times = [frame.time for frame in reader.frames()]
        assert reader.duration == pytest.approx(2.0, abs=0.1)
    assert 15 < len(times) < 45


def test_damaged_packets_are_skipped_and_what_depends_on_them_is_marked(
    tmp_path: Path, views: list[np.ndarray]
) -> None:
    path = write_video(tmp_path / "v.mp4", views, options={"g": "20", "keyint_min": "20"})
    data = bytearray(path.read_bytes())
    start = data.find(b"mdat") + len(data) // 3
    data[start : start + 5000] = np.random.default_rng(0).integers(0, 256, 5000).astype(np.uint8).tobytes()
    path.write_bytes(data)
    with VideoReader(path, strict=True) as reader:
        frames = [(frame, reader.image(frame)) for frame in reader.frames()]
        assert reader.errors > 0
    assert len(frames) > 30
    assert any(frame.damaged for frame, _ in frames)
    assert not frames[-1][0].damaged
    for frame, image in frames:
        if not frame.damaged:
            assert cv2.PSNR(image, views[round(frame.time * 30)]) > 24


UNREADABLE = [
    (b"hello " * 100, "not a readable video"),
    (b"", "not a readable video"),
    (b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n", "not a readable video"),
    (b"ffconcat version 1.0\nfile '/etc/passwd'\n", "not a readable video"),
    (b"\0\0\0\x18ftypisom\0\0\0\0isommp42" + b"\0" * 500, "not a readable video|no pictures"),
]


@pytest.mark.parametrize(("data", "message"), UNREADABLE, ids=["text", "empty", "m3u", "concat", "no index"])
def test_what_is_no_video_is_refused_by_name(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "holiday.mp4"
    path.write_bytes(data)
    with pytest.raises(InputError, match=message) as caught:
        probe_video(path)
    assert "holiday.mp4" in caught.value.message
    assert caught.value.hint


def test_sound_without_pictures_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(InputError, match=r"song\.mp4 has no pictures"):
        probe_video(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.mp4 does not exist"):
        probe_video(tmp_path / "gone.mp4")


def test_huge_frames_are_refused_before_decoding(
    tmp_path: Path, views: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_video(tmp_path / "v.mp4", views[:2])
    monkeypatch.setattr(video, "MAX_VIDEO_PIXELS", 320 * 240 - 1)
    with pytest.raises(InputError, match="320 x 240 pixels, which is too large"):
        VideoReader(path)


def test_a_file_with_a_header_only_has_no_frame(tmp_path: Path, views: list[np.ndarray]) -> None:
    data = write_video(tmp_path / "whole.mkv", views).read_bytes()
    path = tmp_path / "stub.mkv"
    path.write_bytes(data[:700])
    with pytest.raises(InputError, match=r"stub\.mkv"):
        probe_video(path)
