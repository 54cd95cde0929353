"""Attempts to place the images; the best one counts."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from recon3d.compute import StageContext, reads, task_progress
from recon3d.layout import DATABASE, images_folder, read_frames
from recon3d.options import SparseReconstructionOptions
from recon3d.stages.sparse_reconstruction.partition import cut
from recon3d.stages.sparse_reconstruction.view_graph import read_view_graph
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
    from_pairs : bool
        Whether to take the focal lengths from the pairs, and to keep them until all images are placed.
    """

    name: str
    demands: Literal["usual", "weak", "colmap"] = "usual"
    own_cameras: bool = False
    other_pair: bool = False
    from_pairs: bool = False


FIRST = Attempt("the usual demands")
OWN = Attempt("a camera for each image", own_cameras=True)
#: A camera that turns more than it moves, as in a room, says little about its focal length while few
#: images are placed. Refined then, it bends the model until no more images fit.
FROM_PAIRS = Attempt("the focal length that the pairs imply", from_pairs=True)
#: All of them use the matches that there are.
SECOND = (
    FROM_PAIRS,
    OWN,
    Attempt("weaker demands", "weak"),
    Attempt("COLMAP's default options", "colmap"),
    Attempt("another initial pair", "weak", other_pair=True),
)
#: An image is misplaced with so many times the usual error, and this share of the usual number of points.
#: Of 343 images of 14 sets, one has more than 1.4 times, and it was off by more than the path is long.
MISPLACED = (1.7, 0.7)
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
    models : tuple of frozenset of str
        Images of each model.
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
    models: tuple[frozenset[str], ...]
    error: float
    cameras: tuple[SharedCamera, ...]
    extends: Path | None = None
    confirmed: bool = True

    @property
    def names(self) -> frozenset[str]:
        """Images of the largest model."""
        return self.models[0] if self.models else frozenset()

    @property
    def registered(self) -> int:
        """Number of images of the largest model."""
        return len(self.names)

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
    #: Models that stay unless the new largest one holds them.
    known: str | None
    #: Images of the largest of these, which another initial pair avoids.
    used: frozenset[str]
    #: Whether to add images to it.
    extend: bool
    seed: int
    #: Images of a part; empty for all.
    part: tuple[str, ...] = ()


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
    label : str
        What is special of all of them, before their names.
    """

    def __init__(
        self,
        frames: Path,
        matching: Path,
        options: SparseReconstructionOptions,
        folder: Path,
        growing: Path,
        context: StageContext,
        label: str = "",
    ) -> None:
        self.label = label
        self._frames, self._matching, self._growing = frames, matching, growing
        self._options, self._folder, self._context = options, folder, context
        self.names = read_frames(frames).names
        self.graph = read_view_graph(matching, self.names)
        #: Images that a model needs.
        self.least = min(options.min_model_size, len(self.names))
        self.made: list[Placed] = []

    def make(
        self,
        attempt: Attempt,
        *,
        cameras: Sequence[SharedCamera] = (),
        known: Placed | None = None,
        extend: bool = False,
    ) -> Placed:
        """Make an attempt.

        Parameters
        ----------
        attempt : Attempt
        cameras : sequence of SharedCamera
            Cameras that differ from those in the database.
        known : Placed, optional
            An earlier attempt; another initial pair avoids the images of its largest model.
        extend : bool
            Add images to the largest model of `known`.

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
            known=None if known is None or not (extend or attempt.other_pair) else str(known.folder),
            used=frozenset() if known is None else known.names,
            extend=extend,
            seed=self._context.seed,
        )
        started = self._started_in_parts(job)
        placed = self._context.call(_place, started or job, unit="frames")
        self.made.append(placed)
        return placed

    def _started_in_parts(self, job: _Job) -> _Job | None:
        """Map the parts of a large set at the same time; gives the job that goes on from all of them."""
        size = self._options.part_size
        whole = not size or len(self.names) <= size or job.known is not None
        if whole or self._options.mapper == "global":
            return None
        parts = cut(self.graph, size)
        if len(parts) < 2:
            return None
        jobs = [
            replace(job, out=f"{job.out}-part{number}", growing="", part=part)
            for number, part in enumerate(parts)
        ]
        sizes = f"{min(map(len, parts))} to {max(map(len, parts))}"
        self._context.log(f"Mapping {len(self.names)} images in {len(parts)} parts of {sizes}.")
        models = self._context.map(_place_part, jobs, unit="parts")
        joined = f"{job.out}-joined"
        if not self._context.call(_join, [path for found in models for path in found], joined):
            return None
        return replace(job, known=joined, extend=True)

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
        if placed.registered < 2 or placed.attempt.own_cameras:
            return placed
        # Images of another scene would only be tried in vain.
        tied = self.graph.parts(placed.models)[0]
        left = [name for name in self.names if name in tied and name not in placed.names]
        if not left:
            return placed
        name = f"{placed.attempt.name}, the rest with own cameras"
        attempt = replace(placed.attempt, name=name, from_pairs=False)
        cameras = [*placed.cameras, *(SharedCamera((name,)) for name in left)]
        found = self.make(attempt, cameras=cameras, known=placed, extend=True)
        return found if found.registered > placed.registered else placed

    def corrected(self, placed: Placed) -> Placed:
        """Place images anew that fit the model badly: those that came early may lie far off.

        Parameters
        ----------
        placed : Placed

        Returns
        -------
        Placed
            The same where none fits badly, or none fits better.
        """
        start = self._folder / f"{len(self.made)}-start"
        misplaced = self._context.call(_without_misplaced, str(placed.folder), str(start))
        if not misplaced:
            return placed
        name = f"{placed.attempt.name}, placed anew: {', '.join(misplaced)}"
        attempt = replace(placed.attempt, name=name, from_pairs=False)
        known = replace(placed, folder=start, models=(placed.names - set(misplaced), *placed.models[1:]))
        found = self.make(attempt, cameras=placed.cameras, known=known, extend=True)
        return found if found.registered >= placed.registered and found.error < placed.error else placed


@reads(lambda folder, start: [folder])
def _without_misplaced(folder: str, start: str) -> list[str]:
    """Copy models, the first without the images that fit it badly; nothing if all fit."""
    from recon3d import colmap

    misplaced = colmap.without_misplaced(Path(folder) / "0", Path(start) / "0", *MISPLACED)
    for other in Path(folder).iterdir() if misplaced else ():
        if other.name != "0":
            shutil.copytree(other, Path(start) / other.name)
    return misplaced


@reads(lambda job: [job.frames, Path(job.matching) / DATABASE])
def _place_part(job: _Job) -> list[str]:
    """Run the mapper on a part; returns the folders of its models."""
    out = Path(job.out)
    database = _own_database(job)
    (out / "raw").mkdir()
    models = [] if database is None else _mapped(job, database, out / "raw", job.part)
    if database is not None:
        database.unlink()
    return [str(model) for model in models]


@reads(lambda models, out: models)
def _join(models: Sequence[str], out: str) -> int:
    """Join the models of parts; returns how many are left."""
    from recon3d import colmap

    return len(colmap.join_models([Path(model) for model in models], Path(out)))


def _own_database(job: _Job) -> Path | None:
    """A copy of the database with the job's cameras; None where these are not plausible."""
    from recon3d import colmap

    database = Path(job.out) / DATABASE
    database.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(Path(job.matching) / DATABASE, database)  # COLMAP writes even when it reads
    if job.attempt.from_pairs and not colmap.calibrate_from_pairs(database, seed=job.seed):
        database.unlink()
        return None
    colmap.regroup_cameras(database, job.cameras)
    return database


@reads(
    # Mappers take colours from the images.
    lambda job: [job.frames, Path(job.matching) / DATABASE, *([job.known] if job.known else [])]
)
def _place(job: _Job) -> Placed:
    """Run the mapper; the models are numbered by size."""
    from recon3d import colmap

    names = read_frames(Path(job.frames)).names
    out = Path(job.out)
    raw = out / "raw"
    database = _own_database(job)
    raw.mkdir()
    models = [] if database is None else _mapped(job, database, raw, names)
    if job.known is not None:
        placed = set(_names(models[0])) if models else set()
        others = sorted(Path(job.known).iterdir(), key=lambda path: int(path.name))
        # Nothing is lost: another part of the scene stays unless the new model holds it all.
        others = others[1:] if job.extend else others
        models += [model for model in others if not placed.issuperset(_names(model))]
    found = [(*colmap.drop_implausible(model), model) for model in models]
    found = sorted((row for row in found if row[0] >= 2), key=lambda row: -row[0])
    for number, (_, _, model) in enumerate(found):
        shutil.copytree(model, out / str(number))
    shutil.rmtree(raw)
    if database is not None:
        database.unlink()
    return Placed(
        attempt=job.attempt,
        folder=out,
        models=tuple(frozenset(_names(out / str(number))) for number in range(len(found))),
        error=found[0][1] if found else 0.0,
        cameras=job.cameras,
        extends=Path(job.known) if job.known is not None and job.extend else None,
    )


def _mapped(job: _Job, database: Path, raw: Path, names: Sequence[str]) -> list[Path]:
    from recon3d import colmap

    images = images_folder(Path(job.frames))
    if job.options.mapper == "global" and not job.extend:
        return colmap.map_globally(database, images, raw, seed=job.seed)
    start: Path | tuple[int, int] | None = None
    if job.known is not None and job.extend:
        start = Path(job.known) / "0"
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
        growing=colmap.Growing(Path(job.growing), Path(job.out) / "snapshots", len(names))
        if job.growing
        else None,
        names=job.part,
        start=start,
        fixed_cameras=job.attempt.from_pairs,
    )


def _names(model: Path) -> list[str]:
    from recon3d import colmap

    return [name for _, shared in colmap.camera_groups(model).values() for name in shared]
