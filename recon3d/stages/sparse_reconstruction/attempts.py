"""Attempts to place the images; the best one counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from recon3d.compute import StageContext
from recon3d.layout import read_frames
from recon3d.options import SparseReconstructionOptions
from recon3d.stages.sparse_reconstruction.mapping_tasks import (
    Attempt,
    MappingJob,
    Placed,
    join_parts,
    place,
    place_part,
    tie,
    without_misplaced,
)
from recon3d.stages.sparse_reconstruction.partition import cut, size_of_parts
from recon3d.stages.sparse_reconstruction.view_graph import read_view_graph
from recon3d.types import SharedCamera

#: Images that a message names.
_NAMED = 6
#: So many times the error is no reason to do without more images.
_NOT_MUCH_WORSE = 1.25

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


def first_of(names: Sequence[str]) -> str:
    """List the first images for a message.

    Parameters
    ----------
    names : sequence of str

    Returns
    -------
    str
    """
    return ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")


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
        job = self._job(attempt, cameras, known, extend=extend)
        started = self._started_in_parts(job)
        placed = self._context.call(place, started or job, unit="frames")
        self.made.append(placed)
        return placed

    def _job(
        self, attempt: Attempt, cameras: Sequence[SharedCamera], known: Placed | None, *, extend: bool
    ) -> MappingJob:
        return MappingJob(
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

    def _started_in_parts(self, job: MappingJob) -> MappingJob | None:
        """Map the parts of a large set at the same time; gives the job that goes on from all of them."""
        size = self._options.part_size
        whole = not size or len(self.names) <= size or job.known is not None
        if whole or self._options.mapper == "global":
            return None
        parts = cut(self.graph, size_of_parts(len(self.names), size))
        if len(parts) < 2:
            return None
        jobs = [
            replace(job, out=f"{job.out}-part{number}", growing="", part=part)
            for number, part in enumerate(parts)
        ]
        sizes = f"{min(map(len, parts))} to {max(map(len, parts))}"
        self._context.log(f"Mapping {len(self.names)} images in {len(parts)} parts of {sizes}.")
        made = self._context.map(place_part, jobs, unit="parts")
        models = [path for found in made for path in found]
        joined = f"{job.out}-joined"
        left = self._context.call(join_parts, models, joined)
        if not left:
            self._context.log("No part has enough images of its own; all are mapped at once.")
            return None
        if left > 1:
            self._context.log(f"{len(models)} models of parts became {left}; the others fit none of them.")
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

    def tied(self, placed: Placed) -> Placed:
        """Add images that match others well, but see few points of the model, and tell.

        Images with cameras of their own may get those of others.

        Parameters
        ----------
        placed : Placed

        Returns
        -------
        Placed
            The same where nothing changed, or the model got worse.
        """
        left = self.graph.parts(placed.models)[0] - placed.names
        alone = {c.images[0] for c in placed.cameras if len(c.images) == 1} & placed.names
        if placed.attempt.own_cameras or not left | alone:
            return placed
        attempt = replace(placed.attempt, name=f"{placed.attempt.name}, more tied to it")
        job = self._job(attempt, placed.cameras, placed, extend=True)
        job = replace(job, out=f"{job.out}-tied", part=tuple(sorted(left)))
        found: Placed | None = self._context.call(tie, job)
        if found is None or not found.names >= placed.names:
            return placed
        if found.error > _NOT_MUCH_WORSE * placed.error:
            return placed
        self.made.append(found)
        added = sorted(found.names - placed.names)
        if added:
            self._context.fallback(
                f"{len(added)} more image{'s' if len(added) > 1 else ''} could be placed by matches with only"
                f" one or two others each: {first_of(added)}."
            )
        return replace(found, confirmed=placed.confirmed)

    def corrected(self, placed: Placed) -> Placed:
        """Place images anew that fit the model badly, and tell: those that came early may lie far off.

        Parameters
        ----------
        placed : Placed

        Returns
        -------
        Placed
            The same where none fits badly, or none fits better.
        """
        start = self._folder / f"{len(self.made)}-start"
        misplaced = self._context.call(without_misplaced, str(placed.folder), str(start))
        if not misplaced:
            return placed
        name = f"{placed.attempt.name}, {len(misplaced)} placed anew"
        attempt = replace(placed.attempt, name=name, from_pairs=False)
        known = replace(placed, folder=start, models=(placed.names - set(misplaced), *placed.models[1:]))
        found = self.make(attempt, cameras=placed.cameras, known=known, extend=True)
        if found.registered < placed.registered or found.error >= placed.error:
            return placed
        self._context.fallback(
            f"{len(misplaced)} image{'s were' if len(misplaced) > 1 else ' was'} misplaced at first, and"
            f" placed anew: {first_of(misplaced)}."
        )
        return replace(found, confirmed=placed.confirmed)
