"""What a photo's EXIF data says about its camera and its place."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from PIL import Image

_EXIF_IFD, _GPS_IFD = 0x8769, 0x8825
_MAKE, _MODEL, _ORIENTATION = 0x010F, 0x0110, 0x0112
_FOCAL, _FOCAL_35MM, _LENS = 0x920A, 0xA405, 0xA434
_PIXEL_X, _PIXEL_Y = 0xA002, 0xA003
_PLANE_X_RESOLUTION, _PLANE_UNIT = 0xA20E, 0xA210
_MM_BY_UNIT = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}
#: Diagonal of a frame of 35 mm film in millimetres.
_FILM_DIAGONAL = math.hypot(36.0, 24.0)

#: Sensor width in millimetres by the beginning of "make model", lower case, for cameras that often
#: write neither the 35 mm focal length nor the sensor's resolution; the first that fits counts.
_SENSOR_WIDTHS: tuple[tuple[str, float], ...] = (
    ("canon canon eos 5d", 36.0),
    ("canon canon eos 6d", 35.8),
    ("canon canon eos r8", 35.9),
    ("canon canon eos r5", 36.0),
    ("canon canon eos r6", 35.9),
    ("canon canon eos-1d x", 36.0),
    ("canon canon eos-1ds", 36.0),
    ("canon canon eos", 22.3),
    ("canon canon powershot g", 7.44),
    ("canon canon powershot", 6.16),
    ("nikon corporation nikon d3x", 35.9),
    ("nikon corporation nikon d4", 36.0),
    ("nikon corporation nikon d5 ", 35.9),
    ("nikon corporation nikon d6", 35.9),
    ("nikon corporation nikon d7 ", 35.9),
    ("nikon corporation nikon d700", 36.0),
    ("nikon corporation nikon d75", 35.9),
    ("nikon corporation nikon d78", 35.9),
    ("nikon corporation nikon d8", 35.9),
    ("nikon corporation nikon z 5", 35.9),
    ("nikon corporation nikon z 6", 35.9),
    ("nikon corporation nikon z 7", 35.9),
    ("nikon corporation nikon z 8", 35.9),
    ("nikon corporation nikon z 9", 35.9),
    ("nikon corporation nikon", 23.6),
    ("sony ilce-7", 35.8),
    ("sony ilce-9", 35.6),
    ("sony ilce-1", 35.9),
    ("sony ilce-", 23.5),
    ("fujifilm x-", 23.5),
    ("olympus", 17.3),
    ("om digital solutions", 17.3),
    ("panasonic dmc-g", 17.3),
    ("panasonic dc-g", 17.3),
    ("pentax", 23.5),
    ("gopro", 6.17),
    ("dji fc220", 6.17),
    ("dji fc330", 6.17),
    ("dji fc6310", 13.2),
)


@dataclass(frozen=True)
class PhotoExif:
    """Camera and place of a photo.

    Attributes
    ----------
    make, model, lens : str
        Empty where they are not known.
    orientation : int
        EXIF orientation, 1 to 8.
    focal_mm, focal_35mm : float or None
        Focal length as it is, and the one of the same angle of view on 35 mm film.
    focal_px : float or None
        Focal length in pixels of the image.
    gps : tuple of float, or None
        Latitude and longitude in degrees, altitude in metres (None where it is not recorded).
    """

    make: str = ""
    model: str = ""
    lens: str = ""
    orientation: int = 1
    focal_mm: float | None = None
    focal_35mm: float | None = None
    focal_px: float | None = None
    gps: tuple[float, float, float | None] | None = None


def read_exif(exif: Image.Exif, width: int, height: int) -> PhotoExif:
    """Interpret EXIF data; whatever is damaged or absurd in it counts as absent.

    Parameters
    ----------
    exif : PIL.Image.Exif
    width, height : int
        Size of the image as stored, in pixels.

    Returns
    -------
    PhotoExif
        Damaged or implausible values are absent.
    """
    details: Mapping[int, Any] = _directory(exif, _EXIF_IFD)
    make, model = _text(exif.get(_MAKE)), _text(exif.get(_MODEL))
    focal_mm, focal_35mm = _positive(details.get(_FOCAL)), _positive(details.get(_FOCAL_35MM))
    orientation = exif.get(_ORIENTATION)
    return PhotoExif(
        make=make,
        model=model,
        lens=_text(details.get(_LENS)),
        orientation=orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1,
        focal_mm=focal_mm,
        focal_35mm=focal_35mm,
        focal_px=_focal_in_pixels(details, f"{make} {model}", focal_mm, focal_35mm, width, height),
        gps=_place(_directory(exif, _GPS_IFD)),
    )


def _focal_in_pixels(
    details: Mapping[int, Any],
    camera: str,
    focal_mm: float | None,
    focal_35mm: float | None,
    width: int,
    height: int,
) -> float | None:
    longer = max(width, height)
    taken = float(longer)
    across, down = _positive(details.get(_PIXEL_X)), _positive(details.get(_PIXEL_Y))
    if across and down:
        taken = max(across, down)
        shape = taken / min(across, down)
        if abs(shape / (longer / min(width, height)) - 1) > 0.03:
            return None  # a crop: what the camera wrote is not true of this image any more
    # The 35 mm focal length compares diagonals (CIPA DCG-001), which matters for 4:3 and 16:9.
    by_film = focal_35mm / _FILM_DIAGONAL * math.hypot(width, height) if focal_35mm else None
    by_sensor = None
    resolution = _positive(details.get(_PLANE_X_RESOLUTION))
    unit = _MM_BY_UNIT.get(int(_positive(details.get(_PLANE_UNIT)) or 2))
    if focal_mm and resolution and unit:
        sensor = taken / resolution * unit
        if 2.0 < sensor < 70.0:
            by_sensor = focal_mm / sensor * longer
    if by_film and by_sensor and abs(by_sensor / by_film - 1) > 0.15:
        # Programs that scale a photo often leave the sensor's resolution as it was.
        by_sensor = None
    focal = by_sensor or by_film
    if focal is None and focal_mm:
        known = (w for start, w in _SENSOR_WIDTHS if f"{camera} ".lower().startswith(start))
        sensor_width = next(known, None)
        focal = focal_mm / sensor_width * longer if sensor_width else None
    return focal if focal and 0.2 * longer < focal < 50 * longer else None


def _place(gps: Mapping[int, Any]) -> tuple[float, float, float | None] | None:
    latitude, longitude = _degrees(gps.get(2), gps.get(1), "S"), _degrees(gps.get(4), gps.get(3), "W")
    if latitude is None or longitude is None or abs(latitude) > 90 or abs(longitude) > 180:
        return None
    if latitude == 0 and longitude == 0:
        return None  # written by cameras that have no fix
    return latitude, longitude, _altitude(gps)


def _altitude(gps: Mapping[int, Any]) -> float | None:
    try:
        altitude = float(gps[6])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    if not math.isfinite(altitude) or altitude < 0:
        return None
    return -altitude if gps.get(5) in (1, b"\x01") else altitude


def _degrees(parts: Any, reference: Any, negative: str) -> float | None:
    try:
        degrees, minutes, seconds = (float(part) for part in parts)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    value = degrees + minutes / 60 + seconds / 3600
    if not math.isfinite(value):
        return None
    return -value if _text(reference).upper() == negative else value


def _directory(exif: Image.Exif, tag: int) -> Mapping[int, Any]:
    try:
        return exif.get_ifd(tag)
    except (OSError, ValueError, SyntaxError, TypeError, KeyError, IndexError, OverflowError):
        return {}


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    return value.replace("\0", " ").strip() if isinstance(value, str) else ""


def _positive(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    return number if math.isfinite(number) and number > 0 else None
