"""Looking at a model while COLMAP grows it."""

from __future__ import annotations

import contextlib
import shutil
import time
from pathlib import Path

import numpy as np
import pycolmap

from recon3d.io.growing_model import write_growing
from recon3d.types import Camera, Scene, SparsePoints, View

#: Snapshots of a model that holds all images, about: COLMAP takes 30 ms for one of 64 images.
_SNAPSHOTS = 16
#: Points that a picture needs.
_POINTS = 20_000
#: Looking may take one part in so many of the time.
_SHARE = 50


class Growing:
    """Keeps a small file (`recon3d.io.growing_model`) up to date with the model that COLMAP grows.

    COLMAP's Python bindings give no way to the model before it is done, but COLMAP can leave
    snapshots on the disk; they change nothing in what it computes.

    Parameters
    ----------
    target : Path
        The file.
    work : Path
        Folder for COLMAP's snapshots.
    images : int
        How many images there are: a snapshot holds all keypoints, so large sets get fewer.
    """

    def __init__(self, target: Path, work: Path, images: int) -> None:
        self._target = target
        self.work = work
        self._next = 0.0
        self.frequency = max(1, images // _SNAPSHOTS)
        work.mkdir(parents=True, exist_ok=True)

    def look(self) -> None:
        """Write the newest snapshot, unless the last is too recent; a picture must not end a run."""
        with contextlib.suppress(OSError, RuntimeError, ValueError):
            self._look()

    def _look(self) -> None:
        snapshots = sorted(self.work.iterdir())
        if not snapshots:
            return
        began = time.monotonic()
        if began >= self._next:
            write_growing(self._target, _thin_scene(snapshots[-1]))
            self._next = time.monotonic() + max(0.5, _SHARE * (time.monotonic() - began))
        for snapshot in snapshots:
            shutil.rmtree(snapshot)

    def close(self) -> None:
        """Remove the snapshots; the file stays."""
        shutil.rmtree(self.work, ignore_errors=True)


def _thin_scene(model: Path) -> Scene:
    reconstruction = pycolmap.Reconstruction(str(model))
    views = []
    for image_id in sorted(reconstruction.reg_image_ids()):
        image = reconstruction.image(image_id)
        camera = reconstruction.camera(image.camera_id)
        pose = np.eye(4)
        pose[:3] = image.cam_from_world().matrix()
        K = camera.calibration_matrix()
        pinhole = Camera("PINHOLE", camera.width, camera.height, (K[0, 0], K[1, 1], K[0, 2], K[1, 2]))
        views.append(View(image.name, pinhole, pose))
    ids = sorted(reconstruction.point3D_ids())
    points = [reconstruction.point3D(i) for i in ids[:: 1 + len(ids) // _POINTS]]
    sparse = SparsePoints(
        np.array([p.xyz for p in points], np.float64).reshape(-1, 3),
        np.array([p.color for p in points], np.uint8).reshape(-1, 3),
        np.zeros(len(points)),
        np.zeros(len(points) + 1, np.int64),
        np.zeros(0, np.int32),
    )
    return Scene(tuple(views), sparse)
