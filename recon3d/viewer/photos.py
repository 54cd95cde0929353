"""Small pictures of photos, made when they are asked for."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import cv2
import numpy as np

from recon3d.errors import InputError
from recon3d.io.undistort import undistorted_pixels
from recon3d.types import Bytes, Camera

#: Longer side of a thumbnail in pixels.
SIDE = 360
_JPEG = b"\xff\xd8"


def photo_of(images: Path | None, name: str, side: int = SIDE) -> bytes | None:
    """Encode a view's photo as JPEG.

    Parameters
    ----------
    images : Path or None
        Folder of the photos.
    name : str
        Name of the view.
    side : int
        Longest side in pixels.

    Returns
    -------
    bytes or None
        None where there is no photo.
    """
    if images is None:
        return None
    path = images / name
    return thumbnail(path, side) if path.is_file() else None


def undistorted_photo(images: Path | None, name: str, camera: Camera, side: int) -> bytes | None:
    """Encode a view's photo as JPEG, as a camera without distortion would have taken it.

    Parameters
    ----------
    images : Path or None
        Folder of the photos.
    name : str
        Name of the view.
    camera : Camera
        Of the view.
    side : int
        Longest side in pixels.

    Returns
    -------
    bytes or None
        None where there is no photo.
    """
    if images is None or not (images / name).is_file():
        return None
    picture = shrunk(images / name, side)
    if picture is None:
        return None
    return to_jpeg(undistorted_pixels(picture, camera, side)[0], side)


def thumbnail(path: Path, side: int = SIDE) -> bytes | None:
    """Encode an image file as a small JPEG.

    Parameters
    ----------
    path : Path
    side : int
        Longest side in pixels.

    Returns
    -------
    bytes or None
        None while the file cannot be read.
    """
    picture = shrunk(path, side)
    return None if picture is None else to_jpeg(picture, side)


def shrunk(path: Path, side: int) -> Bytes | None:
    """Read an image file at a reduced size.

    Parameters
    ----------
    path : Path
    side : int
        Longest side in pixels.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3), or None
        BGR; None while the file cannot be read.
    """
    data = np.frombuffer(path.read_bytes(), np.uint8)
    if not len(data):
        return None
    # OpenCV decodes JPEG at an eighth, a quarter or half of its size for a fraction of the time.
    parts = (cv2.IMREAD_REDUCED_COLOR_8, cv2.IMREAD_REDUCED_COLOR_4, cv2.IMREAD_REDUCED_COLOR_2)
    for part in (*(parts if data[:2].tobytes() == _JPEG else ()), cv2.IMREAD_COLOR):
        picture = cv2.imdecode(data, part)
        if picture is None:
            return None
        if max(picture.shape[:2]) >= side:
            break
    return fitted(np.asarray(picture, np.uint8), side)


def fitted(picture: Bytes, side: int) -> Bytes:
    """Reduce a picture.

    Parameters
    ----------
    picture : ndarray of uint8, shape (H, W) or (H, W, 3)
    side : int
        Longest side in pixels.

    Returns
    -------
    ndarray of uint8, shape (H, W) or (H, W, 3)
    """
    scale = side / max(picture.shape[:2])
    if scale >= 1:
        return picture
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def to_jpeg(picture: Bytes, side: int = SIDE) -> bytes:
    """Encode a picture as JPEG at a reduced size.

    Parameters
    ----------
    picture : ndarray of uint8, shape (H, W) or (H, W, 3)
        Gray or BGR.
    side : int
        Longest side in pixels.

    Returns
    -------
    bytes
    """
    _, data = cv2.imencode(".jpg", fitted(picture, side), [cv2.IMWRITE_JPEG_QUALITY, 80])
    return bytes(data.tobytes())


def draw_map(path: str | Path, side: int = 200) -> Bytes | None:
    """Draw a depth map: near is red, far is blue, unknown is dark.

    Parameters
    ----------
    path : str or Path
        The depth map.
    side : int
        Longest side in pixels.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3), or None
        BGR; None while the file cannot be read.
    """
    with open(path, "rb") as file, np.load(file, allow_pickle=False) as data:
        depth, inverse = ("depth", False) if "depth" in data else ("inverse_depth", True)
        values = np.asarray(data[depth], np.float32)
    step = max(1, max(values.shape) // side)
    values = values[::step, ::step]
    known = values > 0
    if not known.any():
        return None
    near = np.log(np.where(known, values, 1)) * (1 if inverse else -1)
    low, high = np.percentile(near[known], [2, 98])
    levels = np.clip((near - low) / max(high - low, 1e-6), 0, 1)
    picture = cv2.applyColorMap(np.asarray(255 * levels, np.uint8), cv2.COLORMAP_TURBO)
    picture[~known] = (28, 24, 21)
    return fitted(np.asarray(picture, np.uint8), side)


def depth_picture(path: str | os.PathLike[str], side: int = 512) -> Bytes:
    """Draw the file of a depth map: near is red, far is blue, unknown is dark.

    Parameters
    ----------
    path : path-like
        As `stage_pictures` gives it.
    side : int
        Longest side in pixels.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)
        RGB.

    Raises
    ------
    InputError
        The file is not a depth map, or no depth is known in it.
    """
    try:
        picture = draw_map(Path(path), side)
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path} cannot be read as a depth map.", "Run dense_reconstruction again."
        ) from error
    if picture is None:
        raise InputError(f"{path} has no depth yet.", "Wait for the next round, or for the end of the stage.")
    return np.ascontiguousarray(picture[..., ::-1])
