"""Facts about a video, from its header, its metadata tracks, one frame, and the subtitles beside it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import av.error

from recon3d.io.video import VideoReader
from recon3d.io.video_frame import is_hdr
from recon3d.io.video_info import VideoInfo
from recon3d.preflight import gpmf
from recon3d.preflight.facts import Fact
from recon3d.preflight.interlacing import interlaced_fact
from recon3d.preflight.srt import read_srt, sidecar
from recon3d.preflight.track import Position, gps_fact, is_place

# ITU-T H.273, as far as cameras write it; 2 means that the file does not say.
_MATRICES = {0: "RGB", 1: "BT.709", 5: "BT.601 (625 lines)", 6: "BT.601 (525 lines)", 9: "BT.2020"}
_TRANSFERS = {
    1: "BT.709",
    6: "BT.601",
    8: "linear",
    13: "sRGB",
    14: "BT.2020",
    15: "BT.2020",
    16: "PQ (HDR10, Dolby Vision)",
    18: "HLG",
}
_PRIMARIES = {1: "BT.709", 5: "BT.601 (625 lines)", 6: "BT.601 (525 lines)", 9: "BT.2020", 12: "Display P3"}
_RANGES = {1: "limited", 2: "full"}
#: ISO 6709: degrees with signs, and an altitude in metres or none.
_ISO6709 = re.compile(r"([+-]\d+(?:\.\d+)?)([+-]\d+(?:\.\d+)?)([+-]\d+(?:\.\d+)?)?")
_LOCATIONS = {
    "com.apple.quicktime.location.ISO6709": "QuickTime metadata com.apple.quicktime.location.ISO6709",
    "location": "QuickTime user data ©xyz",
    "location-eng": "QuickTime user data ©xyz",
}
#: Name of the handler of GoPro's metadata track; FFmpeg does not tell its tag, gpmd.
_GOPRO = re.compile(r"GoPro\s+MET")
_CREATED = ("com.apple.quicktime.creationdate", "creation_time")
#: Packets of a metadata track that are read: ten hours of GoPro's.
_MOST_PACKETS = 36_000


def video_facts(path: Path) -> tuple[Fact, ...]:
    """Gather the facts.

    Parameters
    ----------
    path : Path

    Returns
    -------
    tuple of Fact
    """
    with VideoReader(path) as reader:
        info = reader.info()
        container, stream = reader.container, reader.stream
        metadata = {**container.metadata, **stream.metadata}
        facts = [
            Fact("container", container.format.name, container.format.long_name, "header"),
            _streams(info),
            Fact("codec", info.codec, _codec(stream), "header"),
            Fact("bytes", path.stat().st_size, f"{path.stat().st_size / 1e6:.1f} MB", "file"),
            Fact("size", [info.width, info.height], f"{info.width} x {info.height}, upright", "first frame"),
        ]
        if info.duration:
            facts.append(Fact("duration", round(info.duration, 3), f"{info.duration:.2f} s", "header"))
        if info.frame_rate:
            rate = round(info.frame_rate, 3)
            facts.append(Fact("frame_rate", rate, f"{rate:g} frames/s", "header, mean"))
        if stream.frames:
            facts.append(Fact("frames", stream.frames, str(stream.frames), "header"))
        if info.rotation:
            turn = info.rotation
            facts.append(Fact("rotation", turn, f"{turn}° anticlockwise", "display matrix"))
        facts += _picture(reader)
        facts.append(interlaced_fact(path))
        facts += _described(metadata)
        facts += _gps(container, metadata)
    beside = sidecar(path)
    if beside is not None:
        track, focal = read_srt(beside)
        place = gps_fact(track, f"subtitles {beside.name}")
        if place and not any(fact.name == "gps" for fact in facts):
            facts.append(place)
        if focal:
            facts.append(Fact("focal_35mm", focal, f"{focal:g} mm", f"subtitles {beside.name}"))
    return tuple(facts)


def _streams(info: VideoInfo) -> Fact:
    number = 1 + len(info.other_streams)
    text = f"{number}. {info.choice}, {info.stream}, is used" if number > 1 else "1"
    return Fact("video_streams", number, text, "header")


def _codec(stream: Any) -> str:
    context = stream.codec_context
    parts = [context.codec.long_name or context.name, context.profile, context.pix_fmt]
    return ", ".join(str(part) for part in parts if part)


def _picture(reader: VideoReader) -> list[Fact]:
    """Colour and depth, which only a decoded frame tells for certain."""
    reader.seek(0.0)
    first = next(reader.frames(), None)
    if first is None:
        return []
    raw = first.raw
    bits = max((component.bits for component in raw.format.components), default=8)
    facts = [Fact("bits", bits, f"{bits} bits a sample, {raw.format.name}", "first frame")]
    for name, value, names in (
        ("colour_space", raw.colorspace, _MATRICES),
        ("transfer", raw.color_trc, _TRANSFERS),
        ("primaries", raw.color_primaries, _PRIMARIES),
        ("range", raw.color_range, _RANGES),
    ):
        text = names.get(int(value))
        if text is not None:
            facts.append(Fact(name, text, text, "first frame"))
    hdr = is_hdr(raw)
    facts.append(Fact("hdr", hdr, "yes" if hdr else "no", "transfer of the first frame"))
    return facts


def _described(metadata: Mapping[str, str]) -> list[Fact]:
    facts = []
    for key in _CREATED:
        if metadata.get(key):
            facts.append(Fact("created", metadata[key], metadata[key], f"metadata {key}"))
            break
    make, model = (
        metadata.get(f"com.apple.quicktime.{key}") or metadata.get(key, "") for key in ("make", "model")
    )
    camera = f"{make} {model}".strip() or metadata.get("com.android.model", "")
    if camera:
        facts.append(Fact("camera", camera, camera, "metadata"))
    focal = metadata.get("com.apple.quicktime.camera.focal_length.35mm_equivalent")
    with contextlib.suppress(ValueError):
        if focal:
            facts.append(Fact("focal_35mm", float(focal), f"{float(focal):g} mm", "QuickTime metadata"))
    return facts


def _gps(container: Any, metadata: Mapping[str, str]) -> list[Fact]:
    found = [gps_fact(_gopro(container), "GoPro GPMF track")]
    for key, source in _LOCATIONS.items():
        found.append(gps_fact(iso6709(metadata.get(key, "")), source))
    return [fact for fact in found if fact is not None][:1]


def iso6709(text: str) -> list[Position]:
    """Read a position such as ``+47.3769+008.5417+408.0/``.

    Parameters
    ----------
    text : str

    Returns
    -------
    list of Position
        One, or none where the text is not a position.
    """
    match = _ISO6709.match(text)
    if match is None or not is_place(float(match[1]), float(match[2])):
        return []
    return [Position(float(match[1]), float(match[2]), float(match[3]) if match[3] else None)]


def _gopro(container: Any) -> list[Position]:
    """Positions of GoPro's metadata track; what is damaged ends it."""
    tracks = [s for s in container.streams.data if _GOPRO.search(s.metadata.get("handler_name", ""))]
    track: list[Position] = []
    if not tracks:
        return track
    with contextlib.suppress(av.error.FFmpegError, OSError, ValueError):
        container.seek(0)
        for number, packet in enumerate(container.demux(tracks[0])):
            if number > _MOST_PACKETS:
                break
            time = float(packet.pts * packet.time_base) if packet.pts is not None else None
            track += gpmf.positions(bytes(packet), time)
    return track
