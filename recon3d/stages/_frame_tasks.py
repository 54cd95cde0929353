"""What frame_extraction does in worker processes: scanning videos, writing frames, taking photos."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from recon3d.errors import InputError
from recon3d.io.files import atomic_path, read_json, write_json
from recon3d.io.images import check_photo, photo_metadata, probe_photo, read_photo
from recon3d.io.video import Frame, VideoInfo, VideoReader
from recon3d.selection.motion import MOTION_SIZE, MotionTracker
from recon3d.selection.sharpness import SHARPNESS_SIZE, sharpness

#: Seconds of video that one task scans, at least.
PART_SECONDS = 12.0
#: Frames per second that are looked at, about.
_SCAN_RATE = 30.0
#: Above this rate, frames that no other depends on are not decoded.
_FAST_RATE = 40.0
_JPEG_QUALITY = 95
_PHOTO_QUALITY = 97


@dataclass(frozen=True)
class Problem:
    """An input that cannot be used, and why."""

    message: str
    hint: str


@dataclass(frozen=True)
class VideoPlan:
    """A video, and the times of the key frames at which its parts begin; one None: not divisible."""

    info: VideoInfo
    starts: tuple[float | None, ...]

    @property
    def references_only(self) -> bool:
        """Whether half of the frames are enough."""
        return (self.info.frame_rate or 0.0) > _FAST_RATE

    @property
    def memory(self) -> int:
        """Bytes that decoding takes at its peak."""
        return 200_000_000 + self.info.width * self.info.height * 60


def plan_video(path: Path) -> VideoPlan | Problem:
    """Open a video and find out where it can be divided."""
    try:
        with VideoReader(path) as reader:
            info = reader.info()
            duration = info.duration or 0.0
            times = np.arange(PART_SECONDS, duration - PART_SECONDS / 2, PART_SECONDS)
            first = reader.seek(0.0)
            if first is None:
                return VideoPlan(info, (None,))
            starts = {0.0}
            for time in times:
                key = reader.seek(float(time))
                if key is None:
                    return VideoPlan(info, (None,))
                starts.add(key)
            return VideoPlan(info, tuple(sorted(starts)))
    except InputError as error:
        return Problem(error.message, error.hint)


@dataclass(frozen=True)
class ScanTask:
    """A part of a video to look through: from `start` to before `stop` (seconds)."""

    path: Path
    start: float | None
    stop: float | None
    references_only: bool
    result: Path


def scan_part(task: ScanTask) -> None:
    """Measure sharpness and motion of a part's frames; writes an .npz (see `merge_scans`)."""
    if task.result.exists():
        return
    rows: list[tuple[int, float, bool, bool, float, float]] = []
    tracker = MotionTracker()
    size: tuple[int, int] | None = None
    last = -np.inf
    with VideoReader(task.path, references_only=task.references_only) as reader:
        if task.start:
            reader.seek(task.start)
        for frame in reader.frames():
            if task.start and frame.time < task.start - 1e-6:
                continue
            border = task.stop is not None and frame.time >= task.stop - 1e-6
            if not border and frame.time - last < 0.6 / _SCAN_RATE:
                continue
            last = frame.time
            luma = frame.luma()
            size = size or luma.shape
            if luma.shape != size:
                continue  # some recorders change the size while they run; cameras do not
            detail = _fitted(luma, SHARPNESS_SIZE)
            small = _fitted(detail, MOTION_SIZE)
            travel = tracker.update(small)
            if border:
                break
            usable = not frame.damaged and not _is_blank(small)
            rows.append((frame.pts, frame.time, frame.key, usable, sharpness(detail), travel))
        errors = reader.errors
    pts, times, keys, usable_rows, sharp, travels = zip(*rows, strict=True) if rows else ((),) * 6
    with atomic_path(task.result) as temporary:
        np.savez(
            temporary,
            pts=np.array(pts, np.int64),
            time=np.array(times, np.float64),
            key=np.array(keys, bool),
            usable=np.array(usable_rows, bool),
            sharpness=np.array(sharp, np.float64),
            travel=np.array(travels, np.float64),
            end_travel=tracker.travel,
            errors=errors,
        )


def merge_scans(parts: list[Path]) -> dict[str, NDArray[Any]]:
    """Put a video's scanned parts together.

    Returns
    -------
    dict of str to ndarray, each of shape (N,)
        pts, time, key, usable, sharpness, travel; and errors, shape ().
    """
    columns: dict[str, list[NDArray[Any]]] = {}
    offset, errors = 0.0, 0
    for path in parts:
        with np.load(path) as data:
            for name in ("pts", "time", "key", "usable", "sharpness"):
                columns.setdefault(name, []).append(data[name])
            columns.setdefault("travel", []).append(data["travel"] + offset)
            offset += float(data["end_travel"])
            errors += int(data["errors"])
    merged = {name: np.concatenate(values) for name, values in columns.items()}
    return {**merged, "errors": np.array(errors)}


@dataclass(frozen=True)
class WriteTask:
    """Frames of a video to write: (pts, file) by the key frame (seconds) to decode from."""

    path: Path
    references_only: bool
    groups: tuple[tuple[float | None, tuple[tuple[int, Path], ...]], ...]
    max_size: int


def write_frames(task: WriteTask) -> list[str]:
    """Decode the chosen frames and write them as JPEG; returns the names that were not found."""
    missing: dict[int, Path] = {}
    with VideoReader(task.path, references_only=task.references_only) as reader:
        for key, targets in task.groups:
            wanted = dict(targets)
            if key is not None:
                reader.seek(key)
            for frame in _wanted(reader, wanted):
                _write_frame(reader, frame, wanted[frame.pts], task.max_size)
            missing |= {pts: file for pts, file in wanted.items() if not file.exists()}
    if missing:
        # The container's index leads astray: look through everything from the beginning.
        with VideoReader(task.path, references_only=task.references_only) as reader:
            for frame in _wanted(reader, missing):
                _write_frame(reader, frame, missing[frame.pts], task.max_size)
    return [file.name for file in missing.values() if not file.exists()]


def _wanted(reader: VideoReader, wanted: dict[int, Path]) -> Iterator[Frame]:
    last = max(wanted)
    for frame in reader.frames(frozenset(wanted)):
        if frame.pts in wanted:
            yield frame
        if frame.pts >= last:
            return


def _write_frame(reader: VideoReader, frame: Frame, file: Path, max_size: int) -> None:
    image = reader.image(frame, max_size)
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    with atomic_path(file) as temporary:
        temporary.write_bytes(data.tobytes())


@dataclass(frozen=True)
class PhotoTask:
    """A photo to take: its file, the folder for images, its name there, and the notes about it."""

    source: Path
    folder: Path
    name: str
    kind: Literal["photo", "posed_photo"]
    notes: Path


@dataclass(frozen=True)
class PhotoRecord:
    """A photo that was taken; `camera` is equal for photos that can share intrinsics."""

    name: str
    width: int
    height: int
    sharpness: float
    focal_px: float | None
    gps: tuple[float, float, float] | None
    camera: str


def take_photo(task: PhotoTask) -> PhotoRecord | Problem:
    """Check a photo and put it into the images' folder, upright.

    A file that is upright and plain is copied byte for byte, and so is every photo with a known
    camera, whose pixels must stay where they are.
    """
    if task.notes.exists():
        return PhotoRecord(**read_json(task.notes))
    try:
        info = probe_photo(task.source)
        detail = _fitted(check_photo(task.source, SHARPNESS_SIZE), SHARPNESS_SIZE)
        width, height = info.width, info.height
        if task.kind == "posed_photo":
            name = task.name
            if info.exif.orientation >= 5:
                width, height = height, width
            _copy(task.source, task.folder / name)
        else:
            name = f"{task.name}.{'jpg' if info.format == 'JPEG' else 'png'}"
            if info.plain and info.exif.orientation == 1:
                _copy(task.source, task.folder / name)
            else:
                _write_photo(task.source, task.folder / name)
    except InputError as error:
        return Problem(error.message, error.hint)
    record = PhotoRecord(
        name=name,
        width=width,
        height=height,
        sharpness=sharpness(detail),
        focal_px=info.exif.focal_px,
        gps=info.exif.gps,
        camera=repr((info.camera_key, width, height)),
    )
    write_json(task.notes, asdict(record))
    return record


def _copy(source: Path, target: Path) -> None:
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)


def _write_photo(source: Path, target: Path) -> None:
    image = Image.fromarray(read_photo(source)[..., ::-1])
    data = io.BytesIO()
    if target.suffix == ".jpg":
        image.save(data, "JPEG", quality=_PHOTO_QUALITY, subsampling=0, **photo_metadata(source))
    else:
        image.save(data, "PNG", compress_level=3)
    with atomic_path(target) as temporary:
        temporary.write_bytes(data.getvalue())


def _fitted(gray: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    scale = size / max(gray.shape)
    if scale >= 1:
        return gray
    return cv2.resize(gray, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def _is_blank(gray: NDArray[np.uint8]) -> bool:
    """Whether there is nothing to see: a lens cap, a fade, a flash."""
    return float(gray.std()) < 4.0 or float(np.percentile(gray, 98)) < 36.0
