"""The compiled kernels' results in plain NumPy: slow, easy to read, and what the tests compare with."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import linalg

from recon3d.texture.packing import SMALL
from recon3d.texture.shapes import BLOCK, MIRROR_X, MIRROR_Y, SWAP, TURNS, Shapes
from recon3d.types import Floats, Floats32, Ints


def pack(charts: Shapes, rows: int, columns: int) -> tuple[Ints, Ints, int]:
    """Place charts as `recon3d.texture.packing.pack` does.

    Parameters
    ----------
    charts : Shapes
    rows, columns : int
        Of the strip in blocks.

    Returns
    -------
    positions : ndarray of int32, shape (N, 2)
        Column and row of each turned chart's corner.
    turns : ndarray of int32, shape (N,)
        See `recon3d.texture.shapes.turned`.
    used : int
        Columns that are used; `columns` + 1 when the charts do not fit.
    """
    taken = np.zeros((rows, columns), bool)
    positions, turns = np.zeros((len(charts), 2), np.int32), np.zeros(len(charts), np.int32)
    extents = charts.extents().astype(int)
    for n in sorted(range(len(charts)), key=lambda n: (-extents[n].min(), -extents[n].max(), n)):
        best = None
        for turn in TURNS if extents[n].max() > SMALL else TURNS[:1]:
            stamp = turned_stamp(stamp_of(charts, n), int(turn))
            place = _first_place(taken, stamp)
            if place is not None and (best is None or place[0] + stamp.shape[1] < best[0]):
                best = place[0] + stamp.shape[1], place, stamp, turn
        if best is None:
            return positions, turns, columns + 1
        _, (x, y), stamp, turns[n] = best
        positions[n] = x, y
        taken[y : y + stamp.shape[0], x : x + stamp.shape[1]] |= stamp
    return positions, turns, int(np.flatnonzero(taken.any(axis=0)).max(initial=-1)) + 1


def stamp_of(charts: Shapes, number: int) -> NDArray[np.bool_]:
    """Draw a chart.

    Parameters
    ----------
    charts : Shapes
    number : int
        Which one.

    Returns
    -------
    ndarray of bool, shape (H, W)
        Its blocks.
    """
    columns = range(charts.columns[number], charts.columns[number + 1])
    stamp = np.zeros((charts.extents()[number, 1], len(columns)), bool)
    for i, column in enumerate(columns):
        for run in range(charts.runs[column], charts.runs[column + 1]):
            stamp[charts.low[run] : charts.high[run], i] = True
    return stamp


def turned_stamp(stamp: NDArray[np.bool_], turn: int) -> NDArray[np.bool_]:
    """Turn a drawn chart.

    Parameters
    ----------
    stamp : ndarray of bool, shape (H, W)
    turn : int
        See `recon3d.texture.shapes.turned`.

    Returns
    -------
    ndarray of bool, shape (H, W) or (W, H)
    """
    if turn & MIRROR_X:
        stamp = stamp[:, ::-1]
    if turn & MIRROR_Y:
        stamp = stamp[::-1]
    return stamp.T if turn & SWAP else stamp


def _first_place(taken: NDArray[np.bool_], stamp: NDArray[np.bool_]) -> tuple[int, int] | None:
    for x in range(taken.shape[1] - stamp.shape[1] + 1):
        for y in range(taken.shape[0] - stamp.shape[0] + 1):
            if not (taken[y : y + stamp.shape[0], x : x + stamp.shape[1]] & stamp).any():
                return x, y
    return None


def footprint(corners: Floats, shift: Ints, padding: float) -> NDArray[np.bool_]:
    """Find the blocks that a face reaches as `recon3d.texture.footprints.chart_shapes` does.

    A face and a rectangle are apart where some line along an edge of either is between them.

    Parameters
    ----------
    corners : ndarray of float64, shape (3, 2)
        Of the face, in texels.
    shift : ndarray of int, shape (2,)
        Texels by which the first block begins before the first texel that the face reaches.
    padding : float
        Texels by which the face grows to all sides.

    Returns
    -------
    ndarray of bool, shape (H, W)
    """
    first = np.floor(corners.min(axis=0) - padding) - shift
    count = np.ceil((corners.max(axis=0) + padding - first) / BLOCK).astype(int)
    low = np.stack(np.meshgrid(*(np.arange(n) * BLOCK for n in count)), axis=-1) + first - padding
    ends = np.array([[0, 0], [1, 0], [0, 1], [1, 1]]) * (BLOCK + 2 * padding)
    rectangles = low[:, :, None] + ends
    edges = np.roll(corners, -1, axis=0) - corners
    touched = np.ones(low.shape[:2], bool)
    for axis in (*np.eye(2), *np.stack([-edges[:, 1], edges[:, 0]], axis=1)):
        face, rectangle = corners @ axis, rectangles @ axis
        touched &= (rectangle.max(axis=2) >= face.min()) & (rectangle.min(axis=2) <= face.max())
    return touched


def trw_s(data: Floats32, view: Ints, pairs: Ints, weight: Floats32, rank: Ints, sweeps: int) -> Ints:
    """Minimize a Potts energy as `recon3d.texture.message_passing.trw_s` does.

    Parameters
    ----------
    data : ndarray of float32, shape (F, K)
        Cost of each candidate of each node.
    view : ndarray of int32, shape (F, K)
        Label of each candidate, ascending; -1 in unused places, which come last.
    pairs : ndarray of int32, shape (E, 2)
    weight : ndarray of float32, shape (E,)
        Cost of different labels at both ends.
    rank : ndarray of int32, shape (F,)
        Place of each node in the order in which messages travel.
    sweeps : int
        Passes in that order and back.

    Returns
    -------
    ndarray of int32, shape (F,)
        Place of the chosen candidate of each node.
    """
    labels = [row[row >= 0] for row in view]
    costs = [data[f, : len(labels[f])].astype(float) for f in range(len(view))]
    edge = {(int(a), int(b)): float(w) for (a, b), w in zip(pairs, weight, strict=True)}
    edge |= {(b, a): w for (a, b), w in edge.items()}
    around = [[b for a, b in edge if a == f] for f in range(len(view))]
    messages = {(a, b): np.zeros(len(labels[b])) for a, b in edge}
    order = np.argsort(rank)
    for forward in (True, False) * sweeps:
        for f in order if forward else order[::-1]:
            if not len(labels[f]):
                continue
            before = sum(rank[g] < rank[f] for g in around[f])
            share = 1 / max(before, len(around[f]) - before, 1)
            belief = share * (costs[f] + sum(messages[g, f] for g in around[f]))
            for g in around[f]:
                if (rank[g] > rank[f]) == forward:
                    without = belief - messages[g, f]
                    differ = labels[f][:, None] != labels[g]
                    message = (without[:, None] + edge[f, g] * differ).min(axis=0)
                    # A label that f lacks costs what the best of its labels costs, and the edge.
                    messages[f, g] = message - message.min(initial=np.inf)
    choice = np.zeros(len(view), np.int32)
    for f in order:
        belief = costs[f].copy()
        for g in around[f]:
            if rank[g] > rank[f]:
                belief += messages[g, f]
            elif len(labels[g]):
                belief += edge[f, g] * (labels[f] != labels[g][choice[g]])
            else:
                belief += edge[f, g]
        choice[f] = belief.argmin() if len(belief) else 0
    return choice


def membrane(inside: NDArray[np.bool_], seam: NDArray[np.bool_], offset: Floats, strip: int) -> Floats:
    """Continue the corrections on a seam into a chart, to zero at the strip's far border.

    `recon3d.texture.blending.blend_seams` approaches this solution of Laplace's equation.

    Parameters
    ----------
    inside : ndarray of bool, shape (H, W)
        Texels of the chart.
    seam : ndarray of bool, shape (H, W)
        Texels on the seam.
    offset : ndarray of float64, shape (H, W)
        Corrections on the seam.
    strip : int
        Width of the strip in texels.

    Returns
    -------
    ndarray of float64, shape (H, W)
    """
    near = seam.copy()
    for _ in range(strip - 1):
        wider = near.copy()
        for axis in (0, 1):
            for shift in (-1, 1):
                wider |= _shifted(near, shift, axis) & inside
        near = wider
    free = np.flatnonzero(near & ~seam)
    place = np.full(inside.size, -1)
    place[free] = np.arange(len(free))
    height, width = inside.shape
    rows, columns, values = [], [], []
    right = np.zeros(len(free))
    for n, texel in enumerate(free):
        y, x = divmod(int(texel), width)
        around = [(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)]
        around = [(v, u) for v, u in around if 0 <= v < height and 0 <= u < width]
        around = [(v, u) for v, u in around if inside[v, u] or seam[v, u]]
        rows.append(n)
        columns.append(n)
        values.append(float(len(around)))
        for v, u in around:
            if seam[v, u]:
                right[n] += offset[v, u]
            elif near[v, u]:
                rows.append(n)
                columns.append(place[v * width + u])
                values.append(-1.0)
    result: Floats = np.where(seam, offset, 0.0).astype(np.float64)
    if len(free):
        matrix = sparse.csc_matrix((values, (rows, columns)), shape=(len(free), len(free)))
        result.ravel()[free] = linalg.spsolve(matrix, right)
    return result


def _shifted(mask: NDArray[np.bool_], shift: int, axis: int) -> NDArray[np.bool_]:
    moved = np.roll(mask, shift, axis)
    edge: list[int | slice] = [slice(None), slice(None)]
    edge[axis] = 0 if shift == 1 else -1
    moved[tuple(edge)] = False
    return moved
