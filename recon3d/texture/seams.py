"""Seam levelling: making charts from different photos meet without a visible step.

Two corrections, after Waechter et al. 2014 ("Let There Be Color!", section 4): a global one, smooth
over the charts, and a local one, in a strip along the seams.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import linalg

from recon3d.texture.atlas import OUTSIDE, UNIT, Atlas
from recon3d.texture.charts import Charts, Layout
from recon3d.texture.topology import FacePairs
from recon3d.types import Floats, Floats32, Ints

#: Weight of smoothness inside charts against agreement at the seams.
SMOOTHNESS = 1.0
#: Weight that keeps corrections from drifting as a whole.
ANCHOR = 1e-2
#: Steps beyond so many gray levels pull less, the more the larger they are (Cauchy's weights): they
#: come of an outline or another displacement, not of exposure, and must not be spread.
GLOBAL_STEP = 12.0
LOCAL_STEP = 30.0
#: Width in texels of the strip in which the local correction fades out.
STRIP = 16
#: Gauss-Seidel sweeps of the local correction; they start from a linear fade.
_SWEEPS = 30
_OVERRELAXATION = 1.6

_MAX_SAMPLES = 64

_compiled: Any = numba.njit(nogil=True, cache=True, error_model="numpy")


@dataclass(frozen=True, eq=False)
class Seams:
    """Mesh edges where two charts meet.

    Parameters
    ----------
    nodes : ndarray of int32, shape (E, 2, 2)
        ``nodes[e, s]`` are the two ends of edge e as nodes of the chart on side s.
    """

    nodes: Ints

    def __len__(self) -> int:
        return len(self.nodes)


def find_seams(charts: Charts, pairs: FacePairs) -> Seams:
    """Edges between faces of different charts."""
    chart = charts.face_chart[pairs.faces]
    cut = np.flatnonzero((chart[:, 0] != chart[:, 1]) & (chart >= 0).all(axis=1))
    nodes = charts.face_nodes[pairs.faces[cut][:, :, None], pairs.corners[cut].astype(np.int64)]
    return Seams(nodes.astype(np.int32))


def seam_differences(atlas: Atlas, layout: Layout, seams: Seams) -> tuple[Floats, Floats]:
    """Colour of side 1 minus colour of side 0 at both ends of each seam edge.

    Each end takes the mean along the edge, with weights that fall linearly towards the other end,
    so that noise and small displacements of the photos average out.

    Returns
    -------
    difference : ndarray of float64, shape (E, 2, 3)
        In gray levels.
    length : ndarray of float64, shape (E,)
        Length of the edge in texels, the mean of both sides.
    """
    difference, length = _differences(atlas.color, layout.node_xy, seams.nodes)
    return difference / UNIT, length


def global_corrections(
    charts: Charts, seams: Seams, difference: Floats, length: Floats, *, smoothness: float = SMOOTHNESS
) -> Floats:
    """Additive correction of each node that closes the steps at the seams.

    Sparse linear least squares (Lempitsky & Ivanov 2007): corrected colours agree at both sides of
    each seam, corrections change little along the edges inside a chart, and are small.

    Returns
    -------
    ndarray of float64, shape (N, 3)
        Gray levels.
    """
    count = len(charts.node_vertex)
    if not len(seams):
        return np.zeros((count, 3))
    weight = np.repeat(np.clip(length / max(float(np.mean(length)), 1e-9), 0.1, 4.0), 2)
    weight /= 1.0 + np.square(difference.reshape(-1, 3)).sum(axis=1) / GLOBAL_STEP**2
    a, b = seams.nodes[:, 0].reshape(-1), seams.nodes[:, 1].reshape(-1)
    corners = charts.face_nodes[charts.face_chart >= 0]
    i, j = corners.reshape(-1), corners[:, [1, 2, 0]].reshape(-1)
    # An inner edge comes twice, once from each face; half the weight each.
    inner = np.full(len(i), smoothness / 2)
    rows, columns = np.concatenate([a, i]), np.concatenate([b, j])
    values = np.concatenate([weight, inner])
    off = sparse.coo_matrix((values, (rows, columns)), shape=(count, count)).tocsr()
    off = off + off.T
    diagonal = np.asarray(off.sum(axis=1)).reshape(-1) + ANCHOR
    matrix = sparse.diags(diagonal) - off
    solve = _two_level(matrix, diagonal, charts.node_chart)
    step = difference.reshape(-1, 3) * weight[:, None]
    corrections = np.zeros((count, 3))
    for channel in range(3):
        right = np.bincount(a, step[:, channel], count) - np.bincount(b, step[:, channel], count)
        corrections[:, channel], _ = linalg.cg(matrix, right, rtol=1e-3, maxiter=300, M=solve)
    return corrections


def _two_level(matrix: Any, diagonal: Floats, chart: Ints) -> Any:
    """Preconditioner: each node by itself, plus an exact solution for whole charts.

    A chart floats as a whole on a few seams; without the second level CG takes hundreds of steps to
    find that out.
    """
    count, charts = len(diagonal), int(chart.max()) + 1
    prolong = sparse.csr_matrix((np.ones(count), (np.arange(count), chart)), shape=(count, charts))
    coarse = linalg.splu((prolong.T @ matrix @ prolong).tocsc())

    def apply(residual: Floats) -> Floats:
        whole: Floats = coarse.solve(np.bincount(chart, residual, charts))
        return residual / diagonal + whole[chart]

    return linalg.LinearOperator(matrix.shape, apply, dtype=np.float64)


def blend_seams(atlas: Atlas, charts: Charts, layout: Layout, seams: Seams, *, strip: int = STRIP) -> None:
    """Close what step is left, in a strip along the seams; changes the atlas.

    At the seam both sides take the mean of their colours. The correction this needs is continued
    into each chart as a membrane (Laplace's equation, zero at the strip's far border), which is
    Poisson editing (Perez et al. 2003) solved for the difference.

    Parameters
    ----------
    atlas : Atlas
        With its mask filled.
    charts : Charts
    layout : Layout
    seams : Seams
    strip : int
        Width in texels.
    """
    if not len(seams):
        return
    chart, texel, offset = _seam_samples(
        atlas.color, layout.node_xy, seams.nodes, charts.node_chart, layout.target, layout.extent
    )
    # One value for each texel that the seams pass.
    order = np.lexsort((texel, chart))
    chart, texel, offset = chart[order], texel[order], offset[order]
    first = np.flatnonzero(np.append(True, (chart[1:] != chart[:-1]) | (texel[1:] != texel[:-1])))
    count = np.diff(np.append(first, len(chart)))
    offset = np.add.reduceat(offset, first, axis=0) / count[:, None]
    chart, texel = chart[first], texel[first]
    starts = np.searchsorted(chart, np.arange(len(charts) + 1))
    _membranes(atlas.color, atlas.mask, layout.target, layout.extent, starts, texel, offset, strip)


@_compiled
def _lookup(atlas: NDArray[np.int16], x: float, y: float, out: Floats) -> None:
    height, width = atlas.shape[:2]
    x = min(max(x - 0.5, 0.0), width - 1.0)
    y = min(max(y - 0.5, 0.0), height - 1.0)
    column, row = min(int(x), width - 2), min(int(y), height - 2)
    fx, fy = x - column, y - row
    for channel in range(3):
        top = atlas[row, column, channel] * (1 - fx) + atlas[row, column + 1, channel] * fx
        bottom = atlas[row + 1, column, channel] * (1 - fx) + atlas[row + 1, column + 1, channel] * fx
        out[channel] = top * (1 - fy) + bottom * fy


@_compiled
def _side_lengths(xy: Floats, nodes: Ints) -> Floats:
    out = np.empty(2)
    for side in range(2):
        dx = xy[nodes[side, 1], 0] - xy[nodes[side, 0], 0]
        dy = xy[nodes[side, 1], 1] - xy[nodes[side, 0], 1]
        out[side] = np.sqrt(dx * dx + dy * dy)
    return out


@_compiled
def _differences(atlas: NDArray[np.int16], xy: Floats, nodes: Ints) -> tuple[Floats, Floats]:
    count = nodes.shape[0]
    difference, length = np.zeros((count, 2, 3)), np.zeros(count)
    colors = np.empty((2, 3))
    for e in range(count):
        lengths = _side_lengths(xy, nodes[e])
        length[e] = 0.5 * (lengths[0] + lengths[1])
        samples = min(max(int(np.ceil(lengths.max())), 2), _MAX_SAMPLES)
        total = 0.0
        for n in range(samples):
            t = (n + 0.5) / samples
            for side in range(2):
                p, q = nodes[e, side, 0], nodes[e, side, 1]
                x, y = xy[p, 0] * (1 - t) + xy[q, 0] * t, xy[p, 1] * (1 - t) + xy[q, 1] * t
                _lookup(atlas, x, y, colors[side])
            for channel in range(3):
                step = colors[1, channel] - colors[0, channel]
                difference[e, 0, channel] += (1 - t) * step
                difference[e, 1, channel] += t * step
            total += t
        # t is symmetric, so both ends have the same sum of weights.
        difference[e] /= total
    return difference, length


@_compiled
def _seam_samples(
    atlas: NDArray[np.int16], xy: Floats, nodes: Ints, node_chart: Ints, target: Ints, extent: Ints
) -> tuple[Ints, Ints, Floats32]:
    """Half the step at two points a texel of both sides: chart, texel in the chart, offset."""
    total = 0
    for e in range(nodes.shape[0]):
        total += 2 * max(int(np.ceil(2 * _side_lengths(xy, nodes[e]).max())), 2)
    chart, texel = np.empty(total, np.int32), np.empty(total, np.int32)
    offset = np.empty((total, 3), np.float32)
    colors, place = np.empty((2, 3)), np.empty((2, 2))
    position = 0
    for e in range(nodes.shape[0]):
        samples = max(int(np.ceil(2 * _side_lengths(xy, nodes[e]).max())), 2)
        for n in range(samples):
            t = (n + 0.5) / samples
            for side in range(2):
                p, q = nodes[e, side, 0], nodes[e, side, 1]
                for axis in range(2):
                    place[side, axis] = xy[p, axis] * (1 - t) + xy[q, axis] * t
                _lookup(atlas, place[side, 0], place[side, 1], colors[side])
            square = 0.0
            for channel in range(3):
                square += (colors[1, channel] - colors[0, channel]) ** 2
            share = 0.5 / (1.0 + square / (LOCAL_STEP * UNIT) ** 2)
            for side in range(2):
                number = node_chart[nodes[e, side, 0]]
                column = int(place[side, 0]) - target[number, 0]
                row = int(place[side, 1]) - target[number, 1]
                chart[position] = number
                texel[position] = row * extent[number, 0] + column
                for channel in range(3):
                    offset[position, channel] = share * (colors[1 - side, channel] - colors[side, channel])
                position += 1
    return chart, texel, offset


@_compiled
def _membranes(
    atlas: NDArray[np.int16],
    mask: NDArray[np.uint8],
    target: Ints,
    extent: Ints,
    starts: NDArray[np.int64],
    texel: Ints,
    offset: Floats32,
    strip: int,
) -> None:
    for number in range(target.shape[0]):
        if starts[number] == starts[number + 1]:
            continue
        left, top, width, height = target[number, 0], target[number, 1], extent[number, 0], extent[number, 1]
        # -1 outside the strip, 0 on a seam, else the distance from it.
        depth = np.full(width * height, -1, np.int32)
        value = np.zeros((width * height, 3), np.float32)
        queue = np.empty(width * height, np.int32)
        head, tail = 0, 0
        for n in range(starts[number], starts[number + 1]):
            depth[texel[n]] = 0
            value[texel[n]] = offset[n]
            queue[tail] = texel[n]
            tail += 1
        fixed = tail
        while head < tail:
            here = queue[head]
            head += 1
            if depth[here] == strip - 1:
                continue
            row, column = here // width, here % width
            for k in range(4):
                y, x = row + (k == 0) - (k == 1), column + (k == 2) - (k == 3)
                if x < 0 or y < 0 or x >= width or y >= height or mask[top + y, left + x] == OUTSIDE:
                    continue
                there = y * width + x
                if depth[there] < 0:
                    depth[there] = depth[here] + 1
                    fade = np.float32((strip - depth[there]) / (strip - depth[here]))
                    for channel in range(3):
                        value[there, channel] = value[here, channel] * fade
                    queue[tail] = there
                    tail += 1
        for _ in range(_SWEEPS):
            for n in range(fixed, tail):
                here = queue[n]
                row, column = here // width, here % width
                red, green, blue, neighbors = 0.0, 0.0, 0.0, 0
                for k in range(4):
                    y, x = row + (k == 0) - (k == 1), column + (k == 2) - (k == 3)
                    if x < 0 or y < 0 or x >= width or y >= height or mask[top + y, left + x] == OUTSIDE:
                        continue
                    # Inside the chart but beyond the strip the value is 0.
                    there = y * width + x
                    red += value[there, 0]
                    green += value[there, 1]
                    blue += value[there, 2]
                    neighbors += 1
                if neighbors:
                    value[here, 0] += _OVERRELAXATION * (red / neighbors - value[here, 0])
                    value[here, 1] += _OVERRELAXATION * (green / neighbors - value[here, 1])
                    value[here, 2] += _OVERRELAXATION * (blue / neighbors - value[here, 2])
        for n in range(tail):
            row, column = queue[n] // width, queue[n] % width
            for channel in range(3):
                total = atlas[top + row, left + column, channel] + value[queue[n], channel]
                atlas[top + row, left + column, channel] = np.int16(min(max(round(total), -32768), 32767))
