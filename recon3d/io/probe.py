"""Telling what an input file is, at the moment when a user adds it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from recon3d.errors import InputError
from recon3d.io.formats import looks_like_video, other_content, photo_signature
from recon3d.io.images import probe_photo

_HINT = "Give photos (JPEG, PNG, TIFF, HEIC …) or videos (MP4, MOV, MKV, MTS …)."


@dataclass(frozen=True)
class InputInfo:
    """What an input file is.

    Attributes
    ----------
    kind : {"video", "photo"}
    width, height : int
        Size in pixels, upright.
    duration, frame_rate : float or None
        Seconds and frames per second of a video, where its header has them.
    codec : str
        Codec of a video, or format of a photo.
    camera : str
        Make and model of a photo's camera, where EXIF has them.
    focal_px : float or None
        Focal length of a photo in pixels, where EXIF has it.
    """

    kind: Literal["video", "photo"]
    width: int
    height: int
    duration: float | None = None
    frame_rate: float | None = None
    codec: str = ""
    camera: str = ""
    focal_px: float | None = None


def probe_input(path: Path) -> InputInfo:
    """Tell whether a file is a video or a photo, and how large.

    The first bytes decide, not the suffix. Of a photo only the header is read; of a video one
    frame is decoded, to know that it can be.

    Parameters
    ----------
    path : Path

    Returns
    -------
    InputInfo

    Raises
    ------
    InputError
        The file is missing, unreadable or unsupported; the hint says what to do.
    """
    path = Path(path)
    if not path.exists():
        if path.is_symlink():
            raise InputError(f"{path} is a link to a file that does not exist.", "Give the file itself.")
        raise InputError(f"{path} does not exist.", "Check the file's name and folder.")
    if not path.is_file():
        raise InputError(f"{path} is not a file.", "Give a video, or photos.")
    try:
        with open(path, "rb") as file:
            start = file.read(1024)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.", "Check its permissions.") from error
    if not start:
        raise InputError(f"{path} is empty.", "Copy it again from the camera.")
    if photo_signature(start[:32]):
        photo = probe_photo(path)
        camera = f"{photo.exif.make} {photo.exif.model}".strip()
        return InputInfo(
            "photo",
            photo.width,
            photo.height,
            codec=photo.format,
            camera=camera,
            focal_px=photo.exif.focal_px,
        )
    if what := other_content(start):
        raise InputError(f"{path} {what}.", _HINT)
    from recon3d.io.video import probe_video  # FFmpeg is loaded for videos only

    try:
        video = probe_video(path)
    except InputError as error:
        if looks_like_video(start):
            raise
        raise InputError(f"{path} is neither a photo nor a video that can be read.", _HINT) from error
    return InputInfo(
        "video",
        video.width,
        video.height,
        duration=video.duration,
        frame_rate=video.frame_rate,
        codec=video.codec,
    )
