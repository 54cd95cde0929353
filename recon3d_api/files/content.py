"""What an uploaded file is by its bytes: looked at before anything decodes it."""

from __future__ import annotations

import zipfile
from pathlib import Path

from recon3d_api.files.names import FROM_HEIC

_START = 4096
#: The next step for what cannot be whole, and the commonest such case.
COPY_AGAIN = "copy the file again, or leave it out"
EMPTY = f"is empty; {COPY_AGAIN}"
#: Looks of the content that each suffix may have.
_KINDS = {
    ".mp4": "mp4",
    ".mov": "mp4",
    ".avi": "avi",
    ".mkv": "mkv",
    ".jpg": "jpeg",
    ".jpeg": "jpeg",
    ".png": "png",
    ".tif": "tiff",
    ".tiff": "tiff",
}
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_OTHER_BRANDS = (b"avif", b"avis", b"crx ")
_QUICKTIME_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot")


def content_kind(path: Path) -> str:
    """Recognize a file by its first bytes.

    Parameters
    ----------
    path : Path

    Returns
    -------
    str
        Such as "mp4" or "jpeg"; empty when the format is not accepted.
    """
    with open(path, "rb") as file:
        return _kind_of(file.read(_START))


def _kind_of(start: bytes) -> str:
    if start[4:8] in _QUICKTIME_BOXES and not _is_heif(start) and start[8:12] not in _OTHER_BRANDS:
        return "mp4"
    if start[:4] == b"RIFF" and start[8:12] == b"AVI ":
        return "avi"
    if start.startswith(b"\x1a\x45\xdf\xa3"):
        return "mkv"
    if start.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if start.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if start.startswith((b"II*\0", b"MM\0*")):
        return "tiff"
    return ""


def _is_heif(start: bytes) -> bool:
    return start[4:8] == b"ftyp" and start[8:12] in _HEIF_BRANDS


def content_problem(path: Path, suffix: str) -> str:
    """Tell why a file's content is refused.

    Parameters
    ----------
    path : Path
    suffix : str
        Suffix of the file's name.

    Returns
    -------
    str
        Empty when the content is accepted.
    """
    with open(path, "rb") as file:
        start = file.read(_START)
    if not start:
        return EMPTY
    kind = _kind_of(start)
    if kind != _KINDS[suffix]:
        told = f"is not what its name says: {suffix} was expected, the content is"
        return f"{told} HEIC. {FROM_HEIC}" if _is_heif(start) else f"{told} {kind or 'something else'}"
    # A picture that is also an archive is made to get past checks such as this one. What looks like a
    # web page inside a picture is harmless: downloads say what they are, and that it is not to be guessed.
    if zipfile.is_zipfile(path):
        return "is more than one kind of file at once"
    return ""
