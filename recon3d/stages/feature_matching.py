"""Matches between images, verified by two-view geometry."""

from __future__ import annotations

import math
import pickle
import shutil
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recon3d.compute import StageContext
from recon3d.errors import NoInitialPair
from recon3d.io.atomic import atomic_path
from recon3d.io.feature_files import read_features
from recon3d.layout import DATABASE, MATCHES, FrameList, MatchCounts, features_file, read_frames
from recon3d.matching.pairs import all_pairs, describe_image, learn_words, most_similar, sequential_pairs
from recon3d.options import FeatureMatchingOptions

VERSION = 3

#: Most pairs in a block: an interrupted run loses its current blocks.
_BLOCK = 40
_MIN_INLIERS = 15

Pair = tuple[int, int]


@dataclass(frozen=True)
class _Task:
    frames: str
    features: str
    target: str
    pairs: tuple[Pair, ...]
    model: str
    guided: bool
    seed: int
    gpu: bool


def run(
    inputs: Mapping[str, Path], options: FeatureMatchingOptions, out_dir: Path, context: StageContext
) -> None:
    """Choose pairs of frames, match their features, verify the matches, and write COLMAP's database.

    Parameters
    ----------
    inputs : mapping of str to Path
        The folders of ``frame_extraction`` and ``feature_extraction``.
    options : FeatureMatchingOptions
    out_dir : Path
    context : StageContext

    Raises
    ------
    NoInitialPair
        No two images have enough matches.
    """
    frames, features = inputs["frame_extraction"], inputs["feature_extraction"]
    count = len(read_frames(frames))
    pairs, model = context.call(_choose_pairs, str(frames), str(features), options, context.seed)
    size = max(1, min(_BLOCK, math.ceil(len(pairs) / (4 * context.workers))))
    gpu = context.engine == "cuda"
    tasks = []
    for start in range(0, len(pairs), size):
        block = tuple(pairs[start : start + size])
        target = out_dir / "blocks" / f"{start:08d}-{zlib.crc32(repr(block).encode()):08x}.pickle"
        tasks.append(
            _Task(str(frames), str(features), str(target), block, model, options.guided, context.seed, gpu)
        )
    missing = [task for task in tasks if not Path(task.target).exists()]
    context.map(
        _match,
        missing,
        names=[f"pairs {task.pairs[0]} to {task.pairs[-1]}" for task in missing],
        unit="blocks",
        done=len(tasks) - len(missing),
        gpu=gpu,
    )
    raw, inliers = context.call(_write, str(features), str(out_dir), [task.target for task in tasks])
    with atomic_path(out_dir / MATCHES) as path:
        np.savez(path, pairs=np.array(pairs, np.int32), raw=raw, inliers=inliers)
    verified = int(np.count_nonzero(inliers >= _MIN_INLIERS))
    if not verified:
        raise NoInitialPair(
            f"None of the {len(pairs)} pairs of images share enough matches.",
            "The images must overlap and show texture: take more, closer together, sharper.",
        )
    shutil.rmtree(out_dir / "blocks")
    context.count(MatchCounts(count, len(pairs), verified, int(inliers.sum())))


def _choose_pairs(
    frames: str, features: str, options: FeatureMatchingOptions, seed: int
) -> tuple[list[Pair], str]:
    """The pairs to match, and the camera model of the features' database."""
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


def _match(task: _Task) -> None:
    from recon3d.colmap import match_pairs, read_rows

    rows = read_rows(Path(task.frames))
    used = sorted({index for pair in task.pairs for index in pair})
    matches, geometries = match_pairs(
        [rows[i] for i in used],
        [i + 1 for i in used],
        lambda k: read_features(features_file(Path(task.features), used[k])),
        [(a + 1, b + 1) for a, b in task.pairs],
        task.model,
        guided=task.guided,
        seed=task.seed,
        gpu=task.gpu,
    )
    with atomic_path(Path(task.target)) as path, open(path, "wb") as file:
        pickle.dump((task.pairs, matches, geometries), file)


def _write(features: str, out_dir: str, blocks: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Write the database; the only process that does."""
    from recon3d.colmap import write_matches

    target = Path(out_dir) / DATABASE
    shutil.copyfile(Path(features) / DATABASE, target)
    raw: list[int] = []
    inliers: list[int] = []
    for block in blocks:
        with open(block, "rb") as file:
            pairs, matches, geometries = pickle.load(file)  # our own file, in our own folder
        write_matches(
            target,
            [(a + 1, b + 1, m, g) for (a, b), m, g in zip(pairs, matches, geometries, strict=True)],
        )
        raw += [len(m) for m in matches]
        inliers += [len(g.inlier_matches) for g in geometries]
    return np.array(raw, np.int64), np.array(inliers, np.int64)
