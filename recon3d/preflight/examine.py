"""The work of a check: draw, measure, interpret, foretell. It decodes files: in a process of its own."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np

from recon3d.compute import usable_cores
from recon3d.errors import InputError
from recon3d.io.images import PhotoInfo
from recon3d.io.probe import probe_input
from recon3d.io.video_info import VideoInfo
from recon3d.options import StageOptions, resolve_options
from recon3d.options.value_types import Quality
from recon3d.preflight.cost import Job, estimate
from recon3d.preflight.findings import CameraGroup, find
from recon3d.preflight.history import machine_speed
from recon3d.preflight.measuring import ImageMeasure, Measures, measure
from recon3d.preflight.result import InputCheck
from recon3d.preflight.sampling import Drawn, draw
from recon3d.selection.choose import SAME_VIEW

#: Frames that a video that hardly moves still gives.
_FEWEST = 3


def examine(files: Sequence[Path], history: Sequence[Path], workers: int | None = None) -> InputCheck:
    """Look at the inputs.

    Parameters
    ----------
    files : sequence of Path
        Photos and videos.
    history : sequence of Path
        Folders with earlier projects.
    workers : int, optional
        Worker processes of the run; by default one a core.

    Returns
    -------
    InputCheck
    """
    started = time.monotonic()
    photos: list[Path] = []
    videos: list[Path] = []
    unreadable: list[str] = []
    for path in files:
        try:
            (videos if probe_input(path).kind == "video" else photos).append(path)
        except InputError as error:
            unreadable.append(error.message)
    drawn = draw(photos, videos)
    measures = measure(drawn)
    images = measures.images
    unreadable += drawn.unreadable
    qualities = {str(quality): resolve_options(quality, {}) for quality in get_args(Quality)}
    frames = {name: _frames(drawn, options) for name, options in qualities.items()}
    found = find(
        measures,
        total=len(drawn.photos) + frames["medium"],
        groups=_groups(drawn.photos),
        unreadable=unreadable,
    )
    estimates, source = [], ""
    if not found.hopeless:
        speed = machine_speed(history)
        source = speed.source
        size = sum(path.stat().st_size for path in (*photos, *videos))
        estimates = [
            estimate(name, _job(drawn, images, frames[name], size), options, speed, workers or usable_cores())
            for name, options in qualities.items()
        ]
    return InputCheck(
        level=found.level,
        sentences=tuple(found.hopeless + found.doubts) or (_seen(measures),),
        notes=tuple(found.notes),
        advice=tuple(found.advice),
        estimates=tuple(estimates),
        speed_from=source,
        looked_at=len(images),
        blank=found.blank,
        seconds=round(time.monotonic() - started, 2),
    )


def _groups(photos: Sequence[PhotoInfo]) -> list[CameraGroup]:
    counted = Counter(
        (f"{p.exif.make} {p.exif.model}".strip(), (max(p.width, p.height), min(p.width, p.height)),
         p.exif.focal_mm)
        for p in photos
    )  # fmt: skip
    return [CameraGroup(camera, size, focal, number) for (camera, size, focal), number in counted.items()]


def _frames(drawn: Drawn, options: dict[str, StageOptions]) -> int:
    """Frames that would be taken of the videos: as many as the motion asks for."""
    values = options["frame_extraction"].model_dump()
    total = 0
    for video, travel in zip(drawn.videos, drawn.travels, strict=True):
        there = (video.duration or 0.0) * (video.frame_rate or 30.0)
        wanted = np.clip(travel / values["motion"] + 1, values["min_frames"], values["max_frames"])
        # Frames closer than that would show the same.
        differing = max(travel / SAME_VIEW + 1, _FEWEST)
        total += int(min(wanted, differing, max(there, 1)))
    return total


def _job(drawn: Drawn, images: Sequence[ImageMeasure], video_frames: int, size: int) -> Job:
    sizes = [(p.width, p.height) for p in drawn.photos] + [(v.width, v.height) for v in drawn.videos]
    width, height = (int(x) for x in np.median(np.array(sizes), axis=0))
    return Job(
        frames=len(drawn.photos) + video_frames,
        video_frames=video_frames,
        width=width,
        height=height,
        features=float(np.mean([image.features for image in images])),
        scanned=sum(_pixels(video) for video in drawn.videos),
        input_bytes=size,
    )


def _seen(measures: Measures) -> str:
    images = measures.images
    text = f"{len(images)} images looked at: {np.median([i.features for i in images]):.0f} features each"
    if measures.photos > 1:
        text += f"; {measures.linked} of {measures.photos} photos overlap with another one"
    return text + "."


def _pixels(video: VideoInfo) -> float:
    return (video.duration or 0.0) * (video.frame_rate or 30.0) * video.width * video.height / 1e6
