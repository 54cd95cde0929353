"""Reading photos: what they are, whether they are whole, and their pixels.

A photo is known by its first bytes, never by its suffix. JPEG, PNG and TIFF are read; of other
formats the hint says how to convert them.
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError

from recon3d.errors import InputError
from recon3d.io.exif import PhotoExif, read_exif
from recon3d.io.formats import photo_signature

#: Photos with more pixels are refused before they are decoded (Pillow's own limit).
MAX_PHOTO_PIXELS = 178_000_000
_MIN_SIDE = 16

PhotoFormat = Literal["JPEG", "PNG", "TIFF"]

_RAW_SUFFIXES = frozenset(
    {".dng", ".cr2", ".cr3", ".nef", ".nrw", ".arw", ".raf", ".orf", ".rw2", ".pef", ".srw", ".3fr", ".iiq"}
)
_TIFF_WIDTH, _TIFF_HEIGHT, _DNG_VERSION = 256, 257, 50706
_CONVERT = "Save it as JPEG, PNG or TIFF."
_DAMAGED = "The file is damaged or incomplete: copy it again from the camera, or leave it out."
# What Pillow raises on damaged files, by format and place of the damage.
_DECODE_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    EOFError,
    OverflowError,
    struct.error,
    Image.DecompressionBombError,
)


@dataclass(frozen=True)
class PhotoInfo:
    """What a photo's header says.

    Attributes
    ----------
    width, height : int
        Size upright, that is after the EXIF orientation is applied.
    format : {"JPEG", "PNG", "TIFF"}
    plain : bool
        Whether the file itself holds 8-bit grey or RGB pixels that every program reads alike.
    exif : PhotoExif
    """

    width: int
    height: int
    format: PhotoFormat
    plain: bool
    exif: PhotoExif

    @property
    def camera_key(self) -> tuple[Any, ...]:
        """Equal for photos that can share one set of intrinsics."""
        e = self.exif
        return e.make, e.model, e.lens, e.focal_mm, e.focal_35mm, self.width, self.height


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
    with _reading(path), open(path, "rb") as file:
        kind = _photo_format(path, file.read(32))
        file.seek(0)
        if kind == "TIFF":
            width, height, plain, exif = _probe_tiff(path, file)
        else:
            with Image.open(file, formats=[kind]) as image:
                width, height = image.size
                plain = image.mode in ("L", "RGB") and "transparency" not in image.info
                exif = _exif_of(image, width, height)
            if kind == "PNG":
                file.seek(24)
                plain = plain and file.read(1) == b"\x08"
    if width * height > MAX_PHOTO_PIXELS:
        raise InputError(
            f"{path} has {width} x {height} pixels, which is too large.",
            f"Scale it down to {MAX_PHOTO_PIXELS // 1_000_000} megapixels or less.",
        )
    if min(width, height) < _MIN_SIDE:
        raise InputError(f"{path} has only {width} x {height} pixels.", "Leave it out; it shows too little.")
    if exif.orientation >= 5:
        width, height = height, width
    return PhotoInfo(width, height, kind, plain, exif)


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
    info = probe_photo(path)
    if info.format != "JPEG":
        gray: NDArray[np.uint8] = np.asarray(cv2.cvtColor(_decode(path, info), cv2.COLOR_BGR2GRAY), np.uint8)
        return gray
    with _reading(path), Image.open(path, formats=["JPEG"]) as image:
        image.draft("L", (size, size))
        return np.asarray(image.convert("L"))


def read_photo(path: Path) -> NDArray[np.uint8]:
    """Pixels of a photo: upright, 8 bits a channel.

    Transparent pixels become black. 16-bit files that use 10 or 12 bits only are spread to the
    full range.

    Parameters
    ----------
    path : Path

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)
        BGR.

    Raises
    ------
    InputError
        The file is truncated or damaged, or cannot be read.
    """
    return _decode(path, probe_photo(path))


def apply_orientation(image: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Turn stored pixels upright.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W) or (H, W, C)
    orientation : int
        EXIF orientation, 1 to 8.

    Returns
    -------
    ndarray of uint8, shape (H, W) or (H, W, C)
    """
    if orientation in (2, 4, 5, 7):
        image = image[:, ::-1]
    turns = {3: 2, 4: 2, 5: 1, 6: 3, 7: 3, 8: 1}.get(orientation, 0)
    return np.ascontiguousarray(np.rot90(image, turns))


def photo_metadata(path: Path) -> dict[str, bytes]:
    """Collect what a turned copy of a photo keeps: its colour profile, and EXIF marked as upright.

    Parameters
    ----------
    path : Path
        The photo.

    Returns
    -------
    dict of str to bytes
        ``exif`` and ``icc_profile``, where the photo has them: arguments of `PIL.Image.save`.
    """
    kept: dict[str, bytes] = {}
    with _reading(path), Image.open(path, formats=["JPEG", "PNG", "TIFF"]) as image:
        profile = image.info.get("icc_profile")
        if profile and image.mode in ("RGB", "L"):
            kept["icc_profile"] = profile
        with suppress(*_DECODE_ERRORS):  # damaged maker notes; the pixels matter more
            exif = image.getexif()
            if exif:
                exif[0x0112] = 1
                kept["exif"] = exif.tobytes()
    return kept


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn what goes wrong while reading `path` into an `InputError`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist.", "Check the file's name and folder.") from error
    except (PermissionError, IsADirectoryError) as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.", "Check what it is.") from error
    except Image.DecompressionBombError as error:
        raise InputError(
            f"{path} is too large: {error}", f"Scale it down to {MAX_PHOTO_PIXELS // 1_000_000} megapixels."
        ) from error
    except UnidentifiedImageError as error:
        raise InputError(f"{path} is not a readable photo.", _DAMAGED) from error
    except _DECODE_ERRORS as error:
        raise InputError(f"{path} cannot be decoded: {error}.", _DAMAGED) from error


def _photo_format(path: Path, start: bytes) -> PhotoFormat:
    kind = photo_signature(start)
    if not start:
        raise InputError(f"{path} is empty.", _DAMAGED)
    if kind == "camera raw" or (kind == "TIFF" and path.suffix.lower() in _RAW_SUFFIXES):
        raise InputError(f"{path} is a camera's raw file, which is not supported.", f"Develop it. {_CONVERT}")
    formats: tuple[PhotoFormat, ...] = ("JPEG", "PNG", "TIFF")
    for supported in formats:
        if kind == supported:
            return supported
    if kind is None:
        raise InputError(f"{path} is not a photo.", "Give JPEG, PNG or TIFF files.")
    raise InputError(f"{path} is a {kind} file, which is not supported.", _CONVERT)


def _probe_tiff(path: Path, file: BinaryIO) -> tuple[int, int, bool, PhotoExif]:
    # Pillow cannot open TIFFs of 16 bits a channel, but reads the tags of any.
    tags = Image.Exif()
    tags.load_from_fp(file)
    if _DNG_VERSION in tags:
        raise InputError(f"{path} is a camera's raw file, which is not supported.", f"Develop it. {_CONVERT}")
    width, height = int(tags[_TIFF_WIDTH]), int(tags[_TIFF_HEIGHT])
    return width, height, False, read_exif(tags, width, height)


def _exif_of(image: ImageFile.ImageFile, width: int, height: int) -> PhotoExif:
    try:
        return read_exif(image.getexif(), width, height)
    except _DECODE_ERRORS:
        return PhotoExif()  # damaged EXIF does not make the pixels unreadable


def _decode(path: Path, info: PhotoInfo) -> NDArray[np.uint8]:
    """Pixels upright, BGR."""
    with _reading(path):
        try:
            with Image.open(path, formats=[info.format]) as image:
                pixels = _to_bgr(path, image)
        except UnidentifiedImageError:
            if info.format != "TIFF":
                raise
            flags = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
            values = cv2.imdecode(np.fromfile(path, np.uint8), flags)
            if values is None:
                raise InputError(f"{path} cannot be decoded.", _CONVERT) from None
            pixels = _to_8_bits(path, values)
        else:
            if info.format == "TIFF":
                return pixels  # Pillow turns TIFFs itself
    return apply_orientation(pixels, info.exif.orientation)


def _to_bgr(path: Path, image: Image.Image) -> NDArray[np.uint8]:
    if image.mode.startswith("I") or image.mode == "F":
        gray = _to_8_bits(path, np.asarray(image))
        return np.repeat(gray[..., None], 3, axis=2)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        image = Image.new("RGB", image.size)
        image.paste(rgba, mask=rgba.getchannel("A"))
    return np.ascontiguousarray(np.asarray(image.convert("RGB"))[..., ::-1])


def _to_8_bits(path: Path, values: NDArray[Any]) -> NDArray[np.uint8]:
    if values.dtype == np.uint8:
        return values
    if not np.issubdtype(values.dtype, np.integer) or values.size == 0 or int(values.max()) > 65535:
        raise InputError(f"{path} has pixels of type {values.dtype}.", "Save it with 8 or 16 bits a channel.")
    top = int(values.max())
    bits = next(b for b in (10, 12, 16) if top < 1 << b)
    result: NDArray[np.uint8] = np.right_shift(np.maximum(values, 0), bits - 8).astype(np.uint8)
    return result
