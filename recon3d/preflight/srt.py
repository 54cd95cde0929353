"""Subtitles that drones write beside a video: a position for each moment."""

from __future__ import annotations

import re
from pathlib import Path

from recon3d.preflight.track import Position, is_place

#: Files beyond this are no subtitles.
_MOST_BYTES = 50_000_000
_TIME = re.compile(r"(\d+):(\d\d):(\d\d)[,.](\d{1,3})\s*-->")
_NUMBER = r"\s*[:=]?\s*(-?\d+(?:\.\d+)?)"
_LATITUDE = re.compile(r"latitude" + _NUMBER, re.I)
_LONGITUDE = re.compile(r"longt?itude" + _NUMBER, re.I)  # DJI's firmware misspells it
_ALTITUDE = re.compile(r"(?:abs_alt|altitude)" + _NUMBER, re.I)
#: The older form: longitude first, then latitude.
_PAIR = re.compile(r"GPS\s*\(\s*(-?\d+\.\d+)\s*,\s*(-?\d+\.\d+)\s*,", re.I)
_FOCAL = re.compile(r"focal_len\s*[:=]\s*(\d+(?:\.\d+)?)", re.I)


def sidecar(video: Path) -> Path | None:
    """Find the subtitles of a video.

    Parameters
    ----------
    video : Path

    Returns
    -------
    Path or None
    """
    for suffix in (".SRT", ".srt", ".Srt"):
        path = video.with_suffix(suffix)
        if path.is_file() and path.stat().st_size < _MOST_BYTES:
            return path
    return None


def read_srt(path: Path) -> tuple[list[Position], float | None]:
    """Read positions and the focal length.

    Parameters
    ----------
    path : Path

    Returns
    -------
    (list of Position, float or None)
        Positions, and the focal length of 35 mm film in millimetres.
    """
    text = path.read_text(encoding="utf-8", errors="replace")
    found = []
    times = list(_TIME.finditer(text))
    for number, match in enumerate(times):
        end = times[number + 1].start() if number + 1 < len(times) else len(text)
        position = _position(text[match.end() : end], _seconds(match))
        if position is not None:
            found.append(position)
    focal = _FOCAL.search(text)
    # 24.00 and, by other firmware, 240 for the same lens.
    millimetres = float(focal[1]) if focal else None
    if millimetres and millimetres >= 150:
        millimetres /= 10
    return found, millimetres


def _position(block: str, time: float) -> Position | None:
    pair = _PAIR.search(block)
    if pair:
        longitude, latitude = float(pair[1]), float(pair[2])
        altitude = None
    else:
        found = _LATITUDE.search(block), _LONGITUDE.search(block)
        if found[0] is None or found[1] is None:
            return None
        latitude, longitude = float(found[0][1]), float(found[1][1])
        height = _ALTITUDE.search(block)
        altitude = float(height[1]) if height else None
    return Position(latitude, longitude, altitude, time) if is_place(latitude, longitude) else None


def _seconds(match: re.Match[str]) -> float:
    hours, minutes, seconds, fraction = match.groups()
    return 3600 * int(hours) + 60 * int(minutes) + int(seconds) + float(f"0.{fraction}")
