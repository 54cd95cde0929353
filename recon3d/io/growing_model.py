"""A small file that shows a model while structure from motion grows it."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from recon3d.errors import InputError
from recon3d.io.atomic import atomic_path
from recon3d.types import Camera, Scene, SparsePoints, View

#: The file's name in the stage's working folder.
GROWING = "growing.npz"


def write_growing(path: Path, scene: Scene) -> None:
    """Write a scene of pinhole cameras without its tracks, atomically.

    Parameters
    ----------
    path : Path
    scene : Scene
    """
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez(
            file,
            names=np.array([view.name for view in scene], np.str_),
            sizes=np.array([(v.camera.width, v.camera.height) for v in scene], np.int64).reshape(-1, 2),
            params=np.array([v.camera.params for v in scene], np.float64).reshape(-1, 4),
            poses=np.array([v.cam_from_world for v in scene], np.float64).reshape(-1, 4, 4),
            points=scene.points.xyz.astype(np.float32),
            colors=scene.points.rgb,
        )


def read_growing(path: Path) -> Scene:
    """Read a file of `write_growing`.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Scene

    Raises
    ------
    InputError
        There is no such file (the stage removes it at its end), or it is damaged.
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as data:
            rows = zip(data["names"], data["sizes"], data["params"], data["poses"], strict=True)
            views = tuple(
                View(
                    str(name),
                    Camera("PINHOLE", int(size[0]), int(size[1]), tuple(float(p) for p in params)),
                    pose,
                )
                for name, size, params, pose in rows
            )
            xyz = data["points"].astype(np.float64)
            colors = data["colors"]
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} does not hold a growing model: {error}.", "Wait for the next.") from error
    nothing = np.zeros(0, np.int32)
    points = SparsePoints(xyz, colors, np.zeros(len(xyz)), np.zeros(len(xyz) + 1, np.int64), nothing)
    return Scene(views, points)
