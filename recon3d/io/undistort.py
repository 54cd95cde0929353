"""Frames as an ideal pinhole camera would have taken them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from recon3d.errors import InputError
from recon3d.types import Bytes, Camera, View


def load_view_image(images_dir: Path, view: View, max_size: int = 0) -> tuple[Bytes, Camera]:
    """Read a view's frame, scale it down, and take its lens distortion out.

    Parameters
    ----------
    images_dir : Path
        Folder of the frames.
    view : View
        Its camera may be distorted.
    max_size : int
        Longer side of the result at most; 0 keeps every pixel.

    Returns
    -------
    rgb : ndarray of uint8, shape (H, W, 3)
        Black where the frame has no pixel.
    camera : Camera
        Pinhole camera of the result, with the calibration matrix of the view's camera, scaled.

    Raises
    ------
    InputError
        The frame cannot be read, or its size is not its camera's.
    """
    path = Path(images_dir) / view.name
    # Orientation tags are ignored: cameras are those of the stored pixels.
    image = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if image is None:
        raise InputError(f"{path} cannot be read as an image.", "Check that the file is there and whole.")
    camera = view.camera
    if image.shape[:2] != (camera.height, camera.width):
        raise InputError(
            f"{path} has {image.shape[1]} x {image.shape[0]} pixels, its camera"
            f" {camera.width} x {camera.height}.",
            "Use the frames that the cameras were made for.",
        )
    return undistorted_pixels(np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8), camera, max_size)


def undistorted_pixels(image: Bytes, camera: Camera, max_size: int = 0) -> tuple[Bytes, Camera]:
    """Scale an image down, and take its lens distortion out.

    Parameters
    ----------
    image : ndarray of uint8, shape (H, W) or (H, W, 3)
    camera : Camera
        Of the image's size; it may be distorted.
    max_size : int
        Longer side of the result at most; 0 keeps every pixel.

    Returns
    -------
    image : ndarray of uint8, shape (H, W) or (H, W, 3)
        0 where the image has no pixel.
    camera : Camera
        Pinhole camera of the result, with the calibration matrix of `camera`, scaled.
    """
    camera = camera.fitted(max_size)
    if image.shape[:2] != (camera.height, camera.width):
        image = np.asarray(
            cv2.resize(image, (camera.width, camera.height), interpolation=cv2.INTER_AREA), np.uint8
        )
    if camera.is_pinhole:
        return image, camera.undistorted()
    K = camera.K
    # OpenCV's pixel centres are at 0, ours at +0.5.
    K[:2, 2] -= 0.5
    size = (camera.width, camera.height)
    columns, rows = cv2.initUndistortRectifyMap(K, camera.distortion, None, K, size, cv2.CV_32FC1)
    undistorted = cv2.remap(image, columns, rows, cv2.INTER_CUBIC, borderMode=cv2.BORDER_CONSTANT)
    return np.asarray(undistorted, np.uint8), camera.undistorted()
