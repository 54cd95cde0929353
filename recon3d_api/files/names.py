"""Names of uploaded files: which are refused, and how the others are made harmless."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv")
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff")
#: What phones, cameras and web pages give instead.
_OTHER_PHOTOS = (".heic", ".heif", ".avif", ".webp", ".gif", ".bmp", ".dng", ".cr2", ".cr3", ".nef", ".arw")
_CONVERT = "Save it as JPEG"
_PHONE = (".heic", ".heif")
#: Only Apple's phones and tablets take these by default.
FROM_HEIC = f"{_CONVERT}; iPhones take JPEG with Settings > Camera > Formats > Most Compatible"
#: Bytes of a name without its suffix. File systems allow 255; stages add suffixes of their own.
_MAX_STEM = 120


def base_name(name: str) -> str:
    """Remove the folders that a client put before a file's name, such as ``C:\\fakepath\\``.

    Parameters
    ----------
    name : str

    Returns
    -------
    str
    """
    return re.split(r"[/\\]", name)[-1]


def name_problem(name: str, suffixes: Sequence[str]) -> str:
    """Tell why a file name is refused.

    Parameters
    ----------
    name : str
    suffixes : sequence of str
        Accepted suffixes, with the dot.

    Returns
    -------
    str
        Empty when the name is accepted.
    """
    # Format characters (Cf) are fine: emoji are joined by them. Names are made harmless later anyway.
    if not name or any(unicodedata.category(c) in ("Cc", "Cs") for c in name):
        return "The file's name is empty or has control characters"
    if Path(name).suffix.lower() not in suffixes:
        told = f"{name[:100]!r} is not supported; use {', '.join(s[1:].upper() for s in suffixes)}"
        photo = IMAGE_SUFFIXES[0] in suffixes and Path(name).suffix.lower() in _OTHER_PHOTOS
        if not photo:
            return told
        return f"{told}. {FROM_HEIC if Path(name).suffix.lower() in _PHONE else _CONVERT}"
    return ""


def safe_name(name: str) -> str:
    """Make a file name of harmless characters, short enough for every file system.

    Parameters
    ----------
    name : str
        One without folders that `name_problem` accepts.

    Returns
    -------
    str
    """
    path = Path(unicodedata.normalize("NFC", name))
    stem = re.sub(r"[^\w.-]+", "_", path.stem).strip("._-").encode()[:_MAX_STEM].decode(errors="ignore")
    return (stem or "file") + path.suffix.lower()


def safe_stem(name: str) -> str:
    """Make the beginning of file names from a name without a suffix, such as a project's.

    Parameters
    ----------
    name : str

    Returns
    -------
    str
    """
    return safe_name(f"{name}.x").removesuffix(".x")
