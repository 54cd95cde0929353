"""A track of positions, and how it is told."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from recon3d.preflight.facts import Fact

_EARTH_RADIUS = 6_371_000.0


@dataclass(frozen=True)
class Position:
    """Where the camera was.

    Attributes
    ----------
    latitude, longitude : float
        Degrees.
    altitude : float or None
        Metres; None where it is not recorded.
    time : float or None
        Seconds from the start of the video.
    """

    latitude: float
    longitude: float
    altitude: float | None = None
    time: float | None = None


def is_place(latitude: float, longitude: float) -> bool:
    """Tell whether two numbers can be a place; 0, 0 is written by receivers without a fix.

    Parameters
    ----------
    latitude, longitude : float
        Degrees.

    Returns
    -------
    bool
    """
    return abs(latitude) <= 90 and abs(longitude) <= 180 and (latitude, longitude) != (0.0, 0.0)


def extent(track: Sequence[Position]) -> float:
    """Measure how far a track leads from its first position.

    Parameters
    ----------
    track : sequence of Position

    Returns
    -------
    float
        Metres, along the ground.
    """
    first = track[0]
    across = math.cos(math.radians(first.latitude))
    return max(
        math.hypot(
            math.radians(p.latitude - first.latitude),
            math.radians(p.longitude - first.longitude) * across,
        )
        * _EARTH_RADIUS
        for p in track
    )


def gps_fact(track: Sequence[Position], source: str) -> Fact | None:
    """Make the fact of a position or a track.

    Parameters
    ----------
    track : sequence of Position
    source : str

    Returns
    -------
    Fact or None
        None without a position.
    """
    if not track:
        return None
    middle = statistics.median(p.latitude for p in track), statistics.median(p.longitude for p in track)
    heights = [p.altitude for p in track if p.altitude is not None]
    height = statistics.median(heights) if heights else None
    text = f"{middle[0]:.6f}°, {middle[1]:.6f}°" + ("" if height is None else f", {height:.1f} m")
    if len(track) > 1:
        text += f"; {len(track)} positions up to {extent(track):.0f} m apart"
    value = {"latitude": middle[0], "longitude": middle[1], "altitude": height, "positions": len(track)}
    return Fact("gps", value, text, source)
