"""Decoded video frames: their brightness, and their colours, HDR brought to the range of photos."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from av.video.reformatter import Colorspace
from numpy.typing import NDArray

# ITU-T H.273: transfer characteristics SMPTE ST 2084 (PQ) and ARIB STD-B67 (HLG); unknown matrix.
_PQ, _HLG = 16, 18
_UNSPECIFIED = 2

#: Linear BT.2020 to linear BT.709 primaries (ITU-R BT.2087).
_BT709_FROM_BT2020 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32
)
#: Luminance of diffuse white in nits (ITU-R BT.2408), and where highlights end.
_WHITE, _PEAK = 203.0, 1000.0
#: Pixel formats whose first plane is brightness alone, where it has 8 bits.
_LUMA_FIRST = ("yuv4", "yuvj4", "nv12", "nv21", "gray")


@dataclass(frozen=True)
class Frame:
    """A decoded frame.

    Attributes
    ----------
    pts : int
        Time stamp in units of the stream's time base; unique within the video.
    time : float
        Seconds since the video's start.
    key : bool
        Whether decoding can start here.
    damaged : bool
        Whether data that it depends on could not be decoded.
    raw : av.VideoFrame
    """

    pts: int
    time: float
    key: bool
    damaged: bool
    raw: Any

    def luma(self) -> NDArray[np.uint8]:
        """Read the brightness as stored, which need not be upright.

        Returns
        -------
        ndarray of uint8, shape (H, W)
            A view without a copy where the pixel format allows it.
        """
        plane = self.raw.planes[0]
        components = self.raw.format.components
        if components[0].bits == 8 and self.raw.format.name.startswith(_LUMA_FIRST):
            rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
            return rows[: self.raw.height, : self.raw.width]
        gray: NDArray[np.uint8] = self.raw.to_ndarray(format="gray")
        return gray


def is_hdr(raw: Any) -> bool:
    """Tell whether a frame is coded for HDR displays.

    Parameters
    ----------
    raw : av.VideoFrame

    Returns
    -------
    bool
    """
    return int(raw.color_trc) in (_PQ, _HLG)


def to_bgr(raw: Any) -> NDArray[np.uint8]:
    """Convert a frame's pixels as stored, which need not be upright.

    Parameters
    ----------
    raw : av.VideoFrame

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)
        BGR.
    """
    # FFmpeg takes files that do not say for BT.601; all players take them for BT.709 when HD.
    hd = int(raw.colorspace) == _UNSPECIFIED and raw.height >= 720
    colorspace = Colorspace.ITU709 if hd else None
    if is_hdr(raw):
        rgb = raw.to_ndarray(format="rgb48le", src_colorspace=colorspace)
        return np.ascontiguousarray(to_sdr(rgb, int(raw.color_trc))[..., ::-1])
    bgr: NDArray[np.uint8] = raw.to_ndarray(format="bgr24", src_colorspace=colorspace)
    return bgr


def to_sdr(rgb: NDArray[np.uint16], transfer: int) -> NDArray[np.uint8]:
    """Convert HDR pixels to sRGB.

    Diffuse white becomes the photo's white; highlights above it are compressed smoothly, so that
    they keep some structure instead of being clipped.

    Parameters
    ----------
    rgb : ndarray of uint16, shape (H, W, 3)
        BT.2020 primaries, full range.
    transfer : int
        16 (PQ) or 18 (HLG).

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)

    References
    ----------
    ITU-R BT.2100 (transfer functions), BT.2087 (primaries), BT.2408 (levels).
    """
    encode = _srgb_table()
    linear = _light_table(transfer)[rgb] @ _BT709_FROM_BT2020.T
    # The brightest channel sets the compression of all three, which keeps the hue.
    top = np.maximum(linear.max(axis=2, keepdims=True), 1e-6)
    linear *= _compress(top) / top
    result: NDArray[np.uint8] = encode[(np.clip(linear, 0, 1) * (len(encode) - 1) + 0.5).astype(np.uint16)]
    return result


def _compress(light: NDArray[np.float32]) -> NDArray[np.float32]:
    """Keep light up to 0.6 of diffuse white, and bend the rest below 1 at the peak."""
    knee, peak = 0.6, _PEAK / _WHITE
    above = np.maximum(light - knee, 0.0)
    span = peak - knee
    # Rational curve of slope 1 at the knee that reaches 1 at the peak.
    bend = (span - (1 - knee)) / ((1 - knee) * span)
    return np.where(light > knee, knee + above / (1 + bend * above), light).astype(np.float32)


@functools.cache
def _light_table(transfer: int) -> NDArray[np.float32]:
    """Displayed light by code value, 1 being diffuse white, shape (65536,)."""
    v = np.arange(65536) / 65535.0
    if transfer == _PQ:
        m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
        p = v ** (1 / m2)
        nits = 10000.0 * (np.maximum(p - c1, 0) / (c2 - c3 * p)) ** (1 / m1)
    else:
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        scene = np.where(v <= 0.5, v * v / 3, (np.exp((v - c) / a) + b) / 12)
        # The system gamma belongs to luminance; applied to each channel it is close enough for
        # photogrammetry, and needs no second pass.
        nits = _PEAK * scene**1.2
    return (nits / _WHITE).astype(np.float32)


@functools.cache
def _srgb_table() -> NDArray[np.uint8]:
    x = np.linspace(0, 1, 16385)
    return np.round(255 * np.where(x <= 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055)).astype(
        np.uint8
    )
