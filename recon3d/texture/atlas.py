"""The atlas: charts cut from the photos, colour corrections, and what lies between the charts."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from recon3d.texture import texels
from recon3d.texture.cells import TEXELS
from recon3d.texture.charts import Charts, Layout
from recon3d.texture.texels import INSIDE, OUTSIDE, RIM, UNIT
from recon3d.threads import ALONE, Threads
from recon3d.types import Bytes, Floats, Floats32

#: Texels that a photo may misplace the middle of an edge before its face is resampled.
_BEND = 0.25
#: Texels from a rim to the far side of its chart's last block.
_WIDER = 2


@dataclass(frozen=True, eq=False)
class Atlas:
    """An atlas in the making.

    Parameters
    ----------
    color : ndarray of int16, shape (S, S, 3)
        Gray levels times `UNIT`; may lie outside 0 to 255 gray levels.
    mask : ndarray of uint8, shape (S, S)
        `OUTSIDE`, `INSIDE` a face, or `RIM`: in no face, but close to one.
    """

    color: NDArray[np.int16]
    mask: Bytes

    @classmethod
    def empty(cls, size: int) -> Atlas:
        """Make an atlas without any chart.

        Parameters
        ----------
        size : int
            Side of the atlas in texels.

        Returns
        -------
        Atlas
        """
        return cls(np.zeros((size, size, 3), np.int16), np.zeros((size, size), np.uint8))

    def paint(self, photo: Bytes, charts: Charts, layout: Layout, view: int, gain: Floats) -> None:
        """Copy the charts of one view from its photo.

        Parameters
        ----------
        photo : ndarray of uint8, shape (H, W, 3)
            Of any size; it is scaled to the layout's.
        charts : Charts
        layout : Layout
        view : int
        gain : ndarray of float64, shape (3,)
        """
        mine = np.flatnonzero(charts.chart_view == view)
        if not len(mine):
            return
        width, height = (int(n) for n in layout.image_sizes[view])
        if photo.shape[:2] != (height, width):
            photo = np.asarray(cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
        values = np.rint(np.arange(256)[:, None] * gain * UNIT).astype(np.int16)
        s = layout.shapes
        place = layout.source, layout.target, layout.turns, layout.extent
        texels.copy(self.color, photo, mine, *place, s.columns, s.runs, s.low, s.high, values)
        nodes = charts.face_nodes[_bent_faces(charts, layout, view)]
        corners = layout.node_xy[nodes], layout.photo_xy[nodes], charts.depth[nodes]
        texels.project(self.color, photo, *corners, values)

    def outline(self, charts: Charts, layout: Layout, threads: Threads = ALONE) -> None:
        """Fill the mask; rims take the colours inside: beyond an outline photos show something else.

        Parameters
        ----------
        charts : Charts
        layout : Layout
        threads : Threads, optional
        """
        nothing = np.zeros((len(layout.node_xy), 3))
        texels.correct(self.color, self.mask, layout.node_xy, *charts.painted_nodes, nothing, threads)
        texels.extend(self.color, self.mask, layout.owner, threads)

    def correct(self, charts: Charts, layout: Layout, offsets: Floats, threads: Threads = ALONE) -> None:
        """Add corrections of the nodes, interpolated over the faces.

        Parameters
        ----------
        charts : Charts
        layout : Layout
        offsets : ndarray of float64, shape (N, 3)
            Gray levels.
        threads : Threads, optional
        """
        self.mask[...] = OUTSIDE
        texels.correct(self.color, self.mask, layout.node_xy, *charts.painted_nodes, offsets * UNIT, threads)

    def sample(self, xy: Floats) -> Floats:
        """Interpolate the atlas.

        Parameters
        ----------
        xy : ndarray of float64, shape (N, 2)
            Texels, pixel centres at +0.5.

        Returns
        -------
        ndarray of float64, shape (N, 3)
            Gray levels.
        """
        return texels.sample(self.color, xy) / UNIT

    def fill_cells(self, charts: Charts, layout: Layout, corner_colors: Floats) -> None:
        """Paint the cells of faces that no photo sees.

        Parameters
        ----------
        charts : Charts
        layout : Layout
        corner_colors : ndarray of float64, shape (U, 3, 3)
            Colour of each face's corners, in gray levels.
        """
        colors, faces = charts.cells.texels(corner_colors)
        if layout.cell == 1:
            alone = faces[:, None] == 1
            colors[:, 0] = np.where(alone, colors[:, :3].mean(axis=1), colors.mean(axis=1))
        values = np.rint(np.clip(colors, 0, 255) * UNIT)
        for number, (column, row) in enumerate(TEXELS):
            if max(column, row) < layout.cell:
                x, y = layout.cells[:, 0] + column, layout.cells[:, 1] + row
                self.color[y, x] = values[:, number]
                self.mask[y, x] = np.where(number < faces + 2, INSIDE, RIM)

    def finish(self, layout: Layout, threads: Threads = ALONE) -> Bytes:
        """The texture: what is outside of all charts takes the colours around.

        The padding takes those of its own chart, for the first mip level. Beyond it pull-push keeps
        gaps smooth, for further levels and JPEG's blocks (Gortler et al. 1996, "The Lumigraph",
        section 3.4).

        Parameters
        ----------
        layout : Layout
        threads : Threads, optional

        Returns
        -------
        ndarray of uint8, shape (S, S, 3)
        """
        texels.widen(self.color, self.mask, layout.owner, _WIDER, threads)
        return self.filled(threads)

    def filled(self, threads: Threads = ALONE) -> Bytes:
        """The texture: unknown texels take the colours of ever wider surroundings.

        Parameters
        ----------
        threads : Threads, optional

        Returns
        -------
        ndarray of uint8, shape (S, S, 3)
        """
        half, weight = texels.halve(self.color, self.mask, threads)
        texture: Bytes = texels.finish(self.color, self.mask, _pull_push(half, weight), threads)
        return texture


def _bent_faces(charts: Charts, layout: Layout, view: int) -> NDArray[np.int64]:
    """Faces of a view so large and oblique that an even mapping would misplace their middle."""
    faces = np.flatnonzero((charts.labels == view) & (charts.face_chart >= 0))
    nodes = charts.face_nodes[faces]
    xy, depth = layout.node_xy[nodes], charts.depth[nodes]
    next_xy, next_depth = np.roll(xy, -1, axis=1), np.roll(depth, -1, axis=1)
    length = np.linalg.norm(next_xy - xy, axis=2)
    bend = length * np.abs(next_depth - depth) / (2 * (next_depth + depth))
    bent: NDArray[np.int64] = faces[bend.max(axis=1, initial=0.0) > _BEND]
    return bent


def cell_corners(charts: Charts, layout: Layout) -> Floats:
    """Compute the places of the corners of unseen faces in the atlas.

    Parameters
    ----------
    charts : Charts
    layout : Layout

    Returns
    -------
    ndarray of float64, shape (U, 3, 2)
        In texels.
    """
    cells = charts.cells
    places = TEXELS[cells.corner] * (layout.cell - 1)
    corners: Floats = layout.cells[cells.cell][:, None] + 0.5 + places
    return corners


def _pull_push(color: Floats32, weight: Floats32) -> Floats32:
    """Fill where the weight is 0 with averages of ever wider surroundings."""
    side = color.shape[0]
    if side == 1:
        return color
    half = (side // 2, side // 2)
    coarse_weight = cv2.resize(weight, half, interpolation=cv2.INTER_AREA)
    coarse = cv2.resize(color * weight[..., None], half, interpolation=cv2.INTER_AREA)
    mean = (coarse.reshape(*half, 3) / np.maximum(coarse_weight, 1e-6)[..., None]).astype(np.float32)
    mean = _pull_push(mean, (coarse_weight > 0).astype(np.float32).reshape(half))
    filled = np.asarray(cv2.resize(mean, (side, side), interpolation=cv2.INTER_LINEAR), np.float32)
    known = weight > 0
    filled[known] = color[known]
    return filled
