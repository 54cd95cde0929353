"""The atlas: charts cut from the photos, colour corrections, and what lies between the charts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numba
import numpy as np
from numpy.typing import NDArray

from recon3d.texture.charts import Charts, Layout
from recon3d.texture.raster import span
from recon3d.types import Bytes, Floats, Floats32, Ints

#: Values of an atlas are gray levels times this, in int16: corrections neither round nor clip.
UNIT = 64

#: Values of an atlas' mask.
OUTSIDE, INSIDE, RIM = 0, 1, 2

#: Texels this close to a chart belong to its rim: bilinear lookups at its border reach them.
_RIM = 1.5

_compiled: Any = numba.njit(nogil=True, cache=True, error_model="numpy")


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
        """An atlas without any chart."""
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
        p = layout.profiles
        _copy(self.color, photo, mine, layout.source, layout.target, p.starts, p.low, p.high, values)

    def correct(self, charts: Charts, layout: Layout, offsets: Floats) -> None:
        """Add corrections of the nodes, interpolated over the faces, and fill the mask.

        Parameters
        ----------
        charts : Charts
        layout : Layout
        offsets : ndarray of float64, shape (N, 3)
            Gray levels.
        """
        nodes = charts.face_nodes[charts.face_chart >= 0]
        _correct(self.color, self.mask, layout.node_xy, nodes, offsets * UNIT)

    def sample(self, xy: Floats) -> Floats:
        """Bilinear lookup in gray levels at texels `xy` of shape (N, 2), pixel centres at +0.5."""
        return _sample(self.color, xy) / UNIT  # type: ignore[no-any-return]

    def fill_cells(self, layout: Layout, corner_colors: Floats) -> None:
        """Paint the cells of faces that no photo sees.

        Parameters
        ----------
        layout : Layout
        corner_colors : ndarray of float64, shape (U, 3, 3)
            Colour of each face's corners, in gray levels.
        """
        weights = cell_weights(layout.cell)
        for row in range(layout.cell):
            for column in range(layout.cell):
                x, y = layout.cells[:, 0] + column, layout.cells[:, 1] + row
                value = np.einsum("k,ukc->uc", weights[row, column], corner_colors)
                self.color[y, x] = np.rint(np.clip(value, 0, 255) * UNIT)
                self.mask[y, x] = INSIDE

    def finish(self) -> Bytes:
        """The texture: what is outside of all charts takes the colours around (pull-push).

        Smooth gaps keep mipmaps and JPEG blocks free of foreign colours (Gortler et al. 1996, "The
        Lumigraph", section 3.4).

        Returns
        -------
        ndarray of uint8, shape (S, S, 3)
        """
        half, weight = _halve(self.color, self.mask)
        texture: Bytes = _finish(self.color, self.mask, _pull_push(half, weight))
        return texture


def cell_weights(cell: int) -> Floats:
    """Barycentric weights of the texels of an unseen face's cell, shape (cell, cell, 3).

    The face's corners lie on the centres of the first texel, of the last in its row, and of the
    last in its column; texels beyond the diagonal take its colours.
    """
    if cell == 1:
        return np.full((1, 1, 3), 1 / 3)
    row, column = np.mgrid[:cell, :cell] / (cell - 1.0)
    weights = np.stack([np.maximum(1 - row - column, 0), column, row], axis=-1)
    normalized: Floats = weights / weights.sum(axis=-1, keepdims=True)
    return normalized


def cell_corners(layout: Layout) -> Floats:
    """Places in the atlas of the corners of unseen faces, shape (U, 3, 2), in texels."""
    reach = layout.cell - 1
    corners: Floats = layout.cells[:, None] + 0.5 + np.array([[0, 0], [reach, 0], [0, reach]])
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


@_compiled
def _copy(
    atlas: NDArray[np.int16],
    photo: Bytes,
    charts: NDArray[np.int64],
    source: Ints,
    target: Ints,
    starts: NDArray[np.int64],
    low: Ints,
    high: Ints,
    values: NDArray[np.int16],
) -> None:
    height, width = photo.shape[:2]
    for n in charts:
        for place in range(starts[n], starts[n + 1]):
            column = place - starts[n]
            x = min(max(source[n, 0] + column, 0), width - 1)
            for row in range(low[place], high[place]):
                y = min(max(source[n, 1] + row, 0), height - 1)
                for channel in range(3):
                    atlas[target[n, 1] + row, target[n, 0] + column, channel] = values[
                        photo[y, x, channel], channel
                    ]


@_compiled
def _clamped(u: float, v: float, w: float) -> tuple[float, float, float]:
    u, v, w = max(u, 0.0), max(v, 0.0), max(w, 0.0)
    total = u + v + w
    return u / total, v / total, w / total


@_compiled
def _correct(atlas: NDArray[np.int16], mask: Bytes, xy: Floats, nodes: Ints, offsets: Floats) -> None:
    size = mask.shape[0]
    # First the faces, then the rims, so that a rim never takes a texel of a face.
    for stage in range(2):
        reach = 0.0 if stage == 0 else _RIM
        wanted = INSIDE if stage == 0 else RIM
        for f in range(nodes.shape[0]):
            a, b, c = nodes[f, 0], nodes[f, 1], nodes[f, 2]
            ax, ay, bx, by, cx, cy = xy[a, 0], xy[a, 1], xy[b, 0], xy[b, 1], xy[c, 0], xy[c, 1]
            det = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
            if abs(det) < 1e-12:
                det = 1e-12
            low_x, high_x = span(ax, bx, cx, reach, size)
            low_y, high_y = span(ay, by, cy, reach, size)
            for row in range(low_y, high_y + 1):
                for column in range(low_x, high_x + 1):
                    if mask[row, column] != OUTSIDE:
                        continue
                    px, py = column + 0.5, row + 0.5
                    v = ((px - ax) * (cy - ay) - (py - ay) * (cx - ax)) / det
                    w = ((bx - ax) * (py - ay) - (by - ay) * (px - ax)) / det
                    u = 1.0 - v - w
                    if stage == 0:
                        if u < 0.0 or v < 0.0 or w < 0.0:
                            continue
                    else:
                        u, v, w = _clamped(u, v, w)
                        dx = px - (u * ax + v * bx + w * cx)
                        dy = py - (u * ay + v * by + w * cy)
                        if dx * dx + dy * dy > _RIM * _RIM:
                            continue
                    mask[row, column] = wanted
                    for channel in range(3):
                        value = u * offsets[a, channel] + v * offsets[b, channel] + w * offsets[c, channel]
                        total = atlas[row, column, channel] + value
                        atlas[row, column, channel] = np.int16(min(max(round(total), -32768), 32767))


@_compiled
def _sample(atlas: NDArray[np.int16], xy: Floats) -> Floats:
    height, width = atlas.shape[:2]
    out = np.empty((xy.shape[0], 3))
    for n in range(xy.shape[0]):
        x = min(max(xy[n, 0] - 0.5, 0.0), width - 1.0)
        y = min(max(xy[n, 1] - 0.5, 0.0), height - 1.0)
        column, row = min(int(x), width - 2), min(int(y), height - 2)
        fx, fy = x - column, y - row
        for channel in range(3):
            top = atlas[row, column, channel] * (1 - fx) + atlas[row, column + 1, channel] * fx
            bottom = atlas[row + 1, column, channel] * (1 - fx) + atlas[row + 1, column + 1, channel] * fx
            out[n, channel] = top * (1 - fy) + bottom * fy
    return out


@_compiled
def _halve(atlas: NDArray[np.int16], mask: Bytes) -> tuple[Floats32, Floats32]:
    size = mask.shape[0] // 2
    color, weight = np.zeros((size, size, 3), np.float32), np.zeros((size, size), np.float32)
    for y in range(size):
        for x in range(size):
            known = 0
            for row in range(2 * y, 2 * y + 2):
                for column in range(2 * x, 2 * x + 2):
                    if mask[row, column] != OUTSIDE:
                        known += 1
                        for channel in range(3):
                            color[y, x, channel] += atlas[row, column, channel]
            if known:
                weight[y, x] = 1.0
                for channel in range(3):
                    color[y, x, channel] /= known * UNIT
    return color, weight


@_compiled
def _finish(atlas: NDArray[np.int16], mask: Bytes, half: Floats32) -> Bytes:
    size = mask.shape[0]
    texture = np.empty((size, size, 3), np.uint8)
    for y in range(size):
        for x in range(size):
            for channel in range(3):
                if mask[y, x] == OUTSIDE:
                    value = half[y // 2, x // 2, channel]
                else:
                    value = atlas[y, x, channel] / UNIT
                texture[y, x, channel] = np.uint8(min(max(value + 0.5, 0.0), 255.0))
    return texture
