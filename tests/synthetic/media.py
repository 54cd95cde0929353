"""Small videos and photos for tests: a camera that slides over a random texture."""

from __future__ import annotations

import contextlib
import functools
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import av
import av.stream
import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


@functools.lru_cache(maxsize=32)
def texture(width: int = 2000, height: int = 700, seed: int = 0) -> Image:
    """A picture with detail at several scales; made once, which takes a second, and not to be written to."""
    rng = np.random.default_rng(seed)
    total = np.zeros((height, width, 3))
    for scale, channels in ((1.0, 1), (4.0, 1), (16.0, 3)):  # codecs keep fine brightness, not fine colours
        noise = cv2.GaussianBlur(rng.normal(size=(height, width, channels)), (0, 0), scale)
        total += (noise / noise.std()).reshape(height, width, channels)
    made = np.clip(128 + 40 * total, 0, 255).astype(np.uint8)
    made.flags.writeable = False
    return made


def slide(picture: Image, positions: Iterable[float], size: tuple[int, int] = (320, 240)) -> list[Image]:
    """Views of `size` (width, height) at horizontal positions in pixels."""
    frames = []
    for x in positions:
        move = np.float32([[1, 0, -x], [0, 1, -100]])
        frames.append(cv2.warpAffine(picture, move, size, flags=cv2.INTER_LINEAR))
    return frames


@contextlib.contextmanager
def _ordinary_priority() -> Iterator[None]:
    """Undo what SVT-AV1 does for root: it gives the thread that calls it the highest real-time priority.

    That thread, and all processes that it starts from then on, would leave nothing to all others.
    """
    if not hasattr(os, "sched_getscheduler"):
        yield
        return
    policy, priority = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, priority)


def write_video(
    path: Path,
    frames: Sequence[Image | av.VideoFrame],
    *,
    codec: str = "libx264",
    rate: int = 30,
    pix_fmt: str = "yuv420p",
    options: Mapping[str, str] | None = None,
    rotation: int = 0,
    pts: Sequence[int] | None = None,
    prepare: Callable[[Any], None] | None = None,
) -> Path:
    """Encode BGR images, or frames; `pts` are in units of 1 / `rate`."""
    with _ordinary_priority(), av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        first = frames[0]
        is_frame = isinstance(first, av.VideoFrame)
        stream.height, stream.width = (first.height, first.width) if is_frame else first.shape[:2]
        stream.pix_fmt = pix_fmt
        stream.options = {"crf": "18", "preset": "ultrafast"} if codec == "libx264" else {}
        stream.options = {**stream.options, **(options or {})}
        if rotation:
            stream.set_display_rotation(rotation)
        if prepare:
            prepare(stream)
        for index, image in enumerate(frames):
            frame = image
            if not is_frame:
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="bgr24")
            frame.pts = pts[index] if pts else index
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_streams(path: Path, streams: Sequence[tuple[Sequence[Image], bool]], rate: int = 30) -> Path:
    """Encode a file of several videos: of each its BGR images, and whether it is marked as the default."""
    with av.open(str(path), "w") as container:
        for images, default in streams:
            stream = container.add_stream("libx264", rate=rate)
            stream.height, stream.width = images[0].shape[:2]
            stream.pix_fmt, stream.options = "yuv420p", {"crf": "18", "preset": "ultrafast"}
            stream.disposition = av.stream.Disposition.default if default else 0
        for index in range(len(streams[0][0])):
            for stream, (images, _) in zip(container.streams.video, streams, strict=True):
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(images[index]), format="bgr24")
                frame.pts = index
                container.mux(stream.encode(frame))
        for stream in container.streams.video:
            container.mux(stream.encode())
    return path


def write_inputs(
    folder: Path, files: Sequence[Path], kind: str | None = None, names: Sequence[str] | None = None
) -> Path:
    """Make an inputs folder that refers to files where they are."""
    videos = {".mp4", ".mov", ".mkv", ".avi", ".webm"}
    rows = [
        {
            "kind": kind or ("video" if file.suffix in videos else "photo"),
            "path": f"{i:04d}-{file.name}",
            "name": names[i] if names else file.name,
            "sha256": "",
        }
        for i, file in enumerate(files)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    for row, file in zip(rows, files, strict=True):
        (folder / row["path"]).unlink(missing_ok=True)
        (folder / row["path"]).symlink_to(file.absolute())
    (folder / "inputs.json").write_text(json.dumps({"inputs": rows, "poses": None}))
    return folder
