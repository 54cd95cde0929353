"""Two models of one subject in one world."""

from __future__ import annotations

import numpy as np

from recon3d.rendering.framing import axes
from recon3d.similarity import umeyama
from recon3d.viewer.view_content import Content

#: Cameras that both need, at least.
_SHARED = 3


def aligned(moved: Content, fixed: Content) -> Content | None:
    """Move a model onto another by the cameras that have the same names.

    Parameters
    ----------
    moved, fixed : Content

    Returns
    -------
    Content or None
        `moved` in the world of `fixed` and relative to its origin; None without enough common cameras.
    """
    by_cameras = _by_cameras(moved, fixed)
    if by_cameras is None and moved.reconstruction and moved.reconstruction == fixed.reconstruction:
        return moved.placed(1.0, np.eye(3), np.zeros(3), fixed.origin)
    return by_cameras


def _by_cameras(moved: Content, fixed: Content) -> Content | None:
    shared = sorted(set(fixed.names) & set(moved.names))
    if len(shared) < _SHARED:
        return None
    centers = [
        content.frusta[[content.names.index(name) for name in shared], 0, 0] + content.origin
        for content in (moved, fixed)
        if content.frusta is not None
    ]
    spread = np.linalg.svd(centers[0] - centers[0].mean(axis=0), compute_uv=False)
    if spread[1] < 1e-3 * spread[0]:
        return None  # on one line: the turn about it is open
    return moved.placed(*umeyama(centers[0], centers[1]), origin=fixed.origin)


def facing(moved: Content, fixed: Content) -> Content:
    """Move a model so that its first view is that of another: about the same place, size and side.

    Parameters
    ----------
    moved, fixed : Content

    Returns
    -------
    Content
        `moved` in the world of `fixed` and relative to its origin.
    """
    here, there = moved.opening, fixed.opening
    scale = there.distance(1.0) / here.distance(1.0)
    rotation = axes(there.back, there.up).T @ axes(here.back, here.up)
    target = fixed.origin + there.target
    shift = target - scale * rotation @ (moved.origin + here.target)
    return moved.placed(scale, rotation, shift, fixed.origin)
