"""What the tasks of feature_matching hand on: blocks of pairs with their matches."""

from __future__ import annotations

import functools
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from recon3d.io.atomic import atomic_path
from recon3d.io.feature_files import read_keypoints
from recon3d.layout import features_file

Pair = tuple[int, int]
#: Pairs, their matches, and their pycolmap.TwoViewGeometry.
Block = tuple[Sequence[Pair], list[np.ndarray], list[Any]]

#: Inliers that a verified pair has at least.
MIN_INLIERS = 15


def write_block(path: Path, block: Block) -> None:
    """Write a block, atomically.

    Parameters
    ----------
    path : Path
    block : Block
    """
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        pickle.dump(block, file)


def read_block(path: Path) -> Block:
    """Read a file of `write_block`.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Block
    """
    with open(path, "rb") as file:
        pairs, matches, geometries = pickle.load(file)  # our own file, in our own folder
    return pairs, matches, geometries


def positions_of(features: Path) -> Callable[[int], np.ndarray]:
    """Make a function that gives the pixels of an image's features, and remembers them.

    Parameters
    ----------
    features : Path
        Folder of the feature_extraction artifact.

    Returns
    -------
    callable
        Takes an image's index; returns an array of shape (N, 2).
    """

    @functools.cache
    def positions(index: int) -> np.ndarray:
        return read_keypoints(features_file(features, index))[:, :2].copy()

    return positions
