"""A corpus of small video files as cameras, phones and accidents make them.

``python -m tests.synthetic.corpus_videos FOLDER`` writes them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from tests.synthetic.media import Image, slide, texture, write_streams, write_video

RATE = 25
#: One view a field: frame k of the videos shows the view 2 k.
FIELDS = slide(texture(900, 400), [100 + 3 * k for k in range(48)])
VIEWS = FIELDS[::2]
#: FFmpeg's flags for interlaced motion estimation and transform.
_INTERLACED = 0x20000000 | 0x00040000
_GOOD = {"qmin": "2", "qmax": "4"}


@dataclass(frozen=True)
class Video:
    """A file of the corpus.

    Attributes
    ----------
    what : str
        Container, codec, depth, and what is special; names it in the table.
    file : str or bytes
        Its name.
    make : callable
        Writes it.
    says : str
        What must be told when it is used, or why it is refused; "" when there is nothing to say.
    usable : bool
        Whether frames come of it.
    shown : tuple of int
        Width and height of the frames.
    error : float
        Colour error (ΔE of CIE 1976, of areas of 8 x 8 pixels) that its coding may cause at most.
    last : float
        Seconds that it shows at least.
    fewest : int
        Frames that can be taken at least.
    times : tuple of float
        When each of the views begins, where the rate varies.
    """

    what: str
    file: str | bytes
    make: Callable[[Path], object]
    says: str = ""
    usable: bool = True
    shown: tuple[int, int] = (320, 240)
    error: float = 2.0
    last: float = 0.85
    fewest: int = 9
    times: tuple[float, ...] = ()

    @property
    def name(self) -> str:
        """The file's name as Python has it."""
        return os.fsdecode(self.file)

    def truth(self, time: float) -> Image:
        """What it shows at a time since its start."""
        index = (
            2 * int(np.argmin(np.abs(np.array(self.times) - time))) if self.times else round(2 * RATE * time)
        )
        return cv2.resize(FIELDS[min(index, len(FIELDS) - 1)], self.shown)


@dataclass(frozen=True)
class _Coded:
    """Writes the views with some encoder."""

    codec: str
    pix_fmt: str = "yuv420p"
    options: Mapping[str, str] = field(default_factory=dict)
    views: Sequence[Image | av.VideoFrame] = tuple(VIEWS)
    size: tuple[int, int] | None = None
    rotation: int = 0
    rate: int = RATE
    pts: Sequence[int] | None = None
    aspect: Fraction | None = None
    flags: int = 0

    def __call__(self, path: Path) -> Path:
        views = list(self.views)
        if self.size is not None:
            views = [cv2.resize(v, self.size) for v in views]
        if self.rotation:
            views = [np.rot90(v, -self.rotation // 90) for v in views]

        def prepare(stream: Any) -> None:
            stream.codec_context.flags |= self.flags
            if self.aspect is not None:
                stream.codec_context.sample_aspect_ratio = self.aspect

        return write_video(
            path,
            views,
            codec=self.codec,
            rate=self.rate,
            pix_fmt=self.pix_fmt,
            options=self.options,
            rotation=self.rotation,
            pts=self.pts,
            prepare=prepare,
        )


def weave(fields: Sequence[Image], *, top_first: bool) -> list[Image]:
    """Interlace: each frame has the lines of two moments."""
    frames = []
    for first, second in zip(fields[::2], fields[1::2], strict=True):
        frame = second.copy()
        start = 0 if top_first else 1
        frame[start::2] = first[start::2]
        frames.append(frame)
    return frames


def interlaced(fields: Sequence[Image], *, top_first: bool) -> list[av.VideoFrame]:
    """Interlaced frames as a camera makes them: each field has colours of its own."""
    height, width = fields[0].shape[:2]
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=width, height=height, format=av.VideoFormat("yuv422p"), time_base=Fraction(1, RATE)
    )
    marked = graph.add("setfield", f"mode={'tff' if top_first else 'bff'}")
    # 4:2:0 with the colours of one field in each line, as interlaced video has them.
    halved = graph.add("scale", "interl=1")
    wanted, sink = graph.add("format", "yuv420p"), graph.add("buffersink")
    for one, two in zip((source, marked, halved, wanted), (marked, halved, wanted, sink), strict=True):
        one.link_to(two)
    graph.configure()
    frames = []
    for index, woven in enumerate(weave(fields, top_first=top_first)):
        frame = av.VideoFrame.from_ndarray(woven, format="bgr24").reformat(format="yuv422p")
        frame.pts = index
        graph.vpush(frame)
        frames.append(graph.vpull())
    return frames


def in_bt709(views: Sequence[Image]) -> list[av.VideoFrame]:
    """Frames with the colours of HD video."""
    frames = []
    for view in views:
        frame = av.VideoFrame.from_ndarray(view, format="bgr24")
        frame = frame.reformat(format="yuv422p", dst_colorspace="ITU709")
        frame.colorspace = 1
        frames.append(frame)
    return frames


def in_hdr(views: Sequence[Image], transfer: int) -> list[av.VideoFrame]:
    """Frames as HDR video has them, 10 bits and BT.2020: 16 is PQ (ITU-R BT.2100), 18 is HLG.

    The light is what a display of 1000 nits shows; the view's white is diffuse white, 203 nits.
    """
    to_bt2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
    frames = []
    for view in views:
        v = view[..., ::-1] / 255.0
        light = np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4) @ to_bt2020.T
        nits = 203 * np.clip(light, 0, None)
        if transfer == 16:
            p = (nits / 10000) ** 0.1593017578125
            rgb = ((0.8359375 + 18.8515625 * p) / (1 + 18.6875 * p)) ** 78.84375
        else:
            scene = (nits / 1000) ** (1 / 1.2)
            upper = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
            rgb = np.where(scene <= 1 / 12, np.sqrt(3 * scene), upper)
        luma = rgb @ [0.2627, 0.6780, 0.0593]
        blue, red = (rgb[..., 2] - luma) / 1.8814, (rgb[..., 0] - luma) / 1.4746
        halved = [cv2.resize(c, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for c in (blue, red)]
        frame = av.VideoFrame(view.shape[1], view.shape[0], "yuv420p10le")
        planes = [64 + 876 * luma, *(512 + 896 * c for c in halved)]
        for plane, codes in zip(frame.planes, planes, strict=True):
            rows = np.zeros((plane.height, plane.line_size // 2), np.uint16)
            rows[:, : plane.width] = np.clip(np.rint(codes), 0, 1023)
            plane.update(rows.tobytes())
        frame.colorspace, frame.color_trc, frame.color_primaries, frame.color_range = 9, transfer, 9, 1
        frames.append(frame)
    return frames


def combs(image: Image) -> float:
    """How much more neighbouring lines differ than lines two apart; below 1 without combs."""
    gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.float64)
    return float(np.abs(gray[1:-1] - gray[:-2]).mean() / np.abs(gray[2:] - gray[:-2]).mean())


def color_error(image: Image, truth: Image) -> float:
    """Mean ΔE (CIE 1976) of areas of 8 x 8 pixels."""
    size = truth.shape[1] // 8, truth.shape[0] // 8
    lab = [
        cv2.cvtColor(
            cv2.resize(i, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255, cv2.COLOR_BGR2LAB
        )
        for i in (image, truth)
    ]
    return float(np.linalg.norm(lab[0] - lab[1], axis=2).mean())


@dataclass(frozen=True)
class _Hdr:
    """Writes the views as HDR video."""

    codec: str
    transfer: int
    options: Mapping[str, str]

    def __call__(self, path: Path) -> Path:
        return _Coded(self.codec, "yuv420p10le", self.options, in_hdr(VIEWS, self.transfer))(path)


_HDR = "colorprim=bt2020:colormatrix=bt2020nc:range=limited"
_H264 = _Coded("libx264", options={"g": "10"})


def _two_streams(path: Path) -> None:
    """A large picture of nothing first, and the views as the default."""
    nothing = [np.full((480, 640, 3), 90, np.uint8)] * len(VIEWS)
    write_streams(path, [(nothing, False), (VIEWS, True)], RATE)


def _sound(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _cut(share: float) -> Callable[[Path], object]:
    def make(path: Path) -> None:
        data = _H264(path).read_bytes()
        path.write_bytes(data[: int(share * len(data))])

    return make


def _scratched(path: Path) -> None:
    data = bytearray(_H264(path).read_bytes())
    start = data.find(b"mdat") + len(data) // 2
    data[start : start + 1500] = bytes(np.random.default_rng(0).integers(0, 256, 1500, dtype=np.uint8))
    path.write_bytes(data)


def _named(name: bytes | str) -> tuple[bytes | str, Callable[[Path], object]]:
    """A name that FFmpeg's writer would misunderstand."""

    def make(path: Path) -> None:
        _H264(path.with_name("plain.mp4")).rename(path)

    return name, make


_VARIABLE = [40 * k + 13 * (k % 3) for k in range(len(VIEWS))]


def _at(milliseconds: Sequence[int]) -> tuple[float, ...]:
    return tuple((m - milliseconds[0]) / 1000 for m in milliseconds)


VIDEOS = (
    # container x codec x depth
    Video("MP4, H.264", "phone.mp4", _H264),
    Video("MP4, H.264, full range", "full.mp4", _Coded("libx264", "yuvj420p")),
    Video(
        "MP4, H.265, 10 bits",
        "phone10.mp4",
        _Coded("libx265", "yuv420p10le", {"x265-params": "log-level=none:crf=18"}),
    ),
    Video(
        "MP4, H.265, 10 bits, HDR (BT.2020 PQ)",
        "hdr10.mp4",
        _Hdr("libx265", 16, {"x265-params": f"log-level=none:crf=12:{_HDR}:transfer=smpte2084"}),
        says="hdr10.mp4 is coded for HDR displays",
        error=3.0,
    ),
    Video(
        "MOV, H.265, 10 bits, HDR (BT.2020 HLG)",
        "hlg.mov",
        _Hdr("libx265", 18, {"x265-params": f"log-level=none:crf=12:{_HDR}:transfer=arib-std-b67"}),
        says="hlg.mov is coded for HDR displays",
        error=3.0,
    ),
    Video("MOV, H.264 4:2:2, 10 bits", "camera.mov", _Coded("libx264", "yuv422p10le")),
    Video("MOV, ProRes, 10 bits", "prores.mov", _Coded("prores_ks", "yuv422p10le")),
    Video("MOV, DNxHR", "dnx.mov", _Coded("dnxhd", "yuv422p", {"profile": "dnxhr_sq"}, in_bt709(VIEWS))),
    Video("MKV, H.265", "screen.mkv", _Coded("libx265", options={"x265-params": "log-level=none:crf=18"})),
    Video("MKV, AV1, 10 bits", "av1.mkv", _Coded("libsvtav1", "yuv420p10le", {"svtav1-params": "preset=12"})),
    Video("MKV, FFV1", "archive.mkv", _Coded("ffv1")),
    Video("WebM, VP9", "web.webm", _Coded("libvpx-vp9", options={"deadline": "realtime", "cpu-used": "8"})),
    Video("WebM, VP8", "old.webm", _Coded("libvpx", options={"deadline": "realtime", "b": "3M"})),
    Video("3GP, H.263", "old.3gp", _Coded("h263", options=_GOOD, size=(352, 288)), shown=(384, 288)),
    Video("3GP, MPEG-4", "less old.3gp", _Coded("mpeg4", options=_GOOD)),
    Video("MTS, H.264", "00001.mts", _Coded("libx264", options={"g": "10", "bf": "2", "preset": "medium"})),
    Video("M2TS, H.264", "00002.m2ts", _H264),
    Video("TS, MPEG-2", "tv.ts", _Coded("mpeg2video", options=_GOOD)),
    Video("MPG, MPEG-2", "dvd.mpg", _Coded("mpeg2video", options=_GOOD)),
    Video("MPG, MPEG-1", "cd.mpg", _Coded("mpeg1video", options=_GOOD)),
    Video("WMV, WMV 8", "windows.wmv", _Coded("wmv2", options=_GOOD)),
    Video("AVI, Motion JPEG", "compact.avi", _Coded("mjpeg", "yuvj422p", _GOOD)),
    Video("AVI, MPEG-4", "divx.avi", _Coded("mpeg4", options=_GOOD)),
    # rotation, pixels, rate
    Video("MP4, turned by 90°", "upright.mp4", _Coded("libx264", rotation=90)),
    Video("MP4, turned by 180°", "upside down.mp4", _Coded("libx264", rotation=180)),
    Video("MOV, turned by 270°", "left.mov", _Coded("libx264", rotation=270)),
    Video("MP4, pixels 4:3", "wide.mp4", _Coded("libx264", aspect=Fraction(4, 3)), shown=(427, 240)),
    Video("MKV, variable rate", "vfr.mkv", _Coded("libx264", rate=1000, pts=_VARIABLE), times=_at(_VARIABLE)),
    Video("MP4, begins at 5 s", "late.mp4", _Coded("libx264", pts=range(125, 149))),
    Video(
        "MP4, 50 frames/s",
        "fast.mp4",
        _Coded("libx264", views=FIELDS, rate=50, options={"bf": "2", "preset": "medium"}),
    ),
    # interlaced, several streams
    Video(
        "MTS, H.264 interlaced, top field first",
        "avchd.mts",
        _Coded(
            "libx264",
            options={"x264-params": "tff=1", "crf": "12"},
            views=interlaced(FIELDS, top_first=True),
            flags=_INTERLACED,
        ),
        says="avchd.mts is interlaced",
    ),
    Video(
        "MPG, MPEG-2 interlaced, bottom field first",
        "dv.mpg",
        _Coded("mpeg2video", "yuv420p", _GOOD, interlaced(FIELDS, top_first=False), flags=_INTERLACED),
        says="dv.mpg is interlaced",
    ),
    Video(
        "MKV, FFV1 interlaced, not marked",
        "captured.mkv",
        _Coded("ffv1", views=weave(FIELDS, top_first=True)),
        says="captured.mkv is interlaced, though it is not marked so",
        error=4.0,
    ),
    Video(
        "MKV, two video streams, the small one is the default",
        "two.mkv",
        _two_streams,
        says="two.mkv holds 2 videos. The default, stream 1 (320 x 240, h264), was used; "
        "stream 0 (640 x 480, h264) was not.",
    ),
    # names
    Video("MP4, called 10:30:45 100% [a].mp4", *_named("10:30:45 100% [a].mp4")),
    Video("MP4, name is not UTF-8", *_named(b"M\xfcller.mp4")),
    Video("MP4, called a.jpg", *_named("a.jpg")),
    # damage
    Video("MKV, cut off in the middle", "cut.mkv", _cut(0.6), says="cut.mkv end after", last=0.3, fewest=3),
    Video("MP4, bytes overwritten", "scratched.mp4", _scratched, says="damaged place", fewest=5),
    Video(
        "MP4, cut off in the middle",
        "cut.mp4",
        _cut(0.6),
        says="cut.mp4 is not a readable video",
        usable=False,
    ),
    Video("MP4, empty", "empty.mp4", Path.touch, says="empty.mp4 is empty", usable=False),
    Video(
        "MP4, a text", "notes.mp4", lambda p: p.write_text("notes " * 99), says="is a text file", usable=False
    ),
    Video("M4A, sound only", "song.m4a", _sound, says="has no pictures, only sound or text", usable=False),
    Video("FLV, H.264", "stream.flv", _H264, says="its container is not supported", usable=False),
)


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    for video in VIDEOS:
        video.make(target / video.name)
