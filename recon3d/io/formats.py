"""Telling photos of all formats from everything else, by their first bytes."""

from __future__ import annotations

_TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"mif2", b"msf1"}
_AVIF_BRANDS = {b"avif", b"avis"}


def photo_signature(start: bytes) -> str | None:
    """Recognize a photo by its first bytes.

    Parameters
    ----------
    start : bytes
        The file's first 32 bytes.

    Returns
    -------
    str or None
        JPEG, PNG, TIFF, HEIC …; None when it is not a photo.
    """
    if start.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if start.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if start.startswith(_TIFF_STARTS):
        return "TIFF"
    if start[4:8] == b"ftyp" and start[8:12] in _HEIF_BRANDS | _AVIF_BRANDS:
        # The general brands of HEIF are those of AVIF, too; then the list of compatible brands tells.
        brands = {start[at : at + 4] for at in (8, *range(16, min(start[3], len(start)), 4))}
        return "AVIF" if brands & _AVIF_BRANDS else "HEIC"
    if start[4:12] == b"ftypcrx ":
        return "camera raw"
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "WebP"
    if start.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if start.startswith(b"BM") and start[6:10] == b"\0\0\0\0":
        return "BMP"
    if start.startswith((b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51")):
        return "JPEG 2000"
    if start.startswith((b"\0\0\0\x0cJXL ", b"\xff\x0a")):
        return "JPEG XL"
    if start.startswith((b"FUJIFILMCCD-RAW", b"IIRO", b"IIU\0")):
        return "camera raw"
    return None
