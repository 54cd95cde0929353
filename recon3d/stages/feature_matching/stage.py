"""Matches between images, verified by two-view geometry."""

from __future__ import annotations

import math
import shutil
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from recon3d.compute import StageContext, reads
from recon3d.io.atomic import atomic_path
from recon3d.layout import DATABASE, MATCHES, FrameList, MatchCounts, read_frames
from recon3d.options import FeatureMatchingOptions
from recon3d.stages.feature_matching.blocks import MIN_INLIERS, Pair, read_block
from recon3d.stages.feature_matching.descriptions import describe_all
from recon3d.stages.feature_matching.match_tasks import (
    FullMatching,
    Matching,
    hardly_tied,
    match_block,
    match_fully,
)
from recon3d.stages.feature_matching.motion_tasks import (
    MovingMatching,
    camera_motion,
    match_moving,
    resting_features,
)
from recon3d.stages.feature_matching.pair_choice import (
    ChosenPairs,
    choose_pairs,
    describe_choice,
    is_by_retrieval,
    is_exhaustive,
)
from recon3d.stages.feature_matching.partners import find_partners
from recon3d.stages.feature_matching.verdicts import judge_motion, no_pairs, resting_message

VERSION = 7

#: Most pairs in a block: an interrupted run loses its current blocks. Where there are many blocks for each
#: worker, larger ones read fewer images, and Dask has fewer tasks.
_BLOCK, _LARGE_BLOCK = 40, 200
#: Blocks of each worker: enough that all end together, and enough that blocks may be large.
_BLOCKS, _MANY_BLOCKS = 4, 16
#: Folder of the vectors that describe images, while the stage runs.
_DESCRIPTIONS = "descriptions"


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
    ReconstructionError
        The camera only turned, or did not move.
    """
    frames, features = inputs["frame_extraction"], inputs["feature_extraction"]
    listed = read_frames(frames)
    chosen = _choose(listed, frames, features, options, out_dir / _DESCRIPTIONS, context)
    pairs, model = chosen.pairs, chosen.model
    size = _block_size(len(pairs), context.workers)
    gpu = context.engine == "cuda"
    tasks = []
    for start in range(0, len(pairs), size):
        block = tuple(pairs[start : start + size])
        target = out_dir / "blocks" / f"{start:08d}-{zlib.crc32(repr(block).encode()):08x}.pickle"
        tasks.append(
            Matching(str(frames), str(features), str(target), block, model, options.guided, context.seed, gpu)
        )
    missing = [task for task in tasks if not Path(task.target).exists()]
    context.map(
        match_block,
        missing,
        names=[f"pairs {task.pairs[0]} to {task.pairs[-1]}" for task in missing],
        unit="blocks",
        done=len(tasks) - len(missing),
        gpu=gpu,
    )
    blocks = _again_where_needed(tasks, context) if not (gpu or options.guided) else [t.target for t in tasks]
    resting = context.call(resting_features, str(frames), str(features), blocks)
    if resting is not None:
        context.fallback(resting_message(resting.share))
        again = [
            MovingMatching(str(frames), str(features), block, task.pairs, resting, model, context.seed)
            for task, block in zip(tasks, blocks, strict=True)
        ]
        blocks = context.phase(1.0, 1.0).map(match_moving, again, unit="blocks")
    raw, inliers = context.call(_write, str(features), str(out_dir), blocks)
    with atomic_path(out_dir / MATCHES) as path:
        found: dict[str, Any] = {"pairs": np.array(pairs, np.int32), "raw": raw, "inliers": inliers}
        found["resting"] = np.float64(0.0 if resting is None else resting.share)
        if chosen.reasons is not None:
            found["reasons"] = chosen.reasons
        np.savez(path, **found)
    verified = int(np.count_nonzero(inliers >= MIN_INLIERS))
    if not verified:
        raise no_pairs(len(pairs), raw)
    judge_motion(context.call(camera_motion, str(frames), str(features), blocks), listed, context)
    shutil.rmtree(out_dir / "blocks")
    shutil.rmtree(out_dir / _DESCRIPTIONS, ignore_errors=True)
    context.count(MatchCounts(len(listed), len(pairs), verified, int(inliers.sum())))


def _block_size(pairs: int, workers: int) -> int:
    """Pairs of a block; the results do not depend on it."""
    few = min(_BLOCK, math.ceil(pairs / (_BLOCKS * workers)))
    return max(1, few, min(_LARGE_BLOCK, pairs // (_MANY_BLOCKS * workers)))


def _choose(
    listed: FrameList,
    frames: Path,
    features: Path,
    options: FeatureMatchingOptions,
    work: Path,
    context: StageContext,
) -> ChosenPairs:
    """Choose the pairs, and tell why where they are not all."""
    vectors: list[str] = []
    partners: list[Pair] = []
    retrieval = is_by_retrieval(listed, options)
    if not is_exhaustive(listed, options):
        vectors = describe_all(features, len(listed), work, context, largest=retrieval)
    if retrieval:
        partners = find_partners(vectors, options.neighbors, work, context)
    chosen = context.call(choose_pairs, str(frames), str(features), vectors, partners, options)
    if chosen.reasons is not None:
        context.log(describe_choice(chosen, len(listed)))
    return chosen


def _again_where_needed(tasks: Sequence[Matching], context: StageContext) -> list[str]:
    """Match all features of pairs without a geometry, for images that few pairs tie; list the blocks."""
    again = context.call(hardly_tied, [task.target for task in tasks])
    full = [FullMatching(task, pairs) for task, pairs in zip(tasks, again, strict=True)]
    needed = [task for task in full if task.again]
    missing = [task for task in needed if not Path(task.target).exists()]
    if missing:
        done = len(needed) - len(missing)
        context.phase(1.0, 1.0).map(match_fully, missing, unit="blocks", done=done)
    return [task.target if task.again else task.matching.target for task in full]


@reads(lambda features, out_dir, blocks: [Path(features) / DATABASE, *blocks])
def _write(features: str, out_dir: str, blocks: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Write the database; the only process that does."""
    from recon3d.colmap import copy_database, write_matches

    target = Path(out_dir) / DATABASE
    copy_database(Path(features) / DATABASE, target)
    raw: list[int] = []
    inliers: list[int] = []
    for block in blocks:
        pairs, matches, geometries = read_block(Path(block))
        write_matches(
            target,
            [(a + 1, b + 1, m, g) for (a, b), m, g in zip(pairs, matches, geometries, strict=True)],
        )
        raw += [len(m) for m in matches]
        inliers += [len(g.inlier_matches) for g in geometries]
    return np.array(raw, np.int64), np.array(inliers, np.int64)
