"""Depth maps by this project's PatchMatch on GPUs: `recon3d.mvs.device_stereo`, a block of views a task."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from recon3d.compute import StageContext, reads
from recon3d.errors import EngineUnavailable
from recon3d.mvs.device_check import check_device
from recon3d.mvs.stereo import PlaneMap
from recon3d.options import DenseReconstructionOptions
from recon3d.stages.dense_reconstruction.plane_tasks import (
    GEOMETRIC_WEIGHT,
    MatchTask,
    Start,
    files_read,
    read_inverse_depth,
    read_start,
    stereo_image,
    write_planes,
)
from recon3d.stages.dense_reconstruction.rounds import run_rounds
from recon3d.stages.dense_reconstruction.stereo_plan import Plan
from recon3d.types import View

#: Views a block has at most; those that follow each other share most of their sources.
_BLOCK = 16
#: Bytes of a process that uses CUDA, and of its compiler.
_CUDA_MEMORY = 2**30
#: Bytes a pixel: an image and its smaller sizes; a view's planes, read, matched and written at once, and
#: a map on its way to the GPU.
_IMAGE, _PLANES = 4, 3 * 24 + 4


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
        A worker's GPU computes something else than its CPU.
    OutOfMemory
        The GPU's memory is too small for one view.
    """

    def run_round(
        items: Sequence[MatchTask],
        products: Sequence[Path],
        names: Sequence[str],
        unit: str,
        phase: StageContext,
    ) -> None:
        missing = [item for item, product in zip(items, products, strict=True) if not product.exists()]
        size = min(_BLOCK, max(1, math.ceil(len(missing) / max(1, phase.gpus))))
        blocks = [BlockTask(tuple(missing[k : k + size])) for k in range(0, len(missing), size)]
        phase.map(
            match_block,
            blocks,
            names=[f"{block.tasks[0].view.name} and {len(block.tasks) - 1} more" for block in blocks],
            unit=f"blocks of {unit}",
            memory=max((_memory(block.tasks) for block in blocks), default=0),
            gpu=True,
        )

    run_rounds(plan, options, run_round, context)


@dataclass(frozen=True, eq=False)
class BlockTask:
    """A round of PatchMatch on some views."""

    tasks: tuple[MatchTask, ...]


@reads(lambda block: {file for task in block.tasks for file in files_read(task)})
def match_block(block: BlockTask) -> None:
    """Write the planes of a block of views after a round, computed on this worker's GPU.

    The next view is read, and the last one written, while the GPU works.

    Parameters
    ----------
    block : BlockTask

    Raises
    ------
    EngineUnavailable
        The GPU computes something else than the CPU.
    OutOfMemory
        The GPU's memory is too small for one view.
    """
    from recon3d.mvs.device_stereo import telling_out_of_memory, usable_device_memory

    with telling_out_of_memory():
        if not (found := check_device()).passed:
            raise EngineUnavailable(f"{found}.", "Use engine='cpu' or 'colmap-cuda', and report this.")
        for part in parts(block.tasks, usable_device_memory()):
            _match_part(part)


def parts(tasks: Sequence[MatchTask], memory: int) -> Iterator[list[MatchTask]]:
    """Cut a block into parts that fit a GPU's memory together with their sources.

    Parameters
    ----------
    tasks : sequence of MatchTask
    memory : int
        Bytes.

    Yields
    ------
    list of MatchTask

    Raises
    ------
    OutOfMemory
        Not even one view fits.
    """
    from recon3d.mvs.device_stereo import device_bytes, out_of_memory

    part: list[MatchTask] = []
    for task in tasks:
        for candidate in ([*part, task], [task]):
            if device_bytes(_pixels(candidate), len(_views(candidate))) <= memory:
                break
            if len(candidate) == 1:
                raise out_of_memory()
            yield part
        part = candidate
    if part:
        yield part


def _match_part(tasks: Sequence[MatchTask]) -> None:
    from recon3d.mvs.device_stereo import DeviceImages, DeviceMaps, refine_on_device

    views = _views(tasks)
    images = DeviceImages({name: stereo_image(tasks[0].folders, view) for name, view in views.items()})
    maps = None
    if tasks[0].round:
        sources = {view.name: view.camera for task in tasks for view in task.sources}
        maps = DeviceMaps(
            ((name, read_inverse_depth(tasks[0], name)) for name in sources),
            sum(camera.width * camera.height for camera in sources.values()),
        )
    written: Future[None] | None = None
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        coming: Future[Start] = reader.submit(read_start, tasks[0])
        for number, task in enumerate(tasks):
            start = coming.result()
            if number + 1 < len(tasks):
                coming = reader.submit(read_start, tasks[number + 1])
            planes: PlaneMap = refine_on_device(
                images,
                task.view.name,
                [source.name for source in task.sources],
                start.planes,
                start.bounds,
                task.schedule,
                best_views=task.best_views,
                inverse_depths=maps,
                geometric_weight=GEOMETRIC_WEIGHT,
                seed=task.seed + task.round,
            )
            if written is not None:
                written.result()
            written = writer.submit(write_planes, task, planes)
        if written is not None:
            written.result()


def _views(tasks: Sequence[MatchTask]) -> dict[str, View]:
    """All views whose images a part needs, by name."""
    return {view.name: view for task in tasks for view in (task.view, *task.sources)}


def _pixels(tasks: Sequence[MatchTask]) -> int:
    return max(view.camera.width * view.camera.height for view in _views(tasks).values())


def _memory(tasks: Sequence[MatchTask]) -> int:
    """Bytes of the host that a block needs."""
    return _CUDA_MEMORY + _pixels(tasks) * (_IMAGE * len(_views(tasks)) + _PLANES)
