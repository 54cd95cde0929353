"""Features of an image, as the stages keep them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recon3d.io.atomic import atomic_path

Features = tuple[NDArray[np.float32], NDArray[np.uint8]]


def write_features(path: Path, features: Features) -> None:
    """Write keypoints and descriptors, atomically.

    Parameters
    ----------
    path : Path
    features : (ndarray, ndarray)
        Keypoints of shape (N, 6) and descriptors of shape (N, 128).
    """
    with atomic_path(path) as temporary:
        np.savez(temporary, keypoints=features[0], descriptors=features[1])


def read_features(path: Path) -> Features:
    """Read a file of `write_features`.

    Parameters
    ----------
    path : Path

    Returns
    -------
    (ndarray, ndarray)
        Keypoints of shape (N, 6) and descriptors of shape (N, 128).
    """
    with np.load(path) as data:
        return data["keypoints"], data["descriptors"]


def read_keypoints(path: Path) -> NDArray[np.float32]:
    """Read the keypoints alone: a sixth of the bytes.

    Parameters
    ----------
    path : Path

    Returns
    -------
    ndarray of float32, shape (N, 6)
    """
    with np.load(path) as data:
        keypoints: NDArray[np.float32] = data["keypoints"]
        return keypoints
