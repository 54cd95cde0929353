"""Reading photos: what they are, whether they are whole, and their pixels.

A photo is known by its first bytes, never by its suffix. JPEG, PNG, TIFF, HEIC, AVIF and WebP are
read, and of cameras' raw files the embedded preview.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from recon3d.io.exif import PhotoExif
from recon3d.io.photo_color import ColorSpace, to_srgb
from recon3d.io.photo_depth import value_used
from recon3d.io.photo_file import (
    DECODE_ERRORS,
    PhotoFormat,
    PhotoHeader,
    declared_top,
    decode,
    deep_values,
    open_image,
    read_header,
    reading,
)

#: Opacity, of 255, from which a pixel counts as seen.
_OPAQUE = 128
#: What hidden pixels are painted with.
_NEUTRAL = 128
_ORIENTATION, _EXIF_IFD, _COLOR_SPACE, _INTEROPERABILITY = 0x0112, 0x8769, 0xA001, 0xA005
#: Orientations that undo each other; the others undo themselves.
_INVERSE = {6: 8, 8: 6}


@dataclass(frozen=True)
class PhotoInfo:
    """What a photo's header says.

    Attributes
    ----------
    width, height : int
        Size upright, that is after the EXIF orientation is applied.
    format : str
        JPEG, PNG, TIFF, HEIC, AVIF, WebP or raw; of a raw file, all else is that of its preview.
    plain : bool
        Whether the file itself holds 8-bit sRGB or grey pixels, all visible, that every program reads
        alike.
    exif : PhotoExif
    bits : int
        8, or 16 when the pixels have more; see `brightest_value`.
    space : ColorSpace or None
        Colours other than sRGB.
    """

    width: int
    height: int
    format: PhotoFormat
    plain: bool
    exif: PhotoExif
    bits: int = 8
    space: ColorSpace | None = None

    @property
    def camera_key(self) -> tuple[Any, ...]:
        """Equal for photos that can share one set of intrinsics."""
        e = self.exif
        return e.make, e.model, e.lens, e.focal_mm, e.focal_35mm, self.width, self.height


@dataclass(frozen=True, eq=False)
class Photo:
    """A photo's pixels.

    Attributes
    ----------
    rgb : ndarray of uint8, shape (H, W, 3)
        sRGB; hidden pixels are grey.
    visible : ndarray of bool, shape (H, W), or None
        False where the photo is transparent; None when it is nowhere.
    """

    rgb: NDArray[np.uint8]
    visible: NDArray[np.bool_] | None = None


def probe_photo(path: Path) -> PhotoInfo:
    """Read a photo's header; its pixels are not decoded (see `check_photo`).

    Parameters
    ----------
    path : Path

    Returns
    -------
    PhotoInfo

    Raises
    ------
    InputError
        The file is missing, empty, of another format, or too large or small.
    """
    return _info(read_header(path))


def _info(header: PhotoHeader) -> PhotoInfo:
    width, height = header.width, header.height
    if header.exif.orientation >= 5:
        width, height = height, width
    plain = (
        header.format in ("JPEG", "PNG")
        and header.mode in ("L", "RGB")
        and header.bits == 8
        and not header.alpha
        and header.space is None
    )
    return PhotoInfo(width, height, header.format, plain, header.exif, header.bits, header.space)


def check_photo(path: Path, size: int) -> NDArray[np.uint8]:
    """Decode all of a photo at a fraction of its size, which finds damage at a fraction of the cost.

    Parameters
    ----------
    path : Path
    size : int
        Longer side that the result has at least, where the photo has it.

    Returns
    -------
    ndarray of uint8, shape (H, W)
        Brightness; it may lie on its side.

    Raises
    ------
    InputError
        The file is truncated or damaged, or cannot be read.
    """
    header = read_header(path)
    if header.format != "JPEG":
        gray: NDArray[np.uint8] = np.asarray(cv2.cvtColor(read_photo(path).rgb, cv2.COLOR_RGB2GRAY), np.uint8)
        return gray
    with reading(path), Image.open(path, formats=["JPEG"]) as image:
        image.draft("L", (size, size))
        return np.asarray(image.convert("L"))


def brightest_value(path: Path) -> int:
    """Find the largest value that a photo with more than 8 bits a channel can have, opacity aside.

    Parameters
    ----------
    path : Path

    Returns
    -------
    int
        At most 65535; see `recon3d.io.photo_depth.value_used`.

    Raises
    ------
    InputError
        The file is truncated or damaged, or cannot be read.
    """
    with reading(path):
        values = deep_values(path)
        return value_used(values[..., :3] if values.ndim == 3 else values, declared_top(path))


def read_photo(path: Path, *, bits: int = 16, upright: bool = True) -> Photo:
    """Read the pixels of a photo: 8 bits a channel, sRGB.

    Parameters
    ----------
    path : Path
    bits : int
        Bits a channel that files with 16 bits use, the same for all photos of a set; see
        `recon3d.io.photo_depth.bits_used`.
    upright : bool
        Whether to apply the EXIF orientation.

    Returns
    -------
    Photo

    Raises
    ------
    InputError
        The file is truncated or damaged, or cannot be read.
    """
    header = read_header(path)
    with reading(path):
        image = decode(path, header, bits)
        visible = None
        if header.alpha:
            image, visible = _without_alpha(image)
        rgb = np.asarray(to_srgb(image, header.space), np.uint8)
        if visible is not None:
            rgb = np.where(visible[..., None], rgb, np.uint8(_NEUTRAL))
    turn = header.exif.orientation
    if header.format == "TIFF" and header.bits == 8:  # Pillow has turned it
        turn = 1 if upright else _INVERSE.get(turn, turn)
    elif not upright:
        turn = 1
    rgb = apply_orientation(rgb, turn)
    return Photo(rgb, None if visible is None else apply_orientation(visible, turn))


def _without_alpha(image: Image.Image) -> tuple[Image.Image, NDArray[np.bool_] | None]:
    """The colours, and where they are seen; None for everywhere."""
    gray = image.mode == "LA"
    rgba = image.convert("RGBA")
    visible = np.asarray(rgba.getchannel("A")) >= _OPAQUE
    colors = image.getchannel("L") if gray else rgba.convert("RGB")
    return colors, None if visible.all() else visible


def apply_orientation(image: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turn stored pixels upright.

    Parameters
    ----------
    image : ndarray, shape (H, W) or (H, W, C)
    orientation : int
        EXIF orientation, 1 to 8.

    Returns
    -------
    ndarray, shape (H, W) or (H, W, C)
    """
    if orientation in (2, 4, 5, 7):
        image = image[:, ::-1]
    turns = {3: 2, 4: 2, 5: 1, 6: 3, 7: 3, 8: 1}.get(orientation, 0)
    return np.ascontiguousarray(np.rot90(image, turns))


def photo_metadata(path: Path) -> dict[str, bytes]:
    """Collect what a copy of a photo in sRGB keeps: its EXIF data, marked as upright.

    Parameters
    ----------
    path : Path
        The photo.

    Returns
    -------
    dict of str to bytes
        ``exif``, where the photo has it: an argument of `PIL.Image.save`.
    """
    header = read_header(path)
    if header.bits > 8 or header.preview is not None:
        return {}
    with reading(path), open_image(path, header) as image, suppress(*DECODE_ERRORS):
        # Maker notes may be damaged; the pixels matter more.
        exif = image.getexif()
        if exif:
            exif[_ORIENTATION] = 1
            details = exif.get_ifd(_EXIF_IFD)
            details.pop(_INTEROPERABILITY, None)
            if _COLOR_SPACE in details:
                details[_COLOR_SPACE] = 1
            return {"exif": exif.tobytes()}
    return {}
