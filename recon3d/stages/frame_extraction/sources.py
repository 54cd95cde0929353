"""The inputs of frame_extraction, and what becomes of each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from recon3d.errors import InputError
from recon3d.io.copy_names import cut
from recon3d.io.video_info import VideoInfo
from recon3d.layout import Frame
from recon3d.selection.combs import interlacing

#: Bytes of a name, so that a time and suffixes can be added.
_LONGEST = 160
#: Frames per second above which frames that no other depends on are not decoded.
_FAST_RATE = 40.0


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
        return (self.info.frame_rate or 0.0) > _FAST_RATE and not self.info.interlaced

    @property
    def memory(self) -> int:
        """Bytes that decoding takes at its peak."""
        return 200_000_000 + self.info.width * self.info.height * 60


@dataclass(frozen=True)
class PhotoRecord:
    """A photo that was taken, and what was done to it.

    Attributes
    ----------
    name : str
    width, height : int
    sharpness : float
    focal_px : float or None
    gps : tuple of float, or None
    camera : str
        Equal for photos that can share intrinsics.
    colors : str
        Colour space that it had; empty for sRGB.
    color_problem : str
        Why that could not be converted.
    masked : bool
        Whether it has a mask.
    preview : bool
        Whether it is the preview of a raw file.
    deep : bool
        Whether it had more than 8 bits a channel.
    """

    name: str
    width: int
    height: int
    sharpness: float
    focal_px: float | None
    gps: tuple[float, float, float | None] | None
    camera: str
    colors: str = ""
    color_problem: str = ""
    masked: bool = False
    preview: bool = False
    deep: bool = False


@dataclass
class Source:
    """An input and what became of it."""

    path: Path
    name: str
    kind: Literal["video", "photo", "posed_photo"]
    stem: str = ""
    plan: VideoPlan | None = None
    photo: PhotoRecord | None = None
    scan: dict[str, NDArray[Any]] = field(default_factory=dict)
    chosen: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    problem: Problem | None = None

    @property
    def interlaced(self) -> Literal["", "marked", "all"]:
        """Which frames of a scanned video are interlaced; also of one that does not say so."""
        return interlacing(*(int(self.scan[name]) for name in ("deinterlaced", "looked", "combed")))

    def frame_name(self, index: int) -> str:
        """Name a scanned frame by its time in milliseconds, so that names sort by time.

        Parameters
        ----------
        index : int
            Of the frame.

        Returns
        -------
        str
        """
        return f"{self.stem}_{max(0, round(self.scan['time'][index] * 1000)):07d}.jpg"

    def frames(self, max_size: int, camera: int) -> list[Frame]:
        """List the frames taken from this input.

        Parameters
        ----------
        max_size : int
            Longest side of the frames in pixels; 0 means any.
        camera : int
            Number of the input's camera.

        Returns
        -------
        list of Frame
        """
        if self.photo is not None:
            photo = self.photo
            return [
                Frame(
                    name=photo.name,
                    kind=self.kind,
                    source=self.name,
                    time=None,
                    width=photo.width,
                    height=photo.height,
                    sharpness=photo.sharpness,
                    focal_px=photo.focal_px,
                    gps=photo.gps,
                    camera=camera,
                )
            ]
        if self.plan is None:
            return []
        width, height = self.plan.info.size(max_size)
        return [
            Frame(
                name=self.frame_name(index),
                kind=self.kind,
                source=self.name,
                time=float(self.scan["time"][index]),
                width=width,
                height=height,
                sharpness=float(self.scan["sharpness"][index]),
                focal_px=None,
                gps=None,
                camera=camera,
            )
            for index in self.chosen
        ]

    def scores(self) -> dict[str, Any]:
        """Collect the entries of scores.json for the candidate frames.

        Returns
        -------
        dict of str to Any
            Lists of equal length.
        """
        taken = np.zeros(len(self.scan["time"]), bool)
        taken[self.chosen] = True
        return {
            "source": self.name,
            "time": np.round(self.scan["time"], 4).tolist(),
            "sharpness": np.round(self.scan["sharpness"], 3).tolist(),
            "motion": np.round(np.diff(self.scan["travel"], prepend=0.0), 5).tolist(),
            "usable": self.scan["usable"].tolist(),
            "taken": taken.tolist(),
        }


def name_sources(sources: Sequence[Source]) -> None:
    """Give each input a unique name, flat and distinct even without suffix and case.

    Parameters
    ----------
    sources : sequence of Source

    Raises
    ------
    InputError
        A posed photo's name leads out of its folder.
    """
    taken = set()
    for source in sources:
        if source.kind == "posed_photo":
            # The model names the photo by this path; it must not lead out of the folder.
            parts = PurePosixPath(source.name).parts
            if not parts or source.name.startswith("/") or ".." in parts or "\\" in source.name:
                raise InputError(
                    f"The model names a photo {source.name!r}, which is not a path inside a folder.",
                    "Name the photos relative to their folder in the COLMAP model.",
                )
            source.stem = source.name
            taken.add(str(PurePosixPath(source.name).with_suffix("")).casefold())
    frames: list[re.Pattern[str]] = []
    for source in sorted(sources, key=lambda s: s.kind != "video"):
        if source.kind == "posed_photo":
            continue
        stem = re.sub(r"[^\w.-]+", "_", PurePosixPath(source.name).stem).strip("._")
        stem = cut(stem, _LONGEST) or source.kind
        unique, number = stem, 1
        # A photo may be a frame that was taken from a video before.
        while unique.casefold() in taken or any(frame.fullmatch(unique.casefold()) for frame in frames):
            number += 1
            unique = f"{stem}-{number}"
        taken.add(unique.casefold())
        if source.kind == "video":
            frames.append(re.compile(re.escape(unique.casefold()) + r"_\d+"))
        source.stem = unique
