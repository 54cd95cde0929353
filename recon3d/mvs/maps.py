"""Depth maps: from planes, and packed as they are kept and compared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recon3d.mvs.normals import decode_normals, encode_normals
from recon3d.mvs.stereo import PlaneMap
from recon3d.types import Bytes, Camera, DepthMap, Floats32


@dataclass(frozen=True, eq=False)
class PackedMap:
    """A `DepthMap` in 9 bytes a pixel, as it is kept on disk and compared.

    Parameters
    ----------
    name : str
    camera : Camera
    depth : ndarray of float32, shape (H, W)
    normal : ndarray of int16, shape (H, W, 2)
        See `encode_normals`.
    confidence : ndarray of uint8, shape (H, W)
        0 to 255 for 0 to 1.
    """

    name: str
    camera: Camera
    depth: Floats32
    normal: NDArray[np.int16]
    confidence: Bytes

    @classmethod
    def of(cls, depth_map: DepthMap) -> PackedMap:
        """Pack a depth map.

        Parameters
        ----------
        depth_map : DepthMap

        Returns
        -------
        PackedMap
        """
        confidence = np.rint(np.clip(depth_map.confidence, 0, 1) * 255).astype(np.uint8)
        return cls(
            depth_map.name,
            depth_map.camera,
            depth_map.depth,
            encode_normals(depth_map.normal),
            confidence,
        )

    def unpacked(self) -> DepthMap:
        """Unpack the depth map.

        Returns
        -------
        DepthMap
        """
        return DepthMap(
            self.name,
            self.camera,
            self.depth,
            decode_normals(self.normal),
            self.confidence * np.float32(1 / 255),
        )


def normals_of(state: Floats32, camera: Camera) -> Floats32:
    """Unit normals in the camera frame, facing the camera, of planes.

    Parameters
    ----------
    state : ndarray of float32, shape (3, H, W)
        See `PlaneMap`.
    camera : Camera
        Pinhole camera of the same size.

    Returns
    -------
    ndarray of float32, shape (H, W, 3)
    """
    K = camera.K
    height, width = state.shape[1:]
    x = (np.arange(width, dtype=np.float32) + np.float32(0.5 - K[0, 2])) / np.float32(K[0, 0])
    y = ((np.arange(height, dtype=np.float32) + np.float32(0.5 - K[1, 2])) / np.float32(K[1, 1]))[:, None]
    normals = np.empty((height, width, 3), np.float32)
    normals[..., 0] = -state[1] * np.float32(K[0, 0])
    normals[..., 1] = -state[2] * np.float32(K[1, 1])
    normals[..., 2] = -state[0] - normals[..., 0] * x - normals[..., 1] * y
    normals /= np.maximum(np.linalg.norm(normals, axis=2, keepdims=True), np.float32(1e-20))
    return normals


def depth_map_of(name: str, camera: Camera, planes: PlaneMap, max_cost: float) -> DepthMap:
    """Convert a view's planes to a depth map.

    Parameters
    ----------
    name : str
        Name of the view.
    camera : Camera
    planes : PlaneMap
    max_cost : float
        Pixels of a higher cost become unknown.

    Returns
    -------
    DepthMap
    """
    known = (planes.cost < max_cost) & (planes.state[0] > 0)
    depth = np.where(known, 1 / np.maximum(planes.state[0], np.float32(1e-20)), 0).astype(np.float32)
    normal = normals_of(planes.state, camera)
    normal[~known] = 0
    confidence = np.where(known, np.clip(1 - planes.cost, 0, 1), 0).astype(np.float32)
    return DepthMap(name, camera, depth, normal, confidence)
