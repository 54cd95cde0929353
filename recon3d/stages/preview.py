"""The picture that a stage leaves beside its product."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from recon3d.io.atomic import atomic_path
from recon3d.layout import PREVIEW
from recon3d.matching.orientation import camera_up
from recon3d.rendering.framing import Photos
from recon3d.rendering.opening import opening_of
from recon3d.rendering.render import render_mesh, render_points
from recon3d.types import Mesh, PointCloud, Scene, TexturedMesh

_SIZE = (960, 720)
Shape = PointCloud | Mesh | TexturedMesh


def write_preview(folder: Path, scene: Scene, shown: Shape, drawn: Shape | None = None) -> None:
    """Write ``preview.png``, the first view of a model.

    Parameters
    ----------
    folder : Path
        The stage's own.
    scene : Scene
        Tells where photos were taken, and where up is.
    shown : PointCloud, Mesh or TexturedMesh
        What fills the picture.
    drawn : PointCloud, Mesh or TexturedMesh, optional
        What is drawn; `shown` by default.
    """
    up = camera_up(scene) if scene.up is None else scene.up
    camera, pose = opening_of(shown, Photos.of(scene.views), up).camera(_SIZE)
    drawn = shown if drawn is None else drawn
    if isinstance(drawn, PointCloud):
        picture = render_points(drawn, camera, pose)
    else:
        picture = render_mesh(drawn, camera, pose, fine=True)
    with atomic_path(folder / PREVIEW) as temporary:
        Image.fromarray(picture).save(temporary)
