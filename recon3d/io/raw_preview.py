"""The picture that a camera embeds in a raw file: JPEG, as its display shows the photo."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from PIL import TiffImagePlugin

_SUB_IFDS, _PHOTOMETRIC, _DNG_VERSION = 330, 262, 50706
#: Colour filter array, and raw values that were interpolated.
_RAW_PHOTOMETRICS = (32803, 34892)
#: Frames of JPEG that every decoder reads: baseline, extended and progressive. Raw data are lossless.
_FRAMES = (0xC0, 0xC1, 0xC2)
_ALONE = (0x01, *range(0xD0, 0xD8))
_MOST_SEGMENTS = 200


@dataclass(frozen=True)
class Preview:
    """Where a JPEG lies in a file, and its size."""

    offset: int
    width: int
    height: int


def is_raw(file: BinaryIO) -> bool:
    """Tell a camera's raw file from an ordinary TIFF file.

    Parameters
    ----------
    file : binary file
        Begins as TIFF does; read from its start.

    Returns
    -------
    bool
    """
    file.seek(0)
    header = file.read(16)
    if header[8:10] == b"CR":  # Canon's CR2
        return True
    if b"+" not in header[2:4]:  # not BigTIFF
        header = header[:8]
    main = _directory(file, header, None)
    below = main.get(_SUB_IFDS, ())
    offsets = below if isinstance(below, tuple) else (below,)
    directories = [main, *(_directory(file, header, int(offset)) for offset in offsets)]
    return _DNG_VERSION in main or any(d.get(_PHOTOMETRIC) in _RAW_PHOTOMETRICS for d in directories)


def _directory(file: BinaryIO, header: bytes, offset: int | None) -> TiffImagePlugin.ImageFileDirectory_v2:
    found = TiffImagePlugin.ImageFileDirectory_v2(header)
    file.seek(found.next if offset is None else offset)
    found.load(file)
    return found


def largest_preview(path: Path) -> Preview | None:
    """Find the largest JPEG in a raw file.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Preview or None
    """
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return max(_previews(data), key=lambda found: found.width * found.height, default=None)


def _previews(data: mmap.mmap) -> Iterator[Preview]:
    at = data.find(b"\xff\xd8\xff")
    while at >= 0:
        size = _frame_size(data, at + 2)
        if size:
            yield Preview(at, *size)
        at = data.find(b"\xff\xd8\xff", at + 3)


def _frame_size(data: mmap.mmap, at: int) -> tuple[int, int] | None:
    """Width and height of the JPEG whose first segment is at `at`, if it is one of 8 bits."""
    for _ in range(_MOST_SEGMENTS):
        if at + 10 > len(data) or data[at] != 0xFF:
            return None
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker in _FRAMES:
            height, width = (int.from_bytes(data[at + k : at + k + 2], "big") for k in (5, 7))
            return (width, height) if data[at + 4] == 8 and data[at + 9] in (1, 3) else None
        if marker == 0xFF:
            at += 1
        elif marker in _ALONE:
            at += 2
        elif 0xC0 <= marker <= 0xFE and marker not in (0xC3, 0xDA) and length >= 2:
            at += 2 + length
        else:
            return None
    return None
