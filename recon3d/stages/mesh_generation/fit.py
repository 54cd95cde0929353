"""The order of the tasks that fit the surface to the photos."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
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
from recon3d.stages.running import run_step
from recon3d.surface.refinement import SIZES
from recon3d.types import Camera, Scene, View

#: Pixels of a photo at most. However many photos there are, they are no smaller for it: photos that show less
#: than the depth maps make the surface worse than they find it.
PHOTO_PIXELS = 12_000_000
#: Photos that a task compares with others at most: more would be lost with its worker; of fewer, each draws
#: the partners anew. And pixels of all photos that it holds, unless one photo and its partners have more.
_TOGETHER, _HELD_PIXELS = 6, 48_000_000
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


@dataclass(frozen=True)
class Fit:
    """A surface that is fitted.

    Parameters
    ----------
    start : Path
        What `smooth` or `surround` left.
    folder : Path
        Receives what the steps leave.
    views : frozenset of str, optional
        Names of the photos that show it; by default all do.
    """

    start: Path
    folder: Path
    views: frozenset[str] | None = None

    def shows(self, view: View) -> bool:
        """Tell whether a photo shows the surface.

        Parameters
        ----------
        view : View

        Returns
        -------
        bool
        """
        return self.views is None or view.name in self.views


def fit_to_photos(
    context: StageContext,
    fits: Sequence[Fit],
    size: int,
    photos: PhotoSet,
    chosen: Path,
    memory: int,
) -> list[Path]:
    """Move surfaces until the photos agree on them; run what an earlier run has not finished.

    Parameters
    ----------
    context : StageContext
    fits : sequence of Fit
    size : int
        Longer side of the depth maps in pixels.
    photos : PhotoSet
    chosen : Path
        Receives which photos all surfaces are fitted to.
    memory : int
        Bytes that a surface takes in a task.

    Returns
    -------
    list of Path
        As `smooth` leaves them: the fitted surfaces.
    """
    # Where no depth map shows a surface, its pixels have no size, and steps no measure.
    measured = [fit for fit in fits if kept_facts(fit.start)["pixel"] > 0]
    if not measured:
        return [fit.start for fit in fits]
    scaling, pairing, *rounds = context.phases(0.8, 0.2, *(scale + 1 for scale in SIZES))
    memory += _BASE_BYTES
    if not is_whole(chosen):
        scaling.call(choose_photos, photos.sparse, chosen, memory=memory)
    views = [photos.scene.views[index] for index in kept_facts(chosen)["photos"]]
    moving = [_Moving.of(fit, [v for v in views if fit.shows(v)], photos.images, size) for fit in measured]
    most = max((task.pixels for surface in moving for task in surface.photos), default=0)
    tasks = [task for surface in moving for task in surface.photos]
    missing = [task for task in tasks if not is_whole(task.output)]
    scaling.map(
        scale_photo,
        missing,
        names=[task.view.name for task in missing],
        done=len(tasks) - len(missing),
        memory=memory + most * _COMPUTED_BYTES,
    )
    unpaired = [surface for surface in moving if not is_whole(surface.paired)]
    calls = [(surface.fit.start, list(surface.photos), surface.paired) for surface in unpaired]
    run_step(pairing, pair_photos, calls, done=len(moving) - len(calls), memory=memory)
    for number, part in enumerate(rounds):
        left = [surface for surface in moving if not is_whole(surface.fitted(number))]
        comparing, stepping = part.phases(SIZES[number], 1)
        compared = [task for surface in left for task in surface.compare_tasks(number, part.workers)]
        comparing.map(
            compare,
            compared,
            names=[task.name for task in compared],
            unit="parts",
            memory=memory + most * (_COMPUTED_BYTES + _PIXEL_BYTES * _most_shown(compared)),
        )
        cores = max(1, context.threads // max(1, len(left)))
        moves = [(surface.move_task(number), cores) for surface in left]
        run_step(stepping, move, moves, done=len(moving) - len(left), memory=memory)
        for surface in moving:
            shutil.rmtree(surface.told(number), ignore_errors=True)
    done = {surface.fit.start: surface.fitted(len(SIZES) - 1) for surface in moving}
    return [done.get(fit.start, fit.start) for fit in fits]


@dataclass(frozen=True)
class _Moving:
    """A surface with the photos that move it."""

    fit: Fit
    photos: tuple[PhotoTask, ...]

    @classmethod
    def of(cls, fit: Fit, views: list[View], images: Path, size: int) -> _Moving:
        longest, folder = _longest(views, size), fit.folder / "photos"
        return cls(
            fit,
            tuple(
                PhotoTask(images, view, longest, size, fit.start, folder / f"{number}.npz")
                for number, view in enumerate(views)
            ),
        )

    @property
    def paired(self) -> Path:
        """Which photos are compared with which."""
        return self.fit.folder / "pairs.npz"

    def fitted(self, number: int) -> Path:
        """What a round leaves; before the first, the start."""
        return self.fit.start if number < 0 else self.fit.folder / f"fitted-{number}.npz"

    def told(self, number: int) -> Path:
        """What the photos say in a round."""
        return self.fit.folder / f"terms-{number}"

    @cached_property
    def pairs(self) -> list[list[int]]:
        """The photos that each is compared with, once they are chosen."""
        pairs: list[list[int]] = kept_facts(self.paired)["pairs"]
        return pairs

    def terms(self, number: int) -> dict[int, Path]:
        """What each photo says in a round."""
        told = self.told(number)
        return {index: told / f"{index}.npz" for index, others in enumerate(self.pairs) if others}

    def compare_tasks(self, number: int, workers: int) -> list[CompareTask]:
        """What is left of a round's comparing."""
        pairs, terms = self.pairs, self.terms(number)
        left = [index for index, path in terms.items() if not is_whole(path)]
        held = _HELD_PIXELS // max((photo.pixels for photo in self.photos), default=1)
        together = held - max(map(len, pairs), default=0)
        tasks = []
        for group in _groups(left, workers, max(1, min(together, _TOGETHER))):
            shown = sorted({*group, *(other for index in group for other in pairs[index])})
            tasks.append(
                CompareTask(
                    self.fitted(number - 1),
                    number,
                    tuple((index, self.photos[index]) for index in shown),
                    tuple((index, tuple(pairs[index])) for index in group),
                    tuple(terms[index] for index in group),
                )
            )
        return tasks

    def move_task(self, number: int) -> MoveTask:
        """What ends a round."""
        terms = tuple(self.terms(number).values())
        before, after = self.fitted(number - 1), self.fitted(number)
        return MoveTask(before, number, terms, self.fit.start, self.paired, after)


def _groups(photos: list[int], workers: int, most: int) -> list[list[int]]:
    """Neighbours, who often are partners, together, so many at most; as much work for each worker."""
    count = min(len(photos), -(-len(photos) // (most * workers)) * workers)
    ends = [len(photos) * number // max(count, 1) for number in range(count + 1)]
    return [photos[first:last] for first, last in pairwise(ends)]


def _most_shown(tasks: list[CompareTask]) -> int:
    return max((len(task.photos) for task in tasks), default=0)


def _longest(views: list[View], size: int) -> int:
    """Longer side of the largest photos; `size` is that of the depth maps."""
    longest = round(max(SIZES) * size)
    pixels = max((_pixels(view.camera, longest) for view in views), default=0)
    share: float = min(1.0, (PHOTO_PIXELS / max(pixels, 1)) ** 0.5)
    return round(longest * share)


def _pixels(camera: Camera, longest: int) -> int:
    camera = camera.fitted(longest)
    return camera.width * camera.height
