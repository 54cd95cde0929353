"""Small pictures of photos, made when they are asked for."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

#: Longer side of a thumbnail in pixels.
SIDE = 360


def photo_of(images: Path | None, name: str, side: int = SIDE) -> bytes | None:
    """JPEG of a photo, at most `side` pixels wide and high; None where there is no photo."""
    if images is None:
        return None
    path = images / name
    return thumbnail(path, side) if path.is_file() else None


def thumbnail(path: Path, side: int = SIDE) -> bytes | None:
    """JPEG of an image file, or None while it cannot be read."""
    # OpenCV decodes JPEG at an eighth of its size for a fraction of the time.
    data = np.frombuffer(path.read_bytes(), np.uint8)
    picture = cv2.imdecode(data, cv2.IMREAD_REDUCED_COLOR_2) if len(data) else None
    if picture is None:
        return None
    return to_jpeg(picture, side)


def to_jpeg(picture: np.ndarray, side: int = SIDE) -> bytes:
    """JPEG of a BGR or grey picture, made smaller to `side`."""
    scale = side / max(picture.shape[:2])
    if scale < 1:
        size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
        picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 80])
    return bytes(data.tobytes())
