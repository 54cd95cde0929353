"""What frame_extraction does with videos in worker processes: scanning, and writing frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from recon3d.compute import reads
from recon3d.errors import InputError
from recon3d.io.atomic import atomic_path
from recon3d.selection.combs import is_combed
from recon3d.selection.motion import MOTION_SIZE, MotionTracker
from recon3d.selection.sharpness import SHARPNESS_SIZE, sharpness, shrink
from recon3d.stages.frame_extraction.sources import Problem, VideoPlan

if TYPE_CHECKING:
    from recon3d.io.video import VideoReader
    from recon3d.io.video_frame import Frame

#: Seconds of video that one task scans, at least.
PART_SECONDS = 12.0
#: Frames per second that are looked at, about.
_SCAN_RATE = 30.0
_JPEG_QUALITY = 95
#: What a scan counts: packets that could not be decoded, frames that were deinterlaced, frames that
#: were looked at for combs, and frames that have them.
TOTALS = ("errors", "deinterlaced", "looked", "combed")
#: Every so many frames are looked at for combs.
_COMB_STEP = 4


def _open(path: Path, **how: Any) -> VideoReader:
    from recon3d.io.video import VideoReader  # FFmpeg is loaded for videos only

    return VideoReader(path, **how)


def plan_video(path: Path) -> VideoPlan | Problem:
    """Open a video and find where it can be divided.

    Parameters
    ----------
    path : Path

    Returns
    -------
    VideoPlan or Problem
        The plan, or why the video cannot be used.
    """
    try:
        with _open(path) as reader:
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


@reads(lambda task: [task.path, task.result])
def scan_part(task: ScanTask) -> None:
    """Measure sharpness and motion of a part's frames, and write them as .npz (see `merge_scans`).

    Parameters
    ----------
    task : ScanTask
    """
    if task.result.exists():
        return
    rows, travel, totals = _scan(task, strict=True)
    if totals["errors"] > max(10, 0.2 * len(rows)):
        rows, travel, totals = _scan(task, strict=False)
    counted: dict[str, Any] = {name: np.array(total) for name, total in totals.items()}
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
            end_travel=travel,
            **counted,
        )


def _scan(
    task: ScanTask, strict: bool
) -> tuple[list[tuple[int, float, bool, bool, float, float]], float, dict[str, int]]:
    """Rows of pts, time, key, usable, sharpness and travel; travel at the end; and the totals."""
    rows: list[tuple[int, float, bool, bool, float, float]] = []
    tracker = MotionTracker()
    size: tuple[int, ...] | None = None
    last = -np.inf
    totals = dict.fromkeys(TOTALS, 0)
    with _open(task.path, references_only=task.references_only, strict=strict) as reader:
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
            if len(rows) % _COMB_STEP == 0:
                totals["looked"] += 1
                totals["combed"] += is_combed(luma)
            detail = shrink(luma, SHARPNESS_SIZE)
            small = shrink(detail, MOTION_SIZE)
            travel = tracker.update(small)
            if border:
                break  # measured to know how far the next part's first frame is; it is that part's
            usable = not frame.damaged and not _is_blank(small)
            rows.append((frame.pts, frame.time, frame.key, usable, sharpness(detail), travel))
        totals |= {"errors": reader.errors, "deinterlaced": reader.deinterlaced}
        return rows, tracker.travel, totals


def merge_scans(parts: list[Path]) -> dict[str, NDArray[Any]]:
    """Join the scanned parts of a video.

    Parameters
    ----------
    parts : list of Path
        Files of `scan_part`.

    Returns
    -------
    dict of str to ndarray, each of shape (N,)
        pts, time, key, usable, sharpness, travel; and `TOTALS`, shape ().
    """
    columns: dict[str, list[NDArray[Any]]] = {}
    offset, totals = 0.0, dict.fromkeys(TOTALS, 0)
    for path in parts:
        with np.load(path) as data:
            for name in ("pts", "time", "key", "usable", "sharpness"):
                columns.setdefault(name, []).append(data[name])
            columns.setdefault("travel", []).append(data["travel"] + offset)
            offset += float(data["end_travel"])
            for name in totals:
                totals[name] += int(data[name])
    merged = {name: np.concatenate(values) for name, values in columns.items()}
    return merged | {name: np.array(total) for name, total in totals.items()}


@dataclass(frozen=True)
class WriteTask:
    """Frames of a video to write: (pts, file) by the key frame (seconds) to decode from."""

    path: Path
    references_only: bool
    interlaced: Literal["", "marked", "all"]
    groups: tuple[tuple[float | None, tuple[tuple[int, Path], ...]], ...]
    max_size: int


@reads(lambda task: [task.path, *(file for _, group in task.groups for _, file in group)])
def write_frames(task: WriteTask) -> list[str]:
    """Decode the chosen frames and write them as JPEG.

    Parameters
    ----------
    task : WriteTask

    Returns
    -------
    list of str
        Names of frames that were not found.
    """
    missing: dict[int, Path] = {}
    with _open(task.path, references_only=task.references_only, interlaced=task.interlaced) as reader:
        for key, targets in task.groups:
            wanted = dict(targets)
            if key is not None:
                reader.seek(key)
            for frame in _wanted(reader, wanted):
                _write_frame(reader, frame, wanted[frame.pts], task.max_size)
            missing |= {pts: file for pts, file in wanted.items() if not file.exists()}
    if missing:
        # The container's index leads astray: look through everything from the beginning.
        with _open(task.path, references_only=task.references_only, interlaced=task.interlaced) as reader:
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


def _is_blank(gray: NDArray[np.uint8]) -> bool:
    """Whether there is nothing to see: a lens cap, a fade, a flash."""
    return float(gray.std()) < 4.0 or float(np.percentile(gray, 98)) < 36.0
