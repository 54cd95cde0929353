"""Placing the images: attempts, then the test whether images really share cameras."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from recon3d.compute import StageContext, reads
from recon3d.layout import frame_list_file, read_frames
from recon3d.stages.sparse_reconstruction.agreement import agree
from recon3d.stages.sparse_reconstruction.attempts import FIRST, FROM_PAIRS, OWN, SECOND, Attempts, first_of
from recon3d.stages.sparse_reconstruction.intrinsics import Measured, Verdict, find_cameras
from recon3d.stages.sparse_reconstruction.mapping_tasks import Placed
from recon3d.stages.sparse_reconstruction.model_parts import parts_of
from recon3d.types import SharedCamera

if TYPE_CHECKING:
    from recon3d.colmap.intrinsics import ImageIntrinsics

#: Share of the images below which other attempts are made, and that below which another pair is tried.
_ENOUGH = 0.9
_HARDLY_ANY = 0.6
#: Images below which own cameras fit anything.
_FEWEST = 4
#: Groups are found from a model that wrong groups bent, so they are tested again.
_ROUNDS = 3
#: A model with split cameras may have this much larger an error: it may hold more points. One with
#: merged cameras fits less noise, and loses more.
_AS_GOOD = 1.05
_AS_GOOD_MERGED = 1.25
#: So many times the images of the first attempt, placed with a camera for each, refute the shared one.
_MANY_MORE = 1.5
#: Share of a model's images that another must hold to contradict it.
_COMPARABLE = 0.7


def place_images(attempts: Attempts, *, only_one: bool, context: StageContext) -> Placed:
    """Place as many images as possible.

    Parameters
    ----------
    attempts : Attempts
        Where attempts are made.
    only_one : bool
        Whether the mapper allows of no other attempts.
    context : StageContext

    Returns
    -------
    Placed
        The best attempt; `settled` makes it final.
    """
    best = attempts.make(FIRST)
    if only_one:
        return best
    best = attempts.extended(best)
    if _enough(attempts, best):
        return best
    second = _second(attempts, best, context)
    return best if second is best else attempts.extended(second)


def needs_more(attempts: Attempts, best: Placed) -> bool:
    """Tell whether images are left that more features may tie to the others.

    Parameters
    ----------
    attempts : Attempts
    best : Placed

    Returns
    -------
    bool
    """
    total = len(attempts.names)
    if best.registered >= _ENOUGH * total:
        return False
    parts = attempts.graph.parts(best.models)
    alone = sum(len(part) for part in parts if len(part) < attempts.least)
    return not _enough(attempts, best) or alone > (1 - _ENOUGH) * total


def settled(
    tried: Sequence[Attempts], best: Placed, frames: Path, *, only_one: bool, context: StageContext
) -> Placed:
    """Test the cameras of the best attempt, and say what was tried.

    Parameters
    ----------
    tried : sequence of Attempts
        The last of them made the best attempt.
    best : Placed
    frames : Path
        Artifact of frame_extraction.
    only_one : bool
        Whether the mapper allows of no other attempts.
    context : StageContext

    Returns
    -------
    Placed
    """
    attempts = tried[-1]
    several = any(made.attempt in SECOND for each in tried for made in each.made) or len(tried) > 1
    if best.registered >= _FEWEST:
        best = _with_tested_cameras(attempts, best, frames, only_one=only_one, context=context)
    if several:
        _tell_tried(tried, best, context)
    _tell_added(attempts, best, context)
    if only_one or best.registered < _FEWEST:
        return best
    return attempts.corrected(attempts.tied(best))


def _with_tested_cameras(
    attempts: Attempts, best: Placed, frames: Path, *, only_one: bool, context: StageContext
) -> Placed:
    """Regroup the cameras until the groups stand, and confirm them where sharing was in doubt."""
    questioned = _own_place_many_more(attempts)
    for _ in range(_ROUNDS):
        verdict = _tested(best, frames, context)
        questioned = questioned or verdict.split
        regrouped = _regrouped(attempts, best, verdict, frames, only_one=only_one, context=context)
        if regrouped is None:
            break
        best = regrouped
    return confirmed(attempts, best, frames, context) if questioned else best


def _own_place_many_more(attempts: Attempts) -> bool:
    own = next((made for made in attempts.made if made.attempt == OWN), None)
    return own is not None and own.registered >= max(_FEWEST, _MANY_MORE * attempts.made[0].registered)


def confirmed(attempts: Attempts, best: Placed, frames: Path, context: StageContext) -> Placed:
    """A model whose cameras are in doubt, compared with one that assumes nothing about them.

    A wrong shared camera bends a model. Groups that are found in a bent model are wrong, too, with small
    residuals. A camera for each image starts from scratch. Where it places the images elsewhere, groups
    are found from its model.

    Parameters
    ----------
    attempts : Attempts
    best : Placed
        The model in doubt.
    frames : Path
        Artifact of frame_extraction.
    context : StageContext

    Returns
    -------
    Placed
        `best`, or a model that takes its place; not `confirmed` where no two models agree.
    """
    own = next((made for made in attempts.made if made.attempt == OWN), None) or attempts.make(OWN)
    if best is own or context.call(agree, best, own, attempts.names):
        return best
    if own.registered < max(_FEWEST, _COMPARABLE * best.registered):
        context.fallback(
            f"Some images seem not to share a camera. A camera for each image places only {own.registered}"
            f" images, too few to confirm the other {best.registered}. The model may be distorted: do not"
            " zoom, and add photos that overlap more."
        )
        return replace(best, confirmed=False)
    regrouped = _regrouped(
        attempts, own, _tested(own, frames, context), frames, only_one=False, context=context
    )
    if regrouped is not None and context.call(agree, regrouped, own, attempts.names):
        return regrouped
    lost = max(0, best.registered - own.registered)
    context.fallback(
        "The images do not agree about the camera: with shared cameras they lie elsewhere than with a camera"
        f" for each. Used: a camera for each image{f', {lost} images fewer' if lost else ''}. The model may"
        " be distorted: do not zoom, and add photos that overlap more."
    )
    return replace(own, confirmed=False)


def _tested(best: Placed, frames: Path, context: StageContext) -> Verdict:
    model = str(best.folder / "0")
    parts: list[tuple[str, ...]] = context.call(parts_of, Path(model), best.names)
    measured = context.map(
        _free_cameras,
        [(model, part) for part in parts],
        names=[f"cameras {number}" for number in range(len(parts))],
        unit="parts",
    )
    verdict: Verdict = context.call(_judge_sharing, model, str(frames), measured)
    return verdict


def _regrouped(
    attempts: Attempts,
    best: Placed,
    verdict: Verdict,
    frames: Path,
    *,
    only_one: bool,
    context: StageContext,
) -> Placed | None:
    """The images placed again with the cameras that their focal lengths speak for; None if none do."""
    if verdict.wavering is not None:
        low, high = verdict.wavering
        context.fallback(
            f"The images agree on no focal length: {low:.0f} to {high:.0f} px, each with its own camera. They"
            " keep the shared one. Image stabilization, a rolling shutter or autofocus is the likely cause."
            " Turn them off, or move more slowly."
        )
    if not verdict.cameras:
        return None
    unmeasured = [name for name in attempts.names if name not in best.names or name in verdict.unmeasured]
    cameras = [*best.cameras, *verdict.cameras, *_left_over(unmeasured, verdict.cameras, frames)]
    way = best.attempt.name.partition(", ")[0]
    attempt = replace(best.attempt, name=f"{way}, cameras regrouped", own_cameras=False, other_pair=False)
    again = attempts.make(attempt, cameras=cameras)
    if not only_one:
        again = attempts.extended(again)
    return again if _is_better(again, best) else None


def _enough(attempts: Attempts, best: Placed) -> bool:
    """Whether nearly all images are placed that could be part of a model with others.

    Where the set falls apart into several scenes, each has a model of its own.
    """
    if best.registered >= _ENOUGH * len(attempts.names):
        return True
    parts = [part for part in attempts.graph.parts(best.models) if len(part) >= attempts.least]
    return best.registered > 0 and all(
        max(len(part & model) for model in best.models) >= _ENOUGH * len(part) for part in parts
    )


def _second(attempts: Attempts, best: Placed, context: StageContext) -> Placed:
    total = len(attempts.names)
    context.log(f"Only {best.registered} of {total} images could be placed; trying other ways.")
    for attempt in SECOND:
        if attempt.other_pair and best.registered >= _HARDLY_ANY * total:
            continue
        found = attempts.make(attempt, known=best)
        if found.beats(best):
            best = found
        if best.registered == total or (attempt == FROM_PAIRS and _enough(attempts, best)):
            break
    return best


def _tell_tried(tried: Sequence[Attempts], best: Placed, context: StageContext) -> None:
    ways = [
        f"{each.label}{made.attempt.name} ({made.registered})"
        for each in sorted(tried, key=lambda each: each.label)
        for made in each.made
        if made.attempt in (FIRST, *SECOND)
    ]
    first = min(tried, key=lambda each: each.label).made[0].registered
    same = "" if len(tried) > 1 else " All attempts used the same features; a higher quality finds more."
    context.fallback(
        f"Only {first} of {len(tried[-1].names)} images could be placed at first. Tried: {', '.join(ways)}."
        f" Used: {tried[-1].label}{best.attempt.name}.{same}"
    )


def _tell_added(attempts: Attempts, best: Placed, context: StageContext) -> None:
    before = next((made for made in attempts.made if made.folder == best.extends), None)
    if before is None:
        return
    added = sorted(best.names - before.names)
    context.fallback(
        f"{len(added)} more images could be placed with cameras of their own: {first_of(added)}."
    )


def _is_better(again: Placed, before: Placed) -> bool:
    """Whether a model with split or merged cameras replaces the one without.

    A wrong shared camera may have dragged in images that do not fit, so a few of them may go when the
    error is much lower.
    """
    if again.registered >= before.registered:
        as_good = _AS_GOOD_MERGED if before.attempt.own_cameras else _AS_GOOD
        return again.error <= as_good * before.error
    return again.registered >= _ENOUGH * before.registered and again.error < 0.7 * before.error


def _left_over(
    unmeasured: Sequence[str], cameras: Sequence[SharedCamera], frames: Path
) -> list[SharedCamera]:
    """Cameras for images that were not measured and whose group was split."""
    group = {frame.name: frame.camera for frame in read_frames(frames).frames}
    split = {group[name] for camera in cameras for name in camera.images}
    return [SharedCamera((name,)) for name in unmeasured if group[name] in split]


@reads(lambda task: [task[0]])
def _free_cameras(task: tuple[str, tuple[str, ...]]) -> list[ImageIntrinsics]:
    """Give each image of a part of a model a camera of its own."""
    from recon3d import colmap

    model, names = task
    return colmap.free_intrinsics(Path(model), set(names))


@reads(lambda model, frames, _: [model, frame_list_file(Path(frames))])
def _judge_sharing(model: str, frames: str, measured: Sequence[Sequence[ImageIntrinsics]]) -> Verdict:
    from recon3d import colmap

    rows = {frame.name: frame for frame in read_frames(Path(frames)).frames}
    surest: dict[str, ImageIntrinsics] = {}
    for image in itertools.chain.from_iterable(measured):
        if image.name not in surest or image.deviation < surest[image.name].deviation:
            surest[image.name] = image
    groups = {
        name: number for number, (_, names) in colmap.camera_groups(Path(model)).items() for name in names
    }
    verdict = find_cameras(
        [
            Measured(
                name=image.name,
                size=(image.width, image.height),
                group=groups[image.name],
                assumed=rows[image.name].camera,
                prior=rows[image.name].focal_px,
                params=image.params,
                focal=image.focal,
                deviation=image.deviation,
                lower=image.own_error / image.shared_error if image.shared_error else 1.0,
            )
            for image in surest.values()
        ]
    )
    return replace(verdict, unmeasured=frozenset(groups) - frozenset(surest))
