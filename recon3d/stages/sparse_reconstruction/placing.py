"""Placing the images: attempts, then the test whether images really share cameras."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from recon3d.compute import StageContext
from recon3d.layout import read_frames
from recon3d.stages.sparse_reconstruction.attempts import FIRST, SECOND, Attempts, Placed
from recon3d.stages.sparse_reconstruction.intrinsics import Measured, SharedCamera, Verdict, find_cameras

#: Share of the images below which other attempts are made, and that below which another pair is tried.
_ENOUGH = 0.9
_HARDLY_ANY = 0.6
#: Images below which own cameras fit anything.
_FEWEST = 4
#: Images that a message names.
_NAMED = 6
#: Groups are found from a model that wrong groups bent, so they are tested again.
_ROUNDS = 3
#: A model with split cameras may have this much larger an error: it may hold more points.
_AS_GOOD = 1.05


def place_images(attempts: Attempts, frames: Path, *, only_one: bool, context: StageContext) -> Placed:
    """Place as many images as possible.

    Parameters
    ----------
    attempts : Attempts
        Where attempts are made.
    frames : Path
        Artifact of frame_extraction.
    only_one : bool
        Whether the mapper allows of no other attempts.
    context : StageContext

    Returns
    -------
    Placed
        The best attempt.
    """
    best = attempts.make(FIRST)
    if not only_one:
        best = attempts.extended(best)
        second = _second(attempts, best, context)
        if second is not best:
            best = attempts.extended(second)
        _tell_added(attempts, best, context)
    for _ in range(_ROUNDS if best.registered >= _FEWEST else 0):
        regrouped = _regrouped(attempts, best, frames, only_one=only_one, context=context)
        if regrouped is None:
            break
        best = regrouped
    return best


def _regrouped(
    attempts: Attempts, best: Placed, frames: Path, *, only_one: bool, context: StageContext
) -> Placed | None:
    """The images placed again with the cameras that their focal lengths speak for; None if none do."""
    verdict = context.call(_test_sharing, str(best.folder / "0"), str(frames))
    if verdict.wavering is not None:
        low, high = verdict.wavering
        context.fallback(
            f"The images agree on no focal length: {low:.0f} to {high:.0f} px, each with its own camera. They"
            " keep the shared one. Image stabilization, a rolling shutter or autofocus is the likely cause."
            " Turn them off, or move more slowly."
        )
    if not verdict.cameras:
        return None
    cameras = [*best.cameras, *verdict.cameras, *_left_over(attempts.names, verdict.cameras, best, frames)]
    way = best.attempt.name.partition(", ")[0]
    attempt = replace(best.attempt, name=f"{way}, cameras regrouped", own_cameras=False, other_pair=False)
    again = attempts.make(attempt, cameras=cameras)
    if not only_one:
        again = attempts.extended(again)
    if _is_better(again, best):
        return again
    context.fallback(
        f"Some images seem not to share a camera, but with {len(verdict.cameras)} other cameras only"
        f" {again.registered} images could be placed, or with larger errors. The cameras stay as they were."
        " The model may be distorted: do not zoom, and add photos that overlap more."
    )
    return None


def _second(attempts: Attempts, best: Placed, context: StageContext) -> Placed:
    total = len(attempts.names)
    if best.registered >= _ENOUGH * total:
        return best
    context.log(f"Only {best.registered} of {total} images could be placed; trying other ways.")
    for attempt in SECOND:
        if attempt.other_pair and best.registered >= _HARDLY_ANY * total:
            continue
        found = attempts.make(attempt, used=best.names)
        if found.beats(best):
            best = found
        if best.registered == total:
            break
    tried = ", ".join(f"{made.attempt.name} ({made.registered})" for made in attempts.made)
    context.fallback(
        f"Only {attempts.made[0].registered} of {total} images could be placed at first. Tried: {tried}."
        f" Used: {best.attempt.name}. All attempts used the same features; a higher quality finds more."
    )
    return best


def _tell_added(attempts: Attempts, best: Placed, context: StageContext) -> None:
    before = next((made for made in attempts.made if made.folder == best.extends), None)
    if before is None:
        return
    added = sorted(best.names - before.names)
    context.fallback(
        f"{len(added)} more images could be placed with cameras of their own: {', '.join(added[:_NAMED])}"
        f"{', …' if len(added) > _NAMED else ''}."
    )


def _is_better(again: Placed, before: Placed) -> bool:
    """Whether a model with split or merged cameras replaces the one without.

    A wrong shared camera may have dragged in images that do not fit, so a few of them may go when the
    error is much lower.
    """
    if again.registered >= before.registered:
        return again.error <= _AS_GOOD * before.error
    return again.registered >= _ENOUGH * before.registered and again.error < 0.7 * before.error


def _left_over(
    names: Sequence[str], cameras: Sequence[SharedCamera], best: Placed, frames: Path
) -> list[SharedCamera]:
    """Cameras for images that are not placed and whose group was split."""
    group = {frame.name: frame.camera for frame in read_frames(frames).frames}
    split = {group[name] for camera in cameras for name in camera.images}
    return [SharedCamera((name,)) for name in names if name not in best.names and group[name] in split]


def _test_sharing(model: str, frames: str) -> Verdict:
    from recon3d import colmap

    rows = {frame.name: frame for frame in read_frames(Path(frames)).frames}
    images = colmap.free_intrinsics(Path(model))
    groups = {
        name: number for number, (_, names) in colmap.camera_groups(Path(model)).items() for name in names
    }
    return find_cameras(
        [
            Measured(
                name=image.name,
                size=(image.width, image.height),
                group=groups[image.name],
                prior=rows[image.name].focal_px,
                params=image.params,
                focal=image.focal,
                deviation=image.deviation,
                lower=image.own_error / image.shared_error if image.shared_error else 1.0,
            )
            for image in images
        ]
    )
