"""Reprojection errors that are far from usual, and what is likely behind them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recon3d.layout import RegisteredImage
from recon3d.stages.sparse_reconstruction.mapping_tasks import MISPLACED

#: Mean reprojection error that is unusual, in pixels and as a share of the longer side. Good sets have
#: 0.0003 to 0.0007 of the side; two zooms with one camera have 0.001.
_UNUSUAL = 0.75
_UNUSUAL_SHARE = 0.0009
#: Larger errors do not occur: the mapper drops points beyond 4 pixels.
_LIMIT = 2.0
#: An image's error is unusual from so many medians on.
_MEDIANS = 2.5
#: Images that a message names.
_NAMED = 6


def unusual_residuals(images: Sequence[RegisteredImage], longer_side: int) -> list[str]:
    """Say which reprojection errors are unusual, and why they may be.

    Parameters
    ----------
    images : sequence of RegisteredImage
    longer_side : int
        Of the images, in pixels.

    Returns
    -------
    list of str
        Messages; none where the errors are usual.
    """
    placed = [image for image in images if image.registered and image.error is not None and image.points]
    if not placed:
        return []
    errors = np.array([image.error for image in placed], np.float64)
    usual = float(np.clip(_UNUSUAL_SHARE * longer_side, _UNUSUAL, _LIMIT))
    mean = float(np.average(errors, weights=[image.points for image in placed]))
    if mean > usual:
        return [
            f"The reprojection error is unusual: {mean:.2f} px on average, where {usual:.2f} px is much."
            " Likely causes are things that moved, a rolling shutter or image stabilization, or a lens that"
            " the camera model does not describe. Check the model's shape; for a wide lens set"
            " feature_extraction.camera_model to OPENCV."
        ]
    median = float(np.median(errors))
    limit = max(_UNUSUAL, _MEDIANS * median)
    more, fewer = MISPLACED
    few = fewer * float(np.median([image.points for image in placed]))
    odd = [
        image.name
        for image, error in zip(placed, errors, strict=True)
        if error > limit or (error > max(_UNUSUAL, more * median) and image.points < few)
    ]
    if not odd:
        return []
    listed = ", ".join(odd[:_NAMED]) + (f" and {len(odd) - _NAMED} more" if len(odd) > _NAMED else "")
    return [
        f"{len(odd)} image{'s fit' if len(odd) > 1 else ' fits'} the model badly, where {median:.2f} px is"
        f" usual: {listed}. They"
        " may be blurred, zoomed, edited or misplaced, or show things that moved. Leave them out if the model"
        " is damaged there."
    ]
