"""More and weaker features, where the usual ones place too few images.

They cost several times as much as the usual ones, so a set that needs none does without.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recon3d.compute import StageContext, reads
from recon3d.io.feature_files import read_features, write_features
from recon3d.io.masks import visible_features
from recon3d.layout import (
    DATABASE,
    MATCHES,
    features_file,
    features_folder,
    frame_list_file,
    images_folder,
    mask_file,
    read_frames,
)
from recon3d.matching.resting import find_resting

#: Longer side at which features are looked for, after the image is doubled; and features of an image.
_SIDE, _FEATURES = 1000, 8192
#: Half of COLMAP's least contrast.
_PEAK = 0.0033
#: With so large a share of these features, the usual ones are as many.
_AS_MANY = 0.5
#: Bytes that SIFT needs for a pixel of the image before it is doubled, and beside that.
_BYTES_PER_PIXEL, _BYTES = 640, 300_000_000
_BLOCK = 40

Pair = tuple[int, int]


@dataclass(frozen=True)
class _Extraction:
    image: str
    mask: str
    target: str
    gpu: bool


@dataclass(frozen=True)
class _Matching:
    frames: str
    folder: str
    pairs: tuple[Pair, ...]
    model: str
    seed: int
    gpu: bool


def find_more(
    frames: Path, matching: Path, placed: frozenset[str], out: Path, context: StageContext
) -> Path | None:
    """Find more features in all images, match them, and write a database as feature_matching does.

    Pairs of placed images are matched again only where they matched before.

    Parameters
    ----------
    frames, matching : Path
        Artifacts of frame_extraction and feature_matching.
    placed : frozenset of str
        Images that are placed already.
    out : Path
        Where to write; complete features in it are reused.
    context : StageContext

    Returns
    -------
    Path or None
        `out`; None where the usual features are as many.
    """
    listed = read_frames(frames)
    model, usual = context.call(_look, str(matching / DATABASE))
    if usual >= _AS_MANY * _FEATURES:
        return None
    gpu = context.engine == "cuda"
    images = images_folder(frames)
    tasks = [
        _Extraction(str(images / name), str(mask_file(images, name)), str(features_file(out, index)), gpu)
        for index, name in enumerate(listed.names)
    ]
    missing = [task for task in tasks if not Path(task.target).exists()]
    memory = _BYTES + _BYTES_PER_PIXEL * _SIDE**2
    context.map(_extract, missing, unit="frames", done=len(tasks) - len(missing), memory=memory, gpu=gpu)
    pairs = _pairs(matching, [name in placed for name in listed.names])
    size = max(1, min(_BLOCK, math.ceil(len(pairs) / (4 * context.workers))))
    blocks = [
        _Matching(str(frames), str(out), tuple(pairs[k : k + size]), model, context.seed, gpu)
        for k in range(0, len(pairs), size)
    ]
    found = list(itertools.chain.from_iterable(context.map(_match, blocks, unit="blocks", gpu=gpu)))
    context.call(_write, str(frames), str(out), model, pairs, found, context.seed)
    return out


@reads(lambda database: [database])
def _look(database: str) -> tuple[str, int]:
    from recon3d import colmap

    return colmap.camera_model(Path(database)), colmap.features_per_image(Path(database))


def _pairs(matching: Path, placed: Sequence[bool]) -> list[Pair]:
    with np.load(matching / MATCHES) as data:
        rows = zip(data["pairs"].tolist(), data["inliers"].tolist(), strict=True)
        return [(a, b) for (a, b), inliers in rows if inliers or not (placed[a] and placed[b])]


@reads(lambda task: [task.image, task.mask])
def _extract(task: _Extraction) -> None:
    from recon3d.colmap import SiftSettings, extract_sift

    settings = SiftSettings(_SIDE, _FEATURES, -1, False, False, task.gpu, _PEAK)
    keypoints, descriptors = extract_sift(Path(task.image), settings)
    visible = visible_features(Path(task.mask), keypoints)
    write_features(Path(task.target), (keypoints[visible], descriptors[visible]))


def _block_files(task: _Matching) -> list[Path]:
    images = sorted({index for pair in task.pairs for index in pair})
    return [frame_list_file(Path(task.frames)), *(features_file(Path(task.folder), i) for i in images)]


@reads(_block_files)
def _match(task: _Matching) -> list[tuple[np.ndarray, Any]]:
    from recon3d.colmap import match_pairs, read_rows

    matches, geometries = match_pairs(
        read_rows(Path(task.frames)),
        lambda index: read_features(features_file(Path(task.folder), index)),
        task.pairs,
        task.model,
        guided=False,
        seed=task.seed,
        gpu=task.gpu,
    )
    return list(zip(matches, geometries, strict=True))


@reads(lambda frames, out, *_: [frame_list_file(Path(frames)), features_folder(Path(out))])
def _write(
    frames: str,
    out: str,
    model: str,
    pairs: Sequence[Pair],
    found: Sequence[tuple[np.ndarray, Any]],
    seed: int,
) -> None:
    """Write the database, without the features that rest while others move, and the pairs."""
    from recon3d import colmap

    folder = Path(out)
    rows = colmap.read_rows(Path(frames))
    features = [read_features(features_file(folder, index)) for index in range(len(rows))]
    positions = [keypoints[:, :2] for keypoints, _ in features]
    matches = [row[0] for row in found]
    geometries = [row[1] for row in found]
    resting = find_resting(positions, [(row.width, row.height) for row in rows], pairs, matches)
    if resting is not None:
        matches = [resting.moving(pair, each) for pair, each in zip(pairs, matches, strict=True)]
        geometries = colmap.verify_pairs(rows, lambda k: positions[k], pairs, matches, model, seed=seed)
    (folder / DATABASE).unlink(missing_ok=True)  # of an interrupted run
    colmap.write_database(folder / DATABASE, rows, model, lambda k: features[k])
    entries = zip(pairs, matches, geometries, strict=True)
    colmap.write_matches(folder / DATABASE, [(a + 1, b + 1, m, g) for (a, b), m, g in entries])
    inliers = np.array([len(geometry.inlier_matches) for geometry in geometries], np.int64)
    np.savez(folder / MATCHES, pairs=np.array(pairs, np.int32).reshape(-1, 2), inliers=inliers)
