"""Attempts to place the images; the best one counts."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from recon3d.compute import StageContext, task_progress
from recon3d.layout import DATABASE, images_folder, read_frames
from recon3d.options import SparseReconstructionOptions
from recon3d.types import SharedCamera


@dataclass(frozen=True)
class Attempt:
    """A way to place the images.

    Parameters
    ----------
    name : str
        For the report.
    demands : {"usual", "weak", "colmap"}
        What the mapper asks of pairs and images.
    own_cameras : bool
        Whether each image has its own camera.
    other_pair : bool
        Whether to start from images that the best attempt so far did not place.
    """

    name: str
    demands: Literal["usual", "weak", "colmap"] = "usual"
    own_cameras: bool = False
    other_pair: bool = False


FIRST = Attempt("the usual demands")
OWN = Attempt("a camera for each image", own_cameras=True)
#: All of them use the matches that there are.
SECOND = (
    OWN,
    Attempt("weaker demands", "weak"),
    Attempt("COLMAP's default options", "colmap"),
    Attempt("another initial pair", "weak", other_pair=True),
)
#: With so many times the error of another attempt, more images are wrong ones.
_WORSE = 2.0


@dataclass(frozen=True)
class Placed:
    """What an attempt gave.

    Parameters
    ----------
    attempt : Attempt
    folder : Path
        Its models, numbered by size.
    sizes : tuple of int
        Images of each model.
    names : frozenset of str
        Images of the largest model.
    error : float
        Mean reprojection error of the largest model in pixels.
    cameras : tuple of SharedCamera
        Those that differ from the cameras in the database.
    extends : Path, optional
        Folder of the attempt whose model it extends.
    confirmed : bool
        False where its cameras are in doubt and a model with other cameras contradicts them.
    """

    attempt: Attempt
    folder: Path
    sizes: tuple[int, ...]
    names: frozenset[str]
    error: float
    cameras: tuple[SharedCamera, ...]
    extends: Path | None = None
    confirmed: bool = True

    @property
    def registered(self) -> int:
        """Images of the largest model."""
        return self.sizes[0] if self.sizes else 0

    def beats(self, other: Placed) -> bool:
        """Compare registered images first, then errors.

        Weak demands place images in wrong models, too: up to twice as many images do not count with
        an error that is much larger.

        Parameters
        ----------
        other : Placed

        Returns
        -------
        bool
        """
        few, many = sorted((self, other), key=lambda placed: placed.registered)
        if 2 * few.registered >= many.registered and many.error > _WORSE * few.error:
            return self is few
        return (self.registered, -self.error) > (other.registered, -other.error)


@dataclass(frozen=True)
class _Job:
    frames: str
    matching: str
    out: str
    growing: str
    options: SparseReconstructionOptions
    attempt: Attempt
    cameras: tuple[SharedCamera, ...]
    #: Images of the best model so far, for another initial pair.
    used: frozenset[str]
    #: Models of which the largest is to be extended.
    extend: str | None
    seed: int


class Attempts:
    """Makes attempts and remembers them.

    Parameters
    ----------
    frames, matching : Path
        Artifacts of frame_extraction and feature_matching.
    options : SparseReconstructionOptions
    folder : Path
        Where each attempt gets a folder.
    growing : Path
        File that shows the model while it grows.
    context : StageContext
    """

    def __init__(
        self,
        frames: Path,
        matching: Path,
        options: SparseReconstructionOptions,
        folder: Path,
        growing: Path,
        context: StageContext,
    ) -> None:
        self._frames, self._matching, self._growing = frames, matching, growing
        self._options, self._folder, self._context = options, folder, context
        self.names = read_frames(frames).names
        self.made: list[Placed] = []

    def make(
        self,
        attempt: Attempt,
        *,
        cameras: Sequence[SharedCamera] = (),
        used: frozenset[str] = frozenset(),
        extend: Placed | None = None,
    ) -> Placed:
        """Make an attempt.

        Parameters
        ----------
        attempt : Attempt
        cameras : sequence of SharedCamera
            Cameras that differ from those in the database.
        used : frozenset of str
            Images that another initial pair should not hold.
        extend : Placed, optional
            Add images to its largest model.

        Returns
        -------
        Placed
        """
        if attempt.own_cameras:
            cameras = [SharedCamera((name,)) for name in self.names]
        job = _Job(
            frames=str(self._frames),
            matching=str(self._matching),
            out=str(self._folder / str(len(self.made))),
            growing=str(self._growing),
            options=self._options,
            attempt=attempt,
            cameras=tuple(cameras),
            used=used,
            extend=None if extend is None else str(extend.folder),
            seed=self._context.seed,
        )
        placed = self._context.call(_place, job, unit="frames")
        self.made.append(placed)
        return placed

    def extended(self, placed: Placed) -> Placed:
        """Give images that are left a chance with cameras of their own.

        Parameters
        ----------
        placed : Placed

        Returns
        -------
        Placed
            The same where none could be added.
        """
        left = [name for name in self.names if name not in placed.names]
        if not left or placed.registered < 2 or placed.attempt.own_cameras:
            return placed
        attempt = replace(placed.attempt, name=f"{placed.attempt.name}, the rest with own cameras")
        cameras = [*placed.cameras, *(SharedCamera((name,)) for name in left)]
        found = self.make(attempt, cameras=cameras, extend=placed)
        return found if found.registered > placed.registered else placed


def _place(job: _Job) -> Placed:
    """Run the mapper; the models are numbered by size."""
    from recon3d import colmap

    names = read_frames(Path(job.frames)).names
    out = Path(job.out)
    raw = out / "raw"
    database = out / DATABASE
    out.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(Path(job.matching) / DATABASE, database)  # COLMAP writes even when it reads
    colmap.regroup_cameras(database, job.cameras)
    models = _mapped(job, database, raw, names)
    if job.extend is not None:
        placed = set(_names(models[0])) if models else set()
        others = sorted(Path(job.extend).iterdir(), key=lambda path: int(path.name))
        # Nothing is lost: another part of the scene stays unless the larger model now holds it all.
        models += [model for model in others[1:] if not placed.issuperset(_names(model))]
    found = [(*colmap.drop_implausible(model), model) for model in models]
    found = sorted((row for row in found if row[0] >= 2), key=lambda row: -row[0])
    for number, (_, _, model) in enumerate(found):
        shutil.copytree(model, out / str(number))
    shutil.rmtree(raw)
    database.unlink()
    return Placed(
        attempt=job.attempt,
        folder=out,
        sizes=tuple(size for size, _, _ in found),
        names=frozenset(_names(out / "0")) if found else frozenset(),
        error=found[0][1] if found else 0.0,
        cameras=job.cameras,
        extends=None if job.extend is None else Path(job.extend),
    )


def _mapped(job: _Job, database: Path, raw: Path, names: Sequence[str]) -> list[Path]:
    from recon3d import colmap

    images = images_folder(Path(job.frames))
    if job.options.mapper == "global" and job.extend is None:
        return colmap.map_globally(database, images, raw, seed=job.seed)
    start: Path | tuple[int, int] | None = None
    if job.extend is not None:
        start = Path(job.extend) / "0"
    elif job.attempt.other_pair:
        start = colmap.other_initial_pair(database, job.used)
    return colmap.map_incrementally(
        database,
        images,
        raw,
        min_model_size=min(job.options.min_model_size, len(names)),
        demands=job.attempt.demands,
        seed=job.seed,
        progress=lambda done: task_progress(min(done, len(names)), len(names)),
        growing=colmap.Growing(Path(job.growing), Path(job.out) / "snapshots", len(names)),
        start=start,
    )


def _names(model: Path) -> list[str]:
    from recon3d import colmap

    return [name for _, shared in colmap.camera_groups(model).values() for name in shared]
