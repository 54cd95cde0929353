"""How open a surface is to light from all around: ambient occlusion, by rays."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from recon3d.rendering.render import raycasting_scene

Floats = NDArray[np.float64]
Floats32 = NDArray[np.float32]
Ints = NDArray[np.int32]

#: Rays of a place, and places whose rays are cast at once.
_RAYS, _TOGETHER = 96, 40_000
#: How far rays reach, and how far from the surface they begin, in diagonals of the surface.
_REACH, _OFF = 0.2, 5e-4


def openness(vertices: Floats, faces: Ints, places: Floats, normals: Floats32) -> Floats32:
    """Compute how much of the light from all around reaches places of a surface.

    Rays are spread over the half-space above a place so that each carries as much light (cosine-weighted; a
    Fibonacci lattice [1]_, the same for all places). One that meets the surface counts the more the nearer it
    does: what is further than a fifth of the surface's diagonal hides nothing, so that rooms are not dark.

    Parameters
    ----------
    vertices : ndarray of float64, shape (V, 3)
        Of the surface.
    faces : ndarray of int32, shape (F, 3)
    places : ndarray of float64, shape (N, 3)
    normals : ndarray of float32, shape (N, 3)
        Unit vectors.

    Returns
    -------
    ndarray of float32, shape (N,)
        From 0, closed, to 1, open.

    References
    ----------
    .. [1] Marques, Bouville, Ribardiere, Santos, Bouatouch: Spherical Fibonacci point sets for illumination
       integrals, Computer Graphics Forum 2013.
    """
    import open3d as o3d

    low, high = vertices.min(axis=0), vertices.max(axis=0)
    diagonal = float(np.linalg.norm(high - low))
    # float32 would round surveyed coordinates.
    scene = raycasting_scene(vertices - low, faces)
    local = _hemisphere(_RAYS)
    open_share = np.empty(len(places), np.float32)
    for start in range(0, len(places), _TOGETHER):
        part = slice(start, start + _TOGETHER)
        normal = normals[part].astype(np.float32)
        across = _across(normal)
        frame = np.stack([across, np.cross(normal, across), normal], axis=1)
        rays = np.empty((len(normal), _RAYS, 6), np.float32)
        rays[..., :3] = (places[part] - low + _OFF * diagonal * normal)[:, None]
        rays[..., 3:] = local @ frame
        far = scene.cast_rays(o3d.core.Tensor.from_numpy(rays))["t_hit"].numpy()
        open_share[part] = np.minimum(np.square(far / np.float32(_REACH * diagonal)), 1).mean(axis=1)
    return open_share


def _hemisphere(count: int) -> Floats32:
    """Directions around +z, the denser the higher: shape (count, 3)."""
    number = np.arange(count)
    height = np.sqrt(1 - (number + 0.5) / count)
    turn = number * np.pi * (3 - np.sqrt(5))
    radius = np.sqrt(1 - height * height)
    return np.stack([radius * np.cos(turn), radius * np.sin(turn), height], axis=1).astype(np.float32)


def _across(normals: Floats32) -> Floats32:
    """A unit vector at a right angle to each."""
    axis = np.zeros_like(normals)
    np.put_along_axis(axis, np.abs(normals).argmin(axis=1)[:, None], 1, axis=1)
    across = np.cross(axis, normals)
    unit: Floats32 = (across / np.linalg.norm(across, axis=1, keepdims=True)).astype(np.float32)
    return unit
