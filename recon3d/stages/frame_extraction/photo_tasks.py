"""What frame_extraction does with photos in worker processes."""

from __future__ import annotations

import io
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from PIL import Image

from recon3d.errors import InputError
from recon3d.io.atomic import atomic_path, read_json, write_json
from recon3d.io.images import check_photo, photo_metadata, probe_photo, read_photo
from recon3d.selection.sharpness import SHARPNESS_SIZE, sharpness, shrink
from recon3d.stages.frame_extraction.sources import PhotoRecord, Problem

_PHOTO_QUALITY = 97


@dataclass(frozen=True)
class PhotoTask:
    """A photo to take: its file, the folder for images, its name there, and the notes about it."""

    source: Path
    folder: Path
    name: str
    kind: Literal["photo", "posed_photo"]
    notes: Path


def take_photo(task: PhotoTask) -> PhotoRecord | Problem:
    """Check a photo and write it into the images' folder, upright.

    A file that is upright and plain is copied byte for byte, and so is every photo with a known
    camera, whose pixels must stay where they are.

    Parameters
    ----------
    task : PhotoTask

    Returns
    -------
    PhotoRecord or Problem
        The photo's row, or why it cannot be used.
    """
    if task.notes.exists():
        return PhotoRecord(**read_json(task.notes))
    try:
        info = probe_photo(task.source)
        detail = shrink(check_photo(task.source, SHARPNESS_SIZE), SHARPNESS_SIZE)
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
