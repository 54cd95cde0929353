"""ICC profiles of colour spaces that are named by a number and not by a profile."""

from __future__ import annotations

import struct
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from recon3d.types import Floats

_D50 = np.array([0.9642, 1.0, 0.8249])
_D65 = (0.3127, 0.3290)
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
#: Values of a tone curve.
_STEPS = 4096

Chromaticities = tuple[tuple[float, float], tuple[float, float], tuple[float, float]]
#: Chromaticities of red, green and blue; all of these have the white point D65.
PRIMARIES: Mapping[str, Chromaticities] = {
    "sRGB": ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06)),
    "Adobe RGB": ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06)),
    "Display P3": ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
    "BT.2020": ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
}


def matrix_profile(name: str, primaries: Chromaticities, curve: Floats) -> bytes:
    """Make a profile of three primaries and one tone curve.

    Parameters
    ----------
    name : str
    primaries : tuple of tuple of float
        Chromaticities of red, green and blue; the white point is D65.
    curve : ndarray of float64, shape (N,)
        Light, 0 to 1, of N evenly spaced values from 0 to 1; see `tone_curve`.

    Returns
    -------
    bytes
        An ICC profile of version 2.
    """
    columns = xyz_from_rgb(primaries)
    white_lms = _BRADFORD @ (columns @ np.ones(3))
    adapted = np.linalg.inv(_BRADFORD) @ np.diag(_BRADFORD @ _D50 / white_lms) @ _BRADFORD @ columns
    text = name.encode("ascii") + b"\0"
    description = b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + b"\0" * 78
    table = np.rint(np.clip(curve, 0, 1) * 65535).astype(">u2")
    tone = b"curv\0\0\0\0" + struct.pack(">I", len(table)) + table.tobytes()
    tags = {b"desc": description, b"cprt": b"text\0\0\0\0public domain\0", b"wtpt": _xyz(_D50)}
    tags |= {key + b"XYZ": _xyz(adapted[:, i]) for i, key in enumerate((b"r", b"g", b"b"))}
    tags |= {key + b"TRC": tone for key in (b"r", b"g", b"b")}
    return _profile(b"mntr", b"RGB ", b"XYZ ", tags)


def _profile(kind: bytes, space: bytes, connection: bytes, tags: Mapping[bytes, bytes]) -> bytes:
    offset = 128 + 4 + 12 * len(tags)
    directory, data = struct.pack(">I", len(tags)), b""
    for key, value in tags.items():
        directory += key + struct.pack(">II", offset + len(data), len(value))
        data += value + b"\0" * (-len(value) % 4)
    header = struct.pack(">I4sI4s4s4s", offset + len(data), b"\0" * 4, 0x02400000, kind, space, connection)
    header += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp")
    header = header.ljust(68, b"\0") + _xyz(_D50)[8:]
    return header.ljust(128, b"\0") + directory + data


def _xyz(value: Floats) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(float(v) * 65536) for v in value))


def xyz_from_rgb(primaries: Chromaticities) -> NDArray[np.float64]:
    """Compute the matrix from linear RGB to XYZ.

    Parameters
    ----------
    primaries : tuple of tuple of float
        Chromaticities of red, green and blue; the white point is D65.

    Returns
    -------
    ndarray of float64, shape (3, 3)
        White has a Y of 1.
    """
    columns = np.array([[x / y, 1.0, (1 - x - y) / y] for x, y in primaries]).T
    white = np.array([_D65[0] / _D65[1], 1.0, (1 - sum(_D65)) / _D65[1]])
    return np.asarray(columns * np.linalg.solve(columns, white), np.float64)


def tone_curve(transfer: int | float) -> Floats:
    """Tabulate the light of evenly spaced values.

    Parameters
    ----------
    transfer : int or float
        A whole number is a transfer characteristic of ITU-T H.273; any other is the exponent of a power.

    Returns
    -------
    ndarray of float64, shape (4096,)
        0 to 1. HDR curves reach 1 at the white of paper, 203 cd/m² (ITU-R BT.2408), and stay there.
    """
    v = np.linspace(0, 1, _STEPS)
    if isinstance(transfer, float):
        return np.asarray(v**transfer, np.float64)
    if transfer == 8:
        return v
    if transfer in (4, 5):
        return np.asarray(v ** {4: 2.2, 5: 2.8}[transfer], np.float64)
    if transfer == 16:  # PQ, SMPTE ST 2084
        p = v ** (32 / 2523)
        light = (np.maximum(p - 0.8359375, 0) / (18.8515625 - 18.6875 * p)) ** (1 / 0.1593017578125)
        return np.minimum(light * 10000 / 203, 1)
    if transfer == 18:  # HLG, ITU-R BT.2100, shown at 1000 cd/m²
        high = (np.exp((v - 0.55991073) / 0.17883277) + 0.28466892) / 12
        return np.minimum(np.where(v <= 0.5, v * v / 3, high) ** 1.2 * 1000 / 203, 1)
    # Cameras' stills with the curves of television are shown as sRGB.
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)
