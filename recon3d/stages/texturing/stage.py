"""Stage 7: the surface painted from the photos."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from recon3d.compute import StageContext
from recon3d.errors import OutOfMemory
from recon3d.layout import MESH, TEXTURED_MESH, images_folder
from recon3d.options import TexturingOptions
from recon3d.stages.kept_steps import is_whole
from recon3d.stages.texturing.texture_tasks import (
    PaintTask,
    ViewTask,
    choose,
    paint,
    prepare,
    rate_view,
)
from recon3d.types import Camera, Scene, SparsePoints

VERSION = 5

#: Bytes for each pixel of a photo while it is rated: itself, its gradients, the depth test.
_PHOTO_BYTES = 48
#: Bytes for each texel of the atlas: fixed-point colours, mask, half-size pyramid, texture, JPEG.
_TEXEL_BYTES = 24
_BASE_BYTES = 400_000_000
#: Atlases smaller than this are not tried when memory runs out.
_SMALLEST_ATLAS = 1024
#: A larger doubted share of the surface is said.
_MUCH = 0.01


def run(inputs: Mapping[str, Path], options: TexturingOptions, out_dir: Path, context: StageContext) -> None:
    """Write ``textured_mesh.glb`` and ``preview.png``.

    Parameters
    ----------
    inputs : mapping of str to Path
        The folders of ``frame_extraction``, ``sparse_reconstruction`` and ``mesh_generation``.
    options : TexturingOptions
    out_dir : Path
    context : StageContext

    Raises
    ------
    ReconstructionError
        No photo shows any of the surface.
    InputError
        A frame or the mesh cannot be read.
    OptionError
        The texture is too small for the surface.
    """
    scene = Scene.load(inputs["sparse_reconstruction"])
    images = images_folder(inputs["frame_extraction"])
    surface = inputs["mesh_generation"] / MESH
    work = out_dir / "views"
    mesh = work / "mesh.npz"
    face_bytes = surface.stat().st_size * 40
    if not is_whole(mesh):
        context.call(prepare, surface, scene.views, options.max_image_size, mesh, memory=face_bytes)
    tasks = [
        ViewTask(images, mesh, view, options.max_image_size, work / f"{view.name}.npz") for view in scene
    ]
    missing = [task for task in tasks if not is_whole(task.output)]
    largest = max((_pixels(view.camera, options.max_image_size) for view in scene), default=0)
    context.map(
        rate_view,
        missing,
        names=[task.view.name for task in missing],
        done=len(tasks) - len(missing),
        memory=_BASE_BYTES + largest * _PHOTO_BYTES + face_bytes,
    )
    painting = PaintTask(
        images,
        mesh,
        replace(scene, points=SparsePoints.empty()),
        tuple(task.output for task in tasks),
        options.max_image_size,
        work / "chosen.npz",
    )
    if not is_whole(painting.chosen):
        context.call(choose, painting, memory=_BASE_BYTES + face_bytes)
    size = options.texture_size
    while True:
        memory = _BASE_BYTES + size * size * _TEXEL_BYTES + face_bytes + largest * 8
        try:
            counts, doubted = context.call(
                paint, painting, size, options.seam_levelling, out_dir, memory=memory, unit="views"
            )
            break
        except OutOfMemory:
            if size // 2 < _SMALLEST_ATLAS:
                raise
            context.fallback(
                f"A texture of {size} x {size} texels needs too much memory; {size // 2} instead."
            )
            size //= 2
    context.count(counts)
    if doubted > _MUCH:
        context.fallback(
            f"{100 * doubted:.1f} % of the surface takes its colours from its surroundings: where it should "
            "be, photos show what is behind it, or different things. Photos from above and from closer help."
        )
    if scene.up is not None and scene.up[1] < 1:
        axis = "+-"[int(scene.up.sum() < 0)] + "xyz"[int(np.abs(scene.up).argmax())]
        context.fallback(
            f"The world's {axis} axis points up, while glTF is y-up: {TEXTURED_MESH} turns the model "
            "upright. PLY, OBJ and COLMAP files keep the axes of the world."
        )
    shutil.rmtree(work)


def _pixels(camera: Camera, max_size: int) -> int:
    camera = camera.fitted(max_size)
    return camera.width * camera.height
