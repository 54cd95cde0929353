"""Stage 7: the surface painted from the photos."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from recon3d.compute import StageContext
from recon3d.errors import OutOfMemory
from recon3d.layout import MESH, NORMAL_MAP, TEXTURED_MESH, TextureCounts, images_folder
from recon3d.options import TexturingOptions
from recon3d.options.stage_options import MOST_PAGES
from recon3d.stages.kept_steps import is_whole, kept_facts
from recon3d.stages.running import run_step
from recon3d.stages.texturing.normal_tasks import bake_normals
from recon3d.stages.texturing.paint_tasks import (
    CopyTask,
    PageTask,
    Painting,
    copy_photos,
    find_levels,
    finish,
    join,
    place_charts,
    plan,
    write,
)
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
from recon3d.texture.grid import most_pages
from recon3d.types import Camera, Scene, SparsePoints

VERSION = 8

#: Work of the steps: making room in the mesh and splitting it, rating views, confirming what they show,
#: labelling faces, choosing photos; all of these, painting, baking normals and writing; and of painting:
#: planning the atlas, placing charts, copying photos, joining, levelling and finishing pages.
_CHOICE_SHARES, _SHARES, _PAINT_SHARES = (2, 1, 8, 2, 2, 2), (17, 9, 5, 1), (1, 2, 2, 3, 1, 7)
#: Bytes for each pixel of a photo while it is rated: itself, its gradients, the depth test.
_PHOTO_BYTES = 48
#: Bytes for each texel of the atlas: fixed-point colours, mask, half-size pyramid, texture, JPEG. And while a
#: photo is copied: the colours, and whose the blocks are.
_TEXEL_BYTES, _COPIED_BYTES = 24, 8
_BASE_BYTES = 400_000_000
#: Bytes of the preview's texture and of the encoded pages.
_WRITTEN_BYTES = 200_000_000
#: Photos that a task copies at most, and tasks that there are before it copies several.
_COPIED_TOGETHER, _COPY_TASKS = 32, 64
#: Bytes of the photos that a task keeps at most, one photo at least.
_PHOTOS_BYTES = 200_000_000
#: Pages smaller than this are not tried when memory runs out.
_SMALLEST_PAGE = 1024
#: Fewer texels for each pixel of the photos are said.
_COARSE = 0.5
#: Side of the largest page that most programs open.
_USUAL_PAGE = 8192
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
    choosing, coloring, baking, writing = context.phases(*_SHARES)
    sources = chosen_sources(inputs, options, work, choosing)
    memory = _BASE_BYTES + _face_bytes(inputs) + _largest(sources.scene, options) * 8
    size = options.texture_size
    pages = min(options.texture_pages, most_pages(size))
    while True:
        folder = work / f"size-{size}"
        task = Painting(sources, size, pages, options.seam_levelling, folder)
        try:
            _paint(task, coloring, memory)
            if _wants_normals(options, sources):
                surface = inputs["mesh_generation"] / MESH
                bake_normals(task, surface, out_dir / NORMAL_MAP, baking, _BASE_BYTES + _face_bytes(inputs))
            baking.progress(1, 1)
            writing.progress(0, 1)
            counts: TextureCounts
            counts, doubted = writing.call(write, task, out_dir, memory=memory + _WRITTEN_BYTES)
            writing.progress(1, 1)
            break
        except OutOfMemory:
            if size // 2 < _SMALLEST_PAGE:
                raise
            size //= 2
            if size * 2 == options.texture_size:
                # As many texels, once: what fails again needs fewer.
                pages = min(4 * pages, most_pages(size), MOST_PAGES)
            context.fallback(
                f"A page of {2 * size} x {2 * size} texels needs too much memory; up to {pages} of {size} x "
                f"{size} instead."
            )
    context.count(counts)
    if doubted > _MUCH:
        context.fallback(
            f"{100 * doubted:.1f} % of the surface takes its colours from its surroundings: where it should "
            "be, photos show what is behind it, or different things. Photos from above and from closer help."
        )
    if counts.scale < _COARSE:
        context.fallback(
            f"The texture has {counts.scale:.2f} texels for each pixel of the photos. "
            + _more_texels(counts, size, pages)
        )
    up = sources.scene.up
    if up is not None and up[1] < 1:
        axis = "+-"[int(up.sum() < 0)] + "xyz"[int(np.abs(up).argmax())]
        context.fallback(
            f"The world's {axis} axis points up, while glTF is y-up: {TEXTURED_MESH} turns the model "
            "upright. PLY, OBJ and COLMAP files keep the axes of the world."
        )
    shutil.rmtree(work)


def _more_texels(counts: TextureCounts, size: int, pages: int) -> str:
    """What gives more texels than a texture has that may have so many pages of a size."""
    allowed = min(most_pages(size), MOST_PAGES)
    if pages < allowed:
        wanted = min(math.ceil(counts.pages / counts.scale**2), allowed)
        return f"More pages have more: --set texturing.texture_pages={wanted}."
    if size > _USUAL_PAGE:
        pages = most_pages(_USUAL_PAGE)
        return (
            f"More pages that are smaller have more: --set texturing.texture_size={_USUAL_PAGE} "
            f"--set texturing.texture_pages={pages}."
        )
    return "Larger pages have more: raise texturing.texture_size, or lower texturing.max_image_size."


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


def _paint(task: Painting, context: StageContext, memory: int) -> None:
    """Run the steps that an earlier run has not finished. `memory` is that without the atlas."""
    planning, placing, copying, joining, levelling, finishing = context.phases(*_PAINT_SHARES)
    known = is_whole(task.plan)
    run_step(planning, plan, [] if known else [(task,)], done=int(known), memory=memory)
    views: list[list[int]] = kept_facts(task.plan)["views"]
    pages = [PageTask(task, number) for number in range(len(views))]
    left = [page for page in pages if not is_whole(page.paths.layout)]
    run_step(placing, place_charts, [(page,) for page in left], done=len(pages) - len(left), memory=memory)
    texels = max(kept_facts(page.paths.layout)["size"] for page in pages) ** 2
    whole = memory + texels * _TEXEL_BYTES
    left = [page for page in pages if not (is_whole(page.paths.joined) or is_whole(page.paths.finished))]
    _copy([(page, views[page.number]) for page in left], task, copying, memory + texels * _COPIED_BYTES)
    cores = max(1, context.threads // max(1, len(left)))
    joins = [(page, cores) for page in left]
    run_step(joining, join, joins, done=len(pages) - len(left), memory=whole)
    for page in pages:
        for view in views[page.number]:
            page.paths.painted(view).unlink(missing_ok=True)
    known = is_whole(task.levels)
    run_step(levelling, find_levels, [] if known else [(task,)], done=int(known), memory=memory)
    left = [page for page in pages if not is_whole(page.paths.finished)]
    cores = max(1, context.threads // max(1, len(left)))
    ends = [(page, cores) for page in left]
    run_step(finishing, finish, ends, done=len(pages) - len(left), memory=whole)
    for page in pages:
        page.paths.joined.unlink(missing_ok=True)


def _copy(
    pages: list[tuple[PageTask, list[int]]], painting: Painting, context: StageContext, memory: int
) -> None:
    """Copy the photos into pages that are told with the views that paint something in them."""
    views = sorted({view for _, numbers in pages for view in numbers})
    # Each task reads the layouts of its pages.
    together = max(1, min(len(views) // _COPY_TASKS, _COPIED_TOGETHER))
    if len(pages) > 1:
        # It keeps the photos for the next page.
        photo = 3 * max(view.camera.width * view.camera.height for view in painting.pinholes)
        together = max(1, min(together, _PHOTOS_BYTES // photo))
        memory += together * photo
    tasks = []
    for start in range(0, len(views), together):
        group = views[start : start + together]
        parts = []
        for page, numbers in pages:
            left = [n for n in group if n in numbers and not is_whole(page.paths.painted(n))]
            if left:
                parts.append((page, tuple(left)))
        tasks.append(CopyTask(painting, tuple(parts)))
    missing = [task for task in tasks if task.parts]
    context.map(
        copy_photos,
        missing,
        names=[painting.sources.scene.views[task.views[0]].name for task in missing],
        done=len(tasks) - len(missing),
        memory=memory,
    )


def _pixels(camera: Camera, max_size: int) -> int:
    camera = camera.fitted(max_size)
    return camera.width * camera.height
