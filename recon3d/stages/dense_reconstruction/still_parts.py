"""Masks of what stands still while the rest turns, such as the wall behind a turntable."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from recon3d.compute import reads
from recon3d.errors import InputError
from recon3d.io.masks import write_mask
from recon3d.matching.still import SIDE, still_pixels
from recon3d.types import Bytes


@reads(lambda images, names, masks: [Path(images) / name for name in names])
def hide_still_parts(images: str, names: Sequence[str], masks: str) -> float:
    """Write a mask for each frame that hides what stands still in it.

    Parameters
    ----------
    images : str
        Folder of the frames.
    names : sequence of str
    masks : str
        Folder for the masks.

    Returns
    -------
    float
        Share of the pixels that are hidden.

    Raises
    ------
    InputError
        A frame cannot be read.
    """
    groups: dict[tuple[int, ...], list[tuple[str, Bytes]]] = {}
    for name in names:
        path = Path(images) / name
        picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION)
        if picture is None:
            raise InputError(f"{path} cannot be read as an image.", "Check that the file is there and whole.")
        scale = min(1.0, SIDE / max(picture.shape))
        small = np.asarray(
            cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8
        )
        groups.setdefault(picture.shape, []).append((name, small))
    hidden = []
    for (height, width), group in groups.items():
        for (name, _), still in zip(group, still_pixels([small for _, small in group]), strict=True):
            whole = cv2.resize(still.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
            path = still_mask(masks, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_mask(path, whole == 0)
            hidden.append(float(still.mean()))
    return float(np.mean(hidden))


def still_mask(masks: str, name: str) -> Path:
    """Locate a frame's mask.

    Parameters
    ----------
    masks : str
        Folder of the masks.
    name : str
        Of the frame.

    Returns
    -------
    Path
    """
    return Path(masks) / f"{name}.png"
