"""A mesh painted from the photos that were chosen, step by step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from recon3d.texture.assemble import Choice
from recon3d.texture.atlas import Atlas, cell_corners
from recon3d.texture.blending import blend_seams
from recon3d.texture.charts import Charts, Layout, build_charts, lay_out
from recon3d.texture.fill import unseen_corner_colors
from recon3d.texture.seams import Seams, find_seams, global_corrections, seam_differences
from recon3d.texture.shapes import BLOCK
from recon3d.texture.texels import INSIDE
from recon3d.texture.topology import face_pairs
from recon3d.threads import ALONE, Threads
from recon3d.types import Bytes, Floats, Floats32, Ints, Mesh, TexturedMesh, View


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
    atlas_size : int
        Side of the texture.
    scale : float
        Texels a pixel of the photos: 1, or less when the texture was too small.
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
    atlas_size: int
    scale: float
    filled: float
    doubted: float


@dataclass(frozen=True, eq=False)
class Plan:
    """Where the atlas has which faces.

    Parameters
    ----------
    charts : Charts
    layout : Layout
    seams : Seams
    """

    charts: Charts
    layout: Layout
    seams: Seams

    @property
    def views(self) -> Ints:
        """Numbers of the views that paint something."""
        return np.unique(self.charts.chart_view)

    def blocks(self, view: int) -> tuple[NDArray[np.int64], ...]:
        """Rows and columns of the blocks of texels that a view paints.

        Parameters
        ----------
        view : int

        Returns
        -------
        tuple of ndarray of int64, shape (N,)
        """
        order, starts = self._by_view
        return np.divmod(order[starts[view] : starts[view + 1]], self.layout.owner.shape[1])

    @cached_property
    def _by_view(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Blocks, sorted by the view that paints them, and where those of each view begin."""
        # Blocks of cells have the number after all charts'; those of nobody have -1.
        view = np.append(self.charts.chart_view, [-1, -1])
        count = int(view.max()) + 1
        painting = view.astype(np.int16 if count < 1 << 15 else np.int32)[self.layout.owner.reshape(-1)]
        order = np.argsort(painting, kind="stable")
        return order, np.searchsorted(painting, np.arange(count + 1), sorter=order)


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


def plan_atlas(mesh: Mesh, choice: Choice, views: Sequence[View], texture_size: int) -> Plan:
    """Find places in the atlas.

    Parameters
    ----------
    mesh : Mesh
    choice : Choice
        Both from `choose_photos`.
    views : sequence of View
        With pinhole cameras.
    texture_size : int
        Largest side of the texture.

    Returns
    -------
    Plan

    Raises
    ------
    OptionError
        `texture_size` is too small for the charts.
    """
    pairs = face_pairs(mesh.faces)
    charts = build_charts(mesh, pairs, choice.labels, views)
    return Plan(charts, lay_out(charts, views, texture_size), find_seams(charts, pairs, choice.quality))


def paint_view(plan: Plan, view: int, photo: Bytes, gain: Floats) -> Painted:
    """Copy what one view paints from its photo.

    Parameters
    ----------
    plan : Plan
    view : int
    photo : ndarray of uint8, shape (H, W, 3)
        Undistorted.
    gain : ndarray of float64, shape (3,)
        Of the channels.

    Returns
    -------
    Painted
    """
    atlas = Atlas.empty(plan.layout.size)
    atlas.paint(photo, plan.charts, plan.layout, view, gain)
    rows, columns = plan.blocks(view)
    return Painted(view, _in_blocks(atlas)[rows, :, columns])


def joined(plan: Plan, painted: Iterable[Painted], *, level: bool, threads: Threads = ALONE) -> Atlas:
    """Put what the views paint into one atlas.

    Parameters
    ----------
    plan : Plan
    painted : iterable of Painted
        Of all views of the plan.
    level : bool
        Correct the colours of each chart as a whole, so that they meet at the seams.
    threads : Threads, optional

    Returns
    -------
    Atlas
    """
    charts, layout, seams = plan.charts, plan.layout, plan.seams
    atlas = Atlas.empty(layout.size)
    for part in painted:
        rows, columns = plan.blocks(part.view)
        _in_blocks(atlas)[rows, :, columns] = part.color
    atlas.outline(charts, layout, threads)
    if level:
        offsets = global_corrections(charts, seams, *seam_differences(atlas, layout, seams))
        atlas.correct(charts, layout, offsets, threads)
    return atlas


def blended(plan: Plan, atlas: Atlas, threads: Threads = ALONE) -> Atlas:
    """Close the steps that are left at the seams.

    Parameters
    ----------
    plan : Plan
    atlas : Atlas
        From `joined`; changed.
    threads : Threads, optional

    Returns
    -------
    Atlas
        The same.
    """
    blend_seams(atlas, plan.charts, plan.layout, plan.seams, threads=threads)
    return atlas


def textured(
    mesh: Mesh,
    choice: Choice,
    views: Sequence[View],
    plan: Plan,
    atlas: Atlas,
    threads: Threads = ALONE,
) -> tuple[TexturedMesh, TextureCounts]:
    """Fill what no photo shows, and what lies between the charts.

    Parameters
    ----------
    mesh : Mesh
    choice : Choice
    views : sequence of View
    plan : Plan
    atlas : Atlas
        With all charts; changed.
    threads : Threads, optional

    Returns
    -------
    TexturedMesh
    TextureCounts
    """
    charts, layout = plan.charts, plan.layout
    if len(layout.cells):
        atlas.fill_cells(charts, layout, unseen_corner_colors(mesh, charts, layout, atlas))
    unseen = int(np.count_nonzero(charts.face_chart < 0))
    largest = max((max(v.camera.width, v.camera.height) for v in views), default=1)
    counts = TextureCounts(
        faces_seen=len(mesh.faces) - unseen,
        faces_unseen=unseen,
        views_used=len(plan.views),
        charts=len(charts),
        outliers=choice.outliers,
        atlas_size=layout.size,
        scale=round(float(layout.image_sizes.max(initial=1)) / largest, 4),
        filled=round(float(np.count_nonzero(atlas.mask == INSIDE)) / atlas.mask.size, 4),
        doubted=round(choice.doubted, 4),
    )
    texture = atlas.finish(layout, threads)
    uv, face_uv = texture_coordinates(charts, layout)
    return TexturedMesh(mesh.vertices, mesh.faces, uv, face_uv, texture), counts


def texture_coordinates(charts: Charts, layout: Layout) -> tuple[Floats32, Ints]:
    """Compute the corners' places in the atlas.

    Parameters
    ----------
    charts : Charts
    layout : Layout

    Returns
    -------
    uv : ndarray of float32, shape (T, 2)
        (0, 0) is the lower left corner. Each belongs to one vertex.
    face_uv : ndarray of int32, shape (F, 3)
        Each face's indices into `uv`.
    """
    corners = cell_corners(charts, layout)
    xy: Floats = np.concatenate([layout.node_xy, corners.reshape(-1, 2)])
    uv = np.stack([xy[:, 0], layout.size - xy[:, 1]], axis=1) / layout.size
    face_uv = charts.face_nodes.copy()
    first = len(layout.node_xy)
    face_uv[charts.face_chart < 0] = first + np.arange(3 * len(corners), dtype=np.int32).reshape(-1, 3)
    return np.clip(uv, 0, 1).astype(np.float32), face_uv


def _in_blocks(atlas: Atlas) -> NDArray[np.int16]:
    """The atlas' colours by row and place of blocks: shape (S / 2, 2, S / 2, 2, 3)."""
    side = atlas.color.shape[0] // BLOCK
    return atlas.color.reshape(side, BLOCK, side, BLOCK, 3)
