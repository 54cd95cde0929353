"""What feature_matching finds out about motion in worker processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recon3d.compute import reads
from recon3d.layout import features_folder, frame_list_file, read_frames
from recon3d.matching.camera_motion import CameraMotion, Lens, find_camera_motion
from recon3d.matching.resting import Resting, find_resting
from recon3d.stages.feature_matching.blocks import (
    MIN_INLIERS,
    Pair,
    positions_of,
    read_block,
    write_block,
)
from recon3d.stages.feature_matching.match_tasks import Matcher, files_of_pairs


def _all_positions(frames: str, features: str, blocks: Sequence[str]) -> list[Path]:
    return [frame_list_file(Path(frames)), features_folder(Path(features)), *map(Path, blocks)]


@reads(_all_positions)
def resting_features(frames: str, features: str, blocks: Sequence[str]) -> Resting | None:
    """Find the features that rest while others move.

    Parameters
    ----------
    frames, features : str
        Folders of the artifacts.
    blocks : sequence of str
        Files of the matched blocks.

    Returns
    -------
    Resting or None
    """
    listed = read_frames(Path(frames)).frames
    pairs: list[Pair] = []
    matches: list[np.ndarray] = []
    for block in blocks:
        block_pairs, block_matches, _ = read_block(Path(block))
        pairs += block_pairs
        matches += block_matches
    positions = positions_of(Path(features))
    return find_resting(
        [positions(index) for index in range(len(listed))],
        [(frame.width, frame.height) for frame in listed],
        pairs,
        matches,
    )


@dataclass(frozen=True, eq=False)
class MovingMatching:
    """A block whose pairs are to be matched again without their resting features."""

    frames: str
    features: str
    block: str
    pairs: tuple[Pair, ...]
    resting: Resting
    model: str
    seed: int


@reads(files_of_pairs)
def match_moving(task: MovingMatching) -> str:
    """Match all features of a block's pairs again, without the resting ones.

    Parameters
    ----------
    task : MovingMatching

    Returns
    -------
    str
        The file of the new block.
    """
    matcher = Matcher(task.frames, task.features, task.model, task.seed, task.resting)
    # The geometry that guided the first matches was that of what rests.
    found = [matcher.match(pair, only_largest=False) for pair in task.pairs]
    target = Path(task.block).with_suffix(".moving.pickle")
    write_block(target, (task.pairs, [m for m, _ in found], [g for _, g in found]))
    return str(target)


@reads(_all_positions)
def camera_motion(frames: str, features: str, blocks: Sequence[str]) -> CameraMotion:
    """Compare all verified pairs with turns of the camera.

    Parameters
    ----------
    frames, features : str
        Folders of the artifacts.
    blocks : sequence of str
        Files of the verified blocks.

    Returns
    -------
    CameraMotion
    """
    listed = read_frames(Path(frames)).frames
    positions = positions_of(Path(features))
    pairs: list[Pair] = []
    points: list[tuple[np.ndarray, np.ndarray]] = []
    for block in blocks:
        for (a, b), _, geometry in zip(*read_block(Path(block)), strict=True):
            inliers = geometry.inlier_matches
            if len(inliers) >= MIN_INLIERS:
                pairs.append((a, b))
                points.append((positions(a)[inliers[:, 0]], positions(b)[inliers[:, 1]]))
    return find_camera_motion([Lens(f.width, f.height, f.focal_px) for f in listed], pairs, points)
