"""Facts about a photo's pixels: their depth as the header has it, and whether all can be decoded."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from recon3d.errors import InputError
from recon3d.io.images import PhotoInfo, check_photo
from recon3d.io.photo_file import DECODE_ERRORS
from recon3d.preflight.facts import Fact

#: Bytes in which the header of a HEIC or AVIF file ends.
_HEAD = 65536
_BITS_PER_SAMPLE = 258
#: Longer side to decode JPEGs at; their damage shows at any size.
_SIZE = 256


def pixel_facts(path: Path, info: PhotoInfo) -> list[Fact]:
    """Tell the depth of the pixels, and decode them all.

    Parameters
    ----------
    path : Path
    info : PhotoInfo
        What its header says.

    Returns
    -------
    list of Fact
    """
    bits = _bits(path, info)
    found = [Fact("bits", bits, f"{bits} bits a sample", "header")]
    try:
        check_photo(path, _SIZE)
    except InputError as error:
        reason = error.message.removeprefix(f"{path} ").removeprefix("cannot be decoded: ").rstrip(".")
        return [*found, Fact("damaged", True, f"yes: {reason}", "decoded pixels")]
    return [*found, Fact("damaged", False, "no", "decoded pixels")]


def _bits(path: Path, info: PhotoInfo) -> int:
    with open(path, "rb") as file:
        head = file.read(_HEAD)
        if info.format == "PNG":
            return head[24]
        if info.format in ("HEIC", "AVIF"):
            # The property "pixi": version and flags, the number of channels, and the bits of each.
            at = head.find(b"pixi")
            return head[at + 9] if 0 <= at < len(head) - 9 else info.bits
        if info.format == "TIFF":
            file.seek(0)
            tags = Image.Exif()
            try:
                tags.load_from_fp(file)
                bits = tags.get(_BITS_PER_SAMPLE, 1)
                return max(int(b) for b in (bits if isinstance(bits, tuple) else (bits,)))
            except DECODE_ERRORS:
                return info.bits
    return info.bits
