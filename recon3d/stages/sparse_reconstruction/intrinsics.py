"""Sharing a camera is a hypothesis: which images have the same focal length.

Images of a group share a camera because their metadata and size are the same. Without metadata that
proves nothing, and metadata may be wrong. So each image of a model gets its own camera once, and the
focal lengths that come out say which images can share one.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from recon3d.layout import CameraGroup
from recon3d.types import SharedCamera

#: Focal lengths that differ by less are not told apart: they vary so much with focus and noise.
_LEAST_DIFFERENCE = 0.015
#: Standard deviations by which focal lengths must differ.
_DEVIATIONS = 5.0
#: Own cameras must lower the residuals of the images that are split off, or of all, to this share. Noise
#: alone lowers them to 0.85 to 1; two zooms to 0.2 to 0.5 over all images.
_LOWER = 0.75
#: The same where most images would have their own camera, which fits noise well.
_MUCH_LOWER = 0.7
#: Groups with fewer images gain from being merged with others.
_SMALL_GROUP = 5
#: So many groups that are not believed speak of focal lengths that waver.
_WAVERING = 4
#: Focal lengths that waver leave residuals that own cameras lower to this share. Where a camera turns
#: more than it moves, focal lengths drift along without any gain.
_WAVER_LOWER = 0.95
#: Focal lengths that a message names.
_NAMED = 6


@dataclass(frozen=True)
class Measured:
    """An image's focal length when it shares its camera with no other.

    Parameters
    ----------
    name : str
    size : (int, int)
        Width and height in pixels.
    group : int
        Images of one group share a camera in the model.
    assumed : int
        Images with one number share a camera by their metadata.
    prior : float, optional
        Focal length in pixels by the metadata.
    params : tuple of float
        The camera's own parameters.
    focal : float
        In pixels.
    deviation : float
        Standard deviation of the focal length, relative to it.
    lower : float
        Its residuals with its own camera as a share of those with the shared one.
    """

    name: str
    size: tuple[int, int]
    group: int
    assumed: int
    prior: float | None
    params: tuple[float, ...]
    focal: float
    deviation: float
    lower: float


@dataclass(frozen=True)
class Verdict:
    """What the focal lengths say of the groups.

    Parameters
    ----------
    cameras : tuple of SharedCamera
        Those that differ from the groups as they are; empty where the groups stand.
    wavering : (float, float), optional
        Least and largest focal length of images that agree on none, though no grouping explains it.
    split : bool
        Whether images of one group do not share a camera.
    unmeasured : frozenset of str
        Images of the model of which nothing is known: the points of their part do not determine cameras.
    """

    cameras: tuple[SharedCamera, ...] = ()
    wavering: tuple[float, float] | None = None
    split: bool = False
    unmeasured: frozenset[str] = frozenset()


def find_cameras(images: Sequence[Measured]) -> Verdict:
    """Find which images share a camera.

    Parameters
    ----------
    images : sequence of Measured

    Returns
    -------
    Verdict
    """
    groups: dict[int, list[Measured]] = {}
    for image in images:
        groups.setdefault(image.group, []).append(image)
    cameras: list[SharedCamera] = []
    wavering = None
    whole: list[list[Measured]] = []
    for group in groups.values():
        clusters = _clusters(group)
        if len(clusters) > 1 and _believed(clusters):
            cameras += map(_shared, clusters)
            continue
        whole.append(group)
        if len(clusters) >= _WAVERING and _lowered(clusters) < _WAVER_LOWER:
            focals = [image.focal for image in group]
            wavering = (min(focals), max(focals))
    split = bool(cameras)
    cameras += map(_shared, _merged(whole))
    return Verdict(tuple(cameras), wavering, split)


def _clusters(images: Sequence[Measured]) -> list[list[Measured]]:
    """Images whose focal lengths agree; the largest cluster comes first.

    Means are compared, so that a slow zoom does not chain its ends together.
    """
    clusters = [[image] for image in sorted(images, key=lambda image: (image.focal, image.name))]
    apart = [_apart(a, b) for a, b in itertools.pairwise(clusters)]
    while apart:
        nearest = int(np.argmin(apart))
        if apart[nearest] >= 1:
            break
        clusters[nearest : nearest + 2] = [clusters[nearest] + clusters[nearest + 1]]
        # Only the neighbours of the new cluster are nearer or farther than before.
        del apart[nearest]
        for left in range(max(nearest - 1, 0), min(nearest + 1, len(apart))):
            apart[left] = _apart(clusters[left], clusters[left + 1])
    return sorted(clusters, key=lambda cluster: (-len(cluster), _focal(cluster)))


def _apart(a: Sequence[Measured], b: Sequence[Measured]) -> float:
    """Difference of two clusters' focal lengths; from 1 on they disagree."""
    difference = abs(np.log(_focal(a) / _focal(b)))
    deviation = float(np.hypot(_deviation(a), _deviation(b)))
    return float(difference / max(_LEAST_DIFFERENCE, _DEVIATIONS * deviation))


def _focal(images: Sequence[Measured]) -> float:
    weights = [image.deviation**-2 for image in images]
    return float(np.exp(np.average(np.log([image.focal for image in images]), weights=weights)))


def _deviation(images: Sequence[Measured]) -> float:
    return float(sum(image.deviation**-2 for image in images) ** -0.5)


def _believed(clusters: Sequence[Sequence[Measured]]) -> bool:
    """Whether separate cameras explain the residuals of the images that are split off."""
    count = sum(len(cluster) for cluster in clusters)
    return _lowered(clusters) < (_LOWER if 2 * len(clusters) <= count else _MUCH_LOWER)


def _lowered(clusters: Sequence[Sequence[Measured]]) -> float:
    """Residuals of the images that are split off, or of all, with own cameras, as a share of those before.

    A wrong camera may be wrong for the largest cluster more than for the others.
    """
    return min(
        float(np.median([image.lower for cluster in some for image in cluster]))
        for some in (clusters, clusters[1:])
    )


def _merged(groups: Sequence[Sequence[Measured]]) -> list[list[Measured]]:
    """Groups joined with those of their size whose focal lengths agree with theirs.

    Only small groups gain from it, and those that were split in a model which was bent more than this one.
    """
    merged: list[list[Measured]] = []
    for group in sorted(groups, key=lambda group: (-len(group), _deviation(group))):
        partners = [
            found
            for found in merged
            if (len(group) < _SMALL_GROUP or _were_one(found, group)) and _same(found, group)
        ]
        if partners:
            min(partners, key=lambda found: _apart(found, group)).extend(group)
        else:
            merged.append(list(group))
    return [group for group in merged if len({image.group for image in group}) > 1]


def _were_one(a: Sequence[Measured], b: Sequence[Measured]) -> bool:
    return bool({image.assumed for image in a} & {image.assumed for image in b})


def _same(a: Sequence[Measured], b: Sequence[Measured]) -> bool:
    if a[0].size != b[0].size or (a[0].prior is None) != (b[0].prior is None):
        return False
    if a[0].prior and b[0].prior and abs(np.log(a[0].prior / b[0].prior)) > _LEAST_DIFFERENCE:
        return False
    return _apart(a, b) < 1


def _shared(images: Sequence[Measured]) -> SharedCamera:
    params = np.median([image.params for image in images], axis=0)
    return SharedCamera(tuple(sorted(image.name for image in images)), tuple(map(float, params)))


def describe_groups(
    groups: Sequence[tuple[float, Sequence[str]]],
    assumed: Mapping[str, int],
    given: Mapping[str, float | None],
) -> tuple[tuple[CameraGroup, ...], tuple[str, ...]]:
    """Name the cameras of a model, and say where they are not those that the metadata say.

    Parameters
    ----------
    groups : sequence of (float, sequence of str)
        Focal length in pixels and names of the images of each camera.
    assumed : mapping of str to int
        Number of each image's camera by its metadata.
    given : mapping of str to float or None
        Focal length in pixels by the metadata.

    Returns
    -------
    (tuple of CameraGroup, tuple of str)
        The cameras, those of the longest focal length last, and messages for the user.
    """
    parts: dict[int, list[tuple[float, Sequence[str]]]] = {}
    for focal, names in sorted(groups, key=lambda group: (group[0], *group[1])):
        for number in sorted({assumed[name] for name in names}):
            parts.setdefault(number, []).append((focal, names))
    told = [
        _told(split, given[split[0][1][0]])
        for split in parts.values()
        if len(split) > 1 and _range(split) >= _LEAST_DIFFERENCE
    ]
    described = []
    for focal, names in sorted(groups, key=lambda group: (group[0], *group[1])):
        numbers = {assumed[name] for name in names}
        split = parts[assumed[names[0]]]
        how = "shared" if len(names) > 1 else "alone"
        if len(numbers) > 1:
            how = "merged: the focal lengths agree"
            told.append(
                f"{len(numbers)} groups of images have the same focal length ({focal:.0f} px); they share"
                " one camera, though their metadata differ."
            )
        elif len(split) > 1:
            how = f"split: the focal lengths differ by {100 * _range(split):.0f} %"
            if _range(split) < _LEAST_DIFFERENCE:
                how = "apart: placed with its own camera"
        described.append(CameraGroup(tuple(sorted(names)), round(focal, 2), how, given[names[0]]))
    return tuple(described), tuple(told)


def _range(split: Sequence[tuple[float, Sequence[str]]]) -> float:
    focals = [focal for focal, _ in split]
    return max(focals) / min(focals) - 1


def _told(split: Sequence[tuple[float, Sequence[str]]], prior: float | None) -> str:
    parts = [f"{focal:.0f} px ({_listed(names)})" for focal, names in split[:_NAMED]]
    if len(split) > _NAMED:
        parts.append(f"{len(split) - _NAMED} more up to {split[-1][0]:.0f} px")
    cause = "the lens was zoomed, or the photos were cropped"
    if prior is not None:
        cause += f", though their metadata say {prior:.0f} px for all"
    return f"Images that should share a camera have different focal lengths: {', '.join(parts)}. So {cause}."


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(sorted(names)[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
