"""How far a model can be trusted, from what the stages counted.

docs/explanation/verdict.md gives the reasons of the limits.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from recon3d.events import VerdictLevel
from recon3d.layout import DenseCounts, RegisteredImage, Registration, SparseCounts
from recon3d.pipeline.coverage import Coverage

#: Share of the images below which the model is partial.
_PARTIAL = 0.6
#: Share below which a small model shows nothing of what was filmed.
_RUBBISH = 0.25
#: Images that make a model worth looking at, whatever their share.
_MANY = 30
#: Sparse points an image below which there is no depth.
_POINTS = 8
#: Mean reprojection error in pixels of the images in which features were found.
_RESIDUAL = 0.85
#: Share of the sparse points that three or more images must see.
_SEEN = 0.15
#: Share of the pixels of the depth maps that must have a depth.
_FILLED = 0.1
#: Degrees of an orbit without a camera that leave a whole side out.
_SIDE_MISSING = 90.0
#: Stretches of images that the advice names.
_NAMED = 4


@dataclass(frozen=True)
class Evidence:
    """What a verdict is made from.

    Attributes
    ----------
    registration : Registration
    counts : SparseCounts
    coverage : Coverage
    feature_scale : float
        Pixels of a frame for each pixel of the image in which features were found.
    known_cameras : bool
        Whether the user gave the cameras.
    dense : DenseCounts, optional
    """

    registration: Registration
    counts: SparseCounts
    coverage: Coverage
    feature_scale: float = 1.0
    known_cameras: bool = False
    dense: DenseCounts | None = None


@dataclass(frozen=True)
class Verdict:
    """How far a model can be trusted.

    Attributes
    ----------
    level : {"good", "doubtful", "unusable"}
    doubts : tuple of str
        What speaks against the model; empty when it is good.
    facts : tuple of str
        What was measured.
    advice : tuple of str
        What to do, or to film again.
    """

    level: VerdictLevel
    doubts: tuple[str, ...]
    facts: tuple[str, ...]
    advice: tuple[str, ...]

    @property
    def sentences(self) -> tuple[str, ...]:
        """The doubts, or the facts when there are none."""
        return self.doubts or self.facts


def judge(evidence: Evidence) -> Verdict:
    """Judge a model.

    Parameters
    ----------
    evidence : Evidence

    Returns
    -------
    Verdict
    """
    counts, coverage = evidence.counts, evidence.coverage
    faults: list[str] = []
    doubts: list[str] = []
    advice: list[str] = []
    share = counts.registered / max(counts.images, 1)
    if share < _RUBBISH and counts.registered < _MANY:
        faults.append(
            f"Only {counts.registered} of {counts.images} images could be placed: "
            "that is no model of what you filmed."
        )
    elif share < _PARTIAL:
        doubts.append(
            f"Only {counts.registered} of {counts.images} images could be placed: "
            "the model shows a part of what you filmed."
        )
    if counts.points < _POINTS * counts.registered:
        faults.append(f"Only {counts.points} points in space were found: the images give no depth.")
        advice.append(
            "Move the camera sideways between the images; turning it on the spot gives no depth. "
            "Blank walls, glass and mirrors give none either."
        )
    elif counts.registered == 2 and not evidence.known_cameras:
        doubts.append("The model comes from two images only: it has depth where both see the same part.")
        advice.append("Take more images, moving a little sideways between them.")
    residual = (counts.reprojection_error or 0.0) / max(evidence.feature_scale, 1.0)
    if residual > _RESIDUAL:
        doubts.append(f"The mean reprojection error is high: {counts.reprojection_error:.2f} px.")
        advice.append(_residual_cause(evidence.known_cameras))
    if not evidence.registration.cameras_confirmed:
        doubts.append(
            "The images do not agree about the camera, and no second model confirms the shape: "
            "it may be distorted."
        )
        advice.append("Keep the zoom fixed, do not crop the photos, and take more that overlap by 80 %.")
    mirror = evidence.registration.mirror
    if mirror is not None:
        doubts.append(
            f"{'Still water' if mirror.level else 'A mirror'} is in view: {mirror.share:.0%} of the points "
            "lie behind it. The model shows reflections there, not things."
        )
        advice.append(
            "Cut the model off at the water line, or film from where the water does not reflect."
            if mirror.level
            else "Cover the mirror and take the images again, or cut off what lies behind it."
        )
    doubts += _thin(evidence, faults)
    advice += [
        f"Take more images between {gap.before} and {gap.after}: {gap.degrees:.0f}° of the circle have none."
        for gap in coverage.gaps
    ]
    if coverage.weak and counts.registered > 2:
        advice.append("Take more images of the directions that the report's plan marks: few images see them.")
    advice += _film_again(evidence.registration.images)
    return Verdict(
        level="unusable" if faults else "doubtful" if doubts else "good",
        doubts=(*faults, *doubts),
        facts=_facts(evidence),
        advice=tuple(advice),
    )


def _residual_cause(known_cameras: bool) -> str:
    if known_cameras:
        return "Check that the given cameras belong to these photos, at this size."
    return (
        "Likely causes: photos of several zooms or cameras that share one camera model, something that "
        "moved, or a shaken video. Keep the zoom fixed, and hold everything still."
    )


def _thin(evidence: Evidence, faults: list[str]) -> list[str]:
    coverage, dense = evidence.coverage, evidence.dense
    doubts = []
    if not faults and evidence.counts.registered > 2 and coverage.seen_by_three < _SEEN:
        doubts.append(
            f"Only {coverage.seen_by_three:.0%} of the points are seen by three or more images: "
            "errors can hide in the rest."
        )
    if dense is not None and dense.filled < _FILLED:
        doubts.append(
            f"Only {dense.filled:.0%} of the pixels have a depth: most of the surface is guessed or missing."
        )
    widest = max((gap.degrees for gap in coverage.gaps), default=0.0)
    if widest > _SIDE_MISSING:
        doubts.append(f"The cameras go around the scene, but {widest:.0f}° of the circle have no image.")
    return doubts


def _facts(evidence: Evidence) -> tuple[str, ...]:
    counts, coverage, world = evidence.counts, evidence.coverage, evidence.registration.world
    facts = [f"{counts.registered} of {counts.images} images are part of the model."]
    if counts.reprojection_error is not None:
        facts.append(f"The mean reprojection error is {counts.reprojection_error:.2f} px.")
    if counts.points:
        facts.append(
            f"A point is seen by {coverage.views_per_point:.1f} images on average; "
            f"{coverage.seen_by_three:.0%} are seen by three or more."
        )
    if evidence.dense is not None:
        facts.append(f"{evidence.dense.filled:.0%} of the pixels have a depth.")
    if coverage.around:
        facts.append(f"The cameras cover {coverage.around:.0f}° of a circle around the scene.")
    if world.unit == "m":
        facts.append(f"Lengths are metres, from {world.scale_from}.")
    elif evidence.known_cameras:
        facts.append("Lengths are those of the given cameras.")
    else:
        facts.append("The scale is not known: set it before you measure.")
    return tuple(facts)


def _film_again(images: tuple[RegisteredImage, ...]) -> list[str]:
    """Why images are left out, and which ones, in the order in which they were taken."""
    lost = [image for image in images if not image.registered]
    if not lost:
        return []
    parts = [image for image in lost if image.component is not None]
    reasons = Counter((image.reason or "unknown").split(":")[0] for image in lost if image.component is None)
    advice = []
    if parts:
        advice.append(
            f"{_belong(len(parts))} of the scene: "
            "film the way from one part to the other, with an overlap of 80 %."
        )
    if reasons:
        why = ", ".join(f"{reason} ({number})" for reason, number in reasons.most_common())
        advice.append(f"Images that could not be placed: {why}.")
    named = [f"{a} to {b}" if a != b else a for a, b in _stretches(images)]
    more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
    advice.append(
        f"Film again what these images show, with smaller steps: {', '.join(named[:_NAMED])}{more}."
    )
    return advice


def _belong(number: int) -> str:
    return "1 image belongs to another part" if number == 1 else f"{number} images belong to other parts"


def _stretches(images: tuple[RegisteredImage, ...]) -> list[tuple[str, str]]:
    """First and last name of each run of images without a place, the longest first."""
    runs: list[list[str]] = []
    broken = True
    for image in images:
        if image.registered:
            broken = True
            continue
        if broken:
            runs.append([])
        runs[-1].append(image.name)
        broken = False
    return [(run[0], run[-1]) for run in sorted(runs, key=len, reverse=True)]
