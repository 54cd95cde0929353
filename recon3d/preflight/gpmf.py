"""GoPro's metadata track (GPMF): key, length, value, with positions of the camera or its drone.

https://github.com/gopro/gpmf-parser describes the format.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

from recon3d.preflight.track import Position, is_place

_NESTED = 0
#: Size of a value by its type, for those that positions need.
_FORMATS = {
    "b": "b",
    "B": "B",
    "s": "h",
    "S": "H",
    "l": "i",
    "L": "I",
    "f": "f",
    "d": "d",
    "J": "Q",
    "j": "q",
}
#: Fixes of a receiver that knows the place: 2 without, 3 with altitude.
_FIX_2D, _FIX_3D = 2, 3
#: Columns of latitude, longitude and altitude, and of the fix, by key. GPS5 has its fix apart (GPSF);
#: GLPI is the position that the Karma drone flies by.
_COLUMNS: dict[bytes, tuple[tuple[int, int, int], int | None]] = {
    b"GPS5": ((0, 1, 2), None),
    b"GPS9": ((0, 1, 2), 8),
    b"GLPI": ((1, 2, 3), None),
}
#: Streams are nested two deep; hostile ones could be so without end.
_DEPTH = 4


def positions(payload: bytes, time: float | None = None) -> list[Position]:
    """Read the positions of one packet.

    Parameters
    ----------
    payload : bytes
    time : float, optional
        Seconds of the packet from the start of the video.

    Returns
    -------
    list of Position
        Empty while the receiver has no fix; damaged data end the list.
    """
    return list(_positions(payload, time, 0))


def _positions(payload: bytes, time: float | None, depth: int) -> Iterator[Position]:
    scale: tuple[float, ...] = ()
    types, fix = "lllll", _FIX_3D
    for key, kind, size, data in _entries(payload):
        if kind == _NESTED and depth < _DEPTH:
            yield from _positions(data, time, depth + 1)
        elif key == b"SCAL":
            scale = tuple(float(row[0]) for row in _rows(chr(kind), size, data))
        elif key == b"TYPE":
            types = data.decode("latin-1").rstrip("\0")
        elif key == b"GPSF" and len(data) >= 4:
            fix = int.from_bytes(data[:4], "big")
        elif key in _COLUMNS:
            columns, fix_column = _COLUMNS[key]
            for row in _rows(types, size, data):
                if len(scale) == len(row) > max(columns):
                    known = fix if fix_column is None else row[fix_column]
                    yield from _place([row[i] / (scale[i] or 1.0) for i in columns], known, time)


def _place(values: list[float], fix: int, time: float | None) -> Iterator[Position]:
    latitude, longitude, altitude = values
    if fix in (_FIX_2D, _FIX_3D) and is_place(latitude, longitude):
        yield Position(latitude, longitude, altitude if fix == _FIX_3D else None, time)


def _entries(payload: bytes) -> Iterator[tuple[bytes, int, int, bytes]]:
    """Key, type, size of a row, and data of each entry, which are padded to four bytes."""
    at = 0
    while at + 8 <= len(payload):
        key, kind, size, repeat = struct.unpack_from(">4sBBH", payload, at)
        length = size * repeat
        data = payload[at + 8 : at + 8 + length]
        if len(data) < length or key == b"\0\0\0\0":
            return
        yield key, kind, size, data
        at += 8 + (length + 3) // 4 * 4


def _rows(types: str, size: int, data: bytes) -> list[tuple[Any, ...]]:
    if not all(kind in _FORMATS for kind in types):
        return []
    row = struct.Struct(">" + "".join(_FORMATS[kind] for kind in types))
    if row.size != size or size == 0:
        return []
    return [row.unpack_from(data, at) for at in range(0, len(data) - size + 1, size)]
