"""Least-squares similarity between two sets of points."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def umeyama(source: Floats, target: Floats, *, with_scale: bool = True) -> tuple[float, Floats, Floats]:
    """Similarity that takes `source` to `target` with the least squared error [1]_.

    Parameters
    ----------
    source, target : ndarray of float64, shape (N, 3)
        Corresponding points.
    with_scale : bool
        Estimate the scale too; otherwise it is 1.

    Returns
    -------
    scale : float
    rotation : ndarray of float64, shape (3, 3)
    translation : ndarray of float64, shape (3,)
        target ≈ scale * rotation @ source + translation.

    References
    ----------
    .. [1] Umeyama, Least-Squares Estimation of Transformation Parameters Between Two Point
       Patterns, PAMI 1991.
    """
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    centred, wanted = source - source_mean, target - target_mean
    u, singular, vt = np.linalg.svd(wanted.T @ centred / len(source))
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation: Floats = (u * signs) @ vt
    variance = float((centred**2).sum() / len(source))
    scale = float((singular * signs).sum() / variance) if with_scale and variance > 0 else 1.0
    translation: Floats = target_mean - scale * rotation @ source_mean
    return scale, rotation, translation
