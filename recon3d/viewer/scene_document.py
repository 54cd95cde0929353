"""What the page knows of a model besides its arrays: cameras, the first view, size, names."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from recon3d.layout import depth_map_file
from recon3d.viewer.photos import draw_map, to_jpeg, undistorted_photo
from recon3d.viewer.view_content import Content

FORMAT = 1
#: More photos than this stay out of a page. Fewer are larger: they are laid over the model.
MOST_PHOTOS, _MANY = 200, 48
_LARGE, _SMALL, _MAP = 720, 320, 320


def scene_document(
    content: Content,
    *,
    title: str = "",
    credit: str = "",
    licence: str = "",
    scale: float | None = None,
    photos: bool = True,
) -> dict[str, Any]:
    """Describe a model for the page; docs/reference/viewer.md explains the fields.

    Parameters
    ----------
    content : Content
    title, credit, licence : str
        What the page says of the model.
    scale : float, optional
        Metres per unit; None when unknown.
    photos : bool
        With the cameras' photos and depth maps, as data addresses.

    Returns
    -------
    dict
        For JSON. Places are relative to `origin`.
    """
    opening = content.opening
    low, high = content.bounds
    return {
        "format": FORMAT,
        "title": title,
        "credit": credit,
        "licence": licence,
        "origin": [float(v) for v in content.origin],
        "up": [0, 1, 0] if content.up is None else [float(v) for v in content.up],
        "unit": content.unit,
        "scale": scale,
        "low": low.tolist(),
        "high": high.tolist(),
        "size": None if content.vertices is None else np.ptp(content.vertices, axis=0).tolist(),
        "opening": {
            "target": _rounded(opening.target),
            "back": _rounded(opening.back),
            "frame": _rounded(opening.frame),
            "limit": opening.limit,
        },
        "cameras": _cameras(content, photos and len(content.names) <= MOST_PHOTOS),
        "notes": list(content.notes),
    }


def _rounded(values: Any) -> Any:
    """Seven digits are enough: the arrays are float32."""
    scale = float(np.abs(values).max()) or 1.0
    return np.round(values, max(0, 7 - int(np.ceil(np.log10(scale))))).tolist()


def _cameras(content: Content, photos: bool) -> list[dict[str, Any]]:
    if content.frusta is None:
        return []
    side = _LARGE if len(content.names) <= _MANY else _SMALL
    cameras = []
    for name, camera, lines in zip(content.names, content.cameras, content.frusta, strict=True):
        one: dict[str, Any] = {
            "name": name,
            "center": _rounded(lines[0, 0]),
            "corners": _rounded(lines[:4, 1]),
        }
        jpeg = undistorted_photo(content.images, name, camera, side) if photos else None
        if jpeg is not None:
            one["photo"] = _address(jpeg)
            path = None if content.dense is None else depth_map_file(content.dense, name)
            drawn = draw_map(path, _MAP) if path is not None and path.is_file() else None
            if drawn is not None:
                one["depth"] = _address(to_jpeg(drawn))
        cameras.append(one)
    return cameras


def _address(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode('ascii')}"
