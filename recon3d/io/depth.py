"""Depth maps on disk: a compact format of our own, and COLMAP's.

Ours is an uncompressed ``.npz`` of 9 bytes a pixel: depth in float32, normals as two 16-bit
octahedral coordinates, confidence in 8 bits.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from recon3d.errors import InputError
from recon3d.io.atomic import atomic_path
from recon3d.mvs.maps import PackedMap
from recon3d.types import Camera, DepthMap, Floats32


def write_packed_map(path: Path, packed: PackedMap) -> None:
    """Write a depth map in recon3d's format, atomically.

    Parameters
    ----------
    path : Path
    packed : PackedMap
    """
    camera = packed.camera
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez(
            file,
            name=np.array(packed.name),
            model=np.array(camera.model),
            size=np.array([camera.width, camera.height]),
            params=np.array(camera.params),
            depth=packed.depth,
            normal=packed.normal,
            confidence=packed.confidence,
        )


def read_packed_map(path: Path) -> PackedMap:
    """Read a depth map in recon3d's format without unpacking it.

    Parameters
    ----------
    path : Path

    Returns
    -------
    PackedMap

    Raises
    ------
    InputError
        The file is not such a depth map, or is damaged.
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as data:
            width, height = (int(v) for v in data["size"])
            return PackedMap(
                str(data["name"]),
                Camera(str(data["model"]), width, height, tuple(float(v) for v in data["params"])),
                data["depth"],
                data["normal"],
                data["confidence"],
            )
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path} is not a depth map of recon3d: {error}.", "Run dense_reconstruction again."
        ) from error


def write_depth_map(path: Path, depth_map: DepthMap) -> None:
    """Write a depth map in recon3d's format, atomically.

    Parameters
    ----------
    path : Path
    depth_map : DepthMap
    """
    write_packed_map(path, PackedMap.of(depth_map))


def read_depth_map(path: Path) -> DepthMap:
    """Read a depth map in recon3d's format.

    Parameters
    ----------
    path : Path

    Returns
    -------
    DepthMap

    Raises
    ------
    InputError
        The file is not such a depth map, or is damaged.
    """
    return read_packed_map(path).unpacked()


def write_colmap_map(path: Path, array: Floats32) -> None:
    """Write a depth map or a normal map in COLMAP's format.

    COLMAP looks for ``stereo/depth_maps/NAME.geometric.bin`` and ``stereo/normal_maps/…``.

    Parameters
    ----------
    path : Path
    array : ndarray of float32, shape (H, W) or (H, W, 3)
        Depths or normals.
    """
    planes = np.atleast_3d(np.asarray(array, "<f4"))
    height, width, channels = planes.shape
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        file.write(f"{width}&{height}&{channels}&".encode("ascii"))
        file.write(np.ascontiguousarray(planes.transpose(2, 0, 1)).tobytes())


def read_colmap_map(path: Path) -> Floats32:
    """Read a depth map or a normal map of COLMAP.

    Parameters
    ----------
    path : Path

    Returns
    -------
    ndarray of float32, shape (H, W) or (H, W, 3)

    Raises
    ------
    InputError
        The file is not such a map, or is truncated.
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
        return np.array(planes[0], np.float32)
    return np.ascontiguousarray(planes.transpose(1, 2, 0), np.float32)
