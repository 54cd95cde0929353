"""Screened Poisson reconstruction, cut back to where there are points.

Poisson reconstruction closes every surface; over places without points it invents one. Whatever
is further from the points than their own local spacing allows is therefore cut off.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import open3d as o3d
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from recon3d.errors import ReconstructionError
from recon3d.types import Mesh, PointCloud

Floats = NDArray[np.float64]

_NEIGHBORS = 8
#: A point whose neighbours are this many times further than is usual around it is noise.
_OUTLIER = 3.0
_DEPTHS = (6, 11)
_MARGIN = 1.1
#: Triangles that a cell on the surface gives, about.
_FACES_PER_CELL = 2.4
#: Triangles before decimation for each one kept: fewer would lose detail.
_SPARE = 3.0
_LEAST_POINTS = 100
#: Points that are enough to tell a surface's area.
_AREA_SAMPLE = 300_000
#: Voxels that a square of their size on a surface of any direction touches, about.
_VOXELS_PER_CELL = 1.5


@dataclass(frozen=True)
class Spacing:
    """How far apart points are.

    Parameters
    ----------
    local : ndarray of float64, shape (N,)
        Distance of each point to its neighbours.
    typical : float
        Median of `local`.
    """

    local: Floats
    typical: float


def point_spacing(points: Floats) -> Spacing:
    """Side of the square that each point has to itself, from its 8 nearest neighbours.

    Parameters
    ----------
    points : ndarray of float64, shape (N, 3)

    Returns
    -------
    Spacing
    """
    distances, _ = cKDTree(points).query(points, k=min(_NEIGHBORS + 1, len(points)), workers=1)
    # On a surface the k-th neighbour is sqrt(k / pi) such sides away.
    local = np.sqrt((distances[:, 1:] ** 2).mean(axis=1) * 2 * np.pi / (_NEIGHBORS + 1))
    return Spacing(local, float(np.median(local)))


def remove_outliers(cloud: PointCloud, spacing: Spacing) -> tuple[PointCloud, Spacing]:
    """Remove points that are much lonelier than their neighbours.

    Parameters
    ----------
    cloud : PointCloud
    spacing : Spacing
        Of the cloud's points.

    Returns
    -------
    (PointCloud, Spacing)
        The remaining points and their spacing.
    """
    tree = cKDTree(cloud.points)
    _, near = tree.query(cloud.points, k=min(_NEIGHBORS + 1, len(cloud)), workers=1)
    usual = np.median(spacing.local[near], axis=1)
    keep = spacing.local < _OUTLIER * np.minimum(usual, 3.0 * spacing.typical)
    return cloud.subset(keep), Spacing(spacing.local[keep], spacing.typical)


def octree_depth(points: Floats, spacing: Spacing, faces: int) -> int:
    """Choose the depth of the octree for a surface of about `faces` triangles.

    Its cells are about as large as the points' spacing, but no smaller than leaves some times
    the triangles that are kept in the end: deeper trees cost much and are decimated away.

    Parameters
    ----------
    points : ndarray of float64, shape (N, 3)
    spacing : Spacing
        Of `points`.
    faces : int

    Returns
    -------
    int
    """
    area = float((np.minimum(spacing.local, 4 * spacing.typical) ** 2).sum())
    cell = max(spacing.typical, np.sqrt(_FACES_PER_CELL * area / (_SPARE * faces)), 1e-12)
    depth = int(np.ceil(np.log2(max(_extent(points) / cell, 2.0))))
    return int(np.clip(depth, *_DEPTHS))


def _extent(points: Floats) -> float:
    """Side of the cube that Poisson reconstruction puts around the points."""
    return float((points.max(axis=0) - points.min(axis=0)).max()) * _MARGIN


def poisson_mesh(cloud: PointCloud, depth: int) -> Mesh:
    """Screened Poisson reconstruction [1]_ by Open3D.

    Parameters
    ----------
    cloud : PointCloud
        With normals that point outwards.
    depth : int
        Depth of the octree.

    Returns
    -------
    Mesh

    Raises
    ------
    ReconstructionError
        There are too few points, or they have no normals.

    References
    ----------
    .. [1] Kazhdan and Hoppe, Screened Poisson Surface Reconstruction, TOG 2013.
    """
    if len(cloud) < _LEAST_POINTS or cloud.normals is None:
        raise ReconstructionError(
            f"{len(cloud)} points are too few for a surface.",
            "Take more images that overlap, or use a higher quality.",
        )
    given = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(cloud.points))
    given.normals = o3d.utility.Vector3dVector(cloud.normals.astype(np.float64))
    # One thread: with more, sums are made in another order each time.
    made, _ = o3d.geometry.TriangleMesh.create_from_point_cloud_poisson(
        given, depth=depth, n_threads=1, scale=_MARGIN
    )
    return Mesh(np.asarray(made.vertices), np.asarray(made.triangles).astype(np.int32))


def trim(mesh: Mesh, points: Floats, spacing: Spacing, factor: float, cell: float) -> Mesh:
    """Cut off what lies further from the points than `factor` times their local spacing.

    Parameters
    ----------
    mesh : Mesh
    points : ndarray of float64, shape (N, 3)
    spacing : Spacing
        Of `points`.
    factor : float
    cell : float
        Size of the octree's cells: no vertex is nearer to the surface than that.

    Returns
    -------
    Mesh
    """
    distance, nearest = cKDTree(points).query(mesh.vertices, workers=1)
    allowed = factor * np.clip(spacing.local[nearest], spacing.typical, 4 * spacing.typical)
    near = distance <= np.maximum(allowed, cell)
    faces = mesh.faces[near[mesh.faces].all(axis=1)]
    return Mesh(mesh.vertices, faces)


def surface_from_points(
    cloud: PointCloud, *, faces: int = 200_000, depth: int = 0, trim_factor: float = 3.0
) -> tuple[Mesh, dict[str, float]]:
    """Surface of an oriented cloud, open where there are no points.

    Parameters
    ----------
    cloud : PointCloud
    faces : int
        Triangles that are wanted in the end, about.
    depth : int
        Depth of the octree; 0 chooses it by `octree_depth`.
    trim_factor : float
        See `trim`.

    Returns
    -------
    mesh : Mesh
    facts : dict
        Number of points used, octree depth, spacing.

    Raises
    ------
    ReconstructionError
        There are too few points.
    """
    if len(cloud) < _LEAST_POINTS:
        return poisson_mesh(cloud, 6), {}
    cloud, spacing = remove_outliers(cloud, point_spacing(cloud.points))
    depth = depth or octree_depth(cloud.points, spacing, faces)
    cell = _extent(cloud.points) / 2**depth
    used = _thinned(cloud, cell / 2)
    mesh = poisson_mesh(used, depth)
    mesh = trim(mesh, cloud.points, spacing, trim_factor, cell)
    return mesh, {"points_used": len(used), "octree_depth": depth, "spacing": spacing.typical}


def at_most(cloud: PointCloud, count: int) -> PointCloud:
    """Thin a cloud evenly over its surface, so that trees over it fit in memory.

    Parameters
    ----------
    cloud : PointCloud
    count : int
        Most points of the result, about.

    Returns
    -------
    PointCloud
    """
    if len(cloud) <= count:
        return cloud
    # A part of the points tells the surface's area: each then stands for more of it.
    local = point_spacing(cloud.points[:: max(1, len(cloud) // _AREA_SAMPLE)])
    area = float((np.minimum(local.local, 4 * local.typical) ** 2).sum())
    return _thinned(cloud, float(np.sqrt(_VOXELS_PER_CELL * area / count)))


def _thinned(cloud: PointCloud, voxel: float) -> PointCloud:
    """One mean point, normal and colour in each voxel: the octree cannot use more."""
    given = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(cloud.points))
    if cloud.normals is not None:
        given.normals = o3d.utility.Vector3dVector(cloud.normals.astype(np.float64))
    if cloud.colors is not None:
        given.colors = o3d.utility.Vector3dVector(cloud.colors / 255.0)
    thin = given.voxel_down_sample(voxel)
    colors = None if cloud.colors is None else np.round(255 * np.asarray(thin.colors)).astype(np.uint8)
    normals = None if cloud.normals is None else np.asarray(thin.normals).astype(np.float32)
    return PointCloud(np.array(thin.points), normals, colors)
