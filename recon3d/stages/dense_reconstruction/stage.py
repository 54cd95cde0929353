"""Depth maps of all views, and one point cloud."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from recon3d.compute import StageContext
from recon3d.errors import OutOfMemory, TooFewViews
from recon3d.layout import DEPTH_MAPS, DenseCounts, images_folder, read_resting
from recon3d.mvs.agreement import MAX_NEIGHBORS, Tolerances
from recon3d.mvs.source_selection import source_views
from recon3d.options import DenseReconstructionOptions
from recon3d.stages.dense_reconstruction import colmap_engine, cpu_engine, cuda_engine
from recon3d.stages.dense_reconstruction import view_tasks as tasks
from recon3d.stages.dense_reconstruction.engine_choice import choose_engine
from recon3d.stages.dense_reconstruction.stereo_plan import BASE_MEMORY, Plan, map_missing
from recon3d.stages.dense_reconstruction.still_parts import hide_still_parts
from recon3d.types import Ints, Scene

VERSION = 9

#: What writes the depth maps before filtering, and what is added to the name of its working folder.
_ENGINES: dict[str, tuple[Callable[[Plan, DenseReconstructionOptions, StageContext], None], str]] = {
    "cpu": (cpu_engine.match, ""),
    "cuda": (cuda_engine.match, "-cuda"),
    "colmap-cuda": (colmap_engine.match, "-colmap"),
}
#: Each retry after running out of memory takes this share of the resolution.
_SMALLER, _RETRIES, _SMALLEST = 0.7, 3, 240
#: Seconds from which on compiling is worth a line in the log.
_SLOW_COMPILATION = 3.0

#: A depth must be confirmed by enough views to within two pixels, or by one fewer more closely.
_FILTER = Tolerances(pixels=2.0, depth=0.01, degrees=60)
_CLOSE_PIXELS = 0.7
#: After averaging, only what agrees very closely becomes one point, so that fusion does not blur. What
#: no other view holds so closely becomes none.
_FUSE = Tolerances(pixels=0.08, depth=0.01, degrees=50)
_FUSE_VIEWS = 2
#: Folder of the masks that hide what stands still.
_STILL = "still"
#: Smallest share of still pixels that is told.
_TOLD = 0.01


def run(
    inputs: Mapping[str, Path], options: DenseReconstructionOptions, out_dir: Path, context: StageContext
) -> None:
    """Write ``depth_maps/``, ``point_cloud.ply``, ``visibility.npz`` and the scene at their resolution.

    Parameters
    ----------
    inputs : mapping
        Folders of ``frame_extraction`` and ``sparse_reconstruction``.
    options : DenseReconstructionOptions
    out_dir : Path
    context : StageContext

    Raises
    ------
    TooFewViews
        Fewer than two views share enough points, or no surface was found.
    OutOfMemory
        Even the lowest resolution does not fit.
    EngineUnavailable
        A GPU is required, and none can be used.
    """
    scene = Scene.load(inputs["sparse_reconstruction"])
    images = images_folder(inputs["frame_extraction"])
    _hide_still_parts(inputs["sparse_reconstruction"], images, scene, out_dir, context)
    size = min(options.max_image_size, max((max(v.camera.width, v.camera.height) for v in scene), default=0))
    context.engine = choose_engine(context)
    try:
        _at_a_size_that_fits(scene, images, size, options, out_dir, context)
    except OutOfMemory:
        if context.engine == "cpu" or context.gpu_required:
            raise
        context.fallback("The GPU has too little memory; the CPU computes the depth maps, at full size.")
        context.engine = "cpu"
        _at_a_size_that_fits(scene, images, size, options, out_dir, context)


def _at_a_size_that_fits(
    scene: Scene,
    images: Path,
    size: int,
    options: DenseReconstructionOptions,
    out_dir: Path,
    context: StageContext,
) -> None:
    for attempt in range(_RETRIES + 1):
        try:
            _reconstruct(scene, images, size, options, out_dir, context)
            return
        except OutOfMemory:
            smaller = int(size * _SMALLER)
            if attempt == _RETRIES or smaller < _SMALLEST:
                raise
            context.fallback(f"Depth maps of {size} pixels need too much memory; trying {smaller}.")
            size = smaller


def _hide_still_parts(sparse: Path, images: Path, scene: Scene, out_dir: Path, context: StageContext) -> None:
    """In the cameras' world, what stands still while the rest turns would be smeared."""
    if read_resting(sparse) is None:
        return
    masks = str(out_dir / ".work" / _STILL)
    hidden = context.call(hide_still_parts, str(images), [view.name for view in scene], masks)
    if hidden < _TOLD:
        return
    context.fallback(
        f"{hidden:.0%} of the pixels show what stands still while the rest moves. They were left out of the"
        " depth maps. If a part of the object is missing, film it before a plain background."
    )


def _reconstruct(
    scene: Scene,
    images: Path,
    size: int,
    options: DenseReconstructionOptions,
    out_dir: Path,
    context: StageContext,
) -> None:
    sources = source_views(scene, options.num_sources)
    active = [i for i in range(len(scene)) if len(sources[i])]
    if len(active) < 2:
        raise TooFewViews(
            f"Of {len(scene)} views, {len(active)} share enough points with another for dense stereo.",
            "Take more images with more overlap, moving sideways between them.",
        )
    match, suffix = _ENGINES[context.engine]
    work = out_dir / ".work" / f"{size}{suffix}"
    small = replace(scene, views=tuple(replace(v, camera=v.camera.fitted(size).undistorted()) for v in scene))
    pixels = max(v.camera.width * v.camera.height for v in small)
    plan = Plan(
        scene=small,
        originals=scene.views,
        folders=tasks.Folders(str(images), str(work), str(out_dir / ".work" / _STILL)),
        size=size,
        sources=sources,
        neighbors=_neighbors(sources),
        active=active,
        memory=BASE_MEMORY + pixels * (60 + 16 * (options.num_sources + 1)),
    )
    rounds = 1 + options.geometric_iterations
    loading, matching, filtering, fusing, merging = context.phases(1, 8 * rounds, 1.3, 1, 1)
    _load(plan, loading)
    match(plan, options, matching)
    _filter(plan, options, filtering)
    fused = _fuse(plan, fusing)
    points = sum(count for count, _ in fused)
    if not points:
        raise TooFewViews(
            "No surface point was seen alike by enough views.",
            "Take sharper images with more overlap of a surface with texture, or lower min_views.",
        )
    small.save(out_dir)
    _merge(plan, [count for count, _ in fused], out_dir, merging)
    shutil.rmtree(out_dir / DEPTH_MAPS, ignore_errors=True)
    os.replace(work / DEPTH_MAPS, out_dir / DEPTH_MAPS)
    # Committing removes it. Removal takes long, and a partly removed folder would look like unfinished work.
    os.replace(out_dir / ".work", out_dir / ".tmp-work")
    context.count(
        DenseCounts(
            views=len(scene),
            views_without_sources=len(scene) - len(active),
            max_image_size=size,
            depth_maps=len(active),
            points=points,
            filled=round(float(np.mean([share for _, share in fused])), 4),
        )
    )


def _neighbors(sources: list[Ints]) -> list[Ints]:
    """The views that each view is compared with: its sources, and those whose source it is."""
    chosen = [own.tolist() for own in sources]
    for j, theirs in enumerate(sources):
        for i in theirs:
            if j not in chosen[i]:
                chosen[i].append(j)
    return [np.array(views[:MAX_NEIGHBORS], np.int32) for views in chosen]


def _load(plan: Plan, context: StageContext) -> None:
    """Undistort the images, while one worker compiles the kernels or loads them."""
    views = [plan.originals[i] for i in plan.active]
    # The image is the last of what a task writes.
    missing = [view for view in views if not plan.folders.image(view.name).exists()]
    largest = max(v.camera.width * v.camera.height for v in views)
    items: list[tasks.LoadTask | tasks.CompileTask] = [tasks.CompileTask()]
    items += [tasks.LoadTask(plan.folders, view, plan.size) for view in missing]
    seconds = context.map(
        tasks.prepare,
        items,
        names=["kernels", *(view.name for view in missing)],
        unit="frames",
        done=len(views) - len(missing),
        memory=BASE_MEMORY + 30 * largest,
    )[0]
    if seconds > _SLOW_COMPILATION:
        context.log(f"Compiled the kernels of dense stereo in {seconds:.0f} s; this is done once.")


def _filter(plan: Plan, options: DenseReconstructionOptions, context: StageContext) -> None:
    views = plan.scene.views
    items = [
        tasks.FilterTask(
            folders=plan.folders,
            view=views[i],
            neighbors=tuple(views[j] for j in plan.neighbors[i]),
            min_views=min(options.min_views, 1 + len(plan.neighbors[i])),
            tolerances=_FILTER,
            close_pixels=_CLOSE_PIXELS,
        )
        for i in plan.active
    ]
    names = [views[i].name for i in plan.active]
    products = [plan.folders.depth_map(name) for name in names]
    map_missing(tasks.filter_view, items, products, names, "filtered maps", plan.comparing_memory, context)


def _fuse(plan: Plan, context: StageContext) -> list[tuple[int, float]]:
    views = plan.scene.views
    items = []
    for i in plan.active:
        others = plan.neighbors[i].tolist()
        items.append(
            tasks.FuseTask(
                folders=plan.folders,
                index=i,
                view=views[i],
                neighbors=tuple(views[j] for j in others),
                neighbor_indices=tuple(others),
                min_views=_FUSE_VIEWS,
                tolerances=_FUSE,
            )
        )
    names = [views[i].name for i in plan.active]
    return context.map(tasks.fuse, items, names=names, unit="fused views", memory=plan.comparing_memory)


def _merge(plan: Plan, counts: list[int], out_dir: Path, context: StageContext) -> None:
    names = [plan.scene.views[i].name for i in plan.active]
    products: dict[tasks.Product, str] = {
        "cloud": "the cloud",
        "visibility": "who sees its points",
        "picture": "its picture",
    }
    items = [tasks.MergeTask(plan.folders, names, counts, str(out_dir), product) for product in products]
    memory = BASE_MEMORY + tasks.PICTURE_MEMORY
    context.map(tasks.merge, items, names=list(products.values()), unit="files", memory=memory)
