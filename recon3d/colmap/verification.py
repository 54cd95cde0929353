"""Two-view geometry of matches that are known already."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pycolmap

from recon3d.colmap.database import Array, ImageRow, camera_of


def verify_pairs(
    rows: Sequence[ImageRow],
    keypoints: Callable[[int], Array],
    pairs: Sequence[tuple[int, int]],
    matches: Sequence[Array],
    model: str,
    *,
    seed: int,
) -> list[Any]:
    """Verify matches geometrically, as `match_pairs` does after matching.

    Parameters
    ----------
    rows : sequence of ImageRow
        All images.
    keypoints : callable
        Gives the keypoints, shape (N, 6), of a row's index.
    pairs : sequence of (int, int)
        Indices of rows.
    matches : sequence of ndarray of uint32, shape (M, 2)
        Of each pair.
    model : str
        COLMAP's camera model.
    seed : int

    Returns
    -------
    list of pycolmap.TwoViewGeometry
        Picklable.
    """
    options = pycolmap.TwoViewGeometryOptions()
    options.ransac.random_seed = seed
    geometries = []
    for (i, j), found in zip(pairs, matches, strict=True):
        if len(found) < options.min_num_inliers:
            geometries.append(pycolmap.TwoViewGeometry())
            continue
        first, second = (np.asarray(keypoints(k)[:, :2], np.float64) for k in (i, j))
        geometries.append(
            pycolmap.estimate_two_view_geometry(
                camera_of(model, rows[i]), first, camera_of(model, rows[j]), second, found, options
            )
        )
    return geometries


def guide(geometry: Any) -> tuple[Array, bool] | None:
    """Tell where a verified pair's matches lie.

    Parameters
    ----------
    geometry : pycolmap.TwoViewGeometry

    Returns
    -------
    (ndarray of float64, shape (3, 3); bool) or None
        Fundamental matrix or homography, and whether it is the latter. None without a geometry.
    """
    kinds = pycolmap.TwoViewGeometryConfiguration
    if geometry.config in (kinds.CALIBRATED, kinds.UNCALIBRATED):
        return None if geometry.F is None else (geometry.F, False)
    if geometry.config in (kinds.PLANAR, kinds.PANORAMIC, kinds.PLANAR_OR_PANORAMIC):
        return None if geometry.H is None else (geometry.H, True)
    return None
