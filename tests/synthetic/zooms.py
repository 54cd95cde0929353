"""Photos of a relief by cameras whose focal lengths are known one by one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from recon3d.io.atomic import write_json
from recon3d.types import Camera, Scene, View
from tests.synthetic.scenes import Plane, Sphere, render
from tests.synthetic.shapes import looking

SIZE = (400, 300)
#: Focal length in pixels at zoom 1.
FOCAL = 400.0


def relief() -> list[Plane | Sphere]:
    """A wall with balls in it: no plane, or nothing would tell a zoom from a step forward."""
    rng = np.random.default_rng(3)
    balls = [
        Sphere(np.array([x + rng.uniform(-0.2, 0.2), y + rng.uniform(-0.2, 0.2), 0.1]), rng.uniform(0.3, 0.6))
        for x in np.linspace(-1.8, 1.8, 5)
        for y in (-0.9, 0.0, 0.9)
    ]
    return [Plane(np.array([0.0, 0.0, 1.0]), 0.3), *balls]


def photographers(zooms: Sequence[float], arc: float = 0.6) -> Scene:
    """A walk from -`arc` to `arc` radians before the relief, with a zoom for each photo."""
    views: list[View] = []
    for index, (zoom, angle) in enumerate(zip(zooms, np.linspace(-arc, arc, len(zooms)), strict=True)):
        K = np.array([[FOCAL * zoom, 0, SIZE[0] / 2], [0, FOCAL * zoom, SIZE[1] / 2], [0, 0, 1]])
        distance = 4.0 + 0.5 * (index % 3)
        center = np.array([distance * np.sin(angle), 0.4 * np.sin(2.0 * index), -distance * np.cos(angle)])
        camera = Camera.pinhole(*SIZE, K)
        target = np.array([0.3 * angle, 0.0, 0.0])
        views.append(looking(center, target, np.array([0.0, -1.0, 0.0]), f"{index:03d}.png", camera))
    return Scene(tuple(views))


def photographed(
    folder: Path, truth: Scene, cameras: Sequence[int], focal_px: float | None = None, video: bool = False
) -> Path:
    """A frame_extraction artifact of the photos; `cameras` and `focal_px` are what the metadata say."""
    shapes = relief()
    (folder / "images").mkdir(parents=True)
    rows = []
    for view, camera in zip(truth, cameras, strict=True):
        cv2.imwrite(str(folder / "images" / view.name), render(shapes, view, detail=7.0).rgb)
        rows.append(
            {
                "name": view.name,
                "source": "walk.mp4" if video else view.name,
                "kind": "video" if video else "photo",
                "time": 0.5 * len(rows) if video else None,
                "width": view.camera.width,
                "height": view.camera.height,
                "sharpness": 1.0,
                "focal_px": focal_px,
                "camera": camera,
                "gps": None,
            }
        )
    sequences = [[view.name for view in truth]] if video else []
    write_json(folder / "frames.json", {"frames": rows, "sequences": sequences})
    return folder
