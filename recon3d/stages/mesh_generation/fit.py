"""The order of the tasks that fit the surface to the photos."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from recon3d.compute import StageContext
from recon3d.stages.kept_steps import is_whole, kept_facts
from recon3d.stages.mesh_generation.fit_steps import (
    CompareTask,
    MoveTask,
    PhotoTask,
    choose_photos,
    compare,
    move,
    pair_photos,
    scale_photo,
)
from recon3d.surface.refinement import SIZES
from recon3d.types import Camera, Scene, View

#: Pixels of all photos that refine the surface, at most.
PHOTO_PIXELS = 32_000_000
#: Photos that a task compares with others at most: more would be lost with its worker; of fewer, each draws
#: the partners anew.
_TOGETHER = 6
#: Bytes for each pixel of the photos of a task, and of the one that is compared; bytes needed anyway.
_PIXEL_BYTES, _COMPUTED_BYTES = 12, 80
_BASE_BYTES = 500_000_000


@dataclass(frozen=True)
class PhotoSet:
    """The photos of which some refine the surface.

    Parameters
    ----------
    images : Path
        Their folder.
    sparse : Path
        The artifact of sparse_reconstruction.
    scene : Scene
        Its cameras, with distortion.
    """

    images: Path
    sparse: Path
    scene: Scene


def fit_to_photos(
    context: StageContext,
    start: Path,
    size: int,
    photos: PhotoSet,
    folder: Path,
    memory: int,
) -> Path:
    """Move the surface until the photos agree on it; run what an earlier run has not finished.

    Parameters
    ----------
    context : StageContext
    start : Path
        What `smooth` left.
    size : int
        Longer side of the depth maps in pixels.
    photos : PhotoSet
    folder : Path
        Receives what the steps leave.
    memory : int
        Bytes that the surface takes in a task.

    Returns
    -------
    Path
        As `smooth` leaves it: the fitted surface.
    """
    if kept_facts(start)["pixel"] <= 0:
        return start
    scaling, *rounds = context.phases(1, *(scale + 1 for scale in SIZES))
    memory += _BASE_BYTES
    chosen = folder / "chosen.npz"
    if not is_whole(chosen):
        scaling.call(choose_photos, photos.sparse, chosen, memory=memory)
    views = [photos.scene.views[index] for index in kept_facts(chosen)["photos"]]
    longest = _longest(views, size)
    tasks = [
        PhotoTask(photos.images, view, longest, size, start, folder / "photos" / f"{number}.npz")
        for number, view in enumerate(views)
    ]
    most = max((_pixels(task.view.camera, longest) for task in tasks), default=0)
    missing = [task for task in tasks if not is_whole(task.output)]
    scaling.map(
        scale_photo,
        missing,
        names=[task.view.name for task in missing],
        done=len(tasks) - len(missing),
        memory=memory + most * _COMPUTED_BYTES,
    )
    paired = folder / "pairs.npz"
    if not is_whole(paired):
        scaling.call(pair_photos, start, tasks, paired, memory=memory)
    pairs: list[list[int]] = kept_facts(paired)["pairs"]
    surface = start
    for number, part in enumerate(rounds):
        output, told = folder / f"fitted-{number}.npz", folder / f"terms-{number}"
        terms = {index: told / f"{index}.npz" for index, partners in enumerate(pairs) if partners}
        if not is_whole(output):
            comparing, moving = part.phases(SIZES[number], 1)
            left = [index for index, path in terms.items() if not is_whole(path)]
            compared = []
            for group in _groups(left, part.workers):
                shown = sorted({*group, *(other for index in group for other in pairs[index])})
                compared.append(
                    CompareTask(
                        surface,
                        number,
                        tuple((index, tasks[index]) for index in shown),
                        tuple((index, tuple(pairs[index])) for index in group),
                        tuple(terms[index] for index in group),
                    )
                )
            comparing.map(
                compare,
                compared,
                names=[" and ".join(tasks[index].view.name for index, _ in task.pairs) for task in compared],
                unit="parts",
                memory=memory + most * (_COMPUTED_BYTES + _PIXEL_BYTES * _most_shown(compared)),
            )
            task = MoveTask(surface, number, tuple(terms.values()), start, paired, output)
            moving.call(move, task, context.threads, memory=memory)
        shutil.rmtree(told, ignore_errors=True)
        surface = output
    return surface


def _groups(photos: list[int], workers: int) -> list[list[int]]:
    """Neighbours, who often are partners, together; as much work for each worker."""
    count = min(len(photos), -(-len(photos) // (_TOGETHER * workers)) * workers)
    ends = [len(photos) * number // max(count, 1) for number in range(count + 1)]
    return [photos[first:last] for first, last in pairwise(ends)]


def _most_shown(tasks: list[CompareTask]) -> int:
    return max((len(task.photos) for task in tasks), default=0)


def _longest(views: list[View], size: int) -> int:
    """Longer side of the largest photos; `size` is that of the depth maps."""
    longest = round(max(SIZES) * size)
    pixels = sum(_pixels(view.camera, longest) for view in views)
    share: float = min(1.0, (PHOTO_PIXELS / max(pixels, 1)) ** 0.5)
    return round(longest * share)


def _pixels(camera: Camera, longest: int) -> int:
    camera = camera.fitted(longest)
    return camera.width * camera.height
