"""What frame_extraction does with photos in worker processes."""

from __future__ import annotations

import io
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from PIL import Image

from recon3d.compute import reads
from recon3d.errors import InputError
from recon3d.io.atomic import atomic_path, read_json, write_json
from recon3d.io.images import (
    Photo,
    PhotoInfo,
    brightest_value,
    check_photo,
    photo_metadata,
    probe_photo,
    read_photo,
)
from recon3d.io.masks import write_mask
from recon3d.layout import mask_file
from recon3d.selection.sharpness import SHARPNESS_SIZE, sharpness, shrink
from recon3d.stages.frame_extraction.sources import PhotoRecord, Problem
from recon3d.types import Bytes

_PHOTO_QUALITY = 97
#: Formats that keep every value; the others are written as JPEG of high quality.
_LOSSLESS = ("PNG", "TIFF")


@dataclass(frozen=True)
class PhotoTask:
    """A photo to take.

    Attributes
    ----------
    source : Path
        Its file.
    folder : Path
        For images.
    name : str
        Its name there.
    kind : {"photo", "posed_photo"}
    notes : Path
        File for the notes about it.
    bits : int
        Bits a channel that photos with 16 bits use.
    """

    source: Path
    folder: Path
    name: str
    kind: Literal["photo", "posed_photo"]
    notes: Path
    bits: int = 16


def measure_depth(source: Path) -> int | None:
    """Find the brightest value of a photo with more than 8 bits a channel.

    Parameters
    ----------
    source : Path

    Returns
    -------
    int or None
        None for photos of 8 bits, and those that cannot be read.
    """
    try:
        return brightest_value(source) if probe_photo(source).bits > 8 else None
    except InputError:
        return None  # take_photo tells why


@reads(lambda task: [task.source, task.notes])
def take_photo(task: PhotoTask) -> PhotoRecord | Problem:
    """Check a photo and write it into the images' folder, upright and in sRGB.

    A file that already is so is copied byte for byte. The pixels of a photo with a known camera stay
    where they are. What is transparent becomes a mask.

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
    posed = task.kind == "posed_photo"
    try:
        info = probe_photo(task.source)
        name = task.name if posed else f"{task.name}.{'png' if info.format in _LOSSLESS else 'jpg'}"
        if info.plain and (posed or info.exif.orientation == 1):
            gray, masked = check_photo(task.source, SHARPNESS_SIZE), False
            with atomic_path(task.folder / name) as temporary:
                shutil.copyfile(task.source, temporary)
        else:
            photo = read_photo(task.source, bits=task.bits, upright=not posed)
            masked = photo.visible is not None
            gray = _write(photo, task, name, info)
    except InputError as error:
        return Problem(error.message, error.hint)
    width, height = info.width, info.height
    if posed and info.exif.orientation >= 5:
        width, height = height, width
    record = PhotoRecord(
        name=name,
        width=width,
        height=height,
        sharpness=sharpness(shrink(gray, SHARPNESS_SIZE)),
        focal_px=info.exif.focal_px,
        gps=info.exif.gps,
        camera=repr((info.camera_key, width, height)),
        colors=info.space.name if info.space else "",
        color_problem=info.space.problem if info.space else "",
        masked=masked,
        preview=info.format == "raw",
        deep=info.bits > 8,
    )
    write_json(task.notes, asdict(record))
    return record


def _write(photo: Photo, task: PhotoTask, name: str, info: PhotoInfo) -> Bytes:
    """Write the image and its mask; return its brightness."""
    target = task.folder / name
    if photo.visible is not None:
        if not photo.visible.any():
            raise InputError(f"{task.source} is wholly transparent.", "Save it without transparency.")
        write_mask(mask_file(task.folder, name), photo.visible)
    image, data = Image.fromarray(photo.rgb), io.BytesIO()
    suffix = target.suffix.lower()
    if suffix in (".jpg", ".jpeg"):
        image.save(data, "JPEG", quality=_PHOTO_QUALITY, subsampling=0, **photo_metadata(task.source))
    elif suffix in (".tif", ".tiff"):
        image.save(data, "TIFF", compression="tiff_lzw")
    else:  # a posed photo keeps its name; the later stages know a file by its content
        image.save(data, "PNG", compress_level=3)
    with atomic_path(target) as temporary:
        temporary.write_bytes(data.getvalue())
    return np.asarray(cv2.cvtColor(photo.rgb, cv2.COLOR_RGB2GRAY), np.uint8)
