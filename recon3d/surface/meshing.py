"""A surface from an oriented cloud: Poisson reconstruction, cut back to what can be justified.

Poisson reconstruction closes every surface; over places without points it invents one. Whatever
is further from the points than their own local spacing allows stays only where it closes a gap.
"""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from recon3d.surface.closing import close_gaps
from recon3d.surface.connectivity import any_corner
from recon3d.surface.fairing import fair_guesses
from recon3d.surface.free_space import FreeSpace
from recon3d.surface.normals import face_areas
from recon3d.surface.poisson import Samples, Solver
from recon3d.surface.thinning import Grid, SurfacePoints
from recon3d.threads import ALONE, Threads
from recon3d.types import Floats, Mesh

Mask = NDArray[np.bool_]

#: Gaps are closed up to this share of the diagonal of the model, and up to so many cells of the grid. Where
#: points lie far apart for their detail, the surface would have twenty times the triangles that stay.
_WIDEST, _WIDEST_CELLS = 0.2, 800
#: Cells of the grid around a place that photos must see through, too.
_CELLS_AROUND = 2
#: A point's own spacing supports the surface up to this many typical ones: lonely points at borders
#: would hold flared rims.
_LONELIEST = 1.3


def solver_of(
    points: SurfacePoints, *, see_through: FreeSpace | None = None, threads: Threads = ALONE
) -> Solver:
    """Make what computes the field of a surface, closed also where no points are.

    Parameters
    ----------
    points : SurfacePoints
    see_through : FreeSpace, optional
        What photos see through.
    threads : Threads, optional

    Returns
    -------
    Solver
    """
    assert points.cloud.normals is not None
    samples = Samples(points.cloud.points, points.cloud.normals, points.weights)
    return Solver(
        samples,
        points.grid.cell,
        levels=points.levels,
        gap=_widest_gap(points.grid) / 2,
        see_through=see_through,
        threads=threads,
    )


def _widest_gap(grid: Grid) -> float:
    return min(_WIDEST * grid.diagonal, _WIDEST_CELLS * grid.cell)


def justified(
    mesh: Mesh,
    points: SurfacePoints,
    *,
    trim_factor: float = 3.0,
    see_through: FreeSpace | None = None,
    threads: Threads = ALONE,
) -> Mesh:
    """Cut a surface where neither points nor a gap between them justify it.

    Parameters
    ----------
    mesh : Mesh
    points : SurfacePoints
        Of which it was made.
    trim_factor : float
        Beyond this many spacings from the points the surface is a guess.
    see_through : FreeSpace, optional
        What photos see through.
    threads : Threads, optional

    Returns
    -------
    Mesh
        It tells which vertices close gaps, without points nearby.
    """
    supported = near_points(mesh.vertices, points, trim_factor, threads)
    empty = np.zeros(len(supported), bool)
    if see_through is not None:
        empty[~supported] = see_through(mesh.vertices[~supported], _CELLS_AROUND * points.grid.cell)
    mesh, guessed = close_gaps(mesh, supported, empty, _widest_gap(points.grid), threads)
    return replace(mesh, guessed=guessed)


def with_shaped_guesses(mesh: Mesh, grid: Grid, see_through: FreeSpace | None = None) -> tuple[Mesh, float]:
    """Shape what closes gaps by what is around it.

    Parameters
    ----------
    mesh : Mesh
        From `justified`.
    grid : Grid
        Of its points.
    see_through : FreeSpace, optional
        What photos see through.

    Returns
    -------
    mesh : Mesh
        Same faces, and same guesses.
    guessed : float
        Share of its area that closes gaps.
    """
    assert mesh.guessed is not None
    guessed, exposure = mesh.guessed, None
    if see_through is not None:
        exposure = functools.partial(see_through.exposure, radius=_CELLS_AROUND * grid.cell)
    mesh = fair_guesses(mesh, guessed, exposure)
    mesh = replace(mesh, guessed=guessed)
    return mesh, guessed_share(mesh)


def guessed_share(mesh: Mesh) -> float:
    """Measure how much of a surface closes gaps.

    Parameters
    ----------
    mesh : Mesh
        With the marks of guesses.

    Returns
    -------
    float
        Share of its area.
    """
    assert mesh.guessed is not None
    areas = face_areas(mesh.vertices, mesh.faces)
    return float(areas[any_corner(mesh.guessed, mesh.faces)].sum() / max(areas.sum(), 1e-300))


def near_points(vertices: Floats, points: SurfacePoints, factor: float, threads: Threads = ALONE) -> Mask:
    """Tell which vertices are nearer to points than `factor` times their local spacing.

    Parameters
    ----------
    vertices : ndarray of float64, shape (V, 3)
    points : SurfacePoints
    factor : float
    threads : Threads, optional

    Returns
    -------
    ndarray of bool, shape (V,)
        Those within a cell of the grid are near in any case.
    """
    spacing, tree = points.spacing, cKDTree(points.cloud.points, balanced_tree=False)
    distance, nearest = tree.query(vertices, workers=threads.count)
    allowed = factor * np.clip(spacing.local[nearest], spacing.typical, _LONELIEST * spacing.typical)
    return np.asarray(distance <= np.maximum(allowed, points.grid.cell))
