"""Features of an image, as the stages keep them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from recon3d.io.atomic import atomic_path

Features = tuple[NDArray[np.float32], NDArray[np.uint8]]


def write_features(path: Path, features: Features) -> None:
    """Write keypoints (N, 6) and descriptors (N, 128), atomically."""
    with atomic_path(path) as temporary:
        np.savez(temporary, keypoints=features[0], descriptors=features[1])


def read_features(path: Path) -> Features:
    """Read what `write_features` wrote."""
    with np.load(path) as data:
        return data["keypoints"], data["descriptors"]
