"""What the measures of a sample mean for a reconstruction, in plain words.

docs/how-to/check-before-you-run.md lists the limits. Only certainty is hopeless; all else warns.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from recon3d.events import CheckLevel
from recon3d.preflight.measuring import ImageMeasure, Measures, PairMeasure

#: Features without which an image is of no use, and below which it has little texture.
_BLANK, _PLAIN = 15, 120
#: Shares of the pairs from which turning is a warning, and certain.
_OFTEN, _ALWAYS = 0.5, 0.95
#: Pairs without which nothing is certain.
_PAIRS = 3
#: Shares of the matches at rest and moving where an object turns before a still background.
_REST, _MOVING = 0.3, 0.1
#: Share of the matches at rest where nothing moves at all.
_STILL = 0.9
#: Share of the photos that must overlap with another one, and photos beside a video without which it
#: tells nothing: they may overlap with the video.
_LINKED, _PHOTOS = 0.6, 4
#: Share of the neighbours by name that overlap where the names follow the camera: chance gives 1 in 50.
_NAMED = 0.15
#: Overlapping photos that each photo has at least in a good set, and photos of a sample in no order that
#: must meet one of theirs before the sample tells anything.
_NEIGHBOURS, _MEETINGS = 2, 4
#: Brightness and contrast, in grey levels, of images that are too dark or too bright.
_DARK, _BRIGHT, _DULL = 40, 215, 25
#: Sharpness against the median of the set, as the sparse stage has it.
_BLURRED = 0.35
_MANY = 0.3


@dataclass(frozen=True)
class CameraGroup:
    """Photos that can share one camera model.

    Attributes
    ----------
    camera : str
    size : (int, int)
    focal_mm : float or None
    photos : int
    """

    camera: str
    size: tuple[int, int]
    focal_mm: float | None
    photos: int


@dataclass
class Findings:
    """What was found.

    Attributes
    ----------
    hopeless, doubts : list of str
        Why there can be no model, and why it may be poor.
    notes : list of str
        What is worth knowing.
    advice : list of str
    blank : bool
        Whether fewer than two images show anything.
    """

    hopeless: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    advice: list[str] = field(default_factory=list)
    blank: bool = False

    @property
    def level(self) -> CheckLevel:
        """How good the inputs are."""
        return "hopeless" if self.hopeless else "doubtful" if self.doubts else "good"


def find(
    measures: Measures,
    *,
    total: int,
    groups: Sequence[CameraGroup] = (),
    unreadable: Sequence[str] = (),
) -> Findings:
    """Interpret the measures.

    Parameters
    ----------
    measures : Measures
    total : int
        Images that there are; of a video, the frames that would be taken.
    groups : sequence of CameraGroup
        Of the photos.
    unreadable : sequence of str
        Why files could not be read.

    Returns
    -------
    Findings
    """
    found = Findings()
    images = measures.images
    if unreadable:
        more = f"; and {len(unreadable) - 2} more" if len(unreadable) > 2 else ""
        files = "1 file" if len(unreadable) == 1 else f"{len(unreadable)} files"
        why = "; ".join(reason.rstrip(".") for reason in unreadable[:2])
        found.doubts.append(f"{files} cannot be read: {why}{more}.")
    useful = [image for image in images if image.features >= _BLANK]
    if len(useful) < 2:
        found.blank = True
        _too_little(images, useful, found)
        return found
    _light(images, found)
    _texture(useful, found)
    _motion([pair for pair in measures.pairs if pair.overlaps], found)
    _overlap(measures, found, alone=total <= measures.given)
    if total < 3:
        found.doubts.append("There are two images only: a model needs more.")
        found.advice.append("Take 20 images or more, moving a little sideways between them.")
    if len(groups) > 1:
        found.notes.append(_mixed(groups))
    return found


def _too_little(images: Sequence[ImageMeasure], useful: Sequence[ImageMeasure], found: Findings) -> None:
    if len(images) < 2:
        found.hopeless.append(
            "There is one image only: depth needs two." if images else "No image can be read."
        )
        found.advice.append("Take 20 images or more, moving a little sideways between them.")
        return
    why = Counter(_why_blank(image) for image in images if image.features < _BLANK)
    told = ", ".join(f"{number} {reason}" for reason, number in why.most_common())
    found.hopeless.append(f"Of {len(images)} images looked at, {len(useful)} show anything: {told}.")
    if "black" in why:
        found.advice.append("Check the lens cap and the light, or expose longer.")
    if "white" in why:
        found.advice.append("Expose less.")
    if "without texture" in why:
        found.advice.append(
            "Add texture: put newspaper or patterned tape on what you record, or beside it. Check the focus."
        )


def _why_blank(image: ImageMeasure) -> str:
    if image.brightness < _DARK:
        return "black"
    if image.brightness > _BRIGHT:
        return "white"
    return "without texture"


def _light(images: Sequence[ImageMeasure], found: Findings) -> None:
    dark = [i for i in images if i.brightness < _DARK and i.contrast < _DULL]
    bright = [i for i in images if i.brightness > _BRIGHT and i.contrast < _DULL]
    for wrong, word, advice in (
        (dark, "too dark", "Add light, or expose longer with the camera held still."),
        (bright, "too bright", "Expose less: what is white has no texture."),
    ):
        if len(wrong) > _MANY * len(images):
            found.doubts.append(f"{len(wrong)} of {len(images)} images looked at are {word}.")
            found.advice.append(advice)
    sharp = np.array([i.sharpness for i in images])
    blurred = int(np.sum(sharp < _BLURRED * np.median(sharp)))
    if blurred > _MANY * len(images):
        found.doubts.append(f"{blurred} of {len(images)} images looked at are blurred.")
        found.advice.append("Move more slowly, or add light for a shorter exposure.")


def _texture(useful: Sequence[ImageMeasure], found: Findings) -> None:
    median = float(np.median([image.features for image in useful]))
    if median < _PLAIN:
        found.doubts.append(f"The images have little texture: {median:.0f} features each.")
        found.advice.append(
            "Plain walls, glass and mirrors cannot be matched: put textured things beside them, or newspaper."
        )


def _motion(known: Sequence[PairMeasure], found: Findings) -> None:
    if len(known) < _PAIRS:
        return
    turned = np.mean([pair.turned for pair in known])
    still = np.mean([pair.at_rest > _STILL for pair in known])
    table = np.mean([pair.at_rest > _REST and pair.moving > _MOVING for pair in known])
    if still >= _ALWAYS:
        found.hopeless.append("The camera stands still, and nothing moves: there is no depth to find.")
        found.advice.append("Walk around what you film.")
    elif turned >= _ALWAYS:
        found.hopeless.append("The camera only turns on the spot: such images have no depth.")
        found.advice.append("Move the camera sideways between the images, by a tenth of the distance.")
    elif turned > _OFTEN:
        found.doubts.append(f"In {turned:.0%} of the neighbouring images the camera only turns.")
        found.advice.append("Move the camera sideways, too: turning on the spot gives no depth.")
    elif table >= _OFTEN:
        found.doubts.append("A part of each image stands still while another moves: a turntable, it seems.")
        found.advice.append(
            "Hide the background with a plain cloth, or walk around the object instead of turning it."
        )


def _overlap(measures: Measures, found: Findings, *, alone: bool) -> None:
    """Judge photos only: the frames that a run takes of a video lie closer than the samples."""
    linked, photos = measures.linked, measures.photos
    if photos < (2 if alone else _PHOTOS):
        return
    least = _LINKED * photos
    if measures.given > photos and measures.in_order < _NAMED:
        # Names in no order: a photo's neighbours need not be in the sample.
        missed = (1 - _NEIGHBOURS / (measures.given - 1)) ** (photos - 1)
        least *= 1 - missed
        if (1 - missed) * photos < _MEETINGS:
            found.notes.append(
                f"The names of the photos are in no order: whether they overlap cannot be told from {photos} "
                f"of {measures.given}."
            )
            return
    if linked < least:
        few = f"Only {linked} of {photos} photos looked at overlap"
        none = f"None of the {photos} photos looked at overlaps"
        found.doubts.append(f"{few if linked else none} with another one.")
        found.advice.append("Take more images, with an overlap of 80 % from one to the next.")


def _mixed(groups: Sequence[CameraGroup]) -> str:
    told = [
        f"{group.photos} of {group.size[0]} x {group.size[1]}"
        + (f", {group.camera}" if group.camera else "")
        + (f", {group.focal_mm:g} mm" if group.focal_mm else "")
        for group in sorted(groups, key=lambda g: -g.photos)
    ]
    more = f"; and {len(told) - 3} more" if len(told) > 3 else ""
    return f"The photos come from {len(groups)} cameras or zooms: {'; '.join(told[:3])}{more}."
