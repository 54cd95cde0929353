"""Photo files of all formats: what their headers say, and their pixels as they are stored."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from recon3d.errors import InputError
from recon3d.io.exif import PhotoExif, read_exif
from recon3d.io.formats import other_content, photo_signature
from recon3d.io.photo_color import ColorSpace, declared_space
from recon3d.io.photo_depth import to_8_bits
from recon3d.io.raw_preview import Preview, is_raw, largest_preview

PhotoFormat = Literal["JPEG", "PNG", "TIFF", "HEIC", "AVIF", "WebP", "raw"]

#: Photos with more pixels are refused before they are decoded (Pillow's own limit).
MAX_PHOTO_PIXELS = 178_000_000
MIN_PHOTO_SIDE = 16
#: Longer side that a raw file's preview has at least.
MIN_PREVIEW_SIDE = 1000

FORMATS = "JPEG, PNG, TIFF, HEIC, AVIF or WebP"
DAMAGED = "Copy it again from the camera, or leave it out."
_CONVERT = "Save it as JPEG, PNG or TIFF."
_DEVELOP = "Develop it, and save it as JPEG or TIFF."
_ORIENTATION, _ICC = 274, 34675
_WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC, _SAMPLES, _SAMPLE_FORMAT = 256, 257, 258, 262, 277, 339
_MAX_SAMPLE = 281
_DEEP_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
#: Modes by PNG's colour type.
_PNG_MODES = {0: "L", 2: "RGB", 3: "P", 4: "LA", 6: "RGBA"}
#: Bytes in which the colour codes of PNG and AVIF stand.
_HEAD = 16384
#: Bytes in which the header of a HEIC or AVIF file ends.
_LONG_HEAD = 65536
# What Pillow and libheif raise on damaged files, by format and place of the damage.
DECODE_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    EOFError,
    OverflowError,
    RuntimeError,
    struct.error,
    Image.DecompressionBombError,
)


@dataclass(frozen=True)
class PhotoHeader:
    """What a photo's header says.

    Attributes
    ----------
    format : str
    width, height : int
        Size as stored, before the EXIF orientation is applied.
    mode : str
        Pillow's mode of the pixels; for more than 8 bits, that of the same channels with 8 bits.
    bits : int
        Bits a channel that must be mapped to 8: 8, or 16 for files with more.
    alpha : bool
        Whether pixels can be transparent.
    exif : PhotoExif
    space : ColorSpace or None
        None for sRGB.
    preview : Preview or None
        Of a raw file: the JPEG that stands for it.
    """

    format: PhotoFormat
    width: int
    height: int
    mode: str
    bits: int
    alpha: bool
    exif: PhotoExif
    space: ColorSpace | None
    preview: Preview | None = None


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what goes wrong while reading `path` into an `InputError`.

    Parameters
    ----------
    path : Path

    Yields
    ------
    None

    Raises
    ------
    InputError
        The file is missing, unreadable or damaged.
    """
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
        message = f"{path} cannot be decoded: its header is damaged or incomplete."
        raise InputError(message, DAMAGED) from error
    except DECODE_ERRORS as error:
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        message = f"{path} cannot be decoded: it is damaged or incomplete ({reason})."
        raise InputError(message, DAMAGED) from error


def read_header(path: Path) -> PhotoHeader:
    """Read a photo's header; its pixels are not decoded.

    Parameters
    ----------
    path : Path

    Returns
    -------
    PhotoHeader

    Raises
    ------
    InputError
        The file is missing, empty, of another format, or too large or small.
    """
    with reading(path), open(path, "rb") as file:
        kind = _photo_format(path, file)
        file.seek(0)
        if kind == "HEIC":
            header = _heic_header(file)
        elif kind == "TIFF":
            header = _tiff_header(path, file)
        elif kind == "raw":
            header = _raw_header(path, file)
        else:
            header = _pillow_header(kind, file)
    if header.width * header.height > MAX_PHOTO_PIXELS:
        raise InputError(
            f"{path} has {header.width} x {header.height} pixels, which is too large.",
            f"Scale it down to {MAX_PHOTO_PIXELS // 1_000_000} megapixels or less.",
        )
    if min(header.width, header.height) < MIN_PHOTO_SIDE:
        raise InputError(
            f"{path} has only {header.width} x {header.height} pixels.", "Leave it out; it shows too little."
        )
    return header


def decode(path: Path, header: PhotoHeader, bits: int = 16) -> Image.Image:
    """Decode a photo's pixels; call it within `reading`.

    Parameters
    ----------
    path : Path
    header : PhotoHeader
        See `read_header`.
    bits : int
        Bits a channel that a file with 16 bits uses; see `bits_used`.

    Returns
    -------
    PIL.Image.Image
        8 bits a channel, in the file's own colours. Pixels are as stored, but a TIFF's are upright
        unless it has more than 8 bits.
    """
    if header.bits > 8:
        values = deep_values(path)
        return Image.fromarray(to_8_bits(values, bits))
    with open_image(path, header) as image:
        image.load()
        return image


def deep_values(path: Path) -> NDArray[np.uint16]:
    """Decode a photo with more than 8 bits a channel; call it within `reading`.

    Parameters
    ----------
    path : Path

    Returns
    -------
    ndarray of uint16, shape (H, W) or (H, W, 3) or (H, W, 4)
        As stored: grey, RGB or RGBA. Pillow would drop the lower bits.
    """
    flags = cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION
    values = cv2.imdecode(np.fromfile(path, np.uint8), flags)
    if values is None:
        raise ValueError("its pixels cannot be read")
    if values.dtype != np.uint16:
        raise ValueError(f"it has pixels of type {values.dtype}")
    if values.ndim == 3:
        order = cv2.COLOR_BGRA2RGBA if values.shape[2] == 4 else cv2.COLOR_BGR2RGB
        values = cv2.cvtColor(values, order)
    return np.asarray(values, np.uint16)


def declared_top(path: Path) -> int | None:
    """Read the largest value that a photo of 16 bits says its pixels can have; call it within `reading`.

    Parameters
    ----------
    path : Path

    Returns
    -------
    int or None
        None where it does not say. PNG's chunk sBIT means values that were scaled to all 16 bits.
    """
    with open(path, "rb") as file:
        head = file.read(_HEAD)
        if head.startswith(b"\x89PNG"):
            return 0xFFFF if b"sBIT" in head[: head.find(b"IDAT")] else None
        file.seek(0)
        tags = Image.Exif()
        tags.load_from_fp(file)
        top = max(_numbers(tags.get(_MAX_SAMPLE, 0)))
        # Programs that do not know it write the limits of the format, or nonsense.
        return top if 0xFF < top <= 0xFFFF else None


def stored_bits(path: Path, header: PhotoHeader) -> int:
    """Tell the bits a channel with which a photo is stored; call it within `reading`.

    Parameters
    ----------
    path : Path
    header : PhotoHeader

    Returns
    -------
    int
        As its header says; `PhotoHeader.bits` tells what must be mapped to 8.
    """
    with open(path, "rb") as file:
        head = file.read(_LONG_HEAD)
        if header.format == "PNG":
            return head[24]
        if header.format in ("HEIC", "AVIF"):
            # The property "pixi": version and flags, the number of channels, and the bits of each.
            at = head.find(b"pixi")
            return head[at + 9] if 0 <= at < len(head) - 9 else header.bits
        if header.format == "TIFF":
            file.seek(0)
            tags = Image.Exif()
            tags.load_from_fp(file)
            return max(_numbers(tags.get(_BITS, 1)))
    return header.bits


@contextmanager
def open_image(path: Path, header: PhotoHeader) -> Iterator[Image.Image]:
    """Open a photo of 8 bits a channel as Pillow's image.

    Parameters
    ----------
    path : Path
    header : PhotoHeader

    Yields
    ------
    PIL.Image.Image
    """
    if header.format == "HEIC":
        import pillow_heif  # libheif is loaded for HEIC only

        with open(path, "rb") as file:
            yield pillow_heif.open_heif(file, convert_hdr_to_8bit=True).to_pillow()
        return
    if header.preview is None:
        with Image.open(path, formats=[header.format.upper()]) as image:
            yield image
        return
    with open(path, "rb") as file:
        file.seek(header.preview.offset)
        embedded = io.BytesIO(file.read())
    with Image.open(embedded, formats=["JPEG"]) as image:
        yield image


def _photo_format(path: Path, file: BinaryIO) -> PhotoFormat:
    start = file.read(1024)
    if not start:
        raise InputError(f"{path} is empty.", DAMAGED)
    kind = photo_signature(start)
    if kind is None:
        what = other_content(start)
        raise InputError(f"{path} {f'{what}, ' if what else 'is '}not a photo.", f"Give {FORMATS} files.")
    if kind == "camera raw" and start[4:8] == b"ftyp":
        raise InputError(f"{path} is a Canon CR3 raw file, which is not supported.", _DEVELOP)
    if kind == "camera raw" or (kind == "TIFF" and is_raw(file)):
        return "raw"
    known: tuple[PhotoFormat, ...] = ("JPEG", "PNG", "TIFF", "HEIC", "AVIF", "WebP")
    for supported in known:
        if kind == supported:
            return supported
    raise InputError(f"{path} is a {kind} file, which is not supported.", _CONVERT)


def _pillow_header(kind: PhotoFormat, file: BinaryIO) -> PhotoHeader:
    head = file.read(_HEAD)
    file.seek(0)
    with Image.open(file, formats=[kind.upper()]) as image:
        width, height = image.size
        mode, bits = image.mode, 8
        if kind == "PNG" and head[24] == 16:
            mode, bits = _PNG_MODES[head[25]], 16
        alpha = mode in ("RGBA", "LA", "PA") or "transparency" in image.info
        raw = _exif_of(image)
        space = declared_space(mode, image.info.get("icc_profile"), _color_codes(kind, head), raw)
        return PhotoHeader(kind, width, height, mode, bits, alpha, _described(raw, width, height), space)


def _color_codes(kind: PhotoFormat, head: bytes) -> tuple[int, int] | None:
    """Primaries and transfer characteristics that a PNG or AVIF file names by number."""
    if kind == "PNG":
        at = head.find(b"cICP", 0, head.find(b"IDAT"))
        return (head[at + 4], head[at + 5]) if at >= 0 else None
    at = head.find(b"colrnclx") if kind == "AVIF" else -1
    if at < 0 or len(head) < at + 12:
        return None
    primaries, transfer = struct.unpack(">HH", head[at + 8 : at + 12])
    return primaries, transfer


def _heic_header(file: BinaryIO) -> PhotoHeader:
    import pillow_heif  # libheif is loaded for HEIC only

    image = pillow_heif.open_heif(file, convert_hdr_to_8bit=True)
    width, height = image.size
    raw = Image.Exif()
    try:
        raw.load(image.info.get("exif") or b"")
    except DECODE_ERRORS:
        raw = Image.Exif()
    # libheif turns the pixels by the container's own boxes; EXIF repeats it for information.
    raw.pop(_ORIENTATION, None)
    codes = image.info.get("nclx_profile") or {}
    cicp = (codes["color_primaries"], codes["transfer_characteristics"]) if codes else None
    space = declared_space(image.mode, image.info.get("icc_profile"), cicp, raw)
    alpha = image.mode in ("RGBA", "LA")
    return PhotoHeader("HEIC", width, height, image.mode, 8, alpha, _described(raw, width, height), space)


def _tiff_header(path: Path, file: BinaryIO) -> PhotoHeader:
    # Pillow cannot open TIFFs of 16 bits a channel, but reads the tags of any.
    tags = Image.Exif()
    tags.load_from_fp(file)
    if _WIDTH not in tags or _HEIGHT not in tags:
        raise ValueError("its size is missing")
    width, height, icc = int(tags[_WIDTH]), int(tags[_HEIGHT]), tags.get(_ICC)
    deep = max(_numbers(tags.get(_BITS, 1))) > 8
    if deep or width * height > MAX_PHOTO_PIXELS:
        mode = _deep_mode(path, tags)
    else:
        file.seek(0)
        with Image.open(file, formats=["TIFF"]) as image:
            mode, icc = image.mode, image.info.get("icc_profile")
    return PhotoHeader(
        "TIFF",
        width,
        height,
        mode,
        16 if deep else 8,
        mode in ("RGBA", "LA", "PA"),
        _described(tags, width, height),
        declared_space(mode, icc, None, tags),
    )


def _deep_mode(path: Path, tags: Image.Exif) -> str:
    bits, samples = max(_numbers(tags.get(_BITS, 1))), int(tags.get(_SAMPLES, 1))
    if max(_numbers(tags.get(_SAMPLE_FORMAT, 1))) == 3:
        raise InputError(
            f"{path} holds floating-point pixels, which tell neither their range nor their tones.",
            "Save it with 8 or 16 bits a channel.",
        )
    if bits > 16 or tags.get(_PHOTOMETRIC) not in (1, 2) or samples not in _DEEP_MODES:
        raise InputError(
            f"{path} has {samples} channels of {bits} bits of an unusual kind.",
            "Save it as RGB with 8 or 16 bits a channel.",
        )
    return _DEEP_MODES[samples]


def _raw_header(path: Path, file: BinaryIO) -> PhotoHeader:
    preview = largest_preview(path)
    if preview is None:
        raise InputError(f"{path} is a camera's raw file without an embedded preview.", _DEVELOP)
    if max(preview.width, preview.height) < MIN_PREVIEW_SIDE:
        raise InputError(
            f"{path} is a camera's raw file, and its embedded preview has only "
            f"{preview.width} x {preview.height} pixels.",
            _DEVELOP,
        )
    file.seek(preview.offset)
    with Image.open(io.BytesIO(file.read()), formats=["JPEG"]) as image:
        width, height = image.size
        raw = _exif_of(image)
        if _ORIENTATION not in raw:
            # Olympus and Panasonic mark their TIFF structure otherwise.
            tags = Image.Exif()
            try:
                tags.load_from_fp(io.BytesIO(_tiff_mark(file) + file.read()))
            except DECODE_ERRORS:
                tags = raw
            raw = tags
        space = declared_space(image.mode, image.info.get("icc_profile"), None, raw)
        exif = _described(raw, width, height)
        return PhotoHeader("raw", width, height, image.mode, 8, False, exif, space, preview)


def _tiff_mark(file: BinaryIO) -> bytes:
    file.seek(0)
    return b"MM\0*" if file.read(4).startswith(b"MM") else b"II*\0"


def _exif_of(image: Image.Image) -> Image.Exif:
    try:
        return image.getexif()
    except DECODE_ERRORS:
        return Image.Exif()  # damaged EXIF does not make the pixels unreadable


def _described(raw: Image.Exif, width: int, height: int) -> PhotoExif:
    try:
        return read_exif(raw, width, height)
    except DECODE_ERRORS:
        return PhotoExif()


def _numbers(value: Any) -> tuple[int, ...]:
    return tuple(int(v) for v in value) if isinstance(value, tuple) else (int(value),)
