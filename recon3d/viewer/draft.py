"""A coarse surface that a browser draws at once, until it has unpacked the whole one."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from recon3d.rendering.texels import nearest_texels
from recon3d.types import Bytes, Floats, Floats32

#: Most triangles of a draft.
DRAFT_FACES = 80_000
#: Larger surfaces and textures have a draft: smaller ones are there as soon.
_LARGE_FACES, _LARGE_TEXTURE = 120_000, 2048 * 2048
#: Texels a side that vertices take their colours from: each is the mean of those around it.
_SOFT = 1024
#: Triangles that tell the area of all.
_SAMPLE = 50_000


def needs_draft(faces: int, texels: int) -> bool:
    """Tell whether a surface is so large that a draft of it is seen much earlier.

    Parameters
    ----------
    faces, texels : int
        Numbers of triangles and of pixels of the texture.

    Returns
    -------
    bool
    """
    return faces > _LARGE_FACES or texels > _LARGE_TEXTURE


def coarsened(
    vertices: Floats32, faces: NDArray[np.uint32], colors: Bytes | None, eye: Floats, most: int = DRAFT_FACES
) -> tuple[Floats32, NDArray[np.uint32], Bytes | None]:
    """Coarsen a surface as it is seen from a place: what is twice as far has twice as long edges.

    Parameters
    ----------
    vertices : ndarray of float32, shape (V, 3)
    faces : ndarray of uint32, shape (F, 3)
    colors : ndarray of uint8, shape (V, 3), optional
    eye : ndarray of float64, shape (3,)
    most : int
        Most triangles of the result.

    Returns
    -------
    vertices : ndarray of float32, shape (W, 3)
    faces : ndarray of uint32, shape (G, 3)
    colors : ndarray of uint8, shape (W, 3), or None

    Notes
    -----
    The vertices of each grid cell become their mean: Rossignac and Borrel, "Multi-resolution 3D
    approximations for rendering complex scenes", 1993. Cells double in size with the distance.
    """
    if len(faces) <= most:
        return vertices, faces, colors
    distance = np.linalg.norm(vertices - eye.astype(np.float32), axis=1)
    near = float(np.percentile(distance[:: max(1, len(distance) // _SAMPLE)], 10)) or 1.0
    level = np.maximum(np.log2(np.maximum(distance / near, 1e-6)), 0).astype(np.int64)
    step = max(1, len(faces) // _SAMPLE)
    a, b, c = (vertices[corner] for corner in faces[::step].T)
    area = step * np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    # A surface of n cells has about 2 n triangles.
    cell = float((2 * (area / 4.0 ** level[faces[::step, 0]]).sum() / most) ** 0.5) or 1e-9
    low = vertices.min(axis=0)
    while True:
        places = ((vertices - low) / (cell * 2.0**level)[:, None]).astype(np.int64)
        sizes = places.max(axis=0) + 1
        keys = ((level * sizes[0] + places[:, 0]) * sizes[1] + places[:, 1]) * sizes[2] + places[:, 2]
        _, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
        corners = inverse.astype(np.uint32)[faces]
        first, second, third = corners.T
        whole = (first != second) & (second != third) & (third != first)
        if np.count_nonzero(whole) <= most:
            break
        cell *= 1.2

    def mean(values: NDArray[np.generic]) -> Floats:
        return np.stack([np.bincount(inverse, column) / counts for column in values.T], axis=1)

    shades = None if colors is None else mean(colors).round().astype(np.uint8)
    return mean(vertices).astype(np.float32), corners[whole], shades


def soft_colors(texture: Bytes, uv: Floats32) -> Bytes:
    """Look up colours that stand for some of a texture each.

    Parameters
    ----------
    texture : ndarray of uint8, shape (H, W, 3)
    uv : ndarray of float32, shape (N, 2)

    Returns
    -------
    ndarray of uint8, shape (N, 3)
    """
    scale = _SOFT / max(texture.shape[:2])
    if scale < 1:
        height, width = (max(1, round(side * scale)) for side in texture.shape[:2])
        texture = np.asarray(cv2.resize(texture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    return nearest_texels(texture, uv)
