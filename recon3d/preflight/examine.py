"""The work of a check: draw, measure, interpret, foretell. It decodes files: in a process of its own."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np

from recon3d.compute import usable_cores
from recon3d.io.images import PhotoInfo
from recon3d.io.video_info import VideoInfo
from recon3d.options import StageOptions, resolve_options
from recon3d.options.value_types import Quality
from recon3d.preflight.cost import Job, estimate
from recon3d.preflight.findings import CameraGroup, find
from recon3d.preflight.history import machine_speed
from recon3d.preflight.measuring import Measures, measure
from recon3d.preflight.result import InputCheck
from recon3d.preflight.sampling import Drawn, draw
from recon3d.selection.choose import SAME_VIEW

#: Frames that a video that hardly moves still gives.
_FEWEST = 3


@dataclass(frozen=True)
class Look:
    """What was seen of the inputs.

    Attributes
    ----------
    drawn : Drawn
    measures : Measures
    photo_bytes, video_bytes : int
    """

    drawn: Drawn
    measures: Measures
    photo_bytes: int
    video_bytes: int

    def job(self, options: Mapping[str, StageOptions]) -> Job:
        """Describe the inputs as far as the cost of a run goes.

        Parameters
        ----------
        options : mapping of str to StageOptions

        Returns
        -------
        Job
        """
        drawn, images = self.drawn, self.measures.images
        video_frames = _frames(drawn, options)
        sizes = [(p.width, p.height) for p in drawn.photos] + [(v.width, v.height) for v in drawn.videos]
        width, height = (int(x) for x in np.median(np.array(sizes), axis=0))
        return Job(
            frames=len(drawn.photos) + video_frames,
            video_frames=video_frames,
            width=width,
            height=height,
            features=float(np.mean([image.features for image in images])),
            scanned=sum(_pixels(video) for video in drawn.videos),
            input_bytes=self.photo_bytes + self.video_bytes,
            photo_bytes=self.photo_bytes,
        )


def look(photos: Sequence[Path], videos: Sequence[Path]) -> Look:
    """Draw samples of the inputs, and measure them.

    Parameters
    ----------
    photos, videos : sequence of Path

    Returns
    -------
    Look
    """
    drawn = draw(photos, videos)
    return Look(drawn, measure(drawn), _size(photos), _size(videos))


def examine(
    photos: Sequence[Path],
    videos: Sequence[Path],
    history: Sequence[Path] = (),
    workers: int | None = None,
) -> InputCheck:
    """Look at the inputs.

    Parameters
    ----------
    photos, videos : sequence of Path
    history : sequence of Path
        Folders with earlier projects.
    workers : int, optional
        Worker processes of the run; by default one a core.

    Returns
    -------
    InputCheck
    """
    started = time.monotonic()
    seen = look(photos, videos)
    drawn, measures = seen.drawn, seen.measures
    qualities = {str(quality): resolve_options(quality, {}) for quality in get_args(Quality)}
    found = find(
        measures,
        total=len(drawn.photos) + _frames(drawn, qualities["medium"]),
        groups=_groups(drawn.photos),
        unreadable=drawn.unreadable,
    )
    estimates, source, factors = [], "", {}
    workers = workers or usable_cores()
    if not found.hopeless:
        speed = machine_speed(history)
        source, factors = speed.source, dict(speed.factors)
        estimates = [
            estimate(name, seen.job(options), options, speed, workers) for name, options in qualities.items()
        ]
    return InputCheck(
        level=found.level,
        sentences=tuple(found.hopeless + found.doubts) or (_seen(measures),),
        notes=tuple(found.notes),
        advice=tuple(found.advice),
        estimates=tuple(estimates),
        speed_from=source,
        looked_at=len(measures.images),
        blank=found.blank,
        factors=factors,
        seconds=round(time.monotonic() - started, 2),
    )


def _size(files: Sequence[Path]) -> int:
    return sum(path.stat().st_size for path in files if path.is_file())


def _groups(photos: Sequence[PhotoInfo]) -> list[CameraGroup]:
    counted = Counter(
        (f"{p.exif.make} {p.exif.model}".strip(), (max(p.width, p.height), min(p.width, p.height)),
         p.exif.focal_mm)
        for p in photos
    )  # fmt: skip
    return [CameraGroup(camera, size, focal, number) for (camera, size, focal), number in counted.items()]


def _frames(drawn: Drawn, options: Mapping[str, StageOptions]) -> int:
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


def _seen(measures: Measures) -> str:
    images = measures.images
    text = f"{len(images)} images looked at: {np.median([i.features for i in images]):.0f} features each"
    if measures.photos > 1:
        text += f"; {measures.linked} of {measures.photos} photos overlap with another one"
    return text + "."


def _pixels(video: VideoInfo) -> float:
    return (video.duration or 0.0) * (video.frame_rate or 30.0) * video.width * video.height / 1e6
