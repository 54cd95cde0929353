"""What feature_matching says about sets that give no depth."""

from __future__ import annotations

import numpy as np

from recon3d.compute import StageContext
from recon3d.errors import NoInitialPair, ReconstructionError
from recon3d.layout import FrameList
from recon3d.matching.camera_motion import CameraMotion

#: Matches before verification with which images do show the same things.
_MANY_MATCHES = 60
#: Share of the matches above which what rests is more than a logo.
_LARGE = 0.1


def no_pairs(pairs: int, raw: np.ndarray) -> NoInitialPair:
    """Explain that no pair has a geometry.

    Parameters
    ----------
    pairs : int
        Number of pairs.
    raw : ndarray of int, shape (P,)
        Matches of each before verification.

    Returns
    -------
    NoInitialPair
    """
    alike = int(np.count_nonzero(raw >= _MANY_MATCHES))
    if alike:
        return NoInitialPair(
            f"{alike} of the {pairs} pairs of images look alike, but in none do the matches agree on one "
            "rigid scene.",
            "Mirrors, glass, gloss and water show something else from every place, and so do things that "
            "move and patterns that repeat. Have something still and dull with texture in view, such as "
            "newspaper under the object; film gloss in soft light, or dust it.",
        )
    return NoInitialPair(
        f"None of the {pairs} pairs of images share enough matches.",
        "The images must overlap and show texture: take more, closer together, sharper.",
    )


def resting_message(share: float) -> str:
    """Say that resting matches were left out.

    Parameters
    ----------
    share : float
        Of the matches.

    Returns
    -------
    str
    """
    what = "a background that does not turn with the object" if share > _LARGE else "a logo, a date or dirt"
    return (
        f"A part of the picture stands still while the rest moves, such as {what}: {share:.0%} of the "
        "matches. They were left out, so the cameras are those of what moves."
    )


def judge_motion(motion: CameraMotion, listed: FrameList, context: StageContext) -> None:
    """Refuse images from one place; report those that only turn.

    Parameters
    ----------
    motion : CameraMotion
    listed : FrameList
    context : StageContext

    Raises
    ------
    ReconstructionError
        The camera only turned, or did not move.
    """
    if any(frame.kind == "posed_photo" for frame in listed.frames):
        return  # the cameras are known
    count = len(motion.pairs)
    if motion.stood_still:
        raise ReconstructionError(
            f"The camera did not move: the images of all {count} matching pairs show the same view.",
            "Walk around the object and take pictures from many places; do not only hold the camera at it.",
        )
    if motion.only_turned:
        raise ReconstructionError(
            f"The camera only turned, by up to {motion.degrees[motion.turned].max():.0f}°: rotations from "
            f"one place explain {np.count_nonzero(motion.turned)} of {count} matching pairs of images. "
            "Turning shows no depth.",
            "Film again and walk: between two pictures move the camera sideways by about a tenth of the "
            "distance to the object, and keep the object in view. A panorama cannot become a model.",
        )
    place = {name: index for index, name in enumerate(listed.names)}
    filmed: set[int] = set()
    for names in listed.sequences:
        sequence = [place[name] for name in names]
        filmed.update(sequence)
        for first, last in motion.turning_stretches(sequence):
            begin, end = listed.frames[sequence[first]], listed.frames[sequence[last]]
            context.fallback(
                f"The camera only turned in {begin.source} from {begin.time or 0:.1f} to "
                f"{end.time or 0:.1f} s ({last - first + 1} frames). Turning shows no depth: "
                "walk sideways there."
            )
    turning = [listed.names[i] for i in motion.turning_images(len(listed)) if i not in filmed]
    if len(turning) > 2:
        more = f" and {len(turning) - 5} more" if len(turning) > 5 else ""
        context.fallback(
            f"{len(turning)} images differ from others only by a turn of the camera, which shows no depth: "
            f"{', '.join(turning[:5])}{more}. Take such pictures from other places too."
        )
