"""Stage 7: the surface painted from the photos."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from recon3d.compute import StageContext
from recon3d.errors import OutOfMemory
from recon3d.layout import MESH, NORMAL_MAP, TEXTURED_MESH, TextureCounts, images_folder
from recon3d.options import TexturingOptions
from recon3d.stages.kept_steps import is_whole, kept_facts
from recon3d.stages.texturing.normal_tasks import bake_normals
from recon3d.stages.texturing.paint_tasks import CopyTask, Painting, blend, copy_photos, join, plan, write
from recon3d.stages.texturing.texture_tasks import (
    Sources,
    ViewTask,
    choose,
    confirm,
    label,
    make_room,
    prepare,
    rate_view,
)
from recon3d.types import Camera, Scene, SparsePoints

VERSION = 7

#: Work of the steps: making room in the mesh and splitting it, rating views, confirming what they show,
#: labelling faces, choosing photos; all of these, painting and baking normals; and of painting: planning the
#: atlas, copying photos, joining and blending them, writing.
_CHOICE_SHARES, _SHARES, _PAINT_SHARES = (2, 1, 8, 2, 2, 2), (17, 10, 5), (3, 2, 4, 4, 6)
#: Bytes for each pixel of a photo while it is rated: itself, its gradients, the depth test.
_PHOTO_BYTES = 48
#: Bytes for each texel of the atlas: fixed-point colours, mask, half-size pyramid, texture, JPEG. And while a
#: photo is copied: the colours, and whose the blocks are.
_TEXEL_BYTES, _COPIED_BYTES = 24, 8
_BASE_BYTES = 400_000_000
#: Photos that a task copies at most, and tasks that there are before it copies several.
_COPIED_TOGETHER, _COPY_TASKS = 32, 64
#: Atlases smaller than this are not tried when memory runs out.
_SMALLEST_ATLAS = 1024
#: A larger doubted share of the surface is said.
_MUCH = 0.01


def run(inputs: Mapping[str, Path], options: TexturingOptions, out_dir: Path, context: StageContext) -> None:
    """Write ``textured_mesh.glb`` and ``preview.png``, and ``normal_map.png`` where it is wanted.

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
    work = out_dir / "views"
    choosing, coloring, baking = context.phases(*_SHARES)
    sources = chosen_sources(inputs, options, work, choosing)
    memory = _BASE_BYTES + _face_bytes(inputs) + _largest(sources.scene, options) * 8
    size = options.texture_size
    while True:
        task = Painting(sources, size, options.seam_levelling, work / f"size-{size}")
        try:
            counts, doubted = _paint(task, out_dir, coloring, memory)
            if _wants_normals(options, sources):
                surface = inputs["mesh_generation"] / MESH
                bake_normals(task, surface, out_dir / NORMAL_MAP, baking, _BASE_BYTES + _face_bytes(inputs))
            baking.progress(1, 1)
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
    up = sources.scene.up
    if up is not None and up[1] < 1:
        axis = "+-"[int(up.sum() < 0)] + "xyz"[int(np.abs(up).argmax())]
        context.fallback(
            f"The world's {axis} axis points up, while glTF is y-up: {TEXTURED_MESH} turns the model "
            "upright. PLY, OBJ and COLMAP files keep the axes of the world."
        )
    shutil.rmtree(work)


def _wants_normals(options: TexturingOptions, sources: Sources) -> bool:
    if options.normal_map == "auto":
        return bool(kept_facts(sources.mesh)["thinned"])
    return options.normal_map == "on"


def chosen_sources(
    inputs: Mapping[str, Path], options: TexturingOptions, work: Path, context: StageContext
) -> Sources:
    """Choose the photo that paints each face; run what an earlier run has not finished.

    Parameters
    ----------
    inputs : mapping of str to Path
        As in `run`.
    options : TexturingOptions
    work : Path
        Receives what the steps leave.
    context : StageContext

    Returns
    -------
    Sources
        Whose `choose` is done.

    Raises
    ------
    ReconstructionError
        No photo shows any of the surface.
    """
    scene = Scene.load(inputs["sparse_reconstruction"])
    images = images_folder(inputs["frame_extraction"])
    room, mesh = work / "room.npz", work / "mesh.npz"
    face_bytes = _face_bytes(inputs)
    making, preparing, rating, confirming, labelling, choosing = context.phases(*_CHOICE_SHARES)
    sizes = (scene.views, options.max_image_size)
    if not is_whole(mesh):
        if not is_whole(room):
            surface = inputs["mesh_generation"] / MESH
            making.call(make_room, surface, *sizes, options.max_faces, room, memory=face_bytes)
        preparing.call(prepare, room, *sizes, mesh, memory=face_bytes)
    tasks = [
        ViewTask(images, mesh, view, options.max_image_size, work / f"{view.name}.npz") for view in scene
    ]
    missing = [task for task in tasks if not is_whole(task.output)]
    rating.map(
        rate_view,
        missing,
        names=[task.view.name for task in missing],
        done=len(tasks) - len(missing),
        memory=_BASE_BYTES + _largest(scene, options) * _PHOTO_BYTES + face_bytes,
    )
    sources = Sources(
        images,
        mesh,
        replace(scene, points=SparsePoints.empty()),
        tuple(task.output for task in tasks),
        options.max_image_size,
        *(work / f"{name}.npz" for name in ("confirmed", "labelled", "chosen")),
    )
    if not is_whole(sources.chosen):
        if not is_whole(sources.confirmed):
            confirming.call(confirm, sources, memory=_BASE_BYTES + face_bytes)
        if not is_whole(sources.labelled):
            labelling.call(label, sources, memory=_BASE_BYTES + face_bytes)
        choosing.call(choose, sources, memory=_BASE_BYTES + face_bytes)
    return sources


def _face_bytes(inputs: Mapping[str, Path]) -> int:
    return (inputs["mesh_generation"] / MESH).stat().st_size * 40


def _largest(scene: Scene, options: TexturingOptions) -> int:
    """Pixels of the largest photo."""
    return max((_pixels(view.camera, options.max_image_size) for view in scene), default=0)


def _paint(task: Painting, out_dir: Path, context: StageContext, memory: int) -> tuple[TextureCounts, float]:
    """Run the steps that an earlier run has not finished; see `write`. `memory` is that without the atlas."""
    texels = task.texture_size**2
    planning, copying, joining, blending, writing = context.phases(*_PAINT_SHARES)

    def step(part: StageContext, output: Path, fn: Callable[..., None], *more: int) -> None:
        part.progress(0, 1)
        if not is_whole(output):
            part.call(fn, task, *more, memory=memory + texels * _TEXEL_BYTES)

    step(planning, task.plan, plan)
    views: list[int] = kept_facts(task.plan)["views"]
    if not (is_whole(task.joined) or is_whole(task.blended)):
        # Each task reads the plan.
        together = max(1, min(len(views) // _COPY_TASKS, _COPIED_TOGETHER))
        groups = [views[start : start + together] for start in range(0, len(views), together)]
        missing = [left for group in groups if (left := [n for n in group if not is_whole(task.painted(n))])]
        copying.map(
            copy_photos,
            [CopyTask(task, tuple(group)) for group in missing],
            names=[task.sources.scene.views[group[0]].name for group in missing],
            done=len(groups) - len(missing),
            memory=memory + texels * _COPIED_BYTES,
        )
        step(joining, task.joined, join, context.threads)
    for view in views:
        task.painted(view).unlink(missing_ok=True)
    if task.level:
        step(blending, task.blended, blend, context.threads)
        task.joined.unlink(missing_ok=True)
    writing.progress(0, 1)
    made: tuple[TextureCounts, float] = writing.call(
        write, task, out_dir, context.threads, memory=memory + texels * _TEXEL_BYTES
    )
    writing.progress(1, 1)
    return made


def _pixels(camera: Camera, max_size: int) -> int:
    camera = camera.fitted(max_size)
    return camera.width * camera.height
