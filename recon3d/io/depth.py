"""Depth maps on disk: a compact format of our own, and COLMAP's.

Ours is an uncompressed ``.npz`` of 9 bytes a pixel: depth in float32, normals as two 16-bit
octahedral coordinates (Cigolle et al., A Survey of Efficient Representations for Independent Unit
Vectors, JCGT 2014), confidence in 8 bits.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recon3d.errors import InputError
from recon3d.io.files import atomic_path
from recon3d.types import Camera, DepthMap, Floats32

_FULL = 32767


def encode_normals(normals: Floats32) -> NDArray[np.int16]:
    """Octahedral coordinates of unit vectors.

    Parameters
    ----------
    normals : ndarray of float32, shape (..., 3)
        Zero vectors stay zero.

    Returns
    -------
    ndarray of int16, shape (..., 2)
    """
    scale = np.abs(normals).sum(axis=-1, keepdims=True)
    flat = normals / np.maximum(scale, np.float32(1e-12))
    xy = flat[..., :2]
    sign = np.where(xy >= 0, np.float32(1), np.float32(-1))
    folded = np.where(flat[..., 2:] >= 0, xy, (1 - np.abs(xy[..., ::-1])) * sign)
    codes = np.rint(folded * _FULL).astype(np.int16)
    # The one code that no unit vector needs stands for "unknown".
    codes[scale[..., 0] == 0] = -_FULL - 1
    return codes


def decode_normals(codes: NDArray[np.int16]) -> Floats32:
    """Unit vectors of octahedral coordinates, shape (..., 3)."""
    xy = codes.astype(np.float32) / _FULL
    z = 1 - np.abs(xy).sum(axis=-1, keepdims=True)
    sign = np.where(xy >= 0, np.float32(1), np.float32(-1))
    xy = np.where(z >= 0, xy, (1 - np.abs(xy[..., ::-1])) * sign)
    normals = np.concatenate([xy, z], axis=-1)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    normals[codes[..., 0] == -_FULL - 1] = 0
    return np.asarray(normals, np.float32)


def write_depth_map(path: Path, depth_map: DepthMap) -> None:
    """Write a depth map in our format, atomically."""
    camera = depth_map.camera
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez(
            file,
            name=np.array(depth_map.name),
            model=np.array(camera.model),
            size=np.array([camera.width, camera.height]),
            params=np.array(camera.params),
            depth=depth_map.depth,
            normal=encode_normals(depth_map.normal),
            confidence=np.rint(np.clip(depth_map.confidence, 0, 1) * 255).astype(np.uint8),
        )


def read_depth_map(path: Path) -> DepthMap:
    """Read a depth map in our format.

    Raises
    ------
    InputError
        The file is not such a depth map, or is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as data:
            width, height = (int(v) for v in data["size"])
            return DepthMap(
                str(data["name"]),
                Camera(str(data["model"]), width, height, tuple(float(v) for v in data["params"])),
                data["depth"],
                decode_normals(data["normal"]),
                data["confidence"].astype(np.float32) / 255,
            )
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path} is not a depth map of recon3d: {error}.", "Run dense_reconstruction again."
        ) from error


def write_colmap_map(path: Path, array: Floats32) -> None:
    """Write a depth map (H, W) or a normal map (H, W, 3) as COLMAP's dense stage has it.

    COLMAP looks for ``stereo/depth_maps/NAME.geometric.bin`` and ``stereo/normal_maps/…``.
    """
    planes = np.atleast_3d(np.asarray(array, "<f4"))
    height, width, channels = planes.shape
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        file.write(f"{width}&{height}&{channels}&".encode("ascii"))
        file.write(np.ascontiguousarray(planes.transpose(2, 0, 1)).tobytes())


def read_colmap_map(path: Path) -> Floats32:
    """Read a depth map, shape (H, W), or a normal map, shape (H, W, 3), of COLMAP.

    Raises
    ------
    InputError
        The file is not such a map, or is cut off.
    """
    try:
        data = Path(path).read_bytes()
        *fields, _ = data[:64].split(b"&", 3)
        width, height, channels = (int(f) for f in fields)
        start = sum(len(f) + 1 for f in fields)
        planes = np.frombuffer(data, "<f4", width * height * channels, start).reshape(channels, height, width)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} is not a map of COLMAP: {error}.", "Export it from COLMAP again."
        ) from error
    if channels == 1:
        return planes[0].astype(np.float32)
    return np.ascontiguousarray(planes.transpose(1, 2, 0), np.float32)
