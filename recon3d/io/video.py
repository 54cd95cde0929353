"""Reading videos: headers, frames by time stamp, damaged and truncated files.

Decoding is FFmpeg's, through PyAV. It crashes on hostile files more readily than the rest of this
package: only `probe_video` belongs in the calling process, everything else in workers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal

import av
import av.error
import av.stream
import cv2
import numpy as np
from numpy.typing import NDArray

from recon3d.errors import InputError
from recon3d.io.deinterlace import Deinterlacer
from recon3d.io.video_frame import Frame, is_hdr, to_bgr
from recon3d.io.video_info import VideoInfo

#: Frames with more pixels are refused before any of them is decoded.
MAX_VIDEO_PIXELS = 8192 * 8192

# Without these lists a "video" can be a playlist that names other files or addresses.
_OPEN_OPTIONS = {
    "protocol_whitelist": "file",
    "format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,asf",
}
_HINT = (
    "Give an MP4, MOV, MKV, WebM, AVI, MTS, 3GP, MPG or WMV file; convert others with ffmpeg. A file "
    "that was cut off while it was copied or recorded cannot be read either: copy it again."
)


class _Nameless:
    """A file without its name, in which FFmpeg looks for protocols, patterns and formats."""

    def __init__(self, file: BinaryIO) -> None:
        self.read, self.seek, self.tell = file.read, file.seek, file.tell


class VideoReader:
    """Decodes a video's frames in the order of time.

    Parameters
    ----------
    path : Path
    references_only : bool
        Skip frames that no other frame depends on: about half of them, at two thirds of the cost.
    strict : bool
        Refuse H.264 data with any flaw, where FFmpeg would guess what is missing. Some cameras
        write flaws that do no harm: go back to False where much is refused.
    interlaced : {"", "marked", "all"}
        What is known of the video: whether frames are marked as interlaced, or all are without being
        marked. Then every frame is decoded, because deinterlacing looks at the ones before and after.

    Attributes
    ----------
    errors : int
        Packets that could not be decoded, so far.
    deinterlaced : int
        Frames that were deinterlaced, so far.

    Raises
    ------
    InputError
        The file is missing, is no video, has no pictures, or is too large.
    """

    def __init__(
        self,
        path: Path,
        *,
        references_only: bool = False,
        strict: bool = False,
        interlaced: Literal["", "marked", "all"] = "",
    ) -> None:
        self.path = Path(path)
        self.errors = self.deinterlaced = 0
        self._interlaced = interlaced
        self._closing = contextlib.ExitStack()
        self._container: Any
        try:
            with contextlib.ExitStack() as opened:
                file = opened.enter_context(open(path, "rb"))
                self._container = opened.enter_context(av.open(_Nameless(file), options=_OPEN_OPTIONS))
                self._closing = opened.pop_all()
        except FileNotFoundError as error:
            raise InputError(f"{path} does not exist.", "Check the file's name and folder.") from error
        except PermissionError as error:
            raise InputError(f"{path} may not be read.", "Check the file's permissions.") from error
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise InputError(f"{path} is not a readable video: {_reason(error)}.", _HINT) from error
        try:
            self._stream, self._others, self._choice = self._find_stream()
            self._stream.thread_type = "SLICE"  # frame threads would delay `wanted`'s skipping
            self._stream.codec_context.thread_count = 1
            if references_only and not interlaced:
                self._stream.codec_context.skip_frame = "NONREF"
            if strict and self._stream.codec_context.name == "h264":
                self._stream.codec_context.options = {"err_detect": "explode"}
        except BaseException:
            self._closing.close()
            raise
        self._skip = self._stream.codec_context.skip_frame
        # AVI has decoding times only, which are not those of the frames that come out. MPEG streams
        # have no index: FFmpeg cannot even go back to their first frame.
        self._has_pts = self._container.format.name != "avi"
        self._has_index = self._container.format.name not in ("avi", "mpegts", "mpeg")
        self.time_base: Fraction = self._stream.time_base or Fraction(1, 1000)
        self._start: int = self._stream.start_time or 0

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.close()

    def _find_stream(self) -> tuple[Any, list[Any], str]:
        """The stream to read as players choose it, the ones beside it, and why (`VideoInfo.choice`)."""
        # Cover pictures and thumbnails are video streams, too.
        kinds = av.stream.Disposition
        pictures = kinds.attached_pic | kinds.timed_thumbnails | kinds.still_image
        streams = [s for s in self._container.streams.video if not s.disposition & pictures]
        if not streams:
            raise InputError(f"{self.path} has no pictures, only sound or text.", _HINT)
        readable = [s for s in streams if s.codec_context is not None and s.width * s.height]
        if not readable:
            raise InputError(
                f"{self.path} is coded in a way that is not supported.", "Convert it to H.264 with ffmpeg."
            )
        default = [s for s in streams if s.disposition & kinds.default]
        stream = next((s for s in readable if s in default), readable[0])
        others = [s for s in streams if s is not stream]
        choice = _choice(stream, streams, default)
        if stream.width * stream.height > MAX_VIDEO_PIXELS:
            size = f"{stream.width} x {stream.height} pixels"
            raise InputError(
                f"{self.path} has frames of {size}, which is too large.{_beside(stream, others)}",
                "Scale it down to 8192 x 8192 or less.",
            )
        return stream, others, choice

    @property
    def container(self) -> Any:
        """PyAV's container, for what it says beside the pictures."""
        return self._container

    @property
    def stream(self) -> Any:
        """PyAV's stream of the pictures."""
        return self._stream

    @property
    def interlaced_stream(self) -> bool:
        """Whether the stream's order of fields says interlaced; PyAV before 18 does not tell."""
        return int(getattr(self._stream.codec_context, "field_order", 0)) > 1

    @property
    def seekable(self) -> bool:
        """Whether `seek` can find key frames."""
        return self._has_index

    @property
    def duration(self) -> float | None:
        """Seconds, as the header has it."""
        if self._stream.duration:
            return float(self._stream.duration * self.time_base)
        if self._container.duration:
            return float(self._container.duration / 1_000_000)
        return None

    @property
    def frame_rate(self) -> float | None:
        """Mean frames per second, as the header has it."""
        rate = self._stream.average_rate or self._stream.guessed_rate
        return float(rate) if rate else None

    def info(self) -> VideoInfo:
        """Describe the video; decodes its first frame.

        Returns
        -------
        VideoInfo

        Raises
        ------
        InputError
            No frame can be decoded.
        """
        first = next(self.frames(), None)
        if first is None:
            raise InputError(
                f"{self.path} has no frame that can be decoded.{_beside(self._stream, self._others)}",
                "The file is damaged or incomplete: copy it again from the camera.",
            )
        width, height = self._display_size(first.raw)
        rotation = int(first.raw.rotation) % 360
        if rotation % 180:
            width, height = height, width
        return VideoInfo(
            width=width,
            height=height,
            duration=self.duration,
            frame_rate=self.frame_rate,
            rotation=rotation,
            codec=str(self._stream.codec_context.name),
            hdr=is_hdr(first.raw),
            interlaced=self.deinterlaced > 0 or self.interlaced_stream,
            stream=_described(self._stream),
            other_streams=tuple(_described(stream) for stream in self._others),
            choice=self._choice,
        )

    def _display_size(self, raw: Any) -> tuple[int, int]:
        """Width and height with square pixels, before rotation."""
        aspect = self._stream.sample_aspect_ratio or Fraction(1)
        width, height = int(raw.width), int(raw.height)
        return (round(width * aspect) if 0.2 < aspect < 5 else width), height

    def seek(self, time: float) -> float | None:
        """Go to a key frame at or before `time`.

        Parameters
        ----------
        time : float
            Seconds since the video's start.

        Returns
        -------
        float or None
            Time of the key frame where decoding resumes; None when the container does not allow it.
            Then a new reader is needed to begin anew.
        """
        if not self._has_index:
            return None
        for margin in (0.0, 1.0, 4.0, 16.0):
            # Indexes are by decoding time, which can lead to a key frame just after the wanted one.
            offset = self._start + int((time - margin) / self.time_base)
            key = self._first_key(max(offset, self._start))
            if key is None or key <= time + 1e-6:
                return key
        self._container.seek(self._start, stream=self._stream)
        return 0.0

    def _first_key(self, offset: int) -> float | None:
        try:
            self._container.seek(offset, stream=self._stream)
            for packet in self._container.demux(self._stream):
                if packet.is_keyframe and packet.pts is not None:
                    self._container.seek(offset, stream=self._stream)
                    return float((packet.pts - self._start) * self.time_base)
        except (av.error.FFmpegError, OSError, ValueError):
            pass
        self._rewind()
        return None

    def _rewind(self) -> None:
        with contextlib.suppress(av.error.FFmpegError, OSError, ValueError):
            self._container.seek(self._start, stream=self._stream, any_frame=True)

    def frames(self, wanted: frozenset[int] | None = None) -> Iterator[Frame]:
        """Decode from the current place to the end; interlaced frames are deinterlaced.

        Packets that cannot be decoded are counted in `errors` and skipped; the frames that
        follow are marked as damaged up to the next key frame.

        Parameters
        ----------
        wanted : frozenset of int, optional
            Time stamps (pts) of the frames that are needed; others may be left out to save time.

        Yields
        ------
        Frame
        """
        fields: Deinterlacer | None = None
        for frame in self._decode(wanted):
            self.deinterlaced += bool(frame.raw.interlaced_frame)
            if fields is None and not frame.raw.interlaced_frame and self._interlaced != "all":
                yield frame
                continue
            fields = fields or Deinterlacer("all" if self._interlaced == "all" else "marked")
            yield from fields.push(frame)
        if fields is not None:
            yield from fields.flush()

    def _decode(self, wanted: frozenset[int] | None) -> Iterator[Frame]:
        damaged = False
        last = None
        first_key = None
        period = round(1 / ((self.frame_rate or 30.0) * self.time_base))
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except (av.error.FFmpegError, OSError, ValueError):
                self.errors += 1  # the file ends in the middle of a packet
                return
            if packet.is_keyframe and first_key is None:
                first_key = packet.pts
            if wanted is not None and self._has_pts and not self._interlaced:
                needed = packet.pts is None or packet.pts in wanted
                self._stream.codec_context.skip_frame = self._skip if needed else "NONREF"
            try:
                decoded = packet.decode()
            except av.error.FFmpegError:
                # After a seek, frames shown before the first key frame lack what they depend on.
                if packet.pts is None or first_key is None or packet.pts > first_key:
                    self.errors += 1
                    damaged = True
                continue
            for raw in decoded:
                pts = raw.pts if self._has_pts else None
                if pts is None or (last is not None and pts <= last):
                    pts = self._start if last is None else last + max(period, 1)  # a period apart
                last = pts
                damaged = damaged and not raw.key_frame
                time = float((pts - self._start) * self.time_base)
                yield Frame(pts, time, bool(raw.key_frame), damaged or bool(raw.is_corrupt), raw)

    def image(self, frame: Frame, max_size: int = 0) -> NDArray[np.uint8]:
        """Colours of a frame: upright, square pixels, HDR brought to the range of photos.

        Parameters
        ----------
        frame : Frame
        max_size : int
            Longer side at most; 0 keeps every pixel.

        Returns
        -------
        ndarray of uint8, shape (H, W, 3)
            BGR.
        """
        raw = frame.raw
        image = to_bgr(raw)
        width, height = self._display_size(raw)
        scale = min(1.0, max_size / max(width, height)) if max_size else 1.0
        size = max(1, round(width * scale)), max(1, round(height * scale))
        if size != (raw.width, raw.height):
            image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        upright: NDArray[np.uint8] = np.ascontiguousarray(np.rot90(image, int(raw.rotation) // 90))
        return upright


def probe_video(path: Path) -> VideoInfo:
    """Describe a video; see `VideoReader.info`.

    Parameters
    ----------
    path : Path

    Returns
    -------
    VideoInfo
    """
    with VideoReader(path) as reader:
        return reader.info()


def _described(stream: Any) -> str:
    codec = stream.codec_context.name if stream.codec_context is not None else "unknown codec"
    return f"stream {stream.index} ({stream.width} x {stream.height}, {codec})"


def _beside(stream: Any, others: list[Any]) -> str:
    return f" The file holds {1 + len(others)} videos; this is {_described(stream)}." if others else ""


def _choice(stream: Any, streams: list[Any], default: list[Any]) -> str:
    if len(default) == 1 and stream in default:
        return "The default"
    if default and stream not in default:
        return "The default cannot be read; the first other that can"
    marked = f"{len(default)} are marked as the default" if default else "None is marked as the default"
    return f"{marked}; the first{'' if stream is (default or streams)[0] else ' that can be read'}"


def _reason(error: Exception) -> str:
    if isinstance(error, av.error.ArgumentError):
        return "its container is not supported"  # what FFmpeg says of a format that is not allowed
    if isinstance(error, av.error.InvalidDataError):
        return "it is damaged or incomplete"
    return str(getattr(error, "strerror", None) or error).rstrip(".").lower()
