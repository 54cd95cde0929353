"""Soft shadows in corners and under things, from the depth of a picture alone."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Floats32 = NDArray[np.float32]

#: Looks around each pixel, and how far they reach, in heights of the picture at the middle's depth.
_LOOKS, _REACH = 12, 0.11
#: Strength; and how far, in reaches, a surface must rise to count.
_STRENGTH, _BIAS = 1.1, 0.03


def ambient_light(depth: Floats32, normals: Floats32, focal: float) -> Floats32:
    """Compute how much of the sky each pixel's surface sees, by the "Alchemy" estimator [1]_.

    Parameters
    ----------
    depth : ndarray of float32, shape (H, W)
        Along the optical axis; infinite where there is no surface.
    normals : ndarray of float32, shape (H, W, 3)
        In the camera's frame, towards it.
    focal : float
        In pixels; the axis meets the middle of the picture.

    Returns
    -------
    ndarray of float32, shape (H, W)
        From 0, dark, to 1, open.

    References
    ----------
    .. [1] McGuire, Osman, Bukowski, Hennessy: The Alchemy screen-space ambient obscurance
       algorithm, HPG 2011.
    """
    height, width = depth.shape
    known = np.isfinite(depth)
    if not known.any():
        return np.ones(depth.shape, np.float32)
    solid = np.where(known, depth, 0).astype(np.float32)
    rows, columns = np.mgrid[0:height, 0:width]
    across = (
        np.stack([columns + 0.5 - width / 2, rows + 0.5 - height / 2], axis=-1).astype(np.float32) / focal
    )
    position = np.concatenate([across * solid[..., None], solid[..., None]], axis=-1)
    reach = _REACH * height / focal * float(np.median(depth[known]))
    pixels = np.clip(reach * focal / np.maximum(solid[known], 1e-12), 2, 0.3 * height).astype(np.float32)
    # Only pixels with a surface look around.
    rows, columns, here, normals = rows[known], columns[known], position[known], normals[known]
    # Each pixel of a block of 4 x 4 looks in other directions; the blur below joins them.
    turn = (((columns % 4) * 4 + rows % 4) * (2 * np.pi / 16)).astype(np.float32)
    summed = np.zeros(len(rows), np.float32)
    for look in range(_LOOKS):
        part = (look + 0.5) / _LOOKS
        angle = turn + 2 * np.pi * 5 * part
        row = np.clip(rows + np.rint(part * pixels * np.sin(angle)).astype(np.int32), 0, height - 1)
        column = np.clip(columns + np.rint(part * pixels * np.cos(angle)).astype(np.int32), 0, width - 1)
        there = row * width + column
        offset = np.take(position.reshape(-1, 3), there, axis=0) - here
        square = np.einsum("nc,nc->n", offset, offset)
        rise = np.einsum("nc,nc->n", offset, normals) - _BIAS * reach
        near = np.take(known.reshape(-1), there) & (square < reach * reach)
        summed += np.where(near, np.maximum(rise, 0) / (square + 0.02 * reach * reach), 0.0)
    hidden = np.zeros(depth.shape, np.float32)
    hidden[known] = summed
    light = 1 - np.clip(_STRENGTH * reach * hidden / _LOOKS, 0, 0.85)
    weight = known.astype(np.float32)
    blurred = cv2.boxFilter(light * weight, -1, (5, 5)) / np.maximum(cv2.boxFilter(weight, -1, (5, 5)), 1e-9)
    return np.where(known, blurred, 1).astype(np.float32)
