"""Similarities: fitting one to two sets of points, and scaling the types of the geometry."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from recon3d.types import Mesh, PointCloud, Scene, TexturedMesh, View

Scalable = TypeVar("Scalable", Scene, PointCloud, Mesh, TexturedMesh)
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


def scaled(thing: Scalable, factor: float) -> Scalable:
    """Scale a thing about the world's origin.

    Normals, colours and textures stay. A scene's unit becomes metres.

    Parameters
    ----------
    thing : Scalable
    factor : float

    Returns
    -------
    object
        Of the type of `thing`.
    """
    given: Any = thing
    larger: Any
    if isinstance(given, Scene):
        points = replace(given.points, xyz=given.points.xyz * factor)
        larger = replace(
            given, views=tuple(_view(v, factor) for v in given.views), points=points, unit="m", scale=None
        )
    elif isinstance(given, PointCloud):
        larger = replace(given, points=given.points * factor)
    else:
        larger = replace(given, vertices=given.vertices * factor)
    return cast("Scalable", larger)


def _view(view: View, factor: float) -> View:
    pose = np.array(view.cam_from_world)
    pose[:3, 3] *= factor
    return replace(view, cam_from_world=pose)
