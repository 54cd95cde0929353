"""Masks beside images: what is transparent in a photo takes no part in the reconstruction.

A mask is a PNG file of the image's size, white where the image counts and black where it does not, as
COLMAP's masks are.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from recon3d.errors import InputError
from recon3d.io.atomic import atomic_path
from recon3d.io.undistort import undistorted_pixels
from recon3d.types import Bytes, DepthMap, Floats, View

#: Pixels beside what is hidden whose colours may be mixed with it.
_BORDER = 2


def write_mask(path: Path, visible: NDArray[np.bool_]) -> None:
    """Write a mask.

    Parameters
    ----------
    path : Path
    visible : ndarray of bool, shape (H, W)
    """
    with atomic_path(path) as temporary:
        Image.fromarray(np.where(visible, np.uint8(255), np.uint8(0))).save(temporary, "PNG")


def read_mask(path: Path) -> Bytes | None:
    """Read a mask.

    Parameters
    ----------
    path : Path

    Returns
    -------
    ndarray of uint8, shape (H, W), or None
        0 where the image is hidden; None when there is no mask: all of the image counts.

    Raises
    ------
    InputError
        The file is damaged.
    """
    if not path.exists():
        return None
    mask = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_GRAYSCALE)
    if mask is None:
        raise InputError(f"{path} is damaged.", "Run frame_extraction again.")
    return np.asarray(mask, np.uint8)


def load_view_mask(path: Path, view: View, max_size: int = 0) -> NDArray[np.bool_] | None:
    """Read the mask of a view for the image that `load_view_image` makes of its frame.

    Parameters
    ----------
    path : Path
        The frame's mask, if it has one.
    view : View
        Its camera may be distorted.
    max_size : int
        As for `load_view_image`.

    Returns
    -------
    ndarray of bool, shape (H, W), or None
        Pixels whose colours are the photo's alone; None when all are.
    """
    mask = read_mask(path)
    if mask is None:
        return None
    whole, _ = undistorted_pixels(mask, view.camera, max_size)
    return _certain(whole)


def _certain(mask: Bytes) -> NDArray[np.bool_]:
    size = 2 * _BORDER + 1
    # Scaling and undistortion leave grey levels at the border.
    visible = (mask >= 250).astype(np.uint8)
    return np.asarray(cv2.erode(visible, np.ones((size, size), np.uint8)) > 0)


def visible_at(visible: NDArray[np.bool_], xy: Floats) -> NDArray[np.bool_]:
    """Tell which points of an image are visible.

    Parameters
    ----------
    visible : ndarray of bool, shape (H, W)
    xy : ndarray of float, shape (N, 2)
        The centre of the first pixel is at (0.5, 0.5).

    Returns
    -------
    ndarray of bool, shape (N,)
        False also outside of the image.
    """
    height, width = visible.shape
    inside = np.all(np.isfinite(xy) & (xy >= 0) & (xy < (width, height)), axis=1)
    column, row = np.where(inside[:, None], xy, 0).astype(np.int64).T
    return np.asarray(inside & visible[row, column])


def visible_features(path: Path, keypoints: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Tell which features of a frame its mask shows.

    Parameters
    ----------
    path : Path
        The frame's mask, if it has one.
    keypoints : ndarray of float32, shape (N, 2 or more)
        x and y first.

    Returns
    -------
    ndarray of bool, shape (N,)
    """
    mask = read_mask(path)
    if mask is None:
        return np.ones(len(keypoints), np.bool_)
    return visible_at(_certain(mask), keypoints[:, :2].astype(np.float64))


def without_hidden(depth_map: DepthMap, visible: NDArray[np.bool_] | None) -> DepthMap:
    """Take the depths away that lie where the image is hidden.

    Parameters
    ----------
    depth_map : DepthMap
    visible : ndarray of bool, shape (H, W), or None
        See `load_view_mask`.

    Returns
    -------
    DepthMap
    """
    if visible is None:
        return depth_map
    return replace(
        depth_map,
        depth=np.where(visible, depth_map.depth, np.float32(0)),
        normal=np.where(visible[..., None], depth_map.normal, np.float32(0)),
        confidence=np.where(visible, depth_map.confidence, np.float32(0)),
    )
