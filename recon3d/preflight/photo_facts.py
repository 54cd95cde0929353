"""Facts about a photo, from its header."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

from PIL import Image

from recon3d.io.images import PhotoInfo, probe_photo
from recon3d.preflight.facts import Fact
from recon3d.preflight.photo_pixels import pixel_facts
from recon3d.preflight.track import Position, gps_fact

_ROTATIONS = {3: 180, 4: 180, 5: 90, 6: 90, 7: 270, 8: 270}
_DATE_TAKEN, _EXIF_IFD = 0x9003, 0x8769


def photo_facts(path: Path) -> tuple[Fact, ...]:
    """Gather the facts.

    Parameters
    ----------
    path : Path

    Returns
    -------
    tuple of Fact
    """
    info = probe_photo(path)
    exif = info.exif
    facts = [
        Fact("container", info.format, info.format, "first bytes"),
        Fact("bytes", path.stat().st_size, f"{path.stat().st_size / 1e6:.1f} MB", "file"),
        Fact("size", [info.width, info.height], f"{info.width} x {info.height}, upright", "header"),
    ]
    if exif.orientation in _ROTATIONS:
        turn = _ROTATIONS[exif.orientation]
        facts.append(Fact("rotation", turn, f"{turn}° clockwise", "EXIF orientation"))
    facts += pixel_facts(path)
    facts += _profile_and_time(path)
    camera = f"{exif.make} {exif.model}".strip()
    if camera:
        facts.append(Fact("camera", camera, camera, "EXIF"))
    if exif.lens:
        facts.append(Fact("lens", exif.lens, exif.lens, "EXIF"))
    facts += _focal(info)
    if exif.gps is not None:
        latitude, longitude, altitude = exif.gps
        place = gps_fact([Position(latitude, longitude, altitude)], "EXIF GPS")
        facts += [place] if place else []
    return tuple(facts)


def _focal(info: PhotoInfo) -> list[Fact]:
    exif = info.exif
    facts = []
    if exif.focal_mm:
        facts.append(Fact("focal_mm", exif.focal_mm, f"{exif.focal_mm:g} mm", "EXIF FocalLength"))
    if exif.focal_35mm:
        facts.append(
            Fact("focal_35mm", exif.focal_35mm, f"{exif.focal_35mm:g} mm", "EXIF FocalLengthIn35mmFilm")
        )
    if exif.focal_px:
        facts.append(
            Fact("focal_px", round(exif.focal_px, 1), f"{exif.focal_px:.0f} px", "computed from EXIF")
        )
    return facts


def _profile_and_time(path: Path) -> list[Fact]:
    """Colour profile and time, which Pillow reads from the header."""
    facts: list[Fact] = []
    try:
        with Image.open(path) as image:
            profile = image.info.get("icc_profile")
            taken = image.getexif().get_ifd(_EXIF_IFD).get(_DATE_TAKEN)
    except (OSError, ValueError, SyntaxError, KeyError, TypeError):
        return facts
    if profile:
        name = _profile_name(profile)
        facts.append(Fact("colour_space", name, name, "embedded ICC profile"))
    if isinstance(taken, str) and taken.strip("\0 :"):
        facts.append(Fact("created", taken, taken, "EXIF DateTimeOriginal"))
    return facts


def _profile_name(profile: bytes) -> str:
    from PIL import ImageCms

    with contextlib.suppress(ImageCms.PyCMSError, OSError, ValueError):
        return str(ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(profile)))).strip()
    return "unreadable profile"
