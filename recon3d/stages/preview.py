"""The picture that a stage leaves beside its product."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PIL import Image

from recon3d.io.atomic import atomic_path
from recon3d.layout import PREVIEW
from recon3d.matching.orientation import camera_up
from recon3d.rendering.splatting import PinholeCamera
from recon3d.rendering.viewpoint import orbit_view
from recon3d.types import Bytes, Floats, Scene

_ZOOM = 1.25


def write_preview(
    folder: Path, scene: Scene, points: Floats, render: Callable[[PinholeCamera, Floats], Bytes]
) -> None:
    """Write ``preview.png``.

    Parameters
    ----------
    folder : Path
        The stage's own.
    scene : Scene
        Tells where up is.
    points : ndarray of float64, shape (N, 3)
        What the picture shows.
    render : callable
        Makes the picture, given camera and ``cam_from_world``.
    """
    up = camera_up(scene) if scene.up is None else scene.up
    camera, pose = orbit_view(points, up=up, zoom=_ZOOM)
    with atomic_path(folder / PREVIEW) as temporary:
        Image.fromarray(render(camera, pose)).save(temporary)
