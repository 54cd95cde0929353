"""A sample of the images of the inputs: small, grey, and in couples of neighbours."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from recon3d.errors import InputError
from recon3d.io.images import PhotoInfo, brightest_value, check_photo, probe_photo, read_photo
from recon3d.io.photo_depth import bits_used
from recon3d.io.video import VideoReader
from recon3d.io.video_info import VideoInfo
from recon3d.preflight.travel import video_travel

#: Longer side of a sample.
SIZE = 640
#: Images that are looked at.
MOST = 32
#: Photos of which each is compared with the next three: small sets are often in no order.
_SMALL = 12
#: Key frames below which a video is decoded frame by frame.
_FEW_KEYS = 16
#: Seconds between samples of a video at least: neighbours must have moved.
_STEP = 0.4
#: Seconds in which the motion of the videos is measured.
_TRAVEL_SECONDS = 2.0


@dataclass(frozen=True)
class Sample:
    """An image that is looked at.

    Attributes
    ----------
    name : str
    gray : ndarray of uint8, shape (H, W)
        At `SIZE`.
    focal : float or None
        Focal length in pixels of `gray`, where the metadata have it.
    """

    name: str
    gray: NDArray[np.uint8]
    focal: float | None = None


@dataclass(frozen=True)
class Drawn:
    """What was drawn from the inputs.

    Attributes
    ----------
    samples : tuple of Sample
    pairs : tuple of (int, int)
        Samples that should overlap.
    photos : tuple of PhotoInfo
    videos : tuple of VideoInfo
    unreadable : tuple of str
        Why files could not be read.
    photo_samples : int
        Samples that are photos: the first ones.
    travels : tuple of float
        How far the image travels through each video, as a fraction of its longer side.
    """

    samples: tuple[Sample, ...]
    pairs: tuple[tuple[int, int], ...]
    photos: tuple[PhotoInfo, ...]
    videos: tuple[VideoInfo, ...]
    unreadable: tuple[str, ...]
    photo_samples: int
    travels: tuple[float, ...]


def draw(photos: Sequence[Path], videos: Sequence[Path], seconds: float = 8.0) -> Drawn:
    """Draw samples from photos and videos.

    Parameters
    ----------
    photos, videos : sequence of Path
    seconds : float
        How long the videos may take; after that the rest of the samples is left out.

    Returns
    -------
    Drawn
    """
    infos: list[PhotoInfo] = []
    readable: list[tuple[Path, PhotoInfo]] = []
    unreadable: list[str] = []
    for path in photos:
        try:
            readable.append((path, probe_photo(path)))
            infos.append(readable[-1][1])
        except InputError as error:
            unreadable.append(error.message)
    share = max(4, MOST // (len(videos) + bool(photos))) if videos else MOST
    samples: list[Sample] = []
    pairs: list[tuple[int, int]] = []
    previous = -2
    looked_at = _couples(len(readable), share)
    bits = _bits([readable[index] for index in looked_at])
    for index in looked_at:
        path, info = readable[index]
        try:
            samples.append(_photo(path, info, bits))
        except InputError as error:
            unreadable.append(error.message)
            continue
        if index == previous + 1:
            pairs.append((len(samples) - 2, len(samples) - 1))
        previous = index
    if len(samples) <= _SMALL:
        pairs = [(i, j) for i in range(len(samples)) for j in range(i + 1, min(i + 4, len(samples)))]
    found: list[VideoInfo] = []
    travels: list[float] = []
    photo_samples = len(samples)
    for path in videos:
        try:
            taken, video, travel = _video(path, share, seconds / len(videos), _TRAVEL_SECONDS / len(videos))
        except InputError as error:
            unreadable.append(error.message)
            continue
        start = len(samples)
        samples += taken
        found.append(video)
        travels.append(travel)
        pairs += [(i, i + 1) for i in range(start, len(samples) - 1)]
    return Drawn(
        tuple(samples), tuple(pairs), tuple(infos), tuple(found), tuple(unreadable), photo_samples,
        tuple(travels),
    )  # fmt: skip


def _couples(count: int, most: int) -> list[int]:
    """Indices of neighbours, spread evenly."""
    if count <= most:
        return list(range(count))
    starts = np.linspace(0, count - 2, most // 2).round().astype(int)
    return sorted({int(i) for start in starts for i in (start, start + 1)})


def small(gray: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Reduce an image to `SIZE`.

    Parameters
    ----------
    gray : ndarray of uint8, shape (H, W)

    Returns
    -------
    ndarray of uint8, shape (H, W)
    """
    scale = SIZE / max(gray.shape)
    if scale >= 1:
        return np.ascontiguousarray(gray)
    size = max(1, round(gray.shape[1] * scale)), max(1, round(gray.shape[0] * scale))
    return np.asarray(cv2.resize(gray, size, interpolation=cv2.INTER_AREA), np.uint8)


def _bits(photos: Sequence[tuple[Path, PhotoInfo]]) -> int:
    """Bits a channel that deep photos use, as frame_extraction finds them for the whole set."""
    brightest = []
    for path, info in photos:
        if info.bits > 8:
            with contextlib.suppress(InputError):  # `_photo` tells why
                brightest.append(brightest_value(path))
    return bits_used(max(brightest)) if brightest else 16


def _photo(path: Path, info: PhotoInfo, bits: int) -> Sample:
    if info.bits > 8:
        read = cv2.cvtColor(read_photo(path, bits=bits).rgb, cv2.COLOR_RGB2GRAY)
        gray = small(np.asarray(read, np.uint8))
    else:
        gray = small(check_photo(path, SIZE))
    focal = info.exif.focal_px
    scale = max(gray.shape) / max(info.width, info.height)
    return Sample(path.name, gray, None if focal is None else focal * scale)


def _video(path: Path, most: int, seconds: float, following: float) -> tuple[list[Sample], VideoInfo, float]:
    """Samples, the facts of the video, and how far its image travels."""
    with VideoReader(path) as reader:
        info = reader.info()
        duration = info.duration or 0.0
        wanted = int(np.clip(duration / _STEP, 2, most))
        times = np.linspace(0, duration, wanted + 1)[:-1] + duration / wanted / 2
        samples = _at_keys(reader, path.name, times, seconds / 2)
        travel = video_travel(reader, following) if reader.seekable else None
    if len(samples) < min(_FEW_KEYS, wanted):
        samples = _in_order(path, times, seconds)
    if travel is None:
        with VideoReader(path) as reader:
            travel = video_travel(reader, following)
    return samples, info, travel


def _at_keys(reader: VideoReader, name: str, times: NDArray[np.float64], seconds: float) -> list[Sample]:
    """The key frames before these times: what lies between them need not be decoded."""
    started = time.monotonic()
    taken: dict[int, Sample] = {}
    for moment in times:
        if reader.seek(float(moment)) is None or time.monotonic() - started > seconds:
            break
        frame = next(reader.frames(), None)
        if frame is not None and frame.key and frame.pts not in taken:
            taken[frame.pts] = Sample(f"{name} at {frame.time:.1f} s", small(frame.luma()))
    return [taken[pts] for pts in sorted(taken)]


def _in_order(path: Path, times: NDArray[np.float64], seconds: float) -> list[Sample]:
    started = time.monotonic()
    samples: list[Sample] = []
    with VideoReader(path, references_only=True) as reader:
        for frame in reader.frames():
            if len(samples) == len(times) or time.monotonic() - started > seconds:
                break
            if frame.time >= times[len(samples)] and not frame.damaged:
                samples.append(Sample(f"{path.name} at {frame.time:.1f} s", small(frame.luma())))
    return samples
