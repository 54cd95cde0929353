"""Cameras for nerfstudio: ``transforms.json``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from recon3d.types import Camera, Scene

#: nerfstudio's cameras look along -z with y up (OpenGL); ours along +z with y down.
_OPENGL_FROM_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])


def write_transforms(path: Path, scene: Scene, images: str) -> None:
    """Write the cameras of a scene in nerfstudio's format.

    Parameters
    ----------
    path : Path
        Usually called ``transforms.json``.
    scene : Scene
    images : str
        Folder of the images, relative to the file.
    """
    frames = []
    for view in scene:
        world_from_cam = np.linalg.inv(view.cam_from_world) @ _OPENGL_FROM_OPENCV
        frames.append(
            {
                "file_path": f"{images}/{view.name}",
                "transform_matrix": world_from_cam.tolist(),
                **_intrinsics(view.camera),
            }
        )
    document = {"camera_model": "OPENCV", "frames": frames}
    path.write_text(json.dumps(document, indent=1), encoding="utf-8")


def _intrinsics(camera: Camera) -> dict[str, Any]:
    K = camera.K
    keys = ("k1", "k2", "p1", "p2", "k3", "k4")
    values = np.pad(camera.distortion, (0, 8))[: len(keys)]
    return {
        "w": camera.width,
        "h": camera.height,
        "fl_x": float(K[0, 0]),
        "fl_y": float(K[1, 1]),
        "cx": float(K[0, 2]),
        "cy": float(K[1, 2]),
        **{key: float(value) for key, value in zip(keys, values, strict=True)},
    }
