"""Depth maps by COLMAP on GPUs.

Writes a COLMAP workspace with this project's choice of source views and depth ranges, lets COLMAP
match it in blocks of views, one block a GPU at a time, and turns its maps into ours. Filtering and
fusion then go on as after the CPU engine.
"""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from recon3d.compute import StageContext, reads
from recon3d.errors import StageError
from recon3d.io.atomic import atomic_path
from recon3d.io.colmap_dense import DenseWorkspace, Kind, PatchMatchSettings, Problem
from recon3d.io.depth import read_colmap_map
from recon3d.options import DenseReconstructionOptions
from recon3d.stages.dense_reconstruction.stereo_plan import BASE_MEMORY, Plan, map_missing
from recon3d.stages.dense_reconstruction.view_tasks import Folders, write_raw_map
from recon3d.types import DepthMap, Floats, Scene, View

#: Views a block has at most: starting COLMAP and CUDA costs about as much as a tenth of a view.
_BLOCK = 8
#: COLMAP draws depths from the whole range at first, so it must not be much wider than the points'.
_NEARER, _FARTHER = 0.6, 1.6


def match(plan: Plan, options: DenseReconstructionOptions, context: StageContext) -> None:
    """Write each view's depth map before filtering.

    Parameters
    ----------
    plan : Plan
        The undistorted images are there.
    options : DenseReconstructionOptions
    context : StageContext

    Raises
    ------
    EngineUnavailable
        No CUDA.
    OutOfMemory
        The GPU's memory is too small.
    """
    views, active = plan.scene.views, plan.active
    names = [views[i].name for i in active]
    workspace = DenseWorkspace(Path(plan.folders.work) / "colmap")
    products = [plan.folders.raw_map(name) for name in names]
    if not all(product.exists() for product in products):
        kinds: tuple[Kind, ...] = ("photometric",)
        if options.geometric_iterations:
            kinds = ("photometric", "geometric")
        preparing, *matching, reading = context.phases(1, *[8.0] * len(kinds), 1)
        _prepare(plan, workspace, preparing)
        for kind, phase in zip(kinds, matching, strict=True):
            _match_all(plan, workspace, kind, kind == kinds[-1], settings_for(options), phase)
        imports = [_ImportTask(plan.folders, str(workspace.folder), i, views[i], kinds[-1]) for i in active]
        map_missing(import_maps, imports, products, names, "depth maps read", plan.memory, reading)
    shutil.rmtree(workspace.folder, ignore_errors=True)


def settings_for(options: DenseReconstructionOptions) -> PatchMatchSettings:
    """Choose COLMAP's settings from the stage's options; three rounds give COLMAP's own defaults.

    Parameters
    ----------
    options : DenseReconstructionOptions

    Returns
    -------
    PatchMatchSettings
    """
    coarse = options.iterations < 3
    return PatchMatchSettings(
        window_radius=4 if coarse else 5,
        window_step=2 if coarse else 1,
        num_samples=5 * options.iterations,
        num_iterations=2 * options.iterations - 1,
    )


def depth_range(points_cam: Floats) -> tuple[float, float]:
    """Compute the range of depths to search.

    Parameters
    ----------
    points_cam : ndarray of float64, shape (N, 3)
        Points that the view sees, in its camera frame.

    Returns
    -------
    (float, float)
        Smallest and largest depth.
    """
    depth = points_cam[points_cam[:, 2] > 0, 2]
    near, far = np.percentile(depth, [1, 99])
    return float(near * _NEARER), float(far * _FARTHER)


def _prepare(plan: Plan, workspace: DenseWorkspace, context: StageContext) -> None:
    """Write the workspace but for the maps."""
    views = plan.scene.views
    workspace.prepare({i: [int(j) for j in plan.sources[i]] for i in plan.active})
    items = [_ImageTask(str(plan.folders.image(views[i].name)), str(workspace.image(i))) for i in plan.active]
    images = [workspace.image(i) for i in plan.active]
    names = [views[i].name for i in plan.active]
    map_missing(write_image, items, images, names, "images for COLMAP", plan.memory, context)
    context.phase(1.0, 1.0).call(write_sparse_model, str(workspace.folder), plan.scene, memory=BASE_MEMORY)


def _match_all(
    plan: Plan,
    workspace: DenseWorkspace,
    kind: Kind,
    filtered: bool,
    settings: PatchMatchSettings,
    context: StageContext,
) -> None:
    views = plan.scene.views
    missing = []
    problems = []
    for i, points in zip(plan.active, plan.points_seen(), strict=True):
        if workspace.has_maps(i, kind):
            continue
        missing.append(i)
        T = views[i].cam_from_world
        points_cam = points @ T[:3, :3].T + T[:3, 3]
        problems.append(Problem(i, tuple(int(j) for j in plan.sources[i]), depth_range(points_cam)))
    size = min(_BLOCK, max(1, math.ceil(len(missing) / context.gpus)))
    blocks = [tuple(problems[k : k + size]) for k in range(0, len(problems), size)]
    context.map(
        match_block,
        [
            _BlockTask(
                str(workspace.folder),
                block,
                kind,
                settings,
                filtered,
                tuple(views[problem.index].name for problem in block),
            )
            for block in blocks
        ],
        names=[f"{views[block[0].index].name} and {len(block) - 1} more" for block in blocks],
        unit=f"blocks of {kind} depth maps",
        memory=plan.memory + int(settings.cache_size * 2**30),
        gpu=True,
    )


@dataclass(frozen=True)
class _ImageTask:
    source: str
    target: str


@reads(lambda task: [task.source])
def write_image(task: _ImageTask) -> None:
    """Write an undistorted image as PNG.

    Parameters
    ----------
    task : _ImageTask

    Raises
    ------
    StageError
        The file cannot be written.
    """
    rgb = np.load(task.source)
    with atomic_path(Path(task.target)) as temporary:
        if not cv2.imwrite(str(temporary), rgb[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1]):
            raise StageError(f"{task.target} cannot be written.", "Check the disk.")


@reads(lambda folder, scene: [])
def write_sparse_model(folder: str, scene: Scene) -> None:
    """Write the workspace's sparse model.

    Parameters
    ----------
    folder : str
        The workspace.
    scene : Scene
    """
    from recon3d.colmap import write_model

    workspace = DenseWorkspace(Path(folder))
    write_model(workspace.model, scene, [workspace.name(i) for i in range(len(scene))])


@dataclass(frozen=True)
class _BlockTask:
    folder: str
    problems: tuple[Problem, ...]
    kind: Kind
    settings: PatchMatchSettings
    filtered: bool
    titles: tuple[str, ...]


def _block_files(task: _BlockTask) -> set[Path]:
    workspace = DenseWorkspace(Path(task.folder))
    return {file for problem in task.problems for file in workspace.files_read(problem, task.kind)}


@reads(_block_files)
def match_block(task: _BlockTask) -> None:
    """Let COLMAP match a block of views on this worker's GPU.

    Parameters
    ----------
    task : _BlockTask
    """
    from recon3d.colmap import match_views

    DenseWorkspace(Path(task.folder)).make_folders()
    match_views(
        Path(task.folder), task.problems, task.kind, task.settings, filtered=task.filtered, titles=task.titles
    )


@dataclass(frozen=True, eq=False)
class _ImportTask:
    folders: Folders
    workspace: str
    index: int
    view: View
    kind: Kind


def _map_files(task: _ImportTask) -> list[Path]:
    workspace = DenseWorkspace(Path(task.workspace))
    maps = [workspace.depth_map(task.index, task.kind), workspace.normal_map(task.index, task.kind)]
    return [*maps, task.folders.mask(task.view.name)]


@reads(_map_files)
def import_maps(task: _ImportTask) -> None:
    """Convert a view's maps of COLMAP to recon3d's format; filtering sets the confidence.

    Parameters
    ----------
    task : _ImportTask

    Raises
    ------
    StageError
        The size of COLMAP's map differs from its image's.
    """
    workspace = DenseWorkspace(Path(task.workspace))
    depth = read_colmap_map(workspace.depth_map(task.index, task.kind))
    normal = read_colmap_map(workspace.normal_map(task.index, task.kind))
    camera = task.view.camera
    if depth.shape != (camera.height, camera.width):
        raise StageError(
            f"COLMAP's depth map of {task.view.name} has {depth.shape[1]} x {depth.shape[0]} pixels, its"
            f" image {camera.width} x {camera.height}.",
            "This is most likely a bug in recon3d; please report it.",
        )
    length = np.linalg.norm(normal, axis=2)
    known = np.isfinite(depth) & (depth > 0) & (length > 0.5)
    normal /= np.maximum(length, np.float32(1e-6))[..., None]
    depth_map = DepthMap(
        task.view.name,
        camera,
        np.where(known, depth, np.float32(0)),
        np.where(known[..., None], normal, np.float32(0)),
        known.astype(np.float32),
    )
    write_raw_map(task.folders, depth_map)
