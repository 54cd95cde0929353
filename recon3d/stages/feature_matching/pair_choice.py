"""Which frames feature_matching compares."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from recon3d.compute import reads
from recon3d.io.feature_files import read_features
from recon3d.layout import DATABASE, FrameList, features_file, frame_list_file, read_frames
from recon3d.matching.pairs import all_pairs, describe_image, learn_words, most_similar, sequential_pairs
from recon3d.options import FeatureMatchingOptions
from recon3d.stages.feature_matching.blocks import Pair


@reads(lambda frames, features, options, seed: [frame_list_file(Path(frames)), features])
def choose_pairs(
    frames: str, features: str, options: FeatureMatchingOptions, seed: int
) -> tuple[list[Pair], str]:
    """Choose the pairs to match.

    Parameters
    ----------
    frames, features : str
        Folders of the artifacts.
    options : FeatureMatchingOptions
    seed : int

    Returns
    -------
    pairs : list of (int, int)
        Indices of frames.
    model : str
        Camera model of the features' database.
    """
    from recon3d.colmap import camera_model

    pairs = _pairs(read_frames(Path(frames)), Path(features), options, seed)
    return pairs, camera_model(Path(features) / DATABASE)


def _pairs(listed: FrameList, features: Path, options: FeatureMatchingOptions, seed: int) -> list[Pair]:
    names = listed.names
    place = {name: index for index, name in enumerate(names)}
    sequences = [[place[name] for name in sequence] for sequence in listed.sequences]
    if options.matcher == "exhaustive":
        return all_pairs(len(names))
    if options.matcher == "auto" and not sequences and len(names) <= options.max_exhaustive:
        return all_pairs(len(names))
    vectors = _describe(features, len(names), seed)
    if options.matcher == "retrieval":
        return most_similar(vectors, options.neighbors)
    if options.matcher == "sequential" and not sequences:
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


def _describe(features: Path, count: int, seed: int) -> np.ndarray:
    step = max(1, count // 40)
    sample = [read_features(features_file(features, i))[1][:2000] for i in range(0, count, step)]
    words = learn_words(sample, seed)
    vectors = [
        describe_image(read_features(features_file(features, i))[1][:3000], words) for i in range(count)
    ]
    return np.array(vectors, np.float32)
