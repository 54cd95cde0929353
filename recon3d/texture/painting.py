"""A mesh painted from the photos that were chosen, step by step.

Most steps work on a page of the atlas, and know of the other pages only what these show at the seams.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recon3d.texture.assemble import Choice
from recon3d.texture.atlas import Atlas, cell_corners
from recon3d.texture.blending import blend_seams
from recon3d.texture.charts import Layout, build_charts
from recon3d.texture.fill import unseen_corner_colors
from recon3d.texture.grid import grid_of
from recon3d.texture.pages import Page, Plan, in_pages, pages_needed, parts_of_charts
from recon3d.texture.seams import Sampling, find_seams, global_corrections, seam_differences
from recon3d.texture.shapes import BLOCK
from recon3d.texture.topology import face_pairs
from recon3d.threads import ALONE, Threads
from recon3d.types import Bytes, Floats, Floats32, Ints, Mesh, View


@dataclass(frozen=True)
class TextureCounts:
    """What went into a texture.

    Parameters
    ----------
    faces_seen, faces_unseen : int
        Faces painted from a photo, and from their neighbours.
    views_used : int
        Views that paint at least one face.
    charts : int
    outliers : int
        As in `Choice`.
    pages : int
        Squares of the texture.
    atlas_size : int
        Side of a page.
    scale : float
        Texels a pixel of the photos: 1, or less when the texture was too small; the least of all pages.
    filled : float
        Share of the texture that faces cover.
    doubted : float
        As in `Choice`.
    """

    faces_seen: int
    faces_unseen: int
    views_used: int
    charts: int
    outliers: int
    pages: int
    atlas_size: int
    scale: float
    filled: float
    doubted: float


@dataclass(frozen=True, eq=False)
class Painted:
    """What one view paints.

    Parameters
    ----------
    view : int
    color : ndarray of int16, shape (N, 2, 2, 3)
        Texels of the plan's blocks of this view, in the units of `Atlas`.
    """

    view: int
    color: NDArray[np.int16]


@dataclass(frozen=True, eq=False)
class Shown:
    """What a page shows to the others.

    Parameters
    ----------
    sides : ndarray of int16, shape (M, 3)
        Colours along its sides of seams, from `Sampling.colors`.
    nodes : ndarray of float64, shape (N, 3)
        Gray levels of its nodes.
    """

    sides: NDArray[np.int16]
    nodes: Floats


@dataclass(frozen=True, eq=False)
class Levels:
    """How the charts are corrected so that they meet, and the colours of what no photo shows.

    Parameters
    ----------
    points : ndarray of int16, shape (T, 2, 3)
        Colours along both sides of the seams before the correction: see `Sampling`.
    offsets : ndarray of float64, shape (N, 3)
        Correction of each node, in gray levels.
    corners : ndarray of float64, shape (U, 3, 3)
        Gray levels of the corners of each face without a view.
    """

    points: NDArray[np.int16]
    offsets: Floats
    corners: Floats


def plan_atlas(mesh: Mesh, choice: Choice, views: Sequence[View], texture_size: int, pages: int = 1) -> Plan:
    """Group the faces into charts, and these into pages.

    Parameters
    ----------
    mesh : Mesh
    choice : Choice
        Both from `choose_photos`.
    views : sequence of View
        With pinhole cameras.
    texture_size : int
        Largest side of a page.
    pages : int
        How many there may be.

    Returns
    -------
    Plan
    """
    pairs = face_pairs(mesh.faces)
    charts = build_charts(mesh, pairs, choice.labels, views)
    if pages > 1 and pages_needed(charts, texture_size) > 1:
        parts = parts_of_charts(charts, texture_size)
        if parts is not None:
            charts = build_charts(mesh, pairs, choice.labels, views, parts)
    charts, starts = in_pages(charts, mesh.vertices, texture_size, pages)
    return Plan(charts, starts, find_seams(charts, pairs, choice.quality))


def paint_view(page: Page, view: int, photo: Bytes, gain: Floats) -> Painted:
    """Copy what one view paints in a page from its photo.

    Parameters
    ----------
    page : Page
    view : int
    photo : ndarray of uint8, shape (H, W, 3)
        Undistorted.
    gain : ndarray of float64, shape (3,)
        Of the channels.

    Returns
    -------
    Painted
    """
    atlas = Atlas.empty(page.layout.size)
    atlas.paint(photo, page.charts, page.layout, view, gain)
    rows, columns = page.blocks(view)
    return Painted(view, _in_blocks(atlas)[rows, :, columns])


def joined(page: Page, painted: Iterable[Painted], threads: Threads = ALONE) -> Atlas:
    """Put what the views paint into one page.

    Parameters
    ----------
    page : Page
    painted : iterable of Painted
        Of all views that paint something in it.
    threads : Threads, optional

    Returns
    -------
    Atlas
    """
    atlas = Atlas.empty(page.layout.size)
    for part in painted:
        rows, columns = page.blocks(part.view)
        _in_blocks(atlas)[rows, :, columns] = part.color
    atlas.outline(page.charts, page.layout, threads)
    return atlas


def shown(page: Page, nodes: range, atlas: Atlas, sampling: Sampling) -> Shown:
    """Look up what the other pages must know of one.

    Parameters
    ----------
    page : Page
    nodes : range
        From `Plan.nodes`.
    atlas : Atlas
        From `joined`.
    sampling : Sampling

    Returns
    -------
    Shown
    """
    xy = page.layout.node_xy
    return Shown(sampling.colors(atlas, xy, nodes), atlas.sample(xy))


def levels(plan: Plan, mesh: Mesh, pages: Sequence[Shown], sampling: Sampling, *, level: bool) -> Levels:
    """Find corrections of the charts, each as a whole, so that they meet at the seams.

    Parameters
    ----------
    plan : Plan
    mesh : Mesh
    pages : sequence of Shown
        Of each page.
    sampling : Sampling
    level : bool
        False corrects nothing.

    Returns
    -------
    Levels
    """
    nodes = [plan.nodes(number) for number in range(plan.pages)]
    points = sampling.together(nodes, [page.sides for page in pages])
    offsets = np.zeros((len(plan.charts.node_vertex), 3))
    if level:
        differences = seam_differences(sampling, points)
        offsets = global_corrections(plan.charts, sampling.seams, *differences)
    corners = np.zeros((0, 3, 3))
    if plan.charts.cells.count:
        colors = np.concatenate([page.nodes for page in pages]) + offsets
        corners = unseen_corner_colors(mesh, plan.charts, colors)
    return Levels(points, offsets, corners)


def finished(
    page: Page,
    nodes: range,
    atlas: Atlas,
    made: Levels,
    sampling: Sampling,
    *,
    level: bool,
    threads: Threads = ALONE,
) -> Bytes:
    """Correct a page, close the steps that are left at the seams, and fill what no photo shows.

    Parameters
    ----------
    page : Page
    nodes : range
        From `Plan.nodes`.
    atlas : Atlas
        From `joined`; changed.
    made : Levels
    sampling : Sampling
    level : bool
        False corrects nothing.
    threads : Threads, optional

    Returns
    -------
    ndarray of uint8, shape (S, S, 3)
    """
    charts, layout = page.charts, page.layout
    if level:
        atlas.correct(charts, layout, made.offsets[nodes.start : nodes.stop], threads)
        blend_seams(atlas, page, nodes, sampling, made.points, made.offsets, threads=threads)
    if len(layout.cells):
        atlas.fill_cells(charts, layout, made.corners)
    return atlas.finish(layout, threads)


def count_texture(
    mesh: Mesh, choice: Choice, views: Sequence[View], plan: Plan, layouts: Sequence[Layout], inside: int
) -> TextureCounts:
    """Count what went into a texture.

    Parameters
    ----------
    mesh : Mesh
    choice : Choice
    views : sequence of View
    plan : Plan
    layouts : sequence of Layout
        Of the pages.
    inside : int
        Texels that faces cover.

    Returns
    -------
    TextureCounts
    """
    unseen = int(np.count_nonzero(plan.charts.face_chart < 0))
    largest = max((max(v.camera.width, v.camera.height) for v in views), default=1)
    side = max(layout.size for layout in layouts)
    scale = min(float(layout.image_sizes.max(initial=1)) for layout in layouts)
    return TextureCounts(
        faces_seen=len(mesh.faces) - unseen,
        faces_unseen=unseen,
        views_used=len(np.unique(plan.charts.chart_view)),
        charts=len(plan.charts),
        outliers=choice.outliers,
        pages=plan.pages,
        atlas_size=side,
        scale=round(scale / largest, 4),
        filled=round(inside / (plan.pages * side * side), 4),
        doubted=round(choice.doubted, 4),
    )


def texture_coordinates(plan: Plan, layouts: Sequence[Layout]) -> tuple[Floats32, Ints, tuple[int, int]]:
    """Compute the corners' places in the atlas, whose pages stand in rows.

    Parameters
    ----------
    plan : Plan
    layouts : sequence of Layout
        Of the pages.

    Returns
    -------
    uv : ndarray of float32, shape (T, 2)
        (0, 0) is the lower left corner of all pages. Each belongs to one vertex.
    face_uv : ndarray of int32, shape (F, 3)
        Each face's indices into `uv`.
    grid : tuple of int
        Rows and columns of pages; the last row may have fewer.
    """
    side, charts = max(layout.size for layout in layouts), plan.charts
    rows, columns = grid_of(len(layouts))
    corners = cell_corners(charts, layouts[-1])
    places = [layout.node_xy for layout in layouts]
    places[-1] = np.concatenate([places[-1], corners.reshape(-1, 2)])
    origins = [np.array(divmod(number, columns)[::-1]) * side for number in range(len(layouts))]
    xy: Floats = np.concatenate([place + origin for place, origin in zip(places, origins, strict=True)])
    whole = np.array([columns, rows]) * side
    uv = np.stack([xy[:, 0], whole[1] - xy[:, 1]], axis=1) / whole
    face_uv = charts.face_nodes.copy()
    first = len(charts.node_vertex)
    face_uv[charts.face_chart < 0] = first + np.arange(3 * len(corners), dtype=np.int32).reshape(-1, 3)
    return np.clip(uv, 0, 1).astype(np.float32), face_uv, (rows, columns)


def _in_blocks(atlas: Atlas) -> NDArray[np.int16]:
    """The atlas' colours by row and place of blocks: shape (S / 2, 2, S / 2, 2, 3)."""
    side = atlas.color.shape[0] // BLOCK
    return atlas.color.reshape(side, BLOCK, side, BLOCK, 3)
