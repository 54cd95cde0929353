"""Telling by its first bytes what a file is: a photo of some format, or something else."""

from __future__ import annotations

_TIFF_STARTS = (b"II*\0", b"MM\0*")
_BIG_TIFF_STARTS = (b"II+\0", b"MM\0+")
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
    if start.startswith(_BIG_TIFF_STARTS):
        return "BigTIFF"
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


#: First bytes of files that people mistake for photos or videos, and what they are.
_OTHERS = (
    (b"%PDF", "is a PDF document"),
    (b"PK\x03\x04", "is a ZIP archive"),
    (b"\x1f\x8b", "is a compressed archive"),
    (b"7z\xbc\xaf\x27\x1c", "is a compressed archive"),
    (b"Rar!", "is a compressed archive"),
    (b"ID3", "is a sound recording"),
    (b"fLaC", "is a sound recording"),
    (b"SQLite format 3", "is a database"),
    (b"\xd0\xcf\x11\xe0", "is an Office document"),
    (b"ply\n", "is a 3D model"),
    (b"ply\r\n", "is a 3D model"),
    (b"glTF", "is a 3D model"),
    (b"8BPS", "is a Photoshop document"),
    (b"\x76\x2f\x31\x01", "is an OpenEXR picture"),
    (b"\x7fELF", "is a program"),
    (b"MZ", "is a program"),
)
_WEB_PAGES = ("<!doctype html", "<html", "<head", "<body")


def other_content(start: bytes) -> str | None:
    """Say what a file is that is neither a photo nor a video.

    Parameters
    ----------
    start : bytes
        The file's first bytes, a few hundred.

    Returns
    -------
    str or None
        Such as "is a text file"; None when it is not known.
    """
    for mark, what in _OTHERS:
        if start.startswith(mark):
            return what
    if start[:4] == b"RIFF" and start[8:12] == b"WAVE":
        return "is a sound recording"
    # Also in the encodings of old Windows programs; the last character may be cut in the middle.
    wide = start[:2] in (b"\xff\xfe", b"\xfe\xff")
    text = start.decode("utf-16" if wide else "utf-8-sig", "ignore")
    if not text or (not wide and len(text.encode()) < 0.9 * len(start) - 4):
        return None
    if any(ord(c) < 32 and c not in "\t\n\r\f" for c in text):
        return None
    head = text.lstrip().lower()
    if head.startswith(_WEB_PAGES):
        return "is a web page (HTML)"
    if head.startswith("<svg") or (head.startswith("<?xml") and "<svg" in head):
        return "is a drawing (SVG)"
    return "is a text file"


#: Matroska, MPEG program stream, ASF; and Flash, Ogg, MXF, which are named when they are refused.
_CONTAINERS = (
    *(b"\x1aE\xdf\xa3", b"\0\0\x01\xba", b"\x30\x26\xb2\x75"),
    *(b"FLV\x01", b"OggS", b"\x06\x0e\x2b\x34"),
)


def looks_like_video(start: bytes) -> bool:
    """Tell whether a file begins as a video in one of the usual containers.

    Parameters
    ----------
    start : bytes
        The file's first bytes, a few hundred.

    Returns
    -------
    bool
    """
    if start[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"):
        return True
    if start[:4] == b"RIFF" and start[8:12] == b"AVI ":
        return True
    # Packets of an MPEG transport stream, without and with the time stamps that AVCHD adds.
    for first, size in ((0, 188), (4, 192)):
        if len(start) > first + size and start[first] == start[first + size] == 0x47:
            return True
    return start.startswith(_CONTAINERS)
