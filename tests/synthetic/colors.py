"""Colours with exact values: other spaces, their ICC profiles, and differences."""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from recon3d.io.icc import PRIMARIES, matrix_profile, tone_curve, xyz_from_rgb

Floats = NDArray[np.float64]
_D65 = np.array([0.95047, 1.0, 1.08883])


def linear(rgb: NDArray[np.uint8]) -> Floats:
    """Light of sRGB pixels."""
    v = rgb / 255.0
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)


def encoded(rgb: NDArray[np.uint8], space: str, transfer: float) -> Floats:
    """The values, 0 to 1, that show sRGB pixels in another space; computed without an ICC profile."""
    light = linear(rgb) @ (np.linalg.inv(xyz_from_rgb(PRIMARIES[space])) @ xyz_from_rgb(PRIMARIES["sRGB"])).T
    light = np.clip(light, 0, 1)
    if transfer == 16:
        p = (light * 203 / 10000) ** 0.1593017578125
        return ((0.8359375 + 18.8515625 * p) / (1 + 18.6875 * p)) ** 78.84375
    if isinstance(transfer, float):
        return light ** (1 / transfer)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def profile(space: str, transfer: float) -> bytes:
    return matrix_profile(space, PRIMARIES[space], tone_curve(transfer))


def gray_profile(gamma: float) -> bytes:
    """A profile of grey pixels with a power as its tone curve."""
    name = f"Gray {gamma}".encode()
    desc = b"desc\0\0\0\0" + struct.pack(">I", len(name) + 1) + name + b"\0" * 79
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    return _assembled(b"GRAY", b"XYZ ", {b"desc": desc, b"kTRC": curve, b"wtpt": _white()})


def cmyk_profile() -> bytes:
    """A profile of ideal inks: light is what the inks and the black leave of each sRGB value."""
    steps = 9
    levels = np.linspace(0, 1, steps)
    c, m, y, k = np.meshgrid(levels, levels, levels, levels, indexing="ij")
    rgb = np.stack([(1 - ink) * (1 - k) for ink in (c, m, y)], -1).reshape(-1, 3)
    values = lab(np.rint(rgb * 255).astype(np.uint8))
    coded = np.clip(np.rint(values * (2.55, 1, 1) + (0, 128, 128)), 0, 255).astype(np.uint8)
    ramp = bytes(range(256))
    table = b"mft1\0\0\0\0" + bytes([4, 3, steps, 0])
    table += struct.pack(">9i", *(65536 if i % 4 == 0 else 0 for i in range(9)))
    table += ramp * 4 + coded.tobytes() + ramp * 3
    desc = b"desc\0\0\0\0" + struct.pack(">I", 11) + b"Ideal inks\0" + b"\0" * 78
    return _assembled(b"CMYK", b"Lab ", {b"desc": desc, b"A2B0": table, b"wtpt": _white()}, b"prtr")


def _white() -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061)


def _assembled(space: bytes, connection: bytes, tags: dict[bytes, bytes], kind: bytes = b"mntr") -> bytes:
    at, directory, data = 132 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for key, value in tags.items():
        directory += key + struct.pack(">II", at + len(data), len(value))
        data += value + b"\0" * (-len(value) % 4)
    head = struct.pack(">I4xI4s4s4s", at + len(data), 0x02400000, kind, space, connection)
    head += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp")
    return (head.ljust(68, b"\0") + _white()[8:]).ljust(128, b"\0") + directory + data


def lab(rgb: NDArray[np.uint8]) -> Floats:
    """CIE L*a*b* of sRGB pixels, relative to their white."""
    t = linear(rgb) @ xyz_from_rgb(PRIMARIES["sRGB"]).T / _D65
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = np.moveaxis(f, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def color_differences(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> Floats:
    """ΔE of CIE 1976 of each pixel of two sRGB images."""
    difference: Floats = np.linalg.norm(lab(a) - lab(b), axis=-1)
    return difference
