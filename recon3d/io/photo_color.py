"""The colours of photos: from the space that a file declares to sRGB, which all later stages assume."""

from __future__ import annotations

import functools
import io
import struct
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageCms

from recon3d.io.icc import PRIMARIES, matrix_profile, tone_curve

_EXIF_IFD, _INTEROPERABILITY = 0x8769, 0xA005
#: Pillow's modes without colours.
_GRAY = ("L", "LA", "1")
#: Differences of up to so many levels of 255 between a profile and sRGB are left alone: programs write
#: sRGB with slightly different numbers.
_SAME = 3
_CMS_ERRORS = (ImageCms.PyCMSError, OSError, ValueError, TypeError)
#: Codes of ITU-T H.273; those that are missing are near enough to sRGB, or unspecified.
_PRIMARIES_BY_CODE = {9: "BT.2020", 11: "Display P3", 12: "Display P3"}
_NAMED_CURVES = {4: "gamma 2.2", 5: "gamma 2.8", 8: "linear", 16: "PQ", 18: "HLG"}


@dataclass(frozen=True)
class ColorSpace:
    """A colour space other than sRGB.

    Attributes
    ----------
    name : str
        For messages.
    profile : bytes
        ICC profile; empty for CMYK without one.
    problem : str
        Why the file's profile cannot be used; its colours are then taken as sRGB.
    """

    name: str
    profile: bytes = field(default=b"", repr=False)
    problem: str = ""


def declared_space(
    mode: str, icc: bytes | None, cicp: tuple[int, int] | None, exif: Image.Exif
) -> ColorSpace | None:
    """Find the colour space that a photo declares.

    Parameters
    ----------
    mode : str
        Pillow's mode of the pixels.
    icc : bytes, optional
        Embedded profile.
    cicp : tuple of int, optional
        Primaries and transfer characteristics of ITU-T H.273, for files without a profile.
    exif : PIL.Image.Exif

    Returns
    -------
    ColorSpace or None
        None for sRGB, also where nothing is declared.
    """
    if icc:
        return _described(icc, "CMYK" if mode == "CMYK" else "L" if mode in _GRAY else "RGB")
    if mode == "CMYK":
        return ColorSpace("CMYK without a profile")
    if cicp and (cicp[0] in _PRIMARIES_BY_CODE or cicp[1] in _NAMED_CURVES):
        return coded_space(*cicp)
    if _is_adobe_rgb(exif):
        return ColorSpace("Adobe RGB", _adobe_rgb())
    return None


def coded_space(primaries: int, transfer: int) -> ColorSpace:
    """Make a profile for the codes of ITU-T H.273.

    Parameters
    ----------
    primaries, transfer : int

    Returns
    -------
    ColorSpace
    """
    space = _PRIMARIES_BY_CODE.get(primaries, "sRGB")
    curve = _NAMED_CURVES.get(transfer, "")
    name = f"{space} {curve}".strip()
    return ColorSpace(name, matrix_profile(name, PRIMARIES[space], tone_curve(transfer)))


def to_srgb(image: Image.Image, space: ColorSpace | None) -> Image.Image:
    """Convert an image's colours to sRGB.

    Parameters
    ----------
    image : PIL.Image.Image
        8 bits a channel, without transparency.
    space : ColorSpace or None
        See `declared_space`.

    Returns
    -------
    PIL.Image.Image
        Of mode RGB.
    """
    if space is None or not space.profile or space.problem:
        return image.convert("RGB")
    source = _profile_mode(space.profile)
    transform = _transform(space.profile, source)
    return ImageCms.applyTransform(image.convert(source), transform) or image


@functools.lru_cache(maxsize=16)
def _described(icc: bytes, pixels: str) -> ColorSpace | None:
    """The space of a profile; None when it is sRGB. `pixels` are RGB, L or CMYK."""
    try:
        name = " ".join(ImageCms.getProfileDescription(io.BytesIO(icc)).split()) or "an unnamed profile"
        source = _profile_mode(icc)
        if source != pixels and not (source == "RGB" and pixels == "L"):
            return ColorSpace(name, icc, f"it is for {source} pixels")
        transform = _transform(icc, source)
        if source == "CMYK":
            return ColorSpace(name, icc)
        levels = np.linspace(0, 255, 9).astype(np.uint8)
        if source == "L":
            probe, wanted = levels[None], np.repeat(levels[None, :, None], 3, axis=2)
        else:
            probe = wanted = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(1, -1, 3)
        converted = np.asarray(ImageCms.applyTransform(Image.fromarray(probe), transform))
    except _CMS_ERRORS as error:
        return ColorSpace("a damaged profile", icc, str(error) or "it cannot be read")
    same = np.abs(converted.astype(int) - wanted.astype(int)).max() <= _SAME
    return None if same else ColorSpace(name, icc)


def _profile_mode(icc: bytes) -> str:
    space = icc[16:20].decode("latin-1").strip()
    try:
        return {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}[space]
    except KeyError:
        raise ValueError(f"it is for {space!r} pixels") from None


@functools.lru_cache(maxsize=16)
def _transform(icc: bytes, mode: str) -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(
        ImageCms.ImageCmsProfile(io.BytesIO(icc)),
        ImageCms.createProfile("sRGB"),
        mode,
        "RGB",
        renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
        flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )


@functools.lru_cache(maxsize=1)
def _adobe_rgb() -> bytes:
    return matrix_profile("Adobe RGB", PRIMARIES["Adobe RGB"], tone_curve(563 / 256))


def _is_adobe_rgb(exif: Image.Exif) -> bool:
    """Whether the camera says so by DCF's option file; damaged EXIF says nothing."""
    try:
        if _INTEROPERABILITY not in exif.get_ifd(_EXIF_IFD):
            return False
        value = exif.get_ifd(_INTEROPERABILITY).get(1, "")
    except (OSError, ValueError, SyntaxError, TypeError, KeyError, IndexError, OverflowError, struct.error):
        return False
    text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
    return text.strip("\0 ") == "R03"
