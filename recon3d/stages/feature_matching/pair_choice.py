"""Which frames feature_matching compares, and why."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntFlag
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recon3d.compute import reads
from recon3d.layout import DATABASE, FrameList, frame_list_file, read_frames
from recon3d.matching.beside import beside_by_gps, beside_by_number
from recon3d.matching.pair_order import in_local_order
from recon3d.matching.pairs import all_pairs, sequential_pairs
from recon3d.matching.retrieval import most_similar
from recon3d.options import FeatureMatchingOptions
from recon3d.stages.feature_matching.blocks import Pair
from recon3d.stages.feature_matching.descriptions import read_vectors


class Reason(IntFlag):
    """Why two photos of a large set are matched."""

    SIMILAR = 1
    GPS = 2
    NUMBER = 4


@dataclass(frozen=True, eq=False)
class ChosenPairs:
    """The pairs to match.

    Parameters
    ----------
    pairs : list of (int, int)
        Indices of frames.
    model : str
        Camera model of the features' database.
    reasons : ndarray of uint8, shape (P,), optional
        `Reason` of each; None where all pairs are matched, or videos are.
    """

    pairs: list[Pair]
    model: str
    reasons: NDArray[np.uint8] | None = None


def is_exhaustive(listed: FrameList, options: FeatureMatchingOptions) -> bool:
    """Tell whether every frame is matched with every other.

    Parameters
    ----------
    listed : FrameList
    options : FeatureMatchingOptions

    Returns
    -------
    bool
    """
    if options.matcher == "auto":
        return not listed.sequences and len(listed) <= options.max_exhaustive
    return options.matcher == "exhaustive"


def is_by_retrieval(listed: FrameList, options: FeatureMatchingOptions) -> bool:
    """Tell whether frames are matched with those that share features, whatever their order.

    Parameters
    ----------
    listed : FrameList
    options : FeatureMatchingOptions

    Returns
    -------
    bool
    """
    if options.matcher == "auto":
        return not listed.sequences and len(listed) > options.max_exhaustive
    return options.matcher == "retrieval"


@reads(
    lambda frames, features, vectors, *_: [frame_list_file(Path(frames)), Path(features) / DATABASE, *vectors]
)
def choose_pairs(
    frames: str,
    features: str,
    vectors: Sequence[str],
    partners: Sequence[Pair],
    options: FeatureMatchingOptions,
) -> ChosenPairs:
    """Choose the pairs to match.

    Parameters
    ----------
    frames, features : str
        Folders of the artifacts.
    vectors : sequence of str
        Files that describe the images; only videos need them.
    partners : sequence of (int, int)
        Photos that share features, where they are chosen by that.
    options : FeatureMatchingOptions

    Returns
    -------
    ChosenPairs
    """
    from recon3d.colmap import camera_model

    listed, model = read_frames(Path(frames)), camera_model(Path(features) / DATABASE)
    if is_exhaustive(listed, options):
        return ChosenPairs(all_pairs(len(listed)), model)
    if is_by_retrieval(listed, options):
        reasons = photo_pairs(listed, partners, options)
        pairs = in_local_order(list(reasons))
        return ChosenPairs(pairs, model, np.array([reasons[pair] for pair in pairs], np.uint8))
    return ChosenPairs(_video_pairs(listed, read_vectors(vectors), options), model)


def photo_pairs(
    listed: FrameList, partners: Sequence[Pair], options: FeatureMatchingOptions
) -> dict[Pair, Reason]:
    """Pair photos that share features, and those that were taken beside each other.

    Parameters
    ----------
    listed : FrameList
    partners : sequence of (int, int)
        Photos that share features.
    options : FeatureMatchingOptions

    Returns
    -------
    dict of (int, int) to Reason
        In the order of the pairs.
    """
    found: dict[Pair, Reason] = {}
    sources: list[tuple[Reason, Iterable[Pair]]] = [
        (Reason.SIMILAR, partners),
        (Reason.GPS, beside_by_gps([frame.gps for frame in listed.frames], options.gps_neighbors)),
        (
            Reason.NUMBER,
            beside_by_number([frame.source for frame in listed.frames], options.number_neighbors),
        ),
    ]
    for reason, pairs in sources:
        for pair in pairs:
            found[pair] = found.get(pair, Reason(0)) | reason
    return dict(sorted(found.items()))


def describe_choice(chosen: ChosenPairs, images: int) -> str:
    """Say how many pairs of photos were chosen, and why.

    Parameters
    ----------
    chosen : ChosenPairs
        With reasons.
    images : int
        Number of images.

    Returns
    -------
    str
    """
    assert chosen.reasons is not None
    each = np.bincount(np.ravel(chosen.pairs), minlength=images)
    words = {Reason.SIMILAR: "look alike", Reason.GPS: "are near by GPS", Reason.NUMBER: "have near numbers"}
    why = ", ".join(
        f"{np.count_nonzero(chosen.reasons & reason)} {text}"
        for reason, text in words.items()
        if np.any(chosen.reasons & reason)
    )
    return (
        f"{len(chosen.pairs)} of {images * (images - 1) // 2} pairs of images are matched, "
        f"{np.median(each):.0f} an image ({each.min()} to {each.max()}): {why}."
    )


def _video_pairs(
    listed: FrameList, vectors: NDArray[np.float32], options: FeatureMatchingOptions
) -> list[Pair]:
    names = listed.names
    place = {name: index for index, name in enumerate(names)}
    sequences = [[place[name] for name in sequence] for sequence in listed.sequences]
    if not sequences:
        sequences = [list(range(len(names)))]
    chosen: set[Pair] = set()
    for sequence in sequences:
        chosen |= {
            _ordered(sequence[i], sequence[j]) for i, j in sequential_pairs(len(sequence), options.overlap)
        }
        if options.loop_closure:
            loops = most_similar(vectors[sequence], options.loop_closure, apart=options.overlap)
            chosen |= {_ordered(sequence[i], sequence[j]) for i, j in loops}
    inside = {image for sequence in sequences for image in sequence}
    if len(sequences) > 1 or len(inside) < len(names):
        # Photos beside a video, or several videos: what looks alike ties them together.
        # A frame's own video is left out, or its neighbours in time would be all that it finds.
        groups = [-1] * len(names)
        for number, sequence in enumerate(sequences):
            for image in sequence:
                groups[image] = number
        chosen |= set(most_similar(vectors, options.neighbors, groups=groups))
    return sorted(chosen)


def _ordered(i: int, j: int) -> Pair:
    return (i, j) if i < j else (j, i)
