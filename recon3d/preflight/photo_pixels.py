"""Facts about a photo's pixels: their depth as the header has it, and whether all can be decoded."""

from __future__ import annotations

from pathlib import Path

from recon3d.errors import InputError
from recon3d.io.images import check_photo
from recon3d.io.photo_file import read_header, reading, stored_bits
from recon3d.preflight.facts import Fact

#: Longer side to decode JPEGs at; their damage shows at any size.
_SIZE = 256


def pixel_facts(path: Path) -> list[Fact]:
    """Tell the depth of the pixels, and decode them all.

    Parameters
    ----------
    path : Path

    Returns
    -------
    list of Fact
    """
    with reading(path):
        bits = stored_bits(path, read_header(path))
    found = [Fact("bits", bits, f"{bits} bits a sample", "header")]
    try:
        check_photo(path, _SIZE)
    except InputError as error:
        reason = error.message.removeprefix(f"{path} ").removeprefix("cannot be decoded: ").rstrip(".")
        return [*found, Fact("damaged", True, f"yes: {reason}", "decoded pixels")]
    return [*found, Fact("damaged", False, "no", "decoded pixels")]
