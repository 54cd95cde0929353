"""What a worker does to place images: run a mapper on all or a part of them, join, and correct models."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from recon3d.compute import reads, task_progress
from recon3d.layout import DATABASE, images_folder, read_frames
from recon3d.options import SparseReconstructionOptions
from recon3d.types import SharedCamera

#: An image is misplaced with so many times the usual error, and this share of the usual number of points.
#: Of 343 images of 14 sets, one has more than 1.4 times, and it was off by more than the path is long.
MISPLACED = (1.7, 0.7)
#: With so many times the error of another attempt, more images are wrong ones.
_WORSE = 2.0


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
class MappingJob:
    """What a worker needs to make an attempt.

    Parameters
    ----------
    frames, matching : str
        Artifacts of frame_extraction and feature_matching.
    out : str
        Folder for the models.
    growing : str
        File that shows the model while it grows; empty for none.
    options : SparseReconstructionOptions
    attempt : Attempt
    cameras : tuple of SharedCamera
        Cameras that differ from those in the database.
    known : str, optional
        Folder of models that stay unless the new largest one holds them.
    used : frozenset of str
        Images of the largest of these, which another initial pair avoids.
    extend : bool
        Whether to add images to it.
    seed : int
    part : tuple of str
        Images of a part; empty for all.
    """

    frames: str
    matching: str
    out: str
    growing: str
    options: SparseReconstructionOptions
    attempt: Attempt
    cameras: tuple[SharedCamera, ...]
    known: str | None
    used: frozenset[str]
    extend: bool
    seed: int
    part: tuple[str, ...] = ()


@reads(lambda folder, start: [folder])
def without_misplaced(folder: str, start: str) -> list[str]:
    """Copy models, the first without the images that fit it badly; nothing if all fit.

    Parameters
    ----------
    folder : str
        Holds the models, by size.
    start : str
        Folder to make.

    Returns
    -------
    list of str
        Names of these images.
    """
    from recon3d import colmap

    shutil.rmtree(start, ignore_errors=True)  # of a worker that was lost
    misplaced = colmap.without_misplaced(Path(folder) / "0", Path(start) / "0", *MISPLACED)
    for other in Path(folder).iterdir() if misplaced else ():
        if other.name != "0":
            shutil.copytree(other, Path(start) / other.name)
    return misplaced


@reads(lambda job: [job.frames, Path(job.matching) / DATABASE])
def place_part(job: MappingJob) -> list[str]:
    """Run the mapper on a part.

    Parameters
    ----------
    job : MappingJob

    Returns
    -------
    list of str
        Folders of the models.
    """
    out = Path(job.out)
    database = _own_database(job)
    (out / "raw").mkdir()
    models = [] if database is None else _mapped(job, database, out / "raw", job.part)
    if database is not None:
        database.unlink()
    return [str(model) for model in models]


@reads(lambda models, out: models)
def join_parts(models: Sequence[str], out: str) -> int:
    """Join the models of parts.

    Parameters
    ----------
    models : sequence of str
        Their folders.
    out : str
        Folder for the joined ones.

    Returns
    -------
    int
        How many are left.
    """
    from recon3d import colmap

    shutil.rmtree(out, ignore_errors=True)  # of a worker that was lost
    return len(colmap.join_models([Path(model) for model in models], Path(out)))


def _copied_database(job: MappingJob) -> Path:
    """A copy of the database in the job's folder, which is made anew: COLMAP writes even when it reads."""
    from recon3d import colmap

    shutil.rmtree(job.out, ignore_errors=True)  # of a worker that was lost
    database = Path(job.out) / DATABASE
    colmap.copy_database(Path(job.matching) / DATABASE, database)
    return database


def _own_database(job: MappingJob) -> Path | None:
    """A copy of the database with the job's cameras; None where these are not plausible."""
    from recon3d import colmap

    database = _copied_database(job)
    if _from_pairs(job) and not colmap.calibrate_from_pairs(database, seed=job.seed):
        database.unlink()
        return None
    colmap.regroup_cameras(database, job.cameras)
    return database


@reads(
    # Mappers take colours from the images.
    lambda job: [job.frames, Path(job.matching) / DATABASE, *([job.known] if job.known else [])]
)
def place(job: MappingJob) -> Placed:
    """Run the mapper.

    Parameters
    ----------
    job : MappingJob

    Returns
    -------
    Placed
        Its models are numbered by size.
    """
    names = read_frames(Path(job.frames)).names
    raw = Path(job.out) / "raw"
    database = _own_database(job)
    raw.mkdir()
    models = [] if database is None else _mapped(job, database, raw, names)
    if database is not None:
        database.unlink()
    return _placed(job, models)


@reads(lambda job: [job.frames, Path(job.matching) / DATABASE, job.known])
def tie(job: MappingJob) -> Placed | None:
    """Add images to the largest known model that match one of its images well, but see few of its points.

    Parameters
    ----------
    job : MappingJob
        Its part are the images that may be added.

    Returns
    -------
    Placed or None
        None if nothing changed.
    """
    from recon3d import colmap

    models = _numbered(Path(str(job.known)))
    frames = Path(job.frames)
    wanted = {*job.part, *_names(models[0])}
    groups = {frame.name: frame.camera for frame in read_frames(frames).frames if frame.name in wanted}
    database, tied = _copied_database(job), Path(job.out) / "raw" / "0"
    partners = colmap.tie_images(models[0], database, tied, groups, seed=job.seed)
    database.unlink()
    if not partners:
        return None
    colmap.color_points(tied, images_folder(frames))
    cameras = tuple(_regrouped(camera, partners) for camera in job.cameras)
    return _placed(replace(job, cameras=cameras), [tied])


def _regrouped(camera: SharedCamera, partners: Mapping[str, str]) -> SharedCamera:
    """A shared camera after images have got that of their partners."""
    stay = tuple(name for name in camera.images if name not in partners)
    come = tuple(name for name, partner in partners.items() if partner in stay)
    return replace(camera, images=(*stay, *come))


def _placed(job: MappingJob, models: list[Path]) -> Placed:
    """Number the models by size; what is not plausible goes."""
    from recon3d import colmap

    out = Path(job.out)
    if job.known is not None:
        placed = set(_names(models[0])) if models else set()
        others = _numbered(Path(job.known))
        # Nothing is lost: another part of the scene stays unless the new model holds it all.
        others = others[1:] if job.extend and models else others
        models = [*models, *(model for model in others if not placed.issuperset(_names(model)))]
    found = [(*colmap.drop_implausible(model), model) for model in models]
    found = sorted((row for row in found if row[0] >= 2), key=lambda row: -row[0])
    for number, (_, _, model) in enumerate(found):
        shutil.copytree(model, out / str(number))
    shutil.rmtree(out / "raw", ignore_errors=True)
    return Placed(
        attempt=job.attempt,
        folder=out,
        models=tuple(frozenset(_names(out / str(number))) for number in range(len(found))),
        error=found[0][1] if found else 0.0,
        cameras=job.cameras,
        extends=Path(job.known) if job.known is not None and job.extend else None,
    )


def _mapped(job: MappingJob, database: Path, raw: Path, names: Sequence[str]) -> list[Path]:
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
        fixed_cameras=_from_pairs(job),
    )


def _from_pairs(job: MappingJob) -> bool:
    """Whether cameras keep what the pairs imply; a model that is extended has refined them."""
    return job.attempt.from_pairs and not job.extend


def _names(model: Path) -> list[str]:
    from recon3d import colmap

    return [name for _, shared in colmap.camera_groups(model).values() for name in shared]


def _numbered(folder: Path) -> list[Path]:
    """The folders of models, by number."""
    return sorted(folder.iterdir(), key=lambda path: int(path.name))
