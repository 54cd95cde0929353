"""The development sets, where their truth is, and what OpenMVS 2.3 made of them (shared/data/README.md)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

import av
import cv2

DATA = Path(os.environ.get("RECON3D_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))

#: Distances of F-scores, and the edge of the cubes that clouds are thinned to before, in metres.
DISTANCES = (0.005, 0.010, 0.020)
VOXEL = 0.0025

#: Of a video, every so many-th frame is taken.
_STEP = 6


@dataclass(frozen=True)
class Set:
    """A development set.

    Parameters
    ----------
    images : str
        Folder of images, or a video.
    size : int
        Longer side of OpenMVS's depth maps in pixels.
    units : float
        CPU-seconds of its depth maps and fusion, in reference units.
    poses, truth : str, optional
        A COLMAP model of the true cameras, and the true surface.
    box : (low, high), optional
        Where points count, in metres.
    cloud, mesh : tuple of float, optional
        OpenMVS's F-scores at `DISTANCES`.
    """

    images: str
    size: int
    units: float
    poses: str | None = None
    truth: str | None = None
    box: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    cloud: tuple[float, ...] | None = None
    mesh: tuple[float, ...] | None = None


SETS = {
    "girl": Set(
        "gt_dancinggirl_photos/images",
        640,
        7.3,
        "gt_dancinggirl_photos/sparse_gt",
        "gt_dancinggirl_photos/mesh_object.ply",
        ((-0.45, -0.35, 0.02), (0.45, 0.35, 1.85)),
        (0.883, 0.958, 0.983),
        (0.838, 0.932, 0.973),
    ),
    "bust": Set(
        "gt_bust_video/video.mp4",
        960,
        32.1,
        "gt_bust_video/sparse_gt",
        "gt_bust_video/mesh_object.ply",
        ((-0.5, -0.55, 0.02), (0.5, 0.55, 1.85)),
        (0.851, 0.938, 0.966),
    ),
    "sceaux": Set("sceaux_1600/images", 1600, 46.0),
    "fountain": Set("strecha_fountain-P11_1600/images", 1600, 48.9),
}
#: Those with true cameras and a true surface.
TRUE_SETS = tuple(name for name, data in SETS.items() if data.truth)


def frames(name: str, folder: Path) -> Path:
    """The set's folder of images; a video's frames are written to `folder`."""
    source = DATA / SETS[name].images
    if source.is_dir():
        return source
    folder.mkdir(parents=True, exist_ok=True)
    with av.open(str(source)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            path = folder / f"{number:05d}.png"
            if number % _STEP == 0 and not path.exists():
                cv2.imwrite(str(path), frame.to_ndarray(format="bgr24"))
    return folder


def posed_frames(name: str, work: Path) -> tuple[Path, Path]:
    """A model of the set's true cameras, and its images; what has to be made is put into `work`."""
    model = DATA / str(SETS[name].poses)
    images = frames(name, work / "images")
    if images != work / "images":
        return model, images
    return part_of_model(model, work / "model", {path.name for path in images.iterdir()}), images


def part_of_model(model: Path, target: Path, names: Container[str]) -> Path:
    """A copy of a model of cameras without points that keeps the images of some names."""
    shutil.copytree(model, target, dirs_exist_ok=True)
    rows = [
        line
        for line in (model / "images.txt").read_text().splitlines()
        if line.strip() and not line.startswith("#")
    ]
    kept = [row for row in rows if row.split()[9] in names]
    (target / "images.txt").write_text("".join(f"{row}\n\n" for row in kept))
    return target
